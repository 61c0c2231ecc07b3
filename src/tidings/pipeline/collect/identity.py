"""Match swept items with stored items, even if a file was renamed, moved, edited or copied. Pure."""

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
    """The result of matching.

    `pairs`: each swept item with its stored item (None: new), in order of refs. `unseen`: stored items without a swept
    item. `impostors`: swept items that claim another item's id, each with that item.
    """

    pairs: list[tuple[SourceItem, KnownItem | None]] = field(default_factory=list)
    unseen: list[KnownItem] = field(default_factory=list)
    impostors: list[tuple[SourceItem, KnownItem | SourceItem]] = field(default_factory=list)


def match_items(
    items: Sequence[SourceItem],
    known: Sequence[KnownItem],
    *,
    source: str,
    adopted: Collection[str],
    aside: Collection[str],
) -> MatchedItems:
    """Match by these rules, in this order.

    1. The id that the editor wrote.
    2. An unchanged file at the same place.
    3. The same content at another place, if the old place is free.
    4. The same place.
    5. The same story and language, if the old place is free.
    6. The same title and date, if the old place is free.

    `known`: all stored items; those of `source` and of `adopted` (sources no longer configured) can match. `aside`:
    refs whose file exists but was refused; their items stay unchanged.
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

    def take(swept: SourceItem, item: KnownItem) -> None:
        matches[swept.ref] = item
        del left[swept.ref]
        del pool[item.id]

    for swept in sorted(items, key=lambda item: item.ref):
        if swept.explicit_id is None:
            left[swept.ref] = swept
        elif swept.explicit_id in claimed:
            result.impostors.append((swept, claimed[swept.explicit_id]))
        elif (
            swept.explicit_id in every_id
            and swept.explicit_id not in pool
            and every_id[swept.explicit_id].gone_at is None
        ):
            result.impostors.append((swept, every_id[swept.explicit_id]))
        else:
            left[swept.ref] = claimed[swept.explicit_id] = swept
            gone_elsewhere = every_id.get(swept.explicit_id)
            if gone_elsewhere is not None:
                pool.setdefault(gone_elsewhere.id, gone_elsewhere)
    swept_refs = {swept.ref: swept for swept in items}

    for swept in list(left.values()):
        if swept.explicit_id in pool:
            take(swept, pool[swept.explicit_id])

    for swept, item in _pairs(
        left, pool, lambda swept: (swept.ref, swept.fingerprint), lambda item: (item.ref, item.fingerprint)
    ):
        take(swept, item)

    elsewhere = _pairs(left, pool, lambda swept: swept.fingerprint, lambda item: item.fingerprint)
    leaving = {swept.ref for swept, _ in elsewhere}  # another item has this content now, so this place is free
    for swept, item in elsewhere:
        if item.ref not in swept_refs or item.ref in leaving:
            take(swept, item)

    for swept, item in _pairs(left, pool, lambda swept: swept.ref, lambda item: item.ref):
        take(swept, item)

    def free(item: KnownItem) -> bool:
        return item.ref not in swept_refs and item.ref not in aside

    for swept in list(left.values()):  # if two items ask for the same story, the first name gets it
        namesakes = [item for item in pool.values() if (item.story, item.language) == (story_of(swept), swept.language)]
        if namesakes and free(namesakes[0]):
            take(swept, namesakes[0])
    for swept, item in _pairs(left, pool, _headline, lambda item: (item.title, item.published, item.language), free):
        take(swept, item)

    refused = {swept.ref for swept, _ in result.impostors}
    result.pairs = [(swept, matches.get(ref)) for ref, swept in sorted(swept_refs.items()) if ref not in refused]
    # An item that claims a foreign id leaves the stored item at its place unchanged.
    result.unseen = [item for item in pool.values() if item.ref not in refused]
    return result


def story_of(swept: SourceItem) -> str:
    """Return the story key that an item claims: the key that the editor wrote, else its name."""
    return swept.story or slugify(swept.name)


def _headline(swept: SourceItem) -> Hashable:
    # Without a date, a title proves nothing: many items may be called 'Weekly briefing'.
    return (swept.title, swept.published, swept.language) if swept.published else (swept.ref,)


def _pairs(
    left: dict[str, SourceItem],
    pool: dict[str, KnownItem],
    key_of_swept: Callable[[SourceItem], Hashable],
    key_of_known: Callable[[KnownItem], Hashable],
    allowed: Callable[[KnownItem], bool] = lambda item: True,
) -> list[tuple[SourceItem, KnownItem]]:
    """Return the pairs with an equal key that is unique among both the swept and the stored items."""
    candidates = [item for item in pool.values() if allowed(item)]
    single_swept = _single(left.values(), key_of_swept)
    single_known = _single(candidates, key_of_known)
    return [(swept, single_known[key]) for key, swept in single_swept.items() if key in single_known]


def _single(things: Iterable[T], key_of: Callable[[T], Hashable]) -> dict[Hashable, T]:
    things = list(things)
    count = Counter(key_of(thing) for thing in things)
    return {key_of(thing): thing for thing in things if count[key_of(thing)] == 1}
