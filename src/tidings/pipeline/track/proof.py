"""Whether a message is about a mail of ours, and whose: by what we signed, never by what it says.

Anybody can write a bounce about anybody. So an address in it proves nothing; what does is the token of the return path
(VERP), or the unsubscribe token in the header of the mail that it brings back. Only who had the mail has these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from tidings.model.tokens import RETURN_TOKEN_LENGTH, TokenKeys, TokenPurpose
from tidings.pipeline.compose.mail import message_id_local_part
from tidings.pipeline.track.report_parser import MOST
from tidings.store.people import feedback
from tidings.store.people.feedback import Recipient

_RETURN_PATH = re.compile(rb"\+([A-Za-z2-7]{%d})@" % RETURN_TOKEN_LENGTH)
_WAY_OUT = re.compile(rb"/unsubscribe/([A-Za-z0-9_-]{30,500})")
_MESSAGE_ID = re.compile(rb"<([0-9a-f]{32})@")
_MOST_TRIES = 50


def whose(
    connection: Connection,
    keys: TokenKeys,
    raw: bytes,
    recipients: Sequence[str],
    present_name: Callable[[str], str] = lambda name: name,
) -> Recipient | None:
    """`recipients` are of the envelope, where it is known. `present_name` of a list that an old mail names."""
    envelope = " ".join(recipients).encode("utf-8", "replace")
    known = raw[:MOST]
    for found in (*_RETURN_PATH.findall(envelope), *_RETURN_PATH.findall(known)[:_MOST_TRIES]):
        delivery = keys.read_return_path(found.decode())
        if delivery is not None:
            return feedback.find_by_delivery(connection, delivery)
    for found in _WAY_OUT.findall(known)[:_MOST_TRIES]:
        claim = keys.verify(TokenPurpose.UNSUBSCRIBE, found.decode())
        if claim is None or claim.subscriber == 0:
            continue
        name = present_name(claim.list)
        ids = set(_MESSAGE_ID.findall(known))
        for sent in feedback.recent_mails(connection, claim.subscriber, name):
            if message_id_local_part(sent.key) in ids:
                return sent.recipient
        return feedback.find_by_subscriber(connection, claim.subscriber, name)
    return None
