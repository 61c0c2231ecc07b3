"""Decide what a sweep changes in the store. Pure: compares the swept items with the stored ones."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import quote

from tidings.model.errors import Problem
from tidings.model.item import Item
from tidings.model.text import find_unused_slug, shorten_slug, slugify
from tidings.pipeline.collect.identity import match_items
from tidings.pipeline.collect.moments import compute_moments
from tidings.render.urls import RESERVED_SLUGS
from tidings.sources.base import SourceItem, Sweep
from tidings.sources.web.identity import normalise_link
from tidings.store.content.items import ItemRow, KnownItem, StoredKeys

APART = timedelta(minutes=1)
"""An item that is absent in two sweeps this far apart has vanished."""

MASS = 3
"""If more than this many items, and more than a fifth of the source, vanish at once, a person must confirm."""


def mint_id() -> str:
    """Return the id of a new item (RFC 9562 §5.4 as a URN)."""
    return uuid.uuid4().urn


@dataclass(slots=True)
class Changes:
    """Rows to write and ids to mark. `held` is the reason why nothing may change, if there is one.

    `parked`: ids that must give up their place before `rewritten` is written. `evicted`: ids whose place went to
    another item.
    """

    new: list[ItemRow] = field(default_factory=list)
    rewritten: list[tuple[KnownItem, ItemRow]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)
    evicted: list[str] = field(default_factory=list)
    refused: list[Problem] = field(default_factory=list)
    held: str | None = None


@dataclass(frozen=True, slots=True)
class PartialSweep:
    """A sweep of some files, with the facts that it needs about the other files.

    `stored`: the keys of all stored items. `present`: the number of items of the source. `is_last`: stored items
    without a swept item are absent. Before the last part, their files may still come.
    """

    stored: StoredKeys
    present: int
    is_last: bool


class _TakenKeys:
    """The slugs, feed dates and stories that are in use: those of `known`, of the store, and the new ones."""

    def __init__(self, known: Sequence[KnownItem], stored: StoredKeys | None) -> None:
        self._stored = stored
        self._slugs = {(item.language, item.slug) for item in known}
        self._dates = {(item.language, item.changed) for item in known}
        self._stories = {item.story for item in known}
        self._free: set[tuple[str, datetime]] = set()

    def has_slug(self, language: str, slug: str) -> bool:
        return (
            slug in RESERVED_SLUGS
            or (language, slug) in self._slugs
            or (self._stored is not None and self._stored.has_slug(language, slug))
        )

    def has_date(self, language: str, changed: datetime) -> bool:
        key = (language, changed)
        if key in self._dates:
            return True
        return key not in self._free and self._stored is not None and self._stored.has_date(language, changed)

    def has_story(self, story: str) -> bool:
        """Whether an item had the story before this sweep."""
        return story in self._stories or (self._stored is not None and self._stored.has_story(story))

    def take_slug(self, language: str, slug: str) -> None:
        self._slugs.add((language, slug))

    def take_date(self, language: str, changed: datetime) -> None:
        self._dates.add((language, changed))

    def free_date(self, language: str, changed: datetime) -> None:
        self._dates.discard((language, changed))
        self._free.add((language, changed))


def decide_changes(
    sweep: Sweep,
    known: Sequence[KnownItem],
    *,
    source: str,
    adopted: Collection[str],
    now: datetime,
    url: str,
    accept: bool = False,
    mint: Callable[[], str] = mint_id,
    part: PartialSweep | None = None,
) -> Changes:
    """Compare a sweep of `source` with all stored items. `url` is the address of the site, with a final slash.

    `adopted`: sources that are no longer configured; their items may now be in `source`. `part`: the sweep and `known`
    hold only changed files and items, and those that could be confused with them.
    """
    if not sweep.is_readable:
        reason = "; ".join(problem.message for problem in sweep.problems) or "it cannot be read"
        return Changes(held=f"The source {source!r} cannot be read ({reason}). Its items stay unchanged.")
    changes = Changes()
    matched = match_items(sweep.items, known, source=source, adopted=adopted, aside=sweep.set_aside)
    absent = [item for item in matched.unseen if item.source == source and item.gone_at is None]
    if part is None:
        present = sum(item.source == source and item.gone_at is None for item in known)
    else:
        present = part.present
        absent = absent if part.is_last else []
    if not accept and len(absent) > MASS and len(absent) * 5 > present:
        some = ", ".join(sorted(item.ref for item in absent)[:3])
        changes.held = (
            f"{len(absent)} of {present} items of the source {source!r} vanished at once ({some}, ...). Its items"
            " stay unchanged. If they were removed on purpose: tidings sweep --accept"
        )
        return changes
    for swept, other in matched.impostors:
        message = f"its id {swept.explicit_id!r} already belongs to {other.ref}"
        changes.refused.append(Problem(swept.ref, 1, 1, message, "give it its own id, or delete the line"))

    taken = _TakenKeys(known, part.stored if part is not None else None)
    _settle_items(changes, matched.pairs, known, taken, source=source, now=now, url=url, mint=mint)
    places = {swept.ref for swept in sweep.items}
    changes.evicted = [item.id for item in matched.unseen if item.source == source and item.ref in places]
    # If a moved file is refused as a duplicate, its item keeps the old place, which another file may have taken.
    refused = {problem.file for problem in changes.refused}
    taken_refs = {row.item.ref for row in (*changes.new, *(after for _, after in changes.rewritten))}
    changes.evicted += [
        item.id
        for swept, item in matched.pairs
        if item is not None and swept.ref in refused and item.ref != swept.ref and item.ref in taken_refs
    ]
    for item in absent:
        if accept or (item.missing_since is not None and now - item.missing_since >= APART):
            changes.gone.append(item.id)
        elif item.missing_since is None:
            changes.missing.append(item.id)
    changes.parked = _find_parked(changes, known)
    return changes


def _settle_items(
    changes: Changes,
    pairs: Sequence[tuple[SourceItem, KnownItem | None]],
    known: Sequence[KnownItem],
    taken: _TakenKeys,
    *,
    source: str,
    now: datetime,
    url: str,
    mint: Callable[[], str],
) -> None:
    matched = {item.id for _, item in pairs if item is not None}
    holders = {(item.story, item.language): item.ref for item in known}
    lost = {item.ref for item in known if item.gone_at is not None and item.id not in matched}
    names = {item.ref: swept.name for swept, item in pairs if item is not None}
    names |= {swept.ref: swept.name for swept, _ in pairs}
    own_stories = {item.story for item in known}
    groups = _groups(pairs, taken)
    pages = (
        {normalise_link(item.url): item.story for item in known}
        if any(swept.translations for swept, _ in pairs)
        else {}
    )
    # Stored items go first, so that a new item never takes a story from one of them.
    for swept, item in sorted(pairs, key=lambda pair: pair[1] is None):
        story = groups.get(swept.story or "", swept.story)
        if item is not None:
            story = story or item.story
            language_moved = item.language != swept.language
            holder = holders.get((story, swept.language))
            if (story != item.story or language_moved) and holder is not None:
                changes.refused.append(make_duplicate_problem(swept, story, holder))
                continue
            holders.pop((item.story, item.language), None)
        else:
            if swept.story and story == swept.story and not taken.has_story(story):
                # It translates a story that came from another source first. Editions know the story by that key.
                elder = next((pages[page] for page in swept.translations if page in pages), None)
                if elder is not None and (elder, swept.language) not in holders:
                    groups[swept.story] = story = elder
            wanted = story or groups.get(f"name:{swept.name}") or slugify(swept.name)
            language_moved = False
            holder = holders.get((wanted, swept.language))
            if (
                holder is not None
                and holder not in lost
                and (swept.story or names.get(holder, swept.name) == swept.name)
            ):
                changes.refused.append(make_duplicate_problem(swept, wanted, holder))
                continue
            story = wanted
            if holder is not None:
                held = {key for key, _ in holders}

                def is_held(key: str, held: set[str] = held) -> bool:
                    return key in held or (key not in own_stories and taken.has_story(key))

                story = find_unused_slug(wanted, is_held)
            groups.setdefault(f"name:{swept.name}", story)
        holders[story, swept.language] = swept.ref
        names[swept.ref] = swept.name

        item_id = swept.explicit_id or (item.id if item else mint())
        if item and not language_moved:
            slug = item.slug
        else:
            slug = find_unused_slug(shorten_slug(slugify(swept.name)), partial(taken.has_slug, swept.language))
        taken.take_slug(swept.language, slug)
        address = swept.url or f"{url}{swept.language}/{quote(slug)}/"
        if item is not None and _same(swept, item, item_id, source, story, address):
            if item.gone_at is not None or item.missing_since is not None:
                changes.back.append(item.id)
            continue
        if item is not None:
            taken.free_date(item.language, item.changed)
        when = compute_moments(swept, item, now, partial(taken.has_date, swept.language))
        taken.take_date(swept.language, when.changed)
        row = Item(
            **swept.content(), id=item_id, story=story, slug=slug, url=address, source=source, published=when.published,
            first_seen=when.first_seen, changed=when.changed, out_at=when.out_at, corrected_at=when.corrected_at,
        )  # fmt: skip
        stored = ItemRow(row, when.ready_at, swept.fingerprint, backlog=swept.backlog and not taken.has_story(story))
        if item is None:
            changes.new.append(stored)
        else:
            changes.rewritten.append((item, stored))


def _same(swept: SourceItem, item: KnownItem, item_id: str, source: str, story: str, address: str) -> bool:
    return (item.fingerprint, item.ref, item.id, item.source, item.story, item.url) == (
        swept.fingerprint, swept.ref, item_id, source, story, address,
    )  # fmt: skip


def _groups(pairs: Sequence[tuple[SourceItem, KnownItem | None]], taken: _TakenKeys) -> dict[str, str]:
    """Map each key that an editor wrote, and `name:NAME`, to the key of its story.

    Editions know a story by its first key. So if items with keys get `story: x`, they join under the key of the oldest
    item, unless a story `x` exists. A translation joins the story of the item with the same name, even if that item was
    renamed later.
    """
    eldest: dict[str, KnownItem] = {}
    for swept, item in pairs:
        if item is None:
            continue
        for key in (swept.story, None if swept.story else f"name:{swept.name}"):
            if key and (key.startswith("name:") or not taken.has_story(key)):
                first = eldest.get(key)
                if first is None or (item.first_seen, item.ref) < (first.first_seen, first.ref):
                    eldest[key] = item
    return {key: item.story for key, item in eldest.items()}


def make_duplicate_problem(swept: SourceItem, story: str, holder: str) -> Problem:
    """Return the problem of a second file for one story in one language."""
    message = f"it has the same story ({story}) and language ({swept.language}) as {holder}"
    mend = "delete one of the two, rename this file, or give it another `story:` or `language:`"
    return Problem(swept.ref, 1, 1, message, mend)


def _find_parked(changes: Changes, known: Sequence[KnownItem]) -> list[str]:
    """Return the ids whose ref or (story, language) another item is about to get: both are unique."""
    by_ref = {(item.source, item.ref): item.id for item in known}
    by_story = {(item.story, item.language): item.id for item in known}
    rewritten = {item.id for item, _ in changes.rewritten}
    parked = set()
    for item, stored in changes.rewritten:
        row = stored.item
        for holder in (by_ref.get((row.source, row.ref)), by_story.get((row.story, row.language))):
            if holder is not None and holder != item.id and holder in rewritten:
                parked.add(holder)
    return sorted(parked)
