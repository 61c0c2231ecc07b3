"""Calendar: slots, editions and stories that wait for their time, by month, week or as a list; and moving them.

A move writes the story's files or the schedule's YAML, after the difference was shown.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from starlette.responses import Response

from tidings.config.schedule import Schedule
from tidings.model.cadence import OnHoliday, OnNew, OnRequest, list_slots, load_zone, parse_skip_date
from tidings.model.errors import RefusedError
from tidings.render.room.room_pages import SCRIPT
from tidings.runtime.team import files, stories
from tidings.runtime.team.files import FileChangedError, OpenedFile
from tidings.runtime.team.rights import may_decide, may_see_schedule
from tidings.runtime.team.settings_files import SCHEDULES, check_settings
from tidings.runtime.team.yaml_edit import set_value
from tidings.store.content import editions
from tidings.store.content.items import StoryVersion, find_stories
from tidings.store.people.team import Role
from tidings.web.room import file_screens
from tidings.web.room.edition_screen import choose_title, edition_states
from tidings.web.room.settings_screens import compare_plans
from tidings.web.room.today import schedule_title
from tidings.web.room.visit import Visit

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")
_DAY = re.compile(r"20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])")
_MOMENT = re.compile(r"20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d")
_MOST_STORIES = 200
_LISTED = 42
"""Days of the list."""


def show(visit: Visit) -> Response:
    """The days of the query: a month, a week or a list; the present ones by default."""
    zone, now = visit.newsroom.site.zone, visit.runtime.now()
    today = now.astimezone(zone).date()
    view = visit.query.get("view", "month")
    view = view if view in ("month", "week", "list") else "month"
    first, count = _find_days(visit, view, today)
    start = datetime.combine(first, time(), zone).astimezone(UTC)
    end = datetime.combine(first + timedelta(days=count), time(), zone).astimezone(UTC)
    days: dict[date, list[dict[str, Any]]] = {first + timedelta(days=number): [] for number in range(count)}
    for entry in [*_editions(visit, start, end), *_slots(visit, max(start, now), end), *_stories(visit, start, end)]:
        day = entry["at"].astimezone(zone).date()
        if day in days:
            days[day].append(entry)
    words = visit.words
    last = first + timedelta(days=count - 1)
    before, after = first - timedelta(days=1 if view == "month" else count), last + timedelta(days=1)
    return visit.page(
        "calendar.html.j2",
        words.gettext("Calendar"),
        script=SCRIPT,
        view=view,
        views=[
            (name, label, _address(name, today if first <= today <= last else first))
            for name, label in (
                ("month", words.gettext("Month")),
                ("week", words.gettext("Week")),
                ("list", words.gettext("List")),
            )
        ],
        span=words.month(first) if view == "month" else f"{words.short_day(first)} – {words.short_day(last)}",
        span_month=words.month(first),
        before=_address(view, before),
        after=_address(view, after),
        gaps=first.weekday() if view == "month" else 0,
        may_move=visit.may(Role.EDITOR),
        days=[
            {
                "name": words.short_day(day),
                "iso": day.isoformat(),
                "is_today": day == today,
                "entries": sorted(entries, key=lambda entry: entry["at"]),
            }
            for day, entries in days.items()
            if view != "list" or entries
        ],
    )


def _find_days(visit: Visit, view: str, today: date) -> tuple[date, int]:
    """Return the first day and how many days are shown."""
    match = _MONTH.fullmatch(visit.query.get("month", ""))
    day = _parse_day(visit.query.get("day", "")) or (date(int(match[1]), int(match[2]), 1) if match else today)
    if view == "week":
        return day - timedelta(days=day.weekday()), 7
    if view == "list":
        return day, _LISTED
    first = day.replace(day=1)
    return first, calendar.monthrange(first.year, first.month)[1]


def _address(view: str, day: date) -> str:
    return f"calendar?month={day:%Y-%m}" if view == "month" else f"calendar?view={view}&day={day.isoformat()}"


def _parse_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def _editions(visit: Visit, start: datetime, end: datetime) -> list[dict[str, Any]]:
    names = edition_states(visit.words)
    with visit.runtime.store.read() as connection:
        found = editions.list_editions(connection)
    return [
        _entry(
            "edition",
            edition.starts,
            f"{schedule_title(visit, edition.schedule)} {edition.number}",
            path=f"editions/{edition.name}",
            state=names[edition.state],
        )
        for edition in found
        if start <= edition.starts < end and may_see_schedule(visit, edition.schedule)
    ]


def _entry(
    kind: str, at: datetime, title: str, *, path: str = "", state: str = "", note: str = "", move: str = ""
) -> dict[str, Any]:
    return {"kind": kind, "at": at, "title": title, "path": path, "state": state, "note": note, "move": move}


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
            day = slot.key.astimezone(visit.newsroom.site.zone).date()
            entries.append(
                _entry(
                    "skipped" if slot.skip_reason else "slot",
                    slot.at,
                    schedule_title(visit, name),
                    note=slot.skip_reason or slot.move_reason or "",
                    move="" if slot.skip_reason else urlencode({"schedule": name, "slot": day.isoformat()}),
                )
            )
    return entries


def _stories(visit: Visit, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Return the stories that come out at a moment of the days shown that is still ahead."""
    with visit.runtime.store.read() as connection:
        found = find_stories(connection, visit.runtime.now(), state="waiting", most=_MOST_STORIES)
    entries = []
    for versions in found:
        moments = [version.out_at for version in versions if version.out_at is not None]
        if moments and start <= min(moments) < end:
            title = choose_title(visit, {version.language: version.title for version in versions})
            story = versions[0].story
            is_ours = any(stories.find_source(visit.runtime, version.ref) for version in versions)
            move = urlencode({"story": story}) if is_ours else ""
            entries.append(_entry("story", min(moments), title, path=f"stories/{quote(story, safe='')}", move=move))
    return entries


# -- moving -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _MovedFile:
    """A file of a move, with its text after it."""

    opened: OpenedFile
    text: str
    action: str


def show_move(visit: Visit) -> Response:
    """The form that moves a story or a slot: of the query, to the query's `day`."""
    return _move(visit, visit.query.get, do="")


def submit_move(visit: Visit) -> Response:
    """Show the difference of a move, or write it: the button's `do`."""
    return _move(visit, visit.field, do=visit.field("do"))


def _move(visit: Visit, read: Any, do: str) -> Response:
    story, schedule = (read("story") or "")[:200], (read("schedule") or "")[:100]
    return _move_story(visit, read, story, do) if story else _move_slot(visit, read, schedule, do)


def _move_story(visit: Visit, read: Any, story: str, do: str) -> Response:
    words, zone = visit.words, visit.newsroom.site.zone
    with visit.runtime.store.read() as connection:
        found = find_stories(connection, visit.runtime.now(), story=story)
    versions = [each for each in found[0] if stories.find_source(visit.runtime, each.ref)] if found else []
    waiting = [each for each in versions if each.out_at is not None and each.state(visit.runtime.now()) == "waiting"]
    if not waiting:
        return visit.not_found()
    at = min(each.out_at for each in waiting if each.out_at is not None).astimezone(zone)
    day = _parse_day(read("day") or "")
    wanted = (read("at") or "")[:16] or f"{datetime.combine(day or at.date(), at.time()):%Y-%m-%dT%H:%M}"
    wrong = ""
    moved: list[_MovedFile] = []
    if not _MOMENT.fullmatch(wanted):
        wrong = words.gettext("Write day and time like 2026-12-01T09:00.")
    elif wanted != f"{at:%Y-%m-%dT%H:%M}" or do:
        moved, wrong = _date_files(visit, waiting, wanted)
    title = choose_title(visit, {each.language: each.title for each in versions})
    texts: dict[str, Any] = {
        "title": title,
        "heading": words.gettext("Move the story"),
        "hidden": {"story": story},
        "at": wanted,
        "choices": [],
    }
    return _save_or_show(visit, moved, texts, do or ("check" if day else ""), wrong)


def _date_files(visit: Visit, versions: list[StoryVersion], wanted: str) -> tuple[list[_MovedFile], str]:
    """Return the files with another moment: that of the embargo if the story has one, else that of its date."""
    moved = []
    for version in versions:
        opened = files.open_file(visit.runtime.root, version.ref)
        form = stories.read_story(opened.text)
        source = stories.find_source(visit.runtime, version.ref)
        if form is None or source is None:
            return [], visit.words.gettext("%(file)s cannot be read. Mend it first.", file=version.ref)
        key = "embargo" if form.texts["embargo"] else "published"
        form.texts[key] = wanted
        text = stories.write_story(opened.text, form)
        item, problems = stories.check_story(source, version.ref, text)
        if item is None:
            return [], "; ".join(str(problem) for problem in problems if problem.level == "error")
        moved.append(_MovedFile(opened, text, "story.moved"))
    return moved, ""


def _move_slot(visit: Visit, read: Any, name: str, do: str) -> Response:
    words = visit.words
    schedule, day = visit.newsroom.schedules.get(name), _parse_day(read("slot") or "")
    if schedule is None or day is None or not may_decide(visit, name):
        return visit.not_found()
    how = read("how") or ""
    target = _parse_day(read("day") or "")
    if not how and target is not None:  # dropped on another day
        how = "before" if target < day else "after" if target > day else "skip"
    choices = [("skip", words.gettext("Skip it: nothing goes out, and its stories join the next edition"))]
    reachable = _reachable_days(visit, schedule, day)
    for way, label in (
        ("before", words.gettext("Send it on the working day before: %(when)s")),
        ("after", words.gettext("Send it on the working day after: %(when)s")),
    ):
        if way in reachable:
            choices.append((way, label % {"when": words.moment(reachable[way])}))
    how = how if how in dict(choices) else "skip"
    moved, wrong = _skip_day(visit, schedule, day, how)
    zone = visit.newsroom.site.zone
    if target is not None and not do and how in reachable and reachable[how].astimezone(zone).date() != target:
        when = words.moment(reachable[how])
        wrong = words.gettext(
            "A slot moves only to the working day before or after. This would be %(when)s.", when=when
        )
    texts = {
        "title": f"{schedule_title(visit, name)}, {words.short_day(day)}",
        "heading": words.gettext("Skip or move the slot"),
        "hidden": {"schedule": name, "slot": day.isoformat()},
        "how": how,
        "choices": choices,
    }
    return _save_or_show(visit, moved, texts, do or ("check" if target else ""), wrong)


def _reachable_days(visit: Visit, schedule: Schedule, day: date) -> dict[str, datetime]:
    """Return when the slot of a day would go out on the working day before and after it."""
    found: dict[str, datetime] = {}
    cadence = schedule.cadence
    start = datetime.combine(day, time(), load_zone(cadence.zone)).astimezone(UTC)
    if isinstance(cadence.rule, OnNew | OnRequest):
        return found
    for way in (OnHoliday.BEFORE, OnHoliday.AFTER):
        moved = replace(cadence, skip_dates=(*cadence.skip_dates, parse_skip_date(day.isoformat())), on_holiday=way)
        slot = next(list_slots(moved, start - timedelta(microseconds=1), start + timedelta(days=1)), None)
        if slot is not None and not slot.skip_reason and slot.at > visit.runtime.now():
            found[way.value] = slot.at
    return found


def _skip_day(visit: Visit, schedule: Schedule, day: date, how: str) -> tuple[list[_MovedFile], str]:
    """Return the schedule's file with the day in `skip_dates`, and `on_holiday` if the slot moves."""
    name = f"{SCHEDULES}/{schedule.name}.yaml"
    opened = files.open_file(visit.runtime.root, name)
    present = [str(span) for span in schedule.cadence.skip_dates]
    dates = [*present, *([day.isoformat()] if day.isoformat() not in present else [])]
    try:
        text = set_value(opened.text, ["cadence", "skip_dates"], dates)
        if schedule.cadence.on_holiday is not OnHoliday(how):
            text = set_value(text, ["cadence", "on_holiday"], how)
    except ValueError as error:
        return [], str(error)
    return [_MovedFile(opened, text, "settings.saved")], ""


def _save_or_show(visit: Visit, moved: list[_MovedFile], texts: dict[str, Any], do: str, wrong: str) -> Response:
    words = visit.words
    plan: list[dict[str, Any]] = []
    problems = []
    is_settings = any(each.action == "settings.saved" for each in moved)
    if do and is_settings and not wrong:
        checked = check_settings(visit.runtime, moved[0].opened.name, moved[0].text)
        plan, problems = compare_plans(visit, checked), checked.problems
        if checked.has_error:
            wrong = words.gettext("It was not saved: mend what is named below.")
    digests = visit.fields.get("opened", [])
    if do == "save" and not wrong:
        if digests != [each.opened.digest for each in moved]:
            wrong = words.gettext("Somebody else changed this file meanwhile. Below is how yours differs from theirs.")
        elif all(each.text == each.opened.text for each in moved):
            return visit.redirect("calendar", "unchanged")
        else:
            try:
                for each in moved:
                    if each.text != each.opened.text:
                        file_screens.save_file(visit, each.opened.name, each.text, each.opened.digest, each.action)
                return visit.redirect("calendar", "moved")
            except FileChangedError:
                wrong = words.gettext(
                    "Somebody else changed this file meanwhile. Below is how yours differs from theirs."
                )
            except RefusedError as error:
                wrong = str(error)
    return visit.page(
        "calendar_move.html.j2",
        texts["heading"],
        422 if wrong and do else 200,
        wrong=wrong,
        texts=texts,
        is_checked=bool(do) and bool(moved),
        files=[
            {
                "name": each.opened.name,
                "digest": each.opened.digest,
                "difference": files.difference(each.opened.text, each.text),
            }
            for each in moved
        ],
        plan=plan,
        problems=problems,
    )
