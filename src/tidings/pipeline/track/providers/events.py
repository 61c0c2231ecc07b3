"""What a provider said of one mail, and what follows. It is believed, because who speaks was checked before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from tidings.model.errors import InputError
from tidings.pipeline.compose.mail import message_id_local_part
from tidings.pipeline.track import complaint, left
from tidings.pipeline.track.event import Event, SoftBounceLimit
from tidings.pipeline.track.inbound import refused
from tidings.pipeline.track.refusals import Meaning, Refusal
from tidings.store.engine import Store
from tidings.store.people import feedback
from tidings.store.people.feedback import Recipient


class NotBelievedError(Exception):
    """Who speaks is not who they say; in words for the log."""


class UnreadableError(Exception):
    """It is signed, but of no form that is known; in words for the log."""


class Kind(StrEnum):
    """What it is about."""

    REFUSED = "refused"
    COMPLAINT = "complaint"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Said:
    """`message_id` is the provider's own, the receipt in the ledger, or that of the header."""

    kind: Kind
    recipient: str
    message_id: str = ""
    refusal: Refusal | None = None
    words: str = ""


def act(store: Store, said: Iterable[Said], *, patience: SoftBounceLimit, via: str, now: datetime) -> list[str]:
    """Do what follows, each in a transaction of its own; says what became of each."""
    done = []
    for one in said:
        with store.write() as connection:
            done.append(_act(connection, one, patience, via, now))
    return done


def _act(connection: Connection, said: Said, patience: SoftBounceLimit, via: str, now: datetime) -> str:
    try:
        whom = _whose(connection, said)
    except InputError:
        return "nothing"
    event = Event(whom, said.refusal.code if said.refusal else "", said.words, via, now)
    match said.kind:
        case Kind.COMPLAINT:
            return "complaint" if complaint.happened(connection, event, said.words or "abuse") else "known"
        case Kind.LEFT:
            return "left" if left.happened(connection, event) else "known"
        case Kind.REFUSED:
            assert said.refusal is not None
            return refused(connection, event, said.refusal, patience).what


def _whose(connection: Connection, said: Said) -> Recipient:
    """The delivery, else whoever has the address: then it holds for every list."""
    person = feedback.find_by_address(connection, said.recipient)
    bare = said.message_id.strip("<> ")
    if person.subscriber is None or not bare:
        return person
    for sent in feedback.recent_mails(connection, person.subscriber):
        if bare in sent.receipt or message_id_local_part(sent.key).decode() == bare.partition("@")[0]:
            return sent.recipient
    return person


def at_most(found: Refusal, meaning: Meaning) -> Refusal:
    """No graver than that."""
    order = list(Meaning)
    return found if order.index(found.meaning) >= order.index(meaning) else Refusal(found.code, found.text, meaning)


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object; empty where it is none."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """A JSON string; empty where it is none."""
    return value if isinstance(value, str) else ""
