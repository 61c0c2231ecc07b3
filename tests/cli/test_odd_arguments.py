"""For any arguments, a command answers in words and with an exit code of the contract."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.conftest import Run
from tests.fixtures.newsroom_folder import NewsroomFolder, item

WORDS = st.sampled_from(
    [
        "plan", "preview", "test", "send", "release", "cancel", "recompose", "ledger", "explain", "resolve", "status",
        "check", "schema", "subscribers", "add", "set", "show", "remove", "export", "import", "erase", "daily",
        "daily/1", "daily/x", "/", "--json", "--now", "--yes", "--list", "digest", "--edition", "--state", "--since",
        "--runs", "0", "-1", "2026-03-02T10:00", "r@example.org", "[/b]", "\U0001f41f\u202e", "\udce9", "%", "--", "-C",
        "", " ",
        "a" * 5_000, "9" * 25, "--topics", "--language", "--accepted", "--out", "/proc/x",
    ]
)  # fmt: skip


@pytest.fixture
def lively(folder: NewsroomFolder, run: Run) -> NewsroomFolder:
    folder.write("schedules/daily.yaml", 'cadence: {daily: "09:00"}\ndeliver: [{list: digest, frequency: daily}]\n')
    run("tick", "--now", "2026-03-01T09:00").ok()
    run("subscribers", "add", "r@example.org", "--list", "digest", "--frequency", "daily", "--confirmed").ok()
    folder.write("content/one.en.md", item("One"))
    run("tick", "--now", "2026-03-02T09:00").ok()
    return folder


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(arguments=st.lists(WORDS | st.text(max_size=12), min_size=1, max_size=6))
def test_odd_arguments(lively: NewsroomFolder, run_in: Run, arguments: list[str]) -> None:
    if {"run", "demo", "init", "tick"} & set(arguments) or any(argument.startswith("-C") for argument in arguments):
        return
    run_in(lively.root, *arguments)


@pytest.mark.parametrize("name", ["[/x] odd", "Новости", "a'b"])
@pytest.mark.slow
def test_a_folder_may_have_any_name(run_in: Run, tmp_path: Path, name: str) -> None:
    run_in(None, "init", str(tmp_path / name)).ok()
    run_in(tmp_path / name, "plan").ok()
    run_in(tmp_path / name, "build").ok()
