"""What reading each file of a folder gave: an unchanged file is not read again, and its problems stay known."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, delete, insert, or_, select

from tidings.model.errors import Problem
from tidings.model.item import Image
from tidings.store import schema as t
from tidings.store.engine import split_chunks
from tidings.store.key_values import find_value, set_value

State = Literal["settled", "refused", "open"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file. `state`: its item is stored as it is (settled), the file was refused, or it must be read again (open).

    `needs` are the signatures of the files that it shows, by path. `name` and `story` are what the item asked for.
    `leftovers` are the parts of a draft in its texts.
    """

    ref: str
    signature: str
    needs: Mapping[str, str]
    state: State
    name: str = ""
    story: str = ""
    problems: Sequence[Problem] = ()
    leftovers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SweptStamp:
    """The state of a folder at its last sweep. `settings`: a hash of what decides how a file is read.

    `digest`: a hash of all names and signatures, or '' if a file must be read again. `version`: that of the items.
    """

    settings: str
    digest: str
    version: int


def find_swept(connection: Connection, source: str) -> SweptStamp | None:
    """Return the state of a folder at its last sweep, or None before the first."""
    value = find_value(connection, f"swept:{source}")
    return None if value is None else SweptStamp(*json.loads(value))


def save_swept(connection: Connection, source: str, stamp: SweptStamp) -> None:
    """Save the state of a folder at its last sweep."""
    set_value(connection, f"swept:{source}", json.dumps([stamp.settings, stamp.digest, stamp.version]))


def load_signatures(connection: Connection, source: str) -> dict[str, tuple[str, str]]:
    """Return the signature and the needs (as stored) of every file of a source, by ref."""
    f = t.source_files.c
    rows = connection.execute(select(f.ref, f.signature, f.needs).where(f.source == source))
    return {ref: (signature, needs) for ref, signature, needs in rows}


def parse_needs(needs: str) -> dict[str, str]:
    """Return the signatures of the needed files, by path."""
    return dict(json.loads(needs)) if needs else {}


def find_files(
    connection: Connection,
    source: str,
    *,
    refs: Iterable[str] = (),
    names: Iterable[str] = (),
    stories: Iterable[str] = (),
    states: Iterable[State] = (),
) -> dict[str, SourceFile]:
    """Return the files that fit one of these, by ref."""
    f = t.source_files.c
    found: dict[str, SourceFile] = {}
    for column, values in ((f.ref, refs), (f.name, names), (f.story, stories), (f.state, states)):
        for some in split_chunks(values):
            where = (f.source == source, column.in_(some))
            for row in connection.execute(select(t.source_files).where(*where)):
                problems = tuple(Problem(**each) for each in json.loads(row.problems)) if row.problems else ()
                leftovers = tuple(json.loads(row.leftovers)) if row.leftovers else ()
                needs = parse_needs(row.needs)
                found[row.ref] = SourceFile(
                    row.ref, row.signature, needs, row.state, row.name, row.story, problems, leftovers
                )
    return found


@dataclass(frozen=True, slots=True)
class ItemOutline:
    """An item without its texts."""

    ref: str
    language: str
    kind: str
    draft: bool
    starts: datetime | None
    topics: tuple[str, ...]
    not_in: tuple[str, ...]
    post: Mapping[str, str]
    images: tuple[Image, ...]


def load_outlines(connection: Connection, source: str, refs: Iterable[str]) -> dict[str, ItemOutline]:
    """Return the outlines of the items at these places of a source, by ref, without gone ones."""
    i = t.items.c
    query = select(i.ref, i.language, i.kind, i.draft, i.starts, i.details, i.gone_at)
    found = {}
    for some in split_chunks(refs):
        for row in connection.execute(query.where(i.source == source, i.ref.in_(some))):
            # Not a condition of the query: with it, SQLite reads all items of the source for each chunk.
            if row.gone_at is not None:
                continue
            details = row.details
            found[row.ref] = ItemOutline(
                *row[:5],
                topics=tuple(details["topics"]),
                not_in=tuple(details["not_in"]),
                post=details["post"],
                images=tuple(Image(**image) for image in details["images"]),
            )
    return found


def load_problems(connection: Connection, source: str) -> list[Problem]:
    """Return the problems of all files of a source, in order of refs."""
    f = t.source_files.c
    rows = connection.execute(select(f.problems).where(f.source == source, f.problems != "").order_by(f.ref)).scalars()
    return [Problem(**each) for row in rows for each in json.loads(row)]


def find_needed(connection: Connection, source: str, paths: Collection[str]) -> set[str]:
    """Return those of the paths that a file of the source needs."""
    f = t.source_files.c
    needed: set[str] = set()
    for path in paths:
        mark = json.dumps(path)
        query = select(f.needs).where(f.source == source, f.needs.contains(mark, autoescape=True))
        if any(path in parse_needs(needs) for needs in connection.execute(query).scalars()):
            needed.add(path)
    return needed


def has_open(connection: Connection, source: str) -> bool:
    """Whether the source has files that must be read again, or that were refused because of other items."""
    f = t.source_files.c
    query = select(f.ref).where(f.source == source, or_(f.state == "open", f.signature == "")).limit(1)
    return connection.execute(query).first() is not None


def save_files(connection: Connection, source: str, files: Collection[SourceFile]) -> None:
    """Insert or replace files."""
    delete_files(connection, source, [file.ref for file in files])
    if files:
        connection.execute(insert(t.source_files), [_row(source, file) for file in files])


def delete_files(connection: Connection, source: str, refs: Iterable[str]) -> None:
    """Delete the records of files that vanished."""
    f = t.source_files.c
    for some in split_chunks(refs):
        connection.execute(delete(t.source_files).where(f.source == source, f.ref.in_(some)))


def _row(source: str, file: SourceFile) -> dict[str, str]:
    return {
        "source": source,
        "ref": file.ref,
        "signature": file.signature,
        "needs": json.dumps(dict(file.needs)) if file.needs else "",
        "state": file.state,
        "name": file.name,
        "story": file.story,
        "problems": json.dumps([asdict(problem) for problem in file.problems]) if file.problems else "",
        "leftovers": json.dumps(list(file.leftovers)) if file.leftovers else "",
    }
