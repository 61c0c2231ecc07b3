"""What a sink does to whom, and when: chosen by a seed and by who is asking, never by the order of arrival.

So the same seed does the same to the same reader again, however threads and kills fall.
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
"""Each step of a conversation, and what may happen there.

A number is that reply. `rst` resets the connection and takes nothing; `taken-...` takes the message and then resets,
stays silent or says what no client understands; `said-rst` resets right after the 250; `drip` sends it byte by byte.
"""
HTTP = ("400", "429", "500", "503", "rst", "taken-rst", "taken-500", "said-rst", "slow")
"""What a webhook may meet; `taken-500` has done its work and then says that it failed."""

FOR_GOOD = frozenset({"550", "554", "400"})
"""At RCPT and the dot (HTTP: any time): the reader (the post) is refused, and nobody tries again."""
LOSES_REPLY = frozenset({"taken-rst", "taken-stall", "taken-garbage", "taken-500"})
"""The message was taken, and its sender cannot know."""


@dataclass(frozen=True)
class Plan:
    """`often` is the share of first tries at which something goes wrong; second ones have half of it, later ones none.

    `delay` is how long each reply takes, in seconds. `pipelining`: offer RFC 2920, and for every third seed RFC 3030
    too. `refuses`: answers may be final.
    """

    seed: int = 0
    often: float = 0.0
    delay: float = 0.0
    pipelining: bool = True
    refuses: bool = False
    terse: bool = False
    """Note only the final dots, and who is reached for again."""
    spares: str = "comms@"
    """Whose mail begins so is left alone: what a person must hear of."""

    def _dice(self, *about: object) -> random.Random:
        return random.Random(f"{self.seed}:{':'.join(map(str, about))}")

    def connection(self, number: int) -> str:
        """What happens to the so manieth connection instead of a greeting; empty: nothing."""
        dice = self._dice("connection", number)
        # Never two in a row, so that somebody gets through.
        return dice.choice(SMTP["greeting"]) if number % 2 and dice.random() < self.often / 5 else ""

    def envelope(self, connection: int, number: int) -> str:
        """What MAIL meets in the so manieth message of a connection; empty: nothing."""
        dice = self._dice("mail", connection, number)
        return dice.choice(SMTP["mail"]) if dice.random() < self.often / 8 else ""

    def message(self, recipient: str, attempt: int) -> tuple[str, str]:
        """(step, what happens there) to this try (1 is the first) to reach a recipient; empty: nothing."""
        dice = self._dice("message", recipient, attempt)
        if attempt > 2 or recipient.startswith(self.spares) or dice.random() >= self.often / attempt:
            return "", ""
        step = dice.choices(("rcpt", "data", "body", "dot"), (2, 1, 1, 4))[0]
        return step, dice.choice([one for one in SMTP[step] if self.refuses or one not in FOR_GOOD])

    def post(self, identity: str, attempt: int) -> str:
        """What happens to this try to post; empty: it is taken."""
        dice = self._dice("post", identity, attempt)
        if attempt > 2 or dice.random() >= self.often / attempt:
            return ""
        return dice.choice([one for one in HTTP if self.refuses or one not in FOR_GOOD])
