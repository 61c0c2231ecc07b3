"""A newsroom with a store and items, for tests of publishing and of what is served."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tidings.config.settings import Newsroom
from tidings.model.item import Item, Media
from tidings.store.content.items import Stored, advance_version, insert_items, items_version, rewrite_items
from tidings.store.engine import Store
from tidings.store.migrate import create_or_check


def open_store(url: str, root: Path) -> Store:
    """A fresh store with its tables."""
    store = Store(url, root)
    create_or_check(store)
    return store


def make_newsroom(root: Path, url: str = "https://news.example.org/", logo: Media | None = None) -> Newsroom:
    """Three languages, two feeds beside `all`."""
    return Newsroom.model_validate(
        {
            "site": {
                "title": {"en": "Aul & Steppe", "ru": "Аул и степь", "kk": "Ауыл мен дала"},
                "url": url,
                "languages": ["en", "ru", "kk"],
                "timezone": "Asia/Almaty",
                "address": "10 Example Street, Almaty",
                "colour": "#ffcc00",
            },
            "topics": {"water": {"en": "Water & rivers", "ru": "Вода"}},
            "feeds": {
                "press": {
                    "title": {"en": "Press releases", "ru": "Пресс-релизы"},
                    "select": {"kinds": ["press-release"]},
                },
                "water": {"title": "Water", "select": {"topics": ["water"]}},
            },
            "root": root,
            "logo": logo,
        },
        context={"languages": ("en", "ru", "kk")},
    )


def put(store: Store, *items: Item, had: Iterable[str] = ()) -> None:
    """Store items: new ones, or anew those whose ids are in `had`."""
    known = set(had)
    with store.write() as connection:
        rows = [Stored(item, item.out_at, "f") for item in items]
        insert_items(connection, [row for row in rows if row.item.id not in known])
        rewrite_items(connection, [(row.item.id, row) for row in rows if row.item.id in known])
        assert advance_version(connection, items_version(connection))


def media_file(root: Path, name: str, content: bytes, media_type: str) -> Media:
    """A file in content/media."""
    path = root / "content" / "media" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()[:16]
    return Media(digest, name, f"content/media/{name}", media_type, len(content))
