"""A file of people put on a list: in chunks, each whole or not at all, and taken up where it was cut.

One transaction for the whole file would keep every sender waiting on SQLite. So `imports` says in the transaction of
each chunk how far it has come: the same command again goes on there, and ends as if it had never been cut.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from tidings.config.settings import Newsroom
from tidings.model.errors import InputError, RefusedError
from tidings.runtime.people_files.csv_format import OwnFormat, PeopleFile, read_table
from tidings.runtime.people_files.csv_records import fingerprint
from tidings.runtime.people_files.other_tools import read_foreign
from tidings.runtime.people_files.records import ListChoices, PersonRecord, RecordState, RefusedLine
from tidings.store.engine import Store
from tidings.store.people import bulk_import, consent, import_progress
from tidings.store.people.bulk_import import ImportedPerson, ImportResult

CHUNK = 500
"""People of one transaction: well under 100 ms."""
DUPLICATE = "duplicate"
REFUSED = "refused"
ODD = {
    ImportResult.EXISTS: "is on the list already",
    ImportResult.LEFT: "has left this list, and is not brought back",
    ImportResult.SUPPRESSED: "must not be mailed",
    ImportResult.SINCE: "left there, but has agreed here since; nothing is changed",
}
"""Fates of a line that are told one by one."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the command asked for."""

    list_name: str
    confirmed: bool
    source: str
    tool: str = ""
    dry_run: bool = False


@dataclass
class ImportSummary:
    """What became of a file. `resumed` is the line after which it was taken up, 0 for none."""

    counts: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    ignored: tuple[str, ...] = ()
    labels: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class ImportWatcher:
    """What somebody watches: each line that was not taken, and how many bytes are read."""

    refused: Callable[[RefusedLine], None] = lambda one: None
    begun: Callable[[PeopleFile, int], None] = lambda reading, size: None
    step: Callable[[int], None] = lambda position: None


def import_people(
    store: Store,
    newsroom: Newsroom,
    path: Path,
    asked: ImportOptions,
    *,
    now: datetime,
    told: ImportWatcher | None = None,
) -> ImportSummary:
    """Put the people of a file on a list. Nobody is mailed; who left stays away. Raises InputError for the file."""
    return _Import(store, newsroom, path, asked, now, told or ImportWatcher()).run()


class _Import:
    def __init__(
        self, store: Store, newsroom: Newsroom, path: Path, asked: ImportOptions, now: datetime, told: ImportWatcher
    ) -> None:
        self._store, self._asked, self._now, self._told = store, asked, now, told
        digest, size = fingerprint(path)
        key = json.dumps([digest, asked.list_name, asked.confirmed, asked.source, asked.tool])
        self._key = hashlib.sha256(key.encode()).hexdigest()
        self._choices = ListChoices.of(newsroom, asked.list_name)
        if asked.tool:
            self._reading = read_foreign(path, asked.tool, newsroom)
        else:
            self._reading = read_table(path, OwnFormat(asked.list_name))
        self._done = ImportSummary(ignored=self._reading.ignored, labels=self._reading.labels)
        self._seen: dict[int, int] = {}
        self._left: set[int] = set()
        self._at = 0
        self._pending: list[RefusedLine] = []
        told.begun(self._reading, size)

    def run(self) -> ImportSummary:
        before: dict[int, str] = {}
        if not self._asked.dry_run:
            with self._store.read() as connection:
                self._done.resumed, before = import_progress.find(connection, self._key)
        self._at = self._done.resumed
        chunk: list[tuple[PersonRecord, ImportedPerson]] = []
        last = 0
        for person, entry in self._valid():
            if person.line <= self._done.resumed:
                self._tell(person, ImportResult(before.get(person.line, ImportResult.ADDED)))
                continue
            chunk.append((person, entry))
            last = person.line
            if len(chunk) == CHUNK:
                self._put(chunk, last)
                chunk = []
        self._put(chunk, last, finished=True)
        return self._done

    def _valid(self) -> Iterator[tuple[PersonRecord, ImportedPerson]]:
        for number, one in enumerate(self._reading.people):
            if number % CHUNK == 0:
                self._told.step(self._reading.position)
            if isinstance(one, RefusedLine):
                self._refuse(REFUSED, one)
                continue
            try:
                person = self._choices.checked(one)
                digest = consent.hash_normal_address(person.email)
            except InputError as error:
                self._refuse(REFUSED, RefusedLine(one.line, str(error), one.cells))
                continue
            entry = self._entry(person, digest)
            if entry.state in (bulk_import.BLOCKED, "unsubscribed"):
                # Within one file leaving wins, whatever the dates.
                yield person, replace(entry, at=None) if _short(digest) in self._seen else entry
                continue
            first = self._seen.setdefault(_short(digest), person.line)
            if first != person.line:
                self._refuse(DUPLICATE, RefusedLine(person.line, f"stands in line {first} already", person.cells))
                continue
            yield person, entry

    def _entry(self, person: PersonRecord, digest: str) -> ImportedPerson:
        plain = "confirmed" if self._asked.confirmed else "pending"
        states = {RecordState.PLAIN: plain, RecordState.LEFT: "unsubscribed", RecordState.BLOCKED: bulk_import.BLOCKED}
        return ImportedPerson(
            digest=digest,
            address=person.email,
            name=person.name,
            language=person.language,
            topics=person.topics,
            frequency=person.frequency,
            state=states.get(person.standing, str(person.standing)),
            at=min(person.at, self._now) if person.at else None,
            source=person.source or self._asked.source,
            ip=person.ip[:45],
        )

    def _put(self, chunk: list[tuple[PersonRecord, ImportedPerson]], last: int, *, finished: bool = False) -> None:
        entries = [entry for _, entry in chunk]
        if self._asked.dry_run:
            fates = self._foreseen(entries)
        else:
            with self._store.write() as connection:
                fates = bulk_import.import_people(connection, self._asked.list_name, entries, self._now)
                odd = {
                    person.line: str(fate)
                    for (person, _), fate in zip(chunk, fates, strict=True)
                    if fate is not ImportResult.ADDED
                }
                if finished:
                    import_progress.forget(connection, self._key)
                elif not import_progress.advance(connection, self._key, self._at, last, odd, self._now):
                    raise RefusedError("somebody else is importing this file just now; let them finish.")
            self._at = last
        for (person, _), fate in zip(chunk, fates, strict=True):
            self._tell(person, fate)
        for one in sorted(self._pending, key=lambda one: one.line):
            self._told.refused(one)
        self._pending = []

    def _foreseen(self, entries: list[ImportedPerson]) -> list[ImportResult]:
        """As `enrol` would say it: whom an earlier chunk would keep away is no longer in the store of then."""
        with self._store.read() as connection:
            fates = bulk_import.plan_import(connection, self._asked.list_name, entries)
        for at, (entry, fate) in enumerate(zip(entries, fates, strict=True)):
            if _short(entry.digest) in self._left:
                fates[at] = ImportResult.KNOWN_AWAY if fate is ImportResult.AWAY else ImportResult.LEFT
            elif fate is ImportResult.AWAY:
                self._left.add(_short(entry.digest))
        return fates

    def _tell(self, person: PersonRecord, fate: ImportResult) -> None:
        if fate in ODD:
            self._refuse(str(fate), RefusedLine(person.line, ODD[fate], person.cells))
        else:
            self._done.counts[str(fate)] += 1

    def _refuse(self, what: str, one: RefusedLine) -> None:
        """Told with its chunk, so that the lines come in their order."""
        self._done.counts[what] += 1
        self._pending.append(one)


def _short(digest: str) -> int:
    """64 bits tell the people of a file apart, and keep some 100 bytes a line."""
    return int(digest[:16], 16)
