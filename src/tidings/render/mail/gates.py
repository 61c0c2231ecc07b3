"""Gates: checks of the final bytes of a mail before its edition is sent. Each failure says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from typing import Final

from lxml import etree

from tidings.render.mail.personal import LEFTOVER

LIMIT: Final = 102 * 1024
"""Gmail shows at most this many bytes of a mail and hides the rest, including the unsubscribe link. Google does not say
whether the encoded or the decoded size counts, so both are checked."""
_C1: Final = re.compile(r"[\x80-\x9f]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_URL_IN_TEXT: Final = re.compile(r"(?:https?://|mailto:)[^\s<>\"]+")
_TRAILING: Final = ".,;:!?)]}'»”"
_REQUIRED: Final = ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version")
_BUG: Final = "report this as a bug"
_NAMES: Final = "check names and the subject"
_FULL_URL: Final = "give it its full URL"


@dataclass(frozen=True, slots=True)
class GateFailure:
    """A reason to hold an edition: the gate's name, the problem, and the remedy."""

    gate: str
    detail: str
    mend: str

    def __str__(self) -> str:
        return f"{self.detail}; {self.mend}"


def check_mail(message: bytes) -> list[GateFailure]:
    """Return every failure of a complete mail in its final form."""
    header, _, _ = message.partition(b"\r\n\r\n")
    parsed = message_from_bytes(message)
    failures = list(_check_header(header, parsed))
    parts = {part.get_content_type(): part for part in parsed.walk() if not part.is_multipart()}
    bodies: dict[str, str] = {}
    for kind in ("text/plain", "text/html"):
        part = parts.get(kind)
        if part is None:
            failures.append(GateFailure("mime", f"there is no {kind} part", "a template needs both bodies"))
            continue
        charset = part.get_content_charset() or ""
        raw = part.get_payload(decode=True)
        try:
            bodies[kind] = raw.decode("utf-8") if isinstance(raw, bytes) and charset == "utf-8" else ""
        except UnicodeDecodeError:
            charset = "broken utf-8"
        if charset != "utf-8":
            failures.append(
                GateFailure("charset", f"the charset of {kind} is {charset or 'missing'}", "write templates in UTF-8")
            )
            continue
        failures += _check_text(kind, bodies[kind])
    html = bodies.get("text/html")
    if html:
        failures += _check_size(html, parts["text/html"])
        failures += _check_html(html, bodies.get("text/plain", ""), parsed)
    if any(len(line) > 998 for line in message.split(b"\r\n")) or b"\n" in message.replace(b"\r\n", b""):
        failures.append(GateFailure("lines", "a line is longer than 998 bytes or ends without CRLF", _BUG))
    return failures


def _check_header(header: bytes, parsed: Message) -> Iterator[GateFailure]:
    for name in _REQUIRED:
        count = len(parsed.get_all(name, []))
        if count != 1:
            yield GateFailure("headers", f"{name} occurs {count} times instead of once", _BUG)
    if not header.isascii() or _CONTROL.search(header.decode("latin-1").replace("\r\n", "")):
        yield GateFailure("headers", "a header contains raw non-ASCII or control characters", _NAMES)
    if any(line and not re.match(rb"[!-9;-~]+: ?\S|[ \t]\S", line) for line in header.split(b"\r\n")):
        yield GateFailure("headers", "a header line is empty or has no name", _NAMES)
    if parsed.defects:
        yield GateFailure("mime", f"the mail does not parse: {parsed.defects[0]!r}", _BUG)
    uris = re.search(rb"(?im)^List-Unsubscribe: (<[^>\r\n]*>(?:,\r\n <[^>\r\n]*>)*)\r?$", header + b"\r")
    if uris is None or b"=?" in uris[1]:
        yield GateFailure(
            "list-unsubscribe", "List-Unsubscribe is missing, encoded or folded inside a URL", "check site.url"
        )
    elif b"<http" in uris[1] and parsed.get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click":
        yield GateFailure("list-unsubscribe", "List-Unsubscribe-Post is missing (RFC 8058)", _BUG)


def _check_text(kind: str, text: str) -> Iterator[GateFailure]:
    if match := LEFTOVER.search(text):
        around = text[match.start() : match.start() + 40].split("\n")[0]
        yield GateFailure("placeholder", f"{kind} contains {around!r}", "use personal parts without filters")
    if match := _C1.search(text):
        around = " ".join(text[max(0, match.start() - 30) : match.end() + 10].split())
        yield GateFailure(
            "characters",
            f"{kind} contains the control character U+{ord(match[0]):04X} near {around!r}; "
            "Gmail would cut the mail there",
            "replace it: usually it is a quotation mark or dash from an old file",
        )
    if match := _CONTROL.search(text):
        yield GateFailure("characters", f"{kind} contains the control character U+{ord(match[0]):04X}", "remove it")
    if not text.strip():
        yield GateFailure("mime", f"{kind} is empty", "write the same content into both bodies of the template")


def _check_size(html: str, part: Message) -> Iterator[GateFailure]:
    encoded = str(part.get_payload())
    sizes = {"decoded": len(html.encode()), "encoded": len(encoded) + encoded.count("\n") - encoded.count("\r\n")}
    for form, size in sizes.items():
        if size >= LIMIT:
            detail = f"the HTML has {size:,} bytes {form}; Gmail hides everything beyond {LIMIT:,}"
            yield GateFailure("size", detail, "lower max_items, or shorten the stories")


def _check_html(html: str, text: str, parsed: Message) -> Iterator[GateFailure]:
    root = etree.fromstring(html.encode(), etree.HTMLParser(encoding="utf-8"))
    if not re.search(r"<meta[^<>]+charset", html[:1024], re.IGNORECASE):
        yield GateFailure(
            "charset", "no <meta charset> in the first 1,024 bytes", "put it first in the head of body.html.j2"
        )
    yield from _check_language(root)
    for image in root.iter("img"):
        source = image.get("src", "")
        if not (image.get("alt") or "").strip() and image.get("role") != "presentation":
            yield GateFailure("alt", f"the picture {source!r} has no alt text", "add alt to the item's images")
        if not _is_absolute(source, ("http://", "https://", "cid:")):
            yield GateFailure("links", f"the picture {source!r} has no absolute URL", _FULL_URL)
    links = []
    for link in root.iter("a"):
        href = link.get("href")
        label = " ".join("".join(str(words) for words in link.itertext()).split()) or "a picture"
        if href is None or not href.strip() or href == "#":
            yield GateFailure("links", f"the link on {label!r} has no URL", "give it a URL or remove it")
        elif not _is_absolute(href, ("http://", "https://", "mailto:", "tel:")):
            yield GateFailure("links", f"the link {href!r} on {label!r} is not absolute", _FULL_URL)
        else:
            links.append(href)
    in_text = {variant for url in _URL_IN_TEXT.findall(text) for variant in (url, url.rstrip(_TRAILING))}
    for href in dict.fromkeys(links):
        bare = href.removeprefix("mailto:").removeprefix("tel:")
        if href not in in_text and not (bare != href and bare in text):
            yield GateFailure("text", f"the text part lacks the link {href}", "put the same links into body.txt.j2")
    url = re.search(r"<(https?://[^<>]*)>", str(parsed.get("List-Unsubscribe", "")))
    if url and url[1] not in links:
        yield GateFailure(
            "unsubscribe", "the mail has no link to unsubscribe", "put personal.unsubscribe_url into foot"
        )
    # Loaded here: its libraries are large, and commands without mails need only the words of this module.
    from tidings.render.inline import find_css_problems

    for problem in find_css_problems("", "".join(style.text or "" for style in root.iter("style"))):
        yield GateFailure("style", problem, "change the styles of the template")


def _check_language(root: etree._Element) -> Iterator[GateFailure]:
    article = next((element for element in root.iter("div", "table") if element.get("role") == "article"), None)
    for name, element in (("<html>", root), ('the element with role="article"', article)):
        if element is None:
            yield GateFailure("language", f"{name} is missing", "wrap the mail in it, with lang and dir")
            continue
        for attribute in ("lang", "dir"):
            if not (element.get(attribute) or "").strip():
                mend = "add it: screen readers and right-to-left text need it"
                yield GateFailure("language", f"{name} has no {attribute}", mend)


def _is_absolute(url: str, schemes: tuple[str, ...]) -> bool:
    scheme = next((scheme for scheme in schemes if url.startswith(scheme)), None)
    return scheme is not None and len(url) > len(scheme) and not re.search(r"[\s\x00-\x1f]", url)
