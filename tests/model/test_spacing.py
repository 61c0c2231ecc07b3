"""Posts are spread: quiet hours in a zone, maximum numbers, and the least time between two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tidings.model.cadence import load_zone, parse_window
from tidings.model.throttling import Spacing

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NIGHT = parse_window("22:00-07:00")


def test_posts_wait_at_night_for_the_local_morning() -> None:
    spacing = Spacing("Asia/Almaty", NIGHT)
    assert spacing.earliest(NOW, []) == NOW
    assert spacing.earliest(NOW + 6 * HOUR, []) == datetime(2026, 3, 3, 2, tzinfo=UTC)
    # Berlin's clocks go forward that night, so 07:00 comes an hour sooner.
    assert Spacing("Europe/Berlin", NIGHT).earliest(datetime(2026, 3, 28, 23, tzinfo=UTC), []) == datetime(
        2026, 3, 29, 5, tzinfo=UTC
    )


def test_maximum_numbers_and_the_time_between_two() -> None:
    hour_ago = [NOW - timedelta(minutes=minutes) for minutes in (50, 30, 10)]
    assert Spacing("UTC", max_per_hour=3).earliest(NOW, hour_ago) == NOW + timedelta(minutes=10)
    assert Spacing("UTC", max_per_hour=4).earliest(NOW, hour_ago) == NOW
    assert Spacing("UTC", max_per_day=2).earliest(NOW, hour_ago) == NOW + timedelta(hours=23, minutes=30)
    assert Spacing("UTC", min_gap=timedelta(minutes=20)).earliest(NOW, hour_ago) == NOW + timedelta(minutes=10)


@given(
    st.lists(st.integers(0, 86_400), max_size=30),
    st.integers(0, 86_400 * 3),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(0, 7_200),
)
def test_the_returned_time_is_allowed(ago: list[int], after: int, hourly: int, daily: int, apart: int) -> None:
    now = NOW + timedelta(seconds=after)
    posted = [now - timedelta(seconds=seconds) for seconds in ago]
    spacing = Spacing("Europe/Berlin", NIGHT, hourly, daily, timedelta(seconds=apart))
    at = spacing.earliest(now, posted)
    assert at >= now and not NIGHT.contains(at.astimezone(load_zone("Europe/Berlin")).time())
    assert sum(at - post < HOUR for post in posted) < hourly
    assert sum(at - post < timedelta(days=1) for post in posted) < daily
    assert all(at - post >= timedelta(seconds=apart) for post in posted)
