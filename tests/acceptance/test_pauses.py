"""A pause stops editions, also half-sent ones. Slots that come due are merged, and each reader is mailed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, RunningNewsroom, flat, open_newsroom
from tidings.runtime.explain import explain
from tidings.runtime.preview.plan import plan
from tidings.store.service import pauses
from tidings.store.service.pauses import Scope


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url, {"daily": DAILY}, public=False) as running:
        yield running


def _pause(newsroom: RunningNewsroom, scope: Scope, name: str = "", hours: float | None = None) -> None:
    until = newsroom.now + timedelta(hours=hours) if hours else None
    with newsroom.runtime.store.write() as connection:
        pauses.pause(connection, scope, name, newsroom.now, until=until, reason="test", who="ada")


def _resume(newsroom: RunningNewsroom, scope: Scope, name: str = "") -> bool:
    with newsroom.runtime.store.write() as connection:
        return pauses.resume(connection, scope, name, newsroom.now)


def test_a_paused_schedule_merges_slots_into_one_edition(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    _pause(newsroom, Scope.SCHEDULE, "daily")
    for day in range(3):
        newsroom.tick(MONDAY + day * DAY)
        newsroom.item(f"day{day}")
    assert newsroom.editions() == []
    # Half a day after the last slot: paused time is not lateness.
    newsroom.now = MONDAY + 2 * DAY + 13 * HOUR
    assert _resume(newsroom, Scope.SCHEDULE, "daily")
    assert not _resume(newsroom, Scope.SCHEDULE, "daily")
    newsroom.tick()
    assert newsroom.editions() == ["daily/1 done"]
    assert flat(newsroom.read(ada)) == ["day0", "day1", "day2", "one"]


@pytest.mark.slow
@pytest.mark.parametrize(("scope", "name"), [(Scope.LIST, "digest"), (Scope.ALL, "")])
def test_a_pause_stops_a_half_sent_edition(newsroom: RunningNewsroom, scope: Scope, name: str) -> None:
    for number in range(30):
        newsroom.reader(f"r{number}")
    newsroom.item("one")
    newsroom.tick(MONDAY, deliver=False)
    left = 5

    def reached(point: str) -> None:
        nonlocal left
        if point == "after-outcome":
            left -= 1
            if left == 0:
                _pause(newsroom, scope, name)

    newsroom.runtime._reached = reached
    newsroom.reload()
    newsroom.tick()
    states = Counter(entry.state for entry in newsroom.entries())
    assert 5 <= states["accepted"] < 12
    assert states["pending"] == 30 - states["accepted"]
    newsroom.tick(MONDAY + HOUR)
    assert Counter(entry.state for entry in newsroom.entries()) == states
    # The pause survives a restart, and ends.
    assert _resume(newsroom, scope, name)
    newsroom.tick(MONDAY + 2 * HOUR)
    assert Counter(entry.state for entry in newsroom.entries()) == {"accepted": 30}
    assert set(Counter(mail.recipient for mail in newsroom.folder.mails.received).values()) == {1}


def test_a_list_paused_over_two_editions_gets_one_mail(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    _pause(newsroom, Scope.LIST, "digest")
    newsroom.tick(MONDAY)
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(ada) == []
    _resume(newsroom, Scope.LIST, "digest")
    newsroom.tick(MONDAY + DAY + HOUR)
    assert [sorted(mail) for mail in newsroom.read(ada)] == [["one", "two"]]
    assert [(entry.edition, entry.state, entry.reason) for entry in newsroom.entries()] == [
        ("daily/1", "cancelled", "paused; it joined a later edition"),
        ("daily/2", "accepted", ""),
    ]


def test_a_waiting_edition_is_sent_when_nothing_is_new(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    _pause(newsroom, Scope.LIST, "digest")
    newsroom.tick(MONDAY)
    newsroom.tick(MONDAY + DAY)
    assert newsroom.slots("daily")[-1] == ("skipped", "nothing new")
    _resume(newsroom, Scope.LIST, "digest")
    newsroom.tick(MONDAY + DAY + HOUR)
    assert newsroom.read(ada) == [["one"]]


def test_an_edition_of_named_stories_takes_over_nothing(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.item("named")
    _pause(newsroom, Scope.LIST, "digest")
    newsroom.tick(MONDAY)
    newsroom.now = MONDAY + HOUR
    newsroom.runtime.set_clock(newsroom.now)
    newsroom.runtime.composer.compose(newsroom.runtime.newsroom.schedules["daily"], newsroom.now, stories=["named"])
    _resume(newsroom, Scope.LIST, "digest")
    newsroom.tick(MONDAY + 2 * HOUR)
    assert sorted(sorted(mail) for mail in newsroom.read(ada)) == [["named"], ["named", "one"]]


def test_a_note_moves_to_the_edition_that_takes_over(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.item("hello", kind="note", title="Good morning")
    _pause(newsroom, Scope.LIST, "digest")
    newsroom.tick(MONDAY)
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    _resume(newsroom, Scope.LIST, "digest")
    newsroom.tick(MONDAY + DAY + HOUR)
    # A note has no page, so nothing links to it.
    assert [sorted(mail) for mail in newsroom.read(ada)] == [["one", "two"]]
    text = newsroom.mails(ada)[0].text
    assert text.index("Good morning") < min(text.index("one (en)"), text.index("two (en)"))


def test_a_channel_paused_over_two_editions_gets_one_post(newsroom: RunningNewsroom) -> None:
    both = "deliver: [{list: digest, frequency: daily}, {channel: desk, per: edition}]\n"
    newsroom.schedule("daily", f'cadence: {{daily: "09:00"}}\n{both}')
    ada = newsroom.reader("ada")
    newsroom.item("one")
    _pause(newsroom, Scope.CHANNEL, "desk")
    newsroom.tick(MONDAY)
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(ada) == [["one"], ["two"]]
    _resume(newsroom, Scope.CHANNEL, "desk")
    newsroom.tick(MONDAY + DAY + HOUR)
    posts = [(entry.edition, entry.state) for entry in newsroom.entries() if entry.channel]
    assert posts == [("daily/1", "cancelled"), ("daily/2", "accepted")]


@pytest.mark.parametrize("scope", [Scope.LIST, Scope.SCHEDULE])
def test_a_pause_follows_a_new_name(newsroom: RunningNewsroom, scope: Scope) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    if scope is Scope.LIST:
        _pause(newsroom, scope, "digest")
        newsroom.tick(MONDAY)
        newsroom.folder.write("schedules/daily.yaml", DAILY.replace("list: digest", "list: renamed"))
        newsroom.configure("  digest: {name: Digest,", "  renamed: {was: digest, name: Digest,")
    else:
        _pause(newsroom, scope, "daily")
        (newsroom.folder.root / "schedules" / "daily.yaml").unlink()
        newsroom.schedule("renamed", f"{DAILY}was: daily\n")
    newsroom.tick(MONDAY + HOUR)
    assert newsroom.read(ada) == []
    assert _resume(newsroom, scope, "renamed")
    newsroom.tick(MONDAY + 2 * HOUR)
    assert newsroom.read(ada) == [["one"]]


@pytest.mark.parametrize(("waited", "state"), [(11, "done"), (13, "held")])
def test_paused_time_does_not_count_as_lateness(newsroom: RunningNewsroom, waited: int, state: str) -> None:
    """A slot comes due while nothing runs; then a pause of the schedule and one of everything overlap."""
    newsroom.reader("ada")
    newsroom.item("one")
    newsroom.now = MONDAY + HOUR
    _pause(newsroom, Scope.SCHEDULE, "daily", hours=5)
    newsroom.now = MONDAY + 4 * HOUR
    _pause(newsroom, Scope.ALL)
    newsroom.tick(MONDAY + 8 * HOUR)
    _resume(newsroom, Scope.ALL)
    newsroom.tick(MONDAY + (7 + waited) * HOUR)
    assert newsroom.editions() == [f"daily/1 {state}"]


def test_explain_and_plan_name_the_pause(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    _pause(newsroom, Scope.LIST, "digest", hours=90)

    def explain_reader() -> list[str]:
        with newsroom.runtime.store.read() as connection:
            return explain(connection, newsroom.runtime.newsroom, ada, None, lambda at: f"{at:%d.%m. %H:%M}")[1:]

    newsroom.tick(MONDAY)
    waits = "list digest is paused since 01.03. 04:00 by ada, until 04.03. 22:00 (test)."
    assert [one.partition("; ")[2] for one in explain_reader()] == [waits]
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    assert explain_reader()[0].endswith(": paused; it joined a later edition.")
    notes = [slot.note for planned in plan(newsroom.runtime, MONDAY + DAY, runs=1) for slot in planned.slots]
    assert notes == ["list digest is paused. Deliveries there wait"]


def test_a_pause_ends_at_its_time_and_notices_go_on(newsroom: RunningNewsroom) -> None:
    ada = newsroom.reader("ada")
    newsroom.item("one")
    newsroom.now = MONDAY - HOUR
    _pause(newsroom, Scope.ALL, hours=2)
    newsroom.folder.write("content/broken.en.md", "---\ntitle: x\nembago: 2026-01-01\n---\n")
    newsroom.tick(MONDAY)
    assert newsroom.read(ada) == []
    assert any("broken" in text for text in newsroom.notices())
    newsroom.tick(MONDAY + HOUR)
    assert flat(newsroom.read(ada)) == ["one"]
