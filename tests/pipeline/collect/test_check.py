"""`tidings check` of items: the result does not depend on what the store already knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image as Picture

from tests.fixtures.newsroom import MONDAY
from tidings.model.errors import Problem
from tidings.pipeline.collect.check import check_items
from tidings.pipeline.collect.sweep import collect
from tidings.runtime.newsroom import load_newsroom, make_sources
from tidings.sources.folder import source as folder
from tidings.store.engine import Store

MAIN = """\
site: {title: Steppe, url: https://news.example.org/, languages: [en, ru], timezone: UTC, address: Aktau}
topics: {water: Water}
mail: {host: 127.0.0.1, security: none}
lists: {digest: {name: Digest, from: Steppe <news@example.org>}}
"""
FILES = {
    "plain.en.md": "title: Plain\ntopics: [water]",
    "names.en.md": "title: Names\ntopics: [watr]\nnot_in: [digestt]\nkind: evnt",
    "date.ru.md": "title: Без даты\nkind: event",
    "left.en.md": "title: Lorem ipsum\nsummary: TODO",
    "draft.en.md": "title: Lorem ipsum\ndraft: true",
    "key.en.md": "title: Key\nembago: 2026-01-01",
    "alt.ru.md": "title: Фото\nimages: [{src: a.png}]",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folder, "_RECENT", -1)
    (tmp_path / "tidings.yaml").write_text(MAIN)
    (tmp_path / "content").mkdir()
    for name, fields in FILES.items():
        (tmp_path / "content" / name).write_text(f"---\n{fields}\n---\nSee ![](a.png) [insert name]\n")
    Picture.new("RGB", (40, 40)).save(tmp_path / "content" / "a.png")
    (tmp_path / "content" / "notes.docx").write_bytes(b"x")
    return tmp_path


def check(root: Path, store: Store | None) -> list[Problem]:
    newsroom = load_newsroom(root).newsroom
    assert newsroom is not None
    return list(check_items(newsroom, make_sources(newsroom, store), store))


def collect_all(root: Path, store: Store) -> None:
    newsroom = load_newsroom(root).newsroom
    assert newsroom is not None
    collect(store, make_sources(newsroom, store), now=MONDAY, url=newsroom.site.url)


def test_check_reads_again_only_what_changed(store: Store, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 10,000 stories it took 36 seconds, because it read each of them."""
    first = check(root, None)
    assert len(first) > len(FILES)
    assert check(root, store) == first
    collect_all(root, store)
    (root / "content" / "plain.en.md").write_text("---\ntitle: Plain\ntopics: [wind]\n---\nx\n")
    (root / "content" / "left.en.md").unlink()
    without_store = check(root, None)
    read: list[str] = []
    real = folder.read_document
    monkeypatch.setattr(folder, "read_document", lambda *rest: read.append(rest[1]) or real(*rest))
    assert check(root, store) == without_store != first
    assert read == ["content/plain.en.md"]


def test_check_sees_a_picture_that_vanished(store: Store, root: Path) -> None:
    """The stories that show it have not changed."""
    collect_all(root, store)
    before = check(root, store)
    (root / "content" / "a.png").unlink()
    assert check(root, store) == check(root, None) != before


def test_new_settings_hold_for_stories_that_did_not_change(store: Store, root: Path) -> None:
    collect_all(root, store)
    (root / "tidings.yaml").write_text(MAIN.replace("water: Water", "wind: Wind") + "gates: {leftovers: 'off'}\n")
    problems = check(root, store)
    assert problems == check(root, None)
    assert [problem.file for problem in problems if "'water' is not declared" in problem.message] == [
        "content/plain.en.md"
    ]
    assert not [problem for problem in problems if "draft" in problem.message]
