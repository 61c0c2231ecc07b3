"""A soft bounce: a full mailbox, a server that is away. On too many days it is too often."""

from __future__ import annotations

from sqlalchemy import Connection

from tidings.model.delivery import FeedbackKind
from tidings.pipeline.track.event import Event, SoftBounceLimit
from tidings.store.people import feedback


def happened(connection: Connection, event: Event, patience: SoftBounceLimit) -> bool:
    """Several on one day are one trouble. Once it is too often this list does not write again. False: heard before."""
    if not event.note(connection, FeedbackKind.SOFT):
        return False
    feedback.mark_delivery(connection, event.whom.delivery, FeedbackKind.SOFT)
    if event.is_to_a_reader:
        since = event.at - patience.within
        if feedback.count_days(connection, event.whom, FeedbackKind.SOFT, since) >= patience.days:
            feedback.suppress_recipient(connection, event.whom, event.whom.list, FeedbackKind.SOFT, event.via, event.at)
    return True
