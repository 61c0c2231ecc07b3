"""What a refusal means for the reader: by its enhanced code (RFC 3463) first, by its words where that is vague."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Meaning(StrEnum):
    """What follows from a refusal."""

    DEAD = "dead"
    """There is no such mailbox: no list may write to it."""
    HARD = "hard"
    """Refused for good, nobody knows why: this list does not write again."""
    SOFT = "soft"
    """It may pass; too often is too often."""
    BLOCKED = "blocked"
    """It is about us or this message, not about the reader."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A code, the words that came with it, and what they mean."""

    code: str
    text: str
    meaning: Meaning


ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_REPLY = re.compile(r"(?<![\d.])([45])\d\d(?=[\s-])")
_LONGEST = 2000
_DEAD = {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.4", "5.4.310"}
"""5.1.10: null MX or, at Microsoft, no such recipient. 5.4.310: Microsoft, no such domain."""
_OURS = {"5.1.7", "5.1.8", "5.2.3", "5.2.4", "5.3.4"}
"""Sender's address, and size: not the reader's fault."""
_VAGUE = re.compile(r"5\.(?:[05]\.\d+|\d\.0|4\.1|7\.1)")
"""Codes that servers use for whatever they mean; the words count."""

_NOBODY = re.compile(
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
_FULL = re.compile(
    r"(?:over|exceed\w*|out of|above|reached).{0,30}(?:quota|storage|disk|space|mailbox size)"
    r"|quota.{0,20}(?:exceed|full|reached)|(?:mailbox|inbox|mail box|disk|storage).{0,20}\bfull\b"
    r"|insufficient (?:system )?storage",
    re.IGNORECASE | re.DOTALL,
)
_POLICY = re.compile(
    r"\bspam|black-?list|block-?list|\bblocked\b|\bRBL\b|DNSBL|spamhaus|barracuda|reputation|policy|DMARC|\bSPF\b|DKIM"
    r"|unauthenticated|not authenticated|\bcontent\b|\bvirus|bulk mail|unsolicited|throttl|rate limit|too many",
    re.IGNORECASE,
)


def refusal(code: str, text: str) -> Refusal:
    """`code` is enhanced or empty, `text` the diagnostic. A vague code gives way to a better one in the words."""
    text = text[:_LONGEST]
    found = code if ENHANCED.fullmatch(code) else ""
    for inside in ENHANCED.finditer(text):
        if not found or (found.endswith(".0.0") and inside[1] == found[0] and not inside[0].endswith(".0.0")):
            found = inside[0]
    kind = found[:1] or next((match[1] for match in _REPLY.finditer(text)), "")
    return Refusal(found, text, _meaning(found, kind, text))


def _meaning(code: str, kind: str, text: str) -> Meaning:
    if code.startswith("4."):
        return Meaning.BLOCKED if code.startswith("4.7.") else Meaning.SOFT
    if code in _DEAD:
        return Meaning.DEAD
    if not code or _VAGUE.fullmatch(code):
        if kind != "4" and _NOBODY.search(text):
            return Meaning.DEAD
        if code == "5.4.1" and "recipient address rejected" in text.casefold():
            # Exchange Online says so of whom its directory does not know.
            return Meaning.DEAD
        if _FULL.search(text):
            return Meaning.SOFT
        if "relay" in text.casefold():
            return Meaning.SOFT
        if _POLICY.search(text):
            return Meaning.BLOCKED
    if code in _OURS or code.startswith(("5.6.", "5.7.")):
        return Meaning.BLOCKED
    if code.startswith(("5.2.2", "5.3.", "5.4.")) or kind == "4":
        return Meaning.SOFT
    return Meaning.HARD
