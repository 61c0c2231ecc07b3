"""Which reader is offered which story: the contract's rules of selection, with real stores, mails and posts."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, REQUEST, WEEKLY, RunningNewsroom, flat
from tidings.model.errors import InputError
from tidings.store.people import consent, subscribers


def posts(newsroom: RunningNewsroom, path: str = "/hook/") -> list[list[str]]:
    return [
        [item["story"] for item in json.loads(received.body)["data"]["items"]]
        for received in newsroom.folder.hook.received
        if received.path.startswith(path)
    ]


# -- baseline, backfill, once -----------------------------------------------------------------------------------------


def test_stories_from_before_the_first_tick_are_not_sent(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.item("old")
    newsroom.tick()
    newsroom.schedule("daily", DAILY)
    anna = newsroom.reader("anna")
    newsroom.tick(MONDAY - HOUR)
    newsroom.tick(MONDAY)
    assert newsroom.slots("daily") == [("skipped", "nothing new")]
    newsroom.item("new")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(anna) == [["new"]]


def test_backfill_takes_the_newest_that_the_schedule_wants(newsroom: RunningNewsroom) -> None:
    for number, kind in enumerate(["publication", "publication", "story", "story", "story"]):
        newsroom.item(f"old-{number}", kind=kind, published=f"2026-02-{10 + number}")
    newsroom.tick()
    newsroom.schedule("daily", DAILY + "select: {kinds: [publication]}\nbackfill: 1\n")
    anna = newsroom.reader("anna")
    newsroom.tick(MONDAY - HOUR)
    newsroom.tick(MONDAY)
    assert newsroom.read(anna) == [["old-1"]]


def test_a_story_hidden_at_the_baseline_is_not_new_later(newsroom: RunningNewsroom) -> None:
    """Expired or withdrawn at the first tick, and corrected later: it had been published before the baseline."""
    newsroom.item("expired", published="2026-02-01", expires="2026-02-02")
    newsroom.item("withdrawn", published="2026-02-01", withdrawn="In error.")
    newsroom.tick()
    newsroom.schedule("daily", DAILY)
    anna = newsroom.reader("anna")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("expired", published="2026-02-01")
    newsroom.item("withdrawn", published="2026-02-01")
    newsroom.tick(MONDAY)
    assert newsroom.read(anna) == []


def test_late_translation_is_not_sent_again(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY)
    anna, ira = newsroom.reader("anna"), newsroom.reader("ira", language="ru")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("one")
    newsroom.tick(MONDAY)
    newsroom.item("one", "ru")
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(anna) == [["one"], ["two"]]
    assert newsroom.read(ira) == [["one"], ["two"]]
    assert "/en/one/" in newsroom.mails(ira)[0].text


def test_a_second_tick_at_the_same_moment_does_nothing(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY)
    anna = newsroom.reader("anna")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("one")
    first, again = newsroom.tick(MONDAY), newsroom.tick(MONDAY)
    assert [result.edition and result.edition.name for result in first.composed] == ["daily/1"]
    assert not again.composed and not again.delivered
    assert len(newsroom.mails(anna)) == 1


# -- a reader changes their choices -----------------------------------------------------------------------------------


def test_daily_to_weekly_to_daily_neither_repeats_nor_skips(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY)
    newsroom.schedule("weekly", WEEKLY)
    wanderer = newsroom.reader("wanderer", frequency="daily")
    newsroom.tick(MONDAY - HOUR)
    day = MONDAY
    for number in range(1, 17):
        # This story comes after the daily edition of its day.
        newsroom.tick(day + HOUR if number % 7 == 1 else day)
        newsroom.item(f"day-{number}")
        if number == 4:
            newsroom.change(wanderer, frequency="weekly")
        if number == 10:
            newsroom.change(wanderer, frequency="daily")
        day += DAY
    newsroom.tick(day)
    assert flat(newsroom.read(wanderer)) == sorted(f"day-{number}" for number in range(1, 17))


def test_weekly_from_the_first_day_then_daily_within_the_week(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY)
    newsroom.schedule("weekly", WEEKLY)
    reader, other = newsroom.reader("reader", frequency="weekly"), newsroom.reader("other", frequency="daily")
    newsroom.tick(MONDAY - HOUR)
    for number in range(3):
        newsroom.item(f"day-{number}")
        newsroom.tick(MONDAY + number * DAY)
        newsroom.tick(MONDAY + number * DAY + HOUR)
    newsroom.change(reader, frequency="daily")
    newsroom.item("day-3")
    newsroom.tick(MONDAY + 3 * DAY)
    assert newsroom.read(reader) == [["day-0"], ["day-3", "day-2", "day-1"]]
    assert flat(newsroom.read(other)) == ["day-0", "day-1", "day-2", "day-3"]


def test_a_change_of_topics_neither_repeats_nor_skips(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY)
    reader = newsroom.reader("reader", topics=["water"])
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("wet", topics="[water]")
    newsroom.item("young", topics="[youth]")
    newsroom.item("both", topics="[youth, water]")
    newsroom.tick(MONDAY)
    assert flat(newsroom.fresh(reader)) == ["both", "wet"]
    newsroom.change(reader, topics=[])
    newsroom.item("dry", topics="[climate]")
    newsroom.tick(MONDAY + DAY)
    # A story from before the mark, which the reader had not chosen then, is not sent later.
    assert newsroom.fresh(reader) == [["dry"]]


def test_unserved_reader_gets_earlier_stories(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY)
    reader = newsroom.reader("reader", topics=["health"])
    newsroom.reader("other")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("wet", topics="[water]")
    newsroom.tick(MONDAY)
    assert newsroom.read(reader) == []
    newsroom.change(reader, topics=["water"])
    newsroom.item("wetter", topics="[water]")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(reader) == [["wetter", "wet"]]


def test_a_change_of_language_neither_repeats_nor_skips(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY)
    reader = newsroom.reader("reader", language="ru")
    newsroom.tick(MONDAY - HOUR)
    for language in ("en", "ru"):
        newsroom.item("one", language)
    newsroom.tick(MONDAY)
    newsroom.change(reader, language="en")
    for language in ("en", "ru"):
        newsroom.item("two", language)
    newsroom.tick(MONDAY + DAY)
    first, second = newsroom.mails(reader)
    assert "/ru/one/" in first.text
    assert "/en/two/" in second.text and "/one/" not in second.text


def test_a_fallback_language_is_used_or_the_story_left_out(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY)
    reader = newsroom.reader("reader", language="kk")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("english")
    newsroom.item("russian", "ru")
    newsroom.tick(MONDAY)
    assert newsroom.fresh(reader) == [["english"]]
    newsroom.configure("fallback: [en], unsubscribe_mailto", "fallback: [], unsubscribe_mailto")
    newsroom.item("more")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.fresh(reader) == []
    (skipped,) = [entry for entry in newsroom.entries(edition="daily/2") if entry.state == "skipped"]
    assert skipped.reason == "nothing_for_reader"


def test_a_fallback_is_not_the_lead_and_names_its_language(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY)
    anna, boris = newsroom.reader("anna"), newsroom.reader("boris", language="ru")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("english", lead="true")
    for language in ("en", "ru"):
        newsroom.item("both", language)
    newsroom.tick(MONDAY)
    assert (newsroom.read(anna), newsroom.read(boris)) == ([["english", "both"]], [["both", "english"]])
    (mail,) = newsroom.mails(boris)
    assert str(mail.message["Subject"]) == "both (ru)"
    html = mail.message.get_body(("html",))
    assert html is not None
    for text in (mail.text, html.get_content()):
        assert text.count("(язык: английский)") == 1
        assert text.index("english (en)") < text.index("(язык: английский)")
    (mail,) = newsroom.mails(anna)
    assert "(in " not in mail.text


def test_a_new_subscriber_gets_no_old_editions(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY)
    newsroom.reader("anna")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("one")
    newsroom.tick(MONDAY)
    late = newsroom.reader("late")
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(late) == [["two"]]


def test_a_reader_on_two_lists_of_an_edition_gets_one_mail(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule(
        "daily",
        'cadence: {daily: "09:00"}\ndeliver:\n  - {list: press, frequency: all}\n  - {list: digest, frequency: all}\n',
    )
    both = newsroom.reader("both")
    newsroom.reader("both", "press", "now")
    one = newsroom.reader("one")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("story")
    newsroom.tick(MONDAY)
    assert len(newsroom.mails(both)) == len(newsroom.mails(one)) == 1
    assert [(e.list, e.state, e.reason) for e in newsroom.entries() if e.address == both] == [
        ("press", "accepted", ""),
        ("digest", "skipped", "other_list"),
    ]


def test_suppressed_readers_get_nothing_even_after_an_import(
    on_both: RunningNewsroom,
) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY)
    left, bounced, here = newsroom.reader("left"), newsroom.reader("bounced"), newsroom.reader("here")
    with newsroom.runtime.store.write() as connection:
        number = subscribers.find_id(connection, left)
        assert number is not None
        subscribers.unsubscribe(connection, number, "digest", source="test", now=newsroom.now)
        consent.suppress(connection, consent.address_hash(bounced), "", "hard bounce", newsroom.now)
    with newsroom.runtime.store.write() as connection:
        again = {
            address: subscribers.add(
                connection, address, "digest", language="en", frequency="daily", now=newsroom.now, confirmed=True
            )
            for address in (left, bounced, here, "LEFT@Example.ORG")
        }
    assert again == {left: "left", bounced: "suppressed", here: "exists", "LEFT@Example.ORG": "left"}
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("one")
    newsroom.tick(MONDAY)
    assert [mail.recipient for mail in newsroom.folder.mails.received] == [here]
    assert {e.address: e.reason for e in newsroom.entries(state="skipped")} == {bounced: "suppressed"}


# -- limits of an edition ---------------------------------------------------------------------------------------------


def test_stories_beyond_max_items_are_titles_and_count_as_had(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY + "select: {max_items: 2, order: newest}\n")
    reader = newsroom.reader("reader")
    newsroom.tick(MONDAY - HOUR)
    for number in range(1, 5):
        newsroom.item(f"s{number}", published=f"2026-02-0{number}")
    newsroom.tick(MONDAY)
    (text,) = [mail.text for mail in newsroom.mails(reader)]
    assert newsroom.fresh(reader) == [["s4", "s3", "s2", "s1"]]
    assert "What happened in s3" in text and "What happened in s2" not in text
    newsroom.item("s5")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.fresh(reader) == [["s5"]]


def test_waiting_stories_go_next_oldest_first(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY + "select: {max_items: 2, overflow: wait}\n")
    reader, picky = newsroom.reader("reader"), newsroom.reader("picky", topics=["water"])
    newsroom.tick(MONDAY - HOUR)
    for number in range(1, 6):
        newsroom.item(f"s{number}", topics="[water]" if number > 3 else "[youth]")
        newsroom.tick(MONDAY - HOUR + number * HOUR / 10)
    days: list[list[str]] = []
    for day in range(4):
        newsroom.tick(MONDAY + day * DAY)
        days += newsroom.fresh(reader)
        if day < 2:
            newsroom.item(f"n{day}", topics="[water]")
            newsroom.tick(MONDAY + day * DAY + HOUR)
    assert [sorted(day) for day in days] == [["s1", "s2"], ["s3", "s4"], ["n0", "s5"], ["n1"]]
    assert flat(newsroom.read(picky)) == ["n0", "n1", "s4", "s5"]


def test_waiting_stories_go_at_the_next_slot_without_news(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY + "select: {max_items: 1, overflow: wait}\n")
    reader, other = newsroom.reader("reader"), newsroom.reader("other", topics=["youth"])
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("one", topics="[water]")
    newsroom.tick(MONDAY - HOUR / 2)
    newsroom.item("two", topics="[water]")
    for day in range(4):
        newsroom.tick(MONDAY + day * DAY)
    assert newsroom.read(reader) == [["one"], ["two"]]
    assert newsroom.read(other) == []
    assert [state for state, _ in newsroom.slots("daily")] == ["fired", "fired", "skipped", "skipped"]


def test_a_lead_does_not_wait(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY + "select: {max_items: 1, overflow: wait}\n")
    reader = newsroom.reader("reader")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("older")
    newsroom.tick(MONDAY - HOUR / 2)
    newsroom.item("lead", lead="true")
    newsroom.tick(MONDAY)
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(reader) == [["lead"], ["older"]]


def test_fewer_than_min_items_are_skipped_visibly_and_wait(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY + "select: {min_items: 2}\n")
    reader = newsroom.reader("reader")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("one")
    done = newsroom.tick(MONDAY)
    assert [composed.reason for composed in done.composed] == ["1 of at least 2 stories (min_items); they wait"]
    newsroom.item("one", "ru")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.slots("daily") == [("skipped", "1 of at least 2 stories (min_items); they wait")] * 2
    newsroom.item("two")
    newsroom.tick(MONDAY + 2 * DAY)
    assert flat(newsroom.read(reader)) == ["one", "two"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("newest", ["lead", "c", "b", "a"]),
        ("oldest", ["lead", "a", "b", "c"]),
        ("kind", ["lead", "a", "c", "b"]),
    ],
)
def test_order_and_lead(newsroom: RunningNewsroom, order: str, expected: list[str]) -> None:
    newsroom.schedule("daily", DAILY + f"select: {{order: {order}, kinds: [press-release, story]}}\n")
    reader = newsroom.reader("reader")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("a", published="2026-02-01", kind="press-release")
    newsroom.item("b", published="2026-02-02", kind="story")
    newsroom.item("c", published="2026-02-03", kind="story")
    newsroom.item("lead", published="2026-01-01", kind="story", lead="true")
    newsroom.item("event", published="2026-01-01", kind="event")
    newsroom.tick(MONDAY)
    assert [newsroom.edition("daily/1").stories] == [tuple(expected)]
    assert newsroom.read(reader)[0][0] == "lead"


# -- stories that are left out ----------------------------------------------------------------------------------------


def test_not_in_keeps_a_story_out_of_a_list_or_channel(newsroom: RunningNewsroom) -> None:
    newsroom.schedule(
        "daily",
        'cadence: {daily: "09:00"}\ndeliver:\n  - {list: digest, frequency: daily}\n  - {channel: desk}\n',
    )
    reader = newsroom.reader("reader")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("a", not_in="[digest]")
    newsroom.item("b", not_in="[desk]")
    newsroom.item("c")
    newsroom.tick(MONDAY)
    assert flat(newsroom.read(reader)) == ["b", "c"]
    assert [sorted(post) for post in posts(newsroom)] == [["a", "c"]]


def test_expired_draft_and_future_items_stay_out(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY)
    reader = newsroom.reader("reader")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("expired", published="2026-02-01", expires="2026-03-01")
    newsroom.item("draft", draft="true")
    newsroom.item("ahead", published="2026-03-02T12:00")
    newsroom.item("here")
    newsroom.tick(MONDAY)
    assert newsroom.fresh(reader) == [["here"]]
    newsroom.item("draft", draft="false")
    newsroom.tick(MONDAY + DAY)
    assert flat(newsroom.fresh(reader)) == ["ahead", "draft"]


def test_old_dated_items_are_new_when_first_seen(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY)
    reader = newsroom.reader("reader")
    newsroom.tick(MONDAY)
    newsroom.item("backdated", published="2024-01-01")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(reader) == [["backdated"]]


# -- notes and corrections --------------------------------------------------------------------------------------------


def test_a_note_opens_the_next_digest_in_its_language_once(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY)
    anna, ira = newsroom.reader("anna"), newsroom.reader("ira", language="ru")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("hello", kind="note", body="We move to a new house.")
    newsroom.tick(MONDAY)
    assert newsroom.slots("daily") == [("skipped", "nothing new")]
    for day in (1, 2):
        newsroom.item(f"s{day}")
        newsroom.tick(MONDAY + day * DAY)
    assert ["We move to a new house." in mail.text for mail in newsroom.mails(anna)] == [True, False]
    assert ["We move to a new house." in mail.text for mail in newsroom.mails(ira)] == [False, False]
    assert newsroom.read(anna) == [["s1"], ["s2"]]


def test_correction_reaches_readers_of_the_story_once(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY)
    anna, ira = newsroom.reader("anna"), newsroom.reader("ira", language="ru")
    other = newsroom.reader("other", topics=["youth"])
    newsroom.tick(MONDAY - HOUR)
    for language in ("en", "ru"):
        newsroom.item("one", language, topics="[water]")
    newsroom.tick(MONDAY)
    late = newsroom.reader("late")
    newsroom.item("one", topics="[water]", correction="66 per cent, not 60.")
    newsroom.item("one", "ru", topics="[water]", correction="66 процентов, а не 60.")
    for day in (1, 2, 3):
        newsroom.item(f"s{day}", topics="[youth]")
        newsroom.tick(MONDAY + day * DAY)
    has_percent = [
        ["66 п" in mail.text or "66 p" in mail.text for mail in newsroom.mails(who)] for who in (anna, ira, other, late)
    ]
    assert has_percent == [[False, True, False, False]] * 2 + [[False] * 3] * 2
    assert "66 процентов" in newsroom.mails(ira)[1].text


def test_second_correction_is_sent_but_not_to_late_readers(
    newsroom: RunningNewsroom,
) -> None:
    newsroom.schedule("daily", DAILY)
    newsroom.schedule("weekly", WEEKLY)
    anna, slow = newsroom.reader("anna"), newsroom.reader("slow", frequency="weekly")
    newsroom.tick(MONDAY + HOUR)
    newsroom.item("one")
    newsroom.tick(MONDAY + DAY)
    newsroom.item("one", correction="66 per cent.")
    newsroom.item("two")
    newsroom.tick(MONDAY + 2 * DAY)
    newsroom.item("one", correction="67 per cent.")
    newsroom.item("three")
    newsroom.tick(MONDAY + 3 * DAY)
    newsroom.item("four")
    newsroom.tick(MONDAY + 4 * DAY)
    assert [("66 per" in m.text, "67 per" in m.text) for m in newsroom.mails(anna)] == [
        (False, False),
        (True, False),
        (False, True),
        (False, False),
    ]
    newsroom.tick(MONDAY + 7 * DAY + HOUR)
    newsroom.item("five")
    newsroom.tick(MONDAY + 14 * DAY + HOUR)
    weekly = newsroom.mails(slow)
    assert ["per cent" in mail.text for mail in weekly][1:] == [False]


# -- named stories, everyone ------------------------------------------------------------------------------------------


def test_send_story_repeats_it_and_keeps_a_held_edition(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY)
    newsroom.schedule("request", REQUEST)
    reader = newsroom.reader("reader")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("one")
    newsroom.tick(MONDAY)
    composer, settings = newsroom.runtime.composer, newsroom.runtime.newsroom
    for _ in range(2):
        composed = composer.compose(settings.schedules["request"], newsroom.now, stories=["one"])
        assert composed is not None and composed.edition is not None
        newsroom.runtime.deliver()
    assert newsroom.read(reader) == [["one"]] * 3
    with pytest.raises(InputError, match="no published story 'oen'"):
        composer.compose(settings.schedules["request"], newsroom.now, stories=["oen"])


def test_a_named_story_does_not_supersede_a_held_edition(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY + "approval: {by: [boss@example.org]}\n")
    newsroom.reader("reader")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("old")
    newsroom.tick(MONDAY)
    newsroom.item("urgent")
    newsroom.tick(MONDAY + HOUR)
    newsroom.runtime.composer.compose(newsroom.runtime.newsroom.schedules["daily"], newsroom.now, stories=["urgent"])
    assert newsroom.editions() == ["daily/1 held", "daily/2 held"]
    newsroom.item("next")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.editions() == ["daily/1 superseded", "daily/2 superseded", "daily/3 held"]
    assert sorted(newsroom.edition("daily/3").stories) == ["next", "old", "urgent"]


def test_select_stories_sends_exactly_these_again(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", DAILY)
    newsroom.schedule(
        "special",
        "cadence: {at: 2026-03-03T12:00}\nselect: {stories: [one]}\ndeliver: [{list: digest, frequency: daily}]\n",
    )
    reader, weekly = newsroom.reader("reader"), newsroom.reader("weekly", frequency="weekly")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("one")
    newsroom.item("two")
    newsroom.tick(MONDAY)
    newsroom.tick(MONDAY + DAY + 4 * HOUR)
    assert newsroom.read(reader) == [["two", "one"], ["one"]]
    assert newsroom.read(weekly) == []
    newsroom.schedule("all", "cadence: {at: 2026-03-03T14:00}\nselect: {stories: [one]}\ndeliver: [{list: digest}]\n")
    newsroom.tick(MONDAY + DAY + 4.5 * HOUR)
    newsroom.tick(MONDAY + DAY + 6 * HOUR)
    assert newsroom.read(weekly) == [["one"]]


def test_everyone_gets_it_except_readers_who_left(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("alert", "cadence: {on: new, settle: 1m}\ndeliver: [{list: digest, everyone: true}]\n")
    picky, weekly = newsroom.reader("picky", topics=["water"]), newsroom.reader("weekly", frequency="weekly")
    left = newsroom.reader("left")
    with newsroom.runtime.store.write() as connection:
        number = subscribers.find_id(connection, left)
        assert number is not None
        subscribers.unsubscribe(connection, number, "digest", source="test", now=newsroom.now)
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("alert", topics="[youth]")
    newsroom.tick(MONDAY)
    newsroom.tick(MONDAY + HOUR)
    assert newsroom.read(picky) == newsroom.read(weekly) == [["alert"]]
    assert newsroom.mails(left) == []


# -- by item, channels ------------------------------------------------------------------------------------------------


def test_by_item_each_story_has_its_own_mail_and_post(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule(
        "press",
        "cadence: {on: new, settle: 10m}\ndeliver:\n"
        "  - {list: press, frequency: all, template: press, per: item}\n  - {channel: desk, per: item}\n",
    )
    reader = newsroom.reader("reader", "press", "now")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("one")
    newsroom.item("two")
    newsroom.tick(MONDAY)
    newsroom.tick(MONDAY + HOUR)
    assert sorted(newsroom.read(reader)) == [["one"], ["two"]]
    assert sorted(posts(newsroom)) == [["one"], ["two"]]
    assert sorted((e.target.split(":")[0], e.story) for e in newsroom.entries()) == [
        ("channel", "one"), ("channel", "two"), ("list", "one"), ("list", "two")
    ]  # fmt: skip


def test_posts_over_max_posts_wait_and_each_is_sent(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("daily", 'cadence: {daily: "09:00"}\ndeliver: [{channel: desk, per: item, max_posts: 2}]\n')
    newsroom.tick(MONDAY - HOUR)
    for number in range(1, 4):
        newsroom.item(f"s{number}")
        newsroom.tick(MONDAY - HOUR + number * HOUR / 10)
    for day in range(3):
        newsroom.tick(MONDAY + day * DAY)
        newsroom.item(f"a{day}")
        newsroom.item(f"b{day}")
        newsroom.tick(MONDAY + day * DAY + HOUR)
    days = posts(newsroom)
    assert [sorted(one for (one,) in days[n : n + 2]) for n in (0, 2, 4)] == [["s1", "s2"], ["a0", "s3"], ["a1", "b0"]]
    assert [e.story for e in newsroom.entries(edition="daily/1", state="skipped")] == ["s3"]
    # In the end, waiting stories are sent although nothing is new.
    for day in range(3, 7):
        newsroom.tick(MONDAY + day * DAY)
    everything = [story for (story,) in posts(newsroom)]
    assert sorted(everything) == ["a0", "a1", "a2", "b0", "b1", "b2", "s1", "s2", "s3"]
    assert newsroom.slots("daily")[-1] == ("skipped", "nothing new")


def test_an_explicit_post_goes_out_again(newsroom: RunningNewsroom) -> None:
    newsroom.schedule("posts", "cadence: {on: request}\ndeliver: [{channel: desk, per: item}]\n")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    for _ in range(2):
        composed = newsroom.runtime.composer.compose(
            newsroom.runtime.newsroom.schedules["posts"], newsroom.now, stories=["one"]
        )
        assert composed is not None and composed.edition is not None
        newsroom.runtime.deliver()
    assert posts(newsroom) == [["one"], ["one"]]
    webhook_ids = [received.headers["webhook-id"] for received in newsroom.folder.hook.received]
    assert len(set(webhook_ids)) == 2


# -- renamed ----------------------------------------------------------------------------------------------------------


def test_a_renamed_schedule_continues(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    newsroom.schedule("daily", DAILY)
    reader = newsroom.reader("reader")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("one")
    newsroom.tick(MONDAY)
    newsroom.item("two")
    (newsroom.folder.root / "schedules" / "daily.yaml").unlink()
    newsroom.schedule("morning", DAILY + "was: daily\n")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(reader) == [["one"], ["two"]]
    assert newsroom.editions() == ["morning/1 done", "morning/2 done"]


def test_renamed_lists_and_channels_keep_their_history(on_both: RunningNewsroom) -> None:
    newsroom = on_both
    deliver = (
        'cadence: {{daily: "09:00"}}\ndeliver:\n  - {{list: {}, frequency: daily}}\n  - {{channel: {}, per: item}}\n'
    )
    newsroom.schedule("daily", deliver.format("digest", "desk"))
    reader, left = newsroom.reader("reader"), newsroom.reader("left")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("one")
    newsroom.tick(MONDAY)
    with newsroom.runtime.store.write() as connection:
        number = subscribers.find_id(connection, left)
        assert number is not None
        subscribers.unsubscribe(connection, number, "digest", source="test", now=newsroom.now)
    newsroom.folder.write("schedules/daily.yaml", deliver.format("letter", "newsdesk"))
    text = (newsroom.folder.root / "tidings.yaml").read_text(encoding="utf-8")
    text = text.replace("  digest: {", "  letter: {was: digest, ").replace("  desk:\n", "  newsdesk:\n    was: desk\n")
    newsroom.folder.write("tidings.yaml", text)
    newsroom.reload()
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.read(reader) == [["one"], ["two"]]
    assert newsroom.read(left) == [["one"]]
    assert posts(newsroom) == [["one"], ["two"]]
    with newsroom.runtime.store.write() as connection:
        assert (
            subscribers.add(
                connection, left, "letter", language="en", frequency="daily", now=newsroom.now, confirmed=True
            )
            == "left"
        )


# -- future events ----------------------------------------------------------------------------------------------------


def test_events_of_the_next_days_go_once_in_their_order(newsroom: RunningNewsroom) -> None:
    starts = {"forum": "2026-03-10T10:00", "lecture": "2026-03-04T18:00", "spring": "2026-03-20T10:00"}
    for name, start in (*starts.items(), ("gone", "2026-02-20T10:00")):
        newsroom.item(name, kind="event", published="2026-02-01", starts=start)
    newsroom.item("story", published="2026-02-01")
    newsroom.tick(MONDAY - DAY)
    weekly = "cadence: {weekly: mon 09:00}\nselect: {starting: 10d, order: starts}\n"
    newsroom.schedule("events", weekly + "deliver: [{list: digest, frequency: weekly}]\n")
    anna = newsroom.reader("anna", frequency="weekly")
    newsroom.tick(MONDAY - HOUR)
    newsroom.item("tea", kind="event", starts="2026-03-06T10:00")
    newsroom.tick(MONDAY)
    assert newsroom.fresh(anna) == [["lecture", "tea", "forum"]]
    newsroom.tick(MONDAY + 7 * DAY)
    assert newsroom.fresh(anna) == []
    newsroom.tick(MONDAY + 14 * DAY)
    assert newsroom.fresh(anna) == [["spring"]]
