"""Handle a mail without a token to the unsubscribe address: a person wrote it by hand.

If the receiving mail server has authenticated the sender (RFC 8601), they are unsubscribed. Otherwise the team gets a
notice, because From can be forged.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import Message
from typing import Any

from sqlalchemy import Connection

from tidings.model.errors import InputError
from tidings.pipeline import notices
from tidings.pipeline.track.complaints_and_unsubscribes import LEFT
from tidings.pipeline.track.events import KNOWN, FeedbackResult
from tidings.pipeline.track.report_fields import mailboxes, printable
from tidings.store.delivery.notices import notice_keys
from tidings.store.people import subscribers

SHOWN = "shown"
"""The result for a message that a person must look at."""
_KIND = "leaving"
_MOST_A_DAY = 30
_MAX_RESULTS = 4_000
_TO = ("Delivered-To", "X-Original-To", "To", "Cc")


@dataclass(frozen=True, slots=True)
class LeavingAddresses:
    """The unsubscribe addresses with their lists, and the mail server whose authentication results are trusted."""

    lists: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Names of lists by address, in lower case."""
    authority: str = ""

    def find_lists(self, message: Message[Any, Any], recipients: Sequence[str]) -> list[str]:
        """Return the lists that a message to these recipients is about. Without an envelope, its headers are used."""
        if not recipients:
            recipients = mailboxes(value for name in _TO for value in message.get_all(name, []))
        return sorted({name for address in recipients for name in self.lists.get(address.casefold(), ())})


def record_leaving_mail(
    connection: Connection, message: Message[Any, Any], lists: Sequence[str], authority: str, now: datetime
) -> FeedbackResult:
    """Unsubscribe an authenticated sender from the lists of this unsubscribe address, or notify the team."""
    senders = mailboxes(message.get_all("From", []))
    address = senders[0] if len(senders) == 1 else ""
    try:
        subscriber = subscribers.find_id(connection, address) if address else None
    except InputError:
        subscriber = None
    is_proved = bool(address) and is_authenticated(message, address, authority)
    on = subscribers.subscription_states(connection, subscriber, lists) if subscriber is not None else {}
    if subscriber is not None and is_proved:
        left = [
            subscribers.unsubscribe(connection, subscriber, name, source="mail to leave, sender proved", now=now)
            for name in sorted(on)
        ]
        return FeedbackResult(LEFT if any(left) else KNOWN)
    names = ", ".join(lists)
    if any(state != subscribers.UNSUBSCRIBED for state in on.values()):
        # A stranger chose the address, and a person copies the command into a shell.
        command = f"tidings subscribers remove {shlex.quote(address)} --list {lists[0]}"
        text = (
            f"{printable(address)} may want to leave {names}: a mail came to the address for leaving. Its sender is "
            f"not proved, so nobody was removed. To remove them: {command}"
        )
    elif on:
        return FeedbackResult(KNOWN)
    else:
        sender = printable(address) or "an unclear sender"
        text = (
            f"A mail from {sender} came to the address for leaving {names}. No subscriber has this address; they"
            " may be on the list under another one. Please look at it and answer it."
        )
    key = f"{_KIND}:{now.date().isoformat()}:"
    if len(notice_keys(connection, key)) < _MOST_A_DAY:
        digest = hashlib.sha256(address.casefold().encode("utf-8", "replace")).hexdigest()[:16]
        notices.add(connection, key + digest, "failed", text, now)
    return FeedbackResult(SHOWN)


def is_authenticated(message: Message[Any, Any], address: str, authority: str) -> bool:
    """Whether this mail server has authenticated the message for the domain of `address`, by DMARC or DKIM.

    Only the topmost field of this server counts. It must remove forged fields with its name (RFC 8601 §5).
    """
    domain = address.rpartition("@")[2].casefold()
    for value in message.get_all("Authentication-Results", []) if authority else []:
        text = re.sub(r"\([^()]*\)", " ", str(value)[:_MAX_RESULTS])
        name, *results = text.casefold().split(";")
        if name.split()[:1] != [authority.casefold()]:
            continue
        return any(_proves(result.split(), domain) for result in results)
    return False


def _proves(words: list[str], domain: str) -> bool:
    """Whether one result, such as `dkim=pass header.d=example.org`, proves a domain (relaxed alignment)."""
    properties = dict(word.partition("=")[::2] for word in words if "=" in word)
    if properties.get("dmarc") == "pass":
        return properties.get("header.from", "").rpartition("@")[2].strip('"') == domain
    signer = properties.get("header.d", properties.get("header.i", "").rpartition("@")[2]).strip('"')
    is_aligned = domain == signer or (signer.count(".") > 0 and domain.endswith(f".{signer}"))
    return properties.get("dkim") == "pass" and bool(signer) and is_aligned
