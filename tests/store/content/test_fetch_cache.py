"""The fetch cache of a source on the network: every process reads it, and one at a time writes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tidings.model.item import CachedItem
from tidings.store.content.fetch_cache import StoredFetchCache
from tidings.store.engine import Store

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
ENTRY = CachedItem("https://example.org/a", {"article": {"title": "А"}, "marks": [["1", "2"]]}, NOW, backlog=True)


def test_the_cache_returns_what_was_stored(store: Store) -> None:
    shelf = StoredFetchCache(store, "site")
    assert (shelf.version(), shelf.state(), shelf.items()) == (0, {}, ())
    assert shelf.save(0, {"etag": "x"}, [ENTRY])
    assert shelf.save(1, {"etag": "y"}, [replace(ENTRY, ref="b"), replace(ENTRY, data={"article": {}})])
    assert (shelf.version(), shelf.state()) == (2, {"etag": "y"})
    changed = {item.ref: item for item in shelf.items(since=1)}
    assert changed == {"b": replace(ENTRY, ref="b"), ENTRY.ref: replace(ENTRY, data={"article": {}})}
    assert shelf.items(since=2) == ()
    assert StoredFetchCache(store, "other").items() == ()


def test_one_of_two_simultaneous_fetches_is_kept(store: Store) -> None:
    one, other = StoredFetchCache(store, "site"), StoredFetchCache(store, "site")
    assert one.save(0, {"by": "one"}, [ENTRY])
    assert not other.save(0, {"by": "other"}, [replace(ENTRY, ref="b")])
    assert one.state() == {"by": "one"} and [each.ref for each in one.items()] == [ENTRY.ref]
    assert one.save(1, {"by": "one again"})
    assert not other.save(1, {"by": "other"})
