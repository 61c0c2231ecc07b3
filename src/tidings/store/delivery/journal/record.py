"""What one owner noted, and what a writer of it must do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii
from typing import Any, Protocol

from tidings.model.delivery import Outcome, Verdict

DeliveryKey = tuple[int, int]
"""A delivery and its fence."""


@dataclass
class JournalRecord:
    """All that is known of what one owner did, by (delivery, fence)."""

    boots: set[str] = field(default_factory=set)
    prepared: set[DeliveryKey] = field(default_factory=set)
    """Begun to be made, and not yet made."""
    intents: set[DeliveryKey] = field(default_factory=set)
    outcomes: dict[DeliveryKey, Outcome] = field(default_factory=dict)

    def add(self, line: str) -> None:
        """Take one line in; what is torn is ignored."""
        try:
            entry = json.loads(line)
            kind = entry[0]
            if kind == "B":
                self.boots.add(str(entry[1]))
            elif kind == "P":
                self.prepared.update((int(delivery), int(fence)) for delivery, fence in entry[1])
            elif kind == "M":
                self.prepared.clear()
            elif kind == "I":
                self.intents.add((int(entry[1]), int(entry[2])))
            elif kind == "O":
                self.outcomes[int(entry[1]), int(entry[2])] = _outcome(entry[3])
        except (ValueError, TypeError, LookupError):
            return


class JournalWriter(Protocol):
    """The journal of one worker."""

    def begin_preparing(self, keys: Sequence[DeliveryKey]) -> None:
        """Messages are about to be made of these: if the process dies of it, they are shaken."""

    def end_preparing(self) -> None:
        """They were made, or cannot be."""

    def begin(self, keys: Sequence[DeliveryKey], version: int) -> bool:
        """These messages are about to begin; what is `kept` goes before.

        False, and nothing of these is noted, if the counter stands elsewhere by now. Raises OSError or DBAPIError if
        it cannot be noted: then they must not begin either.
        """

    def queue(self, line: str) -> None:
        """What the other side said (`accepted_line`, `outcome_line`), to be noted by the next `begin` or `note`."""

    def flush(self) -> None:
        """Note what is kept. Raises as `begin` does."""

    def remove_settled(self, keys: Sequence[DeliveryKey]) -> None:
        """These have been settled in the ledger, and that has committed."""

    def close(self) -> None:
        """Nothing follows; what was settled leaves no trace."""


class Journal(Protocol):
    """The journals of all owners of one store."""

    def writer(self, owner: str, worker: int) -> JournalWriter:
        """The journal of a worker of this process."""

    def owners(self) -> set[str]:
        """Every owner that left something."""

    def read(self, owner: str) -> JournalRecord:
        """What an owner noted."""

    def boot(self) -> str:
        """The mark of the running machine (of the server, on PostgreSQL): what was noted under another may be lost."""

    def forget(self, owner: str) -> None:
        """All of a dead owner has been settled."""


def json_line(entry: list[Any]) -> str:
    """An entry on one line of ASCII."""
    return json.dumps(entry, ensure_ascii=True, separators=(",", ":"))


def accepted_line(delivery: int, fence: int, receipt: str, via: str) -> str:
    """The other side took it, on one line."""
    said = encode_basestring_ascii(receipt)
    return f'["O",{delivery},{fence},{{"verdict":"accepted","receipt":{said},"via":{encode_basestring_ascii(via)}}}]'


def outcome_line(delivery: int, fence: int, outcome: Outcome) -> str:
    """What the other side said, on one line."""
    found: dict[str, Any] = {"verdict": outcome.verdict.value}
    for name in ("receipt", "via", "reason", "retry_after", "disable"):
        value = getattr(outcome, name)
        if value not in ("", None, False):
            found[name] = value
    return json_line(["O", delivery, fence, found])


def _outcome(details: dict[str, Any]) -> Outcome:
    return Outcome(**{**details, "verdict": Verdict(details["verdict"])})
