"""Subscribers in and out as CSV: `email,name,language,topics,frequency`, topics separated by `;`."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from tidings.config.checks import served_frequencies
from tidings.config.settings import Newsroom
from tidings.model.errors import InputError
from tidings.model.problem import nearest
from tidings.store import subscribers
from tidings.store.engine import Store

COLUMNS = ("email", "name", "language", "topics", "frequency")
_CHUNK = 200
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Person:
    """One line of a file."""

    line: int
    email: str
    name: str
    language: str
    topics: tuple[str, ...]
    frequency: str


@dataclass
class Imported:
    """What became of a file: outcomes counted, refused lines with the reason."""

    outcomes: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


def checked(newsroom: Newsroom, list_name: str, person: Person) -> Person:
    """The person with the list's defaults. Raises InputError for a choice that nobody could serve.

    A default that nobody serves is no choice of theirs: `tidings check` names it.
    """
    site = newsroom.site
    if person.language and person.language not in site.languages:
        raise InputError(f"language {person.language!r}. {nearest(person.language, site.languages)}")
    for topic in person.topics:
        if topic not in newsroom.topics:
            raise InputError(f"topic {topic!r}. {nearest(topic, newsroom.topics)}")
    frequency = person.frequency or newsroom.lists[list_name].default_frequency
    served = served_frequencies(newsroom, list_name)
    if person.frequency and served and "all" not in served and frequency not in served:
        raise InputError(f"no schedule serves the frequency {frequency!r}. {nearest(frequency, served)}")
    for text in (person.name, person.email):
        if any(ord(character) < 32 or ord(character) == 127 for character in text):
            raise InputError("a name or an address has a line break or an invisible character in it")
    return Person(
        person.line, person.email, person.name, person.language or site.languages[0], person.topics, frequency
    )


def read_people(text: str) -> Iterator[Person | str]:
    """The lines of a CSV; a string says why a line cannot be read. Raises InputError for a wrong header."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"line 1: {error}") from None
    unknown = [name for name in header if name not in COLUMNS]
    if "email" not in header or unknown:
        said = f"unknown column {unknown[0]!r}" if unknown else "there is no column `email`"
        raise InputError(f"line 1: {said}. The first line names the columns: {','.join(COLUMNS)}")
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {reader.line_num}: {error}"
            continue
        if not any(cell.strip() for cell in row):
            continue
        if len(row) > len(header):
            yield f"line {reader.line_num}: {len(row)} values, but {len(header)} columns"
            continue
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        topics = tuple(topic for part in cells.get("topics", "").split(";") if (topic := part.strip()))
        yield Person(
            reader.line_num,
            cells.get("email", ""),
            cells.get("name", ""),
            cells.get("language", ""),
            topics,
            cells.get("frequency", ""),
        )


def import_people(
    store: Store,
    newsroom: Newsroom,
    list_name: str,
    text: str,
    *,
    now: datetime,
    confirmed: bool,
    source: str,
    step: Callable[[int], None] = lambda count: None,
) -> Imported:
    """Put people on a list. Nobody is mailed, and who left stays away. Runs again without harm after a crash."""
    done = Imported()
    chunk: list[Person] = []
    for one in read_people(text):
        if isinstance(one, str):
            done.refused.append(one)
            continue
        try:
            chunk.append(checked(newsroom, list_name, one))
        except InputError as error:
            done.refused.append(f"line {one.line}: {error}")
        if len(chunk) == _CHUNK:
            _add(store, list_name, chunk, done, now, confirmed, source)
            step(len(chunk))
            chunk = []
    _add(store, list_name, chunk, done, now, confirmed, source)
    step(len(chunk))
    return done


def _add(
    store: Store, list_name: str, people: list[Person], done: Imported, now: datetime, confirmed: bool, source: str
) -> None:
    outcomes: list[str] = []
    refused: list[str] = []
    with store.write() as connection:
        for person in people:
            try:
                outcomes.append(
                    subscribers.add(
                        connection,
                        person.email,
                        list_name,
                        language=person.language,
                        frequency=person.frequency,
                        now=now,
                        name=person.name,
                        topics=person.topics,
                        confirmed=confirmed,
                        source=source,
                    )
                )
            except InputError as error:
                refused.append(f"line {person.line}: {error}")
    done.outcomes.update(outcomes)
    done.refused += refused


def export_people(store: Store, list_name: str) -> Iterator[str]:
    """The confirmed readers of a list as lines of CSV. Cells that a spreadsheet would run get a quote before them."""
    yield _line(COLUMNS)
    with store.read() as connection:
        for one in subscribers.subscriptions(connection, list_name=list_name):
            if one.state == subscribers.CONFIRMED:
                yield _line((one.address, one.name, one.language, ";".join(one.topics), one.frequency))


def _line(cells: tuple[str, ...]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(["'" + c if c.startswith(_FORMULA) else c for c in cells])
    return out.getvalue()
