"""`plan` uses the functions of `tick`, so it predicts correctly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import OperationalError

from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, WEEKLY, RunningNewsroom, open_newsroom
from tidings.runtime.preview.plan import PlannedSchedule, open_scratch_runtime, plan
from tidings.store import schema as t
from tidings.store.delivery import ledger


@pytest.fixture
def newsroom(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}, public=False) as running:
        yield running


def planned(newsroom: RunningNewsroom, now: datetime, runs: int = 3) -> dict[str, PlannedSchedule]:
    newsroom.runtime.set_clock(now)
    with open_scratch_runtime(newsroom.runtime) as copy:
        return {planned.name: planned for planned in plan(copy, now, runs)}


def stories(one: PlannedSchedule) -> list[str]:
    return sorted(key for key, _ in one.slots[0].stories or ())


def foretold(newsroom: RunningNewsroom, name: str, before: datetime, at: datetime) -> None:
    """Check that `tick` does what `plan` predicted an hour before."""
    slot = planned(newsroom, before)[name].slots[0]
    assert slot.at == at
    (composed,) = newsroom.tick(at).composed
    edition = composed.edition
    if edition is None:
        assert not slot.outlets and composed.reason in slot.note
        return
    counted = Counter(
        f"list {one.list}" if one.list else f"channel {one.channel}"
        for one in newsroom.entries(edition=edition.name)
        if one.state == "accepted"
    )
    assert {outlet.name: sum(outlet.recipients.values()) for outlet in slot.outlets} == counted
    assert sorted(key for key, _ in slot.stories or ()) == sorted(edition.stories)


def test_a_look_ahead_neither_copies_nor_changes_the_ledger(newsroom: RunningNewsroom) -> None:
    """Each `plan` copied the whole store, which may have some gigabytes."""
    newsroom.reader("anna")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    with open_scratch_runtime(newsroom.runtime) as copy:
        with copy.store.read() as connection:
            assert ledger.count_by_state(connection)["accepted"] == 2
            own = set(inspect(connection).get_table_names())
        assert {"items", "mailings"} <= own
        assert not {"deliveries", "subscribers", "subscriptions"} & own
        with pytest.raises(OperationalError, match="readonly"), copy.store.write() as connection:
            connection.execute(t.deliveries.delete())
    assert len(newsroom.entries()) == 2


def test_slots_show_why_they_move_or_are_skipped(newsroom: RunningNewsroom) -> None:
    newsroom.schedule(
        "daily",
        'cadence: {daily: "07:00", window: "08:00-20:00", skip_dates: [2026-03-03]}\n'
        "deliver: [{list: digest, frequency: daily}]\n",
    )
    slots = planned(newsroom, MONDAY - 12 * HOUR)["daily"].slots
    assert [slot.at for slot in slots] == [MONDAY - HOUR + day * DAY for day in range(3)]
    assert slots[0].moved and "08:00" in slots[0].moved
    assert slots[1].skipped and not slots[0].skipped


def test_the_plan_agrees_with_the_tick_every_day(newsroom: RunningNewsroom) -> None:
    newsroom.schedule(
        "daily",
        'cadence: {daily: "09:00"}\nselect: {max_items: 2, overflow: wait}\n'
        "deliver: [{list: digest, frequency: daily}, {channel: desk, per: item, max_posts: 2}]\n",
    )
    for number in range(5):
        newsroom.reader(f"r{number}", topics=["water"] if number % 2 else [], language=("en", "ru")[number % 2])
    newsroom.tick(MONDAY - 20 * HOUR)
    for number in range(3):
        newsroom.item(f"s{number}", topics="[water]" if number else "[youth]")
    newsroom.item("two", "ru")
    for day in range(3):
        foretold(newsroom, "daily", MONDAY - HOUR + day * DAY, MONDAY + day * DAY)
        if day == 0:
            newsroom.change("r1@example.org", topics=["youth"])


def test_a_new_schedule_plans_its_backfill(newsroom: RunningNewsroom) -> None:
    for number in range(4):
        newsroom.item(f"s{number}", published=f"2026-02-0{number + 1}", kind="story" if number else "event")
    newsroom.tick(MONDAY - 10 * HOUR)
    newsroom.schedule("weekly", WEEKLY + "select: {kinds: [event]}\nbackfill: 1\n")
    newsroom.schedule("plain", WEEKLY)
    seen = planned(newsroom, MONDAY - 9 * HOUR)
    assert stories(seen["weekly"]) == ["s0"]
    assert stories(seen["plain"]) == [] and "new schedule" in seen["plain"].slots[0].note
    newsroom.reader("w", frequency="weekly")
    newsroom.tick(MONDAY - 9 * HOUR)
    newsroom.tick(MONDAY + HOUR)
    assert newsroom.edition("weekly/1").stories == ("s0",)


def test_a_renamed_schedule_keeps_its_used_stories(newsroom: RunningNewsroom) -> None:
    newsroom.reader("r")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    newsroom.item("two")
    (newsroom.folder.root / "schedules" / "daily.yaml").unlink()
    newsroom.schedule("morning", DAILY + "was: daily\n")
    assert stories(planned(newsroom, MONDAY + HOUR)["morning"]) == ["two"]


def test_stories_of_a_held_edition_are_planned(newsroom: RunningNewsroom) -> None:
    newsroom.reader("r")
    newsroom.item("one", images="[{src: https://example.org/a.png}]")
    newsroom.tick(MONDAY)
    newsroom.item("two")
    assert stories(planned(newsroom, MONDAY + HOUR)["daily"]) == ["one", "two"]


def test_the_slot_of_an_edition_for_approval_is_taken(newsroom: RunningNewsroom) -> None:
    """The plan listed the slot a second time, with an edition that nobody would make."""
    newsroom.schedule("daily", DAILY + "approval: {by: [boss@example.org], ahead: 3h}\n")
    newsroom.reader("r")
    newsroom.tick(MONDAY - DAY)
    newsroom.item("one")
    newsroom.tick(MONDAY - 2 * HOUR)
    assert newsroom.editions() == ["daily/1 held"]
    entry = planned(newsroom, MONDAY - HOUR)["daily"]
    assert [slot.at for slot in entry.slots] == [MONDAY + DAY, MONDAY + 2 * DAY, MONDAY + 3 * DAY]
    assert [slot.edition for slot in entry.waiting] == ["daily/1"]


def test_an_embargoed_translation_does_not_hide_the_story(newsroom: RunningNewsroom) -> None:
    newsroom.item("one")
    newsroom.item("one", "ru", embargo="2026-03-02T08:30")
    newsroom.item("two", embargo="2026-03-02T08:30")
    slot = planned(newsroom, MONDAY - HOUR)["daily"].slots[0]
    assert sorted(key for key, _ in slot.stories or ()) == ["one", "two"]
    assert set(slot.embargoed) == {"one", "two"}
    assert "one" in newsroom.edition(newsroom.tick(MONDAY).composed[0].edition.name).stories  # type: ignore[union-attr]


def test_notes_for_schedules_without_slots(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("request", "cadence: {on: request}\ndeliver: [{channel: desk}]\n")
    newsroom.schedule("new", "cadence: {on: new}\ndeliver: [{channel: desk}]\n")
    newsroom.schedule("once", "cadence: {at: 2026-01-01T09:00}\ndeliver: [{channel: desk}]\n")
    seen = planned(newsroom, MONDAY)
    assert (seen["request"].note, seen["new"].note, seen["once"].note) == (
        "on request: tidings send request", "nothing new", "its time has passed"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "note"),
    [
        ('cadence: {daily: "09:00"}\ndeliver: [{channel: bird}]\n', "bird: at most 30 posts in 30 days, $6.00"),
        (
            "cadence: {weekly: mon 09:00}\ndeliver: [{channel: bird, per: item, max_posts: 3}]\n",
            "bird: at most 15 posts in 30 days, $3.00",
        ),
        ('cadence: {daily: "09:00"}\ndeliver: [{channel: bird, per: item}]\n', "bird: $0.20 for each post"),
        ("cadence: {on: request}\ndeliver: [{channel: bird}]\n", "bird: $0.20 for each post"),
        ('cadence: {daily: "09:00"}\ndeliver: [{channel: thread}]\n', "thread: at most 90 posts in 30 days, $18.00"),
    ],
)
def test_a_channel_with_prices_shows_the_monthly_cost(newsroom: RunningNewsroom, schedule: str, note: str) -> None:
    for key in ("api_key", "api_secret", "access_token", "access_secret"):
        newsroom.folder.env[f"X_{key.upper()}"] = "s3cret"
    keys = ", ".join(f"{name.lower()[2:]}: {{env: {name}}}" for name in newsroom.folder.env if name.startswith("X_"))
    bird = f"type: x, {keys}, confirm_cost: true"
    thread = f"{bird}, languages: [kk, ru, en], translations: thread"
    newsroom.configure("channels:\n", f"channels:\n  bird: {{{bird}}}\n  thread: {{{thread}}}\n")
    newsroom.schedule("posts", schedule)
    plan_entries = planned(newsroom, MONDAY - HOUR)
    assert plan_entries["posts"].note.endswith(note)
    assert "$" not in plan_entries["daily"].note
