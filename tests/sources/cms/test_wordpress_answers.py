"""Answers of a WordPress that plugins have changed (WP-API#867)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.acceptance.test_whole_cms import Routes, json_page
from tests.sources.site import Website
from tests.sources.sources import make_source
from tidings.sources.cms import wordpress

NOW = datetime(2026, 3, 2, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("author", {"id": 7, "name": "Ada"}), ("author", None), ("author", True), ("author", "7"), ("author", 1.5),
        ("featured_media", []), ("featured_media", {"id": 9}), ("title", "Wells"), ("content", "<p>Clean water.</p>"),
        ("excerpt", []), ("categories", {"5": "Water"}), ("date_gmt", 0), ("link", None),
    ],
)  # fmt: skip
def test_an_odd_field_of_wordpress_loses_no_post(field: str, value: object) -> None:
    site = Website()
    post = {
        "id": 1, "date_gmt": "2026-03-01T02:00:00", "modified_gmt": "2026-03-01T02:00:00", "link": f"{site.url}/1/",
        "title": {"rendered": "Wells"}, "excerpt": {"rendered": ""}, "content": {"rendered": "<p>Clean water.</p>"},
        "author": 0, "featured_media": 0, "categories": [],
    }  # fmt: skip
    posts = [post | {field: value}, post | {"id": 2, "link": f"{site.url}/2/"}]
    wp = "/wp-json/wp/v2/"
    answers = {f"{wp}posts": posts, f"{wp}types": {"post": {"slug": "post", "rest_base": "posts", "taxonomies": []}}}
    site.pages = Routes({path: json_page(answer) for path, answer in answers.items()})
    source = make_source(wordpress, site.url, language="en")
    done = source.fetch(NOW, force=True)
    items = source.sweep(NOW).items
    site.close()
    assert (done.problem, [item.title for item in items]) == ("", ["Wells", "Wells"])
    assert {item.body for item in items} == {"<p>Clean water.</p>"}
    assert [item.authors for item in items if item.authors] == (
        [("Ada",)] if isinstance(value, dict) and "name" in value else []
    )
