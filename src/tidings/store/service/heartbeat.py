"""Signs of life, kept where every process can read them: what the last tick saw, and how each service fares.

All moments are real time. They stand among the facts, for there are only a few of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from tidings.store import schema as t
from tidings.store.engine import insert_once

_TICKED = "ticked"
_PULSE = "pulse:"
_MOST = 500
"""Characters of a reason: a person reads it, and the whole stands in the log."""


@dataclass(frozen=True, slots=True)
class LastTick:
    """What the last tick that ended well found. `read`: when each source was last read and believed."""

    at: datetime
    read: Mapping[str, datetime] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    """Sources that were not, with the reason."""
    unpublished: str = ""
    """Why pages and feeds stay as they are."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How one service fares."""

    owner: str
    started: datetime
    beat: datetime
    """When its last beat ended, well or not."""
    only_pages: bool = False
    refused: str = ""
    """Why a changed configuration is not taken up."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """What goes wrong again and again, with the kind of fault."""
    stalled: Mapping[str, str] = field(default_factory=dict)
    """Lanes that cannot go on, with the reason; e-mail is the empty name."""


def record_tick(
    connection: Connection, at: datetime, sources: Iterable[str], unread: Mapping[str, str], unpublished: str
) -> None:
    """A tick has ended well. `sources` are all that are configured, `unread` those that could not be read."""
    before = last_tick(connection)
    known = before.read if before else {}
    read = {name: known.get(name) if name in unread else at for name in sources}
    value = {
        "at": at.isoformat(),
        "read": {name: moment.isoformat() for name, moment in read.items() if moment is not None},
        "unread": {name: reason[:_MOST] for name, reason in unread.items()},
        "unpublished": unpublished[:_MOST],
    }
    _set(connection, _TICKED, json.dumps(value))


def last_tick(connection: Connection) -> LastTick | None:
    """None before the first one."""
    raw = connection.execute(select(t.facts.c.value).where(t.facts.c.name == _TICKED)).scalar_one_or_none()
    if raw is None:
        return None
    found = json.loads(raw)
    read = {name: datetime.fromisoformat(moment) for name, moment in found["read"].items()}
    return LastTick(datetime.fromisoformat(found["at"]), read, found["unread"], found["unpublished"])


def record_heartbeat(connection: Connection, pulse: Heartbeat) -> None:
    """Write it down, in the place of the one before."""
    value = asdict(pulse) | {"started": pulse.started.isoformat(), "beat": pulse.beat.isoformat()}
    value |= {name: {key: reason[:_MOST] for key, reason in value[name].items()} for name in ("faults", "stalled")}
    _set(connection, _PULSE + pulse.owner, json.dumps(value | {"refused": pulse.refused[:_MOST]}))


def load_heartbeats(connection: Connection) -> list[Heartbeat]:
    """Of every service that has not ended in order, in no particular order."""
    f = t.facts.c
    rows = connection.execute(select(f.name, f.value).where(f.name.startswith(_PULSE, autoescape=True))).all()
    found = []
    for row in rows:
        value = json.loads(row.value)
        value |= {name: datetime.fromisoformat(value[name]) for name in ("started", "beat")}
        found.append(Heartbeat(**value))
    return found


def delete_heartbeat(connection: Connection, owner: str) -> None:
    """It has ended."""
    connection.execute(delete(t.facts).where(t.facts.c.name == _PULSE + owner))


def _set(connection: Connection, name: str, value: str) -> None:
    done = connection.execute(insert_once(connection, t.facts).values(name=name, value=value))
    if done.rowcount == 0:
        connection.execute(update(t.facts).where(t.facts.c.name == name).values(value=value))
