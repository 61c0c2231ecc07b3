"""Check the items of a newsroom for errors and for likely mistakes. Changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from tidings.config.file_reader import MAIN
from tidings.config.settings import Newsroom
from tidings.model.errors import Problem, nearest
from tidings.model.item import EVENT, Image
from tidings.model.text import slugify
from tidings.pipeline.collect.changes import make_duplicate_problem
from tidings.pipeline.collect.files import BATCH, find_changed_files
from tidings.render.i18n import KINDS, load_catalogue
from tidings.render.mail.content_gates import find_item_leftovers
from tidings.sources.article import advise_on_alt, warn_of_missing_alt
from tidings.sources.base import FileSource, ReadFile, Source, SourceItem
from tidings.store import migrate
from tidings.store.content import source_files
from tidings.store.content.source_files import ItemOutline, SourceFile, load_outlines
from tidings.store.engine import Store


def check_items(newsroom: Newsroom, sources: Mapping[str, Source], store: Store | None) -> Iterator[Problem]:
    """Check all items of the folders, and the stored items of websites."""
    kinds: set[str] = set()
    holders: dict[tuple[str, str], str] = {}
    for name, source in sources.items():
        if isinstance(source, FileSource):
            for read in _read_folder(name, source, store):
                yield from _check_read(newsroom, read, kinds, is_folder=True)
                yield from _find_duplicates([item for item, _ in read[0]], holders)
        else:
            sweep = source.sweep(datetime.now(UTC))
            items = [(item, _find_leftovers(item)) for item in sweep.items]
            yield from _check_read(newsroom, (items, sweep.problems), kinds, is_folder=False)
    yield from _check_selected_kinds(newsroom, kinds)


def _find_duplicates(items: Sequence[SourceItem], holders: dict[tuple[str, str], str]) -> Iterator[Problem]:
    """Report files that are the same story in the same language. `holders` has the first file of each."""
    for item in items:
        story = item.story or item.name
        if story and (holder := holders.setdefault((story, item.language), item.ref)) != item.ref:
            yield make_duplicate_problem(item, story, holder)


_Read = tuple[Sequence[tuple[SourceItem, Sequence[str]]], Sequence[Problem]]
"""Items with their leftovers of a draft, and the problems of reading them."""


def _check_read(newsroom: Newsroom, read: _Read, kinds: set[str], *, is_folder: bool) -> Iterator[Problem]:
    """Check some items, and add their kinds to `kinds`."""
    items, problems = read
    without_alt = [(item, image) for item, _ in items for image in _images_without_alt(newsroom, item, is_folder)]
    repeated = {warn_of_missing_alt(item, _original_url(item, image)) for item, image in without_alt}
    yield from (problem for problem in problems if problem not in repeated)
    for item, leftovers in items:
        kinds.add(item.kind)
        # Only in folders is a ref the name of a file.
        yield from _check_item(newsroom, item, leftovers, newsroom.root / item.ref if is_folder else None)


def _read_folder(name: str, source: FileSource, store: Store | None) -> Iterator[_Read]:
    """Yield the items of a folder in portions. For an unchanged file, the stored result is used."""
    listing = source.list_files()
    if listing.unreadable is not None:
        yield (), [listing.unreadable]
        return
    if store is None or migrate.version(store) != migrate.HEAD:
        unchanged = set[str]()
    else:
        with store.read() as connection:
            stamp = source_files.find_swept(connection, name)
            known = source_files.load_signatures(connection, name)
            unchanged = listing.documents.keys() - find_changed_files(connection, name, source, listing, stamp, known)
    refs = sorted(listing.documents)
    needed: set[str] = set()
    for start in range(0, len(refs), BATCH):
        some = refs[start : start + BATCH]
        files: dict[str, SourceFile] = {}
        outlines: dict[str, ItemOutline] = {}
        if store is not None and (asked := unchanged.intersection(some)):
            with store.read() as connection:
                files = source_files.find_files(connection, name, refs=asked)
                outlines = load_outlines(connection, name, asked)
            files = {ref: file for ref, file in files.items() if file.state == "refused" or ref in outlines}
        read: Mapping[str, ReadFile] = source.read_files([ref for ref in some if ref not in files])
        items = []
        for ref in some:
            if ref in files and ref in outlines:
                items.append((_make_item(outlines[ref]), files[ref].leftovers))
            elif ref in read and (item := read[ref].item) is not None:
                items.append((item, _find_leftovers(item)))
        both = [files.get(ref) or read.get(ref) for ref in some]
        problems = [problem for file in both if file is not None for problem in file.problems]
        needed.update(path for file in both if file is not None for path in file.needs)
        yield items, problems
    yield (), [problem for path, problem in listing.others.items() if path not in needed]


def _make_item(outline: ItemOutline) -> SourceItem:
    """Make an item from the stored result, without its texts."""
    known = {field.name: getattr(outline, field.name) for field in fields(outline)}
    return SourceItem(name="", title="", body="", **known)


def _find_leftovers(item: SourceItem) -> list[str]:
    return find_item_leftovers(item.title, item.summary, item.body, item.language)


def _check_item(newsroom: Newsroom, item: SourceItem, leftovers: Sequence[str], file: Path | None) -> Iterator[Problem]:
    """Warn about unknown names in an item, and about pictures without alt text. `file` is None for websites."""
    outlets = {*newsroom.lists, *newsroom.channels}
    # A website has its own names for topics.
    topics = item.topics if file is not None else ()
    declare = "declare it under `topics:` in tidings.yaml"
    for key, names, known, message, otherwise in (
        ("topics", topics, newsroom.topics, "topic {!r} is not declared", declare),
        ("not_in", item.not_in, outlets, "not_in: there is no list or channel {!r}", "delete it"),
        ("post", filter(None, item.post), newsroom.channels, "post: there is no channel {!r}", "delete it"),
    ):
        for name in names:
            if name not in known:
                mend = nearest(name, known) if known else otherwise
                yield Problem(item.ref, _find_line(file, key, name), 0, message.format(name), mend, "warning")
    yield from _check_leftovers(newsroom, item, leftovers, file)
    if file is not None:
        yield from _check_kind(newsroom, item, file)
    for image in _images_without_alt(newsroom, item, file is not None):
        url = _original_url(item, image)
        name = unquote(url.rsplit("/", 1)[-1])
        mend = 'add alt: "..." and describe the picture' if file is not None else advise_on_alt(item, url)
        text = f"the picture {name[:80]} has no alt text: mail with it is held, and posts go out without it"
        # Items of the backlog are never sent by mail.
        level: Literal["error", "warning"] = "warning" if item.backlog else "error"
        yield Problem(item.ref, _find_line(file, "images", name), 0, text, mend, level)


def _check_kind(newsroom: Newsroom, item: SourceItem, file: Path) -> Iterator[Problem]:
    """Warn about a kind that is most likely a known one misspelt, and about an event without a date."""
    selected = {kind for _, kinds in _selections(newsroom) for kind in kinds}
    known = None if item.kind in selected else _find_known_kind(item.kind, newsroom.site.languages)
    if known:
        line = _find_line(file, "kind", item.kind)
        message = f"kind {item.kind!r} is unknown, so the story has neither label nor rules of {known!r}"
        mend = f"did you mean `kind: {known}`? To keep your own kind, name it in `select: {{kinds: [{item.kind}]}}`"
        yield Problem(item.ref, line, 0, message, mend, "warning")
    if item.kind == EVENT and item.starts is None:
        line = _find_line(file, "kind", item.kind)
        message = "this event has no `starts`: its page shows no date, and no calendar lists it"
        yield Problem(item.ref, line, 0, message, "write its day and time, like `starts: 2026-12-01T10:00`", "warning")


def _check_selected_kinds(newsroom: Newsroom, kinds: set[str]) -> Iterator[Problem]:
    """Warn about a kind in `select` that no item has, and that is most likely a known one misspelt."""
    for where, selected in _selections(newsroom):
        for kind in selected:
            known = None if kind in kinds else _find_known_kind(kind, newsroom.site.languages)
            if known:
                message = f"{where}.select: no story has the kind {kind!r}"
                yield Problem(MAIN, 0, 0, message, f"did you mean {known!r}?", "warning")


def _selections(newsroom: Newsroom) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each place in the settings that selects kinds, with the kinds."""
    for name, feed in newsroom.feeds.items():
        yield f"feeds.{name}", feed.select.kinds
    for name, schedule in newsroom.schedules.items():
        yield f"schedules.{name}", schedule.select.kinds


@cache
def _find_known_kind(kind: str, languages: tuple[str, ...]) -> str | None:
    """Return the known kind that an unknown one resembles, in English or in a language of the site."""
    if kind in KINDS:
        return None
    words = {name: name for name in KINDS}
    for language in languages:
        catalogue = load_catalogue(language)
        words |= {slugify(catalogue.gettext(text)): name for name, texts in KINDS.items() for text in texts}
    close = get_close_matches(kind, words, n=1, cutoff=0.8)
    return words[close[0]] if close else None


def _check_leftovers(
    newsroom: Newsroom, item: SourceItem, leftovers: Sequence[str], file: Path | None
) -> Iterator[Problem]:
    """Warn about leftovers of a draft in an item that editions may use."""
    action = newsroom.gates.leftovers
    if action == "off" or item.draft or item.backlog:
        return
    for words in leftovers:
        line = 0
        if file is not None:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                lines = file.read_text(encoding="utf-8-sig").splitlines()
                line = next((number for number, text in enumerate(lines, 1) if words[:12] in text), 0)
        after = "; an edition with it is held" if action == "hold" else ""
        message = f"{words!r} looks like a part of a draft{after}"
        mend = "replace it, or write `draft: true` until the text is ready"
        yield Problem(item.ref, line, 0, message, mend, "warning")


def _images_without_alt(newsroom: Newsroom, item: SourceItem, is_file: bool) -> list[Image]:
    """Return pictures without alt text that would hold a mail. Without channels, the source already warns."""
    is_needed = newsroom.channels or (newsroom.lists and not is_file)
    return [image for image in item.images if not image.alt] if is_needed else []


def _original_url(item: SourceItem, image: Image) -> str:
    return item.original_urls.get(image.src, image.src)


def _find_line(path: Path | None, key: str, word: str) -> int:
    """Return the line of `word` below a key of the front matter, or 0 if it is not found."""
    if path is None:
        return 0
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    begin = next((number for number, line in enumerate(lines) if line.startswith(f"{key}:")), None)
    if begin is None:
        return 0
    return next((number for number, line in enumerate(lines[begin:], begin + 1) if word in line), begin + 1)
