"""A hard bounce: the mailbox does not exist, or refuses for good. The address is not mailed again, at once."""

from __future__ import annotations

from sqlalchemy import Connection

from tidings.model.delivery import FeedbackKind
from tidings.pipeline.track.event import Event
from tidings.store.people import feedback


def happened(connection: Connection, event: Event, *, dead: bool) -> bool:
    """`dead`: there is no such mailbox, so no list writes to it; else this list alone. False if heard before."""
    if not event.note(connection, FeedbackKind.HARD):
        return False
    feedback.mark_delivery(connection, event.whom.delivery, FeedbackKind.HARD)
    if event.is_to_a_reader:
        scope = "" if dead else event.whom.list
        feedback.suppress_recipient(connection, event.whom, scope, FeedbackKind.HARD, event.via, event.at)
    return True
