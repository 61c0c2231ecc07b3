"""What is paused stands still, also half sent; what comes due merges into one; nobody is lost or mailed twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.pipeline.desk import DAILY, DAY, HOUR, MONDAY, Desk, flat, open_desk
from tidings.runtime.explain import explain
from tidings.runtime.preview.plan import plan
from tidings.store.service import pauses
from tidings.store.service.pauses import Scope


@pytest.fixture
def desk(tmp_path: Path, database_url: str) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", database_url, {"daily": DAILY}) as found:
        yield found


def _pause(desk: Desk, scope: Scope, name: str = "", hours: float | None = None) -> None:
    until = desk.now + timedelta(hours=hours) if hours else None
    with desk.runtime.store.write() as connection:
        pauses.pause(connection, scope, name, desk.now, until=until, reason="test", who="ada")


def _resume(desk: Desk, scope: Scope, name: str = "") -> bool:
    with desk.runtime.store.write() as connection:
        return pauses.resume(connection, scope, name, desk.now)


def test_a_paused_schedule_makes_one_edition_of_all_that_came_due(desk: Desk) -> None:
    ada = desk.reader("ada")
    desk.item("one")
    _pause(desk, Scope.SCHEDULE, "daily")
    for day in range(3):
        desk.tick(MONDAY + day * DAY)
        desk.item(f"day{day}")
    assert desk.editions() == []
    # Half a day after the last slot: a pause is not lateness.
    desk.now = MONDAY + 2 * DAY + 13 * HOUR
    assert _resume(desk, Scope.SCHEDULE, "daily")
    assert not _resume(desk, Scope.SCHEDULE, "daily")
    desk.tick()
    assert desk.editions() == ["daily/1 done"]
    assert flat(desk.read(ada)) == ["day0", "day1", "day2", "one"]


@pytest.mark.parametrize(("scope", "name"), [(Scope.LIST, "digest"), (Scope.ALL, "")])
def test_a_pause_stops_what_is_half_sent_and_its_end_lets_it_go(desk: Desk, scope: Scope, name: str) -> None:
    for number in range(30):
        desk.reader(f"r{number}")
    desk.item("one")
    desk.tick(MONDAY, deliver=False)
    left = 5

    def reached(point: str) -> None:
        nonlocal left
        if point == "after-outcome":
            left -= 1
            if left == 0:
                _pause(desk, scope, name)

    desk.runtime._reached = reached
    desk.reload()
    desk.tick()
    states = Counter(entry.state for entry in desk.entries())
    assert 5 <= states["accepted"] < 12
    assert states["pending"] == 30 - states["accepted"]
    desk.tick(MONDAY + HOUR)
    assert Counter(entry.state for entry in desk.entries()) == states
    # It survives a new start, and ends.
    assert _resume(desk, scope, name)
    desk.tick(MONDAY + 2 * HOUR)
    assert Counter(entry.state for entry in desk.entries()) == {"accepted": 30}
    assert set(Counter(mail.recipient for mail in desk.world.mails.caught).values()) == {1}


def test_a_list_that_is_paused_over_two_editions_gets_one_mail(desk: Desk) -> None:
    ada = desk.reader("ada")
    desk.item("one")
    _pause(desk, Scope.LIST, "digest")
    desk.tick(MONDAY)
    desk.item("two")
    desk.tick(MONDAY + DAY)
    assert desk.read(ada) == []
    _resume(desk, Scope.LIST, "digest")
    desk.tick(MONDAY + DAY + HOUR)
    assert [sorted(mail) for mail in desk.read(ada)] == [["one", "two"]]
    assert [(entry.edition, entry.state, entry.reason) for entry in desk.entries()] == [
        ("daily/1", "cancelled", "paused; it joined a later edition"),
        ("daily/2", "accepted", ""),
    ]


def test_with_nothing_new_what_a_paused_list_waits_for_stays_and_goes_in_the_end(desk: Desk) -> None:
    ada = desk.reader("ada")
    desk.item("one")
    _pause(desk, Scope.LIST, "digest")
    desk.tick(MONDAY)
    desk.tick(MONDAY + DAY)
    assert desk.slots("daily")[-1] == ("skipped", "nothing new")
    _resume(desk, Scope.LIST, "digest")
    desk.tick(MONDAY + DAY + HOUR)
    assert desk.read(ada) == [["one"]]


def test_an_edition_of_named_stories_takes_nothing_over(desk: Desk) -> None:
    ada = desk.reader("ada")
    desk.item("one")
    desk.item("named")
    _pause(desk, Scope.LIST, "digest")
    desk.tick(MONDAY)
    desk.now = MONDAY + HOUR
    desk.runtime.at(desk.now)
    desk.runtime.composer.compose(desk.runtime.newsroom.schedules["daily"], desk.now, stories=["named"])
    _resume(desk, Scope.LIST, "digest")
    desk.tick(MONDAY + 2 * HOUR)
    assert sorted(sorted(mail) for mail in desk.read(ada)) == [["named"], ["named", "one"]]


def test_a_note_of_an_edition_that_was_taken_over_opens_the_later_one(desk: Desk) -> None:
    ada = desk.reader("ada")
    desk.item("one")
    desk.item("hello", kind="note", title="Good morning")
    _pause(desk, Scope.LIST, "digest")
    desk.tick(MONDAY)
    desk.item("two")
    desk.tick(MONDAY + DAY)
    _resume(desk, Scope.LIST, "digest")
    desk.tick(MONDAY + DAY + HOUR)
    # It has no page, so nothing links it.
    assert [sorted(mail) for mail in desk.read(ada)] == [["one", "two"]]
    text = desk.mails(ada)[0].text
    assert text.index("Good morning") < min(text.index("one (en)"), text.index("two (en)"))


def test_a_channel_that_is_paused_over_two_editions_gets_one_post(desk: Desk) -> None:
    both = "deliver: [{list: digest, frequency: daily}, {channel: desk, per: edition}]\n"
    desk.schedule("daily", f'cadence: {{daily: "09:00"}}\n{both}')
    ada = desk.reader("ada")
    desk.item("one")
    _pause(desk, Scope.CHANNEL, "desk")
    desk.tick(MONDAY)
    desk.item("two")
    desk.tick(MONDAY + DAY)
    assert desk.read(ada) == [["one"], ["two"]]
    _resume(desk, Scope.CHANNEL, "desk")
    desk.tick(MONDAY + DAY + HOUR)
    posts = [(entry.edition, entry.state) for entry in desk.entries() if entry.channel]
    assert posts == [("daily/1", "cancelled"), ("daily/2", "accepted")]


@pytest.mark.parametrize("scope", [Scope.LIST, Scope.SCHEDULE])
def test_a_pause_follows_a_new_name(desk: Desk, scope: Scope) -> None:
    ada = desk.reader("ada")
    desk.item("one")
    if scope is Scope.LIST:
        _pause(desk, scope, "digest")
        desk.tick(MONDAY)
        desk.world.write("schedules/daily.yaml", DAILY.replace("list: digest", "list: renamed"))
        desk.configure("  digest: {name: Digest,", "  renamed: {was: digest, name: Digest,")
    else:
        _pause(desk, scope, "daily")
        (desk.world.root / "schedules" / "daily.yaml").unlink()
        desk.schedule("renamed", f"{DAILY}was: daily\n")
    desk.tick(MONDAY + HOUR)
    assert desk.read(ada) == []
    assert _resume(desk, scope, "renamed")
    desk.tick(MONDAY + 2 * HOUR)
    assert desk.read(ada) == [["one"]]


@pytest.mark.parametrize(("waited", "state"), [(11, "done"), (13, "held")])
def test_only_the_time_in_which_nothing_was_paused_counts_as_lateness(desk: Desk, waited: int, state: str) -> None:
    """Due while nothing ran; then a pause of the schedule and one of everything that overlap."""
    desk.reader("ada")
    desk.item("one")
    desk.now = MONDAY + HOUR
    _pause(desk, Scope.SCHEDULE, "daily", hours=5)
    desk.now = MONDAY + 4 * HOUR
    _pause(desk, Scope.ALL)
    desk.tick(MONDAY + 8 * HOUR)
    _resume(desk, Scope.ALL)
    desk.tick(MONDAY + (7 + waited) * HOUR)
    assert desk.editions() == [f"daily/1 {state}"]


def test_explain_and_plan_say_what_is_paused(desk: Desk) -> None:
    ada = desk.reader("ada")
    desk.item("one")
    _pause(desk, Scope.LIST, "digest", hours=90)

    def said() -> list[str]:
        with desk.runtime.store.read() as connection:
            return explain(connection, desk.runtime.newsroom, ada, None, lambda at: f"{at:%d.%m. %H:%M}")[1:]

    desk.tick(MONDAY)
    waits = "list digest is paused since 01.03. 04:00 by ada, until 04.03. 22:00 (test)."
    assert [one.partition("; ")[2] for one in said()] == [waits]
    desk.item("two")
    desk.tick(MONDAY + DAY)
    assert said()[0].endswith(": paused; it joined a later edition.")
    notes = [slot.note for one in plan(desk.runtime, MONDAY + DAY, runs=1) for slot in one.slots]
    assert notes == ["list digest is paused: what goes there waits"]


def test_until_ends_it_by_itself_and_a_notice_goes_all_the_same(desk: Desk) -> None:
    ada = desk.reader("ada")
    desk.item("one")
    desk.now = MONDAY - HOUR
    _pause(desk, Scope.ALL, hours=2)
    desk.world.write("content/broken.en.md", "---\ntitle: x\nembago: 2026-01-01\n---\n")
    desk.tick(MONDAY)
    assert desk.read(ada) == []
    assert any("broken" in text for text in desk.notices())
    desk.tick(MONDAY + HOUR)
    assert flat(desk.read(ada)) == ["one"]
