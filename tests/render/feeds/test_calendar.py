"""Events as iCalendar files, read by the rules of RFC 5545."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.render.samples import RICH, SITE, START, item
from tidings.model.item import Contact, Item
from tidings.render.feeds.calendar import render_calendar
from tidings.render.i18n import format_range

_DATE_TIME = r"\d{8}T\d{6}Z"


def events(content: bytes) -> list[dict[str, str]]:
    """Return the properties of each event, unescaped. Fails for anything that RFC 5545 does not allow."""
    assert content.endswith(b"\r\n") and b"\n" not in content.replace(b"\r\n", b"")
    lines = content.removesuffix(b"\r\n").split(b"\r\n")
    assert all(len(line) <= 75 for line in lines)
    for line in lines:
        line.decode()  # no line is broken inside a character
    unfolded = content.decode().replace("\r\n ", "").split("\r\n")[:-1]
    assert unfolded[0] == "BEGIN:VCALENDAR" and unfolded[-1] == "END:VCALENDAR"
    assert unfolded[1] == "VERSION:2.0" and unfolded[2].startswith("PRODID:")
    found: list[dict[str, str]] = []
    for line in unfolded[3:-1]:
        match = re.fullmatch(r"([A-Z-]+)((?:;[A-Z-]+=[A-Za-z0-9-]+)*):(.*)", line)
        assert match, line
        name, parameters, value = match.groups()
        if line == "BEGIN:VEVENT":
            found.append({})
        elif found and name not in ("BEGIN", "END"):
            assert name not in found[-1], name
            plain = re.sub(r"\\([\\;,])", r"\1", value.replace("\\n", "\n"))
            found[-1][name] = f"{parameters}:{plain}" if "VALUE" in parameters else plain
    assert len(found) == unfolded.count("BEGIN:VEVENT") == unfolded.count("END:VEVENT") > 0
    for each in found:
        assert {"UID", "DTSTAMP", "DTSTART"} <= set(each)
        assert re.fullmatch(_DATE_TIME, each["DTSTAMP"])
    return found


def event(number: int, **changes: object) -> Item:
    return item(number, kind="event", **changes)


def test_an_event_says_when_where_and_who_answers() -> None:
    contact = Contact("Jane Doe", "Press; media", "jane@example.org", "+7 727 000 00 00")
    (read,) = events(render_calendar([replace(RICH, contacts=(contact,))], SITE))
    assert read["DTSTART"] == "20260401T040000Z" and read["DTEND"] == "20260401T060000Z"
    assert read["SUMMARY"] == RICH.title and read["LOCATION"] == "Almaty, Abay square"
    assert read["DESCRIPTION"].split("\n")[-1] == read["URL"] == RICH.url
    assert read["UID"] == RICH.id and read["CATEGORIES"] == "Young people,Water & rivers,Unnamed"
    assert read["CONTACT"] == "Jane Doe, Press; media, jane@example.org, +7 727 000 00 00"


def test_long_lines_break_between_letters() -> None:
    title = "Ұлттық құрылтайдың отырысы; су, жер және 水资源管理, " * 8
    (read,) = events(render_calendar([event(1, title=title, starts=START)], SITE))
    assert read["SUMMARY"] == title.strip()


def test_days_without_times_are_days() -> None:
    # In Almaty. An end without a time is the last second of its day.
    starts = datetime(2026, 5, 9, 19, tzinfo=UTC)
    ends = starts + timedelta(days=3, seconds=-1)
    (days,) = events(render_calendar([event(1, starts=starts, ends=ends)], SITE))
    assert (days["DTSTART"], days["DTEND"]) == (";VALUE=DATE:20260510", ";VALUE=DATE:20260513")
    assert format_range(starts, ends, "en", "Asia/Almaty") == "10 May 2026 – 12 May 2026"
    assert format_range(starts, starts + timedelta(days=1, seconds=-1), "en", "Asia/Almaty") == "10 May 2026"
    assert format_range(starts, None, "en", "Asia/Almaty") == "10 May 2026"
    (timed,) = events(render_calendar([event(2, starts=starts + timedelta(hours=1))], SITE))
    assert timed["DTSTART"] == "20260509T200000Z" and "DTEND" not in timed


def test_a_feed_of_events_has_a_name_and_the_same_bytes() -> None:
    items = [event(number, starts=START) for number in range(1, 4)]
    content = render_calendar(items, SITE, name="News; events")
    assert b"X-WR-CALNAME:News\\; events\r\n" in content
    assert len({each["UID"] for each in events(content)}) == 3
    assert render_calendar(items, SITE, name="News; events") == content
