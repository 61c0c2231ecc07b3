"""Help and version are complete, in order, and do not import the commands."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module

import pytest

from tidings.cli.commands import PANELS, Command, Group, root_command

HEAVY = ("sqlalchemy", "pydantic", "lxml", "PIL", "fastapi", "babel", "cryptography", "requests", "rich.console")


def _commands(entries: Mapping[str, Command | Group]) -> Iterator[Command]:
    for entry in entries.values():
        if isinstance(entry, Group):
            yield from _commands(entry.commands)
        else:
            yield entry


COMMANDS = [command for entries in PANELS.values() for command in _commands(entries)]


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(argument: str) -> None:
    code = (
        "import sys; sys.argv = ['tidings', sys.argv[1]]\n"
        "from tidings.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, argument], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.function)
def test_the_table_has_the_help_line_of_each_command(command: Command) -> None:
    module, _, name = command.function.partition(":")
    doc = inspect.getdoc(getattr(import_module(f"tidings.cli.{module}"), name)) or ""
    assert " ".join(doc.split()).startswith(command.help)


def test_every_command_of_the_table_can_be_built() -> None:
    for name, command in root_command().commands.items():
        assert command.name == name
        for inner, part in getattr(command, "commands", {}).items():
            assert part.name == inner


def test_help_shows_the_panels_in_order() -> None:
    done = subprocess.run([sys.executable, "-m", "tidings", "--help"], check=True, capture_output=True, text=True)
    at = [done.stdout.index(f"\n{panel}:\n") for panel in PANELS]
    assert at == sorted(at)
