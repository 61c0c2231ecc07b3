"""Each command, from one table: errors on stderr, exit codes as documented, JSON with --json."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.fixtures.newsroom_folder import NewsroomFolder
from tidings.cli.commands import root_command
from tidings.cli.session import console, make_table
from tidings.model.errors import InputError
from tidings.store.delivery import ledger

NEEDS_NO_NEWSROOM = {"init", "demo", "schema", "restore"}
STORE_ALONE = {"subscribers list", "subscribers show", "status", "ledger", "clock", "team list", "team key list"}
"""Commands that only read the store: for them, an error in the YAML is a warning."""
VALUES = {
    "address": "nobody@example.org", "edition": "weekly/7", "schedule": "nothing", "delivery": "7", "file": "none.csv",
    "story": "none", "source": "none", "name": "none", "from_": "2026-03-01", "to": "2026-03-02", "lists": "none",
    "role": "viewer", "addresses": "nobody@example.org", "by": "2030-01-01",
}  # fmt: skip


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from _commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(_commands(root_command()))
CHOICES = {"resolve": ["--cancel"], "team set": ["--role", "viewer"], "subscribers set": ["--language", "ru"]}
"""Options that a command needs one of."""


def _fill(name: str) -> list[str]:
    """Return values for the required arguments of a command."""
    given = [*CHOICES.get(name, ())]
    for parameter in COMMANDS[name].params:
        if parameter.required:
            value = VALUES.get(parameter.name, "none")
            given += [value] if parameter.param_type_name == "argument" else [parameter.opts[0], value]
    return given


def _takes_json(command: Any) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_refused_on_stderr(run_in: Run, name: str, tmp_path: Path) -> None:
    ran = run_in(tmp_path, *name.split(), "--nonsense")
    assert (ran.code, ran.out) == (2, "") and "--nonsense" in ran.err
    if _takes_json(COMMANDS[name]):
        ran = run_in(tmp_path, *name.split(), "--nonsense", "--json")
        assert ran.code == 2 and "--nonsense" in ran.err
        assert ran.json["exit_code"] == 2


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - NEEDS_NO_NEWSROOM))
def test_outside_a_newsroom_each_command_says_where_it_looked(run_in: Run, name: str, tmp_path: Path) -> None:
    wish = ["--json"] if _takes_json(COMMANDS[name]) else []
    ran = run_in(tmp_path, *name.split(), *_fill(name), *wish)
    assert ran.code == 1 and "newsroom" in (ran.err or ran.out), (ran.code, ran.err)
    if wish:
        assert "newsroom" in str(ran.json)
    else:
        assert ran.out == ""
    assert list(tmp_path.iterdir()) == []


def test_each_command_names_what_it_cannot_find(
    folder: NewsroomFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.root)
    for name, command in COMMANDS.items():
        if name in NEEDS_NO_NEWSROOM | {"run", "worker", "doctor", "build"}:
            continue
        wish = ["--json"] if _takes_json(command) else []
        ran = run(*name.split(), *_fill(name), *wish, stdin="no\n")
        assert bool(ran.code) <= bool(ran.err or wish), (name, ran)
        if wish and name != "ledger":
            assert ran.json is not None, name


def test_each_command_names_the_broken_file(folder: NewsroomFolder, run: Run) -> None:
    run("tick", "--now", "2026-03-01T09:00").ok()
    folder.write("schedules/odd.yaml", "cadence: {weekly: fri\n")
    for name, command in COMMANDS.items():
        if name in NEEDS_NO_NEWSROOM or not _takes_json(command):
            continue
        ran = run(*name.split(), *_fill(name), "--json")
        assert "schedules/odd.yaml" in ran.out + ran.err and "never closed" in ran.out + ran.err, (name, ran)
        assert name == "ledger" or ran.json is not None, name
        assert ran.code == 0 or name not in STORE_ALONE - {"subscribers show"}, (name, ran)


def test_an_error_as_json_on_a_full_disk_has_no_traceback(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "tidings", "status", "--json", "-C", str(tmp_path)],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert ran.returncode == 1 and len(ran.stderr.splitlines()) == 1


def test_an_error_adds_no_json_to_lines_of_the_ledger(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def entries(*arguments: object, **values: object) -> Iterator[Any]:
        yield SimpleNamespace(as_json=lambda: {"id": 1})
        raise InputError("it broke off")

    monkeypatch.setattr(ledger, "entries", entries)
    ran = run("ledger", "--json")
    assert (ran.code, ran.out) == (1, '{"id": 1}\n') and "it broke off" in ran.err


def test_a_narrow_terminal_cuts_no_word_of_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    console.cache_clear()
    table = make_table(
        "Mail", "edition", "when", "list", "language", "accepted", "returned", "rejected", "joined", "left"
    )
    table.add_row("weekly/1", "Mon 2026-11-30 14:09", "digest", "ar", "1", "0", "0", "0", "0")
    with console().capture() as captured:
        console().print(table)
    console.cache_clear()
    assert {"accepted", "returned", "rejected", "weekly/1"} <= set(captured.get().split())
    assert "…" not in captured.get()
