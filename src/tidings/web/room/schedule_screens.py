"""The form for a schedule's common settings. It shows the plan, then writes the YAML as a person would."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from tidings.model.errors import Problem, RefusedError
from tidings.model.text import one_line, shorten_slug, slugify
from tidings.pipeline.members.preferences import frequency_label
from tidings.render.i18n import kind_label
from tidings.render.room.room_pages import SCRIPT, RoomWords
from tidings.runtime.team import files, schedule_form
from tidings.runtime.team.files import FileChangedError, OpenedFile
from tidings.runtime.team.schedule_form import DeliveryForm, ScheduleForm
from tidings.runtime.team.settings_files import SCHEDULES, CheckedSettings, check_settings, schedule_of
from tidings.runtime.team.yaml_edit import to_flow
from tidings.store.content.story_list import list_kinds
from tidings.web.room import file_screens
from tidings.web.room.settings_screens import compare_plans, open_settings
from tidings.web.room.today import schedule_title
from tidings.web.room.visit import Visit

_FILE = re.compile(rf"{SCHEDULES}/[a-z0-9][a-z0-9-]{{0,80}}\.yaml")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:00)?")
"""A rule `at` that the picker of day and time can show."""


def show_schedule(visit: Visit) -> Response:
    """Show the form of one schedule, or its YAML if the form cannot show it."""
    title = one_line(visit.query.get("title", ""))[:100]
    name = visit.query.get("file", "") or f"{SCHEDULES}/{shorten_slug(slugify(title))}.yaml"
    opened = _open(visit, name)
    if isinstance(opened, Response):
        return opened
    try:
        form = schedule_form.read_schedule(opened.text or _new_text(visit, title))
    except ValueError:
        return visit.redirect(f"settings/edit?file={quote(opened.name)}", "no_form")
    return _page(visit, opened, form)


def submit_schedule(visit: Visit) -> Response:
    """Show the changes and the new plan, or save the form, depending on the button's `do`."""
    words, name = visit.words, visit.field("file", 200)
    opened = _open(visit, name)
    if isinstance(opened, Response):
        return opened
    form = _read_form(visit)
    changed = words.gettext("Somebody else changed this file meanwhile. Below is how yours differs from theirs.")
    try:
        text = schedule_form.write_schedule(opened.text or _new_text(visit, form.texts.get("title", "")), form)
    except ValueError as error:
        return _page(visit, opened, form, wrong=str(error), status=422)
    checked = check_settings(visit.runtime, name, text)
    if visit.field("opened", 64) != opened.digest and visit.field("do") == "save" and text == opened.text:
        # A second press of Save, before the first was answered.
        return visit.redirect(f"settings/schedule?file={quote(name)}#content", "saved")
    if visit.field("opened", 64) != opened.digest:
        return _page(visit, opened, form, text, checked, wrong=changed, status=409)
    if visit.field("do") != "save":
        return _page(visit, opened, form, text, checked)
    if checked.has_error:
        wrong = words.gettext("It was not saved. Correct the errors below.")
        return _page(visit, opened, form, text, checked, wrong=wrong, status=422)
    if text == opened.text:
        return visit.redirect(f"settings/schedule?file={quote(name)}#content", "unchanged")
    try:
        file_screens.save_file(visit, name, text, opened.digest, "settings.saved")
    except FileChangedError:
        return _page(visit, opened, form, text, checked, wrong=changed, status=409)
    except RefusedError as error:
        return _page(visit, opened, form, text, checked, wrong=str(error), status=409)
    return visit.redirect(
        f"settings/schedule?file={quote(name)}#content", "saved_waits" if checked.waits else "planned"
    )


def _open(visit: Visit, name: str) -> OpenedFile | Response:
    """Open the file of a schedule. The schedule may be new, without a file."""
    if _FILE.fullmatch(name) and not (visit.runtime.root / name).exists():
        return OpenedFile(name, "", "")
    return open_settings(visit, name) if name.startswith(f"{SCHEDULES}/") else visit.not_found()


def _new_text(visit: Visit, title: str) -> str:
    """Return the YAML of a new schedule: weekly to the first list, or to the first channel if there is no list."""
    newsroom = visit.newsroom
    posts = [f"{{channel: {name}}}" for name, channel in newsroom.channels.items() if channel.POSTS]
    outlets = [f"{{list: {name}, frequency: weekly}}" for name in newsroom.lists] + posts
    written = to_flow(title or visit.words.gettext("New schedule"))
    return schedule_form.NEW.format(
        title=written, outlet=outlets[0] if outlets else "{list: digest, frequency: weekly}"
    )


def _read_form(visit: Visit) -> ScheduleForm:
    rule = visit.field("rule")
    once = visit.field("once") if rule == "at" else ""
    form = ScheduleForm(rule=rule, when=once or visit.field("when"))
    # A title in several languages has no field.
    form.texts = {key: visit.field(key) for key in schedule_form.TEXTS if key != "title" or key in visit.fields}
    for key in schedule_form.LISTS:
        values = visit.fields.get(key, [])
        if key in ("skip_dates", "by"):
            values = [part for value in values for part in value.replace(",", " ").split()]
        form.lists[key] = [value.strip()[:200] for value in values if value.strip()]
    for outlet in visit.fields.get("deliver", []):
        kind, _, name = outlet.partition(":")
        frequency = visit.field(f"frequency.{name}") if kind == "list" else ""
        form.deliver.append(DeliveryForm(kind, name, frequency))
    return form


def _page(
    visit: Visit,
    opened: OpenedFile,
    form: ScheduleForm,
    text: str = "",
    checked: CheckedSettings | None = None,
    *,
    wrong: str = "",
    status: int = 200,
) -> Response:
    newsroom, words = visit.newsroom, visit.words
    name = schedule_of(opened.name)
    default = newsroom.site.languages[0]
    with visit.runtime.store.read() as connection:
        kinds = dict.fromkeys([*form.lists["kinds"], *list_kinds(connection)])
    return visit.page(
        "schedule_edit.html.j2",
        form.texts.get("title") or schedule_title(visit, name) if opened.digest else words.gettext("New schedule"),
        status,
        wrong=wrong,
        script=SCRIPT,
        name=opened.name,
        file=quote(opened.name),
        opened=opened.digest,
        form=form,
        rules=_rule_names(words),
        once=form.when[:16].replace(" ", "T") if form.rule == "at" and _MOMENT.fullmatch(form.when) else "",
        outlets=_outlets(visit, form),
        kinds=[(kind, kind_label(kind, visit.language, 1)) for kind in kinds],
        topics=[
            *((key, label.get(visit.language, default)) for key, label in newsroom.topics.items()),
            *((key, key) for key in form.lists["topics"] if key not in newsroom.topics),
        ],
        languages=newsroom.site.languages,
        errors=_find_fields(opened.name, checked.problems) if checked is not None else {},
        is_checked=checked is not None,
        problems=checked.problems if checked is not None else [],
        difference=files.difference(opened.text, text) if checked is not None else [],
        plan=[
            # A new schedule has no title in the newsroom yet.
            entry | {"title": form.texts.get("title") or name} if entry["title"] == name else entry
            for entry in (compare_plans(visit, checked) if checked is not None else [])
        ],
    )


def _find_fields(name: str, problems: list[Problem]) -> dict[str, Problem]:
    """Return the errors of a file by the field of the form. A message begins with the key of its setting."""
    keys = {**dict.fromkeys(schedule_form.RULES, "when"), **{key: key for key in schedule_form.TEXTS}}
    keys |= {key: key for key in schedule_form.LISTS}
    found: dict[str, Problem] = {}
    for problem in problems:
        key = keys.get(problem.message.partition(":")[0])
        if problem.file == name and problem.level == "error" and key is not None:
            found.setdefault(key, problem)
    return found


def _outlets(visit: Visit, form: ScheduleForm) -> list[dict[str, Any]]:
    """Return every list and channel that can get the schedule, and whether it does."""
    chosen = {(part.kind, part.name): part for part in form.deliver}
    rows: list[dict[str, Any]] = []
    for name, settings in visit.newsroom.lists.items():
        part = chosen.pop(("list", name), None)
        own = {part.frequency} if part is not None else set()
        frequencies = dict.fromkeys(["daily", "weekly", "monthly", *settings.frequencies, *sorted(own - {"", "all"})])
        title = settings.name.get(visit.language, visit.newsroom.site.languages[0])
        rows.append(
            {
                "kind": "list",
                "name": name,
                "title": title,
                "chosen": part is not None,
                "frequency": part.frequency if part is not None else "",
                "frequencies": {each: frequency_label(each, visit.language) for each in frequencies},
            }
        )
    for name, channel in visit.newsroom.channels.items():
        if channel.POSTS:
            is_chosen = chosen.pop(("channel", name), None) is not None
            rows.append({"kind": "channel", "name": name, "title": f"{name} ({channel.type})", "chosen": is_chosen})
    return rows + [
        {"kind": part.kind, "name": part.name, "title": part.name, "chosen": True, "frequency": part.frequency}
        for part in chosen.values()
    ]


def _rule_names(words: RoomWords) -> list[tuple[str, str, str]]:
    """Return each rule with its name and an example."""
    return [
        ("weekly", words.gettext("On days of the week"), "fri 09:00"),
        ("daily", words.gettext("Every day"), "09:00"),
        ("monthly", words.gettext("On days of the month"), "first mon 09:00"),
        ("every", words.gettext("In even steps"), "2h"),
        ("at", words.gettext("Once"), ""),
        ("on", words.gettext("When something is new, or on request"), "new"),
        ("cron", words.gettext("By a cron rule"), "0 9 * * fri"),
    ]
