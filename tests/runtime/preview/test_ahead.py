"""`plan` and `explain` are right about the future: embargoed, held, waiting for approval, left over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tidings.runtime.explain import explain
from tidings.runtime.preview.plan import PlannedSchedule, plan

APPROVED = DAILY + "approval: {by: [boss@example.org], ahead: 2h}\n"
ON_NEW = """cadence: {on: new, settle: 10m}
select: {max_items: 1, overflow: wait}
deliver: [{list: digest, frequency: all}, {channel: desk, per: item}]
"""
MINUTE = HOUR / 60


@pytest.fixture
def newsroom(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", public=False) as opened:
        yield opened


def _planned(newsroom: RunningNewsroom) -> PlannedSchedule:
    (only,) = plan(newsroom.runtime, newsroom.now)
    return only


def _explained(newsroom: RunningNewsroom, address: str, story: str) -> str:
    with newsroom.runtime.store.read() as connection:
        lines = explain(connection, newsroom.runtime.newsroom, address, story, str, newsroom.now)
    return " ".join(lines)


def _start(newsroom: RunningNewsroom, name: str, text: str) -> str:
    newsroom.schedule(name, text)
    ada = newsroom.reader("ada")
    newsroom.tick(MONDAY - DAY + HOUR)
    return ada


def test_an_embargoed_release_is_named_with_its_time(newsroom: RunningNewsroom) -> None:
    ada = _start(newsroom, "daily", DAILY)
    newsroom.item("soon", embargo="2026-03-02T08:30")
    newsroom.item("later", embargo="2026-03-02T12:00")
    newsroom.tick(MONDAY - 2 * HOUR)
    planned = _planned(newsroom)
    slot = planned.slots[0]
    assert [key for key, _ in slot.stories or ()] == ["soon"] and set(slot.embargoed) == {"soon"}
    assert slot.outlets[0].recipients.total() == 1
    assert "(later) is under embargo until Mon 2026-03-02 12:00; it goes on Tue 2026-03-03 09:00" in planned.note
    lines = _explained(newsroom, ada, "later")
    assert "under embargo until 2026-03-02 07:00" in lines and "daily is due on 2026-03-03 04:00" in lines


def test_an_edition_that_waits_for_approval_is_planned(newsroom: RunningNewsroom) -> None:
    ada = _start(newsroom, "daily", APPROVED)
    newsroom.item("one")
    newsroom.tick(MONDAY - 5 * HOUR)
    ahead = _planned(newsroom).slots[0].note
    assert "boss@example.org will be asked on Mon 2026-03-02 07:00" in ahead
    newsroom.tick(MONDAY - 2 * HOUR)
    planned = _planned(newsroom)
    (held,), following = planned.waiting, planned.slots[0]
    assert (held.edition, held.at) == ("daily/1", MONDAY)
    assert "boss@example.org" in held.note and "asked on Mon 2026-03-02 07:00" in held.note
    assert [(outlet.name, outlet.recipients.total()) for outlet in held.outlets] == [("list digest", 1)]
    # If it still waits at the next slot, the next edition has its story.
    assert [key for key, _ in following.stories or ()] == ["one"]
    assert following.outlets[0].recipients.total() == 1 and "daily/1" in following.note
    assert "the edition is held: waits for boss@example.org" in _explained(newsroom, ada, "one")


def test_stories_beyond_max_items_are_planned_next(newsroom: RunningNewsroom) -> None:
    ada = _start(newsroom, "news", ON_NEW)
    newsroom.item("one")
    newsroom.item("two")
    newsroom.tick(MONDAY)
    assert "The schedule news sends it at its next slot." in _explained(newsroom, ada, "two")
    newsroom.tick(MONDAY + 10 * MINUTE)
    ((first,),) = newsroom.read(ada)
    second = "two" if first == "one" else "one"
    lines = _explained(newsroom, ada, second)
    assert "it waits for their next edition" in lines and "max_items" in lines
    slot = _planned(newsroom).slots[0]
    assert slot.stories == [] and f"left over from earlier editions: {second} (en) ({second})" in slot.note
    assert {outlet.name: outlet.recipients.total() for outlet in slot.outlets} == {"list digest": 1, "channel desk": 1}
    newsroom.tick(MONDAY + 21 * MINUTE)
    assert newsroom.read(ada) == [[first], [second]]
    assert sorted(entry.story for entry in newsroom.entries_of("desk") if entry.story) == ["one", "two"]
    # Then all stories are out, and nothing more is due.
    assert _planned(newsroom).slots == []
    assert not newsroom.tick(MONDAY + DAY).composed


def test_a_held_edition_is_not_superseded_by_leftovers(newsroom: RunningNewsroom) -> None:
    _start(newsroom, "news", ON_NEW + "approval: {by: [boss@example.org]}\n")
    newsroom.item("one")
    newsroom.item("two")
    for minutes in (0, 10, 25, 40):
        newsroom.tick(MONDAY + minutes * MINUTE)
    assert newsroom.editions() == ["news/1 held"]
