"""Read one content file: convert its bytes to an item, or to a list of problems."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from tidings.config.yaml_text import MERGE_MARK, Mapping, Node, Scalar
from tidings.config.yaml_text import Sequence as YamlSequence
from tidings.model.dates import parse_moment
from tidings.model.errors import Problem
from tidings.model.item import EMAIL, EVENT, PHONE, Attachment, Contact, Image
from tidings.model.text import clean, has_forbidden, one_line, slugify, summarise
from tidings.sources.article import add_fingerprint
from tidings.sources.base import SourceContext, SourceItem
from tidings.sources.body import render_body
from tidings.sources.folder.front_matter import FrontMatter, find_similar, read_front_matter
from tidings.sources.languages import find_foreign_script, guess_language
from tidings.sources.links import ContentLocation, FileLinks, FileMeasurer, LinkProblem, encode_url

MAX_BYTES = 5_000_000

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_SLUG = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
_MERGE_MIDDLE = re.compile(r"^={7}$", re.MULTILINE)
CONTACT = ("name", "role", "email", "phone")
"""The keys of a press contact."""
_TRUE = ("true", "yes", "on")
_FALSE = ("false", "no", "off")
_NOT = set(
    """
    false no off ~ null none n/a n.a nil nothing never n 0 - – — нет нету не ні няма йок жок жоқ yoʻq yo'q yoq لا نه ne
    nein nej nee niet geen non aucune não nu nie ei ninguna hayır hayir không tidak hapana 否 无 無 没有 不
    いいえ なし 아니요 없음
    """.split()  # noqa: SIM905
)
"""Words by which people say that an item is not withdrawn, or has no correction."""
_YES = {*_TRUE, *"y 1 x да так иә ооба ha نعم بله oui sí si ja sim tak evet ano igen da ya 是 はい 예 네".split()}  # noqa: SIM905


@dataclass(slots=True)
class _FileReader:
    """Reads the values of one file and collects its problems."""

    ref: str
    front: FrontMatter
    context: SourceContext
    problems: list[Problem]

    def report(self, key: str, message: str, mend: str, level: str = "error") -> None:
        """Report a problem with the value of a key."""
        line, column = self.front.places.get(key, (1, 1))
        self.problems.append(Problem(self.ref, line, column, message, mend, level))

    def report_at(self, node: Node, message: str, mend: str, level: str = "error") -> None:
        self.problems.append(Problem(self.ref, node.line, node.column, message, mend, level))

    def text(self, key: str) -> str:
        node = self.front.values.get(key)
        if node is None:
            return ""
        if not isinstance(node, Scalar):
            self.report_at(node, f"`{key}` must be text", f"write {key}: ... on one line")
            return ""
        return one_line(node.text)

    def reason(self, key: str) -> str:
        """Read a text that says why something was done. A word for 'no' means that it was not done."""
        text = self.text(key)
        word = text.lower().rstrip(".!")
        if word in _YES or (text and word not in _NOT and len(text.encode()) < 5):
            mend = f"write the reason for readers: {key}: Published in error."
            self.report(key, f"`{key}` must be a text, not {text!r}", mend, "warning" if word in _YES else "error")
        return "" if word in _NOT else text

    def by_channel(self, key: str) -> dict[str, str]:
        """Read one text for all channels (under the key ''), or a map of channels. Line breaks are kept."""
        node = self.front.values.get(key)
        entries = node.entries if isinstance(node, Mapping) else () if node is None else ((None, node),)
        texts = {}
        for name, value in entries:
            if not isinstance(value, Scalar):
                message = f"`{key}` must be text, or a map of channels"
                self.report_at(value, message, f"write {key}: {{CHANNEL: ...}}")
            elif text := clean(value.text).strip():
                texts[one_line(name.text) if name else ""] = text
        return texts

    def moment(self, key: str, *, end_of_day: bool = False) -> datetime | None:
        text = self.text(key)
        if not text:
            return None
        try:
            return parse_moment(text, self.context.zone, end_of_day=end_of_day).replace(microsecond=0)
        except ValueError as error:
            mend = "write it as 2023-09-27 or 2023-09-27T10:00"
            if text.lower() in (*_TRUE, *_FALSE):
                mend = "write a date, or delete the line; draft: true keeps an item back"
            self.report(key, f"`{key}`: {error}", mend)
            return None

    def flag(self, key: str) -> bool:
        text = self.text(key).lower()
        if text and text not in (*_TRUE, *_FALSE):
            message = f"`{key}` must be true or false, not {text[:40]!r}"
            self.report(key, message, f"write {key}: true, or delete the line")
        return text in _TRUE

    def nodes(self, key: str) -> Sequence[Node]:
        """Read a list. A single value counts as a list with one entry."""
        node = self.front.values.get(key)
        return node.items if isinstance(node, YamlSequence) else () if node is None else (node,)

    def names(self, key: str, *, slugs: bool = False) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for node in self.nodes(key):
            if not isinstance(node, Scalar):
                self.report_at(node, f"`{key}` must be a list of names", f"write {key}: [one, two]")
                continue
            name = one_line(node.text)
            if slugs and name and not _SLUG.fullmatch(name):
                self.report_at(node, f"{name[:40]!r} in `{key}` is not a plain name", _advise_on_name(name, key))
            if name:
                names[name] = None
        return tuple(names)

    def maps(self, key: str, known: tuple[str, ...]) -> list[tuple[Node, dict[str, str]]]:
        """Read a list of maps with the keys `known`. A plain text is the value of the first key."""
        maps: list[tuple[Node, dict[str, str]]] = []
        example = f"{{{known[0]}: media/NAME}}"
        for node in self.nodes(key):
            if isinstance(node, Scalar):
                if node.text.strip():
                    maps.append((node, {known[0]: node.text.strip()}))
            elif isinstance(node, Mapping):
                values = self.values(node, key, known)
                if values.get(known[0]):
                    maps.append((node, values))
                else:
                    self.report_at(node, f"an entry of `{key}` has no `{known[0]}`", f"write {example}")
            else:
                self.report_at(node, f"`{key}` must be a list of maps", f"write {key}: [{example}]")
        return maps

    def values(self, node: Node, key: str, known: tuple[str, ...]) -> dict[str, str]:
        """Read a map with the keys `known`."""
        values: dict[str, str] = {}
        if not isinstance(node, Mapping):
            self.report_at(node, f"`{key}` must be a map", f"write {key}: {{{known[0]}: ...}}")
            return values
        for name, value in node.entries:
            if name.text not in known:
                meant = find_similar(name.text, known)
                mend = f"did you mean `{meant}`?" if meant else f"the keys are {', '.join(known)}"
                self.report_at(name, f"there is no key `{name.text}` in `{key}`", mend)
            elif not isinstance(value, Scalar):
                self.report_at(value, f"`{name.text}` must be text", f"write {name.text}: ... on one line")
            else:
                values[name.text] = one_line(value.text)
        return values


def read_document(
    raw: bytes, ref: str, location: ContentLocation, context: SourceContext, files: FileMeasurer
) -> tuple[SourceItem | None, list[Problem]]:
    """Read a file. `ref` is its path from the newsroom, with slashes. The item is None after an error. Never raises."""
    if len(raw) > MAX_BYTES:
        return None, [too_big_problem(ref)]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return None, [Problem(ref, line, 1, "this is not UTF-8 text", "save the file as UTF-8 in your editor")]
    warnings = []
    if "\ufffd" in text:
        line = text[: text.index("\ufffd")].count("\n") + 1
        count = text.count("\ufffd")
        message = "a letter is broken (\ufffd)" if count == 1 else f"{count} letters are broken (\ufffd)"
        mend = "type them again: a program before us could not read them"
        warnings.append(Problem(ref, line, 1, message, mend, "warning"))
    if has_forbidden(text):
        line = next(number for number, each in enumerate(text.split("\n"), 1) if has_forbidden(each))
        message = "control characters, which break feeds, were removed"
        mend = "delete them; they often come with text pasted from a PDF"
        warnings.append(Problem(ref, line, 1, message, mend, "warning"))
    text = clean(text)
    if (conflict := MERGE_MARK.search(text)) and _MERGE_MIDDLE.search(text):
        line = text[: conflict.start()].count("\n") + 1
        mend = "keep one of the two versions, and delete the lines with <<<<<<<, ======= and >>>>>>>"
        return None, [Problem(ref, line, 1, "two versions of the text were merged and both are still here", mend)]
    front, problems = read_front_matter(text, ref)
    if front is None:
        return None, [*warnings, *problems]
    reader = _FileReader(ref, front, context, [*warnings, *problems])
    links = FileLinks(location, files)
    item = _read_item(reader, links)
    reader.problems += [_locate(problem, text, ref) for problem in links.problems]
    has_error = any(problem.level == "error" for problem in reader.problems)
    return None if has_error else item, reader.problems


def too_big_problem(ref: str) -> Problem:
    """Return the problem for a file over the limit. Mails would cut such a body, and it would break feed readers."""
    message = f"the file is larger than {MAX_BYTES // 1_000_000} MB"
    return Problem(ref, 1, 1, message, "put pictures and documents into files beside it")


def _read_item(reader: _FileReader, links: FileLinks) -> SourceItem:
    name, language = _read_name_and_language(reader)
    if name in ("index", "_index") and links.location.folder != links.location.content:
        name = links.location.folder.name  # Hugo and Astro give a story and its pictures a folder
    title = reader.text("title")
    if not title:
        reader.report("title", "there is no title", "write title: ... between the two ---")
    kind = reader.text("kind") or "story"
    if not _SLUG.fullmatch(kind):
        reader.report("kind", f"{kind[:40]!r} is not a valid kind", f"write kind: {slugify(kind)}")
    ends = reader.moment("ends", end_of_day=True)
    starts = reader.moment("starts")
    if starts and ends and ends < starts:
        reader.report("ends", "it ends before it starts", "change starts or ends")
    expires = reader.moment("expires", end_of_day=True)
    if expires is None and kind == EVENT and "expires" not in reader.front.values:
        expires = ends
    images = _read_images(reader, links)
    attachments = _read_attachments(reader, links)
    body = render_body(reader.front.body, links)
    if script := find_foreign_script(language, title, body.html):
        mend = f"name its language in the file's name (NAME.LANG.md) or in `language:`, if it is not {language}"
        message = f"the text is written in {script} letters, but its language is {language!r}"
        reader.report("language", message, mend, "warning")
    explicit_id, story = reader.text("id"), reader.text("story")
    item = SourceItem(
        ref=reader.ref,
        name=name,
        language=language,
        title=title,
        summary=reader.text("summary") or summarise(body.opening),
        body=body.html,
        kind=kind,
        explicit_id=_as_uri(explicit_id) if explicit_id else None,
        story=slugify(story) if story else None,
        url=_read_url(reader),
        published=reader.moment("published"),
        updated=reader.moment("updated"),
        embargo=reader.moment("embargo"),
        expires=expires,
        starts=starts,
        ends=ends,
        place=reader.text("place"),
        topics=reader.names("topics", slugs=True),
        organisations=reader.names("organisations"),
        authors=reader.names("authors"),
        images=images,
        attachments=attachments,
        media=tuple(links.media[url] for url in sorted(links.media)),
        contacts=_read_contacts(reader),
        lead=reader.flag("lead"),
        not_in=reader.names("not_in"),
        draft=reader.flag("draft"),
        correction=reader.reason("correction"),
        withdrawn=reader.reason("withdrawn"),
        post=reader.by_channel("post"),
        extra={clean(key): clean(value) for key, value in reader.front.extra.items()},
    )
    return add_fingerprint(item)


def _read_name_and_language(reader: _FileReader) -> tuple[str, str]:
    """Read `NAME.LANG.md`. `language:` has priority over LANG. The default is the site's first language."""
    languages = {language.lower(): language for language in reader.context.languages}
    known = ", ".join(reader.context.languages)
    stem = PurePosixPath(reader.ref).stem
    name, dot, suffix = stem.rpartition(".")
    named = languages.get(suffix.lower()) if dot and name else None
    if named is None:
        name = stem
    written = reader.text("language")
    if written:
        if written.lower() not in languages:
            mend = f"write one of {known}, or add it to site.languages"
            reader.report("language", f"{written[:40]!r} is not one of the site's languages", mend)
        return name, languages.get(written.lower(), reader.context.languages[0])
    if named is None:
        _report_ending(reader, stem, suffix if dot else "")
    return name, named or reader.context.languages[0]


def _report_ending(reader: _FileReader, stem: str, suffix: str) -> None:
    """Report a file's name that seems to name its language, but not as `NAME.LANG.md`."""
    languages = reader.context.languages
    known = ", ".join(languages)
    meant = guess_language(suffix, languages)
    name = stem.removesuffix(f".{suffix}") if suffix else stem
    if match := re.fullmatch(r"(.+?)(?:_([A-Za-z]{2,3})|[_ ]([^\W\d_A-Za-z]{2,8})| ?\(([^\W\d_]{2,8})\))", stem):
        # `a_ru`, `a (ru)`, `a рус`. A hyphen or a space says nothing: `how-to-be`.
        ending = guess_language(next(filter(None, match.groups()[1:])), languages)
        if ending is not None and meant is None:
            name, suffix, meant = match[1].rstrip(" _-."), stem[len(match[1]) :], ending
    if meant is not None:
        name = name.strip().removesuffix(f".{meant}")  # a.ru_RU.md
        mend = f"rename the file to {name}.{meant}.md, or write `language:` in the file"
        reader.report("language", f"{suffix!r} in the file's name is not written as one of the site's languages", mend)
    elif _LANGUAGE.fullmatch(suffix):
        mend = f"use one of {known} before `.md`, or write `language:` in the file, or add {suffix!r} to site.languages"
        reader.report("language", f"{suffix!r} in the file's name is not one of the site's languages", mend)
    elif 1 < len(suffix) <= 8 and suffix.isalpha() and not suffix.isascii():
        mend = f"use one of {known} before `.md`, or write `language:` in the file"
        reader.report("language", f"{suffix!r} in the file's name is not one of the site's languages", mend)
    elif place := _find_language_within(stem, languages):
        mend = "rename the file to NAME.LANG.md, or write `language:` in the file"
        reader.report("language", f"{place!r} in the file's name names a language, but not at its end", mend)


def _find_language_within(stem: str, languages: Collection[str]) -> str:
    """Return the part of a file's name that names a language in another place: `ru.open-day`, `open-day.ru.final`."""
    known = {language.lower() for language in languages}
    parts = re.split(r"(?<=.)(?=\.)", stem)
    for part in parts[1:] if len(parts) > 1 else []:
        if re.split(r"[\s._()-]", part[1:], maxsplit=1)[0].lower() in known:
            return part
    first = re.match(r"([A-Za-z]{2,3})[._]", stem)
    return first[0] if first and first[1].lower() in known else ""


def _as_uri(written: str) -> str:
    """Convert an id to a URI (RFC 4287 §4.2.6), always the same. The id may be a number from a former system."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+:[!-~]+", written):
        return written
    return f"urn:tidings:{quote(written, safe='')}"


def _read_url(reader: _FileReader) -> str | None:
    written = reader.text("url")
    if not written:
        return None
    url = encode_url(written)
    if url is None:
        mend = "write the whole address, as https://example.org/en/page"
        reader.report("url", f"{written[:80]!r} is not a web address", mend)
    return url


def _read_images(reader: _FileReader, links: FileLinks) -> tuple[Image, ...]:
    images = []
    for node, values in reader.maps("images", ("src", "alt", "caption", "credit")):
        src = _read_address(reader, links, node, values["src"], picture=True)
        if src is None:
            continue
        alt, caption, credit = (values.get(key, "") for key in ("alt", "caption", "credit"))
        if not alt:
            mend = 'add alt: "..." that describes the picture'
            reader.report_at(node, f"the picture {values['src'][:80]} has no alt text", mend, "warning")
        if size := links.sizes.get(src):
            image = Image(src, alt, caption, credit, size.width, size.height, size.media_type, size.length)
        else:
            image = Image(src, alt, caption, credit)
        images.append(image)
    return tuple(images)


def _read_attachments(reader: _FileReader, links: FileLinks) -> tuple[Attachment, ...]:
    attachments = []
    for node, values in reader.maps("attachments", ("src", "title")):
        src = _read_address(reader, links, node, values["src"], picture=False)
        if src is None:
            continue
        size = links.sizes.get(src)
        if size is None and src.startswith(reader.context.url) and ":" not in values["src"]:
            mend = "put the file beside the item, or correct the name (capital letters count)"
            reader.report_at(node, f"there is no file {values['src'][:80]!r} in the content folder", mend)
            continue
        title = values.get("title") or unquote(src.rsplit("/", 1)[-1])
        attachments.append(Attachment(src, title, size.media_type if size else "", size.length if size else None))
    return tuple(attachments)


def _read_contacts(reader: _FileReader) -> tuple[Contact, ...]:
    """Read `contact`: a map with name, role, email and phone, or a text with them, or a list of these."""
    contacts = []
    for node in reader.nodes("contact"):
        values = _split_contact(node.text) if isinstance(node, Scalar) else reader.values(node, "contact", CONTACT)
        contact = Contact(**{key: one_line(value) for key, value in values.items()})
        if contact == Contact():
            continue
        if contact.email and not EMAIL.fullmatch(contact.email):
            reader.report_at(node, f"{contact.email[:60]!r} is not an e-mail address", "write email: NAME@example.org")
        if contact.phone and not PHONE.fullmatch(contact.phone):
            reader.report_at(node, f"{contact.phone[:60]!r} is not a phone number", "write phone: +7 727 000 00 00")
        contacts.append(contact)
    return tuple(contacts)


def _split_contact(text: str) -> dict[str, str]:
    """Find the parts of `Jane Doe, Press officer, jane@example.org, +7 727 000 00 00`."""
    email = EMAIL.search(text)
    phone = PHONE.search(text.replace(email[0], " ") if email else text)
    for match in (email, phone):
        text = text.replace(match[0], ",") if match else text
    names = [part for part in (part.strip(" <>()-–—:") for part in re.split(r"[,;|\n]", text)) if part]
    values = {"name": names[0] if names else "", "role": ", ".join(names[1:])}
    return values | {"email": email[0] if email else "", "phone": phone[0].strip() if phone else ""}


def _read_address(reader: _FileReader, links: FileLinks, node: Node, value: str, *, picture: bool) -> str | None:
    """Read an address that must be valid. Each problem is an error with its own line."""
    before = len(links.problems)
    address = links.absolute(value, picture=picture)
    problems, links.problems[before:] = links.problems[before:], []
    if address is None or problems:
        mend = "write the name of a file beside the item, or a whole web address"
        problem = problems[0] if problems else LinkProblem(value, f"{value[:80]!r} is not an address", mend)
        # A picture that its own key names must be there; a warning about a file leads to a better one later.
        if address is None or picture:
            reader.report_at(node, problem.message, problem.mend)
    return address


def _advise_on_name(name: str, key: str) -> str:
    """Say how to write a name that has spaces, capital letters, commas or letters of another script."""
    slugs = [slugify(part) for part in re.split(r"[,;،、]", name) if part.strip()]
    if any(re.fullmatch(r"item-[0-9a-f]{8}", slug) for slug in slugs):
        return f"write a name of Latin letters, such as water, and its label under `{key}:` in tidings.yaml"
    return f"write {slugs[0]}" if len(slugs) == 1 else f"write [{', '.join(slugs)}]"


def _locate(problem: LinkProblem, text: str, ref: str) -> Problem:
    """Find the line with the address, as written or decoded."""
    line = column = 1
    value = problem.value
    # Markdown encodes addresses, and HTML escapes them.
    for needle in (value, unquote(value), html.escape(value), unquote(value.rsplit("/", 1)[-1])):
        at = text.find(needle) if needle else -1
        if at >= 0:
            before = text[:at]
            line, column = before.count("\n") + 1, at - before.rfind("\n")
            break
    return Problem(ref, line, column, problem.message, problem.mend, problem.level)
