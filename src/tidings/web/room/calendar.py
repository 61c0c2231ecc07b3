"""The screen "Calendar": slots, editions and scheduled stories by month, week or as a list, and how they are moved.

A move shows the difference first. Then it writes the story's files or the schedule's YAML.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from starlette.responses import Response

from tidings.config.schedule import ChannelDelivery, Schedule
from tidings.model.cadence import (
    FURTHEST_MOVE,
    Cadence,
    OnHoliday,
    OnNew,
    OnRequest,
    Slot,
    is_in_window,
    list_slots,
    load_zone,
    moved_slots,
    parse_move,
)
from tidings.model.errors import RefusedError
from tidings.render.room.room_pages import SCRIPT
from tidings.runtime.team import files, stories
from tidings.runtime.team.files import FileChangedError, OpenedFile
from tidings.runtime.team.rights import may_decide, may_see_schedule
from tidings.runtime.team.settings_files import SCHEDULES, check_settings
from tidings.runtime.team.yaml_edit import set_value
from tidings.store.content import editions
from tidings.store.content.story_list import StoryVersion, find_stories
from tidings.store.people.team import Role
from tidings.web.room import file_screens
from tidings.web.room.edition_screen import edition_states
from tidings.web.room.settings_screens import compare_plans
from tidings.web.room.today import choose_title, name_slot, schedule_title
from tidings.web.room.visit import Visit

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])")
_DAY = re.compile(r"20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])")
_MOST_STORIES = 200
_LISTED = 42
"""Number of days in the list."""
_LONGEST_SKIP = timedelta(days=100)
"""Longest time in which one form skips all slots of a schedule."""


def show(visit: Visit) -> Response:
    """Show the days of the query: a month, a week or a list. The default is the present month."""
    zone, now = visit.newsroom.site.zone, visit.runtime.now()
    today = now.astimezone(zone).date()
    view = visit.query.get("view", "month")
    view = view if view in ("month", "week", "list") else "month"
    first, count = _find_days(visit, view, today)
    start = datetime.combine(first, time(), zone).astimezone(UTC)
    end = datetime.combine(first + timedelta(days=count), time(), zone).astimezone(UTC)
    days: dict[date, list[dict[str, Any]]] = {first + timedelta(days=number): [] for number in range(count)}
    slots, holidays = _slots(visit, max(start, now), end), _holidays(visit, list(days))
    for entry in [*holidays, *_editions(visit, start, end), *slots, *_stories(visit, start, end)]:
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
            posts=_channels(visit, edition.schedule),
        )
        for edition in found
        if start <= edition.starts < end and may_see_schedule(visit, edition.schedule)
    ]


def _entry(
    kind: str,
    at: datetime,
    title: str,
    *,
    path: str = "",
    state: str = "",
    note: str = "",
    move: str = "",
    posts: str = "",
) -> dict[str, Any]:
    texts = {"path": path, "state": state, "note": note, "move": move, "posts": posts}
    return {"kind": kind, "at": at, "title": title, **texts}


def _slots(visit: Visit, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Return the coming slots of each schedule that have no edition yet."""
    with visit.runtime.store.read() as connection:
        composed = {(edition.schedule, edition.slot) for edition in editions.list_editions(connection)}
    entries = []
    for name, schedule in visit.newsroom.schedules.items():
        cadence = schedule.cadence
        if not may_see_schedule(visit, name) or isinstance(cadence.rule, OnNew | OnRequest):
            continue
        # A slot of another month may have moved into this one.
        may_move = cadence.moved or cadence.on_holiday is not OnHoliday.SKIP
        further = timedelta(days=FURTHEST_MOVE if may_move else 0)
        is_next = start <= visit.runtime.now()
        for slot in list_slots(cadence, start - further, end + further) if start < end else ():
            if (name, slot.key) in composed or not start < slot.at <= end:
                continue
            opens, is_next = is_next and not slot.skip_reason, is_next and bool(slot.skip_reason)
            entries.append(
                _entry(
                    "skipped" if slot.skip_reason else "slot",
                    slot.at,
                    schedule_title(visit, name),
                    path=f"coming/{quote(name, safe='')}" if opens else "",
                    note=slot.skip_reason or slot.move_reason or "",
                    posts=_channels(visit, name),
                    move=urlencode({"schedule": name, "slot": name_slot(schedule, slot.key)}),
                )
            )
    return entries


def _holidays(visit: Visit, days: list[date]) -> list[dict[str, Any]]:
    """Return the public holidays that schedules know."""
    zone, found = visit.newsroom.site.zone, dict[tuple[date, str], None]()
    for name, schedule in visit.newsroom.schedules.items():
        if schedule.cadence.holidays is not None and may_see_schedule(visit, name):
            found |= {(day, named): None for day in days if (named := schedule.cadence.holidays(day))}
    return [_entry("holiday", datetime.combine(day, time(), zone), named) for day, named in found]


def _channels(visit: Visit, schedule: str) -> str:
    """Return the channels to which a schedule posts."""
    known = visit.newsroom.schedules.get(schedule)
    parts = known.deliver if known is not None else ()
    return ", ".join(part.channel for part in parts if isinstance(part, ChannelDelivery))


def _stories(visit: Visit, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Return the stories that will be published during the days shown."""
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
    """A file that a move changes, with its new text."""

    opened: OpenedFile
    text: str
    action: str


def show_move(visit: Visit) -> Response:
    """Show the form that moves the story or slot of the query to the query's `day`."""
    return _move(visit, visit.query.get, do="")


def submit_move(visit: Visit) -> Response:
    """Show the difference of a move or write it, depending on the button's `do`."""
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
    if visit.moment_field(wanted) is None:
        wrong = words.gettext("Write day and time like 2026-12-01T09:00.")
    elif wanted != f"{at:%Y-%m-%dT%H:%M}" or do:
        moved, wrong = _date_files(visit, waiting, wanted)
    title = choose_title(visit, {each.language: each.title for each in versions})
    texts: dict[str, Any] = {
        "title": title,
        "when": "",
        "heading": words.gettext("Move the story"),
        "hidden": {"story": story},
        "at": wanted,
        "choices": [],
        "back": _address("month", (day or at.date())),
    }
    return _save_or_show(visit, moved, texts, do or ("check" if day else ""), wrong)


def _date_files(visit: Visit, versions: list[StoryVersion], wanted: str) -> tuple[list[_MovedFile], str]:
    """Return the story's files with a new moment for the embargo if there is one, else for the date."""
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
    words, zone = visit.words, visit.newsroom.site.zone
    schedule = visit.newsroom.schedules.get(name)
    slot = _find_slot(schedule, read("slot") or "") if schedule is not None and may_decide(visit, name) else None
    if schedule is None or slot is None:
        return visit.not_found()
    target, local = _parse_day(read("day") or ""), slot.at.astimezone(zone)
    wanted = (read("at") or "")[:16] or f"{datetime.combine(target or local.date(), local.time()):%Y-%m-%dT%H:%M}"
    choices = {"at": words.gettext("Send it at another time")}
    if slot.key > visit.runtime.now():
        choices["plan"] = words.gettext("Send it as the schedule says: %(when)s", when=words.moment(slot.key))
    choices["skip"] = words.gettext("Skip it: nothing goes out, and its stories join the next edition")
    how = read("how") or "at"
    how = how if how in choices else "at"
    at, last = visit.moment_field(wanted), _parse_day(read("through") or "")
    also = _list_further(schedule, slot, last) if how == "skip" and last is not None else []
    moved, wrong = _change_slot(visit, schedule, [slot, *also], how, at)
    title = schedule_title(visit, name)
    skipped = [words.gettext("Skipped: %(when)s", when=words.moment(each.key)) for each in (slot, *also)]
    after = skipped if how == "skip" else [words.moment(slot.key if how == "plan" or at is None else at)]
    before = [skipped[0] if slot.skip_reason else words.moment(slot.at), *(words.moment(each.at) for each in also)]
    texts = {
        "title": title,
        "when": words.moment(slot.at),
        "heading": words.gettext("Move or skip this edition"),
        "plan": [{"title": title, "before": before, "after": after}],
        "hidden": {"schedule": name, "slot": name_slot(schedule, slot.key)},
        "how": how,
        "at": wanted,
        "through": last.isoformat() if last is not None else "",
        "choices": list(choices.items()),
        "back": _address("month", slot.at.astimezone(zone).date()),
    }
    return _save_or_show(visit, moved, texts, do or ("check" if target else ""), wrong)


def _find_slot(schedule: Schedule, name: str) -> Slot | None:
    """Return the slot of a local moment, or the first one of a day."""
    day = _parse_day(name[:10])
    if day is None or isinstance(schedule.cadence.rule, OnNew | OnRequest):
        return None
    start = datetime.combine(day, time(), load_zone(schedule.cadence.zone)).astimezone(UTC)
    found = list_slots(schedule.cadence, start - timedelta(microseconds=1), start + timedelta(days=1))
    return next((slot for slot in found if name_slot(schedule, slot.key).startswith(name)), None)


def _list_further(schedule: Schedule, slot: Slot, last: date) -> list[Slot]:
    """Return the slots after this one until the end of a day, without those that are skipped already."""
    end = datetime.combine(last + timedelta(days=1), time(), load_zone(schedule.cadence.zone)).astimezone(UTC)
    until = min(end, slot.key + _LONGEST_SKIP) - timedelta(microseconds=1)
    return [each for each in list_slots(schedule.cadence, slot.key, until) if not each.skip_reason]


def _change_slot(
    visit: Visit, schedule: Schedule, chosen: list[Slot], how: str, at: datetime | None
) -> tuple[list[_MovedFile], str]:
    """Return the schedule's file with the slot in `moved` or not, and an error message. Several can be skipped."""
    slot = chosen[0]
    cadence, name, wrong = schedule.cadence, name_slot(schedule, slot.key), ""
    opened = files.open_file(visit.runtime.root, f"{SCHEDULES}/{schedule.name}.yaml")
    text = opened.text
    moves = {move.slot: move.target for move in cadence.moved if move.slot not in (name, name[:10])}
    if any(move.slot == name[:10] and move.to is None for move in cadence.moved):
        # The whole day was left out: its other editions stay so.
        day = date.fromisoformat(name[:10])
        kept = {f"{day}T{clock:%H:%M}" for clock in cadence.local_times(day)} - {name}
        moves |= dict.fromkeys(sorted(kept), "skip")
    skipped = [str(span) for span in cadence.skip_dates]
    if how == "skip":
        moves |= {name_slot(schedule, each.key): "skip" for each in chosen}
    elif how == "plan":
        # `skip_dates` counts on the day on which the slot is due. The window may put that after midnight.
        (unmoved,) = list_slots(replace(cadence, moved=()), slot.key - timedelta(microseconds=1), slot.key)
        skipped = [span for span in skipped if span != name_slot(schedule, unmoved.at)[:10]]
    elif how == "at":
        if at is None:
            return [], visit.words.gettext("Write day and time like 2026-12-01T09:00.")
        move = parse_move(name, f"{at.astimezone(load_zone(cadence.zone)):%Y-%m-%dT%H:%M}")
        others = tuple(other for other in cadence.moved if other.slot in moves)
        wrong = _refuse_move(visit, replace(cadence, moved=(*others, move)), slot, at)
        moves |= {name: move.target} if at != slot.key else {}
    try:
        text = set_value(text, ["cadence", "moved"], moves or None)
        text = set_value(text, ["cadence", "skip_dates"], skipped or None)
    except ValueError as error:
        return [], str(error)
    return [_MovedFile(opened, text, "settings.saved")], wrong


def _refuse_move(visit: Visit, cadence: Cadence, slot: Slot, at: datetime) -> str:
    """Say why a slot cannot move to a moment as `cadence` has it; empty if it can."""
    words = visit.words
    if at <= visit.runtime.now():
        return words.gettext("This time has passed. Choose a later one.")
    if not is_in_window(cadence, at):
        return words.gettext("This schedule sends only at %(window)s.", window=str(cadence.window))
    if all(moved.key != slot.key for moved in moved_slots(cadence)):
        return words.gettext("Another edition of this schedule is due between. Choose a nearer time, or skip this one.")
    return ""


def _save_or_show(visit: Visit, moved: list[_MovedFile], texts: dict[str, Any], do: str, wrong: str) -> Response:
    words, back = visit.words, texts["back"]
    plan: list[dict[str, Any]] = []
    problems, said = [], "moved"
    is_settings = any(each.action == "settings.saved" for each in moved)
    if do and is_settings and not wrong:
        checked = check_settings(visit.runtime, moved[0].opened.name, moved[0].text)
        plan, problems = compare_plans(visit, checked) or texts["plan"], checked.problems
        said = "saved_waits" if checked.waits else said
        if checked.has_error:
            wrong = words.gettext("It was not saved. Correct the errors below.")
    digests = visit.fields.get("opened", [])
    if do == "save" and not wrong:
        if digests != [each.opened.digest for each in moved]:
            wrong = words.gettext("Somebody else changed this file meanwhile. Below is how yours differs from theirs.")
        elif all(each.text == each.opened.text for each in moved):
            return visit.redirect(back, "unchanged")
        else:
            try:
                for each in moved:
                    if each.text != each.opened.text:
                        file_screens.save_file(visit, each.opened.name, each.text, each.opened.digest, each.action)
                return visit.redirect(back, said)
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
