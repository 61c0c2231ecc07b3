"""Classify a refusal by its enhanced status code (RFC 3463), and by its text if the code is vague."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class RefusalMeaning(StrEnum):
    """The meaning of a refusal for the subscriber, the worst first."""

    DEAD = "dead"
    """The mailbox does not exist. No list may write to it."""
    HARD = "hard"
    """Refused for good for an unknown reason. This list does not write again."""
    SOFT = "soft"
    """A temporary problem. It counts towards the limit of soft bounces."""
    BLOCKED = "blocked"
    """The refusal is about the sender or the message, not about the subscriber."""


@dataclass(frozen=True, slots=True)
class SmtpRefusal:
    """An enhanced code (may be empty), the text that came with it, and their meaning."""

    code: str
    text: str
    meaning: RefusalMeaning


_ENHANCED_CODE = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_REPLY_CODE = re.compile(r"(?<![\d.])([45])\d\d(?=[\s-])")
_MAX_TEXT = 2000
_DEAD_CODES = {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.4", "5.4.310"}
"""5.1.10: null MX or, at Microsoft, no such recipient. 5.4.310: Microsoft, no such domain."""
_SENDER_CODES = {"5.1.7", "5.1.8", "5.2.3", "5.2.4", "5.3.4"}
"""Codes about the sender's address or the size."""
_VAGUE_CODE = re.compile(r"5\.(?:[05]\.\d+|\d\.0|4\.1|7\.1)")
"""Servers use these codes for many causes, so the text decides."""

_NO_MAILBOX_TEXT = re.compile(
    r"(?:user|recipient|mailbox|address(?:ee)?|account|alias|local part)s?\b.{0,60}?"
    r"\b(?:unknown|not found|does(?:n't| not) exist|do not exist|no longer (?:exists|available|valid|on)|disabled"
    r"|inactive|invalid|unavailable|not listed|not exist|(?:has been )?(?:deactivated|suspended|deleted|closed))"
    r"|(?:unknown|no such|invalid|non-?existent|inactive|bad destination|disabled) "
    r"(?:local )?(?:user|recipient|mailbox|address|account|person|name)"
    r"|no mailbox (?:here )?by that name|(?:doesn't|does not) have an? .{0,40}account|not our customer"
    r"|dd this user doesn't have|RecipientNotFound|RecipNotFound|ADR\.Recip|unrouteable address|unroutable address"
    r"|host (?:or domain name )?not found|domain (?:name )?(?:not found|does not exist)|no such domain|nullMX",
    re.IGNORECASE | re.DOTALL,
)
_FULL_TEXT = re.compile(
    r"(?:over|exceed\w{0,5}|out of|above|reached).{0,30}(?:quota|storage|disk|space|mailbox size)"
    r"|quota.{0,20}(?:exceed|full|reached)|(?:mailbox|inbox|mail box|disk|storage).{0,20}\bfull\b"
    r"|insufficient (?:system )?storage",
    re.IGNORECASE | re.DOTALL,
)
_POLICY_TEXT = re.compile(
    r"\bspam|black-?list|block-?list|\bblocked\b|\bRBL\b|DNSBL|spamhaus|barracuda|reputation|policy|DMARC|\bSPF\b|DKIM"
    r"|unauthenticated|not authenticated|\bcontent\b|\bvirus|bulk mail|unsolicited|throttl|rate limit|too many",
    re.IGNORECASE,
)


def classify_refusal(code: str, text: str) -> SmtpRefusal:
    """Classify a refusal. `code` is enhanced or empty. A code in `text` (the diagnostic) replaces a vague `code`."""
    text = text[:_MAX_TEXT]
    best = code if _ENHANCED_CODE.fullmatch(code) else ""
    for match in _ENHANCED_CODE.finditer(text):
        if not best or (best.endswith(".0.0") and match[1] == best[0] and not match[0].endswith(".0.0")):
            best = match[0]
    severity = best[:1] or next((match[1] for match in _REPLY_CODE.finditer(text)), "")
    return SmtpRefusal(best, text, _meaning(best, severity, text))


def _meaning(code: str, severity: str, text: str) -> RefusalMeaning:
    if code.startswith("4."):
        return RefusalMeaning.BLOCKED if code.startswith("4.7.") else RefusalMeaning.SOFT
    if code in _DEAD_CODES:
        return RefusalMeaning.DEAD
    if not code or _VAGUE_CODE.fullmatch(code):
        if severity != "4" and _NO_MAILBOX_TEXT.search(text):
            return RefusalMeaning.DEAD
        if code == "5.4.1" and "recipient address rejected" in text.casefold():
            # Exchange Online gives this answer for a recipient that its directory does not know.
            return RefusalMeaning.DEAD
        if _FULL_TEXT.search(text) or "relay" in text.casefold():
            return RefusalMeaning.SOFT
        if _POLICY_TEXT.search(text):
            return RefusalMeaning.BLOCKED
    if code in _SENDER_CODES or code.startswith(("5.6.", "5.7.")):
        return RefusalMeaning.BLOCKED
    if code.startswith(("5.2.2", "5.3.", "5.4.")) or severity == "4":
        return RefusalMeaning.SOFT
    return RefusalMeaning.HARD
