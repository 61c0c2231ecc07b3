"""An edition that waits keeps the pictures of its frozen mail."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.fixtures.newsroom import DAY, MONDAY, open_newsroom
from tidings.store.content.site_files import kept_media

WAITS = """cadence: {daily: "09:00"}
approval: {by: [boss@example.org]}
deliver: [{list: digest, frequency: daily}]
"""


@pytest.mark.parametrize("change", ["overwrite", "edit"])
def test_a_waiting_edition_keeps_its_picture(database_url: str, tmp_path: Path, change: str) -> None:
    with open_newsroom(tmp_path / "n", database_url, {"daily": WAITS}) as newsroom:
        newsroom.reader("ada")
        content = newsroom.folder.root / "content"
        (content / "media").mkdir(exist_ok=True)
        Image.new("RGB", (1600, 1200), "navy").save(content / "media" / "photo.webp")
        newsroom.item("water", images='[{src: media/photo.webp, alt: "A well"}]')
        newsroom.tick(MONDAY - DAY / 2)
        newsroom.tick(MONDAY)
        with newsroom.runtime.store.read() as connection:
            (path,) = kept_media(connection)
        assert path.endswith("/photo.webp.jpg")
        public = newsroom.folder.root / "public" / path
        before = public.read_bytes()
        if change == "overwrite":
            Image.new("RGB", (1600, 1200), "red").save(content / "media" / "photo.webp")
        else:
            newsroom.item("water", title="Water, again")
        newsroom.tick(MONDAY + DAY / 24)
        assert public.read_bytes() == before
