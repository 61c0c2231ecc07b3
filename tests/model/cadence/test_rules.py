"""Known mistakes of other schedulers, and the rules of windows, holidays, lateness and merging."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from tidings.model.cadence import (
    Cadence,
    CadenceError,
    find_due_slots,
    find_slot_for_new,
    find_window_end,
    is_in_window,
    list_slots,
    next_slots,
    parse_rule,
    parse_skip_date,
    parse_window,
)

ALMATY = "Asia/Almaty"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def keys(cadence: Cadence, after: str, until: str) -> list[str]:
    return [slot.key.strftime("%m-%dT%H:%M") for slot in list_slots(cadence, moment(after), moment(until))]


@pytest.mark.parametrize("text", ["0 9 * * 1", "0 9 * * 1-5", "0 9 * * 7", "0 9 * * fri,0"])
def test_numeric_weekdays_are_refused_as_ambiguous(text: str) -> None:
    with pytest.raises(CadenceError, match="by name"):
        parse_rule("cron", text)


def test_cron_fires_on_the_thirteenth_or_a_friday() -> None:
    cadence = Cadence(parse_rule("cron", "0 9 13 * fri"), "UTC")
    assert keys(cadence, "2026-11-01", "2026-11-30") == [
        "11-06T09:00",
        "11-13T09:00",
        "11-20T09:00",
        "11-27T09:00",
    ]
    assert keys(cadence, "2026-12-11T10:00", "2026-12-14") == ["12-13T09:00"]


def test_the_repeated_hour_in_autumn_fires_once() -> None:
    cadence = Cadence(parse_rule("daily", "03:30"), "Europe/Helsinki")
    assert keys(cadence, "2026-10-24T12:00", "2026-10-25T12:00") == ["10-25T00:30"]


def test_a_slot_in_the_spring_gap_fires_right_after_it() -> None:
    cadence = Cadence(parse_rule("daily", "03:30"), "Europe/Helsinki")
    assert keys(cadence, "2026-03-28T12:00", "2026-03-29T12:00") == ["03-29T01:00"]


def test_a_gap_at_midnight_does_not_lose_the_day() -> None:
    cadence = Cadence(parse_rule("daily", "00:00"), "Asia/Beirut")
    assert keys(cadence, "2026-03-28T00:00", "2026-03-29T12:00") == ["03-28T22:00"]


def test_the_clock_change_of_almaty_in_2024() -> None:
    cadence = Cadence(parse_rule("daily", "09:00"), ALMATY)
    assert keys(cadence, "2024-02-28T12:00", "2024-03-02T12:00") == ["02-29T03:00", "03-01T04:00", "03-02T04:00"]


def test_day_31_skips_short_months_but_last_does_not() -> None:
    assert keys(Cadence(parse_rule("monthly", "31 09:00"), "UTC"), "2026-01-01", "2026-06-01") == [
        "01-31T09:00",
        "03-31T09:00",
        "05-31T09:00",
    ]
    assert len(keys(Cadence(parse_rule("monthly", "last 09:00"), "UTC"), "2026-01-01", "2026-06-01")) == 5


def test_a_slot_outside_the_window_moves_to_its_opening() -> None:
    cadence = Cadence(parse_rule("daily", "22:00"), "UTC", window=parse_window("08:00-20:00"))
    (slot,) = list_slots(cadence, moment("2026-11-23T12:00"), moment("2026-11-24T00:00"))
    assert (slot.key, slot.at) == (moment("2026-11-23T22:00"), moment("2026-11-24T08:00"))
    assert slot.move_reason


def test_a_window_may_cross_midnight_and_end_at_it() -> None:
    night = Cadence(parse_rule("daily", "09:00"), "UTC", window=parse_window("20:00-06:00"))
    assert is_in_window(night, moment("2026-11-23T23:00"))
    assert is_in_window(night, moment("2026-11-23T05:59"))
    assert not is_in_window(night, moment("2026-11-23T06:00"))
    assert is_in_window(Cadence(night.rule, "UTC", window=parse_window("08:00-24:00")), moment("2026-11-23T23:59"))


def test_skip_dates_and_holidays_skip_with_their_reason() -> None:
    cadence = Cadence(
        parse_rule("daily", "09:00"),
        "UTC",
        skip_dates=(parse_skip_date("2026-12-24..2026-12-26"),),
        holidays=lambda day: "New Year" if day == date(2027, 1, 1) else None,
    )
    slots = {
        s.key.date(): s.skip_reason for s in list_slots(cadence, moment("2026-12-23T10:00"), moment("2027-01-01T12:00"))
    }
    assert [day.day for day, reason in slots.items() if reason] == [24, 25, 26, 1]
    assert "New Year" in str(slots[date(2027, 1, 1)])


def test_a_new_story_on_a_holiday_waits_for_the_next_day() -> None:
    cadence = Cadence(
        parse_rule("on", "new"),
        "UTC",
        window=parse_window("08:00-20:00"),
        skip_dates=(parse_skip_date("2026-12-25"),),
    )
    slot = find_slot_for_new(cadence, moment("2026-12-24T21:00"))
    assert (slot.key, slot.at) == (moment("2026-12-24T21:10"), moment("2026-12-26T08:00"))
    assert slot.skip_reason is None


def test_missed_slots_merge_and_lateness_counts_from_the_latest() -> None:
    cadence = Cadence(parse_rule("daily", "09:00"), "UTC")
    due = find_due_slots(cadence, moment("2026-11-01T09:00"), moment("2026-11-05T10:00"))
    assert due is not None
    assert due.slot is not None
    assert due.slot.key == moment("2026-11-05T09:00")
    assert [slot.key.day for slot in due.merged] == [2, 3, 4]


def test_a_done_slot_is_not_due_again() -> None:
    cadence = Cadence(parse_rule("weekly", "fri 09:00"), ALMATY)
    assert find_due_slots(cadence, moment("2026-11-20T04:00"), moment("2026-11-27T03:59")) is None
    due = find_due_slots(cadence, moment("2026-11-20T04:00"), moment("2026-11-27T04:00"))
    assert due is not None
    assert due.slot is not None


def test_a_year_of_minute_slots_is_answered_at_once() -> None:
    cadence = Cadence(parse_rule("every", "1m"), ALMATY)
    due = find_due_slots(cadence, moment("2025-11-01T00:00"), moment("2026-11-05T10:00"))
    assert due is not None
    assert len(due.merged) == 100


def test_a_holiday_is_reported_even_when_nothing_is_due() -> None:
    cadence = Cadence(parse_rule("daily", "09:00"), "UTC", skip_dates=(parse_skip_date("2026-12-25"),))
    due = find_due_slots(cadence, moment("2026-12-24T09:00"), moment("2026-12-25T09:00"))
    assert due is not None
    assert due.slot is None
    assert len(due.skipped) == 1


def test_next_slots_are_found_far_ahead_and_never_in_the_past() -> None:
    leap = Cadence(parse_rule("cron", "0 9 29 feb *"), "UTC")
    assert [slot.key.year for slot in next_slots(leap, moment("2026-01-01"), 2)] == [2028, 2032]
    assert next_slots(Cadence(parse_rule("at", "2020-01-01T09:00"), "UTC"), moment("2026-01-01"), 3) == []


def test_an_allowed_slot_is_found_after_a_hundred_skipped_ones() -> None:
    cadence = Cadence(parse_rule("every", "1h"), "UTC", skip_dates=(parse_skip_date("2026-11-10..2026-11-20"),))
    due = find_due_slots(cadence, moment("2026-11-08T00:00"), moment("2026-11-20T12:00"))
    assert due is not None and due.slot is not None
    assert due.slot.key == moment("2026-11-09T23:00")
    assert len(due.skipped) == 100
    assert due.skipped[-1].key == moment("2026-11-20T12:00")


def test_a_year_of_skipped_days_checks_at_most_100_slots() -> None:
    asked: list[date] = []
    cadence = Cadence(parse_rule("every", "1m"), ALMATY, holidays=lambda day: asked.append(day) or "Strike")
    due = find_due_slots(cadence, moment("2025-11-01T00:00"), moment("2026-11-05T10:00"))
    assert due is not None
    assert due.slot is None
    assert len(due.skipped) == 100
    assert len(asked) < 5_000


def test_slots_that_a_window_moves_together_are_planned_once() -> None:
    cadence = Cadence(parse_rule("every", "6h"), "UTC", window=parse_window("08:00-20:00"))
    slots = next_slots(cadence, moment("2026-11-23T17:00"), 3)
    assert [slot.at.strftime("%dT%H") for slot in slots] == ["23T18", "24T08", "24T12"]
    assert slots[1].key == moment("2026-11-24T06:00")


def test_a_slot_that_waits_for_its_window_is_planned() -> None:
    cadence = Cadence(parse_rule("weekly", "fri 22:00"), "UTC", window=parse_window("08:00-20:00"))
    (slot,) = next_slots(cadence, moment("2026-11-27T23:00"), 1)
    assert (slot.key, slot.at) == (moment("2026-11-27T22:00"), moment("2026-11-28T08:00"))


def test_asking_for_no_slots_gives_none() -> None:
    assert next_slots(Cadence(parse_rule("daily", "09:00"), "UTC"), moment("2026-11-27T23:00"), 0) == []


def test_a_window_in_the_repeated_hour_is_open_both_times() -> None:
    cadence = Cadence(parse_rule("daily", "01:45"), "Europe/London", window=parse_window("22:00-01:30"))
    (slot,) = list_slots(cadence, moment("2026-10-24T12:00"), moment("2026-10-25T12:00"))
    assert (slot.key, slot.at) == (moment("2026-10-25T00:45"), moment("2026-10-25T01:00"))
    assert find_window_end(cadence, slot.at) == moment("2026-10-25T01:30")


def test_a_window_has_a_closing_only_while_it_is_open() -> None:
    rule = parse_rule("daily", "09:00")
    assert find_window_end(Cadence(rule, "UTC"), moment("2026-11-23T09:00")) is None
    assert find_window_end(Cadence(rule, "UTC", parse_window("00:00-24:00")), moment("2026-11-23T09:00")) is None
    day = Cadence(rule, "UTC", parse_window("08:00-20:00"))
    assert find_window_end(day, moment("2026-11-23T07:59")) is None
    assert find_window_end(day, moment("2026-11-23T08:00")) == moment("2026-11-23T20:00")
    night = Cadence(rule, "UTC", parse_window("20:00-06:00"))
    assert find_window_end(night, moment("2026-11-23T22:00")) == moment("2026-11-24T06:00")


def test_a_new_story_has_a_short_reason_for_waiting() -> None:
    skip = (parse_skip_date("2026-12-24..2027-01-08"),)
    cadence = Cadence(parse_rule("on", "new"), "UTC", window=parse_window("08:00-20:00"), skip_dates=skip)
    slot = find_slot_for_new(cadence, moment("2026-12-24T10:00"))
    assert slot.at == moment("2027-01-09T08:00")
    assert slot.move_reason == "2026-12-24 is in skip_dates (and 15 more), moved to 2027-01-09 08:00"


def test_a_new_story_is_never_sent_on_a_skipped_day() -> None:
    cadence = Cadence(parse_rule("on", "new"), "UTC", skip_dates=(parse_skip_date("2026-01-01..2060-01-01"),))
    assert find_slot_for_new(cadence, moment("2026-12-24T10:00")).skip_reason


def test_every_follows_local_time_over_a_clock_change() -> None:
    cadence = Cadence(parse_rule("every", "30m"), "Europe/London")
    assert keys(cadence, "2026-03-29T00:00", "2026-03-29T01:30") == ["03-29T00:30", "03-29T01:00", "03-29T01:30"]
    # 01:00 and 01:30 occur a second time from 01:00 UTC on; they have fired already.
    assert keys(cadence, "2026-10-25T00:00", "2026-10-25T02:00") == ["10-25T00:30", "10-25T02:00"]


def test_the_half_hour_clock_change_of_lord_howe() -> None:
    cadence = Cadence(parse_rule("daily", "02:15"), "Australia/Lord_Howe")
    assert keys(cadence, "2026-10-03T00:00", "2026-10-04T00:00") == ["10-03T15:30"]
    overlap = Cadence(parse_rule("daily", "01:45"), "Australia/Lord_Howe")
    assert keys(overlap, "2026-04-04T00:00", "2026-04-05T00:00") == ["04-04T14:45"]


def test_the_day_that_apia_skipped_merges_with_the_next() -> None:
    cadence = Cadence(parse_rule("daily", "00:00"), "Pacific/Apia")
    assert keys(cadence, "2011-12-28T12:00", "2011-12-31T12:00") == ["12-29T10:00", "12-30T10:00", "12-31T10:00"]
    noon = Cadence(parse_rule("at", "2011-12-30T12:00"), "Pacific/Apia")
    assert keys(noon, "2011-12-28T12:00", "2011-12-31T12:00") == ["12-30T10:00"]
