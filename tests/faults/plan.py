"""The plan of a sink: which message gets which failure. It depends on a seed and the recipient, never on the order.

So the same seed gives the same reader the same failure again, in any order of threads and kills.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

SMTP = {
    "greeting": ("421", "554", "rst", "stall"),
    "mail": ("421", "451", "550", "rst"),
    "rcpt": ("421", "450", "452", "550", "552", "rst"),
    "data": ("421", "451", "554", "rst"),
    "body": ("rst",),
    "dot": ("421", "451", "452", "552", "554", "rst", "taken-rst", "taken-stall", "taken-garbage", "said-rst", "drip"),
}
"""Each step of a conversation, and the failures that may happen there.

A number is the reply. `rst` resets the connection and accepts nothing. `taken-...` accepts the message and then resets,
stays silent or sends an unreadable reply. `said-rst` resets right after the 250. `drip` sends the reply byte by byte.
"""
HTTP = ("400", "429", "500", "503", "rst", "taken-rst", "taken-500", "said-rst", "slow")
"""Failures of a webhook. `taken-500` accepts the post and then answers 500."""

FOR_GOOD = frozenset({"550", "554", "400"})
"""Failures at RCPT and the dot (HTTP: at any time) that refuse for good: nobody tries again."""
LOSES_REPLY = frozenset({"taken-rst", "taken-stall", "taken-garbage", "taken-500"})
"""Failures after the message was accepted, so that the sender cannot know."""


@dataclass(frozen=True)
class Plan:
    """`often` is the share of first tries that fail. Second tries fail half as often, later ones never.

    `delay` is how long each reply takes, in seconds. `pipelining`: offer RFC 2920, and for every third seed RFC 3030
    too. `refuses`: answers may be final.
    """

    seed: int = 0
    often: float = 0.0
    delay: float = 0.0
    pipelining: bool = True
    refuses: bool = False
    terse: bool = False
    """Record only the final dots, and recipients that are tried again."""
    spares: str = "comms@"
    """Recipients with this prefix never fail: the mail that a person must get."""

    def _dice(self, *about: object) -> random.Random:
        return random.Random(f"{self.seed}:{':'.join(map(str, about))}")

    def connection(self, number: int) -> str:
        """Return the failure of the nth connection instead of a greeting; empty for none."""
        dice = self._dice("connection", number)
        # Never two in a row, so that some mail gets through.
        return dice.choice(SMTP["greeting"]) if number % 2 and dice.random() < self.often / 5 else ""

    def envelope(self, connection: int, number: int) -> str:
        """Return the failure of MAIL in the nth message of a connection; empty for none."""
        dice = self._dice("mail", connection, number)
        return dice.choice(SMTP["mail"]) if dice.random() < self.often / 8 else ""

    def message(self, recipient: str, attempt: int) -> tuple[str, str]:
        """Return (step, failure) of this try (1 is the first) to reach a recipient; empty for none."""
        dice = self._dice("message", recipient, attempt)
        if attempt > 2 or recipient.startswith(self.spares) or dice.random() >= self.often / attempt:
            return "", ""
        step = dice.choices(("rcpt", "data", "body", "dot"), (2, 1, 1, 4))[0]
        return step, dice.choice([one for one in SMTP[step] if self.refuses or one not in FOR_GOOD])

    def post(self, identity: str, attempt: int) -> str:
        """Return the failure of this try to post; empty if it is accepted."""
        dice = self._dice("post", identity, attempt)
        if attempt > 2 or dice.random() >= self.often / attempt:
            return ""
        return dice.choice([one for one in HTTP if self.refuses or one not in FOR_GOOD])
