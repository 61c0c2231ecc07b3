"""Events as iCalendar (RFC 5545): one event, or all events of a language as a feed.

Times are in UTC, so that no time zone definition is needed. An event of whole days has dates without times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from tidings.model.item import Item
from tidings.model.text import clean, one_line
from tidings.render.i18n import topic_label, whole_days
from tidings.render.site_views import SiteView
from tidings.render.urls import ascii_url

MAX_EVENTS = 200
"""Most events in the calendar of a language: the latest ones."""
_MAX_LINE = 75
"""Most bytes of a line without its line end (RFC 5545 §3.1)."""


def render_calendar(items: Sequence[Item], site: SiteView, *, name: str = "") -> bytes:
    """Return the calendar in UTF-8. Equal events give equal bytes. `name` is the title in calendar programs."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Tidings//Events//EN", "CALSCALE:GREGORIAN"]
    if name:
        # NAME and REFRESH-INTERVAL are RFC 7986; older programs read the X- form.
        title = _escape(one_line(name))
        lines += [f"NAME:{title}", f"X-WR-CALNAME:{title}", "REFRESH-INTERVAL;VALUE=DURATION:PT6H"]
    for item in items:
        lines += _event(item, site)
    lines.append("END:VCALENDAR")
    return b"".join(_fold(line) for line in lines)


def _event(item: Item, site: SiteView) -> Iterator[str]:
    starts = item.starts or item.published
    yield "BEGIN:VEVENT"
    yield f"UID:{_escape(clean(item.id))}"
    yield f"DTSTAMP:{_utc(item.changed)}"
    yield f"LAST-MODIFIED:{_utc(item.changed)}"
    if days := whole_days(starts, item.ends, site.zone):
        # The end is the day after the last one (RFC 5545 §3.6.1).
        yield f"DTSTART;VALUE=DATE:{days[0]:%Y%m%d}"
        yield f"DTEND;VALUE=DATE:{days[1] + timedelta(days=1):%Y%m%d}"
    else:
        yield f"DTSTART:{_utc(starts)}"
        if item.ends is not None and item.ends > starts:
            yield f"DTEND:{_utc(item.ends)}"
    yield f"SUMMARY;LANGUAGE={item.language}:{_escape(one_line(item.title))}"
    address = ascii_url(item.url)
    about = "\n".join(filter(None, (one_line(item.correction), one_line(item.summary), address)))
    yield f"DESCRIPTION;LANGUAGE={item.language}:{_escape(about)}"
    if item.place:
        yield f"LOCATION:{_escape(one_line(item.place))}"
    yield f"URL:{address}"
    topics = [_escape(one_line(topic_label(topic, site.topics))) for topic in item.topics]
    if topics:
        yield f"CATEGORIES:{','.join(topics)}"
    for contact in item.contacts:
        parts = filter(None, (contact.name, contact.role, contact.email, contact.phone))
        yield f"CONTACT:{_escape(', '.join(parts))}"
    yield "END:VEVENT"


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _escape(text: str) -> str:
    """Escape a TEXT value (RFC 5545 §3.3.11)."""
    for character, written in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\n", "\\n")):
        text = text.replace(character, written)
    return text


def _fold(line: str) -> bytes:
    """Break a line into parts of at most 75 bytes, never inside a character. Each part ends with CRLF."""
    parts: list[bytes] = []
    part = b""
    for character in line:
        encoded = character.encode("utf-8", "replace")
        # A part after the first one begins with a space.
        if len(part) + len(encoded) > _MAX_LINE - (1 if parts else 0):
            parts.append(part)
            part = b""
        part += encoded
    return b"\r\n ".join([*parts, part]) + b"\r\n"
