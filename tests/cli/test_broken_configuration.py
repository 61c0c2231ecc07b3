"""A command needs only the settings that it uses: some work without secrets, some with broken YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_commands import NOW, working
from tests.fixtures.newsroom_folder import NewsroomFolder

READS = (
    ("status",), ("explain", "r0@example.org"), ("ledger",), ("report",), ("plan",),
    ("subscribers", "show", "r0@example.org"), ("pause", "daily"), ("resume", "daily"), ("pause", "--all"),
    ("resume", "--all"), ("preview", "daily"),
    ("subscribers", "export", "--list", "digest"),
)  # fmt: skip
BREAKS = {
    "schedule": ("schedules/daily.yaml", "cadence: {dayly: nine\n"),
    "unknown key": ("tidings.yaml", "\nsiet: {}\n"),
    "tab": ("tidings.yaml", "\ntopics:\n\twater: Water\n"),
}


def unset(folder: NewsroomFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in folder.env:
        monkeypatch.delenv(name)


def test_an_unset_secret_stops_only_commands_that_send(
    folder: NewsroomFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    working(folder, run)
    unset(folder, monkeypatch)
    for command in READS:
        run(*command).ok()
    assert run("status", "--json").ok().json["unset"] == list(dict.fromkeys(["DESK_URL", "DESK_SECRET", *folder.env]))
    assert "DESK_URL" in run("status").ok().out
    run("plan", "--now", NOW).ok()
    # The plan has the post, although the address of the channel is unknown here.
    assert "channel:desk" in run("plan").ok().out.replace("channel desk", "channel:desk")
    # Commands that send still name the missing secret.
    refused = run("tick")
    assert refused.code == 1 and "the environment has no variable DESK_URL" in refused.err


def test_status_and_pause_work_with_a_broken_file(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    for name, text in BREAKS.values():
        before = (folder.root / name).read_text(encoding="utf-8")
        folder.write(name, text if name != "tidings.yaml" else before + text)
        for command in (*READS[:4], *READS[5:10]):
            ran = run(*command).ok()
            assert command == ("status",) or f"warning: {name}:" in ran.err, command
        for each in ("list:digest", "desk"):
            run("pause", each).ok()
        report = run("status", "--json").ok().json
        assert {entry["what"] for entry in report["paused"]} == {"list digest", "channel desk"}
        assert not report["ok"] and report["wrong"][-1]["what"] == "refused" and name in report["wrong"][-1]["text"]
        # Nothing is sent with half a configuration.
        assert run("tick").code == 1 and run("plan").code == 1
        folder.write(name, before)
    run("subscribers", "remove", "r1@example.org").ok()


def test_a_broken_store_address_is_never_guessed(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
    folder.write("tidings.yaml", main.replace("store:", "store:\n\tx:", 1))
    assert run("status").code == 1
    folder.write("tidings.yaml", "store: {env: NEWS_STORE}\n" + main.replace("store:", "was:", 1))
    refused = run("pause", "--all")
    assert refused.code == 1 and "NEWS_STORE" in refused.err


def test_every_command_reads_secrets_env(folder: NewsroomFolder, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    working(folder, run)
    unset(folder, monkeypatch)
    lines = ["# secrets", "", *(f'{name}="{value}"' for name, value in folder.env.items()), "export UNUSED=a\\ b"]
    folder.write("secrets.env", "\n".join(lines))
    path = folder.root / "secrets.env"
    path.chmod(0o600)
    assert run("tick", "--now", NOW).code == 0
    clean = run("check").ok()
    assert "secrets.env" not in clean.out
    path.chmod(0o640)
    assert "warning: secrets.env: other users of this machine can read" in run("check").ok().out
    # The environment wins over the file.
    monkeypatch.setenv("DESK_URL", "not an address")
    assert run("tick").code == 1


def test_a_wrong_line_of_secrets_env_is_named_not_shown(folder: NewsroomFolder, run: Run) -> None:
    folder.write("secrets.env", "hunter2-alone\n")
    (folder.root / "secrets.env").chmod(0o600)
    output = run("check").out
    assert "secrets.env:1:1: this line is not NAME=value" in output and "hunter2" not in output


def test_values_of_secrets_env_are_read_as_systemd_does(tmp_path: Path) -> None:
    from tidings.config.file_reader import read_environment

    (tmp_path / "secrets.env").write_text(
        'A=\'it\'s\'\nB="a \\"b\\" \\x"\n C = d\nD= e f \nE=a\\\\b\n', encoding="utf-8"
    )
    read, problems = read_environment(tmp_path, {"D": "mine"})
    assert read == {"A": "it's", "B": 'a "b" \\x', "D": "mine", "E": "a\\b"}
    assert [problem.line for problem in problems] == [3, 0]
