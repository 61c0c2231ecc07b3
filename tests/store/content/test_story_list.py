"""Stories are listed with all their versions, by filters and in pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.items import open_store, put
from tests.render.samples import START, item
from tidings.store.content.story_list import find_stories, list_kinds
from tidings.store.engine import Store

NOW = START.replace(month=8)


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(database_url, tmp_path)
    put(
        opened,
        item(1, title="A well"),
        item(2, language="ru", story="story-1", slug="kolodets", title="Колодец", draft=True),
        item(3, kind="press-release", title="100% of_it", withdrawn="Published in error."),
    )
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("filters", "stories"),
    [
        ({}, {"story-1", "story-3"}),
        ({"story": "story-1"}, {"story-1"}),
        ({"text": "колодец"}, {"story-1"}),
        ({"text": "0% of_"}, {"story-3"}),
        ({"text": "_"}, {"story-3"}),
        ({"language": "ru"}, {"story-1"}),
        ({"kind": "press-release"}, {"story-3"}),
        ({"state": "draft"}, {"story-1"}),
        ({"state": "withdrawn"}, {"story-3"}),
        ({"state": "waiting"}, set()),
    ],
)
def test_a_story_is_found_if_one_version_fits(store: Store, filters: dict[str, str], stories: set[str]) -> None:
    with store.read() as connection:
        listed = find_stories(connection, NOW, **filters)  # type: ignore[arg-type]
    assert {versions[0].story for versions in listed} == stories


def test_stories_come_in_pages_with_all_their_languages(store: Store) -> None:
    with store.read() as connection:
        pages = [find_stories(connection, NOW, offset=offset, most=1) for offset in (0, 1, 2)]
        assert list_kinds(connection) == ["press-release", "story"]
    assert [len(page) for page in pages] == [1, 1, 0]
    languages = {versions[0].story: [version.language for version in versions] for page in pages for versions in page}
    assert languages == {"story-1": ["en", "ru"], "story-3": ["en"]}
