"""A website hides its pages from everybody: nothing changes until a person accepts it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from tests.cli.conftest import Run
from tests.conftest import missing
from tests.fixtures.newsroom_folder import NewsroomFolder, make_newsroom_folder
from tests.sources.cms.drupal.site import Drupal
from tests.sources.cms.wordpress import WordPress, lacking
from tidings.runtime.monitoring.status import status
from tidings.runtime.newsroom import Runtime
from tidings.runtime.tick import tick

START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=9)
HOUR = timedelta(hours=1)
STORIES = 12


class Site(Protocol):
    """The editors of a website. A page that they hide answers 401 or 403."""

    kind: str
    url: str

    def take_away(self) -> None: ...
    def bring_back(self) -> None: ...
    def write(self, title: str) -> None: ...


class DrupalSite:
    kind = "drupal"

    def __init__(self, made: Drupal) -> None:
        self._made = made
        self.url = made.url
        made.clock = int(START.timestamp()) - 30 * 86_400
        self._nodes = [made.node(f"Story {number}") for number in range(STORIES)]

    def take_away(self) -> None:
        self._made.denied.update(self._nodes)

    def bring_back(self) -> None:
        self._made.denied.clear()

    def write(self, title: str) -> None:
        self._made.clock = int(START.timestamp()) + 20 * 3_600
        self._made.node(title)


class WordPressSite:
    kind = "wordpress"

    def __init__(self, made: WordPress) -> None:
        self._made = made
        self.url = made.url
        made.do(("clean", []))
        self._posts = [made.post(f"Story {number}") for number in range(STORIES)]
        made.do(("age", [40]))

    def take_away(self) -> None:
        self._all("private")

    def bring_back(self) -> None:
        self._all("publish")

    def write(self, title: str) -> None:
        self._made.post(title)

    def _all(self, status: str) -> None:
        self._made.do(*(("wp_update_post", [{"ID": post, "post_status": status}]) for post in self._posts))


@pytest.fixture(params=["drupal", pytest.param("wordpress", marks=pytest.mark.slow)])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    if request.param == "wordpress" and (what := lacking()):
        missing(what)
    made = Drupal() if request.param == "drupal" else WordPress()
    try:
        if isinstance(made, WordPress):
            made.start()
            yield WordPressSite(made)
        else:
            yield DrupalSite(made)
    finally:
        made.close() if isinstance(made, Drupal) else made.stop()


@pytest.fixture
def folder(tmp_path: Path, site: Site, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[NewsroomFolder]:
    with make_newsroom_folder(tmp_path / "newsroom", database_url) as folder:
        for name, value in folder.env.items():
            monkeypatch.setenv(name, value)
        main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
        setting = f"  site: {{type: {site.kind}, url: {site.url}, every: 1h, language: en, allow_private: true}}\n"
        folder.write("tidings.yaml", f"{main}sources:\n{setting}")
        yield folder


def live(runtime: Runtime, first: int, last: int) -> list[str]:
    """Play hours of fetches and ticks. Returns the problems at the end, in the words of `status`."""
    for hour in range(first, last):
        runtime.set_clock(START + hour * HOUR)
        assert not any(one.problem for one in runtime.fetch().values())
        tick(runtime, START + hour * HOUR)
    return [str(problem["text"]) for problem in status(runtime, runtime.now())["wrong"] if problem["what"] == "source"]


def standing(runtime: Runtime) -> int:
    return int(status(runtime, runtime.now())["items"])


@pytest.mark.slow
def test_a_person_is_asked_before_hidden_pages_are_removed(folder: NewsroomFolder, site: Site, run_in: Run) -> None:
    with folder.runtime() as runtime:
        assert live(runtime, 0, 2) == []
        assert standing(runtime) == STORIES
        site.take_away()
        [wrong] = live(runtime, 2, 20)
        assert "12 of 12 items of the source 'site' vanished at once" in wrong and "sweep --accept" in wrong
        assert standing(runtime) == STORIES
        assert told(folder) == 1
        # Items that were removed by mistake come back. A second mistake gives a new notice.
        site.bring_back()
        site.write("Since then")
        assert live(runtime, 20, 30) == []
        assert standing(runtime) == STORIES + 1
        site.take_away()
        assert len(live(runtime, 30, 40)) == 1
        assert told(folder) == 2
    done = run_in(folder.root, "sweep")
    assert done.code == 2 and "sweep --accept" in done.err
    assert "12 gone" in run_in(folder.root, "sweep", "--accept").ok().out
    with folder.runtime() as runtime:
        assert standing(runtime) == 1


def told(folder: NewsroomFolder) -> int:
    mails = [mail for mail in folder.mails.received if mail.recipient == "comms@example.org"]
    return sum("vanished at once" in mail.text for mail in mails)
