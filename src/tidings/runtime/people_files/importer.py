"""Import a file of people to a list, 500 at a time.

With SQLite, one transaction for a whole file would block all senders. An import that was interrupted can be run
again: people who are on the list already are reported and not changed.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from tidings.config.settings import Newsroom
from tidings.model.delivery import EventType
from tidings.model.errors import InputError
from tidings.runtime.people_files.csv_format import AS_IT_LOOKS, OwnFormat, PeopleFile, StatusChoice, read_table
from tidings.runtime.people_files.csv_reader import check_encoding
from tidings.runtime.people_files.other_tools import read_other_tool
from tidings.runtime.people_files.person_record import ListChoices, PersonRecord, RecordState, RefusedLine
from tidings.store.engine import Store
from tidings.store.people import bulk_import, consent
from tidings.store.people.bulk_import import ImportedPerson, ImportResult

CHUNK = 500
"""People per transaction. It takes well under 100 ms."""
DUPLICATE = "duplicate"
REFUSED = "refused"
_REPORTED = {
    ImportResult.EXISTS: "is on the list already",
    ImportResult.LEFT: "has left this list and is not added again",
    ImportResult.LAPSED: "did not confirm again in time. Only they can do that: a file does not confirm them",
    ImportResult.SUPPRESSED: "must not be mailed",
    ImportResult.SINCE: "left there, but agreed here later. Nothing is changed",
}
"""Results that are reported line by line."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The options of `tidings subscribers import`."""

    list_name: str
    confirmed: bool
    source: str
    tool: str = ""
    dry_run: bool = False
    status: StatusChoice = AS_IT_LOOKS


@dataclass
class ImportSummary:
    """The number of lines by result. `ignored` columns and `labels` are as in `PeopleFile`."""

    counts: Counter[str] = field(default_factory=Counter)
    ignored: tuple[str, ...] = ()
    labels: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class ImportWatcher:
    """Calls during an import: each refused line, the start with the size in bytes, and the bytes read."""

    refused: Callable[[RefusedLine], None] = lambda line: None
    begun: Callable[[PeopleFile, int], None] = lambda file, size: None
    step: Callable[[int], None] = lambda position: None


def import_people(
    store: Store,
    newsroom: Newsroom,
    path: Path,
    options: ImportOptions,
    *,
    now: datetime,
    watcher: ImportWatcher | None = None,
) -> ImportSummary:
    """Add the people of a file to a list. Sends no mail, and adds nobody who has left. Raises InputError."""
    return _Import(store, newsroom, path, options, now, watcher or ImportWatcher()).run()


def import_text(
    store: Store,
    newsroom: Newsroom,
    text: str | bytes,
    options: ImportOptions,
    *,
    now: datetime,
    watcher: ImportWatcher,
) -> ImportSummary:
    """Import a table that somebody pasted, or the bytes of a file that they sent. Raises InputError."""
    with tempfile.TemporaryDirectory(prefix="tidings-") as folder:
        path = Path(folder) / "table.csv"
        data = text.encode() if isinstance(text, str) else text
        path.write_bytes(data.replace(b"\r\n", b"\n"))
        try:
            return import_people(store, newsroom, path, options, now=now, watcher=watcher)
        except InputError as error:
            raise InputError(str(error).replace(f"{path}: ", "")) from None


class _Import:
    def __init__(
        self,
        store: Store,
        newsroom: Newsroom,
        path: Path,
        options: ImportOptions,
        now: datetime,
        watcher: ImportWatcher,
    ) -> None:
        self._store, self._options, self._now, self._watcher = store, options, now, watcher
        events = (EventType.SUBSCRIBER_JOINED, EventType.SUBSCRIBER_LEFT)
        self._has_webhook = any(settings.wants(event) for settings in newsroom.webhooks.values() for event in events)
        size = check_encoding(path)
        self._choices = ListChoices.of(newsroom, options.list_name)
        if options.tool:
            self._file = read_other_tool(path, options.tool, newsroom, options.status)
        else:
            self._file = read_table(path, OwnFormat(options.list_name), options.status)
        self._summary = ImportSummary(ignored=self._file.ignored, labels=self._file.labels)
        self._first_lines: dict[int, int] = {}
        """The first line of each person who joins."""
        self._leaving: set[int] = set()
        """In a dry run: people who leave the list in an earlier chunk."""
        self._refused: list[RefusedLine] = []
        watcher.begun(self._file, size)

    def run(self) -> ImportSummary:
        chunk: list[tuple[PersonRecord, ImportedPerson]] = []
        for person, entry in self._iterate_valid():
            chunk.append((person, entry))
            if len(chunk) == CHUNK:
                self._import_chunk(chunk)
                chunk = []
        self._import_chunk(chunk)
        return self._summary

    def _iterate_valid(self) -> Iterator[tuple[PersonRecord, ImportedPerson]]:
        for number, line in enumerate(self._file.people):
            if number % CHUNK == 0:
                self._watcher.step(self._file.position)
            if isinstance(line, RefusedLine):
                self._refuse(REFUSED, line)
                continue
            try:
                person = self._choices.validate(line)
                digest = consent.hash_normal_address(person.email)
            except InputError as error:
                self._refuse(REFUSED, RefusedLine(line.line, str(error), line.cells))
                continue
            entry = self._make_entry(person, digest)
            if person.state in (RecordState.LEFT, RecordState.BLOCKED):
                # Within one file, a line that leaves overrides a line that joins, whatever the dates.
                yield person, replace(entry, at=None) if _short_hash(digest) in self._first_lines else entry
                continue
            first = self._first_lines.setdefault(_short_hash(digest), person.line)
            if first != person.line:
                self._refuse(DUPLICATE, RefusedLine(person.line, f"is in line {first} already", person.cells))
                continue
            yield person, entry

    def _make_entry(self, person: PersonRecord, digest: str) -> ImportedPerson:
        match person.state:
            case RecordState.UNKNOWN:
                state = "confirmed" if self._options.confirmed else "pending"
            case RecordState.LEFT:
                state = "unsubscribed"
            case _:
                state = str(person.state)
        return ImportedPerson(
            digest=digest,
            address=person.email,
            name=person.name,
            language=person.language,
            topics=person.topics,
            frequency=person.frequency,
            state=state,
            at=min(person.at, self._now) if person.at else None,
            source=person.source or self._options.source,
            ip=person.ip[:45],
        )

    def _import_chunk(self, chunk: list[tuple[PersonRecord, ImportedPerson]]) -> None:
        entries = [entry for _, entry in chunk]
        if self._options.dry_run:
            results = self._predict(entries)
        else:
            with self._store.write() as connection:
                results = bulk_import.import_people(
                    connection, self._options.list_name, entries, self._now, record_events=self._has_webhook
                )
        for (person, _), result in zip(chunk, results, strict=True):
            if result in _REPORTED:
                self._refuse(str(result), RefusedLine(person.line, _REPORTED[result], person.cells))
            else:
                self._summary.counts[str(result)] += 1
        for line in sorted(self._refused, key=lambda refused: refused.line):
            self._watcher.refused(line)
        self._refused = []

    def _predict(self, entries: list[ImportedPerson]) -> list[ImportResult]:
        """Return the results of a real import, in which earlier chunks have already removed people from the list."""
        with self._store.read() as connection:
            results = bulk_import.plan_import(connection, self._options.list_name, entries)
        for index, (entry, result) in enumerate(zip(entries, results, strict=True)):
            if _short_hash(entry.digest) in self._leaving:
                results[index] = ImportResult.KNOWN_AWAY if result is ImportResult.AWAY else ImportResult.LEFT
            elif result is ImportResult.AWAY:
                self._leaving.add(_short_hash(entry.digest))
        return results

    def _refuse(self, result: str, line: RefusedLine) -> None:
        """Count a line, and report it with its chunk, so that the lines are reported in order."""
        self._summary.counts[result] += 1
        self._refused.append(line)


def _short_hash(digest: str) -> int:
    """Return 64 bits of a hash. They distinguish the people of a file in about 100 bytes per line."""
    return int(digest[:16], 16)
