"""`tidings sources` shows the websites that feed the newsroom."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import Run
from tests.cli.shapes import misfits
from tests.fixtures.newsroom_folder import NewsroomFolder
from tests.sources.cms.drupal.site import Drupal
from tests.sources.site import Page, Story, Website, rss
from tidings.runtime.schemas import make_schemas

PAST = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def site(folder: NewsroomFolder) -> Iterator[Website]:
    made = Website()
    made.pages["/feed"] = Page(
        rss([Story(f"s{n}", f"Story {n} of the site", published=PAST + timedelta(days=n)) for n in range(3)], made.url)
    )
    main = (folder.root / "tidings.yaml").read_text()
    source = f"sources:\n  site: {{type: feed, url: {made.url}/feed, allow_private: true}}\n"
    folder.write("tidings.yaml", main + source)
    yield made
    made.close()


def test_try_shows_items_and_stores_nothing(site: Website, run: Run) -> None:
    shown = run("sources", "try", "site").ok().out
    assert "Story 2 of the site" in shown and "3 items." in shown
    result = run("sources", "try", "site", "--json").ok().json
    assert misfits(result, make_schemas()["sources try --json"]) == []
    assert run("status", "--json").json["items"] == 0
    site.pages["/feed"] = Page(b"", 500)
    failed = run("sources", "try", "site")
    assert failed.code == 1 and "500" in failed.err and "Traceback" not in failed.err
    unknown = run("sources", "try", "sitte")
    assert unknown.code == 2 and "Did you mean 'site'" in unknown.err


def test_try_shows_the_items_of_a_drupal_site(folder: NewsroomFolder, run: Run) -> None:
    drupal = Drupal()
    try:
        drupal.node("A story of the Drupal", field_tags=drupal.term("Youth"))
        source = f"sources:\n  site: {{type: drupal, url: {drupal.url}, allow_private: true}}\n"
        folder.write("tidings.yaml", (folder.root / "tidings.yaml").read_text() + source)
        shown = run("sources", "try", "site").ok().out
        assert "A story of the Drupal" in shown and "youth" in shown and "1 item." in shown
        drupal.status = 404
        failed = run("sources", "try", "site")
        assert failed.code == 1 and "JSON:API" in failed.err
    finally:
        drupal.close()


def test_list_names_sources_that_were_never_read(site: Website, folder: NewsroomFolder, run: Run) -> None:
    main = (folder.root / "tidings.yaml").read_text()
    folder.write("tidings.yaml", main + "  cms: {type: push, token: a-token-of-this-test}\n")
    assert run("sources", "list").ok().out.splitlines() == ["site (feed): not read yet", "cms (push): 0 items"]
    full, site.pages["/feed"] = site.pages["/feed"], Page(b"", 503)
    run("sources", "sync")
    first, *_, last = run("sources", "list").ok().out.splitlines()[:-1]
    assert first == "site (feed): not read yet" and "503" in last
    site.pages["/feed"] = full
    run("sources", "sync").ok()
    assert run("sources", "list").ok().out.startswith("site (feed): 3 items\n")


def test_sync_reads_items_and_list_shows_each_sources_state(site: Website, run: Run) -> None:
    assert "3 new" in run("sources", "sync").ok().out
    result = run("sources", "sync", "--json").ok().json
    assert misfits(result, make_schemas()["sources sync --json"]) == [] and result["items"]["new"] == 0
    (row,) = run("sources", "list", "--json").ok().json
    assert misfits([row], make_schemas()["sources list --json"]) == []
    assert (row["items"], row["problem"], row["newest"]) == (3, "", "2026-03-03T00:00:00Z")
    site.pages["/feed"] = Page(b"", 503, {"Retry-After": "7200"})
    failed = run("sources", "sync")
    assert failed.code == 1 and "503" in failed.err
    assert "fails since" in run("sources", "list").ok().out
    output = run("status", "--json").json
    assert "503" in output["sources"][0]["problem"]
    assert any(problem["what"] == "source" and "sources try site" in problem["mend"] for problem in output["wrong"])
    assert misfits(output, make_schemas()["status --json"]) == []


def test_tick_reads_the_sources_that_are_due(site: Website, run: Run) -> None:
    first = run("tick", "--json").ok().json
    assert misfits(first, make_schemas()["tick --json"]) == []
    assert first["sources"]["site"]["new"] == 3 and first["items"]["new"] == 3
    assert run("tick", "--json").ok().json["sources"] == {}


def test_an_unreadable_source_is_reported_with_a_remedy(site: Website, folder: NewsroomFolder, run: Run) -> None:
    run("sources", "sync").ok()
    site.pages["/feed"] = Page(
        b'<html><head><link rel="alternate" type="application/rss+xml" href="/rss"></head></html>'
    )
    failed = run("sources", "try", "site")
    assert "published" not in failed.out and "0 items" not in failed.out
    output = " ".join(failed.err.split())
    assert output.startswith("source site: ") and output.endswith(f"not a feed; it names the feed {site.url}/rss")
    site.pages["/feed"] = Page(b"", 404)
    assert "there is nothing at this address" in run("sources", "sync").err
    (line,) = [line for line in run("status").ok().out.splitlines() if line.startswith("Source site")]
    assert "cannot be read, next try" in line and "last read" in line
    main = (folder.root / "tidings.yaml").read_text()
    folder.write("tidings.yaml", main.replace("feed, url", "feed, topics: {News: watr}, language: de, url"))
    output = " ".join(run("check").out.split())
    assert "topic 'watr' is not declared. Did you mean 'water'?" in output and ":23:" in output
    assert "source 'site': 'de' is not a language of the site" in output
    folder.write("tidings.yaml", main + "  cms: {type: push, token: abcdef}\n")
    assert "token: this is shorter than 16 characters" in run("check").out


def test_a_picture_without_alt_text_is_an_error_only_for_mail(site: Website, folder: NewsroomFolder, run: Run) -> None:
    body = '<p>One</p><img src="/well.jpg">'
    site.pages["/feed"] = Page(rss([Story("new", "News", body, published=PAST)], site.url))
    run("sources", "sync", "site").ok()
    main = (folder.root / "tidings.yaml").read_text()
    begin, end = main.index("channels:"), main.index("notify:")
    folder.write("tidings.yaml", (main[:begin] + main[end:]).replace("feed, url", "feed, backfill: 9, url"))
    ran = run("check")
    output = " ".join((ran.out + ran.err).split())
    assert output.count("well.jpg has no alt text") == 1 and "mail with it is held" in output
    assert f"under `alt`, after {site.url}/well.jpg" in output and "/new:1:1" not in output


def test_a_silent_and_an_ended_source_give_one_notice_each(site: Website, folder: NewsroomFolder, run: Run) -> None:
    stories = [Story(f"s{n}", f"Story {n} of the site", published=PAST + timedelta(hours=6) * n) for n in range(20)]
    site.pages["/feed"] = Page(rss(stories, site.url))

    def heard() -> list[str]:
        return [notice["text"] for notice in run("status", "--json").json["notices"]]

    for day in (6, 30, 31):
        with folder.runtime() as runtime:
            runtime.set_clock(PAST + timedelta(days=day))
            runtime.fetch()
        assert len(heard()) == (day > 6)
    assert "much longer than usual" in heard()[0]
    site.pages["/feed"] = Page(b"", 410)
    with folder.runtime() as runtime:
        runtime.set_clock(PAST + timedelta(days=40))
        runtime.fetch()
        runtime.fetch()
    (ended,) = [one for one in heard() if "no longer fetched" in one]
    assert "410" in ended and "Set another `url`" in ended
