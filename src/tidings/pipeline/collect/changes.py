"""What a sweep changes in the store. Pure: from what was found and what is known to rows to write."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote

from tidings.model.errors import Problem
from tidings.model.item import Item
from tidings.model.text import find_unused_slug, shorten_slug, slugify
from tidings.pipeline.collect.identity import match_items
from tidings.pipeline.collect.moments import compute_moments
from tidings.sources.base import SourceItem, Sweep
from tidings.sources.web.identity import normalise_link
from tidings.store.content.items import ItemRow, KnownItem

APART = timedelta(minutes=1)
"""A file that is absent in two sweeps this far apart has vanished."""

MASS = 3
"""More than this many, and more than a fifth of the source, at once: a person is asked."""


def mint_id() -> str:
    """A new item's id (RFC 9562 §5.4 as a URN)."""
    return uuid.uuid4().urn


@dataclass(slots=True)
class Changes:
    """Rows to write and ids to mark. `parked` are ids that must give up their place before `rewritten` is written,
    `evicted` those whose place another item has now. `held` says why nothing may change."""

    new: list[ItemRow] = field(default_factory=list)
    rewritten: list[tuple[KnownItem, ItemRow]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)
    evicted: list[str] = field(default_factory=list)
    refused: list[Problem] = field(default_factory=list)
    held: str | None = None


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
) -> Changes:
    """`known` is every stored item; `adopted` names sources that are no longer configured, whose items `source` may
    turn out to hold; `url` is the site's, ending with a slash."""
    if not sweep.is_readable:
        why = "; ".join(problem.message for problem in sweep.problems) or "it cannot be read"
        return Changes(held=f"The source {source!r} cannot be read ({why}), so nothing of it was changed.")
    changes = Changes()
    seen = match_items(sweep.items, known, source=source, adopted=adopted, aside=sweep.set_aside)
    present = [item for item in known if item.source == source and item.gone_at is None]
    absent = [item for item in seen.unseen if item.source == source and item.gone_at is None]
    if not accept and len(absent) > MASS and len(absent) * 5 > len(present):
        some = ", ".join(sorted(item.ref for item in absent)[:3])
        changes.held = (
            f"{len(absent)} of {len(present)} items of the source {source!r} vanished at once ({some}, ...), so nothing"
            " of it was changed. If that is meant: tidings sweep --accept"
        )
        return changes
    for one, other in seen.impostors:
        message = f"its id {one.explicit_id!r} is that of {other.ref}"
        changes.refused.append(Problem(one.ref, 1, 1, message, "give it an id of its own, or delete the line"))

    _settle(changes, seen.pairs, known, source=source, now=now, url=url, mint=mint)
    places = {one.ref for one in sweep.items}
    changes.evicted = [item.id for item in seen.unseen if item.source == source and item.ref in places]
    for item in absent:
        if accept or (item.missing_since is not None and now - item.missing_since >= APART):
            changes.gone.append(item.id)
        elif item.missing_since is None:
            changes.missing.append(item.id)
    changes.parked = _in_the_way(changes, known)
    return changes


def _settle(
    changes: Changes,
    pairs: Sequence[tuple[SourceItem, KnownItem | None]],
    known: Sequence[KnownItem],
    *,
    source: str,
    now: datetime,
    url: str,
    mint: Callable[[], str],
) -> None:
    matched = {item.id for _, item in pairs if item is not None}
    holders = {(item.story, item.language): item.ref for item in known}
    standing = {item.story for item in known}
    lost = {item.ref for item in known if item.gone_at is not None and item.id not in matched}
    names = {item.ref: one.name for one, item in pairs if item is not None}
    names |= {one.ref: one.name for one, _ in pairs}
    slugs: dict[str, set[str]] = {}
    dates: dict[str, set[datetime]] = {}
    for each in known:
        slugs.setdefault(each.language, set()).add(each.slug)
        dates.setdefault(each.language, set()).add(each.changed)
    groups = _groups(pairs, known)
    pages = (
        {normalise_link(item.url): item.story for item in known} if any(one.translations for one, _ in pairs) else {}
    )
    # Items that stood before go first: a newcomer never takes a story from one of them.
    for one, item in sorted(pairs, key=lambda pair: pair[1] is None):
        story = groups.get(one.story or "", one.story)
        if item is not None:
            story = story or item.story
            language_moved = item.language != one.language
            holder = holders.get((story, one.language))
            if (story != item.story or language_moved) and holder is not None:
                changes.refused.append(_doubled(one, story, holder))
                continue
            holders.pop((item.story, item.language), None)
        else:
            if one.story and story == one.story and story not in standing:
                # A translation that another source brought before, alone: editions know the story by its key.
                elder = next((pages[page] for page in one.translations if page in pages), None)
                if elder is not None and (elder, one.language) not in holders:
                    groups[one.story] = story = elder
            wanted = story or groups.get(f"name:{one.name}") or slugify(one.name)
            language_moved = False
            holder = holders.get((wanted, one.language))
            if holder is not None and holder not in lost and (one.story or names.get(holder, one.name) == one.name):
                changes.refused.append(_doubled(one, wanted, holder))
                continue
            story = find_unused_slug(wanted, {key for key, _ in holders}) if holder is not None else wanted
            groups.setdefault(f"name:{one.name}", story)
        holders[story, one.language] = one.ref
        names[one.ref] = one.name

        item_id = one.explicit_id or (item.id if item else mint())
        taken = slugs.setdefault(one.language, set())
        slug = item.slug if item and not language_moved else find_unused_slug(shorten_slug(slugify(one.name)), taken)
        taken.add(slug)
        address = one.url or f"{url}{one.language}/{quote(slug)}/"
        if item is not None and _same(one, item, item_id, source, story, address):
            if item.gone_at is not None or item.missing_since is not None:
                changes.back.append(item.id)
            continue
        if item is not None:
            dates[item.language].discard(item.changed)
        taken_dates = dates.setdefault(one.language, set())
        when = compute_moments(one, item, now, taken_dates)
        taken_dates.add(when.changed)
        row = Item(
            id=item_id, story=story, slug=slug, language=one.language, kind=one.kind, title=one.title, url=address,
            summary=one.summary, body=one.body, source=source, ref=one.ref, published=when.published,
            first_seen=when.first_seen, changed=when.changed, out_at=when.out_at, updated=one.updated,
            embargo=one.embargo, expires=one.expires, starts=one.starts, ends=one.ends, place=one.place,
            topics=one.topics, organisations=one.organisations, authors=one.authors, images=one.images,
            attachments=one.attachments, media=one.media, lead=one.lead, not_in=one.not_in, draft=one.draft,
            correction=one.correction, corrected_at=when.corrected_at, withdrawn=one.withdrawn, post=one.post,
            extra=one.extra,
        )  # fmt: skip
        stored = ItemRow(row, when.ready_at, one.fingerprint, backlog=one.backlog and story not in standing)
        if item is None:
            changes.new.append(stored)
        else:
            changes.rewritten.append((item, stored))


def _same(one: SourceItem, item: KnownItem, item_id: str, source: str, story: str, address: str) -> bool:
    return (item.fingerprint, item.ref, item.id, item.source, item.story, item.url) == (
        one.fingerprint, one.ref, item_id, source, story, address,
    )  # fmt: skip


def _groups(pairs: Sequence[tuple[SourceItem, KnownItem | None]], known: Sequence[KnownItem]) -> dict[str, str]:
    """The story key that stands for each key that an editor wrote, and for `name:NAME`.

    A key was minted once, and editions know a story by it. So `story: x` written into items that have keys already
    joins them under the key of the eldest, unless a story `x` stands; and a translation goes to its namesake's story
    though that was renamed since.
    """
    standing = {item.story for item in known}
    eldest: dict[str, KnownItem] = {}
    for one, item in pairs:
        if item is None:
            continue
        for key in (one.story, None if one.story else f"name:{one.name}"):
            if key and key not in standing:
                first = eldest.get(key)
                if first is None or (item.first_seen, item.ref) < (first.first_seen, first.ref):
                    eldest[key] = item
    return {key: item.story for key, item in eldest.items()}


def _doubled(one: SourceItem, story: str, holder: str) -> Problem:
    message = f"it is the same story ({story}) in the same language ({one.language}) as {holder}"
    mend = "delete one of the two, or rename this file, or give it another `story:` or `language:`"
    return Problem(one.ref, 1, 1, message, mend)


def _in_the_way(changes: Changes, known: Sequence[KnownItem]) -> list[str]:
    """Ids whose present ref or (story, language) another item is about to get: both are unique."""
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
