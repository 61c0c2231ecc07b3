"""Rules that other libraries also read, compared with their results in UTC, where no clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.triggers.cron import CronTrigger
from dateutil import rrule
from hypothesis import given
from hypothesis import strategies as st

from tidings.model.cadence import Cadence, list_slots, next_slots, parse_rule
from tidings.model.cadence.rules import WEEKDAYS

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
moments = st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, names: tuple[str, ...] = ()) -> str:
    """One cron field: a star, a step, values, a range, or a range with a step (without names)."""
    named = bool(names) and draw(st.booleans())

    def written(number: int) -> str:
        return names[number - low] if named else str(number)

    first, last = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
    step = draw(st.integers(1, 9))
    return draw(
        st.sampled_from(
            [
                "*",
                f"*/{step}",
                f"{written(first)}-{written(last)}",
                f"{written(first)}-{written(last)}/{step}" if last - first >= step and not named else written(first),
                ",".join({written(first), written(last)}),
            ]
        )
    )


@st.composite
def crontabs(draw: st.DrawFn) -> str:
    """Five cron fields. At most one day field is restricted: with both, the library says AND, and cron says OR."""
    day, weekday = draw(fields(1, 28)), "*"
    if draw(st.booleans()):
        first, last = sorted((draw(st.integers(0, 6)), draw(st.integers(0, 6))))
        day, weekday = "*", draw(st.sampled_from([f"{WEEKDAYS[first]}-{WEEKDAYS[last]}", WEEKDAYS[last]]))
    return f"{draw(fields(0, 59))} {draw(fields(0, 23))} {day} {draw(fields(1, 12, _MONTHS))} {weekday}"


@given(crontabs(), moments)
def test_cron_fires_when_apscheduler_says(text: str, after: datetime) -> None:
    trigger = CronTrigger.from_crontab(text, timezone=UTC)
    moment: datetime | None = after.replace(microsecond=0)
    expected = []
    for _ in range(4):
        assert moment is not None
        moment = trigger.get_next_fire_time(None, moment + timedelta(seconds=1))
        expected.append(moment)
    after = after.replace(microsecond=0)
    assert [slot.key for slot in next_slots(Cadence(parse_rule("cron", text), "UTC"), after, 4)] == expected


@pytest.mark.parametrize("nth", ["first", "second", "third", "fourth", "fifth", "last"])
@pytest.mark.parametrize("weekday", range(7))
def test_the_nth_weekday_is_that_of_an_icalendar_rule(nth: str, weekday: int) -> None:
    number = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}[nth]
    start, end = datetime(2000, 1, 1, tzinfo=UTC), datetime(2037, 12, 31, tzinfo=UTC)
    named = rrule.weekday(weekday)(number)
    peer = rrule.rrule(rrule.MONTHLY, start, byweekday=named, byhour=9, byminute=0, bysecond=0, until=end)
    cadence = Cadence(parse_rule("monthly", f"{nth} {WEEKDAYS[weekday]} 09:00"), "UTC")
    assert [slot.key for slot in list_slots(cadence, start, end)] == list(peer)
