"""One content file read: bytes in, an item as its source tells it out, or what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from tidings.config.yaml_text import Mapping, Node, Scalar, Sequence
from tidings.model.dates import parse_moment
from tidings.model.errors import Problem
from tidings.model.item import EVENT, Attachment, Image
from tidings.model.text import clean, has_forbidden, one_line, slugify, summarise
from tidings.sources.base import SourceContext, SourceItem
from tidings.sources.body import render_body
from tidings.sources.folder.front_matter import FrontMatter, find_similar, read_front_matter
from tidings.sources.links import ContentLocation, FileLinks, FileMeasurer, LinkProblem, encode_url
from tidings.sources.web.fingerprint import add_fingerprint

MAX_BYTES = 5_000_000

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_SLUG = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
_TRUE = ("true", "yes", "on")
_FALSE = ("false", "no", "off")


@dataclass(slots=True)
class _FileReader:
    """One file while it is read; problems gather here."""

    ref: str
    front: FrontMatter
    context: SourceContext
    problems: list[Problem]

    def wrong(self, key: str, message: str, mend: str = "", level: str = "error") -> None:
        line, column = self.front.places.get(key, (1, 1))
        self.problems.append(Problem(self.ref, line, column, message, mend, level))

    def wrong_at(self, node: Node, message: str, mend: str = "", level: str = "error") -> None:
        self.problems.append(Problem(self.ref, node.line, node.column, message, mend, level))

    def text(self, key: str) -> str:
        node = self.front.values.get(key)
        if node is None:
            return ""
        if not isinstance(node, Scalar):
            self.wrong_at(node, f"`{key}` must be text", f"write {key}: ... on one line")
            return ""
        return one_line(node.text)

    def by_channel(self, key: str) -> dict[str, str]:
        """One text for every channel (its name is then empty), or a map of them; lines stay as they are written."""
        node = self.front.values.get(key)
        entries = node.entries if isinstance(node, Mapping) else () if node is None else ((None, node),)
        found = {}
        for name, value in entries:
            if not isinstance(value, Scalar):
                self.wrong_at(value, f"`{key}` must be text, or a map of channels", f"write {key}: {{CHANNEL: ...}}")
            elif text := clean(value.text).strip():
                found[one_line(name.text) if name else ""] = text
        return found

    def moment(self, key: str, *, end_of_day: bool = False) -> datetime | None:
        text = self.text(key)
        if not text:
            return None
        try:
            moment = parse_moment(text, self.context.zone, end_of_day=end_of_day)
            return moment.replace(microsecond=0)
        except (ValueError, OverflowError) as error:
            self.wrong(key, f"`{key}`: {error}", "write it as 2023-09-27 or 2023-09-27T10:00")
            return None

    def flag(self, key: str) -> bool:
        text = self.text(key).lower()
        if text in _TRUE:
            return True
        if text and text not in _FALSE:
            self.wrong(key, f"`{key}` must be true or false, not {text[:40]!r}", f"write {key}: true, or take it out")
        return False

    def names(self, key: str, *, slugs: bool = False) -> tuple[str, ...]:
        """A list of texts; one text alone is a list of one."""
        node = self.front.values.get(key)
        nodes = node.items if isinstance(node, Sequence) else () if node is None else (node,)
        names = []
        for each in nodes:
            if not isinstance(each, Scalar):
                self.wrong_at(each, f"`{key}` must be a list of names", f"write {key}: [one, two]")
                continue
            name = one_line(each.text)
            if slugs and name and not _SLUG.fullmatch(name):
                self.wrong_at(each, f"{name[:40]!r} in `{key}` is no plain name", f"write {slugify(name)}")
            if name and name not in names:
                names.append(name)
        return tuple(names)

    def maps(self, key: str, known: tuple[str, ...]) -> list[tuple[Node, dict[str, str]]]:
        """A list of maps with the keys `known`; a text alone stands for its first key."""
        node = self.front.values.get(key)
        nodes = node.items if isinstance(node, Sequence) else () if node is None else (node,)
        maps: list[tuple[Node, dict[str, str]]] = []
        for each in nodes:
            if isinstance(each, Scalar):
                if each.text.strip():
                    maps.append((each, {known[0]: each.text.strip()}))
            elif isinstance(each, Mapping):
                values = {}
                for name, value in each.entries:
                    if name.text not in known:
                        meant = find_similar(name.text, known)
                        mend = f"did you mean `{meant}`?" if meant else f"the keys are {', '.join(known)}"
                        self.wrong_at(name, f"there is no key `{name.text}` in `{key}`", mend)
                    elif not isinstance(value, Scalar):
                        self.wrong_at(value, f"`{name.text}` must be text")
                    else:
                        values[name.text] = one_line(value.text)
                if values.get(known[0]):
                    maps.append((each, values))
                else:
                    self.wrong_at(each, f"an entry of `{key}` has no `{known[0]}`", f"write {{{known[0]}: media/NAME}}")
            else:
                self.wrong_at(each, f"`{key}` must be a list of maps", f"write {key}: [{{{known[0]}: media/NAME}}]")
        return maps


def read_document(
    raw: bytes, ref: str, place: ContentLocation, context: SourceContext, files: FileMeasurer
) -> tuple[SourceItem | None, list[Problem]]:
    """`ref` is the file's path from the newsroom, in slashes. None where any problem is an error. Never raises."""
    if len(raw) > MAX_BYTES:
        return None, [too_big_problem(ref)]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return None, [Problem(ref, line, 1, "this is not UTF-8 text", "save the file as UTF-8 in your editor")]
    remarks = []
    if has_forbidden(text):
        message = "control characters, which break feeds, were left out"
        line = next(number for number, each in enumerate(text.split("\n"), 1) if has_forbidden(each))
        remarks = [
            Problem(ref, line, 1, message, "delete them; they often come with text pasted from a PDF", "warning")
        ]
    text = clean(text)
    front, problems = read_front_matter(text, ref)
    if front is None:
        return None, [*remarks, *problems]
    reading = _FileReader(ref, front, context, [*remarks, *problems])
    links = FileLinks(place, files)
    found = _found(reading, links)
    for fault in links.faults:
        reading.problems.append(_located(fault, text, ref))
    if any(problem.level == "error" for problem in reading.problems):
        return None, reading.problems
    return found, reading.problems


def too_big_problem(ref: str) -> Problem:
    """A body over 5 MB would clip every mail and choke every feed."""
    mend = "put pictures and documents into files beside it"
    return Problem(ref, 1, 1, f"the file is larger than {MAX_BYTES // 1_000_000} MB", mend)


def _found(reading: _FileReader, links: FileLinks) -> SourceItem:
    name, language = _name_and_language(reading)
    title = reading.text("title")
    if not title:
        reading.wrong("title", "there is no title", "write title: ... between the two ---")
    kind = reading.text("kind") or "story"
    if not _SLUG.fullmatch(kind):
        reading.wrong("kind", f"{kind[:40]!r} is no kind", f"write kind: {slugify(kind)}")
    ends = reading.moment("ends", end_of_day=True)
    starts = reading.moment("starts")
    if starts and ends and ends < starts:
        reading.wrong("ends", "it ends before it starts", "change starts or ends")
    expires = reading.moment("expires", end_of_day=True)
    if expires is None and kind == EVENT and "expires" not in reading.front.values:
        expires = ends
    images = _images(reading, links)
    attachments = _attachments(reading, links)
    body = render_body(reading.front.body, links)
    written_id, story = reading.text("id"), reading.text("story")
    found = SourceItem(
        ref=reading.ref,
        name=name,
        language=language,
        title=title,
        summary=reading.text("summary") or summarise(body.opening),
        body=body.html,
        kind=kind,
        fingerprint="",
        explicit_id=_uri(written_id) if written_id else None,
        story=slugify(story) if story else None,
        url=_url(reading),
        published=reading.moment("published"),
        updated=reading.moment("updated"),
        embargo=reading.moment("embargo"),
        expires=expires,
        starts=starts,
        ends=ends,
        place=reading.text("place"),
        topics=reading.names("topics", slugs=True),
        organisations=reading.names("organisations"),
        authors=reading.names("authors"),
        images=images,
        attachments=attachments,
        media=tuple(links.media[url] for url in sorted(links.media)),
        lead=reading.flag("lead"),
        not_in=reading.names("not_in"),
        draft=reading.flag("draft"),
        correction=reading.text("correction"),
        withdrawn=reading.text("withdrawn"),
        post=reading.by_channel("post"),
        extra={clean(key): clean(value) for key, value in reading.front.extra.items()},
    )
    return add_fingerprint(found)


def _name_and_language(reading: _FileReader) -> tuple[str, str]:
    """`NAME.LANG.md`; `language:` goes before LANG, and without either it is the site's first language."""
    languages = {language.lower(): language for language in reading.context.languages}
    stem = PurePosixPath(reading.ref).stem
    name, dot, suffix = stem.rpartition(".")
    named = languages.get(suffix.lower()) if dot and name else None
    if named is None:
        name = stem
    written = reading.text("language")
    if written:
        if written.lower() not in languages:
            mend = f"write one of {', '.join(reading.context.languages)}, or add it to site.languages"
            reading.wrong("language", f"{written[:40]!r} is none of the site's languages", mend)
        return name, languages.get(written.lower(), reading.context.languages[0])
    if named is None and dot and _LANGUAGE.fullmatch(suffix):
        known = ", ".join(reading.context.languages)
        mend = f"end the name in one of {known} before .md, or write language: in the file, or add it to site.languages"
        reading.wrong("language", f"{suffix!r} in the file's name is none of the site's languages", mend)
    return name, named or reading.context.languages[0]


def _uri(written: str) -> str:
    """RFC 4287 §4.2.6: an id is a URI. What is none (a number from a former system) becomes one, always the same."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+:[!-~]+", written):
        return written
    return f"urn:tidings:{quote(written, safe='')}"


def _url(reading: _FileReader) -> str | None:
    written = reading.text("url")
    if not written:
        return None
    url = encode_url(written)
    if url is None:
        reading.wrong("url", f"{written[:80]!r} is no web address", "write it whole, as https://example.org/en/page")
    return url


def _images(reading: _FileReader, links: FileLinks) -> tuple[Image, ...]:
    images = []
    for node, values in reading.maps("images", ("src", "alt", "caption", "credit")):
        src = _address(reading, links, node, values["src"], picture=True)
        if src is None:
            continue
        if not values.get("alt"):
            mend = 'add alt: "..." that says in words what it shows'
            reading.wrong_at(node, f"the picture {values['src'][:80]} has no alt text", mend, "warning")
        size = links.sizes.get(src)
        images.append(
            Image(
                src,
                values.get("alt", ""),
                values.get("caption", ""),
                values.get("credit", ""),
                size.width if size else None,
                size.height if size else None,
                size.media_type if size else "",
                size.length if size else None,
            )
        )
    return tuple(images)


def _attachments(reading: _FileReader, links: FileLinks) -> tuple[Attachment, ...]:
    attachments = []
    for node, values in reading.maps("attachments", ("src", "title")):
        src = _address(reading, links, node, values["src"], picture=False)
        if src is None:
            continue
        size = links.sizes.get(src)
        if size is None and src.startswith(reading.context.url) and ":" not in values["src"]:
            mend = "put the file beside the item, or mend the name (capital letters count)"
            reading.wrong_at(node, f"there is no file {values['src'][:80]!r} in the content folder", mend)
            continue
        title = values.get("title") or unquote(src.rsplit("/", 1)[-1])
        attachments.append(Attachment(src, title, size.media_type if size else "", size.length if size else None))
    return tuple(attachments)


def _address(reading: _FileReader, links: FileLinks, node: Node, value: str, *, picture: bool) -> str | None:
    """An address that has to be good: whatever is wrong with it is an error, at its own line."""
    before = len(links.faults)
    address = links.absolute(value, picture=picture)
    faults, links.faults[before:] = links.faults[before:], []
    if address is None:
        fault = faults[0] if faults else LinkProblem(value, f"{value[:80]!r} is no address")
        reading.wrong_at(node, fault.message, fault.mend)
    return address


def _located(fault: LinkProblem, text: str, ref: str) -> Problem:
    """The line where the address stands, as written or without its encoding."""
    for needle in (fault.value, unquote(fault.value), unquote(fault.value.rsplit("/", 1)[-1])):
        at = text.find(needle) if needle else -1
        if at >= 0:
            before = text[:at]
            return Problem(ref, before.count("\n") + 1, at - before.rfind("\n"), fault.message, fault.mend, fault.level)
    return Problem(ref, 1, 1, fault.message, fault.mend, fault.level)
