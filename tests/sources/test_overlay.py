"""The editor's hand on what a website tells, without a copy of the story."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.sources.site import Page, Story, Website, rss
from tests.sources.test_feed import MemoryShelf
from tidings.sources.base import SourceContext
from tidings.sources.feed import FeedSource, Settings
from tidings.sources.overlay import Overlay, read_overlay

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
WRITTEN = """\
lead: true
not_in: [digest, team]
topics: [sdg-4]
post: {team: Our own words., mastodon: Others.}
alt:
  SITE/a.jpg: A girl reads in a library
"""


@pytest.fixture
def site() -> Iterator[Website]:
    made = Website()
    body = f'<p>One</p><img src="{made.url}/a.jpg">'
    told = [Story(f"12-{name}", f"Forum {name}", body, language=name, topics=("News",)) for name in ("en", "ru")]
    made.pages["/feed"] = Page(rss(told, made.url))
    yield made
    made.close()


def test_an_overlay_lies_over_every_translation_and_goes_as_it_came(site: Website, tmp_path: Path) -> None:
    context = SourceContext("site", tmp_path, "https://n.example/", ("en", "ru"), ZoneInfo("UTC"), MemoryShelf())
    written = {"type": "feed", "url": f"{site.url}/feed", "story": r"/(\d+)-", "allow_private": True}
    source = FeedSource(Settings.model_validate(written), context)
    source.fetch(NOW)
    before = source.sweep(NOW)
    file = tmp_path / "content" / "overlay" / "12.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(WRITTEN.replace("SITE", site.url), encoding="utf-8")
    for one, plain in zip(source.sweep(NOW).found, before.found, strict=True):
        assert (one.lead, one.not_in, one.topics) == (True, ("digest", "team"), ("sdg-4",))
        assert one.post == {"team": "Our own words.", "mastodon": "Others."}
        assert [image.alt for image in one.images] == ["A girl reads in a library"]
        assert one.fingerprint != plain.fingerprint and one.ref == plain.ref
    file.write_text("lead: maybe\nembargo: 2026\n", encoding="utf-8")
    said = [str(problem) for problem in source.sweep(NOW).problems if problem.file == "content/overlay/12.yaml"]
    assert len(said) == 2 and "12.yaml:1:7" in said[1] and "no key `embargo`" in said[0]
    file.unlink()
    assert source.sweep(NOW) == before


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", b"[1, 2]", b"- a", b"lead: [x]", b"post: {a: [b]}", b"a: &x 1\nb: *x", b"{"]
)
def test_what_is_no_overlay_is_said_and_changes_nothing(raw: bytes) -> None:
    overlay, problems = read_overlay(raw, "o.yaml")
    assert overlay == Overlay() or overlay.post == {}
    assert bool(problems) == (raw not in (b"", b"post: {a: [b]}"))
