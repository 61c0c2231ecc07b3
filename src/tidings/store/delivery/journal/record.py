"""The content of the journal of one owner, and the interface of a writer."""

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
    """The notes of one owner, by (delivery, fence)."""

    boots: set[str] = field(default_factory=set)
    prepared: set[DeliveryKey] = field(default_factory=set)
    """Messages that were being prepared."""
    intents: set[DeliveryKey] = field(default_factory=set)
    outcomes: dict[DeliveryKey, Outcome] = field(default_factory=dict)

    def add(self, line: str) -> None:
        """Add one line; a torn line is ignored."""
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
        """Note that these messages are about to be prepared. If the process dies, they are crash suspects."""

    def end_preparing(self) -> None:
        """Note that they were prepared, or failed."""

    def begin(self, keys: Sequence[DeliveryKey], version: int) -> bool:
        """Note that these messages are about to begin, after the queued lines.

        False, with nothing noted, if the consent version has changed. Raises OSError or DBAPIError if the
        note fails: then they must not begin.
        """

    def queue(self, line: str) -> None:
        """Queue an outcome (`accepted_line`, `outcome_line`) for the next `begin` or `flush`."""

    def flush(self) -> None:
        """Write the queued lines. Raises as `begin` does."""

    def remove_settled(self, keys: Sequence[DeliveryKey]) -> None:
        """Forget deliveries whose results are committed in the ledger."""

    def close(self) -> None:
        """Close the journal; settled deliveries leave no trace."""


class Journal(Protocol):
    """The journals of all owners of one store."""

    def writer(self, owner: str, worker: int) -> JournalWriter:
        """Open the journal of a worker of this process."""

    def owners(self) -> set[str]:
        """Every owner with a journal."""

    def read(self, owner: str) -> JournalRecord:
        """Read what an owner noted."""

    def boot(self) -> str:
        """The boot id of the machine, or of the PostgreSQL server: entries of an earlier boot may be lost."""

    def forget(self, owner: str) -> None:
        """Delete the journal of a dead owner."""


def json_line(entry: list[Any]) -> str:
    """Return an entry as one line of ASCII."""
    return json.dumps(entry, ensure_ascii=True, separators=(",", ":"))


def accepted_line(delivery: int, fence: int, receipt: str, via: str) -> str:
    """Return the line of an accepted delivery."""
    text = encode_basestring_ascii(receipt)
    return f'["O",{delivery},{fence},{{"verdict":"accepted","receipt":{text},"via":{encode_basestring_ascii(via)}}}]'


def outcome_line(delivery: int, fence: int, outcome: Outcome) -> str:
    """Return the line of an outcome."""
    fields: dict[str, Any] = {"verdict": outcome.verdict.value}
    for name in ("receipt", "via", "reason", "retry_after", "disable"):
        value = getattr(outcome, name)
        if value not in ("", None, False):
            fields[name] = value
    return json_line(["O", delivery, fence, fields])


def _outcome(details: dict[str, Any]) -> Outcome:
    return Outcome(**{**details, "verdict": Verdict(details["verdict"])})
