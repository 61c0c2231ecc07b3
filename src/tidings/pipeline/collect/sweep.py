"""Sweep the sources into the store: new, changed, moved, vanished and refused items. A second run adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial

from tidings.model.errors import Problem
from tidings.pipeline.collect.changes import Changes, decide_changes, mint_id
from tidings.pipeline.collect.files import FileSweep, KeptListings
from tidings.pipeline.collect.writing import (
    ATTEMPTS,
    Overtaken,
    SweepResult,
    note_held,
    save_refused,
    write_changes,
)
from tidings.sources.base import FileSource, Source, Sweep
from tidings.store.content import items as stored_items
from tidings.store.engine import Store

UnchangedSweeps = dict[str, tuple[Sweep, int]]
"""For each source, the last sweep that changed nothing, and the version of the items at that time."""


def collect(
    store: Store,
    sources: Mapping[str, Source],
    *,
    now: datetime,
    url: str,
    accept: bool = False,
    mint: Callable[[], str] = mint_id,
    unchanged: UnchangedSweeps | None = None,
    listings: KeptListings | None = None,
    processes: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> SweepResult:
    """Sweep every source and write the changes. `url` is the address of the site, with a final slash.

    `sources`: all configured sources. Items of other sources count as vanished, unless one of these has them now.
    `accept`: delete vanished items at once, even if there are many. `unchanged`: what this process remembers of
    sources that are not files; the call updates it. `listings`: what it remembers of those that are files.
    `processes`: how many forks may read files. `on_progress` gets the numbers of collected and of all changed files.
    """
    listings = listings or KeptListings()
    unchanged = {} if unchanged is None else unchanged
    with store.read() as connection:
        former = stored_items.list_sources(connection) - set(sources)
        former |= {refused.source for refused in stored_items.load_refused(connection)} - set(sources)
    result = SweepResult()
    decide = partial(decide_changes, now=now, url=url, accept=accept, mint=mint)
    for name, source in sources.items():
        if isinstance(source, FileSource):
            whole = partial(decide, source=name, adopted=former)
            names = (name, *sorted(former))
            FileSweep(store, name, source, names, whole, now, listings, processes, on_progress).run(result)
        else:
            sweep = _sweep_source(name, source, now)
            _collect_source(store, name, sweep, partial(decide, source=name, adopted=former), now, result, unchanged)
    for name in sorted(former):
        _collect_source(store, name, Sweep(items=()), partial(decide, source=name, adopted=()), now, result, unchanged)
    return result


def _sweep_source(name: str, source: Source, now: datetime) -> Sweep:
    """Sweep one source. If it fails, its items stay unchanged, and the other sources go on."""
    try:
        return source.sweep(now)
    except Exception as error:
        message = f"{type(error).__name__}: {error}"[:300]
        return Sweep((), (Problem(f"source {name}", 0, 0, message),), is_readable=False)


def _collect_source(
    store: Store,
    name: str,
    sweep: Sweep,
    decide: Callable[..., Changes],
    now: datetime,
    result: SweepResult,
    unchanged: UnchangedSweeps,
) -> None:
    """Compare a whole sweep with all stored items, and write the changes."""
    result.problems.extend(sweep.problems)
    before = unchanged.pop(name, None)
    for _ in range(ATTEMPTS):
        with store.read() as connection:
            version = stored_items.items_version(connection)
            # A source makes a new sweep object after each change, so the same object needs no second comparison.
            if before is not None and before[0] is sweep and before[1] == version:
                unchanged[name] = before
                return
            known = stored_items.load_known(connection)
            refused = {item.ref: item for item in stored_items.load_refused(connection) if item.source == name}
            # A missing item is gone after a minute, without another change.
            is_waiting = stored_items.has_missing(connection, name)
        changes = decide(sweep, known)
        if sweep.is_readable and changes == Changes() and not is_waiting:
            unchanged[name] = sweep, version
        if note_held(store, name, changes, now, result):
            return
        save_refused(store, name, sweep, changes, refused, now)
        with suppress(Overtaken):
            write_changes(store, changes, known, version, now)
            result.add(changes)
            return
    raise RuntimeError(f"source {name}: items kept changing during {ATTEMPTS} attempts to collect")
