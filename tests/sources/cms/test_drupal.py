"""The Drupal source with recorded answers: items, changes, and outages without loss."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.sources.cms.drupal.site import Drupal, Refusal
from tests.sources.sources import FreshSource, MemoryFetchCache, make_source
from tidings.sources.base import FetchResult
from tidings.sources.cms import base, drupal
from tidings.sources.cms.drupal import DrupalSource
from tidings.testing.source_contract import SourceCase, SourceContract

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def site() -> Iterator[Drupal]:
    made = Drupal()
    yield made
    made.close()


def source_of(
    site: Drupal,
    cache: MemoryFetchCache | None = None,
    *,
    newsroom: tuple[str, ...] = ("en", "ru", "kk"),
    **settings: Any,
) -> DrupalSource:
    source: DrupalSource = make_source(drupal, site.url, cache, newsroom_languages=newsroom, **settings)
    return source


def fetch(source: DrupalSource, at: datetime = NOW) -> FetchResult:
    done = source.fetch(at, force=True)
    assert not done.problem, done.problem
    return done


def titles(source: DrupalSource) -> list[str]:
    return sorted(item.title for item in source.sweep(NOW).items)


class DrupalCase(SourceCase):
    remembers = True

    def __init__(self, site: Drupal) -> None:
        self._site = site
        self._ids: dict[str, str] = {}
        self.source = FreshSource(source_of(site))

    def write(self, name: str, language: str, title: str, body: str) -> None:
        path = {"alias": f"/{name}", "pid": 1, "langcode": language}
        self._site.clock += 60
        self._ids[name] = self._site.node(title, body, language, id=self._ids.get(name), path=path)

    def spoil(self, name: str, language: str) -> None:
        self.write(name, language, "", " ")

    def remove(self, name: str, language: str) -> None:
        self._site.delete(self._ids.pop(name))

    def break_down(self) -> None:
        self._site.status = 500


class TestDrupalSource(SourceContract):
    @pytest.fixture
    def case(self, site: Drupal) -> SourceCase:
        return DrupalCase(site)


# -- fields -----------------------------------------------------------------------------------------------------------


def test_a_real_drupals_answers_are_read_in_two_languages(site: Drupal) -> None:
    for name in ("recipe-en", "recipe-es", "page-en", "page-es"):
        site.take(name)
    types = {"recipe": "recipe", "page": "publication"}
    source = source_of(site, newsroom=("en", "es"), types=types, summary="field_summary")
    assert fetch(source).new == 4
    swept = {(item.kind, item.language): item for item in source.sweep(NOW).items}
    assert len(swept) == 4
    recipe = swept["recipe", "es"]
    assert recipe.title == "Quiche mediterráneo profundo"
    assert recipe.url == f"{site.url}es/recipes/quiche-mediterr%C3%A1neo-profundo"
    assert recipe.summary.startswith("Un quiche de inspiración italiana con tomates secos")
    assert recipe.body.startswith("<ol><li>Precaliente el horno a 200°C.")
    assert recipe.published == datetime(2023, 2, 17, 22, 14, 1, tzinfo=UTC)
    assert recipe.story == swept["recipe", "en"].story == "site-1"
    page = swept["publication", "en"]
    assert (page.title, page.url, page.story) == ("About Umami", f"{site.url}en/about-umami", "site-19")
    assert page.summary.startswith("Umami is a fictional food magazine")
    assert 'href="https://www.drupal.org/docs/umami-drupal-demonstration-installation-profile"' in page.body


def test_all_visible_parts_arrive(site: Drupal) -> None:
    scanned = site.medium("document", field_media_document=site.file("r.pdf", "application/pdf", description="Report"))
    photo = site.medium("image", field_media_image=site.file("forum.jpg", alt="Young people & a flag", width=768))
    site.node(
        "Youth & business",
        '<p>Said.</p><p><a href="/about">A</a></p>',
        summary="In short.",
        field_image=site.file("head.jpg", alt="A hall", title="tooltip"),
        field_media=[photo, scanned, {"type": "media--image", "id": "missing", "meta": {}}],
        field_tags=[site.term("Quality education"), site.term("Youth")],
    )
    source = source_of(site, topics={"Quality education": "sdg-4"})
    fetch(source)
    [one] = source.sweep(NOW).items
    assert (one.title, one.summary, one.kind, one.language) == ("Youth & business", "In short.", "story", "en")
    assert one.body == f'<p>Said.</p><p><a href="{site.url}about">A</a></p>'
    assert one.url == f"{site.url}en/node/101"
    assert one.topics == ("sdg-4", "youth")
    assert [(image.src, image.alt) for image in one.images] == [
        (f"{site.url}files/head.jpg", "A hall"),
        (f"{site.url}files/forum.jpg", "Young people & a flag"),
    ]
    assert [(file.src, file.title) for file in one.attachments] == [(f"{site.url}files/r.pdf", "Report")]
    assert one.backlog


def test_texts_in_other_fields_are_read(site: Drupal) -> None:
    node = site.node("A story", "<p>The body.</p>", published_at="2026-01-05T10:00:00+05:00")
    site.rows["node--article"][node]["en"]["attributes"] |= {
        "field_text": "Plain & <short>.",
        "field_long": {"value": "x", "processed": "<p>The longest of all texts.</p>"},
        "field_lead": None,
    }
    source = source_of(site, body="field_text", summary="field_lead")
    fetch(source)
    [one] = source.sweep(NOW).items
    assert (one.body, one.summary) == ("<p>Plain &amp; &lt;short&gt;.</p>", "Plain & <short>.")
    assert one.published == datetime(2026, 1, 5, 5, tzinfo=UTC)
    source = source_of(site, body="field_none", summary="field_long")
    fetch(source)
    [one] = source.sweep(NOW).items
    assert one.summary == "The longest of all texts."
    assert "The body" not in one.body


def test_a_substitute_language_is_no_translation(site: Drupal) -> None:
    both = site.node("Forum")
    site.node("Форум", language="ru", id=both)
    site.node("English alone")
    site.node("Только по-русски", language="ru")
    source = source_of(site)
    assert fetch(source).new == 4
    swept = {item.title: item for item in source.sweep(NOW).items}
    assert sorted((one.language, one.title) for one in swept.values()) == [
        ("en", "English alone"),
        ("en", "Forum"),
        ("ru", "Только по-русски"),
        ("ru", "Форум"),
    ]
    assert swept["Forum"].story == swept["Форум"].story != swept["English alone"].story


def test_a_monolingual_site_without_prefixes_is_read(site: Drupal) -> None:
    site.prefixes = {}
    site.node("A story", path={"alias": "/a-story"})
    site.node("In no language", language="und")
    source = source_of(site)
    assert fetch(source).new == 2
    swept = {item.title: item for item in source.sweep(NOW).items}
    assert swept["A story"].url == f"{site.url}a-story"
    assert swept["In no language"].language == "en"


def test_a_default_language_without_prefix_is_read(site: Drupal) -> None:
    site.prefixes = {"ru": "rus"}
    both = site.node("Forum")
    site.node("Форум", language="ru", id=both)
    source = source_of(site, prefixes={"ru": "rus"})
    assert fetch(source).new == 2
    assert {item.language: item.url for item in source.sweep(NOW).items} == {
        "en": f"{site.url}node/101",
        "ru": f"{site.url}rus/node/101",
    }


def test_links_lead_to_the_site_that_shows_the_pages(site: Drupal) -> None:
    site.node("A story", '<p>See <a href="/about">us</a></p><img src="/files/a.png" alt="A">')
    source = source_of(site, pages="https://www.example.org")
    fetch(source)
    [one] = source.sweep(NOW).items
    assert one.url == "https://www.example.org/en/node/101"
    assert 'href="https://www.example.org/about"' in one.body
    assert f'src="{site.url}files/a.png"' in one.body


# -- changes ----------------------------------------------------------------------------------------------------------


def test_only_changes_are_read(site: Drupal) -> None:
    first = site.node("Story 0")
    site.node("Story 1")
    source = source_of(site)
    assert fetch(source).new == 2
    site.clock += 86_400
    site.node("Yesterday's last")
    fetch(source)
    site.clock += 86_400
    site.node("Story 0, with an edit", "<p>After.</p>", id=first)
    site.node("Brand new")
    site.asked.clear()
    done = fetch(source)
    assert (done.new, done.changed) == (1, 1)
    swept = {item.title: item for item in source.sweep(NOW).items}
    assert swept["Story 0, with an edit"].body == "<p>After.</p>"
    assert swept["Brand new"].backlog is False
    name = "filter[changed][condition][value]"
    bounds = [int(asked[name]) for _, asked in site.asked if name in asked]
    assert bounds and all(site.clock - 2 * 86_400 < bound < site.clock for bound in bounds)


def test_all_pages_are_read_though_some_items_are_hidden(site: Drupal) -> None:
    for number in range(160):
        site.clock += 60
        node = site.node(f"Story {number}")
        if number % 8 == 7:
            site.denied.add(node)
    source = source_of(site)
    assert fetch(source).new == 140
    pages = [(path, asked["page[offset]"]) for path, asked in site.asked if path.endswith("/node/article")]
    # Russian and items without a language have nothing here, so nothing is sent.
    assert pages == [
        *(("/en/jsonapi/node/article", str(offset)) for offset in (0, 50, 100, 150)),
        ("/ru/jsonapi/node/article", "0"),
        ("/jsonapi/node/article", "0"),
    ]
    assert fetch(source, NOW + 7 * HOUR).new == 0
    site.asked.clear()
    small = source_of(site, archive="60")
    assert fetch(small).new == 60
    assert {asked.get("page[offset]", "0") for _, asked in site.asked} == {"0", "50"}
    assert all(asked["filter[status]"] == "1" for _, asked in site.asked if "sort" in asked)
    assert fetch(small, NOW + 7 * HOUR).new == 0
    assert fetch(small, NOW + timedelta(days=8)).new == 0


def test_an_overloaded_site_is_asked_for_smaller_pages(site: Drupal, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(25):
        site.node(f"Story {number}")
    listing = site._listing

    def breaks(kind: str, language: str, asked: dict[str, str]) -> dict[str, Any]:
        if int(asked["page[limit]"]) > 10:
            raise Refusal(500)
        return listing(kind, language, asked)

    monkeypatch.setattr(site, "_listing", breaks)
    assert fetch(source_of(site)).new == 25


def test_an_edit_of_an_older_item_makes_no_news(site: Drupal) -> None:
    old = site.node("From the archive")
    site.clock += 86_400
    site.node("Recent")
    source = source_of(site, archive="1")
    fetch(source)
    site.clock += 60
    site.node("From the archive, mended", id=old)
    assert fetch(source).new == 0
    assert fetch(source, NOW + 7 * HOUR).new == 0
    assert titles(source) == ["Recent"]


def test_a_later_alt_text_is_an_edit(site: Drupal) -> None:
    photo = site.medium("image", field_media_image=site.file("a.jpg", alt=""))
    site.node("With a picture", field_media=photo)
    source = source_of(site)
    fetch(source)
    assert fetch(source).changed == 0
    site.clock += 86_400
    [row] = site.rows["media--image"][photo["id"]].values()
    row["relationships"]["field_media_image"]["data"]["meta"]["alt"] = "A navy field"
    row["attributes"]["changed"] = site.moment()
    assert fetch(source).changed == 1
    [one] = source.sweep(NOW).items
    assert [image.alt for image in one.images] == ["A navy field"]
    site.asked.clear()
    fetch(source)
    name = "filter[field_media-changed][condition][value]"
    asked = [int(one[name]) for _, one in site.asked if name in one]
    assert asked and min(asked) > site.clock - 3600  # and not again and again


def test_a_site_with_hidden_media_is_read(site: Drupal, monkeypatch: pytest.MonkeyPatch) -> None:
    site.node("A story", field_media=site.medium("image", field_media_image=site.file("a.jpg", alt="A")))
    source = source_of(site)
    fetch(source)
    listing, refused = site._listing, []

    def refuses(kind: str, language: str, asked: dict[str, str]) -> dict[str, Any]:
        if any("field_media" in name for name in asked):
            refused.append(403)
            raise Refusal(403, "The current user is not authorized to filter by the `field_media` field.")
        return listing(kind, language, asked)

    monkeypatch.setattr(site, "_listing", refuses)
    site.clock += 86_400
    site.node("Another")
    assert fetch(source).new == 1
    assert refused


def test_a_late_scheduled_publication_is_noticed(site: Drupal) -> None:
    draft = site.node("Due at ten", status=False)
    due = site.clock + 3_600
    site.clock += 9_000
    site.node("Came out since")
    source = source_of(site)
    assert fetch(source).new == 1
    site.clock, late = due, site.clock
    site.node("Due at ten", id=draft, status=True)
    site.clock = late
    assert fetch(source).new == 1
    assert [item.title for item in source.sweep(NOW).items if not item.backlog] == ["Due at ten"]


def test_added_and_removed_fields_are_noticed(site: Drupal) -> None:
    node = site.node("A story", field_tags=site.term("Youth"))
    source = source_of(site)
    fetch(source)
    site.clock += 86_400
    for row in site.rows["node--article"][node].values():
        del row["relationships"]["field_tags"]
    site.node("A story", id=node, field_topics=[site.term("Health")])
    fetch(source)
    [one] = source.sweep(NOW).items
    assert one.topics == ("health",)


def test_a_language_added_later_is_no_news(site: Drupal) -> None:
    del site.prefixes["ru"]
    node = site.node("Forum")
    source = source_of(site)
    fetch(source)
    site.prefixes["ru"] = "ru"
    site.node("Форум", language="ru", id=node)
    fetch(source, NOW + HOUR)
    assert titles(source) == ["Forum"]
    fetch(source, NOW + 7 * HOUR)
    assert titles(source) == ["Forum", "Форум"]
    assert all(item.backlog for item in source.sweep(NOW).items)


# -- removed items and outages ----------------------------------------------------------------------------------------


def test_an_item_goes_when_confirmed_and_can_return(site: Drupal) -> None:
    deleted, withdrawn, both, _ = (site.node(f"Story {number}") for number in range(4))
    site.node("История 2", language="ru", id=both)
    source = source_of(site)
    fetch(source)
    site.delete(deleted)
    site.node("Story 1", id=withdrawn, status=False)
    site.delete(both, "ru")
    at = NOW + 7 * HOUR
    fetch(source, at)
    fetch(source, at + HOUR / 2)
    assert len(titles(source)) == 5
    fetch(source, at + HOUR)
    assert titles(source) == ["Story 2", "Story 3"]
    # 404 and 403. For the lost translation, the site shows the page in English instead.
    site.clock += 86_400
    site.node("Story 1", id=withdrawn, status=True)
    fetch(source, at + 3 * HOUR)
    assert titles(source) == ["Story 1", "Story 2", "Story 3"]


def test_an_item_missing_only_in_listings_stays(site: Drupal, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = site.node("Hidden from listings")
    site.node("Another")
    source = source_of(site)
    fetch(source)
    find_items = site._found
    monkeypatch.setattr(site, "_found", lambda kind, asked: [one for one in find_items(kind, asked) if one != hidden])
    fetch(source, NOW + 7 * HOUR)
    fetch(source, NOW + 8 * HOUR)
    assert titles(source) == ["Another", "Hidden from listings"]
    assert any(path.endswith(hidden) for path, _ in site.asked)


def test_all_items_that_one_listing_missed_go_together(site: Drupal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_CHECKS", 4)
    nodes = [site.node(f"Story {number:02}") for number in range(30)]
    source = source_of(site, newsroom=("en",))
    fetch(source)
    site.denied.update(nodes[:10])
    find_items, hidden = site._found, sorted(nodes[10:])[0]
    monkeypatch.setattr(site, "_found", lambda kind, asked: [one for one in find_items(kind, asked) if one != hidden])
    at = NOW + 7 * HOUR
    counts = []
    for quarter in range(9):
        fetch(source, at + quarter * HOUR / 4)
        counts.append(len(titles(source)))
    # They are asked for four at a time, beginning an hour after the look. One of the eleven answers.
    assert counts == [30] * 6 + [20] * 3
    assert sum(path.count("/") > 4 for path, _ in site.asked) == 11


def test_an_outage_loses_nothing(site: Drupal) -> None:
    kept = [site.node(f"Story {number}") for number in range(3)]
    source = source_of(site)
    fetch(source)
    site.status = 503
    done = source.fetch(NOW + HOUR, force=True)
    assert "503" in done.problem
    assert len(titles(source)) == 3
    site.clock = int(NOW.timestamp())
    for number in range(60):
        site.clock += 3_600
        site.node(f"Written in the outage {number}")
    site.node("Edited in the outage", id=kept[0])
    site.delete(kept[1])
    site.status = 200
    done = fetch(source, NOW + 72 * HOUR)
    assert (done.new, done.changed) == (60, 1)
    assert not any(item.backlog for item in source.sweep(NOW).items if "Written" in item.title)
    fetch(source, NOW + 74 * HOUR)
    assert len(titles(source)) == 62
    assert "Story 1" not in titles(source)


def test_a_failing_language_removes_nothing(site: Drupal) -> None:
    site.node("Форум", language="ru")
    source = source_of(site)
    fetch(source)
    del site.prefixes["ru"]
    for hours in (7, 8, 9):
        assert "404" in source.fetch(NOW + hours * HOUR, force=True).problem
    assert titles(source) == ["Форум"]


def test_an_edit_during_reading_loses_no_item(site: Drupal, monkeypatch: pytest.MonkeyPatch) -> None:
    site.node("Before")
    source = source_of(site, newsroom=("en",))
    fetch(source)
    nodes = []
    for number in range(60):
        site.clock += 3_600  # further apart than the period that is always read again
        nodes.append(site.node(f"Story {number}"))
    listing, edited = site._listing, []

    def edits_meanwhile(kind: str, language: str, asked: dict[str, str]) -> dict[str, Any]:
        listed = listing(kind, language, asked)
        if "next" in listed["links"] and "include" not in asked and not edited:
            site.clock += 600
            edited.extend(
                site.node(f"{word}, edited", id=node) for word, node in (("First", nodes[0]), ("Last", nodes[-1]))
            )
        return listed

    monkeypatch.setattr(site, "_listing", edits_meanwhile)
    fetch(source)
    assert len(edited) == 2
    fetch(source)
    assert titles(source) == sorted(
        ["Before", "First, edited", "Last, edited", *(f"Story {number}" for number in range(1, 59))]
    )


def test_a_trial_shows_the_newest_and_saves_nothing(site: Drupal) -> None:
    for number in range(30):
        site.clock += 60
        site.node(f"Story {number}", field_tags=[site.term("Youth")])
    cache = MemoryFetchCache()
    swept = source_of(site, cache).try_fetch(NOW).items
    assert {one.title for one in swept} == {f"Story {number}" for number in range(10, 30)}
    assert all(one.topics == ("youth",) for one in swept)
    assert cache.version() == 0


# -- error messages and hostile answers -------------------------------------------------------------------------------


def test_a_missing_type_or_api_is_reported_with_advice(site: Drupal, monkeypatch: pytest.MonkeyPatch) -> None:
    done = source_of(site, types={"pres": "press-release"}).fetch(NOW, force=True)
    assert "has no type 'pres'" in done.problem
    assert "article, page, recipe" in done.problem
    done = source_of(site, api="api").fetch(NOW, force=True)
    assert "404" in done.problem
    assert "Switch on the module JSON:API" in done.problem
    site.node("A story")
    monkeypatch.setattr(site, "answer", lambda path, asked: "no document")
    assert "has no type" in source_of(site).fetch(NOW, force=True).problem


@pytest.mark.parametrize(
    "href",
    [
        "https://evil.example/jsonapi/node/article?page%5Boffset%5D=0",
        "https://evil.example/?page[offset]=99999999999999",
        "/node/article?page%5Bcursor%5D=abc",
        "http://[",
        "x" * 100_000,
    ],
)
def test_an_endless_listing_is_refused(site: Drupal, monkeypatch: pytest.MonkeyPatch, href: str) -> None:
    site.node("A story")
    listing = site._listing
    monkeypatch.setattr(site, "_listing", lambda *asked: listing(*asked) | {"links": {"next": {"href": href}}})
    done = source_of(site).fetch(NOW, force=True)
    assert "in a way that Drupal does not" in done.problem
    assert len(site.asked) < 10


def test_nonsense_answers_are_survived(site: Drupal, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = site.file("a.jpg")
    site.rows["file--file"][nowhere["id"]]["en"]["attributes"]["uri"]["url"] = "http://["
    site.node("A story", field_image=nowhere)
    listing = site._listing
    nodes: list[Any] = [
        None,
        "x",
        {"type": "node--article", "id": "../../user/login?x", "attributes": {"langcode": "en", "title": "Login"}},
        {"type": "node--article", "id": str(uuid.uuid4()), "attributes": [], "relationships": 7},
        {"type": "node--article", "id": str(uuid.uuid4()), "attributes": {"langcode": "en", "title": {"a": 1}}},
        {
            "type": "node--article",
            "id": str(uuid.uuid4()),
            "attributes": {
                "langcode": "en", "title": "Odd", "created": "0001-01-01T00:00:00+14:00", "changed": 7,
                "body": {"processed": "<script>x()</script>ok"}, "path": {"alias": 5},
                "drupal_internal__nid": {"a": "b"},
            },
            "relationships": {
                "a&include=uid": {"data": {"type": "file--file", "id": "1"}},
                "field_ok": {"data": [None, 3, {"type": "file--file", "id": ["x"], "meta": []}]},
                **{f"field_{number}": {"data": {"type": "taxonomy_term--t", "id": "1"}} for number in range(500)},
            },
        },
    ]  # fmt: skip

    def nonsense(kind: str, language: str, asked: dict[str, str]) -> dict[str, Any]:
        listed = listing(kind, language, asked | {"include": "field_image"})
        odd = [{"id": 7}, 8, {"type": []}]
        return {"data": [*listed["data"], *nodes], "links": [], "included": [*listed["included"], *odd]}

    monkeypatch.setattr(site, "_listing", nonsense)
    source = source_of(site, newsroom=("en",))
    fetch(source)
    assert titles(source) == ["A story", "Odd"]
    odd = next(item for item in source.sweep(NOW).items if item.title == "Odd")
    assert (odd.url, odd.body, odd.published) == (None, "ok", None)
    assert odd.story == f"site-{nodes[-1]['id']}"
    asked = [one.get("include", "") for _, one in site.asked]
    assert all(one.count(",") < 40 and "uid" not in one for one in asked)
    assert all("login" not in path for path, _ in site.asked)


def test_a_site_without_related_resources_is_reported(site: Drupal, monkeypatch: pytest.MonkeyPatch) -> None:
    site.node("A story", field_tags=site.term("Youth"))
    listing = site._listing

    def refuses(kind: str, language: str, asked: dict[str, str]) -> dict[str, Any]:
        if "include" in asked:
            raise Refusal(400)
        return listing(kind, language, asked)

    monkeypatch.setattr(site, "_listing", refuses)
    done = source_of(site).fetch(NOW, force=True)
    assert "does not return the related resources" in done.problem
