"""Record bounces. A hard bounce, or too many soft bounces, removes an address from a list.

- Hard: the mailbox clearly does not exist. The address gets no more mail, at once.
- Soft: a full mailbox, or a server that is down. The address gets no more mail after too many such days.
- Blocked: refused because of the sender or the content, or for a reason that nobody knows. No subscriber is removed.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from sqlalchemy import Connection

from tidings.config.bounces import SoftBounces
from tidings.model.delivery import FeedbackKind
from tidings.model.refusal import Effect, Refusal, RefusalKind, classify
from tidings.pipeline import notices
from tidings.pipeline.track.events import KNOWN, FeedbackEvent, FeedbackResult
from tidings.store.engine import Store
from tidings.store.people import feedback, subscribers

BLOCKED = "blocked"
_SESSION_REPLY = re.compile(r"5\d\d .*\((?P<step>RCPT|end of message)\)", re.DOTALL)
_SESSION_PERIOD = timedelta(days=2)


def record_bounce(
    connection: Connection, event: FeedbackEvent, refusal: Refusal, soft_limit: SoftBounces
) -> FeedbackResult:
    """Record one bounce of any kind."""
    match refusal.effect:
        case Effect.HARD:
            is_new, kind = _record_hard(connection, event), str(FeedbackKind.HARD)
        case Effect.SOFT:
            is_new, kind = _record_soft(connection, event, soft_limit), str(FeedbackKind.SOFT)
        case Effect.BLOCKED:
            is_new, kind = _record_blocked(connection, event, refusal), BLOCKED
    return FeedbackResult(kind if is_new else KNOWN)


def _record_hard(connection: Connection, event: FeedbackEvent) -> bool:
    """Suppress the address on every list: the mailbox does not exist."""
    if not event.record(connection, FeedbackKind.HARD):
        return False
    feedback.mark_delivery(connection, event.target.delivery, FeedbackKind.HARD)
    if event.is_to_subscriber:
        feedback.suppress_recipient(connection, event.target, "", FeedbackKind.HARD, event.via, event.at)
    return True


def record_linked_bounce(connection: Connection, event: FeedbackEvent) -> FeedbackResult:
    """Record a hard bounce that only the unsubscribe link of the returned mail proves: the reader leaves this list."""
    if not event.record(connection, FeedbackKind.HARD):
        return FeedbackResult(KNOWN)
    target = event.target
    feedback.mark_delivery(connection, target.delivery, FeedbackKind.HARD)
    if target.subscriber is not None:
        source = f"bounce, heard by {event.via}"
        subscribers.unsubscribe(connection, target.subscriber, target.list, source=source, now=event.at)
    return FeedbackResult(str(FeedbackKind.HARD))


def _record_soft(connection: Connection, event: FeedbackEvent, limit: SoftBounces) -> bool:
    """Suppress the address on this list after bounces on `limit.days` days. Several on one day count once."""
    if not event.record(connection, FeedbackKind.SOFT):
        return False
    feedback.mark_delivery(connection, event.target.delivery, FeedbackKind.SOFT)
    if event.is_to_subscriber:
        since = event.at - limit.within
        if feedback.count_days(connection, event.target, FeedbackKind.SOFT, since) >= limit.days:
            feedback.suppress_recipient(
                connection, event.target, event.target.list, FeedbackKind.SOFT, event.via, event.at
            )
    return True


def _record_blocked(connection: Connection, event: FeedbackEvent, refusal: Refusal) -> bool:
    """Notify the newsroom, once a day for each kind of refusal."""
    if not event.record(connection, BLOCKED):
        return False
    feedback.mark_delivery(connection, event.target.delivery, FeedbackKind.SOFT)
    why = (
        "for a reason that is not clear" if refusal.kind is RefusalKind.UNKNOWN else "because of its sender or content"
    )
    text = (
        f"A mail server refuses our mail {why} ({refusal.kind}): {event.summary or event.code}\n"
        f"{f'What to do: {refusal.kind.mend}. ' if refusal.kind.mend else ''}"
        "No subscriber was removed. The ledger shows these mails as returned: soft."
    )
    notices.add(connection, f"blocked:{refusal.kind}:{event.at.date().isoformat()}", "blocked", text, event.at)
    return True


def record_session_refusals(store: Store, soft_limit: SoftBounces, now: datetime) -> int:
    """Record the refusals in recent SMTP sessions that are not recorded yet. Returns how many.

    A 550 to RCPT means the same as a bounce message that arrives an hour later.
    """
    count = last_delivery = 0
    while True:
        with store.read() as connection:
            deliveries = feedback.find_refused(connection, now - _SESSION_PERIOD, last_delivery)
        if not deliveries:
            return count
        for delivery in deliveries:
            assert delivery.recipient.delivery is not None
            last_delivery = delivery.recipient.delivery
            reply = _SESSION_REPLY.fullmatch(delivery.reason)
            if reply is None:
                continue
            refusal = classify(delivery.reason, stage=reply["step"], recipient=delivery.recipient.address)
            with store.write() as connection:
                event = FeedbackEvent(delivery.recipient, refusal.code, delivery.reason, "smtp", now)
                count += record_bounce(connection, event, refusal, soft_limit).kind != KNOWN
