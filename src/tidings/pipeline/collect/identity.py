"""Which stored item a found one is, though its file was renamed, moved, edited or copied in between. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tidings.model.text import slugify
from tidings.sources.base import SourceItem
from tidings.store.content.items import KnownItem

T = TypeVar("T")


@dataclass(slots=True)
class MatchedItems:
    """Each found item with what is known of it (None: new), in order of refs; the known ones that nobody found; and
    found ones that claim the id of an item that stands elsewhere, with that item."""

    pairs: list[tuple[SourceItem, KnownItem | None]] = field(default_factory=list)
    unseen: list[KnownItem] = field(default_factory=list)
    impostors: list[tuple[SourceItem, KnownItem | SourceItem]] = field(default_factory=list)


def match_items(
    found: Sequence[SourceItem],
    known: Sequence[KnownItem],
    *,
    source: str,
    adopted: Collection[str],
    aside: Collection[str],
) -> MatchedItems:
    """`known` is everything stored; of it, items of `source` and of the sources in `adopted` (no longer configured) may
    be recognised. `aside` are refs whose file exists but could not be taken: their items stay as they are.

    In this order: the id that the editor wrote; an unchanged file; the same content elsewhere, where the old place is
    free; the same place; the same story and language; the same title and date (both where the old place is free).
    """
    result = MatchedItems()
    every_id = {item.id: item for item in known}
    own = {item.ref for item in known if item.source == source}
    pool = {
        item.id: item
        for item in known
        if (item.source == source and item.ref not in aside) or (item.source in adopted and item.ref not in own)
    }
    left: dict[str, SourceItem] = {}
    claimed: dict[str, SourceItem] = {}
    matches: dict[str, KnownItem] = {}

    def take(one: SourceItem, item: KnownItem) -> None:
        matches[one.ref] = item
        del left[one.ref]
        del pool[item.id]

    for one in sorted(found, key=lambda each: each.ref):
        if one.explicit_id is None:
            left[one.ref] = one
        elif one.explicit_id in claimed:
            result.impostors.append((one, claimed[one.explicit_id]))
        elif one.explicit_id in every_id and one.explicit_id not in pool and every_id[one.explicit_id].gone_at is None:
            result.impostors.append((one, every_id[one.explicit_id]))
        else:
            left[one.ref] = claimed[one.explicit_id] = one
            gone_elsewhere = every_id.get(one.explicit_id)
            if gone_elsewhere is not None:
                pool.setdefault(gone_elsewhere.id, gone_elsewhere)
    found_refs = {one.ref: one for one in found}

    for one in list(left.values()):
        if one.explicit_id in pool:
            take(one, pool[one.explicit_id])

    for one, item in _pairs(
        left, pool, lambda one: (one.ref, one.fingerprint), lambda item: (item.ref, item.fingerprint)
    ):
        take(one, item)

    elsewhere = _pairs(left, pool, lambda one: one.fingerprint, lambda item: item.fingerprint)
    leaving = {one.ref for one, _ in elsewhere}  # the content here is another item's, so this place is free
    for one, item in elsewhere:
        if item.ref not in found_refs or item.ref in leaving:
            take(one, item)

    for one, item in _pairs(left, pool, lambda one: one.ref, lambda item: item.ref):
        take(one, item)

    def free(item: KnownItem) -> bool:
        return item.ref not in found_refs and item.ref not in aside

    for one in list(left.values()):  # of two that ask for one story, the first named gets it
        namesakes = [item for item in pool.values() if (item.story, item.language) == (story_of(one), one.language)]
        if namesakes and free(namesakes[0]):
            take(one, namesakes[0])
    for one, item in _pairs(left, pool, _headline, lambda item: (item.title, item.published, item.language), free):
        take(one, item)

    refused = {one.ref for one, _ in result.impostors}
    result.pairs = [(one, matches.get(ref)) for ref, one in sorted(found_refs.items()) if ref not in refused]
    # Who claims a foreign id leaves the item that stood at its place as it is.
    result.unseen = [item for item in pool.values() if item.ref not in refused]
    return result


def story_of(one: SourceItem) -> str:
    """The story key that a found item asks for: what the editor wrote, else its name."""
    return one.story or slugify(one.name)


def _headline(one: SourceItem) -> Hashable:
    # Without a date of its own a title alone proves nothing ('Weekly briefing').
    return (one.title, one.published, one.language) if one.published else (one.ref,)


def _pairs(
    left: dict[str, SourceItem],
    pool: dict[str, KnownItem],
    key_of_found: Callable[[SourceItem], Hashable],
    key_of_known: Callable[[KnownItem], Hashable],
    allowed: Callable[[KnownItem], bool] = lambda item: True,
) -> list[tuple[SourceItem, KnownItem]]:
    """Pairs with equal keys, where the key is one found item's and one known item's alone."""
    candidates = [item for item in pool.values() if allowed(item)]
    once_found = _single(left.values(), key_of_found)
    once_known = _single(candidates, key_of_known)
    return [(one, once_known[key]) for key, one in once_found.items() if key in once_known]


def _single(things: Iterable[T], key_of: Callable[[T], Hashable]) -> dict[Hashable, T]:
    things = list(things)
    count = Counter(key_of(thing) for thing in things)
    return {key_of(thing): thing for thing in things if count[key_of(thing)] == 1}
