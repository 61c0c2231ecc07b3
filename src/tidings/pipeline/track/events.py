"""Feedback that is proven to be about a mail of ours, and the result of recording it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from tidings.store.delivery.settling import hide_addresses
from tidings.store.people import feedback
from tidings.store.people.feedback import Recipient

KNOWN = "known"
"""The result for feedback that was recorded before."""
IGNORED = "nothing"
"""The result for a message or event that is not feedback about our mail."""
_MAX_TEXT = 300


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """The result: `kind` is hard, soft, blocked, complaint, left, shown, known or nothing.

    `reason` explains `nothing`.
    """

    kind: str
    reason: str = ""

    @property
    def is_feedback(self) -> bool:
        """Whether it is feedback about our mail."""
        return self.kind != IGNORED


@dataclass(frozen=True, slots=True)
class FeedbackEvent:
    """One event. `text` quotes the other side. `via` names how it arrived, such as a webhook."""

    target: Recipient
    code: str
    text: str
    via: str
    at: datetime

    def key(self, kind: str) -> str:
        """Return the unique key. A delivery has one event of each kind, even if it is reported more than once."""
        if self.target.delivery is not None:
            return f"{kind}:{self.target.delivery}"
        return f"{kind}:{self.target.address_hash}:{self.target.list}:{self.at.date().isoformat()}"

    def is_known(self, connection: Connection, kind: str) -> bool:
        """Whether the event is stored already."""
        return feedback.is_recorded(connection, self.key(kind))

    def record(self, connection: Connection, kind: str) -> bool:
        """Store the event. Returns False if it is known already."""
        return feedback.record(
            connection,
            self.key(kind),
            self.target,
            kind,
            code=self.code,
            text=self.summary,
            via=self.via,
            now=self.at,
        )

    @property
    def summary(self) -> str:
        """The `text` on one line and without addresses, because it is kept after a person is erased."""
        text = hide_addresses(self.text[:4000])
        return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_MAX_TEXT]

    @property
    def is_to_subscriber(self) -> bool:
        """Whether the mail went to a subscriber. Feedback about mail to the team is only recorded."""
        return bool(self.target.address_hash) and self.target.purpose not in ("notice", "test", "review")
