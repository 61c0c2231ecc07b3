"""What is heard becomes an event, and each event has its module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from tidings.model.tokens import TokenKeys
from tidings.pipeline.track import blocked, complaint, hard_bounce, left_by_mail, soft_bounce
from tidings.pipeline.track.event import Event, SoftBounceLimit
from tidings.pipeline.track.proof import whose
from tidings.pipeline.track.refusals import Meaning, Refusal
from tidings.pipeline.track.report_parser import read
from tidings.store.engine import Store


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of a message: a kind of return, `left`, `known` (heard before) or `nothing`, which `why` explains."""

    what: str
    why: str = ""

    @property
    def counts(self) -> bool:
        """Whether it was about a mail of ours."""
        return self.what != "nothing"


def receive(
    store: Store,
    keys: TokenKeys,
    raw: bytes,
    *,
    patience: SoftBounceLimit,
    via: str,
    now: datetime,
    recipients: Sequence[str] = (),
    present_name: Callable[[str], str] = lambda name: name,
) -> Heard:
    """Read one message and do what follows, in one transaction. Twice does nothing."""
    claim = left_by_mail.asked(keys, raw)
    if claim is not None:
        with store.write() as connection:
            left = left_by_mail.happened(connection, claim, {claim.list, present_name(claim.list)}, now)
        return Heard("left" if left else "known")
    reading = read(raw)
    if not reading.counts:
        return Heard("nothing", reading.why)
    with store.write() as connection:
        whom = whose(connection, keys, raw, recipients, present_name)
        if whom is None:
            return Heard("nothing", "nothing in it proves that it is about a mail of ours")
        if reading.refusal is not None:
            event = Event(whom, reading.refusal.code, reading.refusal.text, via, now)
            return refused(connection, event, reading.refusal, patience)
        event = Event(whom, "", reading.complaint, via, now)
        new = complaint.happened(connection, event, reading.complaint)
        return Heard("complaint" if new else "known")


def refused(connection: Connection, event: Event, refusal: Refusal, patience: SoftBounceLimit) -> Heard:
    """A bounce of whatever kind."""
    match refusal.meaning:
        case Meaning.DEAD | Meaning.HARD:
            dead = refusal.meaning is Meaning.DEAD
            return Heard("hard" if hard_bounce.happened(connection, event, dead=dead) else "known")
        case Meaning.SOFT:
            return Heard("soft" if soft_bounce.happened(connection, event, patience) else "known")
        case Meaning.BLOCKED:
            return Heard("blocked" if blocked.happened(connection, event) else "known")
