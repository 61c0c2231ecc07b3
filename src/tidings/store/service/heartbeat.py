"""Heartbeats: the result of the last tick and the state of each service. Every process can read them.

All times are real times. They are stored as facts, because there are few.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, select

from tidings.store import schema as t
from tidings.store.key_values import delete_value, find_value, set_value

_TICKED = "ticked"
_PULSE = "pulse:"
_MOST = 500
"""Most characters of a reason; the log has the full text."""


@dataclass(frozen=True, slots=True)
class LastTick:
    """The last successful tick. `read`: when each source was last read and accepted."""

    at: datetime
    read: Mapping[str, datetime] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    """Sources that could not be read, with the reason."""
    unpublished: str = ""
    """Why pages and feeds were not updated."""


class ProcessRole(StrEnum):
    """The part of the work that a process does."""

    ALL = "all"
    PAGES = "pages"
    """Serves the pages."""
    TICKER = "ticker"
    """Publishes and composes."""
    WORKER = "worker"
    """Delivers."""

    @property
    def serves(self) -> bool:
        """Whether it serves the pages."""
        return self in (ProcessRole.ALL, ProcessRole.PAGES)

    @property
    def ticks(self) -> bool:
        """Whether a process with this role publishes and composes."""
        return self in (ProcessRole.ALL, ProcessRole.TICKER)

    @property
    def sends(self) -> bool:
        """Whether it delivers."""
        return self in (ProcessRole.ALL, ProcessRole.WORKER)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The state of one service."""

    owner: str
    started: datetime
    beat: datetime
    """When its last cycle ended, successful or not."""
    role: str = ProcessRole.ALL
    queues: str = ""
    """The queues of a worker of the task engine."""
    host: str = ""
    version: str = ""
    configuration: str = ""
    """A hash of its YAML, templates and keys: the same on every machine that has the same files."""
    refused: str = ""
    """Why a changed configuration is not used."""
    catches: bool = False
    """Whether its mail and posts stay on its machine (`--catch-mail`)."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """Repeated faults, with the kind of error."""
    stalled: Mapping[str, str] = field(default_factory=dict)
    """Lanes that cannot send, with the reason; e-mail is the empty name."""

    @property
    def work(self) -> ProcessRole:
        """Its role. One that only a newer version knows counts as a whole service."""
        return ProcessRole(self.role) if self.role in set(ProcessRole) else ProcessRole.ALL

    @property
    def sends_mail(self) -> bool:
        """Whether it is one of the processes that share the connections to mail hosts."""
        return self.work.sends and (not self.queues or "mail" in self.queues.split(","))


def record_tick(
    connection: Connection, at: datetime, sources: Iterable[str], unread: Mapping[str, str], unpublished: str
) -> None:
    """Record a successful tick. `sources` are all configured ones, `unread` those that could not be read."""
    before = last_tick(connection)
    known = before.read if before else {}
    read = {name: known.get(name) if name in unread else at for name in sources}
    value = {
        "at": at.isoformat(),
        "read": {name: moment.isoformat() for name, moment in read.items() if moment is not None},
        "unread": {name: reason[:_MOST] for name, reason in unread.items()},
        "unpublished": unpublished[:_MOST],
    }
    set_value(connection, _TICKED, json.dumps(value))


def last_tick(connection: Connection) -> LastTick | None:
    """The last successful tick; None before the first."""
    raw = find_value(connection, _TICKED)
    if raw is None:
        return None
    values = json.loads(raw)
    read = {name: datetime.fromisoformat(moment) for name, moment in values["read"].items()}
    return LastTick(datetime.fromisoformat(values["at"]), read, values["unread"], values["unpublished"])


def record_heartbeat(connection: Connection, heartbeat: Heartbeat) -> None:
    """Save the heartbeat of a service."""
    value = asdict(heartbeat) | {"started": heartbeat.started.isoformat(), "beat": heartbeat.beat.isoformat()}
    value |= {name: {key: reason[:_MOST] for key, reason in value[name].items()} for name in ("faults", "stalled")}
    set_value(connection, _PULSE + heartbeat.owner, json.dumps(value | {"refused": heartbeat.refused[:_MOST]}))


def load_heartbeats(connection: Connection) -> list[Heartbeat]:
    """The heartbeats of all services that did not shut down properly."""
    f = t.facts.c
    rows = connection.execute(select(f.name, f.value).where(f.name.startswith(_PULSE, autoescape=True))).all()
    heartbeats = []
    known = {entry.name for entry in fields(Heartbeat)}
    for row in rows:
        value = json.loads(row.value)
        if value.get("only_pages"):  # written by version 0.1
            value["role"] = ProcessRole.PAGES
        value = {key: entry for key, entry in value.items() if key in known}
        value |= {name: datetime.fromisoformat(value[name]) for name in ("started", "beat")}
        heartbeats.append(Heartbeat(**value))
    return heartbeats


def delete_heartbeat(connection: Connection, owner: str) -> None:
    """Delete the heartbeat of a service that has ended."""
    delete_value(connection, _PULSE + owner)
