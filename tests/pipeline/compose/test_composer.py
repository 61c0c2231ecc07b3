"""Editions are frozen, numbered, held, released, superseded, recomposed and cancelled, as the contract says."""

from __future__ import annotations

import email
import email.policy
import re
from typing import Any

import pytest

from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, RunningNewsroom
from tests.fixtures.newsroom_folder import MailServer
from tidings.model.errors import InputError, RefusedError
from tidings.pipeline.compose import composer as composing
from tidings.runtime.preview.preview import preview_edition
from tidings.runtime.tick import tick

APPROVED = DAILY + "approval: {by: [boss@example.org], ahead: 3h%s}\n"
BAD = "[{src: https://example.org/a.png}]"
"""A picture without alternative text: a gate refuses it."""


def begun(newsroom: RunningNewsroom, schedule: str = DAILY, *, readers: int = 1) -> list[str]:
    """Open a newsroom with the schedule `daily`, its baseline and readers."""
    newsroom.schedule("daily", schedule)
    people = [newsroom.reader(f"reader{number}") for number in range(readers)]
    newsroom.tick(MONDAY - 12 * HOUR)
    return people


def holds(newsroom: RunningNewsroom, name: str) -> list[str]:
    return [hold.reason.value for hold in newsroom.edition(name).holds]


# -- held by a gate ---------------------------------------------------------------------------------------------------


def test_failing_gate_holds_until_corrected(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    (reader,) = begun(newsroom)
    newsroom.item("one", images=BAD)
    newsroom.tick(MONDAY)
    assert newsroom.editions() == ["daily/1 held"]
    assert holds(newsroom, "daily/1") == ["gate"]
    assert newsroom.mails(reader) == []
    assert any("daily/1 is held" in text and "tidings recompose" in text for text in newsroom.notices())
    composer, schedule = newsroom.runtime.composer, newsroom.runtime.newsroom.schedules["daily"]
    with pytest.raises(InputError, match="cannot be released"):
        newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "me")
    assert newsroom.mails(reader) == []
    newsroom.item("one", images="[{src: https://example.org/a.png, alt: A well}]")
    newsroom.tick(MONDAY + HOUR)
    again = composer.recompose(newsroom.edition("daily/1"), schedule, newsroom.now, "me")
    assert again.state == "sending" and again.name == "daily/1"
    newsroom.runtime.deliver()
    assert newsroom.read(reader) == [["one"]]
    assert newsroom.editions() == ["daily/1 done"]


def test_a_template_that_cannot_be_rendered_holds(newsroom: RunningNewsroom) -> None:
    begun(newsroom, DAILY.replace("frequency: daily", "frequency: daily, subject: '{{ lead.nothing }}'"))
    newsroom.item("one")
    newsroom.tick(MONDAY)
    assert holds(newsroom, "daily/1") == ["gate"]
    assert "nothing" in newsroom.edition("daily/1").holds[0].detail


# -- held for lateness ------------------------------------------------------------------------------------------------


def test_late_slot_is_held_until_released(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    (reader,) = begun(newsroom, DAILY.replace('"09:00"', '"09:00", max_late: 6h'))
    newsroom.item("one")
    newsroom.tick(MONDAY + 7 * HOUR)
    assert holds(newsroom, "daily/1") == ["late"]
    assert newsroom.mails(reader) == []
    newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "me")
    newsroom.runtime.deliver()
    assert newsroom.read(reader) == [["one"]]


def test_a_late_slot_with_nothing_to_send_is_skipped(newsroom: RunningNewsroom) -> None:
    begun(newsroom)
    newsroom.tick(MONDAY + 13 * HOUR)
    assert newsroom.editions() == []
    assert newsroom.slots("daily") == [("skipped", "nothing new")]


def test_missed_slots_merge_into_the_latest(newsroom: RunningNewsroom) -> None:
    (reader,) = begun(newsroom)
    newsroom.item("one")
    newsroom.tick(MONDAY + 3 * DAY + HOUR)
    assert [state for state, _ in newsroom.slots("daily")] == ["merged", "merged", "merged", "fired"]
    assert newsroom.read(reader) == [["one"]]


# -- held for approval ------------------------------------------------------------------------------------------------


def test_approval_composes_ahead_and_sends_at_the_slot(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    (reader,) = begun(newsroom, APPROVED % "")
    newsroom.item("one")
    newsroom.tick(MONDAY - 4 * HOUR)
    assert newsroom.editions() == []
    newsroom.tick(MONDAY - 3 * HOUR)
    assert newsroom.editions() == ["daily/1 held"] and holds(newsroom, "daily/1") == ["approval"]
    assert any("boss@example.org" in text for text in newsroom.notices())
    newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "boss")
    newsroom.tick(MONDAY - HOUR)
    assert newsroom.mails(reader) == []
    newsroom.tick(MONDAY)
    assert newsroom.read(reader) == [["one"]]


def test_silence_holds_unless_it_may_send(newsroom: RunningNewsroom) -> None:
    (reader,) = begun(newsroom, APPROVED % "")
    newsroom.item("one")
    newsroom.tick(MONDAY - 3 * HOUR)
    newsroom.tick(MONDAY + HOUR)
    assert newsroom.mails(reader) == []
    newsroom.schedule("daily", APPROVED % ", silence: send")
    newsroom.tick(MONDAY + HOUR)
    assert newsroom.read(reader) == [["one"]]


def test_silence_counts_only_after_time_for_an_answer(newsroom: RunningNewsroom) -> None:
    """Nothing ran when the edition should have been shown to the boss. The boss still gets three hours."""
    (reader,) = begun(newsroom, APPROVED % ", silence: send")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    assert newsroom.editions() == ["daily/1 held"]
    newsroom.tick(MONDAY + 2 * HOUR)
    assert newsroom.mails(reader) == []
    newsroom.tick(MONDAY + 3 * HOUR)
    assert newsroom.read(reader) == [["one"]]


# -- held after a withdrawal ------------------------------------------------------------------------------------------


def test_a_withdrawn_story_holds_what_is_not_sent_yet(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    begun(newsroom, APPROVED % "")
    newsroom.item("one")
    newsroom.item("two")
    newsroom.tick(MONDAY - 3 * HOUR)
    newsroom.item("one", withdrawn="Published in error.")
    newsroom.tick(MONDAY - HOUR)
    assert holds(newsroom, "daily/1") == ["approval", "withdrawn"]
    assert any("one was withdrawn: Published in error." in text for text in newsroom.notices())
    with pytest.raises(InputError, match="Published in error"):
        newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "boss")
    schedule = newsroom.runtime.newsroom.schedules["daily"]
    again = newsroom.runtime.composer.recompose(newsroom.edition("daily/1"), schedule, newsroom.now, "boss")
    assert again.stories == ("two",)
    assert holds(newsroom, "daily/1") == ["approval"]


class Half(MailServer):
    """A catcher that accepts at most `limit` mails, and defers the others."""

    limit = 3

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if len(self.received) >= self.limit:
            return "451 later"
        return await super().handle_DATA(server, session, envelope)


def limit(newsroom: RunningNewsroom, count: int) -> None:
    """Let the catcher accept `count` mails in all."""
    newsroom.folder.mails.__class__ = Half
    newsroom.folder.mails.limit = count  # type: ignore[attr-defined]


def test_withdrawal_during_sending_stops_the_rest(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    readers = begun(newsroom, readers=8)
    limit(newsroom, 3)
    newsroom.item("one")
    newsroom.item("two")
    newsroom.tick(MONDAY)
    assert len(newsroom.folder.mails.received) == 3
    limit(newsroom, 100)
    newsroom.item("one", withdrawn="Published in error.")
    newsroom.tick(MONDAY + 6 * HOUR)
    assert holds(newsroom, "daily/1") == ["withdrawn"]
    recipients = [reader for reader in readers if newsroom.mails(reader)]
    assert len(recipients) == 3
    schedule = newsroom.runtime.newsroom.schedules["daily"]
    with pytest.raises(RefusedError, match="already sent"):
        newsroom.runtime.composer.recompose(newsroom.edition("daily/1"), schedule, newsroom.now, "me")
    newsroom.runtime.editions.cancel(newsroom.edition("daily/1"), newsroom.now, "me")
    newsroom.item("three")
    newsroom.tick(MONDAY + DAY)
    # Readers who had `two` do not get it again. Readers who did not have it get it now. Nobody gets `one` any more.
    assert {tuple(sorted(newsroom.read(reader)[-1])) for reader in recipients} == {("three",)}
    assert {tuple(map(tuple, newsroom.read(reader))) for reader in readers if reader not in recipients} == {
        (("three", "two"),)
    }
    assert {entry.state for entry in newsroom.entries(edition="daily/1")} == {"accepted", "cancelled"}


# -- superseded, cancelled, numbered ----------------------------------------------------------------------------------


def test_newer_slot_supersedes_a_held_edition(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    (reader,) = begun(newsroom)
    newsroom.item("bad", images=BAD)
    newsroom.item("good")
    newsroom.tick(MONDAY)
    newsroom.item("bad")
    newsroom.item("next")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.editions() == ["daily/1 superseded", "daily/2 done"]
    assert sorted(newsroom.read(reader)[0]) == ["bad", "good", "next"]
    assert {entry.state for entry in newsroom.entries(edition="daily/1")} == {"cancelled"}


def test_newer_slot_takes_held_stories_without_news(newsroom: RunningNewsroom) -> None:
    (reader,) = begun(newsroom)
    newsroom.item("one", images=BAD)
    newsroom.tick(MONDAY)
    newsroom.item("one")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(reader) == [["one"]]


def test_stories_of_a_cancelled_edition_are_new_again(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    (reader,) = begun(newsroom, APPROVED % "")
    newsroom.item("one")
    newsroom.tick(MONDAY - 3 * HOUR)
    newsroom.runtime.editions.cancel(newsroom.edition("daily/1"), newsroom.now, "boss")
    newsroom.tick(MONDAY)
    assert newsroom.mails(reader) == []
    newsroom.tick(MONDAY + DAY - 3 * HOUR)
    assert newsroom.editions() == ["daily/1 cancelled", "daily/2 held"]
    assert newsroom.edition("daily/2").stories == ("one",)


def test_held_stories_are_reserved(newsroom: RunningNewsroom) -> None:
    begun(newsroom, DAILY.replace("{list: digest, frequency: daily}", "{channel: desk, per: item}"))
    newsroom.schedule(
        "new", "cadence: {on: new, settle: 1h}\napproval: {by: [boss@example.org]}\ndeliver: [{channel: team}]\n"
    )
    newsroom.tick(MONDAY - 11 * HOUR)
    newsroom.item("one")
    newsroom.tick(MONDAY - 10 * HOUR)
    for hours in (9, 8):
        newsroom.tick(MONDAY - hours * HOUR)
    assert newsroom.editions() == ["new/1 held"]
    newsroom.item("two")
    newsroom.tick(MONDAY - 6 * HOUR)
    newsroom.tick(MONDAY - 5 * HOUR)
    assert newsroom.editions() == ["new/1 superseded", "new/2 held"]
    assert sorted(newsroom.edition("new/2").stories) == ["one", "two"]


# -- frozen -----------------------------------------------------------------------------------------------------------


def test_a_frozen_mail_is_sent_despite_later_edits(newsroom: RunningNewsroom) -> None:
    (reader,) = begun(newsroom, APPROVED % "")
    newsroom.item("one", title="As it was approved")
    newsroom.tick(MONDAY - 3 * HOUR)
    newsroom.item("one", title="Changed behind the boss")
    late = newsroom.reader("late")
    newsroom.tick(MONDAY - 2 * HOUR)
    newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "boss")
    newsroom.tick(MONDAY)
    (mail,) = newsroom.mails(reader)
    assert mail.message["Subject"] == "As it was approved"
    assert "Changed" not in mail.text
    assert newsroom.mails(late) == []


def test_the_sent_mail_is_the_previewed_one(newsroom: RunningNewsroom) -> None:
    begun(newsroom, APPROVED % "")
    russian = newsroom.reader("russian", language="ru")
    newsroom.item("one", title="The flood")
    newsroom.item("one", language="ru", title="Наводнение")
    newsroom.tick(MONDAY - 3 * HOUR)
    previewed = {
        message.language: parts(message.data)
        for message in preview_edition(newsroom.runtime, newsroom.edition("daily/1"), None)
    }
    newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "boss")
    newsroom.tick(MONDAY)
    for language, reader in (("en", "reader0@example.org"), ("ru", russian)):
        [mail] = newsroom.mails(reader)
        assert parts(mail.data) == previewed[language]


def parts(mail: bytes) -> list[str]:
    """Return subject, text and HTML of a mail, without its personal parts."""
    message = email.message_from_bytes(mail, policy=email.policy.default)
    bodies = [message.get_body((kind,)) for kind in ("plain", "html")]
    texts = [str(message["Subject"]), *(body.get_content() for body in bodies if body is not None)]
    return [re.sub(r"(?<=/unsubscribe/|/preferences/)[\w.~-]+", "TOKEN", text) for text in texts]


def test_an_edition_is_composed_again_after_a_crash(on_both: RunningNewsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    newsroom = on_both
    (reader,) = begun(newsroom)
    newsroom.item("one")

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with newsroom.folder.runtime() as doomed, monkeypatch.context() as patch:
        doomed.set_clock(MONDAY)
        patch.setattr(composing, "write_frozen", dies)
        with pytest.raises(KeyboardInterrupt):
            tick(doomed, MONDAY)
        assert newsroom.editions() == ["daily/1 composing"]
        # Its owner is alive, so nobody takes the edition from it.
        newsroom.tick(MONDAY)
        assert newsroom.editions() == ["daily/1 composing"]
    newsroom.tick(MONDAY)
    assert newsroom.editions() == ["daily/1 done"]
    assert newsroom.read(reader) == [["one"]]


def test_nothing_starts_outside_the_window(newsroom: RunningNewsroom) -> None:
    windowed = (
        'cadence: {daily: "09:00", window: "08:00-20:00", max_late: 1h}\ndeliver: [{list: digest, frequency: daily}]\n'
    )
    (reader,) = begun(newsroom, windowed)
    newsroom.item("one")
    newsroom.tick(MONDAY + 12 * HOUR)
    assert holds(newsroom, "daily/1") == ["late"]
    newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "me")
    newsroom.runtime.deliver()
    newsroom.tick(MONDAY + 13 * HOUR)
    assert newsroom.mails(reader) == []
    newsroom.tick(MONDAY + 23 * HOUR)
    assert newsroom.read(reader) == [["one"]]


def test_a_closing_window_stops_a_half_sent_edition(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    windowed = 'cadence: {daily: "09:00", window: "08:00-10:00"}\ndeliver: [{list: digest, frequency: daily}]\n'
    begun(newsroom, windowed, readers=5)
    limit(newsroom, 3)
    newsroom.item("one")
    newsroom.tick(MONDAY)
    limit(newsroom, 100)
    newsroom.tick(MONDAY + 6 * HOUR)
    assert len(newsroom.folder.mails.received) == 3
    newsroom.tick(MONDAY + 23 * HOUR)
    assert len(newsroom.folder.mails.received) == 5
    assert len({mail.recipient for mail in newsroom.folder.mails.received}) == 5


def test_a_person_may_send_outside_the_window(newsroom: RunningNewsroom) -> None:
    windowed = 'cadence: {daily: "09:00", window: "08:00-10:00"}\ndeliver: [{list: digest, frequency: daily}]\n'
    begun(newsroom, windowed, readers=5)
    limit(newsroom, 3)
    newsroom.item("one")
    newsroom.tick(MONDAY - 5 * HOUR)
    newsroom.runtime.composer.compose(newsroom.runtime.newsroom.schedules["daily"], newsroom.now)
    newsroom.runtime.deliver()
    limit(newsroom, 100)
    newsroom.tick(MONDAY - 2 * HOUR)
    assert len(newsroom.folder.mails.received) == 5


def test_a_reader_who_leaves_before_sending_gets_nothing(newsroom: RunningNewsroom) -> None:
    from tidings.store.people import subscribers

    stays, leaves = begun(newsroom, APPROVED % "", readers=2)
    newsroom.item("one")
    newsroom.tick(MONDAY - 3 * HOUR)
    with newsroom.runtime.store.write() as connection:
        number = subscribers.find_id(connection, leaves)
        assert number is not None
        subscribers.unsubscribe(connection, number, "digest", source="test", now=newsroom.now)
    newsroom.runtime.editions.release(newsroom.edition("daily/1"), newsroom.now, "boss")
    newsroom.tick(MONDAY)
    assert newsroom.read(stays) == [["one"]] and newsroom.mails(leaves) == []
    assert [(e.state, e.reason) for e in newsroom.entries() if e.address == leaves] == [("skipped", "unsubscribed")]
