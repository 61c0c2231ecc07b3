"""Editions: frozen, numbered, held and let go, superseded, recomposed, cancelled; by the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.world import Mails
from tests.pipeline.desk import DAILY, DAY, HOUR, MONDAY, Desk, open_desk
from tidings.model.errors import InputError, RefusedError
from tidings.pipeline.compose import composer as composing
from tidings.runtime.tick import tick

APPROVED = DAILY + "approval: {by: [boss@example.org], ahead: 3h%s}\n"
BAD = "[{src: https://example.org/a.png}]"
"""A picture without alternative text: a gate refuses it."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", "sqlite:///tidings.db") as found:
        yield found


@pytest.fixture
def on_both(tmp_path: Path, database_url: str) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", database_url) as found:
        yield found


def begun(desk: Desk, schedule: str = DAILY, *, readers: int = 1) -> list[str]:
    """The schedule `daily` with its baseline, and readers."""
    desk.schedule("daily", schedule)
    people = [desk.reader(f"reader{number}") for number in range(readers)]
    desk.tick(MONDAY - 12 * HOUR)
    return people


def holds(desk: Desk, name: str) -> list[str]:
    return [hold.reason.value for hold in desk.edition(name).holds]


# -- by a gate --------------------------------------------------------------------------------------------------------


def test_a_failing_gate_holds_tells_and_sends_nothing_until_it_is_mended(on_both: Desk) -> None:
    desk = on_both
    (reader,) = begun(desk)
    desk.item("one", images=BAD)
    desk.tick(MONDAY)
    assert desk.editions() == ["daily/1 held"]
    assert holds(desk, "daily/1") == ["gate"]
    assert desk.mails(reader) == []
    assert any("daily/1 is held" in text and "tidings recompose" in text for text in desk.notices())
    composer, schedule = desk.runtime.composer, desk.runtime.newsroom.schedules["daily"]
    with pytest.raises(InputError, match="cannot be released"):
        composer.release(desk.edition("daily/1"), desk.now, "me")
    assert desk.mails(reader) == []
    desk.item("one", images="[{src: https://example.org/a.png, alt: A well}]")
    desk.tick(MONDAY + HOUR)
    again = composer.recompose(desk.edition("daily/1"), schedule, desk.now, "me")
    assert again.state == "sending" and again.name == "daily/1"
    desk.runtime.deliver()
    assert desk.read(reader) == [["one"]]
    assert desk.editions() == ["daily/1 done"]


def test_a_template_that_cannot_be_rendered_holds(desk: Desk) -> None:
    begun(desk, DAILY.replace("frequency: daily", "frequency: daily, subject: '{{ lead.nothing }}'"))
    desk.item("one")
    desk.tick(MONDAY)
    assert holds(desk, "daily/1") == ["gate"]
    assert "nothing" in desk.edition("daily/1").holds[0].detail


# -- by lateness ------------------------------------------------------------------------------------------------------


def test_a_late_slot_with_something_to_send_waits_and_goes_when_released(on_both: Desk) -> None:
    desk = on_both
    (reader,) = begun(desk, DAILY.replace('"09:00"', '"09:00", max_late: 6h'))
    desk.item("one")
    desk.tick(MONDAY + 7 * HOUR)
    assert holds(desk, "daily/1") == ["late"]
    assert desk.mails(reader) == []
    desk.runtime.composer.release(desk.edition("daily/1"), desk.now, "me")
    desk.runtime.deliver()
    assert desk.read(reader) == [["one"]]


def test_a_late_slot_with_nothing_to_send_is_skipped(desk: Desk) -> None:
    begun(desk)
    desk.tick(MONDAY + 13 * HOUR)
    assert desk.editions() == []
    assert desk.slots("daily") == [("skipped", "nothing new")]


def test_missed_slots_merge_into_the_latest_and_lateness_counts_from_that(desk: Desk) -> None:
    (reader,) = begun(desk)
    desk.item("one")
    desk.tick(MONDAY + 3 * DAY + HOUR)
    assert [state for state, _ in desk.slots("daily")] == ["merged", "merged", "merged", "fired"]
    assert desk.read(reader) == [["one"]]


# -- by approval ------------------------------------------------------------------------------------------------------


def test_approval_composes_ahead_and_what_is_released_goes_at_its_slot(on_both: Desk) -> None:
    desk = on_both
    (reader,) = begun(desk, APPROVED % "")
    desk.item("one")
    desk.tick(MONDAY - 4 * HOUR)
    assert desk.editions() == []
    desk.tick(MONDAY - 3 * HOUR)
    assert desk.editions() == ["daily/1 held"] and holds(desk, "daily/1") == ["approval"]
    assert any("boss@example.org" in text for text in desk.notices())
    desk.runtime.composer.release(desk.edition("daily/1"), desk.now, "boss")
    desk.tick(MONDAY - HOUR)
    assert desk.mails(reader) == []
    desk.tick(MONDAY)
    assert desk.read(reader) == [["one"]]


def test_silence_holds_unless_it_may_send(desk: Desk) -> None:
    (reader,) = begun(desk, APPROVED % "")
    desk.item("one")
    desk.tick(MONDAY - 3 * HOUR)
    desk.tick(MONDAY + HOUR)
    assert desk.mails(reader) == []
    desk.schedule("daily", APPROVED % ", silence: send")
    desk.tick(MONDAY + HOUR)
    assert desk.read(reader) == [["one"]]


def test_silence_is_no_answer_before_there_was_time_for_one(desk: Desk) -> None:
    """Nothing ran when the edition should have been shown to the boss: it gets its three hours all the same."""
    (reader,) = begun(desk, APPROVED % ", silence: send")
    desk.item("one")
    desk.tick(MONDAY)
    assert desk.editions() == ["daily/1 held"]
    desk.tick(MONDAY + 2 * HOUR)
    assert desk.mails(reader) == []
    desk.tick(MONDAY + 3 * HOUR)
    assert desk.read(reader) == [["one"]]


# -- by withdrawal ----------------------------------------------------------------------------------------------------


def test_a_withdrawn_story_holds_what_is_not_sent_yet(on_both: Desk) -> None:
    desk = on_both
    begun(desk, APPROVED % "")
    desk.item("one")
    desk.item("two")
    desk.tick(MONDAY - 3 * HOUR)
    desk.item("one", withdrawn="Published in error.")
    desk.tick(MONDAY - HOUR)
    assert holds(desk, "daily/1") == ["approval", "withdrawn"]
    with pytest.raises(InputError, match="Published in error"):
        desk.runtime.composer.release(desk.edition("daily/1"), desk.now, "boss")
    schedule = desk.runtime.newsroom.schedules["daily"]
    again = desk.runtime.composer.recompose(desk.edition("daily/1"), schedule, desk.now, "boss")
    assert again.stories == ("two",)
    assert holds(desk, "daily/1") == ["approval"]


class Half(Mails):
    """Takes no more than `limit` mails, and puts the others off."""

    limit = 3

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if len(self.caught) >= self.limit:
            return "451 later"
        return await super().handle_DATA(server, session, envelope)


def limit(desk: Desk, count: int) -> None:
    """Let the catcher take `count` mails in all."""
    desk.world.mails.__class__ = Half
    desk.world.mails.limit = count  # type: ignore[attr-defined]


def test_withdrawn_in_the_midst_of_sending_what_has_not_gone_stays(on_both: Desk) -> None:
    desk = on_both
    readers = begun(desk, readers=8)
    limit(desk, 3)
    desk.item("one")
    desk.item("two")
    desk.tick(MONDAY)
    assert len(desk.world.mails.caught) == 3
    limit(desk, 100)
    desk.item("one", withdrawn="Published in error.")
    desk.tick(MONDAY + 6 * HOUR)
    assert holds(desk, "daily/1") == ["withdrawn"]
    got = [reader for reader in readers if desk.mails(reader)]
    assert len(got) == 3
    schedule = desk.runtime.newsroom.schedules["daily"]
    with pytest.raises(RefusedError, match="gone out already"):
        desk.runtime.composer.recompose(desk.edition("daily/1"), schedule, desk.now, "me")
    desk.runtime.composer.cancel(desk.edition("daily/1"), desk.now, "me")
    desk.item("three")
    desk.tick(MONDAY + DAY)
    # Who had `two` does not get it again; who did not gets it now. `one` reaches nobody any more.
    assert {tuple(sorted(desk.read(reader)[-1])) for reader in got} == {("three",)}
    assert {tuple(map(tuple, desk.read(one))) for one in readers if one not in got} == {(("three", "two"),)}
    assert {entry.state for entry in desk.entries(edition="daily/1")} == {"accepted", "cancelled"}


# -- superseded, cancelled, numbered ----------------------------------------------------------------------------------


def test_a_newer_slot_supersedes_a_held_edition_and_its_stories_join(on_both: Desk) -> None:
    desk = on_both
    (reader,) = begun(desk)
    desk.item("bad", images=BAD)
    desk.item("good")
    desk.tick(MONDAY)
    desk.item("bad")
    desk.item("next")
    desk.tick(MONDAY + DAY)
    assert desk.editions() == ["daily/1 superseded", "daily/2 done"]
    assert sorted(desk.read(reader)[0]) == ["bad", "good", "next"]
    assert {entry.state for entry in desk.entries(edition="daily/1")} == {"cancelled"}


def test_a_held_edition_goes_on_in_a_newer_slot_though_nothing_is_new(desk: Desk) -> None:
    (reader,) = begun(desk)
    desk.item("one", images=BAD)
    desk.tick(MONDAY)
    desk.item("one")
    desk.tick(MONDAY + DAY)
    assert desk.read(reader) == [["one"]]


def test_the_stories_of_a_cancelled_edition_are_new_again_and_numbers_go_on(on_both: Desk) -> None:
    desk = on_both
    (reader,) = begun(desk, APPROVED % "")
    desk.item("one")
    desk.tick(MONDAY - 3 * HOUR)
    desk.runtime.composer.cancel(desk.edition("daily/1"), desk.now, "boss")
    desk.tick(MONDAY)
    assert desk.mails(reader) == []
    desk.tick(MONDAY + DAY - 3 * HOUR)
    assert desk.editions() == ["daily/1 cancelled", "daily/2 held"]
    assert desk.edition("daily/2").stories == ("one",)


def test_held_stories_are_reserved(desk: Desk) -> None:
    begun(desk, DAILY.replace("{list: digest, frequency: daily}", "{channel: desk, per: item}"))
    desk.schedule(
        "new", "cadence: {on: new, settle: 1h}\napproval: {by: [boss@example.org]}\ndeliver: [{channel: team}]\n"
    )
    desk.tick(MONDAY - 11 * HOUR)
    desk.item("one")
    desk.tick(MONDAY - 10 * HOUR)
    for hours in (9, 8):
        desk.tick(MONDAY - hours * HOUR)
    assert desk.editions() == ["new/1 held"]
    desk.item("two")
    desk.tick(MONDAY - 6 * HOUR)
    desk.tick(MONDAY - 5 * HOUR)
    assert desk.editions() == ["new/1 superseded", "new/2 held"]
    assert sorted(desk.edition("new/2").stories) == ["one", "two"]


# -- frozen -----------------------------------------------------------------------------------------------------------


def test_what_is_frozen_is_sent_whatever_is_edited_after(desk: Desk) -> None:
    (reader,) = begun(desk, APPROVED % "")
    desk.item("one", title="As it was approved")
    desk.tick(MONDAY - 3 * HOUR)
    desk.item("one", title="Changed behind the boss")
    late = desk.reader("late")
    desk.tick(MONDAY - 2 * HOUR)
    desk.runtime.composer.release(desk.edition("daily/1"), desk.now, "boss")
    desk.tick(MONDAY)
    (mail,) = desk.mails(reader)
    assert mail.message["Subject"] == "As it was approved"
    assert "Changed" not in mail.text
    assert desk.mails(late) == []


def test_a_crash_while_composing_is_composed_anew(on_both: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = on_both
    (reader,) = begun(desk)
    desk.item("one")

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with desk.world.runtime() as doomed, monkeypatch.context() as patch:
        doomed.at(MONDAY)
        patch.setattr(composing, "write_frozen", dies)
        with pytest.raises(KeyboardInterrupt):
            tick(doomed, MONDAY)
        assert desk.editions() == ["daily/1 composing"]
        # Its owner lives: nobody takes the edition from it.
        desk.tick(MONDAY)
        assert desk.editions() == ["daily/1 composing"]
    desk.tick(MONDAY)
    assert desk.editions() == ["daily/1 done"]
    assert desk.read(reader) == [["one"]]


def test_outside_its_window_nothing_starts_and_a_release_waits_for_it(desk: Desk) -> None:
    windowed = (
        'cadence: {daily: "09:00", window: "08:00-20:00", max_late: 1h}\ndeliver: [{list: digest, frequency: daily}]\n'
    )
    (reader,) = begun(desk, windowed)
    desk.item("one")
    desk.tick(MONDAY + 12 * HOUR)
    assert holds(desk, "daily/1") == ["late"]
    desk.runtime.composer.release(desk.edition("daily/1"), desk.now, "me")
    desk.runtime.deliver()
    desk.tick(MONDAY + 13 * HOUR)
    assert desk.mails(reader) == []
    desk.tick(MONDAY + 23 * HOUR)
    assert desk.read(reader) == [["one"]]


def test_a_window_that_shuts_stops_what_is_half_sent(on_both: Desk) -> None:
    desk = on_both
    windowed = 'cadence: {daily: "09:00", window: "08:00-10:00"}\ndeliver: [{list: digest, frequency: daily}]\n'
    begun(desk, windowed, readers=5)
    limit(desk, 3)
    desk.item("one")
    desk.tick(MONDAY)
    limit(desk, 100)
    desk.tick(MONDAY + 6 * HOUR)
    assert len(desk.world.mails.caught) == 3
    desk.tick(MONDAY + 23 * HOUR)
    assert len(desk.world.mails.caught) == 5
    assert len({mail.recipient for mail in desk.world.mails.caught}) == 5


def test_what_a_person_sends_heeds_no_window(desk: Desk) -> None:
    windowed = 'cadence: {daily: "09:00", window: "08:00-10:00"}\ndeliver: [{list: digest, frequency: daily}]\n'
    begun(desk, windowed, readers=5)
    limit(desk, 3)
    desk.item("one")
    desk.tick(MONDAY - 5 * HOUR)
    desk.runtime.composer.compose(desk.runtime.newsroom.schedules["daily"], desk.now)
    desk.runtime.deliver()
    limit(desk, 100)
    desk.tick(MONDAY - 2 * HOUR)
    assert len(desk.world.mails.caught) == 5


def test_who_leaves_between_freezing_and_sending_gets_nothing(desk: Desk) -> None:
    from tidings.store.people import subscribers

    stays, leaves = begun(desk, APPROVED % "", readers=2)
    desk.item("one")
    desk.tick(MONDAY - 3 * HOUR)
    with desk.runtime.store.write() as connection:
        number = subscribers.find(connection, leaves)
        assert number is not None
        subscribers.unsubscribe(connection, number, "digest", source="test", now=desk.now)
    desk.runtime.composer.release(desk.edition("daily/1"), desk.now, "boss")
    desk.tick(MONDAY)
    assert desk.read(stays) == [["one"]] and desk.mails(leaves) == []
    assert [(e.state, e.reason) for e in desk.entries() if e.address == leaves] == [("skipped", "unsubscribed")]
