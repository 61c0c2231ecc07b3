"""The examples of docs/howto/use-the-api.md run as they are written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.web.api.v1.conftest import Program
from tests.web.room.conftest import RoomSite

PAGE = Path(__file__).parents[4] / "docs" / "howto" / "use-the-api.md"


def _example(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(block)


def test_the_client_in_python_releases_an_edition(room: RoomSite, program: Program) -> None:
    key = program("editor").headers["authorization"].removeprefix("Bearer ")
    environment = {"TIDINGS": room.url, "TIDINGS_KEY": key, "PATH": "/usr/bin:/bin"}
    assert len([line for line in _example("python").splitlines() if line]) <= 20

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _example("python"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    shown = run()
    assert shown.stdout.startswith("daily/1 waits:"), shown.stderr
    assert run("daily/1").stdout.splitlines()[-1] == "sending"
    assert run("daily/1").stdout.splitlines()[-1] == "sending", "the same key gets the same answer"
    refused = run("daily/2")
    assert refused.returncode == 1 and refused.stderr.startswith("404: there is no edition 'daily/2'"), refused.stdout


def test_the_example_with_curl_adds_a_subscriber(room: RoomSite, program: Program) -> None:
    key = program("editor").headers["authorization"].removeprefix("Bearer ")
    environment = {"TIDINGS": room.url.rstrip("/"), "TIDINGS_KEY": key, "PATH": "/usr/bin:/bin"}
    command = ["bash", "-ec", _example("bash")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout[done.stdout.rindex("{") :])["outcome"] == "added"
