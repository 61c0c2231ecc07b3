"""Write what a sweep changes: items in small transactions, refused items, and notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from tidings.model.errors import Problem
from tidings.pipeline import notices
from tidings.pipeline.collect.changes import Changes
from tidings.sources.base import Sweep
from tidings.store.content import items as stored_items
from tidings.store.content import schedules
from tidings.store.content.items import ItemRow, KnownItem, RefusedItem
from tidings.store.delivery.notices import delete_notice, has_notice
from tidings.store.engine import Store

ATTEMPTS = 20
"""How often to decide again, because another process changed items between a decision and its first transaction."""
CHUNK = 100
CHUNK_SIZE = 1_000_000
"""Limits of one transaction, in items and in characters of their bodies, to keep it below 100 ms."""


@dataclass(slots=True)
class SweepResult:
    """The result of a sweep of all sources, as item ids.

    `problems`: errors (the item was refused) and warnings (it was accepted). `held`: the sources that wait for a
    person, with the reason.
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
    """The reason why a source waits for a person, by source."""

    @property
    def has_changes(self) -> bool:
        """Whether any item changed that readers may see."""
        return bool(self.new or self.changed or self.gone or self.back)

    def add(self, changes: Changes) -> None:
        """Count the changes that were written."""
        self.new.extend(row.item.id for row in changes.new)
        self.gone.extend(changes.gone)
        self.back.extend(changes.back)
        for before, after in changes.rewritten:
            self.changed.append(after.item.id)
            if before.ref != after.item.ref:
                self.moved.append(after.item.id)
            if before.gone_at is not None:
                self.back.append(after.item.id)
            if after.item.withdrawn and not before.withdrawn:
                self.withdrawn.append(after.item.id)
        self.withdrawn.extend(row.item.id for row in changes.new if row.item.withdrawn)
        self.problems.extend(changes.refused)


class Overtaken(Exception):
    """Another process changed items after the decision."""


def note_held(store: Store, name: str, changes: Changes, now: datetime, result: SweepResult) -> bool:
    """Notify the team once that a source waits for a person. Returns whether it waits."""
    key = f"vanished:{name}"
    with store.read() as connection:
        is_noticed = has_notice(connection, key)
    if changes.held is not None:
        result.held = f"{result.held} {changes.held}" if result.held else changes.held
        result.unread[name] = changes.held
        if not is_noticed:
            with store.write() as connection:
                notices.add(connection, key, "vanished", changes.held, now)
    elif is_noticed:
        with store.write() as connection:
            delete_notice(connection, key)
    return changes.held is not None


def write_changes(store: Store, changes: Changes, known: Sequence[KnownItem], version: int, now: datetime) -> int:
    """Write the changes that were decided at a version of the items. Returns the new version.

    Raises Overtaken if another process changed items meanwhile.
    """
    for write in _transactions(changes, known, now):
        with store.write() as connection:
            if not stored_items.advance_version(connection, version):
                raise Overtaken
            write(connection)
        version += 1
    return version


def _transactions(
    changes: Changes, known: Sequence[KnownItem], now: datetime
) -> Iterator[Callable[[Connection], None]]:
    """Yield small transactions, ordered so that no two items ever have the same place."""
    parked = set(changes.parked)
    places = {(item.source, item.ref) for item in known if item.id in parked}
    stories = {(item.story, item.language) for item in known if item.id in parked}
    swapped: list[tuple[str, ItemRow]] = []
    others: list[tuple[str, ItemRow]] = []
    for before, after in changes.rewritten:
        item = after.item
        is_swapped = before.id in parked or (item.source, item.ref) in places or (item.story, item.language) in stories
        (swapped if is_swapped else others).append((before.id, after))

    if changes.missing or changes.gone or changes.back or changes.evicted or swapped:

        def write_marks(connection: Connection) -> None:
            stored_items.release_refs(connection, changes.evicted)
            stored_items.mark_missing(connection, changes.missing, now)
            stored_items.mark_gone(connection, changes.gone, now)
            stored_items.mark_back(connection, changes.back)
            stored_items.park_items(connection, changes.parked)
            stored_items.rewrite_items(connection, swapped)

        yield write_marks
    for chunk in _chunks(others):
        yield partial(stored_items.rewrite_items, rows=chunk)
    for chunk in _chunks([("", row) for row in changes.new]):
        yield partial(_insert, rows=[row for _, row in chunk])


def _insert(connection: Connection, rows: Sequence[ItemRow]) -> None:
    """Insert new items, and mark backlog items as sent in the same transaction."""
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


def save_refused(
    store: Store, source: str, sweep: Sweep, changes: Changes, before: Mapping[str, RefusedItem], now: datetime
) -> None:
    """Store refused items with reasons, and delete the rows of items that are no longer refused."""
    errors: dict[str, list[Problem]] = {ref: [] for ref in sweep.set_aside}
    for problem in (*sweep.problems, *changes.refused):
        if problem.level == "error":
            errors.setdefault(problem.file, []).append(problem)
    texts = {ref: "\n".join(map(str, problems)) or f"{ref} could not be read" for ref, problems in errors.items()}
    if {ref: item.problem for ref, item in before.items()} == texts:
        return
    with store.write() as connection:
        for ref, text in texts.items():
            if ref not in before:
                notice = f"An item was refused until it is corrected. All other items were taken.\n{text}"
                notices.add(connection, f"set-aside:{source}:{ref}", "set_aside", notice, now)
            if ref not in before or before[ref].problem != text:
                stored_items.save_refused(connection, RefusedItem(source, ref, text, now), again=ref in before)
        for ref in before.keys() - texts.keys():
            stored_items.delete_refused(connection, source, ref)
            delete_notice(connection, f"set-aside:{source}:{ref}")
