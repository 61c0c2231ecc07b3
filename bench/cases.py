"""What is compared in the benchmark of sending: cases, their senders, and what is wanted of the ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STORIES = {60: 15, 20: 2}
"""Stories of an edition, by the size of its mail in KB."""
SOURCE = "smtp-source"


@dataclass(frozen=True)
class Case:
    """Senders by name, in the order of the table; the first is ours, `peer` has the ratio 1."""

    name: str
    what: str
    senders: Sequence[str]
    peer: str
    targets: Sequence[tuple[str, str, str, float]] = ()
    """(what: rate or cpu; of; to; at least for a rate, at most for the processor)."""
    postfix_sink: bool = False
    delay_ms: int = 0
    connections: int = 4
    size: int = 60
    recipients: int = 0
    share: float = 1.0


CASES = {
    case.name: case
    for case in (
        Case(
            "S",
            "into Postfix's smtp-sink",
            ("tidings", SOURCE),
            SOURCE,
            (("rate", "tidings", SOURCE, 1.0),),
            postfix_sink=True,
        ),
        Case(
            "F",
            "into a sink in C that is not the bottleneck",
            ("tidings", SOURCE, "django", "smtplib", "aiosmtplib", "nodemailer"),
            SOURCE,
            (
                ("rate", "tidings", SOURCE, 1.2),
                ("cpu", "tidings", SOURCE, 0.8),
                ("rate", "tidings", "django", 80.0),
            ),
        ),
        Case(
            "DKIM",
            "the same with RSA-2048 on every message of ours",
            ("tidings with DKIM", "django", "signatures"),
            "django",
            (("rate", "tidings with DKIM", "django", 10.0), ("cpu", "tidings with DKIM", "signatures", 1.3)),
        ),
        Case(
            "far",
            "into the sink in C at 10 ms a reply, 16 connections",
            ("tidings", "tidings, no pipelining"),
            "tidings, no pipelining",
            (("rate", "tidings", "tidings, no pipelining", 3.0),),
            delay_ms=10,
            connections=16,
            share=0.3,
        ),
        Case("SMALL", "20 KB a message", ("tidings", SOURCE, "django"), SOURCE, size=20),
        Case("LARGE", "100,000 recipients", ("tidings", SOURCE), SOURCE, recipients=100_000),
    )
}
SLOW = {"django": 0.04, "smtplib": 0.02, "aiosmtplib": 0.02, "nodemailer": 0.06}
"""What share of the messages a slow peer sends: its rate is the same for many as for few."""
