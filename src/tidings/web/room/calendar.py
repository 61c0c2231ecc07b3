"""Calendar: a month of slots, editions and stories that wait for their time, with what was moved or skipped and why."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from starlette.responses import Response

from tidings.model.cadence import OnNew, OnRequest, list_slots
from tidings.store.content import editions
from tidings.store.content.items import find_stories
from tidings.web.room.edition_screen import choose_title, edition_states
from tidings.web.room.today import may_see_schedule, schedule_title
from tidings.web.room.visit import Visit

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")
_MOST_STORIES = 200


def show(visit: Visit) -> Response:
    """The month of the query, or the present one."""
    zone, now = visit.newsroom.site.zone, visit.runtime.now()
    today = now.astimezone(zone).date()
    match = _MONTH.fullmatch(visit.query.get("month", ""))
    first = date(int(match[1]), int(match[2]), 1) if match else today.replace(day=1)
    count = calendar.monthrange(first.year, first.month)[1]
    start = datetime.combine(first, time(), zone).astimezone(UTC)
    end = datetime.combine(first + timedelta(days=count), time(), zone).astimezone(UTC)
    days: dict[date, list[dict[str, Any]]] = {first + timedelta(days=number): [] for number in range(count)}
    for entry in [*_editions(visit, start, end), *_slots(visit, max(start, now), end), *_stories(visit, start, end)]:
        day = entry["at"].astimezone(zone).date()
        if day in days:
            days[day].append(entry)
    words = visit.words
    return visit.page(
        "calendar.html.j2",
        words.gettext("Calendar"),
        month=words.month(first),
        before=f"{first - timedelta(days=1):%Y-%m}",
        after=f"{first + timedelta(days=count):%Y-%m}",
        gaps=first.weekday(),
        days=[
            {
                "name": words.short_day(day),
                "is_today": day == today,
                "entries": sorted(entries, key=lambda entry: entry["at"]),
            }
            for day, entries in days.items()
        ],
    )


def _editions(visit: Visit, start: datetime, end: datetime) -> list[dict[str, Any]]:
    names = edition_states(visit.words)
    with visit.runtime.store.read() as connection:
        found = editions.list_editions(connection)
    return [
        {
            "kind": "edition",
            "at": edition.starts,
            "title": f"{schedule_title(visit, edition.schedule)} {edition.number}",
            "path": f"editions/{edition.name}",
            "state": names[edition.state],
            "note": "",
        }
        for edition in found
        if start <= edition.starts < end and may_see_schedule(visit, edition.schedule)
    ]


def _slots(visit: Visit, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Return the coming slots of each schedule that have no edition yet."""
    with visit.runtime.store.read() as connection:
        composed = {(edition.schedule, edition.slot) for edition in editions.list_editions(connection)}
    entries = []
    for name, schedule in visit.newsroom.schedules.items():
        if not may_see_schedule(visit, name) or isinstance(schedule.cadence.rule, OnNew | OnRequest):
            continue
        for slot in list_slots(schedule.cadence, start, end) if start < end else ():
            if (name, slot.key) in composed:
                continue
            entries.append(
                {
                    "kind": "skipped" if slot.skip_reason else "slot",
                    "at": slot.at,
                    "title": schedule_title(visit, name),
                    "path": "",
                    "state": "",
                    "note": slot.skip_reason or slot.move_reason or "",
                }
            )
    return entries


def _stories(visit: Visit, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Return the stories that come out at a moment of the month that is still ahead."""
    with visit.runtime.store.read() as connection:
        found = find_stories(connection, visit.runtime.now(), state="waiting", most=_MOST_STORIES)
    entries = []
    for versions in found:
        moments = [version.out_at for version in versions if version.out_at is not None]
        if moments and start <= min(moments) < end:
            title = choose_title(visit, {version.language: version.title for version in versions})
            path = f"stories/{versions[0].story}"
            entry = {"kind": "story", "at": min(moments), "title": title, "path": path, "state": "", "note": ""}
            entries.append(entry)
    return entries
