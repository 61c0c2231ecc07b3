"""Split a message into parts, for APIs that do not accept it whole."""

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
"""Headers with a field of their own in the API, or that the provider makes."""
_BREAK = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class ParsedAddress(NamedTuple):
    """A display name, which may be empty, and an address."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class MessageParts:
    """One message to one recipient."""

    sender: ParsedAddress
    to_name: str
    reply_to: ParsedAddress | None
    subject: str
    text: str
    html: str
    headers: dict[str, str]
    """All other headers, in ASCII and on one line: Message-ID, List-Id, List-Unsubscribe, ..."""

    @property
    def is_bulk(self) -> bool:
        """Whether it is mail to a list, which has an unsubscribe link."""
        return any(name.lower() == "list-unsubscribe" for name in self.headers)


def split_message(data: bytes) -> MessageParts:
    """Split a message into parts. Raises CannotCarryError if something in it would be lost."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    try:
        texts = _texts(message)
        senders, reply_to, recipients = (_addresses(message, name) for name in ("From", "Reply-To", "To"))
        subject = _one_line(str(message["Subject"] or ""))
    except (LookupError, ValueError) as error:
        # An unknown charset; a line break in a name.
        raise CannotCarryError("the message cannot be read") from error
    if len(senders) != 1:
        raise CannotCarryError("the message needs one sender")
    return MessageParts(
        sender=senders[0],
        to_name=recipients[0].name if len(recipients) == 1 else "",
        reply_to=reply_to[0] if reply_to else None,
        subject=subject,
        text=texts["text/plain"],
        html=texts["text/html"],
        headers=_other_headers(data),
    )


def _texts(message: EmailMessage) -> dict[str, str]:
    texts = {"text/plain": "", "text/html": ""}
    for part in message.walk():
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        if kind not in texts or texts[kind] or part.get_content_disposition() == "attachment":
            raise CannotCarryError(f"Tidings cannot send a part of this type through this provider's API: {kind}")
        texts[kind] = str(part.get_content()).replace("\r\n", "\n")
    return texts


def _other_headers(data: bytes) -> dict[str, str]:
    """Return the headers unfolded but not decoded: encoded words stay encoded."""
    raw = email.message_from_bytes(data, policy=email.policy.compat32)
    headers = {}
    for name, value in raw.items():
        if name.lower() not in _BUILT_BY_THE_API and not name.lower().startswith("content-"):
            text = " ".join(str(value).split())
            if not text.isascii():
                raise CannotCarryError(f"the header {name} is not ASCII")
            headers[name] = text
    return headers


def _addresses(message: EmailMessage, name: str) -> tuple[ParsedAddress, ...]:
    addresses = getattr(message[name], "addresses", ())
    return tuple(ParsedAddress(_one_line(address.display_name), address.addr_spec) for address in addresses)


def _one_line(text: str) -> str:
    """Remove line breaks, because an encoded word may contain one."""
    return _BREAK.sub(" ", text).strip()


def quote_name(name: str) -> str:
    """Quote a display name (RFC 5322 §3.2.4)."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def format_mailbox(mailbox: ParsedAddress) -> str:
    """Return `"Name" <address>`, or only the address."""
    return f"{quote_name(mailbox.name)} <{mailbox.address}>" if mailbox.name else mailbox.address
