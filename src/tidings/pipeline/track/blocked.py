"""Refused for what we are or what we wrote: a blocklist, a missing signature, too large. No reader leaves for that."""

from __future__ import annotations

from sqlalchemy import Connection

from tidings.model.delivery import FeedbackKind
from tidings.pipeline import notices
from tidings.pipeline.track.event import Event
from tidings.store.people import feedback

KIND = "blocked"


def happened(connection: Connection, event: Event) -> bool:
    """A person is told, once a day. False if heard before."""
    if not event.note(connection, KIND):
        return False
    feedback.mark_delivery(connection, event.whom.delivery, FeedbackKind.SOFT)
    text = (
        f"Mail is turned away for what we are or what we wrote, not for the reader: {event.words or event.code}\n"
        "Nobody was taken off a list for it. In the ledger such mails are returned: soft."
    )
    notices.tell(connection, f"blocked:{event.at.date().isoformat()}", "blocked", text, event.at)
    return True
