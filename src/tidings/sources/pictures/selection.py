"""Decides which pictures of a source are due, which stay and which go."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tidings.model.item import CachedItem

MAX_KEPT = 500_000_000
"""Bytes for each source; the pictures of its newest items are kept."""
TRIES = 3
_MIN_RECHECK = timedelta(days=1)
_YOUNG = timedelta(days=14)
"""An item of this age may still get another picture under the same address."""

PictureRecord = Mapping[str, Any]
"""What is known of one picture, in JSON. With a `digest` we have a copy; with a `problem` it could not be fetched."""


@dataclass(slots=True)
class PicturePlan:
    """Addresses to fetch, digests of copies to keep, and records that no item shows any more."""

    due: list[str]
    kept: set[str]
    unused: list[CachedItem]


def plan_pictures(
    wanted: Mapping[str, datetime],
    records: Mapping[str, CachedItem],
    files: Collection[str],
    now: datetime,
    *,
    force: bool,
) -> PicturePlan:
    """Plan the work. `wanted` begins with the newest items: theirs are kept while there is room. `files` exist."""
    unused = [record for record in records.values() if not record.gone and record.data["url"] not in wanted]
    plan = PicturePlan([], set(), unused)
    room = MAX_KEPT
    for url, item_seen in wanted.items():
        record = find_record(records, url)
        if record.get("digest") not in plan.kept:
            room -= record.get("length", 0)
        if room < 0:
            break
        if "digest" in record:
            plan.kept.add(record["digest"])
        if not record or _is_due(record, records[picture_ref(url)].seen, files, item_seen, now, force=force):
            plan.due.append(url)
    return plan


def _is_due(
    record: PictureRecord,
    copied_at: datetime,
    files: Collection[str],
    item_seen: datetime,
    now: datetime,
    *,
    force: bool,
) -> bool:
    """Whether to fetch a known picture. An existing copy is checked ever more rarely, and finally no more."""
    asked = datetime.fromisoformat(record["asked"])
    if "problem" in record:
        tries = record["tries"]
        return force or (tries < TRIES and now - asked >= timedelta(hours=1) * 24 ** (tries - 1))
    is_recheck = now - item_seen < _YOUNG and now - asked >= max(_MIN_RECHECK, asked - copied_at)
    return record["digest"] not in files or is_recheck


def find_record(records: Mapping[str, CachedItem], url: str) -> PictureRecord:
    """Return the record of a picture, empty if there is none."""
    record = records.get(picture_ref(url))
    return {} if record is None or record.gone else record.data


def picture_ref(url: str) -> str:
    """Hash an address, as it may be longer than a database index allows."""
    return hashlib.sha256(url.encode()).hexdigest()
