"""A complaint: a reader called it spam. The list never writes to them again, and whoever is responsible hears of it."""

from __future__ import annotations

from sqlalchemy import Connection

from tidings.model.delivery import FeedbackKind
from tidings.pipeline import notices
from tidings.pipeline.track.event import Event
from tidings.store.people import feedback


def happened(connection: Connection, event: Event, kind: str) -> bool:
    """`kind` is the Feedback-Type, such as abuse. False if heard before."""
    if not event.note(connection, FeedbackKind.COMPLAINT):
        return False
    feedback.mark_delivery(connection, event.whom.delivery, FeedbackKind.COMPLAINT)
    if event.is_to_a_reader:
        feedback.suppress_recipient(
            connection, event.whom, event.whom.list, FeedbackKind.COMPLAINT, event.via, event.at
        )
    where = f"of the list {event.whom.list}" if event.whom.list else "of the newsroom"
    mail = f" Which mail: tidings ledger, delivery {event.whom.delivery}." if event.whom.delivery else ""
    text = (
        f"A reader {where} complained ({kind}), and gets nothing from it any more.{mail}\n"
        "More than three complaints in a thousand mails, and providers put all of your mail into spam."
    )
    notices.tell(connection, event.key("complaint"), "complaint", text, event.at)
    return True
