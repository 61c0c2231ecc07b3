"""Run commands in this process, and read their exit code, stdout and stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.newsroom_folder import NewsroomFolder, make_newsroom_folder
from tidings.cli import main
from tidings.cli.session import session


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def ok(self) -> Ran:
        """Return itself. Fails if the exit code is not 0."""
        assert self.code == 0, (self.code, self.out, self.err)
        return self


Run = Callable[..., Ran]


@pytest.fixture
def run_in(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run_in(folder, *arguments, stdin="")` fails on a traceback, or an exit code outside the contract."""

    def run(folder: Path | None, *arguments: str, stdin: str = "") -> Ran:
        session.root, session.secrets, session.has_printed = Path(), (), False
        given = ["-C", str(folder), *arguments] if folder else list(arguments)
        monkeypatch.setattr(sys, "argv", ["tidings", *given])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert code in (0, 1, 2, 3), (given, code, err)
        return Ran(code, out, err)

    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NewsroomFolder]:
    """A newsroom whose secrets are in the environment."""
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as opened:
        for name, value in opened.env.items():
            monkeypatch.setenv(name, value)
        yield opened


@pytest.fixture
def run(folder: NewsroomFolder, run_in: Run) -> Run:
    """Run a command in that newsroom."""

    def here(*arguments: str, stdin: str = "") -> Ran:
        return run_in(folder.root, *arguments, stdin=stdin)

    return here
