"""Feeds of common website generators: titles, dates, languages, absolute links and alt texts are read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from feedgen.feed import FeedGenerator

from tests.sources.site import Page, Website
from tests.sources.web.test_feed import source_of
from tidings.sources.base import SourceItem

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
FILES = sorted(path for path in (Path(__file__).parent / "generated").iterdir() if path.suffix != ".md")


def read(site: Website, body: bytes, name: str = "feed") -> dict[str, SourceItem]:
    site.pages[f"/{name}"] = Page(body)
    source = source_of(f"{site.url}/{name}", language=None)
    assert source.fetch(NOW).problem == ""
    assert source.fetch(NOW, force=True).new == 0
    return {item.name.rpartition("-")[0]: item for item in source.sweep(NOW).items}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_output_of_a_generator_is_read(site: Website, file: Path) -> None:
    items = read(site, file.read_bytes())
    assert set(items) == {"forum", "second"}
    forum, second = items["forum"], items["second"]
    assert forum.title in ("Форум: «Вода & жизнь» <2026>", "Форум: «Вода & жизнь»")
    assert second.title == "A second story"
    assert (forum.published, second.published) == (
        datetime(2026, 3, 1, 4, tzinfo=UTC),
        datetime(2026, 3, 2, 4, tzinfo=UTC),
    )
    host = f"https://{file.stem}.example"
    assert forum.url is not None and forum.url.startswith(f"{host}/")
    assert "Шестьдесят посёлков провели воду." in forum.body
    if file.name != "hugo.rss":  # which only gives summaries
        assert f'href="{host}/about/"' in forum.body
        assert [(image.src, image.alt) for image in forum.images] == [(f"{host}/media/well.jpg", "Девочка у колодца")]
    if file.stem in ("hugo", "nikola", "eleventy"):
        assert forum.language == "ru"
    if file.stem in ("pelican", "nikola"):
        assert "water" in forum.topics


@pytest.mark.parametrize("form", ["rss", "atom"])
def test_the_output_of_feedgen_is_read(site: Website, form: str) -> None:
    made = FeedGenerator()
    made.id("https://feedgen.example/")
    made.title("Аул и степь")
    made.link(href="https://feedgen.example/", rel="alternate")
    made.description("News")
    made.language("ru")
    entry = made.add_entry(order="append")
    entry.id("urn:uuid:1")
    entry.title("Форум: «Вода & жизнь» <2026>")
    entry.link(href="https://feedgen.example/forum")
    entry.content('<p>Text. <a href="/about/">More</a></p>', type="html" if form == "atom" else "CDATA")
    entry.published(datetime(2026, 3, 1, 4, tzinfo=UTC))
    entry.updated(datetime(2026, 3, 1, 4, tzinfo=UTC))
    items = read(site, made.rss_str() if form == "rss" else made.atom_str())
    assert (items["forum"].title, items["forum"].language) == ("Форум: «Вода & жизнь» <2026>", "ru")
    assert 'href="https://feedgen.example/about/"' in items["forum"].body
