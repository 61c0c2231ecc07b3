"""`/api/v1/settings`: read, check and replace the newsroom's YAML, and show the plan of a new text."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tidings.model.errors import nearest
from tidings.runtime.preview.plan import plan_as_json
from tidings.runtime.team import files
from tidings.runtime.team.files import OpenedFile
from tidings.runtime.team.settings_files import CheckedSettings, check_settings, schedule_of, settings_files
from tidings.web.api.v1.access import ApiModel, ApiRefusal, ApiRoute, Caller, ReadVersion, Who
from tidings.web.api.v1.overview import PlanEntry
from tidings.web.api.v1.stories import save_file
from tidings.web.api.v1.story_files import (
    FileRestore,
    FileText,
    Former,
    FormerText,
    FormerVersion,
    describe_file,
    list_versions,
    read_version,
    show_version,
)

_LARGEST = 500_000
FileName = Annotated[str, Field(max_length=200, description="tidings.yaml or schedules/NAME.yaml.")]


class SettingsFile(ApiModel):
    """A YAML file of the newsroom."""

    file: str
    schedule: str = Field(description="Empty for tidings.yaml.")


class SettingsText(ApiModel):
    """A new text for a YAML file."""

    text: str = Field(max_length=_LARGEST)


class SettingsEdit(SettingsText):
    """A new text for a YAML file, and the version that it replaces."""

    version: ReadVersion = ""


class ProblemInfo(ApiModel):
    """A message of `tidings check` about a line."""

    file: str
    line: int = Field(description="From 1; 0 if unknown.")
    column: int
    level: str = Field(description="error or warning. A file with an error is not saved.")
    message: str
    mend: str


class SettingsCheck(ApiModel):
    """The effect of a new text. The plans are null if the text has an error."""

    problems: list[ProblemInfo]
    difference: str = Field(description="The changed lines, with `+`, `-` or a space before each.")
    before: list[PlanEntry] | None
    after: list[PlanEntry] | None


def list_settings(caller: Who) -> list[SettingsFile]:
    """List the YAML files: tidings.yaml first, then the schedules."""
    return [SettingsFile(file=name, schedule=schedule_of(name)) for name in settings_files(caller.runtime.root)]


def show_settings(caller: Who, file: FileName) -> FileText:
    """Show a YAML file."""
    return describe_file(_open(caller, file))


def check_settings_text(caller: Who, file: FileName, change: SettingsText) -> SettingsCheck:
    """Check a new text, and show the plan that it would give. Nothing is saved."""
    opened = _open(caller, file)
    checked = check_settings(caller.runtime, file, change.text)
    plans = [
        None if plan is None else [PlanEntry.model_validate(entry) for entry in plan_as_json(plan)]
        for plan in (checked.before, checked.after)
    ]
    return SettingsCheck(
        problems=[ProblemInfo.model_validate(problem) for problem in checked.problems],
        difference="\n".join(sign + line for sign, line in files.difference(opened.text, change.text)),
        before=plans[0],
        after=plans[1],
    )


def replace_settings(caller: Who, file: FileName, edit: SettingsEdit) -> FileText:
    """Save a new text, if it has no error. The running newsroom uses it at once."""
    opened = _open(caller, file)
    caller.check_version(file, opened.digest, edit.version)
    return _save(caller, opened, edit.text, "settings.saved")


def list_settings_versions(caller: Who, file: FileName) -> list[FormerVersion]:
    """List the kept versions of a YAML file, the newest first."""
    return list_versions(caller, _open(caller, file))


def show_settings_version(caller: Who, file: FileName, former: Former) -> FormerText:
    """Show a former version, and how it differs from the present one."""
    return show_version(caller, _open(caller, file), former)


def restore_settings_version(caller: Who, file: FileName, former: Former, restore: FileRestore) -> FileText:
    """Restore a former version, if it has no error. The present one becomes a former version."""
    opened = _open(caller, file)
    caller.check_version(file, opened.digest, restore.version)
    return _save(caller, opened, read_version(caller, opened, former), "settings.restored")


def _open(caller: Caller, name: str) -> OpenedFile:
    known = settings_files(caller.runtime.root)
    if name not in known:
        raise ApiRefusal(404, f"there is no settings file {name!r}. {nearest(name, known)}")
    return files.open_file(caller.runtime.root, name)


def _save(caller: Caller, opened: OpenedFile, text: str, action: str) -> FileText:
    checked: CheckedSettings = check_settings(caller.runtime, opened.name, text)
    if checked.has_error:
        wrong = "; ".join(str(problem) for problem in checked.problems if problem.level == "error")
        raise ApiRefusal(422, f"it was not saved: {wrong}")
    if text != opened.text:
        save_file(caller, opened, text, action)
    return describe_file(files.open_file(caller.runtime.root, opened.name))


ROUTES = (
    ApiRoute("GET", "/settings", "GET settings", list_settings),
    ApiRoute("GET", "/settings/file", "GET settings/edit", show_settings),
    ApiRoute("POST", "/settings/check", "POST settings/edit", check_settings_text),
    ApiRoute("PUT", "/settings/file", "POST settings/edit", replace_settings, is_versioned=True),
    ApiRoute("GET", "/settings/versions", "GET settings/version", list_settings_versions),
    ApiRoute("GET", "/settings/versions/{former}", "GET settings/version", show_settings_version),
    ApiRoute(
        "POST",
        "/settings/versions/{former}/restore",
        "POST settings/restore",
        restore_settings_version,
        is_versioned=True,
    ),
)
