"""A message taken apart, for APIs that do not take it as it is."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import dataclass
from email.message import EmailMessage
from typing import NamedTuple

from tidings.channels.mail_api.base import CannotCarryError

_BUILT_BY_THE_API = {
    "from", "to", "cc", "bcc", "subject", "reply-to", "mime-version", "date", "received", "return-path",
    "dkim-signature",
}  # fmt: skip
"""Headers that have a field of their own, or that the provider makes."""


_BREAK = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Mailbox(NamedTuple):
    """A display name, which may be empty, and an address."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Parts:
    """One message to one person."""

    sender: Mailbox
    to_name: str
    reply_to: Mailbox | None
    subject: str
    text: str
    html: str
    headers: dict[str, str]
    """The rest, as they stand on the wire (ASCII, on one line): Message-ID, List-Id, List-Unsubscribe, ..."""

    @property
    def is_bulk(self) -> bool:
        """Whether it went to a list: what does can be left."""
        return any(name.lower() == "list-unsubscribe" for name in self.headers)


def take_apart(data: bytes) -> Parts:
    """CannotCarryError where something in it would be lost."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    try:
        texts = _texts(message)
        senders, answers, readers = (_addresses(message, name) for name in ("From", "Reply-To", "To"))
        subject = _line(str(message["Subject"] or ""))
    except (LookupError, ValueError) as error:
        # An unknown charset; a line break in a name.
        raise CannotCarryError("the message cannot be read") from error
    if len(senders) != 1:
        raise CannotCarryError("the message needs one sender")
    return Parts(
        sender=senders[0],
        to_name=readers[0].name if len(readers) == 1 else "",
        reply_to=answers[0] if answers else None,
        subject=subject,
        text=texts["text/plain"],
        html=texts["text/html"],
        headers=_others(data),
    )


def _texts(message: EmailMessage) -> dict[str, str]:
    found = {"text/plain": "", "text/html": ""}
    for part in message.walk():
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        if kind not in found or found[kind] or part.get_content_disposition() == "attachment":
            raise CannotCarryError(f"the message has a part that this provider's API is not given: {kind}")
        found[kind] = str(part.get_content()).replace("\r\n", "\n")
    return found


def _others(data: bytes) -> dict[str, str]:
    """Unfolded, and not decoded: what is an encoded word stays one."""
    raw = email.message_from_bytes(data, policy=email.policy.compat32)
    found = {}
    for name, value in raw.items():
        if name.lower() not in _BUILT_BY_THE_API and not name.lower().startswith("content-"):
            text = " ".join(str(value).split())
            if not text.isascii():
                raise CannotCarryError(f"the header {name} is not ASCII")
            found[name] = text
    return found


def _addresses(message: EmailMessage, name: str) -> tuple[Mailbox, ...]:
    found = getattr(message[name], "addresses", ())
    return tuple(Mailbox(_line(one.display_name), one.addr_spec) for one in found)


def _line(text: str) -> str:
    """An encoded word may hide a line break."""
    return _BREAK.sub(" ", text).strip()


def quoted(name: str) -> str:
    """A display name in quotes (RFC 5322 §3.2.4)."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def format_mailbox(person: Mailbox) -> str:
    """`"Name" <address>`, or the address alone."""
    return f"{quoted(person.name)} <{person.address}>" if person.name else person.address
