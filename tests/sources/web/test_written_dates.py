"""Dates as websites write them, in many languages, are read."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.sources.web.test_feed_platforms import URL
from tidings.sources.web.feed_parser import parse_feed
from tidings.sources.web.written_dates import read_written_date

ALMATY = ZoneInfo("Asia/Almaty")
EIGHT, MIDNIGHT = "03-01T03:00", "02-28T19:00"
"""The first of March, in UTC."""
DATES = {
    "Вс, 01 мар 2026 08:00:00 +0500": EIGHT, "воскресенье, 1 марта 2026 г., 08:00": EIGHT, "1 марта 2026": MIDNIGHT,
    "01.03.2026 08:00": EIGHT, "dim., 01 mars 2026 04:00:00 +0100": EIGHT, "1er mars 2026 à 8h00": EIGHT,
    "So, 01 Mrz 2026 04:00:00 +0100": EIGHT, "Domingo 1 de marzo de 2026": MIDNIGHT, "2026年3月1日 上午8:00": EIGHT,
    "الأحد, 01 مارس 2026 06:00:00 +0300": EIGHT, "١ مارس ٢٠٢٦": MIDNIGHT, "1 наурыз 2026 ж. 08:00": EIGHT,
    "Нд, 01 бер 2026 05:00:00 +0200": EIGHT, "1 березня 2026 р.": MIDNIGHT, "2026. 3. 1. 오전 8:00": EIGHT,
    "०१ मार्च २०२६": MIDNIGHT, "March 1, 2026": MIDNIGHT, "2026-03-01 06:00:00 MSK": EIGHT,
    "1 Mart 2026 Pazar": MIDNIGHT,
    "2026. március 1.": MIDNIGHT, "1. března 2026": MIDNIGHT, "1 марта 2026 в 06:00 (МСК)": EIGHT,
    "2026-03-01T08:00:00+05:00": EIGHT, "1 Μαρτίου 2026": MIDNIGHT, "1 მარტი 2026": MIDNIGHT,
    "03/31/2026": "03-30T19:00",
    "mar. 3 mars 2026": "03-02T19:00", "15 كانون الثاني 2026": "01-14T19:00", "12 déc. 2026": "12-11T19:00",
    "Чт, 03 сен 2026 08:00:00 +0500": "09-03T03:00", "14. 1. 2026": "01-13T19:00", "14 abr 2026, mar": "04-13T19:00",
    "14 يناير، 2026": "01-13T19:00", "3 helmikuuta 2026": "02-02T19:00",
}  # fmt: skip


@pytest.mark.parametrize("written", DATES)
def test_dates_in_the_languages_of_the_world_are_read(written: str) -> None:
    assert read_written_date(written, ALMATY) == datetime.fromisoformat(f"2026-{DATES[written]}").replace(tzinfo=UTC)


@pytest.mark.parametrize("written", ["", "someday", "5 mai", "31 февраля 2026", "1405/05/03", "5 listopada 2026"])
def test_what_is_no_date_or_two_months_is_not_guessed(written: str) -> None:
    assert read_written_date(written, ALMATY) is None


@pytest.mark.parametrize(("language", "month"), [("pl", 11), ("hr", 10)])
def test_the_language_decides_between_two_months(language: str, month: int) -> None:
    date = read_written_date("5 listopada 2026 12:00", ALMATY, language)
    assert date is not None and date.month == month


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Вс, 01 мар 2026 08:00:00 +0500", "2026-03-01T03:00:00+00:00"),
        # feedparser takes the first digit or letters for the month, and ignores the afternoon and the zone.
        ("2026年3月1日 08:00", "2026-03-01T03:00:00+00:00"),
        ("01 marraskuuta 2026 08:00", "2026-11-01T03:00:00+00:00"),
        ("Sun, 1 March 2026 8:00 PM", "2026-03-01T15:00:00+00:00"),
        ("2026-03-01 08:00:00 MSK", "2026-03-01T05:00:00+00:00"),
        # RFC 822 and ISO 8601 work as before.
        ("Sun, 01 Mar 2026 08:00:00 EST", "2026-03-01T13:00:00+00:00"),
        ("2026-03-01T08:00:00Z", "2026-03-01T08:00:00+00:00"),
    ],
)
def test_a_local_date_of_a_feed_is_read(written: str, read: str) -> None:
    entry = f"<item><title>T</title><guid>1</guid><pubDate>{written}</pubDate></item>"
    feed = f"<rss version='2.0'><channel><title>F</title><link>{URL}</link>{entry}</channel></rss>"
    [item] = parse_feed(feed.encode(), URL, zone="Asia/Almaty").items
    assert (item.article["published"], item.faults) == (read, ())
