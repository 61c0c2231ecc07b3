"""Compute the moments of an item: published, first seen, ready, out, changed, corrected. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.sources.base import SourceItem
from tidings.store.content.items import KnownItem

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class ItemMoments:
    """Moments as in `model.item.Item`. `ready_at`: when the item first was not a draft."""

    published: datetime
    first_seen: datetime
    ready_at: datetime | None
    out_at: datetime | None
    changed: datetime
    corrected_at: datetime | None


def compute_moments(
    swept: SourceItem, known: KnownItem | None, now: datetime, is_taken: Callable[[datetime], bool]
) -> ItemMoments:
    """Compute the moments of an item. `is_taken`: whether another item in its language has a `changed` time.

    No two `changed` times may be equal, because feeds show whole seconds.
    """
    first_seen = known.first_seen if known else now
    published = swept.published or (known.published if known else _whole_seconds(now))
    earliest = max(published, swept.embargo or published)

    was_out = known is not None and known.out_at is not None and known.out_at <= now
    if was_out and known is not None:
        # A moment that has passed never changes, so a new date does not post the item again.
        ready_at, out_at = known.ready_at, known.out_at
    elif swept.draft:
        ready_at = out_at = None
    else:
        ready_at = (known.ready_at if known else None) or now
        out_at = max(ready_at, earliest)

    if known is not None and was_out:
        changed = _next_changed(swept, known, now)
        if earliest > changed:
            changed = earliest
    else:
        changed = earliest if swept.updated is None else max(earliest, min(swept.updated, now))
    changed = _whole_seconds(changed)
    if known is None or changed != known.changed:
        while is_taken(changed):
            changed += SECOND

    corrected_at = known.corrected_at if known else None
    if swept.correction != (known.correction if known else ""):
        corrected_at = now if swept.correction else None
    return ItemMoments(published, first_seen, ready_at, out_at, changed, corrected_at)


def _next_changed(swept: SourceItem, known: KnownItem, now: datetime) -> datetime:
    """Return the feed date of a published item. It moves only forward, and only for significant changes."""
    if swept.updated is not None and swept.updated != known.updated:
        updated = min(swept.updated, now)
        return updated if updated > known.changed else max(_whole_seconds(now), known.changed + SECOND)
    corrected = bool(swept.correction) and swept.correction != known.correction
    if corrected or bool(swept.withdrawn) != bool(known.withdrawn):
        return max(_whole_seconds(now), known.changed + SECOND)
    return known.changed


def _whole_seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
