"""Rules as people write them are read, or refused with a correction, and described in words."""

from __future__ import annotations

import contextlib
import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.cadence.test_rules import ALMATY, keys
from tidings.model.cadence import (
    Cadence,
    CadenceError,
    OnNew,
    describe_cadence,
    parse_duration,
    parse_rule,
    parse_skip_date,
    parse_window,
)


@pytest.mark.parametrize(
    ("key", "text", "mend"),
    [
        ("daily", "25:00", "09:00"),
        ("daily", "750", "09:00"),
        ("weekly", "friday", "fri 09:00"),
        ("weekly", "xyz 09:00", "mon"),
        ("monthly", "32 09:00", "last 09:00"),
        ("monthly", "sixth mon 09:00", "first mon"),
        ("cron", "0 9 * *", "five"),
        ("cron", "61 9 * * fri", "0 to 59"),
        ("cron", "*/0 9 * * fri", "step"),
        ("every", "7m", "divide the day"),
        ("every", "36h", "2d"),
        ("every", "90s", "minutes"),
        ("at", "2026-12-01", "T09:00"),
        ("at", "2026-12-01T09:00+05:00", "without an offset"),
        ("on", "true", "on: new"),
        ("hourly", "1", "daily"),
        ("weekly", "5 09:00", "mon to sun"),
        ("monthly", "² 09:00", "monthly: 2 09:00"),
        ("cron", "0 9 ² * *", "a number"),
        ("cron", "0 9 * december *", "jan to dec"),
        ("cron", "0 22-2 * * *", "22-23,0-2"),
        ("cron", "0 9 * * */2", "name the days"),
        ("cron", "0 9 * * fri/2", "name the days"),
        ("cron", "0 9 31 feb,apr *", "never fires"),
        ("every", "9" * 5000 + "m", "like 10m"),
        ("every", "0m", "whole number of minutes"),
        ("at", "2026-12-01T09:00:30", "whole minute"),
    ],
)
def test_a_refusal_says_how_to_write_it(key: str, text: str, mend: str) -> None:
    with pytest.raises(CadenceError, match=mend.replace("+", r"\+")):
        parse_rule(key, text)


def test_leap_days_and_an_impossible_day_or_a_weekday_are_valid() -> None:
    assert keys(Cadence(parse_rule("cron", "0 9 29 feb *"), "UTC"), "2027-01-01", "2028-12-31") == ["02-29T09:00"]
    assert len(keys(Cadence(parse_rule("cron", "0 9 31 feb fri"), "UTC"), "2027-01-01", "2027-12-31")) == 4


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("24:00-08:00", "time of day"),
        ("08:00-08:00", "empty"),
        ("00:00-00:00", "empty"),
        ("8-20", "08:00-20:00"),
        ("08:00-25:00", "time of day"),
    ],
)
def test_an_impossible_window_is_refused(text: str, mend: str) -> None:
    with pytest.raises(CadenceError, match=mend):
        parse_window(text)


@pytest.mark.parametrize("text", ["2026-13-01", "2026-12-24..", "2027-01-08..2026-12-24", "24.12.2026", ""])
def test_an_impossible_date_is_refused(text: str) -> None:
    with pytest.raises(CadenceError):
        parse_skip_date(text)


@given(
    st.sampled_from(["daily", "weekly", "monthly", "cron", "every", "at", "on"]),
    st.text(st.sampled_from("0123456789²٣:-*/,. TmhdsMONfrilast\n"), max_size=24) | st.text(max_size=12),
)
def test_any_text_is_read_or_refused_in_words(key: str, text: str) -> None:
    for reader in (lambda text: parse_rule(key, text), parse_duration, parse_window, parse_skip_date):
        with contextlib.suppress(CadenceError):
            reader(text)


def test_durations() -> None:
    assert parse_duration("1h30m") == timedelta(minutes=90)
    for text in ("", "10", "1h-", "m10"):
        with pytest.raises(CadenceError):
            parse_duration(text)


def test_a_cadence_is_described_in_words() -> None:
    cadence = Cadence(parse_rule("weekly", "fri 09:00"), ALMATY, window=parse_window("08:00-20:00"))
    assert describe_cadence(cadence) == "every Friday at 09:00, 08:00-20:00 only (Asia/Almaty)"


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("daily", "9:00", "every day at 09:00"),
        ("weekly", "wed,mon,fri 09:00", "every Monday, Wednesday and Friday at 09:00"),
        ("monthly", "last fri 18:00", "every month on the last Friday at 18:00"),
        ("monthly", "last 18:00", "every month on the last day at 18:00"),
        ("weekly", "mon,tue,wed 09:00", "every Monday to Wednesday at 09:00"),
        ("cron", "30 9 * * mon-fri", "every Monday to Friday at 09:30"),
        ("cron", "0 9 13 * fri", "every Friday or day 13 of the month at 09:00"),
        ("cron", "0 9,17 1,15 * *", "every day 1 and 15 of the month at 09:00 and 17:00"),
        ("cron", "0 9 * jan,jul *", "every day in January and July at 09:00"),
        ("cron", "*/5 9 * * fri", "cron */5 9 * * fri"),
        ("every", "1m", "every minute"),
        ("every", "90m", "every 90 minutes"),
        ("every", "2h", "every 2 hours"),
        ("every", "24h", "every day at 00:00"),
        ("every", "2d", "every 2 days at 00:00"),
        ("on", "new", "10 minutes after something new"),
        ("on", "request", "on request"),
    ],
)
def test_each_rule_is_described_in_words(key: str, text: str, words: str) -> None:
    assert describe_cadence(Cadence(parse_rule(key, text), "UTC")) == f"{words} (UTC)"


@pytest.mark.parametrize(
    ("settle", "words"),
    [("1h", "1 hour"), ("90s", "90 seconds"), ("6h", "6 hours"), ("0s", "0 seconds"), ("1d", "1 day")],
)
def test_settling_is_described_in_words(settle: str, words: str) -> None:
    assert describe_cadence(Cadence(OnNew(parse_duration(settle)), "UTC")) == f"{words} after something new (UTC)"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("weekly: пятница 09:00", "weekly: fri 09:00"),
        ("weekly: по пятницам в 9.30", "weekly: fri 09:30"),
        ("weekly: vendredi 9h", "weekly: fri 09:00"),
        ("weekly: الجمعة ٠٩:٠٠", "weekly: fri 09:00"),
        ("weekly: жұма 09:00", "weekly: fri 09:00"),
        ("weekly: 周五 09：00", "weekly: fri 09:00"),
        ("weekly: every friday at 9 am", "weekly: fri 09:00"),
        ("weekly: 09:00 fri", "weekly: fri 09:00"),
        ("weekly: mon & thu noon", "weekly: [mon, thu] 12:00"),
        ("weekly: Mon through Fri 09:00", "weekly: mon-fri 09:00"),
        ("weekly: mon..fri 09:00", "weekly: mon-fri 09:00"),
        ("weekly: mon 09:00, thu 09:00", "weekly: [mon, thu] 09:00"),
        ("daily: 7:30 pm", "daily: 19:30"),
        ("daily: weekdays 09:00", "weekly: mon-fri 09:00"),
        ("monthly: on the 15th at 9am", "monthly: 15 09:00"),
        ("monthly: 2nd & 4th tue 09:00", "monthly: [second tue, fourth tue] 09:00"),
        ("monthly: last business day 09:00", "monthly: last working day 09:00"),
        ("monthly: last weekday 09:00", "monthly: last working day 09:00"),
        ("monthly: first Monday of the month 9:00:00", "monthly: first mon 09:00"),
    ],
)
def test_a_rule_in_ones_own_words_was_not_shown_rightly(written: str, meant: str) -> None:
    key, _, text = written.partition(": ")
    with pytest.raises(CadenceError, match=re.escape(f"; write `{meant}`")):
        parse_rule(key, text)


@pytest.mark.parametrize(
    "text", ["mon 09:00 and thu 17:00", "fri 09:00 +05:00", "fri 24:00", "fri morning", "5 09:00", "someday 09:00"]
)
def test_a_rule_with_two_meanings_is_not_guessed(text: str) -> None:
    with pytest.raises(CadenceError) as error:
        parse_rule("weekly", text)
    assert "write `weekly" not in str(error.value)
