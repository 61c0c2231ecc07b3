"""Record complaints, and unsubscribes by mail or by a provider's link."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser

from sqlalchemy import Connection

from tidings.model.delivery import FeedbackKind
from tidings.model.tokens import TokenContents, TokenKeys, TokenPurpose
from tidings.pipeline import notices
from tidings.pipeline.track.events import KNOWN, FeedbackEvent, FeedbackResult
from tidings.pipeline.track.report_fields import PARSER_ERRORS
from tidings.render.mail.headers import UNSUBSCRIBE_SUBJECT
from tidings.store.people import consent, feedback, subscribers

LEFT = "left"
_MAX_HEADER_BYTES = 64 * 1024
_MAX_SUBJECT = 4000
_REQUEST = re.compile(rf"\b{UNSUBSCRIBE_SUBJECT}\s+([A-Za-z0-9_-]{{30,500}})(?![A-Za-z0-9_-])", re.IGNORECASE)


def record_complaint(connection: Connection, event: FeedbackEvent, kind: str) -> FeedbackResult:
    """Suppress the address on the list and notify the newsroom. `kind` is the Feedback-Type, such as abuse."""
    if not event.record(connection, FeedbackKind.COMPLAINT):
        return FeedbackResult(KNOWN)
    target = event.target
    feedback.mark_delivery(connection, target.delivery, FeedbackKind.COMPLAINT)
    if event.is_to_subscriber:
        feedback.suppress_recipient(connection, target, target.list, FeedbackKind.COMPLAINT, event.via, event.at)
    where = f"of the list {target.list}" if target.list else "of the newsroom"
    mail = f" To see the mail: tidings ledger, delivery {target.delivery}." if target.delivery else ""
    text = (
        f"A subscriber {where} complained ({kind}) and gets no more mail from it.{mail}\n"
        "More than three complaints in a thousand mails make providers move all of your mail to spam."
    )
    notices.add(connection, event.key("complaint"), "complaint", text, event.at)
    return FeedbackResult(str(FeedbackKind.COMPLAINT))


def record_provider_unsubscribe(connection: Connection, event: FeedbackEvent) -> FeedbackResult:
    """Unsubscribe from the list, or from all lists if the list is unknown.

    A provider's unsubscribe link or suppression list counts as much as ours.
    """
    target = event.target
    if target.list and target.subscriber is not None:
        is_new = subscribers.unsubscribe(connection, target.subscriber, target.list, source=event.via, now=event.at)
    else:
        if target.subscriber is not None:
            for name in consent.lists_of(connection, target.subscriber):
                subscribers.unsubscribe(connection, target.subscriber, name, source=event.via, now=event.at)
        is_new = consent.suppress(connection, target.address_hash, "", subscribers.UNSUBSCRIBED, event.at)
    return FeedbackResult(LEFT if is_new else KNOWN)


def find_unsubscribe_request(keys: TokenKeys, raw: bytes) -> TokenContents | None:
    """Return the signed token of a mail that asks to unsubscribe (RFC 2369 §3.2), else None. Never raises."""
    try:
        header = str(BytesHeaderParser().parsebytes(raw[:_MAX_HEADER_BYTES]).get("Subject", ""))[:_MAX_SUBJECT]
        subject = str(make_header(decode_header(header)))
    except PARSER_ERRORS:
        return None
    for token in _REQUEST.findall(subject)[:3]:
        contents = keys.verify_link(TokenPurpose.UNSUBSCRIBE, token)
        if contents is not None and contents.subscriber:
            return contents
    return None


def record_mail_unsubscribe(
    connection: Connection, subscriber: int, lists: Collection[str], now: datetime
) -> FeedbackResult:
    """Unsubscribe from a list under each of its names."""
    changed = [
        subscribers.unsubscribe(connection, subscriber, name, source="mail to leave", now=now) for name in sorted(lists)
    ]
    return FeedbackResult(LEFT if any(changed) else KNOWN)
