"""The cases of the sending benchmark: which senders are compared, and the ratios that are required."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STORIES = {60: 15, 20: 2}
"""Stories of an edition, by the size of its mail in KB."""
SMTP_SOURCE = "smtp-source"
SLOW_SHARES = {"django": 0.04, "smtplib": 0.02, "aiosmtplib": 0.02, "nodemailer": 0.06}
"""The share of the messages that a slow peer sends: its rate is the same for many as for few."""


@dataclass(frozen=True)
class Target:
    """A required ratio. A `rate` ratio must be at least `bound`, a `cpu` ratio at most."""

    measure: str
    sender: str
    peer: str
    bound: float

    def is_met(self, ratio: float) -> bool:
        """Whether a measured ratio is good enough."""
        return ratio >= self.bound if self.measure == "rate" else ratio <= self.bound


@dataclass(frozen=True)
class SendingCase:
    """Senders by name, in the order of the table; the first is ours, `peer` has the ratio 1."""

    name: str
    title: str
    senders: Sequence[str]
    peer: str
    targets: Sequence[Target] = ()
    postfix_sink: bool = False
    both_cores: bool = False
    """Whether senders may use the core of the sink too."""
    delay_ms: int = 0
    connections: int = 4
    size: int = 60
    recipients: int = 0
    share: float = 1.0


CASES = {
    case.name: case
    for case in (
        SendingCase(
            "S",
            "into Postfix's smtp-sink",
            ("tidings", SMTP_SOURCE),
            SMTP_SOURCE,
            (Target("rate", "tidings", SMTP_SOURCE, 1.0),),
            postfix_sink=True,
        ),
        SendingCase(
            "F",
            "into a sink in C that is not the bottleneck",
            ("tidings", SMTP_SOURCE, "django", "smtplib", "aiosmtplib", "nodemailer"),
            SMTP_SOURCE,
            (
                Target("rate", "tidings", SMTP_SOURCE, 0.6),
                Target("cpu", "tidings", SMTP_SOURCE, 2.0),
            ),
        ),
        SendingCase(
            "DKIM",
            "the same, with RSA-2048 on every message of ours, and both cores for each sender",
            ("tidings with DKIM", "django", "signatures"),
            "django",
            (
                Target("rate", "tidings with DKIM", "django", 10.0),
                Target("cpu", "tidings with DKIM", "signatures", 1.35),
            ),
            both_cores=True,
        ),
        SendingCase(
            "far",
            "into the sink in C at 10 ms a reply, 16 connections",
            ("tidings", "tidings, no pipelining"),
            "tidings, no pipelining",
            (Target("rate", "tidings", "tidings, no pipelining", 3.5),),
            delay_ms=10,
            connections=16,
            share=0.3,
        ),
        SendingCase("SMALL", "20 KB a message", ("tidings", SMTP_SOURCE, "django"), SMTP_SOURCE, size=20),
        SendingCase("LARGE", "100,000 recipients", ("tidings", SMTP_SOURCE), SMTP_SOURCE, recipients=100_000),
    )
}


def reader_of(number: int) -> tuple[str, str]:
    """The address and the name of a reader; both are unique."""
    return f"reader{number}@example.net", f"Айгүл Бекова {number}"
