"""Sources swept into the store: items minted, recognised, changed, gone, set aside. Run twice, it adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from tidings.model.errors import Problem
from tidings.pipeline import notices
from tidings.pipeline.collect.changes import Changes, decide_changes, mint_id
from tidings.sources.base import Source, Sweep
from tidings.store.content import items as stored_items
from tidings.store.content import schedules
from tidings.store.content.items import ItemRow, KnownItem, RefusedItem
from tidings.store.delivery.notices import delete_notice, has_notice
from tidings.store.engine import Store

CHUNK = 100
CHUNK_SIZE = 1_000_000
"""Characters of bodies. A transaction writes no more than `CHUNK` items and about so much, to stay under 100 ms."""

ATTEMPTS = 20


@dataclass(slots=True)
class SweepResult:
    """What a sweep of every source did, as item ids.

    `problems` has errors (set aside) and warnings (taken all the same).

    `held` says what waits for a person: a source whose items vanished in mass, or that cannot be read.
    """

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    held: str | None = None
    unread: dict[str, str] = field(default_factory=dict)
    """The same by source."""

    @property
    def has_changes(self) -> bool:
        """Whether anything that readers may see changed."""
        return bool(self.new or self.changed or self.gone or self.back)


class _Overtaken(Exception):
    """Another process changed items since we decided."""


def collect(
    store: Store,
    sources: Mapping[str, Source],
    *,
    now: datetime,
    url: str,
    accept: bool = False,
    mint: Callable[[], str] = mint_id,
) -> SweepResult:
    """Sweep every source and write what changed. `url` is the site's, ending with a slash.

    `accept` takes a mass vanishing at its word, and what is absent is gone at once. `sources` are all that are
    configured: items of any other source count as vanished, unless one of these holds them now.
    """
    collected = SweepResult()
    with store.read() as connection:
        former = {item.source for item in stored_items.load_known(connection) if item.gone_at is None} - set(sources)
        former |= {aside.source for aside in stored_items.load_refused(connection)} - set(sources)
    sweeps = {name: source.sweep(now) for name, source in sources.items()}
    sweeps |= {name: Sweep(items=()) for name in sorted(former)}
    for name, sweep in sweeps.items():
        collected.problems.extend(sweep.problems)
        adopted = former if name in sources else ()
        for _ in range(ATTEMPTS):
            try:
                _collect_one(store, name, sweep, collected, adopted=adopted, now=now, url=url, accept=accept, mint=mint)
                break
            except _Overtaken:
                continue
        else:
            raise RuntimeError(f"source {name}: items kept changing under {ATTEMPTS} attempts to collect")
    return collected


def next_out(connection: Connection, now: datetime) -> datetime | None:
    """When to publish again though nothing changes: the next date or embargo to pass."""
    return stored_items.next_visible_at(connection, now)


def _collect_one(
    store: Store,
    name: str,
    sweep: Sweep,
    collected: SweepResult,
    *,
    adopted: Collection[str],
    now: datetime,
    url: str,
    accept: bool,
    mint: Callable[[], str],
) -> None:
    with store.read() as connection:
        version = stored_items.items_version(connection)
        known = stored_items.load_known(connection)
        aside = {each.ref: each for each in stored_items.load_refused(connection) if each.source == name}
        told = has_notice(connection, _vanished_key(name))
    changes = decide_changes(sweep, known, source=name, adopted=adopted, now=now, url=url, accept=accept, mint=mint)
    if changes.held is not None:
        collected.held = f"{collected.held} {changes.held}" if collected.held else changes.held
        collected.unread[name] = changes.held
        if not told:
            with store.write() as connection:
                notices.add(connection, _vanished_key(name), "vanished", changes.held, now)
        return
    if told:
        with store.write() as connection:
            delete_notice(connection, _vanished_key(name))
    _write_aside(store, name, sweep, changes, aside, now)
    for write in _transactions(changes, known, now):
        with store.write() as connection:
            if not stored_items.advance_version(connection, version):
                raise _Overtaken
            write(connection)
        version += 1
    _count(changes, collected)
    collected.problems.extend(changes.refused)


def _transactions(
    changes: Changes, known: Sequence[KnownItem], now: datetime
) -> Iterator[Callable[[Connection], None]]:
    """Small writes, in an order in which no two items ever hold one place."""
    parked = set(changes.parked)
    places = {(item.source, item.ref) for item in known if item.id in parked}
    stories = {(item.story, item.language) for item in known if item.id in parked}
    together: list[tuple[str, ItemRow]] = []
    alone: list[tuple[str, ItemRow]] = []
    for before, after in changes.rewritten:
        row = after.item
        swaps = before.id in parked or (row.source, row.ref) in places or (row.story, row.language) in stories
        (together if swaps else alone).append((before.id, after))

    if changes.missing or changes.gone or changes.back or changes.evicted or together:

        def marks(connection: Connection) -> None:
            stored_items.release_refs(connection, changes.evicted)
            stored_items.mark_missing(connection, changes.missing, now)
            stored_items.mark_gone(connection, changes.gone, now)
            stored_items.mark_back(connection, changes.back)
            stored_items.park_items(connection, changes.parked)
            stored_items.rewrite_items(connection, together)

        yield marks
    for chunk in _chunks(alone):
        yield partial(stored_items.rewrite_items, rows=chunk)
    for chunk in _chunks([("", row) for row in changes.new]):
        yield partial(_insert, rows=[row for _, row in chunk])


def _insert(connection: Connection, rows: Sequence[ItemRow]) -> None:
    """New items; in the same transaction those of a backlog become as good as sent."""
    stored_items.insert_items(connection, rows)
    schedules.mark_used_by_all(connection, dict.fromkeys(row.item.story for row in rows if row.backlog))


def _chunks(rows: Sequence[tuple[str, ItemRow]]) -> Iterator[list[tuple[str, ItemRow]]]:
    chunk: list[tuple[str, ItemRow]] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row[1].item.body)
        if len(chunk) >= CHUNK or size >= CHUNK_SIZE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _write_aside(
    store: Store, source: str, sweep: Sweep, changes: Changes, before: Mapping[str, RefusedItem], now: datetime
) -> None:
    """Note what is set aside now and was not, or for another reason; and that the rest is good again."""
    errors: dict[str, list[Problem]] = {ref: [] for ref in sweep.set_aside}
    for problem in (*sweep.problems, *changes.refused):
        if problem.level == "error":
            errors.setdefault(problem.file, []).append(problem)
    texts = {ref: "\n".join(map(str, problems)) or f"{ref} could not be taken" for ref, problems in errors.items()}
    if {ref: each.problem for ref, each in before.items()} == texts:
        return
    with store.write() as connection:
        for ref, text in texts.items():
            if ref not in before:
                notice = f"An item is set aside until it is mended; the others go on.\n{text}"
                notices.add(connection, _aside_key(source, ref), "set_aside", notice, now)
            if ref not in before or before[ref].problem != text:
                stored_items.save_refused(connection, RefusedItem(source, ref, text, now), again=ref in before)
        for ref in before.keys() - texts.keys():
            stored_items.delete_refused(connection, source, ref)
            delete_notice(connection, _aside_key(source, ref))


def _vanished_key(source: str) -> str:
    return f"vanished:{source}"


def _aside_key(source: str, ref: str) -> str:
    return f"set-aside:{source}:{ref}"


def _count(changes: Changes, collected: SweepResult) -> None:
    collected.new.extend(row.item.id for row in changes.new)
    collected.gone.extend(changes.gone)
    collected.back.extend(changes.back)
    for before, after in changes.rewritten:
        collected.changed.append(after.item.id)
        if before.ref != after.item.ref:
            collected.moved.append(after.item.id)
        if before.gone_at is not None:
            collected.back.append(after.item.id)
        if after.item.withdrawn and not before.withdrawn:
            collected.withdrawn.append(after.item.id)
    collected.withdrawn.extend(row.item.id for row in changes.new if row.item.withdrawn)
