"""Makes sense of one message that came to a return path: a bounce, a complaint, or nothing that counts.

Anybody may send us anything, so this takes a part of it only, never looks deep, and an oddity ends in words. What it
says is a claim: whether it is about a mail of ours is for `proof`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from email.utils import parseaddr
from typing import Any

from flufl.bounce import all_failures

from tidings.pipeline.track.auto_reply import is_auto_reply, is_from_a_machine
from tidings.pipeline.track.refusals import Meaning, Refusal, refusal
from tidings.pipeline.track.report_fields import address_in, blocks, decoded, raw_of

MOST = 1 << 20
"""Bytes that are looked at: the report stands before the mail that it returns."""
_MOST_BOUNDARIES = 40
_MOST_PARTS = 200
_MOST_TEXT = 64 * 1024
_NESTED = re.compile(rb"boundary\s*=|message/(?:rfc822|global)", re.IGNORECASE)
_ODDITIES = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_COMPLAINTS = {"abuse", "fraud", "virus", "other", "opt-out", "miscategorized", ""}
"""Feedback-Type (RFC 5965 §7.3, RFC 6430 and the IANA registry): `not-spam` and `auth-failure` are no complaints."""


# It writes a traceback for what it cannot make sense of; here that ends in words.
logging.getLogger("flufl.bounce").disabled = True


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message says. `why` says it in words where it is nothing that counts."""

    refusal: Refusal | None = None
    complaint: str = ""
    """Feedback-Type of a complaint."""
    recipient: str = ""
    """Whom it names; empty where it names nobody, or hides it."""
    why: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is a bounce or a complaint."""
        return self.refusal is not None or bool(self.complaint)


def read(raw: bytes) -> Reading:
    """Never raises for what somebody sent."""
    raw = raw[:MOST]
    if len(_NESTED.findall(raw)) > _MOST_BOUNDARIES:
        return Reading(why="nested too deeply to be a report")
    try:
        return _read(message_from_bytes(raw))
    except _ODDITIES as error:
        # The parser of the standard library meets what it never met.
        return Reading(why=f"it cannot be read ({type(error).__name__})")


def _read(message: Message[Any, Any]) -> Reading:
    parts = []
    for part in message.walk():
        parts.append(part)
        if len(parts) > _MOST_PARTS:
            return Reading(why="of too many parts to be a report")
    for part in parts:
        kind = part.get_content_type()
        if kind == "message/feedback-report":
            return _feedback(part, parts)
        if kind in ("message/delivery-status", "message/global-delivery-status"):
            found = _status(part, parts)
            if found is not None:
                return found
        if kind in ("message/disposition-notification", "message/global-disposition-notification"):
            return Reading(why="a receipt of a reader's mail program")
    if (found := _of_microsoft(message, parts)) is not None:
        return found
    if is_auto_reply(message):
        return Reading(why="an automatic reply")
    return _odd(message, parts)


def _status(part: Message[Any, Any], parts: list[Message[Any, Any]]) -> Reading | None:
    """RFC 3464, and RFC 6533 for addresses beyond ASCII. The worst of several recipients counts."""
    found: list[Reading] = []
    delayed = relayed = False
    for fields in blocks(raw_of(part)):
        action = fields.get("action", "").split(" ")[0].casefold()
        if not action and "status" not in fields:
            continue
        delayed |= action == "delayed"
        relayed |= action in ("delivered", "relayed", "expanded")
        if action not in ("failed", ""):
            continue
        said = fields.get("diagnostic-code", "").partition(";")
        text = (said[2] or said[0]).strip() or _words(parts)
        # RFC 3464 §2.3.4: a comment may follow the code.
        code = fields.get("status", "").split(" ")[0].split("(")[0]
        if code.startswith("2."):
            continue
        recipient = address_in(fields.get("original-recipient", "")) or address_in(fields.get("final-recipient", ""))
        found.append(Reading(refusal(code, text[:2000]), recipient=recipient))
    if found:
        order = list(Meaning)
        return min(found, key=lambda one: order.index(one.refusal.meaning) if one.refusal else 9)
    if delayed:
        return Reading(why="a delay: it is still being tried")
    return Reading(why="a report of success") if relayed else None


def _feedback(part: Message[Any, Any], parts: list[Message[Any, Any]]) -> Reading:
    """ARF (RFC 5965), which CFBL (RFC 9477) uses too."""
    fields: dict[str, str] = {}
    for block in blocks(raw_of(part)):
        fields = {**block, **fields}
    kind = fields.get("feedback-type", "").split(" ")[0].casefold()
    if kind not in _COMPLAINTS:
        return Reading(why=f"a report that is no complaint ({kind[:40]})")
    recipient = address_in(fields.get("original-rcpt-to", ""))
    if not recipient:
        returned = next((one for one in parts if one.get_content_type() == "message/rfc822"), None)
        inside = returned.get_payload() if returned is not None else None
        if isinstance(inside, list) and inside and isinstance(inside[0], Message):
            recipient = address_in(str(inside[0].get("To", "")))
    return Reading(complaint=kind or "abuse", recipient=recipient)


def _of_microsoft(message: Message[Any, Any], parts: list[Message[Any, Any]]) -> Reading | None:
    """Microsoft's Junk Mail Reporting Program has a form of its own: the mail, attached."""
    if address_in(str(message.get("From", ""))).casefold() != "staff@hotmail.com":
        return None
    for part in parts[1:]:
        if part.get("X-HmXmrOriginalRecipient"):
            return Reading(complaint="abuse", recipient=address_in(str(part["X-HmXmrOriginalRecipient"])))
    return None


def _odd(message: Message[Any, Any], parts: list[Message[Any, Any]]) -> Reading:
    """What follows no standard: qmail, old Exchange, Exim and many more, by the rules of Mailman's own collection."""
    if sum(len(text) for text in _texts(parts)) > _MOST_TEXT:
        return Reading(why="too long to be a bounce of no standard form")
    if not parseaddr(str(message.get("From", "")))[1]:
        return Reading(why="from nobody")
    temporary, permanent = all_failures(message)
    named = sorted(permanent or temporary)
    if not named and not (message.get("X-Failed-Recipients") and is_from_a_machine(message)):
        return Reading(why="no bounce and no complaint")
    recipient = decoded(named[0]) if named else address_in(str(message["X-Failed-Recipients"]))
    text = _words(parts)
    said = refusal("", text)
    if temporary and not permanent:
        # 'Could not be delivered for 4 hours': it is still being tried.
        return Reading(why="a delay: it is still being tried")
    return Reading(said, recipient=recipient)


def _words(parts: list[Message[Any, Any]]) -> str:
    """What people are told, up to the mail that is returned."""
    return " ".join(next(_texts(parts), "").split())[:2000]


def _texts(parts: list[Message[Any, Any]]) -> Iterator[str]:
    for part in parts:
        if part.get_content_maintype() == "text" and not part.is_multipart():
            yield _before_the_copy(decoded(raw_of(part), part.get_content_charset()))
        if part.get_content_maintype() == "message":
            return


_COPY = re.compile(
    r"^-{2,} ?(?:Below this line is a copy|This is a copy of|Original message|Forwarded message|The header of the"
    r"|Undelivered message|Message headers follow)",
    re.IGNORECASE | re.MULTILINE,
)


def _before_the_copy(text: str) -> str:
    found = _COPY.search(text)
    return text[: found.start()] if found else text
