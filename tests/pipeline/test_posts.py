"""What channels are asked to carry: the words meant for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.desk import DAY, HOUR, MONDAY, Desk, open_desk

POSTS = 'cadence: {daily: "09:00"}\ndeliver: [{channel: team, per: item}]\n'


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", f"sqlite:///{tmp_path / 'tidings.db'}", {"daily": POSTS}) as found:
        yield found


def said(desk: Desk) -> list[str]:
    """The bodies that the sink got."""
    return [json.dumps(json.loads(request.body), ensure_ascii=False) for request in desk.world.hook.received]


def test_the_editors_own_words_go_before_title_and_summary(desk: Desk) -> None:
    desk.item("plain", summary="In short.")
    desk.item("own", post='{team: "For the team: look at this.", mastodon: no}')
    desk.item("all", post="Everybody: read it.")
    desk.tick(MONDAY)
    posts = {name: [one for one in said(desk) if name in one] for name in ("plain", "own", "all")}
    assert [len(found) for found in posts.values()] == [1, 1, 1]
    assert "For the team: look at this." in posts["own"][0]
    assert "Everybody: read it." in posts["all"][0] and "/en/all/" in posts["all"][0]
    desk.tick(MONDAY + DAY + HOUR)
    assert len(said(desk)) == 3
