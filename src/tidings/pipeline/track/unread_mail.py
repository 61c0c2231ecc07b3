"""Notify the team of returned mail that Tidings cannot read. Behind LMTP it would be lost otherwise."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import datetime
from email import message_from_bytes
from email.header import decode_header, make_header

from tidings.pipeline import notices
from tidings.pipeline.track.events import IGNORED, FeedbackResult
from tidings.pipeline.track.report_fields import PARSER_ERRORS, decoded, printable, raw_of
from tidings.pipeline.track.report_parser import SHORT_HEADERS, parse_head
from tidings.store.delivery.notices import notice_keys
from tidings.store.delivery.settling import hide_addresses
from tidings.store.engine import Store
from tidings.store.people.feedback import Recipient

UNREAD = "unread"
_MOST_A_DAY = 30
"""Limits the notices, because strangers can write to a return path at any time."""
_MAX_EXCERPT = 800
_MAX_READ = 64 * 1024


def show_unread(store: Store, raw: bytes, target: Recipient | None, reason: str, now: datetime) -> FeedbackResult:
    """Add a notice about a message to a return path that Tidings cannot read as feedback.

    A message without proof is shown only if a mail system seems to have sent it.
    """
    sender, subject, text = _excerpt(raw[:_MAX_READ])
    if target is None and "daemon" not in sender.casefold() and "postmaster" not in sender.casefold():
        return FeedbackResult(IGNORED, reason)
    about = f" about delivery {target.delivery}" if target is not None and target.delivery else ""
    words = hide_addresses(
        f"A message{about} came back, and Tidings cannot read it ({reason}). Nobody was removed. Please look at it.\n"
        f"From: {sender}\nSubject: {subject}\n{text}"
    )
    day = now.date().isoformat()
    with store.write() as connection:
        if len(notice_keys(connection, f"{UNREAD}:{day}:")) < _MOST_A_DAY:
            digest = hashlib.sha256(raw).hexdigest()[:16]
            notices.add(connection, f"{UNREAD}:{day}:{digest}", UNREAD, words, now)
    return FeedbackResult(IGNORED, reason)


def _excerpt(raw: bytes) -> tuple[str, str, str]:
    head, text = parse_head(raw), ""
    try:
        for part in message_from_bytes(raw, policy=SHORT_HEADERS).walk():
            if part.get_content_maintype() == "text" and not part.is_multipart():
                text = decoded(raw_of(part), part.get_content_charset())
                break
    except PARSER_ERRORS:
        text = decoded(raw).partition("\n\n")[2]
    return _header(head.get("From")), _header(head.get("Subject")), printable(text)[:_MAX_EXCERPT]


def _header(value: object) -> str:
    text = str(value or "")[:1000]
    with contextlib.suppress(*PARSER_ERRORS):
        text = str(make_header(decode_header(text)))
    return " ".join(printable(text).split())[:200]
