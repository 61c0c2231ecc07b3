"""Record bounces. A hard bounce, or too many soft bounces, removes an address from a list.

- Hard: the mailbox clearly does not exist. The address gets no more mail, at once. - Soft: a full mailbox, or a server
that is down. The address gets no more mail after too many such days. - Blocked: refused because of the sender or the
content, or for an unknown reason. No subscriber is removed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from tidings.config.bounces import Bounces, SoftBounces
from tidings.model.delivery import DeliveryState, FeedbackKind
from tidings.model.edition import Edition, EditionState
from tidings.model.refusal import Effect, Refusal, RefusalKind
from tidings.pipeline import notices
from tidings.pipeline.track import breaker
from tidings.pipeline.track.breaker import JudgedMail
from tidings.pipeline.track.events import KNOWN, FeedbackEvent, FeedbackResult
from tidings.store.content import editions
from tidings.store.delivery import refusals
from tidings.store.engine import Store
from tidings.store.people import feedback, subscribers
from tidings.store.people.doubted import DOUBTED, believe, is_believed

BLOCKED = "blocked"
_SENT = (EditionState.SENDING, EditionState.HELD, EditionState.DONE)
_SESSION_PERIOD = timedelta(days=2)


def record_bounce(connection: Connection, event: FeedbackEvent, refusal: Refusal, rules: Bounces) -> FeedbackResult:
    """Record one bounce of any kind that arrived after the SMTP session."""
    if refusal.effect is Effect.HARD and event.is_to_subscriber and not event.is_known(connection, FeedbackKind.HARD):
        if event.is_known(connection, DOUBTED):
            return FeedbackResult(KNOWN)
        if breaker.doubt_bounce(connection, event, rules):
            event.record(connection, DOUBTED)
            feedback.mark_delivery(connection, event.target.delivery, FeedbackKind.SOFT)
            return FeedbackResult(BLOCKED)
    return _record(connection, event, refusal, rules)


def _record(connection: Connection, event: FeedbackEvent, refusal: Refusal, rules: Bounces) -> FeedbackResult:
    match refusal.effect:
        case Effect.HARD:
            is_new, kind = _record_hard(connection, event), str(FeedbackKind.HARD)
        case Effect.SOFT:
            is_new, kind = _record_soft(connection, event, rules.soft), str(FeedbackKind.SOFT)
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
    """Record a hard bounce that only the unsubscribe link in the returned mail proves. The reader leaves this list."""
    if not event.record(connection, FeedbackKind.HARD):
        return FeedbackResult(KNOWN)
    target = event.target
    feedback.mark_delivery(connection, target.delivery, FeedbackKind.HARD)
    if target.subscriber is not None:
        source = f"bounce, heard by {event.via}"
        subscribers.unsubscribe(connection, target.subscriber, target.list, source=source, now=event.at)
    return FeedbackResult(str(FeedbackKind.HARD))


def _record_soft(connection: Connection, event: FeedbackEvent, limit: SoftBounces) -> bool:
    """Suppress the address on this list after bounces on `limit.days` days. Several bounces on one day count once."""
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


def act_on_refusals(store: Store, rules: Bounces, now: datetime, waiting: Collection[int] = ()) -> int:
    """Act on refusals in recent SMTP sessions that were not handled yet. Returns the number of new bounces.

    A 550 to RCPT means the same as a bounce message that arrives an hour later. `waiting` are deferred mails whose
    sender cannot send at all. They are sent again as soon as it can. Too many refusals trip the breaker.
    """
    with store.read() as connection:
        mails, after = refusals.find_mails(connection, waiting), 0
        while page := refusals.find_refused(connection, now - _SESSION_PERIOD, after):
            mails += page
            after = page[-1].id
    by_mailing: dict[int, list[JudgedMail]] = {}
    for mail in mails:
        if (judged := breaker.judge(mail)) is not None:
            by_mailing.setdefault(mail.mailing, []).append(judged)
    count = 0
    for group in by_mailing.values():
        with store.write() as connection:
            doubted = _trip(connection, rules, group, now)
            refusals.requeue(connection, [judged.mail.id for judged in group if judged.mail.id in waiting], now)
        for judged in group:
            if judged.mail.id not in doubted and judged.mail.state == DeliveryState.REJECTED:
                with store.write() as connection:
                    event = FeedbackEvent(judged.mail.recipient, judged.refusal.code, judged.mail.reason, "smtp", now)
                    count += _record(connection, event, judged.refusal, rules).kind != KNOWN
    return count


def _trip(connection: Connection, rules: Bounces, group: Sequence[JudgedMail], now: datetime) -> set[int]:
    """Hold the edition of these mails if too many were refused. Returns the mails that now wait for a person."""
    first = group[0].mail
    if first.edition is not None and is_believed(connection, first.edition):
        return set()
    trips = breaker.find_trips(
        rules.breaker,
        group,
        lambda sender, domain: refusals.count_accepted(connection, first.mailing, sender, domain),
    )
    doubted = {judged.mail.id for trip in trips for judged in trip.refused}
    edition = editions.get_edition(connection, first.edition) if first.edition is not None else None
    if doubted and edition is not None and edition.state in _SENT:
        refusals.requeue(connection, doubted, now)
        breaker.hold(connection, edition, [trip.detail for trip in trips], now)
        return doubted
    for judged in group:
        if judged.mail.id in doubted and judged.refusal.effect is Effect.HARD:
            event = FeedbackEvent(judged.mail.recipient, judged.refusal.code, judged.mail.reason, "smtp", now)
            _record_blocked(connection, event, replace(judged.refusal, kind=RefusalKind.UNKNOWN))
    return {number for number in doubted if edition is None or edition.state in _SENT}


def believe_bounces(store: Store, edition: Edition, now: datetime) -> int:
    """Accept the refusals and bounces for which the breaker held an edition. Returns their number."""
    with store.read() as connection:
        gone = breaker.find_gone(refusals.find_refused_in(connection, edition.id))
    with store.write() as connection:
        count = believe(connection, edition.id, now)
        refusals.reject(connection, [judged.mail.id for judged in gone], now)
        for judged in gone:
            event = FeedbackEvent(judged.mail.recipient, judged.refusal.code, judged.mail.reason, "smtp", now)
            count += _record_hard(connection, event)
    return count
