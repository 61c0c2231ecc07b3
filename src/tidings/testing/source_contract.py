"""The suite that every source passes. For a new source, subclass `SourceContract` in a test and give it a `case`.

class TestMySource(SourceContract):
    @pytest.fixture
    def case(self, tmp_path):
        return MyCase(tmp_path)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tidings.sources.base import Source, Sweep

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
HOSTILE = (
    '<p onclick="x()" style="position:fixed">A <a href="javascript:x()">link</a> <a href="/about me">about</a>'
    ' <img src="/pictures/при вет.jpg" alt="A picture"></p><script>x()</script><iframe src="https://e.example/"></iframe>'
    "<svg onload=x()><circle/></svg><math><mi>x</mi></math>"
)
_FORBIDDEN = {"script", "iframe", "svg", "math", "style", "form", "object", "embed", "link", "meta", "base"}


class SourceCase(ABC):
    """One source over content that the suite changes. Texts are plain; `body` is HTML."""

    source: Source
    remembers: bool = False
    """Whether it keeps items in a cache (`sources.base.FetchingSource`). Absence or an outage then removes no item."""

    @abstractmethod
    def write(self, name: str, language: str, title: str, body: str) -> None:
        """Create or replace an item, so that a sweep finds it under this name and language."""

    @abstractmethod
    def spoil(self, name: str, language: str) -> None:
        """Damage an item so that it is set aside."""

    @abstractmethod
    def remove(self, name: str, language: str) -> None:
        """Remove an item."""

    @abstractmethod
    def break_down(self) -> None:
        """Make the whole source unreadable."""


class SourceContract(ABC):
    """The suite."""

    @pytest.fixture
    @abstractmethod
    def case(self, tmp_path: Path) -> SourceCase:
        """Make a new, empty source. Its languages are en and ru."""

    def test_an_empty_source_is_readable(self, case: SourceCase) -> None:
        assert case.source.sweep(NOW) == Sweep(())

    def test_a_sweep_returns_all_items(self, case: SourceCase) -> None:
        case.write("youth-forum", "en", 'Youth: "Forum" & more', "<p>One</p>")
        case.write("youth-forum", "ru", "Форум молодёжи", "<p>Два</p>")
        by_language = {item.language: item for item in case.source.sweep(NOW).items}
        assert by_language["en"].title == 'Youth: "Forum" & more'
        assert "<p>One</p>" in by_language["en"].body
        assert by_language["ru"].title == "Форум молодёжи"
        assert by_language["ru"].name == by_language["en"].name
        assert by_language["en"].ref != by_language["ru"].ref

    def test_the_same_content_twice_is_the_same(self, case: SourceCase) -> None:
        case.write("a", "en", "A", HOSTILE)
        assert case.source.sweep(NOW) == case.source.sweep(NOW.replace(year=2027))

    def test_the_fingerprint_goes_by_content_not_by_place(self, case: SourceCase) -> None:
        case.write("a", "en", "A", "<p>One</p>")
        case.write("b", "en", "A", "<p>One</p>")
        first, second = case.source.sweep(NOW).items
        assert first.fingerprint == second.fingerprint or first.url != second.url
        assert len(first.fingerprint) == 64
        case.write("b", "en", "A", "<p>Two</p>")
        prints = {item.name: item.fingerprint for item in case.source.sweep(NOW).items}
        assert prints["a"] == first.fingerprint != prints["b"]

    def test_bodies_are_safe_and_links_are_absolute(self, case: SourceCase) -> None:
        case.write("a", "en", "A", HOSTILE)
        [one] = case.source.sweep(NOW).items
        seen = _Seen()
        seen.feed(one.body)
        assert not seen.tags & _FORBIDDEN
        assert not {name for name in seen.attributes if name.startswith("on")}
        assert "style" not in seen.attributes
        assert seen.addresses
        for address in seen.addresses:
            assert urlsplit(address).scheme in ("http", "https")
            assert address.isascii()
            assert " " not in address

    def test_texts_have_no_characters_that_break_feeds(self, case: SourceCase) -> None:
        case.write("a", "en", "A\x0bB", "<p>C\x0cD&#11;E\ufffe</p>")
        [one] = case.source.sweep(NOW).items
        assert one.title == "AB"
        assert not any(character < " " and character not in "\n\t" for character in one.title + one.body + one.summary)
        assert "\ufffe" not in one.body

    def test_a_bad_item_is_set_aside_and_others_are_read(self, case: SourceCase) -> None:
        case.write("a", "en", "A", "<p>One</p>")
        case.write("b", "en", "B", "<p>Two</p>")
        case.spoil("a", "en")
        sweep = case.source.sweep(NOW)
        assert [item.name for item in sweep.items] == ["b"]
        assert sweep.is_readable
        [ref] = sweep.set_aside
        problem = next(problem for problem in sweep.problems if problem.level == "error")
        assert problem.file == ref
        assert problem.line >= 1
        assert problem.message
        assert problem.mend
        case.write("a", "en", "A", "<p>One</p>")
        assert not case.source.sweep(NOW).set_aside

    def test_a_removed_item_is_absent(self, case: SourceCase) -> None:
        case.write("a", "en", "A", "<p>One</p>")
        assert case.source.sweep(NOW).items
        case.remove("a", "en")
        assert bool(case.source.sweep(NOW).items) == case.remembers

    def test_an_unreadable_source_removes_nothing(self, case: SourceCase) -> None:
        case.write("a", "en", "A", "<p>One</p>")
        before = case.source.sweep(NOW)
        case.break_down()
        sweep = case.source.sweep(NOW)
        if case.remembers:
            assert sweep == before
            return
        assert not sweep.is_readable
        assert not sweep.items
        assert sweep.problems
        assert sweep.problems[0].mend

    def test_watched_folders_exist(self, case: SourceCase) -> None:
        assert all(path.is_dir() for path in case.source.watch_paths())


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]
