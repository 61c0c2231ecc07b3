"""Which pictures of a source are due, which stay and which go. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tidings.model.item import CachedItem

MAX_KEPT = 500_000_000
"""Bytes, of one source: those of its newest items."""
TRIES = 3
_AGAIN = timedelta(days=1)
_YOUNG = timedelta(days=14)
"""An item of this age may still get another picture under the same address."""

PictureRecord = Mapping[str, Any]
"""What is known of one picture: JSON. With a `digest` it is here, with a `problem` it could not be had."""


@dataclass(slots=True)
class PicturePlan:
    """What is to be done: addresses to ask for, digests that stay, refs of what no item shows any more."""

    due: list[str]
    stay: set[str]
    unused: list[CachedItem]


def plan_pictures(
    wanted: Mapping[str, datetime],
    entries: Mapping[str, CachedItem],
    there: Collection[str],
    now: datetime,
    *,
    force: bool,
) -> PicturePlan:
    """`wanted` has the newest items' first: those stay as far as there is room. `there` are the files that are kept."""
    turn = PicturePlan([], set(), [])
    room = MAX_KEPT
    for url, met in wanted.items():
        known = find_record(entries, url)
        if known.get("digest") not in turn.stay:
            room -= known.get("length", 0)
        if room < 0:
            break
        if "digest" in known:
            turn.stay.add(known["digest"])
        if not known or _is_due(known, entries[picture_ref(url)].seen, there, met, now, force=force):
            turn.due.append(url)
    turn.unused = [one for one in entries.values() if not one.gone and one.data["url"] not in wanted]
    return turn


def _is_due(
    known: PictureRecord, since: datetime, there: Collection[str], met: datetime, now: datetime, *, force: bool
) -> bool:
    """`since` is when this picture came. What is here is asked for again ever more seldom, and in the end no more."""
    asked = datetime.fromisoformat(known["asked"])
    if "problem" in known:
        tries = known["tries"]
        return force or (tries < TRIES and now - asked >= timedelta(hours=1) * 24 ** (tries - 1))
    return known["digest"] not in there or (now - met < _YOUNG and now - asked >= max(_AGAIN, asked - since))


def find_record(entries: Mapping[str, CachedItem], url: str) -> PictureRecord:
    """Empty where nothing is."""
    entry = entries.get(picture_ref(url))
    return {} if entry is None or entry.gone else entry.data


def picture_ref(url: str) -> str:
    """An address may be longer than an index takes."""
    return hashlib.sha256(url.encode()).hexdigest()
