"""Gates: what the final bytes of a mail must be before an edition may go. Each failure says what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from typing import Final

from lxml import etree

from tidings.render.inline import KEPT_LIMIT
from tidings.render.mail.personal import LEFTOVER

LIMIT: Final = 102 * 1024
"""Gmail shows this much of a mail and hides the rest, the way out included; encoded or decoded is not told, so both."""
_C1: Final = re.compile(r"[\x80-\x9f]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_IN_TEXT: Final = re.compile(r"(?:https?://|mailto:)[^\s<>\"]+")
_TRAILING: Final = ".,;:!?)]}'»”"
_BUG: Final = "report this as a bug"
_NAMED_LINES: Final = ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version")


@dataclass(frozen=True, slots=True)
class GateFailure:
    """One reason why an edition is held: the gate's name, what is wrong, and how to mend it."""

    gate: str
    detail: str
    mend: str


def check_mail(message: bytes, *, unsubscribe: bool = True) -> list[GateFailure]:
    """Every failure of one whole mail as it would go out; empty if it may. `unsubscribe` is False for notices."""
    header, _, _ = message.partition(b"\r\n\r\n")
    parsed = message_from_bytes(message)
    failures = list(_header_failures(header, parsed, unsubscribe))
    parts = {part.get_content_type(): part for part in parsed.walk() if not part.is_multipart()}
    found: dict[str, str] = {}
    for kind in ("text/plain", "text/html"):
        part = parts.get(kind)
        if part is None:
            failures.append(GateFailure("mime", f"there is no {kind} part", "a template has an HTML and a text body"))
            continue
        charset = part.get_content_charset() or ""
        raw = part.get_payload(decode=True)
        try:
            found[kind] = raw.decode("utf-8") if isinstance(raw, bytes) and charset == "utf-8" else ""
        except UnicodeDecodeError:
            charset = "broken utf-8"
        if charset != "utf-8":
            failures.append(GateFailure("charset", f"{kind} is {charset or 'without one'}", "write templates in UTF-8"))
            continue
        failures += _text_failures(kind, found[kind])
    if found.get("text/html"):
        failures += _size_failures(found["text/html"], parts["text/html"])
        failures += _html_failures(found["text/html"], found.get("text/plain", ""), parsed, unsubscribe)
    if any(len(line) > 998 for line in message.split(b"\r\n")) or b"\n" in message.replace(b"\r\n", b""):
        failures.append(GateFailure("lines", "a line is longer than 998 bytes or ends without CRLF", _BUG))
    return failures


def _header_failures(header: bytes, parsed: Message, unsubscribe: bool) -> Iterator[GateFailure]:
    for name in _NAMED_LINES:
        count = len(parsed.get_all(name, []))
        if count != 1:
            yield GateFailure("headers", f"{name} stands {count} times", _BUG)
    if not header.isascii() or _CONTROL.search(header.decode("latin-1").replace("\r\n", "")):
        yield GateFailure(
            "headers", "a header holds raw non-ASCII or control characters", "check names and the subject"
        )
    if any(line and not re.match(rb"[!-9;-~]+: ?\S|[ \t]\S", line) for line in header.split(b"\r\n")):
        yield GateFailure("headers", "a header line is empty or has no name", "check names and the subject")
    if parsed.defects:
        yield GateFailure("mime", f"the mail does not parse: {parsed.defects[0]!r}", _BUG)
    if not unsubscribe:
        return
    way_out = re.search(rb"(?im)^List-Unsubscribe: (<[^>\r\n]*>(?:,\r\n <[^>\r\n]*>)*)\r?$", header + b"\r")
    if way_out is None or b"=?" in way_out[1]:
        yield GateFailure(
            "list-unsubscribe", "List-Unsubscribe is missing, encoded or folded inside a URL", "check site.url"
        )
    elif b"<http" in way_out[1] and parsed.get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click":
        yield GateFailure("list-unsubscribe", "List-Unsubscribe-Post is missing (RFC 8058)", _BUG)


def _text_failures(kind: str, text: str) -> Iterator[GateFailure]:
    if match := LEFTOVER.search(text):
        around = text[match.start() : match.start() + 40].split("\n")[0]
        yield GateFailure("placeholder", f"{kind} holds {around!r}", "use personal parts as they are, without filters")
    if match := _C1.search(text):
        around = " ".join(text[max(0, match.start() - 30) : match.end() + 10].split())
        yield GateFailure(
            "characters",
            f"{kind} holds the control character U+{ord(match[0]):04X} near {around!r}; Gmail would cut the mail there",
            "replace it: it is usually a quotation mark or dash from an old file",
        )
    if match := _CONTROL.search(text):
        yield GateFailure("characters", f"{kind} holds the control character U+{ord(match[0]):04X}", "remove it")
    if not text.strip():
        yield GateFailure("mime", f"{kind} is empty", "both bodies of a template say the same")


def _size_failures(html: str, part: Message) -> Iterator[GateFailure]:
    encoded = str(part.get_payload())
    sizes = {"decoded": len(html.encode()), "encoded": len(encoded) + encoded.count("\n") - encoded.count("\r\n")}
    for form, size in sizes.items():
        if size >= LIMIT:
            yield GateFailure(
                "size",
                f"the HTML is {size:,} bytes {form}; Gmail hides what is beyond {LIMIT:,}",
                "lower max_items, or shorten the stories",
            )


def _html_failures(html: str, text: str, parsed: Message, unsubscribe: bool) -> Iterator[GateFailure]:
    root = etree.fromstring(html.encode(), etree.HTMLParser(encoding="utf-8"))
    if not re.search(r"<meta[^>]+charset", html[:1024], re.IGNORECASE):
        yield GateFailure(
            "charset", "no <meta charset> in the first 1,024 bytes", "put it first in the head of body.html.j2"
        )
    yield from _language_failures(root)
    for image in root.iter("img"):
        source = image.get("src", "")
        if not (image.get("alt") or "").strip() and image.get("role") != "presentation":
            yield GateFailure("alt", f"the picture {source!r} has no alt text", "add alt to the item's images")
        if not _absolute(source, ("http://", "https://", "cid:")):
            yield GateFailure("links", f"the picture {source!r} has no absolute address", "give it its full URL")
    in_text = {variant for url in _IN_TEXT.findall(text) for variant in (url, url.rstrip(_TRAILING))}
    links = []
    for link in root.iter("a"):
        href = link.get("href")
        words = " ".join("".join(str(text) for text in link.itertext()).split()) or "a picture"
        if href is None or not href.strip() or href == "#":
            yield GateFailure("links", f"the link on {words!r} leads nowhere", "give it a URL or take it out")
        elif not _absolute(href, ("http://", "https://", "mailto:", "tel:")):
            yield GateFailure("links", f"the link {href!r} on {words!r} is not absolute", "give it its full URL")
        else:
            links.append(href)
    for href in dict.fromkeys(links):
        bare = href.removeprefix("mailto:").removeprefix("tel:")
        if href not in in_text and not (bare != href and bare in text):
            yield GateFailure(
                "text", f"the text part lacks the link {href}", "body.txt.j2 says the same with the same links"
            )
    if unsubscribe:
        way_out = re.search(r"<(https?://[^>]*)>", str(parsed.get("List-Unsubscribe", "")))
        if way_out and way_out[1] not in links:
            yield GateFailure(
                "unsubscribe", "the mail has no link to leave the list", "put personal.unsubscribe_url into foot"
            )
    yield from _style_failures(root)


def _language_failures(root: etree._Element) -> Iterator[GateFailure]:
    wrapper = next((element for element in root.iter("div", "table") if element.get("role") == "article"), None)
    for name, element in (("<html>", root), ('the element with role="article"', wrapper)):
        if element is None:
            yield GateFailure("language", f"{name} is missing", "wrap the mail in it, with lang and dir")
            continue
        for attribute in ("lang", "dir"):
            if not (element.get(attribute) or "").strip():
                yield GateFailure(
                    "language", f"{name} has no {attribute}", "screen readers and right-to-left text need it"
                )


def _style_failures(root: etree._Element) -> Iterator[GateFailure]:
    css = "".join(style.text or "" for style in root.iter("style"))
    if len(css) >= KEPT_LIMIT:
        yield GateFailure(
            "style", f"<style> has {len(css):,} characters; Gmail ignores it from {KEPT_LIMIT:,}", "shorten it"
        )
    if re.search(r"@[a-z-]+[^{}]*\{[^{}]*(?:\{[^{}]*\}[^{}]*)*@", css):
        yield GateFailure("style", "an @ rule is inside another; Gmail would ignore all styles", "take it out")
    if re.search(r"@import|url\s*\(", css, re.IGNORECASE):
        yield GateFailure("style", "a style fetches something", "take out @import and url()")


def _absolute(url: str, schemes: tuple[str, ...]) -> bool:
    scheme = next((scheme for scheme in schemes if url.startswith(scheme)), None)
    return scheme is not None and len(url) > len(scheme) and not re.search(r"[\s\x00-\x1f]", url)
