"""A reader leaves by mail (RFC 2369 §3.2): the token that the mail program put into the subject is what counts."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from email.errors import MessageError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser

from sqlalchemy import Connection

from tidings.model.tokens import TokenContents, TokenKeys, TokenPurpose
from tidings.render.mail.headers import UNSUBSCRIBE_SUBJECT
from tidings.store.people import subscribers

_MOST = 64 * 1024
_MOST_SUBJECT = 4000
_ASKED = re.compile(rf"\b{UNSUBSCRIBE_SUBJECT}\s+([A-Za-z0-9_-]{{30,500}})(?![A-Za-z0-9_-])", re.IGNORECASE)


def asked(keys: TokenKeys, raw: bytes) -> TokenContents | None:
    """Whom a mail asks to be let go, by a token of ours. Never raises for what somebody sent."""
    try:
        subject = str(BytesHeaderParser().parsebytes(raw[:_MOST]).get("Subject", ""))[:_MOST_SUBJECT]
        words = str(make_header(decode_header(subject)))
    except (MessageError, LookupError, TypeError, ValueError):
        return None
    for token in _ASKED.findall(words)[:3]:
        claim = keys.verify(TokenPurpose.UNSUBSCRIBE, token)
        if claim is not None and claim.subscriber:
            return claim
    return None


def happened(connection: Connection, claim: TokenContents, lists: Collection[str], now: datetime) -> bool:
    """Off the list, under each of its names. False if they were off it."""
    left = [
        subscribers.unsubscribe(connection, claim.subscriber, name, source="mail to leave", now=now)
        for name in sorted(lists)
    ]
    return any(left)
