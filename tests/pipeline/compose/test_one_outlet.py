"""Send an edition to one list or channel alone, and send a refused delivery again after the cause is removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run, run_in
from tests.fixtures.newsroom import DAY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.model.errors import RefusedError
from tidings.store.delivery import ledger
from tidings.testing.http_sink import Step

__all__ = ["run_in"]

BOTH = """cadence: {daily: "09:00"}
deliver: [{list: digest, frequency: daily}, {channel: desk, per: item}]
"""


@pytest.fixture
def newsroom(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": BOTH}, public=False) as opened:
        yield opened


def _posted(newsroom: RunningNewsroom) -> list[tuple[str, str]]:
    return [(entry.story, str(entry.state)) for entry in newsroom.entries_of("desk") if entry.story]


def _send(newsroom: RunningNewsroom, only: str, *stories: str) -> None:
    daily = newsroom.runtime.newsroom.schedules["daily"]
    composed = newsroom.runtime.composer.compose(daily, newsroom.now, stories=stories, only=only)
    assert composed is not None and composed.edition is not None, composed
    newsroom.runtime.deliver()


def _resolve(newsroom: RunningNewsroom, number: int, how: str) -> None:
    with newsroom.runtime.store.write() as connection:
        ledger.resolve(connection, number, how, newsroom.now)  # type: ignore[arg-type]


def test_a_channel_alone_gets_it_and_the_list_later(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(MONDAY - HOUR)
    _send(newsroom, "channel:desk")
    assert _posted(newsroom) == [("one", "accepted")]
    assert newsroom.read(ada) == []
    # Nothing new is published. The readers still get the story at their slot, and the channel gets it only once.
    newsroom.tick(MONDAY)
    assert newsroom.read(ada) == [["one"]]
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(ada) == [["one"]]
    assert _posted(newsroom) == [("one", "accepted")]


def test_a_list_alone_gets_it_and_the_channel_later(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.tick(MONDAY)
    newsroom.item("one")
    newsroom.tick(MONDAY + HOUR)
    _send(newsroom, "list:digest")
    assert newsroom.read(ada) == [["one"]] and _posted(newsroom) == []
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(ada) == [["one"]] and _posted(newsroom) == [("one", "accepted")]


def test_a_refused_post_goes_again_to_its_channel_alone(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.folder.hook.plan[:] = [Step(400, b"invalid_payload")]
    newsroom.item("one")
    newsroom.tick(MONDAY)
    assert _posted(newsroom) == [("one", "rejected")]
    newsroom.folder.hook.plan[:] = [Step()]
    # No later edition sends it automatically.
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    assert _posted(newsroom) == [("one", "rejected"), ("two", "accepted")]
    _send(newsroom, "channel:desk")
    assert _posted(newsroom) == [("one", "rejected"), ("two", "accepted"), ("one", "accepted")]
    assert newsroom.read(ada) == [["one"], ["two"]]
    number = newsroom.entries_of("desk")[0].id
    with pytest.raises(RefusedError, match="would go out twice"):
        _resolve(newsroom, number, "resend")


def test_a_refused_delivery_goes_again_after_the_mend(newsroom: RunningNewsroom) -> None:
    newsroom.folder.hook.plan[:] = [Step(400, b"invalid_payload")]
    newsroom.item("one")
    newsroom.tick(MONDAY)
    newsroom.folder.hook.plan[:] = [Step()]
    (entry,) = [entry for entry in newsroom.entries_of("desk") if entry.story]
    with pytest.raises(RefusedError, match="--resend"):
        _resolve(newsroom, entry.id, "accepted")
    _resolve(newsroom, entry.id, "resend")
    newsroom.tick(MONDAY + HOUR)
    assert _posted(newsroom) == [("one", "accepted")]
    assert newsroom.editions() == ["daily/1 done"]


def test_a_post_that_waits_for_its_channel_can_be_dropped(newsroom: RunningNewsroom) -> None:
    newsroom.folder.hook.plan[:] = [Step(403, b"blocked by a firewall")]
    newsroom.item("one")
    newsroom.tick(MONDAY)
    (entry,) = [entry for entry in newsroom.entries_of("desk") if entry.story]
    assert str(entry.state) == "pending"
    _resolve(newsroom, entry.id, "cancel")
    newsroom.folder.hook.plan[:] = [Step()]
    newsroom.tick(MONDAY + HOUR)
    assert _posted(newsroom) == [("one", "cancelled")]


def test_send_names_the_outlets_that_a_schedule_has(
    newsroom: RunningNewsroom, run_in: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = newsroom.folder.root
    for name, value in newsroom.folder.env.items():
        monkeypatch.setenv(name, value)
    assert "Did you mean 'desk'" in run_in(root, "send", "daily", "--channel", "dsk").err
    assert "choose one" in run_in(root, "send", "daily", "--channel", "desk", "--list", "digest").err
