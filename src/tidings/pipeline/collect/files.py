"""Sweep the changes of a folder: read new and changed files, and files that could be confused with them.

The result equals that of a whole sweep. An unchanged file whose item is stored as it is (settled) keeps its item
without being read. It is read if a changed file claims the same id, place, story or content, or if an item of its story
changed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from tidings.child_process import start_fork
from tidings.model.errors import Problem
from tidings.pipeline.collect.changes import Changes, PartialSweep
from tidings.pipeline.collect.identity import story_of
from tidings.pipeline.collect.writing import ATTEMPTS, Overtaken, SweepResult, note_held, save_refused, write_changes
from tidings.render.mail.content_gates import find_item_leftovers
from tidings.sources.base import FileSource, Listing, ReadFile, SourceItem, Sweep
from tidings.store.content import items as stored_items
from tidings.store.content import source_files
from tidings.store.content.items import KnownItem, StoredKeys
from tidings.store.content.source_files import SourceFile, SweptStamp
from tidings.store.engine import Store

BATCH = 300
"""Number of files to read at once, so that memory does not grow with the folder."""
_REST = 300.0
"""A listing stays valid for this many times the CPU time that it took: that is a third of a percent of a core."""


class KeptListings:
    """The last listing of each source, for a process that is told about changes of the folders (`note_change`).

    A network folder tells nothing about changes that other machines make. They are found by the next listing: after
    `_REST` times the CPU time of the last one, so at the next sweep in a small folder, and after about a minute in one
    of 50,000 files.
    """

    def __init__(self) -> None:
        self._changes = 0
        self._kept: dict[str, tuple[FileSource, Listing, int, float]] = {}

    def note_change(self) -> None:
        """Have the next sweep list all folders. Callable from any thread."""
        self._changes += 1

    def find(self, name: str, source: FileSource) -> Listing | None:
        """Return the last listing of a source while it is valid."""
        kept_source, listing, changes, until = self._kept.get(name, (None, None, 0, 0.0))
        is_valid = kept_source is source and changes == self._changes and time.monotonic() < until
        return listing if is_valid else None

    def list_files(self, name: str, source: FileSource) -> Listing:
        """List the files of a source now."""
        changes, began = self._changes, time.thread_time()
        listing = source.list_files()
        until = time.monotonic() + _REST * (time.thread_time() - began)
        self._kept[name] = source, listing, changes, until
        return listing


@dataclass(slots=True)
class _Part:
    """Files to decide together, the stored items that may match them, and the refs of unchanged refused files."""

    read: dict[str, ReadFile]
    known: dict[str, KnownItem] = field(default_factory=dict)
    aside: set[str] = field(default_factory=set)

    def items(self) -> list[SourceItem]:
        return [file.item for file in self.read.values() if file.item is not None]


class FileSweep:
    """One sweep of a source of files. `sources`: its name, and the names of sources that are no longer configured."""

    def __init__(
        self,
        store: Store,
        name: str,
        source: FileSource,
        sources: Sequence[str],
        decide: Callable[..., Changes],
        now: datetime,
        listings: KeptListings,
        processes: int = 1,
        on_progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        """`processes`: how many forks may read files. `on_progress` gets the number of files that were collected."""
        self._listings = listings
        self._processes = processes
        self._on_progress = on_progress
        self._store = store
        self._name = name
        self._source = source
        self._sources = sources
        self._decide = decide
        self._now = now

    def run(self, result: SweepResult) -> None:
        """Collect what changed, and add it to the result."""
        listing = self._listings.find(self._name, self._source)
        if listing is not None:
            with self._store.read() as connection:
                is_quiet = self._is_quiet(connection, listing)
            if is_quiet:
                self._add_problems(listing, result)
                return
        listing = self._listings.list_files(self._name, self._source)
        if listing.unreadable is not None:
            result.problems.append(listing.unreadable)
            changes = self._decide(Sweep((), (listing.unreadable,), is_readable=False), [])
            note_held(self._store, self._name, changes, self._now, result)
            return
        with self._store.read() as connection:
            stamp = source_files.find_swept(connection, self._name)
            version = stored_items.items_version(connection)
            is_quiet = self._is_quiet(connection, listing)
            changed, removed = ([], []) if is_quiet else self._find_changes(connection, listing, stamp)
            can_split = not removed and not stored_items.has_missing(connection, self._name)
        if not is_quiet:
            size = BATCH if can_split else max(len(changed), 1)
            parts = [changed[start : start + size] for start in range(0, len(changed), size)] or [[]]
            for number, (refs, read) in enumerate(self._read_parts(parts), 1):
                settled = self._collect_part(listing, refs, read, removed, number == len(parts), result)
                if settled is None:
                    self._add_problems(listing, result)
                    return
                version = settled
                self._on_progress(min(number * size, len(changed)), len(changed))
            with self._store.write() as connection:
                source_files.save_swept(connection, self._name, SweptStamp(listing.settings, listing.digest, version))
        self._add_problems(listing, result)

    def _read_parts(self, parts: Sequence[Sequence[str]]) -> Iterator[tuple[Sequence[str], dict[str, ReadFile]]]:
        """Read the files of each part. Forks read the next parts while a part is collected."""
        if self._processes == 1 or len(parts) == 1:
            yield from ((refs, self._source.read_files(refs)) for refs in parts)
            return
        running: deque[tuple[Sequence[str], Callable[[], dict[str, ReadFile]]]] = deque()
        for refs in parts:
            running.append((refs, start_fork(partial(self._source.read_files, refs))))
            if len(running) > self._processes:
                refs, wait = running.popleft()
                yield refs, wait()
        for refs, wait in running:
            yield refs, wait()

    def _is_quiet(self, connection: Connection, listing: Listing) -> bool:
        """Whether nothing has changed since the last sweep, and nothing waits."""
        version = stored_items.items_version(connection)
        return (
            source_files.find_swept(connection, self._name) == SweptStamp(listing.settings, listing.digest, version)
            and bool(listing.digest)
            and not source_files.has_open(connection, self._name)
            and not any(stored_items.has_missing(connection, name) for name in self._sources)
        )

    def _find_changes(
        self, connection: Connection, listing: Listing, stamp: SweptStamp | None
    ) -> tuple[list[str], list[str]]:
        """Return the refs of files to read, in order, and of files that vanished."""
        known = source_files.load_signatures(connection, self._name)
        changed = find_changed_files(connection, self._name, self._source, listing, stamp, known)
        return sorted(changed), sorted(known.keys() - listing.documents.keys())

    def _collect_part(
        self,
        listing: Listing,
        refs: Sequence[str],
        read: Mapping[str, ReadFile],
        removed: Sequence[str],
        is_last: bool,
        result: SweepResult,
    ) -> int | None:
        """Decide and write a part of the files. Returns the items' new version, or None if a person must decide."""
        gone = [*(removed if is_last else ()), *(ref for ref in refs if ref not in read)]
        for _ in range(ATTEMPTS):
            part = _Part(dict(read))
            with self._store.read() as connection:
                version = stored_items.items_version(connection)
                self._add_related(connection, listing, part, gone, is_last)
                context = PartialSweep(
                    StoredKeys(connection), stored_items.count_present(connection, self._name), is_last
                )
                sweep = Sweep(
                    tuple(part.items()),
                    set_aside=(
                        *sorted(part.aside),
                        *(ref for ref, file in part.read.items() if file.item is None),
                    ),
                )
                known = sorted(part.known.values(), key=lambda item: item.id)
                changes = self._decide(sweep, known, part=context)
                refused = {
                    item.ref: item for item in stored_items.load_refused(connection) if item.source == self._name
                }
            if note_held(self._store, self._name, changes, self._now, result):
                return None
            self._save_refused(listing, part, changes, refused, gone, is_last)
            with suppress(Overtaken):
                version = write_changes(self._store, changes, known, version, self._now)
                result.add(changes)
                self._save_files(listing, part, changes, gone)
                return version
        raise RuntimeError(f"source {self._name}: items kept changing during {ATTEMPTS} attempts to collect")

    def _add_related(
        self, connection: Connection, listing: Listing, part: _Part, gone: Collection[str], is_last: bool
    ) -> None:
        """Add the stored items that may belong to the files, then the files of these items, until nothing is added."""
        asked = _Asked()
        new = part.read
        part.known = stored_items.find_known(
            connection, sources=[self._name], refs=gone, missing=is_last, without_file=is_last
        )
        while True:
            keys = asked.add(new, part.known.values())
            found = stored_items.find_known(
                connection,
                sources=self._sources,
                refs=keys.refs,
                ids=keys.ids,
                fingerprints=keys.fingerprints,
                stories=keys.stories,
            )
            for item in stored_items.find_known(connection, published=keys.headlines).values():
                if (item.title, item.published, item.language) in asked.headlines:
                    found[item.id] = item
            new_items = found.keys() - part.known.keys()
            part.known |= found
            files = source_files.find_files(
                connection,
                self._name,
                refs=[item.ref for item in part.known.values() if item.source == self._name],
                names=keys.names,
                stories=keys.asked_stories,
            )
            own = {item.ref for item in part.known.values() if item.source == self._name}
            more = ((files.keys() | own) & listing.documents.keys()) - part.read.keys()
            part.aside |= {
                ref
                for ref in more & files.keys()
                if files[ref].state == "refused" and files[ref].signature == listing.documents[ref] != ""
            }
            new = self._source.read_files(more - part.aside)
            part.read |= new
            if not new and not new_items:
                return

    def _save_refused(
        self,
        listing: Listing,
        part: _Part,
        changes: Changes,
        refused: Mapping[str, stored_items.RefusedItem],
        gone: Collection[str],
        is_last: bool,
    ) -> None:
        """Store why files of this part were refused. The last part adds files whose names cannot be items."""
        touched = {*part.read, *gone}
        problems = [problem for file in part.read.values() for problem in file.problems]
        if is_last:
            others = self._find_other_problems(listing)
            problems += others
            touched |= {problem.file for problem in others} | (refused.keys() - listing.documents.keys())
        before = {ref: item for ref, item in refused.items() if ref in touched}
        aside = tuple(ref for ref, file in part.read.items() if file.item is None)
        save_refused(self._store, self._name, Sweep((), tuple(problems), aside), changes, before, self._now)

    def _save_files(self, listing: Listing, part: _Part, changes: Changes, gone: Iterable[str]) -> None:
        refused = {problem.file for problem in changes.refused}
        rows = []
        for ref, file in part.read.items():
            item = file.item
            signature = listing.documents.get(ref, "") if file.is_settled else ""
            rows.append(
                SourceFile(
                    ref,
                    signature,
                    file.needs,
                    "refused" if item is None else "open" if ref in refused else "settled",
                    item.name if item is not None else "",
                    (item.story or "") if item is not None else "",
                    (*file.problems, *(problem for problem in changes.refused if problem.file == ref)),
                    find_item_leftovers(item.title, item.summary, item.body, item.language) if item else (),
                )
            )
        with self._store.write() as connection:
            source_files.delete_files(connection, self._name, gone)
            source_files.save_files(connection, self._name, rows)

    def _find_other_problems(self, listing: Listing) -> list[Problem]:
        if not listing.others:
            return []
        with self._store.read() as connection:
            needed = source_files.find_needed(connection, self._name, listing.others.keys())
        return [problem for path, problem in listing.others.items() if path not in needed]

    def _add_problems(self, listing: Listing, result: SweepResult) -> None:
        with self._store.read() as connection:
            problems = source_files.load_problems(connection, self._name)
        seen = set(result.problems)
        result.problems.extend(each for each in (*problems, *self._find_other_problems(listing)) if each not in seen)


def find_changed_files(
    connection: Connection,
    name: str,
    source: FileSource,
    listing: Listing,
    stamp: SweptStamp | None,
    known: Mapping[str, tuple[str, str]],
) -> set[str]:
    """Return the refs of the files whose result is not stored. `known` is from `load_signatures`."""
    is_same = stamp is not None and stamp.settings == listing.settings
    changed = {
        ref
        for ref, signature in listing.documents.items()
        if not is_same or ref not in known or not signature or known[ref][0] != signature
    }
    for ref, (_, needs) in known.items():
        if needs and ref not in changed and ref in listing.documents and _are_changed(needs, listing, source):
            changed.add(ref)
    changed |= source_files.find_files(connection, name, states=["open"]).keys() & listing.documents.keys()
    if stamp is not None and is_same:
        others = stored_items.find_known(connection, since=stamp.version)
        # Another process or source changed items: files that claim their places and stories are decided again.
        refs = {item.ref for item in others.values() if item.source == name}
        stories = {item.story for item in others.values()}
        files = source_files.find_files(connection, name, refs=refs, stories=stories)
        changed |= files.keys() & listing.documents.keys()
    return changed


def _are_changed(needs: str, listing: Listing, source: FileSource) -> bool:
    for path, signature in source_files.parse_needs(needs).items():
        current = listing.files.get(path) or listing.documents.get(path) or source.current_signature(path)
        if not signature or current != signature:
            return True
    return False


@dataclass(slots=True)
class _Keys:
    """Keys by which files and stored items can be confused with each other."""

    refs: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    fingerprints: set[str] = field(default_factory=set)
    stories: set[str] = field(default_factory=set)
    headlines: set[datetime] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    asked_stories: set[str] = field(default_factory=set)


class _Asked:
    """The keys of all files and items that were added so far."""

    def __init__(self) -> None:
        self._keys = _Keys()
        self.headlines: set[tuple[str, datetime, str]] = set()

    def add(self, files: Mapping[str, ReadFile], known: Iterable[KnownItem]) -> _Keys:
        """Add files and stored items. Returns the new keys."""
        now = _Keys(refs=set(files))
        for file in files.values():
            item = file.item
            if item is None:
                continue
            now.ids |= {item.explicit_id} if item.explicit_id else set()
            now.fingerprints.add(item.fingerprint)
            now.stories.add(story_of(item))
            now.names.add(item.name)
            now.asked_stories |= {item.story} if item.story else set()
            if item.published is not None:
                now.headlines.add(item.published)
                self.headlines.add((item.title, item.published, item.language))
        for stored in known:
            now.stories.add(stored.story)
            now.fingerprints.add(stored.fingerprint)
            now.refs.add(stored.ref)
        fresh = _Keys()
        for name in _Keys.__slots__:
            before: set[object] = getattr(self._keys, name)
            setattr(fresh, name, getattr(now, name) - before)
            before |= getattr(now, name)
        return fresh
