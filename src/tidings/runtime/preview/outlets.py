"""Deliveries of one list or channel: the shared result of `tidings plan` and `tidings rehearse`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tidings.model.delivery import SkipReason
from tidings.pipeline.compose.draft import MessageGroup, PlannedDelivery, PlannedSegment, PlannedSegments
from tidings.store.service.rehearsal import DeliveryCount

_GOING = ("pending", "leased", "handed", "accepted", "deferred", "in_doubt")
_FAILED = ("rejected", "quarantined", "cancelled")


@dataclass
class Outlet:
    """Recipients by language, skipped ones by reason, failed ones by state and reason."""

    name: str
    recipients: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    stories: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the keys that both commands print."""
        return {
            "outlet": self.name,
            "deliveries": self.recipients.total(),
            "languages": dict(self.recipients),
            "skipped": dict(self.skipped),
        }

    def _add_group(self, group: MessageGroup, count: int) -> None:
        self.recipients[group.selection.language] += count
        self.stories += [story for story in group.selection.stories if story not in self.stories]

    def _add_segment(self, part: PlannedSegment) -> None:
        for reason, count in part.segment.suppressed.items():
            self.skipped[str(reason)] += count
        if part.segment.readers:
            if not part.groups:
                self.skipped[str(SkipReason.NOTHING_FOR_READER)] += part.segment.readers
            for _, group in part.groups:
                self._add_group(group, part.segment.readers)


def count_planned(addressed: Iterable[PlannedDelivery | PlannedSegments]) -> list[Outlet]:
    """Count the deliveries that an edition would have, by list and channel."""
    outlets: dict[str, Outlet] = {}
    for target in addressed:
        name = (
            f"list {target.list}" if isinstance(target, PlannedSegments) or target.list else f"channel {target.channel}"
        )
        outlet = outlets.setdefault(name, Outlet(name))
        if isinstance(target, PlannedSegments):
            for part in target.parts:
                outlet._add_segment(part)
        elif target.group is None:
            outlet.skipped[target.reason_text] += 1
        else:
            outlet._add_group(target.group, 1)
    return list(outlets.values())


def count_deliveries(counts: Iterable[DeliveryCount]) -> list[Outlet]:
    """Count the deliveries of the ledger by list and channel."""
    outlets: dict[str, Outlet] = {}
    for row in counts:
        name = f"channel {row.channel}" if row.channel else f"list {row.list}" if row.list else "mail to people"
        outlet = outlets.setdefault(name, Outlet(name))
        if row.state in _GOING:
            outlet.recipients[row.language] += row.count
        elif row.state in _FAILED:
            outlet.failed[f"{row.state}: {row.reason}" if row.reason else row.state] += row.count
        else:
            outlet.skipped[row.reason or row.state] += row.count
    return list(outlets.values())
