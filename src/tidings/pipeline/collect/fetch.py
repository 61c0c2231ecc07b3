"""Fetch the sources on the network when they are due. It runs apart from `collect`, so a slow site delays nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path

from tidings.model.dates import format_local
from tidings.pipeline import notices
from tidings.sources.base import FetchingSource, FetchResult, PictureSource, Source, SourceHealth
from tidings.sources.pictures import remove_other_folders
from tidings.store.content import items
from tidings.store.content.websub import load_subscriptions
from tidings.store.engine import Store, describe_fault

log = logging.getLogger("tidings.collect")
SECONDS = 20.0
"""How long one round may start downloads of pictures."""
FAILING_BEFORE_NOTICE = timedelta(hours=6)
"""How long a source must fail before the team gets a notice."""


def fetch_sources(
    store: Store,
    sources: Mapping[str, Source],
    *,
    now: datetime,
    only: Collection[str] | None = None,
    force: bool = False,
    zone: tzinfo = UTC,
) -> dict[str, FetchResult]:
    """Fetch the sources that are due, or `only` these. Queues notices about sources that fail or have nothing new.

    `zone` is the time zone of the moments in the notices.
    """
    results = {}
    with store.read() as connection:
        hub_calls = {name: subscription.called for name, subscription in load_subscriptions(connection).items()}
    for name, source in sources.items():
        if not isinstance(source, FetchingSource) or (only is not None and name not in only):
            continue
        result = source.fetch(now, force=force, pinged_at=hub_calls.get(name))
        if result.was_requested:
            results[name] = result
            _add_notices(store, name, result, source.health(now), now, zone)
    return results


def fetch_pictures(
    store: Store,
    root: Path,
    sources: Mapping[str, Source],
    *,
    now: datetime,
    only: Collection[str] | None = None,
    force: bool = False,
) -> dict[str, int]:
    """Download pictures of websites, for a limited time. Returns the number of new pictures by source.

    Runs after the items were fetched, so that items that go out at once usually have their pictures.
    """
    remove_other_folders(root, sources)
    end = time.monotonic() + SECONDS
    counts = {}
    picture_sources = {
        name: source
        for name, source in sources.items()
        if isinstance(source, PictureSource) and (only is None or name in only)
    }
    for number, (name, source) in enumerate(picture_sources.items()):
        left = end - time.monotonic()
        share = left / (len(picture_sources) - number)
        existing = partial(_find_existing, store, name)
        try:
            count = source.fetch_pictures(now, share, force=force, still_published=existing) if left > 0 else 0
        except Exception as error:
            # Continue with the pictures of the other sources and with all items.
            log.warning("the pictures of the source %s cannot be read: %s", name, describe_fault(error))
            continue
        if count:
            counts[name] = count
    return counts


def _find_existing(store: Store, source: str, refs: Collection[str]) -> Collection[str]:
    if not refs:
        return ()
    with store.read() as connection:
        return items.existing_refs(connection, source, refs)


def _add_notices(
    store: Store, name: str, result: FetchResult, health: SourceHealth, now: datetime, zone: tzinfo
) -> None:
    added = []
    failing = health.failing_since
    if result.problem and result.due is None:
        text = f"The source {name!r} is no longer fetched: {result.problem}. Set another `url`, or delete the source."
        added.append((f"fetch-gone:{name}:{failing}", "failed", text))
    elif result.problem and failing is not None and now - failing >= FAILING_BEFORE_NOTICE:
        text = f"The source {name!r} cannot be read since {format_local(failing, zone)}: {result.problem}"
        added.append((f"fetch-failed:{name}:{failing.isoformat()}", "failed", text))
    elif health.is_silent and health.newest is not None:
        day = health.newest.astimezone(zone).date()
        text = f"The source {name!r} has had nothing new since {day}, much longer than usual."
        added.append((f"silent:{name}:{health.newest.isoformat()}", "silent", text))
    if result.notice:
        added.append((f"fetched:{name}:{now.date()}", "fetched", result.notice))
    if added:
        with store.write() as connection:
            for key, kind, text in added:
                notices.add(connection, key, kind, text, now)
