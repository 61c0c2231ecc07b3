"""A queue with one message, and a transport that sends single messages through a relay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidings.channels.smtp.protocol import Mail, end_lines_with_crlf
from tidings.channels.smtp.relay import SmtpRelay
from tidings.model.delivery import Outcome, Verdict


@dataclass
class SingleMail:
    """A message that is its own queue."""

    sender: str
    recipient: str
    wire: Sequence[bytes]
    is_plain: bool = False
    outcome: Outcome | None = None
    is_taken: bool = False

    def take(self) -> Mail | None:
        if self.is_taken:
            return None
        self.is_taken = True
        return self

    def begin(self, mails: Sequence[Mail]) -> Sequence[bool]:
        return [True] * len(mails)

    def record_accepted(self, mail: Mail, receipt: str, via: str) -> None:
        self.outcome = Outcome(Verdict.ACCEPTED, receipt, via)

    def record_outcome(self, mail: Mail, outcome: Outcome) -> None:
        self.outcome = outcome

    def give_back(self, mail: Mail) -> None:
        self.is_taken = False

    def seconds_until_next(self) -> float | None:
        return None if self.is_taken else 0.0

    def flush_outcomes(self) -> None:
        """Store nothing."""

    def stall(self, reason: str) -> None:
        self.outcome = Outcome(Verdict.NOT_STARTED, reason=reason)


@dataclass
class SingleMailTransport:
    """A relay that sends one message at a time, as the contract of transports requires."""

    relay: SmtpRelay

    def send(self, sender: str, recipient: str, data: bytes) -> Outcome:
        mail = SingleMail(sender, recipient, (end_lines_with_crlf(data),))
        self.relay.send_all(mail, connections=1)
        assert mail.outcome is not None
        return mail.outcome

    def close(self) -> None:
        self.relay.close()

    def abort(self) -> None:
        self.relay.abort()
