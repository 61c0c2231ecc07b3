"""Check a changed YAML file, and plan with it, before it is saved. Nothing of the newsroom is touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tidings.config.file_reader import MAIN
from tidings.model.errors import Problem
from tidings.runtime.newsroom import Runtime, load_newsroom
from tidings.runtime.preview.plan import MOST_COUNTED, PlannedSchedule, open_scratch_runtime, plan

SCHEDULES = "schedules"
_RUNS = 2


@dataclass(frozen=True, slots=True)
class CheckedSettings:
    """What a changed file would do: its problems, and the next slots before and after; None without a plan.

    `has_error` says whether the file must not be saved: for an error of its own, or one that it makes in another file.
    """

    problems: list[Problem]
    has_error: bool
    before: list[PlannedSchedule] | None = None
    after: list[PlannedSchedule] | None = None

    @property
    def waits(self) -> bool:
        """Whether the newsroom takes the file up only once an error in another file is mended."""
        return not self.has_error and any(problem.level == "error" for problem in self.problems)


def settings_files(root: Path) -> list[str]:
    """Return the YAML files of a newsroom: the main one first, then the schedules."""
    folder = root / SCHEDULES
    names = sorted(path.name for path in folder.glob("*.yaml") if not path.name.startswith("."))
    return [MAIN, *(f"{SCHEDULES}/{name}" for name in names)]


def schedule_of(name: str) -> str:
    """Return the schedule of a file that `settings_files` names, or '' for tidings.yaml."""
    return name.removeprefix(f"{SCHEDULES}/").removesuffix(".yaml") if name != MAIN else ""


def check_settings(runtime: Runtime, name: str, text: str) -> CheckedSettings:
    """Load the newsroom with one changed file and plan with it: on a copy of the store, which PostgreSQL only reads."""
    loaded = load_newsroom(runtime.root, changed={name: text.encode()})
    problems = list(loaded.problems)
    errors = [problem for problem in problems if problem.level == "error"]
    newsroom = loaded.newsroom
    if newsroom is None or errors:
        present = {(problem.file, problem.message) for problem in load_newsroom(runtime.root).problems}
        is_new = any(one.file == name or (one.file, one.message) not in present for one in errors)
        return CheckedSettings(problems, has_error=is_new)
    if runtime.store.path is None:
        changed = newsroom.model_copy(update={"store": runtime.newsroom.store})
        with Runtime(changed, keys=runtime.keys, lazy=True) as reader:
            reader.set_clock(runtime.now())
            before = plan(runtime, runtime.now(), _RUNS)
            return CheckedSettings(problems, False, before, plan(reader, reader.now(), _RUNS))
    with open_scratch_runtime(runtime) as copy:
        before = plan(copy, copy.now(), _RUNS, most_counted=MOST_COUNTED)
        copy.apply_configuration(newsroom.model_copy(update={"store": copy.newsroom.store}))
        return CheckedSettings(problems, False, before, plan(copy, copy.now(), _RUNS, most_counted=MOST_COUNTED))
