"""Items in the store are read as they were written, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from tidings.model.item import Attachment, Image, Item, Media
from tidings.store.content import items
from tidings.store.content.items import ItemRow
from tidings.store.engine import Store

NOW = datetime(2023, 10, 1, 9, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)

FULL = Item(
    id="urn:uuid:1",
    story="youth",
    slug="youth-forum",
    language="kk",
    kind="event",
    title="Қазақстан 🎉 <b> & 'quotes'",
    summary="",
    body="<p>Body</p>",
    url="https://news.example/kk/youth-forum/",
    source="newsroom",
    ref="content/youth-forum.kk.md",
    published=NOW,
    first_seen=NOW,
    changed=NOW.replace(microsecond=0),
    out_at=NOW,
    updated=NOW,
    embargo=NOW,
    expires=NOW + HOUR,
    starts=NOW,
    ends=NOW,
    place="Astana",
    topics=("sdg-4",),
    organisations=("UNICEF",),
    authors=("A", "B"),
    images=(Image("https://x/a.jpg", "A", "C", "D", 40, 30, "image/jpeg", 5), Image("https://x/b.jpg", "B")),
    attachments=(Attachment("https://x/a.pdf", "Brief", "application/pdf", 7),),
    media=(Media("0123456789abcdef", "a.jpg", "content/a.jpg", "image/jpeg", 5),),
    lead=True,
    not_in=("digest",),
    correction="66",
    corrected_at=NOW,
    extra={"gallery": "5"},
)


def plain(number: int, **values: object) -> Item:
    base = Item(
        id=f"id-{number}", story=f"s{number}", slug=f"s{number}", language="en", kind="story", title="T", summary="",
        body="", url="", source="newsroom", ref=f"r{number}", published=NOW, first_seen=NOW,
        changed=NOW.replace(microsecond=0) + timedelta(seconds=number), out_at=NOW,
    )  # fmt: skip
    return replace(base, **values)  # type: ignore[arg-type]


def put(store: Store, *content: Item) -> None:
    with store.write() as connection:
        items.insert_items(connection, [ItemRow(item, item.first_seen, "print") for item in content])


def test_an_item_comes_out_as_it_went_in(store: Store) -> None:
    put(store, FULL, plain(1))
    with store.read() as connection:
        assert items.load_items(connection, ids=[FULL.id]) == [FULL]
        assert items.load_items(connection, ids=["id-1"]) == [plain(1)]
        assert items.load_items(connection, ids=["nothing"]) == []
        assert [known.fingerprint for known in items.load_known(connection)] == ["print", "print"]


def test_items_are_found_by_language_id_and_story(store: Store) -> None:
    put(store, plain(1), plain(2, gone_at=NOW), plain(3, language="ru", story="s1", slug="s1"))
    with store.read() as connection:
        assert [item.id for item in items.load_items(connection)] == ["id-3", "id-1"]
        assert [item.id for item in items.load_items(connection, include_gone=True)] == ["id-3", "id-2", "id-1"]
        assert [item.id for item in items.load_items(connection, language="en")] == ["id-1"]
        assert [item.id for item in items.load_items(connection, ids=["id-1", "id-2"])] == ["id-1"]
        assert [item.id for item in items.load_items(connection, ids=[])] == []
        assert [item.language for item in items.load_story(connection, "s1")] == ["en", "ru"]
        assert items.count_items(connection) == 2


def test_the_next_moment_at_which_an_item_becomes_visible(store: Store) -> None:
    content = [
        plain(1),
        plain(2, draft=True),
        plain(3, withdrawn="x"),
        plain(4, gone_at=NOW),
        plain(5, published=NOW + HOUR),
        plain(6, embargo=NOW + 2 * HOUR),
        plain(8, published=NOW + HOUR, draft=True),
    ]
    put(store, *content)
    with store.read() as connection:
        assert items.next_visible_at(connection, NOW) == NOW + HOUR
        assert items.next_visible_at(connection, NOW + HOUR) == NOW + 2 * HOUR
        assert items.next_visible_at(connection, NOW + 2 * HOUR) is None


@pytest.mark.parametrize(
    "twin", [{"ref": "r1"}, {"story": "s1"}, {"slug": "s1"}, {"id": "id-1"}], ids=["ref", "story", "slug", "id"]
)
def test_uniqueness_is_a_constraint(store: Store, twin: dict[str, object]) -> None:
    put(store, plain(1))
    with pytest.raises(IntegrityError):
        put(store, plain(2, **twin))


def test_items_can_swap_their_places(store: Store) -> None:
    first, second = plain(1), plain(2)
    put(store, first, second)
    swapped = [replace(first, ref="r2", story="s2"), replace(second, ref="r1", story="s1", id="another")]
    with store.write() as connection:
        items.park_items(connection, ["id-1", "id-2"])
        items.rewrite_items(
            connection, [(f"id-{number}", ItemRow(item, NOW, "p")) for number, item in enumerate(swapped, 1)]
        )
    with store.read() as connection:
        assert {item.id: item.ref for item in items.load_items(connection)} == {"id-1": "r2", "another": "r1"}


def test_one_of_two_equal_decisions_is_written(store: Store) -> None:
    for version in (0, 1):
        with store.read() as connection:
            assert items.items_version(connection) == version
        with store.write() as connection:
            assert items.advance_version(connection, version)
        with store.write() as connection:
            assert not items.advance_version(connection, version)
