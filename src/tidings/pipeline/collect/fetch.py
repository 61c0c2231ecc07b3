"""Sources on the network asked when they are due. Before `collect`, and apart from it: a slow site delays nobody."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from tidings.pipeline import notices
from tidings.sources.base import FetchingSource, FetchResult, PictureSource, Source, SourceHealth
from tidings.sources.pictures.copies import remove_other_folders
from tidings.store.content import items
from tidings.store.content.websub import load_subscriptions
from tidings.store.engine import Store

SECONDS = 20.0
"""No picture is begun later than this in one round."""
PATIENCE = timedelta(hours=6)
"""A source that fails for so long is told of."""


def fetch_sources(
    store: Store,
    sources: Mapping[str, Source],
    *,
    now: datetime,
    only: Collection[str] | None = None,
    force: bool = False,
) -> dict[str, FetchResult]:
    """Ask those that are due, or `only` these; what each brought. A person hears of one that fails or falls silent."""
    done = {}
    with store.read() as connection:
        calls = {name: one.called for name, one in load_subscriptions(connection).items()}
    for name, source in sources.items():
        if not isinstance(source, FetchingSource) or (only is not None and name not in only):
            continue
        brought = source.fetch(now, force=force, pinged_at=calls.get(name))
        if brought.was_requested:
            done[name] = brought
            _tell(store, name, brought, source.health(now), now)
    return done


def fetch_pictures(
    store: Store,
    root: Path,
    sources: Mapping[str, Source],
    *,
    now: datetime,
    only: Collection[str] | None = None,
    force: bool = False,
) -> dict[str, int]:
    """Pictures of websites, by source; how many came of each.

    Once its items are here, so that those that go out at once have their pictures as a rule; and never for long.
    """
    remove_other_folders(root, sources)
    end = time.monotonic() + SECONDS
    done = {}
    some = [(name, one) for name, one in sources.items() if isinstance(one, PictureSource)]
    some = [(name, one) for name, one in some if only is None or name in only]
    for count, (name, source) in enumerate(some):
        left = end - time.monotonic()
        standing = partial(_standing, store, name)
        if left > 0 and (
            came := source.fetch_pictures(now, left / (len(some) - count), force=force, still_published=standing)
        ):
            done[name] = came
    return done


def _standing(store: Store, source: str, refs: Collection[str]) -> Collection[str]:
    if not refs:
        return ()
    with store.read() as connection:
        return items.existing_refs(connection, source, refs)


def _tell(store: Store, name: str, brought: FetchResult, health: SourceHealth, now: datetime) -> None:
    told = []
    failing = health.failing_since
    if brought.problem and brought.due is None:
        text = f"The source {name!r} is not asked any more: {brought.problem}. Set another `url`, or take it out."
        told.append((f"fetch-gone:{name}:{failing}", "failed", text))
    elif brought.problem and failing is not None and now - failing >= PATIENCE:
        text = f"The source {name!r} cannot be read since {failing:%Y-%m-%d %H:%M} UTC: {brought.problem}"
        told.append((f"fetch-failed:{name}:{failing.isoformat()}", "failed", text))
    elif health.is_silent and health.newest is not None:
        text = f"The source {name!r} told nothing new since {health.newest:%Y-%m-%d}, much longer than its habit."
        told.append((f"silent:{name}:{health.newest.isoformat()}", "silent", text))
    if brought.notice:
        told.append((f"fetched:{name}:{now.date()}", "fetched", brought.notice))
    if told:
        with store.write() as connection:
            for key, kind, text in told:
                notices.add(connection, key, kind, text, now)
