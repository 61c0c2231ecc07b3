"""Who is offered which story: the contract's rules of selection, on real stores, mails and posts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.desk import DAILY, DAY, HOUR, MONDAY, REQUEST, WEEKLY, Desk, flat, open_desk
from tidings.model.errors import InputError
from tidings.store.people import consent, subscribers


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", "sqlite:///tidings.db") as found:
        yield found


@pytest.fixture
def on_both(tmp_path: Path, database_url: str) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", database_url) as found:
        yield found


def posts(desk: Desk, path: str = "/hook/") -> list[list[str]]:
    return [
        [one["story"] for one in json.loads(received.body)["data"]["items"]]
        for received in desk.world.hook.received
        if received.path.startswith(path)
    ]


# -- baseline, backfill, once -----------------------------------------------------------------------------------------


def test_what_was_out_before_the_first_tick_does_not_go_out(on_both: Desk) -> None:
    desk = on_both
    desk.item("old")
    desk.tick()
    desk.schedule("daily", DAILY)
    anna = desk.reader("anna")
    desk.tick(MONDAY - HOUR)
    desk.tick(MONDAY)
    assert desk.slots("daily") == [("skipped", "nothing new")]
    desk.item("new")
    desk.tick(MONDAY + DAY)
    assert desk.read(anna) == [["new"]]


def test_backfill_takes_the_newest_that_the_schedule_wants(desk: Desk) -> None:
    for number, kind in enumerate(["publication", "publication", "story", "story", "story"]):
        desk.item(f"old-{number}", kind=kind, published=f"2026-02-{10 + number}")
    desk.tick()
    desk.schedule("daily", DAILY + "select: {kinds: [publication]}\nbackfill: 1\n")
    anna = desk.reader("anna")
    desk.tick(MONDAY - HOUR)
    desk.tick(MONDAY)
    assert desk.read(anna) == [["old-1"]]


def test_what_stood_aside_at_the_baseline_is_not_new_later(desk: Desk) -> None:
    """Expired or withdrawn at the first tick, and mended after: it had been out before all the same."""
    desk.item("expired", published="2026-02-01", expires="2026-02-02")
    desk.item("withdrawn", published="2026-02-01", withdrawn="In error.")
    desk.tick()
    desk.schedule("daily", DAILY)
    anna = desk.reader("anna")
    desk.tick(MONDAY - HOUR)
    desk.item("expired", published="2026-02-01")
    desk.item("withdrawn", published="2026-02-01")
    desk.tick(MONDAY)
    assert desk.read(anna) == []


def test_a_story_is_used_once_by_a_schedule_and_a_late_translation_is_not_sent_again(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY)
    anna, ira = desk.reader("anna"), desk.reader("ira", language="ru")
    desk.tick(MONDAY - HOUR)
    desk.item("one")
    desk.tick(MONDAY)
    desk.item("one", "ru")
    desk.item("two")
    desk.tick(MONDAY + DAY)
    assert desk.read(anna) == [["one"], ["two"]]
    assert desk.read(ira) == [["one"], ["two"]]
    assert "/en/one/" in desk.mails(ira)[0].text


def test_a_second_tick_at_the_same_moment_does_nothing(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY)
    anna = desk.reader("anna")
    desk.tick(MONDAY - HOUR)
    desk.item("one")
    first, again = desk.tick(MONDAY), desk.tick(MONDAY)
    assert [one.edition and one.edition.name for one in first.composed] == ["daily/1"]
    assert not again.composed and not again.delivered
    assert len(desk.mails(anna)) == 1


# -- what a reader changes --------------------------------------------------------------------------------------------


def test_daily_to_weekly_to_daily_neither_repeats_nor_skips(desk: Desk) -> None:
    desk.schedule("daily", DAILY)
    desk.schedule("weekly", WEEKLY)
    wanderer = desk.reader("wanderer", frequency="daily")
    desk.tick(MONDAY - HOUR)
    day = MONDAY
    for number in range(1, 17):
        # The story of the day comes after the daily of that day.
        desk.tick(day + HOUR if number % 7 == 1 else day)
        desk.item(f"day-{number}")
        if number == 4:
            desk.change(wanderer, frequency="weekly")
        if number == 10:
            desk.change(wanderer, frequency="daily")
        day += DAY
    desk.tick(day)
    assert flat(desk.read(wanderer)) == sorted(f"day-{number}" for number in range(1, 17))


def test_weekly_from_the_first_day_then_daily_within_the_week(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY)
    desk.schedule("weekly", WEEKLY)
    reader, other = desk.reader("reader", frequency="weekly"), desk.reader("other", frequency="daily")
    desk.tick(MONDAY - HOUR)
    for number in range(3):
        desk.item(f"day-{number}")
        desk.tick(MONDAY + number * DAY)
        desk.tick(MONDAY + number * DAY + HOUR)
    desk.change(reader, frequency="daily")
    desk.item("day-3")
    desk.tick(MONDAY + 3 * DAY)
    assert desk.read(reader) == [["day-0"], ["day-3", "day-2", "day-1"]]
    assert flat(desk.read(other)) == ["day-0", "day-1", "day-2", "day-3"]


def test_a_change_of_topics_neither_repeats_nor_skips(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY)
    reader = desk.reader("reader", topics=["water"])
    desk.tick(MONDAY - HOUR)
    desk.item("wet", topics="[water]")
    desk.item("young", topics="[youth]")
    desk.item("both", topics="[youth, water]")
    desk.tick(MONDAY)
    assert flat(desk.fresh(reader)) == ["both", "wet"]
    desk.change(reader, topics=[])
    desk.item("dry", topics="[climate]")
    desk.tick(MONDAY + DAY)
    # What was used before the mark was not wanted then, and is not sent after the fact.
    assert desk.fresh(reader) == [["dry"]]


def test_a_reader_who_was_not_served_is_offered_what_was_used_since(desk: Desk) -> None:
    desk.schedule("daily", DAILY)
    reader = desk.reader("reader", topics=["health"])
    desk.reader("other")
    desk.tick(MONDAY - HOUR)
    desk.item("wet", topics="[water]")
    desk.tick(MONDAY)
    assert desk.read(reader) == []
    desk.change(reader, topics=["water"])
    desk.item("wetter", topics="[water]")
    desk.tick(MONDAY + DAY)
    assert desk.read(reader) == [["wetter", "wet"]]


def test_a_change_of_language_neither_repeats_nor_skips(desk: Desk) -> None:
    desk.schedule("daily", DAILY)
    reader = desk.reader("reader", language="ru")
    desk.tick(MONDAY - HOUR)
    for language in ("en", "ru"):
        desk.item("one", language)
    desk.tick(MONDAY)
    desk.change(reader, language="en")
    for language in ("en", "ru"):
        desk.item("two", language)
    desk.tick(MONDAY + DAY)
    first, second = desk.mails(reader)
    assert "/ru/one/" in first.text
    assert "/en/two/" in second.text and "/one/" not in second.text


def test_fallback_stands_in_and_without_it_the_story_is_left_out(desk: Desk) -> None:
    desk.schedule("daily", DAILY)
    reader = desk.reader("reader", language="kk")
    desk.tick(MONDAY - HOUR)
    desk.item("english")
    desk.item("russian", "ru")
    desk.tick(MONDAY)
    assert desk.fresh(reader) == [["english"]]
    desk.configure("fallback: [en], unsubscribe_mailto", "fallback: [], unsubscribe_mailto")
    desk.item("more")
    desk.tick(MONDAY + DAY)
    assert desk.fresh(reader) == []
    (skipped,) = [one for one in desk.entries(edition="daily/2") if one.state == "skipped"]
    assert skipped.reason == "nothing_for_reader"


def test_a_new_subscriber_gets_no_old_editions(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY)
    desk.reader("anna")
    desk.tick(MONDAY - HOUR)
    desk.item("one")
    desk.tick(MONDAY)
    late = desk.reader("late")
    desk.item("two")
    desk.tick(MONDAY + DAY)
    assert desk.read(late) == [["two"]]


def test_who_is_on_two_lists_of_one_edition_gets_one(on_both: Desk) -> None:
    desk = on_both
    desk.schedule(
        "daily",
        'cadence: {daily: "09:00"}\ndeliver:\n  - {list: press, frequency: all}\n  - {list: digest, frequency: all}\n',
    )
    both = desk.reader("both")
    desk.reader("both", "press", "now")
    one = desk.reader("one")
    desk.tick(MONDAY - HOUR)
    desk.item("story")
    desk.tick(MONDAY)
    assert len(desk.mails(both)) == len(desk.mails(one)) == 1
    assert [(e.list, e.state, e.reason) for e in desk.entries() if e.address == both] == [
        ("press", "accepted", ""),
        ("digest", "skipped", "other_list"),
    ]


def test_who_left_or_is_suppressed_gets_nothing_and_an_import_does_not_bring_them_back(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY)
    left, bounced, here = desk.reader("left"), desk.reader("bounced"), desk.reader("here")
    with desk.runtime.store.write() as connection:
        number = subscribers.find(connection, left)
        assert number is not None
        subscribers.unsubscribe(connection, number, "digest", source="test", now=desk.now)
        consent.suppress(connection, consent.address_hash(bounced), "", "hard bounce", desk.now)
    with desk.runtime.store.write() as connection:
        again = {
            address: subscribers.add(
                connection, address, "digest", language="en", frequency="daily", now=desk.now, confirmed=True
            )
            for address in (left, bounced, here, "LEFT@Example.ORG")
        }
    assert again == {left: "left", bounced: "suppressed", here: "exists", "LEFT@Example.ORG": "left"}
    desk.tick(MONDAY - HOUR)
    desk.item("one")
    desk.tick(MONDAY)
    assert [mail.recipient for mail in desk.world.mails.caught] == [here]
    assert {e.address: e.reason for e in desk.entries(state="skipped")} == {bounced: "suppressed"}


# -- how much ---------------------------------------------------------------------------------------------------------


def test_beyond_max_items_stories_are_titles_and_count_as_had(desk: Desk) -> None:
    desk.schedule("daily", DAILY + "select: {max_items: 2, order: newest}\n")
    reader = desk.reader("reader")
    desk.tick(MONDAY - HOUR)
    for number in range(1, 5):
        desk.item(f"s{number}", published=f"2026-02-0{number}")
    desk.tick(MONDAY)
    (text,) = [mail.text for mail in desk.mails(reader)]
    assert desk.fresh(reader) == [["s4", "s3", "s2", "s1"]]
    assert "What happened in s3" in text and "What happened in s2" not in text
    desk.item("s5")
    desk.tick(MONDAY + DAY)
    assert desk.fresh(reader) == [["s5"]]


def test_what_waits_goes_next_time_oldest_first_though_newer_come_each_day(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY + "select: {max_items: 2, overflow: wait}\n")
    reader, picky = desk.reader("reader"), desk.reader("picky", topics=["water"])
    desk.tick(MONDAY - HOUR)
    for number in range(1, 6):
        desk.item(f"s{number}", topics="[water]" if number > 3 else "[youth]")
        desk.tick(MONDAY - HOUR + number * HOUR / 10)
    days: list[list[str]] = []
    for day in range(4):
        desk.tick(MONDAY + day * DAY)
        days += desk.fresh(reader)
        if day < 2:
            desk.item(f"n{day}", topics="[water]")
            desk.tick(MONDAY + day * DAY + HOUR)
    assert [sorted(day) for day in days] == [["s1", "s2"], ["s3", "s4"], ["n0", "s5"], ["n1"]]
    assert flat(desk.read(picky)) == ["n0", "n1", "s4", "s5"]


def test_what_waits_goes_at_the_next_slot_though_nothing_is_new(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY + "select: {max_items: 1, overflow: wait}\n")
    reader, other = desk.reader("reader"), desk.reader("other", topics=["youth"])
    desk.tick(MONDAY - HOUR)
    desk.item("one", topics="[water]")
    desk.tick(MONDAY - HOUR / 2)
    desk.item("two", topics="[water]")
    for day in range(4):
        desk.tick(MONDAY + day * DAY)
    assert desk.read(reader) == [["one"], ["two"]]
    assert desk.read(other) == []
    assert [state for state, _ in desk.slots("daily")] == ["fired", "fired", "skipped", "skipped"]


def test_a_lead_does_not_wait(desk: Desk) -> None:
    desk.schedule("daily", DAILY + "select: {max_items: 1, overflow: wait}\n")
    reader = desk.reader("reader")
    desk.tick(MONDAY - HOUR)
    desk.item("older")
    desk.tick(MONDAY - HOUR / 2)
    desk.item("lead", lead="true")
    desk.tick(MONDAY)
    desk.tick(MONDAY + DAY)
    assert desk.read(reader) == [["lead"], ["older"]]


def test_fewer_than_min_items_are_skipped_visibly_and_wait(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY + "select: {min_items: 2}\n")
    reader = desk.reader("reader")
    desk.tick(MONDAY - HOUR)
    desk.item("one")
    done = desk.tick(MONDAY)
    assert [composed.reason for composed in done.composed] == ["1 of at least 2 stories (min_items); they wait"]
    desk.item("one", "ru")
    desk.tick(MONDAY + DAY)
    assert desk.slots("daily") == [("skipped", "1 of at least 2 stories (min_items); they wait")] * 2
    desk.item("two")
    desk.tick(MONDAY + 2 * DAY)
    assert flat(desk.read(reader)) == ["one", "two"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("newest", ["lead", "c", "b", "a"]),
        ("oldest", ["lead", "a", "b", "c"]),
        ("kind", ["lead", "a", "c", "b"]),
    ],
)
def test_order_and_lead(desk: Desk, order: str, expected: list[str]) -> None:
    desk.schedule("daily", DAILY + f"select: {{order: {order}, kinds: [press-release, story]}}\n")
    reader = desk.reader("reader")
    desk.tick(MONDAY - HOUR)
    desk.item("a", published="2026-02-01", kind="press-release")
    desk.item("b", published="2026-02-02", kind="story")
    desk.item("c", published="2026-02-03", kind="story")
    desk.item("lead", published="2026-01-01", kind="story", lead="true")
    desk.item("event", published="2026-01-01", kind="event")
    desk.tick(MONDAY)
    assert [desk.edition("daily/1").stories] == [tuple(expected)]
    assert desk.read(reader)[0][0] == "lead"


# -- what stays out ---------------------------------------------------------------------------------------------------


def test_not_in_keeps_a_story_out_of_a_list_or_channel(desk: Desk) -> None:
    desk.schedule(
        "daily",
        'cadence: {daily: "09:00"}\ndeliver:\n  - {list: digest, frequency: daily}\n  - {channel: desk}\n',
    )
    reader = desk.reader("reader")
    desk.tick(MONDAY - HOUR)
    desk.item("a", not_in="[digest]")
    desk.item("b", not_in="[desk]")
    desk.item("c")
    desk.tick(MONDAY)
    assert flat(desk.read(reader)) == ["b", "c"]
    assert [sorted(post) for post in posts(desk)] == [["a", "c"]]


def test_expired_drafts_and_what_is_dated_ahead_stay_out_until_their_time(desk: Desk) -> None:
    desk.schedule("daily", DAILY)
    reader = desk.reader("reader")
    desk.tick(MONDAY - HOUR)
    desk.item("expired", published="2026-02-01", expires="2026-03-01")
    desk.item("draft", draft="true")
    desk.item("ahead", published="2026-03-02T12:00")
    desk.item("here")
    desk.tick(MONDAY)
    assert desk.fresh(reader) == [["here"]]
    desk.item("draft", draft="false")
    desk.tick(MONDAY + DAY)
    assert flat(desk.fresh(reader)) == ["ahead", "draft"]


def test_new_is_from_when_it_was_first_seen_though_dated_long_ago(desk: Desk) -> None:
    desk.schedule("daily", DAILY)
    reader = desk.reader("reader")
    desk.tick(MONDAY)
    desk.item("backdated", published="2024-01-01")
    desk.tick(MONDAY + DAY)
    assert desk.read(reader) == [["backdated"]]


# -- notes and corrections --------------------------------------------------------------------------------------------


def test_a_note_opens_the_next_digest_in_its_language_once(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY)
    anna, ira = desk.reader("anna"), desk.reader("ira", language="ru")
    desk.tick(MONDAY - HOUR)
    desk.item("hello", kind="note", body="We move to a new house.")
    desk.tick(MONDAY)
    assert desk.slots("daily") == [("skipped", "nothing new")]
    for day in (1, 2):
        desk.item(f"s{day}")
        desk.tick(MONDAY + day * DAY)
    assert ["We move to a new house." in mail.text for mail in desk.mails(anna)] == [True, False]
    assert ["We move to a new house." in mail.text for mail in desk.mails(ira)] == [False, False]
    assert desk.read(anna) == [["s1"], ["s2"]]


def test_a_correction_reaches_those_who_had_the_story_once_in_their_language(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY)
    anna, ira = desk.reader("anna"), desk.reader("ira", language="ru")
    other = desk.reader("other", topics=["youth"])
    desk.tick(MONDAY - HOUR)
    for language in ("en", "ru"):
        desk.item("one", language, topics="[water]")
    desk.tick(MONDAY)
    late = desk.reader("late")
    desk.item("one", topics="[water]", correction="66 per cent, not 60.")
    desk.item("one", "ru", topics="[water]", correction="66 процентов, а не 60.")
    for day in (1, 2, 3):
        desk.item(f"s{day}", topics="[youth]")
        desk.tick(MONDAY + day * DAY)
    told = [
        ["66 п" in mail.text or "66 p" in mail.text for mail in desk.mails(who)] for who in (anna, ira, other, late)
    ]
    assert told == [[False, True, False, False]] * 2 + [[False] * 3] * 2
    assert "66 процентов" in desk.mails(ira)[1].text


def test_a_second_correction_is_told_again_and_a_late_reader_of_the_mended_story_is_not_told(desk: Desk) -> None:
    desk.schedule("daily", DAILY)
    desk.schedule("weekly", WEEKLY)
    anna, slow = desk.reader("anna"), desk.reader("slow", frequency="weekly")
    desk.tick(MONDAY + HOUR)
    desk.item("one")
    desk.tick(MONDAY + DAY)
    desk.item("one", correction="66 per cent.")
    desk.item("two")
    desk.tick(MONDAY + 2 * DAY)
    desk.item("one", correction="67 per cent.")
    desk.item("three")
    desk.tick(MONDAY + 3 * DAY)
    desk.item("four")
    desk.tick(MONDAY + 4 * DAY)
    assert [("66 per" in m.text, "67 per" in m.text) for m in desk.mails(anna)] == [
        (False, False),
        (True, False),
        (False, True),
        (False, False),
    ]
    desk.tick(MONDAY + 7 * DAY + HOUR)
    desk.item("five")
    desk.tick(MONDAY + 14 * DAY + HOUR)
    weekly = desk.mails(slow)
    assert ["per cent" in mail.text for mail in weekly][1:] == [False]


# -- named stories, everyone ------------------------------------------------------------------------------------------


def test_send_story_goes_to_who_had_it_too_and_leaves_a_held_edition_alone(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY)
    desk.schedule("request", REQUEST)
    reader = desk.reader("reader")
    desk.tick(MONDAY - HOUR)
    desk.item("one")
    desk.tick(MONDAY)
    composer, newsroom = desk.runtime.composer, desk.runtime.newsroom
    for _ in range(2):
        composed = composer.compose(newsroom.schedules["request"], desk.now, stories=["one"])
        assert composed is not None and composed.edition is not None
        desk.runtime.deliver()
    assert desk.read(reader) == [["one"]] * 3
    with pytest.raises(InputError, match="no story 'oen' is out"):
        composer.compose(newsroom.schedules["request"], desk.now, stories=["oen"])


def test_a_named_story_does_not_supersede_what_is_held(desk: Desk) -> None:
    desk.schedule("daily", DAILY + "approval: {by: [boss@example.org]}\n")
    desk.reader("reader")
    desk.tick(MONDAY - HOUR)
    desk.item("old")
    desk.tick(MONDAY)
    desk.item("urgent")
    desk.tick(MONDAY + HOUR)
    desk.runtime.composer.compose(desk.runtime.newsroom.schedules["daily"], desk.now, stories=["urgent"])
    assert desk.editions() == ["daily/1 held", "daily/2 held"]
    desk.item("next")
    desk.tick(MONDAY + DAY)
    assert desk.editions() == ["daily/1 superseded", "daily/2 superseded", "daily/3 held"]
    assert sorted(desk.edition("daily/3").stories) == ["next", "old", "urgent"]


def test_select_stories_takes_these_and_no_others_also_to_who_has_had_them(desk: Desk) -> None:
    desk.schedule("daily", DAILY)
    desk.schedule(
        "special",
        "cadence: {at: 2026-03-03T12:00}\nselect: {stories: [one]}\ndeliver: [{list: digest, frequency: daily}]\n",
    )
    reader, weekly = desk.reader("reader"), desk.reader("weekly", frequency="weekly")
    desk.tick(MONDAY - HOUR)
    desk.item("one")
    desk.item("two")
    desk.tick(MONDAY)
    desk.tick(MONDAY + DAY + 4 * HOUR)
    assert desk.read(reader) == [["two", "one"], ["one"]]
    assert desk.read(weekly) == []
    desk.schedule("all", "cadence: {at: 2026-03-03T14:00}\nselect: {stories: [one]}\ndeliver: [{list: digest}]\n")
    desk.tick(MONDAY + DAY + 4.5 * HOUR)
    desk.tick(MONDAY + DAY + 6 * HOUR)
    assert desk.read(weekly) == [["one"]]


def test_everyone_gets_it_whatever_they_chose_but_never_who_left(desk: Desk) -> None:
    desk.schedule("alert", "cadence: {on: new, settle: 1m}\ndeliver: [{list: digest, everyone: true}]\n")
    picky, weekly = desk.reader("picky", topics=["water"]), desk.reader("weekly", frequency="weekly")
    left = desk.reader("left")
    with desk.runtime.store.write() as connection:
        number = subscribers.find(connection, left)
        assert number is not None
        subscribers.unsubscribe(connection, number, "digest", source="test", now=desk.now)
    desk.tick(MONDAY - HOUR)
    desk.item("alert", topics="[youth]")
    desk.tick(MONDAY)
    desk.tick(MONDAY + HOUR)
    assert desk.read(picky) == desk.read(weekly) == [["alert"]]
    assert desk.mails(left) == []


# -- by item, channels ------------------------------------------------------------------------------------------------


def test_by_item_each_story_is_a_mail_and_a_post_of_its_own(on_both: Desk) -> None:
    desk = on_both
    desk.schedule(
        "press",
        "cadence: {on: new, settle: 10m}\ndeliver:\n"
        "  - {list: press, frequency: all, template: press, per: item}\n  - {channel: desk, per: item}\n",
    )
    reader = desk.reader("reader", "press", "now")
    desk.tick(MONDAY - HOUR)
    desk.item("one")
    desk.item("two")
    desk.tick(MONDAY)
    desk.tick(MONDAY + HOUR)
    assert sorted(desk.read(reader)) == [["one"], ["two"]]
    assert sorted(posts(desk)) == [["one"], ["two"]]
    assert sorted((e.target.split(":")[0], e.story) for e in desk.entries()) == [
        ("channel", "one"), ("channel", "two"), ("list", "one"), ("list", "two")
    ]  # fmt: skip


def test_posts_over_max_posts_wait_and_none_starves(desk: Desk) -> None:
    desk.schedule("daily", 'cadence: {daily: "09:00"}\ndeliver: [{channel: desk, per: item, max_posts: 2}]\n')
    desk.tick(MONDAY - HOUR)
    for number in range(1, 4):
        desk.item(f"s{number}")
        desk.tick(MONDAY - HOUR + number * HOUR / 10)
    for day in range(3):
        desk.tick(MONDAY + day * DAY)
        desk.item(f"a{day}")
        desk.item(f"b{day}")
        desk.tick(MONDAY + day * DAY + HOUR)
    days = posts(desk)
    assert [sorted(one for (one,) in days[n : n + 2]) for n in (0, 2, 4)] == [["s1", "s2"], ["a0", "s3"], ["a1", "b0"]]
    assert [e.story for e in desk.entries(edition="daily/1", state="skipped")] == ["s3"]
    # At the end of the line what waits goes though nothing is new.
    for day in range(3, 7):
        desk.tick(MONDAY + day * DAY)
    everything = [story for (story,) in posts(desk)]
    assert sorted(everything) == ["a0", "a1", "a2", "b0", "b1", "b2", "s1", "s2", "s3"]
    assert desk.slots("daily")[-1] == ("skipped", "nothing new")


def test_an_explicit_post_goes_out_again(desk: Desk) -> None:
    desk.schedule("posts", "cadence: {on: request}\ndeliver: [{channel: desk, per: item}]\n")
    desk.item("one")
    desk.tick(MONDAY)
    for _ in range(2):
        composed = desk.runtime.composer.compose(desk.runtime.newsroom.schedules["posts"], desk.now, stories=["one"])
        assert composed is not None and composed.edition is not None
        desk.runtime.deliver()
    assert posts(desk) == [["one"], ["one"]]
    webhook_ids = [received.headers["webhook-id"] for received in desk.world.hook.received]
    assert len(set(webhook_ids)) == 2


# -- renamed ----------------------------------------------------------------------------------------------------------


def test_a_renamed_schedule_goes_on_where_it_was(on_both: Desk) -> None:
    desk = on_both
    desk.schedule("daily", DAILY)
    reader = desk.reader("reader")
    desk.tick(MONDAY - HOUR)
    desk.item("one")
    desk.tick(MONDAY)
    desk.item("two")
    (desk.world.root / "schedules" / "daily.yaml").unlink()
    desk.schedule("morning", DAILY + "was: daily\n")
    desk.tick(MONDAY + DAY)
    assert desk.read(reader) == [["one"], ["two"]]
    assert desk.editions() == ["morning/1 done", "morning/2 done"]


def test_a_renamed_list_and_a_renamed_channel_keep_what_they_had(on_both: Desk) -> None:
    desk = on_both
    deliver = (
        'cadence: {{daily: "09:00"}}\ndeliver:\n  - {{list: {}, frequency: daily}}\n  - {{channel: {}, per: item}}\n'
    )
    desk.schedule("daily", deliver.format("digest", "desk"))
    reader, left = desk.reader("reader"), desk.reader("left")
    desk.tick(MONDAY - HOUR)
    desk.item("one")
    desk.tick(MONDAY)
    with desk.runtime.store.write() as connection:
        number = subscribers.find(connection, left)
        assert number is not None
        subscribers.unsubscribe(connection, number, "digest", source="test", now=desk.now)
    desk.world.write("schedules/daily.yaml", deliver.format("letter", "newsdesk"))
    text = (desk.world.root / "tidings.yaml").read_text(encoding="utf-8")
    text = text.replace("  digest: {", "  letter: {was: digest, ").replace("  desk:\n", "  newsdesk:\n    was: desk\n")
    desk.world.write("tidings.yaml", text)
    desk.reload()
    desk.item("two")
    desk.tick(MONDAY + DAY)
    assert desk.read(reader) == [["one"], ["two"]]
    assert desk.read(left) == [["one"]]
    assert posts(desk) == [["one"], ["two"]]
    with desk.runtime.store.write() as connection:
        assert (
            subscribers.add(connection, left, "letter", language="en", frequency="daily", now=desk.now, confirmed=True)
            == "left"
        )
