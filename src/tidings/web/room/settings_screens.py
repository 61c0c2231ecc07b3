"""The screens of the YAML files: check, difference and plan are shown before a file is saved."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from tidings.model.cadence import next_slots
from tidings.model.errors import RefusedError
from tidings.render.room.command_words import translate_words
from tidings.render.room.room_pages import SCRIPT
from tidings.runtime.preview.plan import PlannedSchedule
from tidings.runtime.team import files
from tidings.runtime.team.files import FileChangedError, OpenedFile
from tidings.runtime.team.settings_files import CheckedSettings, check_settings, schedule_of, settings_files
from tidings.web.room import file_screens
from tidings.web.room.today import schedule_title
from tidings.web.room.visit import Visit

_SLOTS = 10
"""The most slots to search for one that is not skipped."""
LARGEST_FILE = 500_000
"""Bytes of the form."""


def show_list(visit: Visit) -> Response:
    """Show the YAML files, each with its purpose."""
    rows = []
    for name in settings_files(visit.runtime.root):
        schedule = schedule_of(name)
        title = schedule_title(visit, schedule) if schedule else visit.words.gettext("The newsroom")
        known = visit.newsroom.schedules.get(schedule)
        found = next_slots(known.cadence, visit.runtime.now(), _SLOTS) if known is not None else []
        following = next((slot.at for slot in found if not slot.skip_reason), None)
        rows.append(
            {"name": name, "file": quote(name), "title": title, "is_schedule": bool(schedule), "next": following}
        )
    return visit.page("settings.html.j2", visit.words.gettext("Settings"), rows=rows)


def show_editor(visit: Visit) -> Response:
    """Show one file as text."""
    opened = open_settings(visit, visit.query.get("file", ""))
    return opened if isinstance(opened, Response) else _page(visit, opened, opened.text)


def submit_editor(visit: Visit) -> Response:
    """Check the text and show its changes, or save it, depending on the button's `do`."""
    words, name = visit.words, visit.field("file", 200)
    opened = open_settings(visit, name)
    if isinstance(opened, Response):
        return opened
    raw = visit.fields.get("text", [""])[0]
    text = raw if "\r\n" in opened.text else raw.replace("\r\n", "\n")
    text = text.rstrip("\r\n") + opened.text[len(opened.text.rstrip("\r\n")) :]
    digest = visit.field("opened", 64)
    checked = check_settings(visit.runtime, name, text)
    changed = words.gettext("Somebody else changed this file meanwhile. Below is how yours differs from theirs.")
    if digest != opened.digest and visit.field("do") == "save" and text == opened.text:
        # A second press of Save, before the first was answered.
        return visit.redirect(f"settings/edit?file={quote(name)}", "saved")
    if digest != opened.digest:
        return _page(visit, opened, text, checked, wrong=changed, status=409)
    if visit.field("do") != "save":
        return _page(visit, opened, text, checked)
    if checked.has_error:
        text_wrong = words.gettext("It was not saved. Correct the errors below.")
        return _page(visit, opened, text, checked, wrong=text_wrong, status=422)
    if text == opened.text:
        return visit.redirect(f"settings/edit?file={quote(name)}", "unchanged")
    try:
        file_screens.save_file(visit, name, text, digest, "settings.saved")
    except FileChangedError:
        return _page(visit, files.open_file(visit.runtime.root, name), text, checked, wrong=changed, status=409)
    except RefusedError as error:
        return _page(visit, opened, text, checked, wrong=str(error), status=409)
    return visit.redirect(f"settings/edit?file={quote(name)}", "saved_waits" if checked.waits else "saved")


def show_version(visit: Visit) -> Response:
    """Show how a former version differs from the present one."""
    opened = open_settings(visit, visit.query.get("file", ""))
    if isinstance(opened, Response):
        return opened
    return file_screens.show_former(visit, opened, "settings", may_restore=True)


def restore_version(visit: Visit) -> Response:
    """Restore a former version, if it is still valid."""
    opened = open_settings(visit, visit.field("file", 200))
    if isinstance(opened, Response):
        return opened
    former = files.read_version(visit.runtime.root, opened.name, visit.field("version", 80))
    if former is None:
        return visit.not_found()
    checked = check_settings(visit.runtime, opened.name, former)
    if checked.has_error:
        text = visit.words.gettext("It was not saved. Correct the errors below.")
        return _page(visit, opened, former, checked, wrong=text, status=422)
    return file_screens.restore_former(visit, opened.name, former, "settings", "settings.restored")


def open_settings(visit: Visit, name: str) -> OpenedFile | Response:
    """Open one of the YAML files, or return a page with the reason why it cannot be opened."""
    if name not in settings_files(visit.runtime.root):
        return visit.not_found()
    return file_screens.open_file(visit, name)


def _page(
    visit: Visit,
    opened: OpenedFile,
    text: str,
    checked: CheckedSettings | None = None,
    *,
    wrong: str = "",
    status: int = 200,
) -> Response:
    return visit.page(
        "settings_edit.html.j2",
        opened.name,
        status,
        wrong=wrong,
        script=SCRIPT,
        is_schedule=bool(schedule_of(opened.name)),
        name=opened.name,
        file=quote(opened.name),
        opened=opened.digest,
        text=text,
        is_checked=checked is not None,
        problems=checked.problems if checked is not None else [],
        difference=files.difference(opened.text, text) if checked is not None else [],
        plan=compare_plans(visit, checked) if checked is not None else [],
        versions=files.list_versions(visit.runtime.root, opened.name)[:20],
    )


def compare_plans(visit: Visit, checked: CheckedSettings) -> list[dict[str, Any]]:
    """Return each schedule whose next slots or recipients change, before and after."""
    before = {entry.name: _next(visit, entry) for entry in checked.before or ()}
    after = {entry.name: _next(visit, entry) for entry in checked.after or ()}
    return [
        {"title": schedule_title(visit, name), "before": before.get(name, []), "after": after.get(name, [])}
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _next(visit: Visit, entry: PlannedSchedule) -> list[str]:
    words = visit.words
    lines = []
    for slot in entry.slots:
        count = sum(outlet.recipients.total() for outlet in slot.outlets)
        line = words.moment(slot.at)
        if slot.skipped:
            line = words.gettext("Skipped: %(when)s", when=line)
            line += f" ({translate_words(slot.skipped, visit.language)})"
        elif slot.outlets:
            line += " · " + words.ngettext("to %(count)s recipient", "to %(count)s recipients", count)
        elif slot.at_most:
            line += " · " + words.ngettext(
                "to at most %(count)s recipient", "to at most %(count)s recipients", slot.at_most
            )
        lines.append(line)
    return lines or [entry.note]
