"""One thing that came back, proven to be about a mail of ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from tidings.store.delivery.settling import hide_addresses
from tidings.store.people import feedback
from tidings.store.people.feedback import Recipient

_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Event:
    """`text` is what the other side said, `via` how it was heard."""

    whom: Recipient
    code: str
    text: str
    via: str
    at: datetime

    def key(self, kind: str) -> str:
        """One delivery comes back once in a way, however often and by whichever roads that is said."""
        if self.whom.delivery is not None:
            return f"{kind}:{self.whom.delivery}"
        return f"{kind}:{self.whom.address_hash}:{self.whom.list}:{self.at.date().isoformat()}"

    def note(self, connection: Connection, kind: str) -> bool:
        """Write it down; False if it was heard before."""
        key, said = self.key(kind), self.words
        return feedback.record(connection, key, self.whom, kind, code=self.code, text=said, via=self.via, now=self.at)

    @property
    def words(self) -> str:
        """`text` on one line and without addresses: it outlives the erasure of a person."""
        text = hide_addresses(self.text[:4000])
        return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_LONGEST]

    @property
    def is_to_a_reader(self) -> bool:
        """Whether a person of a list is meant; what goes to the newsroom's own people is only noted."""
        return bool(self.whom.address_hash) and self.whom.purpose not in ("notice", "test", "review")


@dataclass(frozen=True, slots=True)
class SoftBounceLimit:
    """When bounces that may pass are too many: on `days` different days `within` a time."""

    days: int
    within: timedelta
