"""How far an import of subscribers has come: a row for all of it, and one for each chunk with odd lines."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update

from tidings.store import schema as t
from tidings.store.engine import insert_once


def _rows(key: str) -> ColumnElement[bool]:
    i = t.imports.c
    return or_(i.key == key, i.key.startswith(f"{key}:"))


def find(connection: Connection, key: str) -> tuple[int, dict[int, str]]:
    """The last line that is in (0: none), and what became of those lines that were not simply added."""
    line, odd = 0, dict[int, str]()
    for row in connection.execute(select(t.imports).where(_rows(key))):
        if row.key == key:
            line = row.line
        else:
            odd.update((int(at), str(fate)) for at, fate in row.counts.items())
    return line, odd


def advance(connection: Connection, key: str, was: int, line: int, odd: Mapping[int, str], now: datetime) -> bool:
    """Note that all up to `line` is in; False if it is not `was` that it stood at: somebody else imports the same."""
    i = t.imports.c
    if was == 0:
        row = {"key": key, "line": line, "counts": {}, "at": now}
        if not connection.execute(insert_once(connection, t.imports).values(row)).rowcount:
            return False
    elif not connection.execute(
        update(t.imports).where(i.key == key, i.line == was).values(line=line, at=now)
    ).rowcount:
        return False
    if odd:
        connection.execute(insert(t.imports).values(key=f"{key}:{line}", line=line, counts=dict(odd), at=now))
    return True


def forget(connection: Connection, key: str) -> None:
    """It is done: the same file may be imported again."""
    connection.execute(delete(t.imports).where(_rows(key)))
