"""The example of the guide for authors: an installed package that `check` knows and that passes the suite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.newsroom_folder import make_newsroom_folder

EXAMPLE = Path(__file__).parents[2] / "docs" / "example-channel"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with only the package and its entry point."""
    folder = tmp_path_factory.mktemp("example")
    copy = shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "dist", "build"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--no-index", "--target", str(folder / "site"), str(copy)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def _run(installed: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DESK_URL": "https://x.example/", "SLACK_URL": "https://x.example/", "GOTIFY_TOKEN": "t"}
    env["DESK_SECRET"] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    env["PYTHONPATH"] = str(installed) if installed else ""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=env, cwd=EXAMPLE.parent)


@pytest.mark.slow
def test_check_knows_an_installed_third_party_channel(installed: Path, tmp_path: Path) -> None:
    root = tmp_path / "n"
    with make_newsroom_folder(root, "sqlite:///tidings.db"):
        path = root / "tidings.yaml"
        phones = "  phones: {type: gotify, server: https://push.example.org/, token: {env: GOTIFY_TOKEN}}\n"
        path.write_text(path.read_text().replace("channels:\n", "channels:\n" + phones))
        without = _run(None, "tidings", "-C", str(root), "check")
        known = _run(installed, "tidings", "-C", str(root), "check")
        path.write_text(path.read_text().replace("server: https", "sever: https"))
        misspelt = _run(installed, "tidings", "-C", str(root), "check")
    assert without.returncode == 1 and "gotify" in without.stdout + without.stderr
    assert known.returncode == 0, known.stdout + known.stderr
    assert misspelt.returncode == 1 and "server" in misspelt.stdout + misspelt.stderr


@pytest.mark.slow
def test_the_example_passes_the_suite_of_all_channels(installed: Path) -> None:
    suite = str(EXAMPLE / "tests" / "test_gotify.py")
    done = _run(installed, "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(EXAMPLE), "-c", os.devnull, suite)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout and "skipped" not in done.stdout
