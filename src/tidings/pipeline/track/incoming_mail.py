"""Handle one message that arrived at a return path: prove which mail it is about, then record it.

Anybody can forge a bounce, so an address in a message proves nothing. The proof is a token that we signed: the token in
the return path (VERP), or the unsubscribe token in the header of the returned mail. Only the recipient's side has
these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from email.message import Message
from typing import Any

from sqlalchemy import Connection

from tidings.config.bounces import Bounces
from tidings.model.refusal import Effect
from tidings.model.tokens import RETURN_TOKEN_LENGTH, TokenKeys, TokenPurpose
from tidings.pipeline.compose.mail import message_id_local_part
from tidings.pipeline.track.bounces import record_bounce, record_linked_bounce
from tidings.pipeline.track.complaints_and_unsubscribes import (
    find_unsubscribe_request,
    record_complaint,
    record_mail_unsubscribe,
)
from tidings.pipeline.track.events import IGNORED, FeedbackEvent, FeedbackResult
from tidings.pipeline.track.leaving_mail import LeavingAddresses, record_leaving_mail
from tidings.pipeline.track.report_parser import MAX_BYTES, decoded_parts, is_automatic, parse_head, parse_report
from tidings.pipeline.track.unread_mail import show_unread
from tidings.store.engine import Store
from tidings.store.people import feedback
from tidings.store.people.feedback import Recipient

_RETURN_PATH = re.compile(rb"\+([A-Za-z2-7]{%d})@" % RETURN_TOKEN_LENGTH)
_UNSUBSCRIBE_LINK = re.compile(rb"/unsubscribe/([A-Za-z0-9_-]{30,500})")
_MESSAGE_ID = re.compile(rb"<([0-9a-f]{32})@")
_MAX_TOKENS = 50
NO_ADDRESSES = LeavingAddresses()


def receive_message(
    store: Store,
    keys: TokenKeys,
    raw: bytes,
    *,
    rules: Bounces,
    via: str,
    now: datetime,
    recipients: Sequence[str] = (),
    present_name: Callable[[str], str] = lambda name: name,
    leaving: LeavingAddresses = NO_ADDRESSES,
) -> FeedbackResult:
    """Read and record one message in one transaction. A second call changes nothing.

    `recipients` are those of the envelope, if known. `present_name` gives today's name of a list.
    """
    request = find_unsubscribe_request(keys, raw)
    if request is not None:
        with store.write() as connection:
            lists = {request.list, present_name(request.list)}
            return record_mail_unsubscribe(connection, request.subscriber, lists, now)
    head = parse_head(raw)
    left = leaving.find_lists(head, recipients)
    if left and not is_automatic(head):
        return _leave_by_hand(store, keys, raw, head, left, leaving.authority, present_name, now)
    envelope = " ".join(recipients).encode("utf-8", "replace")
    with store.read() as connection:
        delivery = _find_delivery(keys, envelope + b" " + raw[:MAX_BYTES])
        is_signed = delivery is not None
        target = feedback.find_by_delivery(connection, delivery) if delivery is not None else None
        if not is_signed:
            for text in (raw[:MAX_BYTES], decoded_parts(raw)):
                target = target or _find_by_link(connection, keys, text, present_name)
    if target is None:
        return show_unread(store, raw, None, "the message has no token of a mail of ours", now)
    report = parse_report(raw, target.address, is_signed=is_signed)
    if report.is_unread:
        return show_unread(store, raw, target, report.reason, now)
    if not report.is_feedback:
        return FeedbackResult(IGNORED, report.reason)
    with store.write() as connection:
        if report.refusal is not None:
            event = FeedbackEvent(target, report.refusal.code, report.refusal.text, via, now)
            if not is_signed and report.refusal.effect is Effect.HARD:
                # Everybody with a forwarded mail has its unsubscribe link, so it only proves that they may leave this
                # list.
                return record_linked_bounce(connection, event)
            return record_bounce(connection, event, report.refusal, rules)
        event = FeedbackEvent(target, "", report.complaint, via, now)
        return record_complaint(connection, event, report.complaint)


def _leave_by_hand(
    store: Store,
    keys: TokenKeys,
    raw: bytes,
    head: Message[Any, Any],
    lists: Sequence[str],
    authority: str,
    present_name: Callable[[str], str],
    now: datetime,
) -> FeedbackResult:
    """Handle a mail to the unsubscribe address. The link in the quoted mail identifies the reader and the list."""
    with store.write() as connection:
        for text in (raw[:MAX_BYTES], decoded_parts(raw)):
            for token in _UNSUBSCRIBE_LINK.findall(text)[:_MAX_TOKENS]:
                contents = keys.verify_link(TokenPurpose.UNSUBSCRIBE, token.decode())
                if contents is not None and contents.subscriber:
                    names = {contents.list, present_name(contents.list)}
                    return record_mail_unsubscribe(connection, contents.subscriber, names, now)
        return record_leaving_mail(connection, head, lists, authority, now)


def _find_delivery(keys: TokenKeys, text: bytes) -> int | None:
    """Return the delivery of a signed return path, or None."""
    found = (keys.read_return_path(token.decode()) for token in _RETURN_PATH.findall(text)[:_MAX_TOKENS])
    return next((delivery for delivery in found if delivery is not None), None)


def _find_by_link(
    connection: Connection, keys: TokenKeys, text: bytes, present_name: Callable[[str], str]
) -> Recipient | None:
    """Return the recipient of the returned mail by its unsubscribe link, or None without proof."""
    for token in _UNSUBSCRIBE_LINK.findall(text)[:_MAX_TOKENS]:
        contents = keys.verify_link(TokenPurpose.UNSUBSCRIBE, token.decode())
        if contents is None or contents.subscriber == 0:
            continue
        list_name = present_name(contents.list)
        message_ids = set(_MESSAGE_ID.findall(text))
        for mail in feedback.recent_mails(connection, contents.subscriber, list_name):
            if message_id_local_part(mail.key) in message_ids:
                return mail.recipient
        return feedback.find_by_subscriber(connection, contents.subscriber, list_name)
    return None
