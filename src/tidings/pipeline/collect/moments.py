"""The moments of an item: published, first seen, ready, out, changed. Each is another thing; all pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidings.sources.base import SourceItem
from tidings.store.content.items import KnownItem

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class ItemMoments:
    """As in `model.item.Item`; `ready_at` is when it was first no draft."""

    published: datetime
    first_seen: datetime
    ready_at: datetime | None
    out_at: datetime | None
    changed: datetime
    corrected_at: datetime | None


def compute_moments(
    found: SourceItem, known: KnownItem | None, now: datetime, taken: Collection[datetime]
) -> ItemMoments:
    """`taken` are the `changed` of the other items in its language: feeds show seconds, and no two may be equal."""
    first_seen = known.first_seen if known else now
    published = found.published or (known.published if known else _whole(now))
    earliest = max(published, found.embargo or published)

    was_out = known is not None and known.out_at is not None and known.out_at <= now
    if was_out and known is not None:
        # Never moves once it has passed: a bumped date reposts nothing.
        ready_at, out_at = known.ready_at, known.out_at
    elif found.draft:
        ready_at = out_at = None
    else:
        ready_at = (known.ready_at if known else None) or now
        out_at = max(ready_at, earliest)

    if known is not None and was_out:
        changed = _moved(found, known, now)
        if earliest > changed:
            changed = earliest
    else:
        changed = earliest if found.updated is None else max(earliest, min(found.updated, now))
    changed = _whole(changed)
    if known is None or changed != known.changed:
        while changed in taken:
            changed += SECOND

    corrected_at = known.corrected_at if known else None
    if found.correction != (known.correction if known else ""):
        corrected_at = now if found.correction else None
    return ItemMoments(published, first_seen, ready_at, out_at, changed, corrected_at)


def _moved(found: SourceItem, known: KnownItem, now: datetime) -> datetime:
    """The feed date of an item that readers may have: it moves on what is significant, and only forward."""
    if found.updated is not None and found.updated != known.updated:
        said = min(found.updated, now)
        return said if said > known.changed else max(_whole(now), known.changed + SECOND)
    corrected = bool(found.correction) and found.correction != known.correction
    if corrected or bool(found.withdrawn) != bool(known.withdrawn):
        return max(_whole(now), known.changed + SECOND)
    return known.changed


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
