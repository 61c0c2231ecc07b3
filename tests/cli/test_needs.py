"""A command needs only the secrets and the files that it uses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.cli.conftest import Ran, Run
from tests.cli.test_commands import NOW, at, working
from tests.fixtures.newsroom_folder import NewsroomFolder, item
from tidings.store.service.heartbeat import Heartbeat, record_heartbeat
from tidings.testing.http_sink import Step

OTHER = 'cadence: {daily: "09:00"}\ndeliver: [{list: press, frequency: daily}]\n'
SECRETS = ("DESK_URL", "DESK_SECRET", "SLACK_URL")


def _rows(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("ledger", "--json").ok().out.splitlines()]


def _deliveries(run: Run) -> list[tuple[str, str]]:
    return sorted((row["channel"] or row["list"], row["state"]) for row in _rows(run) if row["edition"])


def _refused(ran: Ran, name: str) -> None:
    assert ran.code == 1 and f"the environment has no variable {name}" in ran.err, (ran.code, ran.err)
    assert "secrets.env" in ran.err


def _unset(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.delenv(name, raising=False)


def test_a_channel_without_its_secret_stops_no_other_outlet(
    folder: NewsroomFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    working(folder, run)
    _unset(monkeypatch, *SECRETS)
    for options in ((), ("--channel", "desk")):
        _refused(run("send", "daily", "--yes", "--now", NOW, *options), "DESK_URL")
    assert _deliveries(run) == []
    run("send", "daily", "--list", "digest", "--yes", "--now", NOW).ok()
    assert _deliveries(run) == [("digest", "accepted")] * 3
    assert run("status", "--json").ok().json["held"] == []
    run("test", "daily", "boss@example.org", "--now", NOW).ok()
    assert len(folder.mails.received) == 3 + 3
    monkeypatch.setenv("DESK_URL", folder.env["DESK_URL"])
    monkeypatch.setenv("DESK_SECRET", folder.env["DESK_SECRET"])
    run("send", "daily", "--channel", "desk", "--yes", "--now", NOW).ok()
    assert _deliveries(run) == [("desk", "accepted"), *[("digest", "accepted")] * 3]
    assert len(folder.hook.received) == 1


def test_mail_without_its_password_stops_no_channel(
    folder: NewsroomFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    working(folder, run)
    main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
    login = "security: none, username: u, password: {env: PASS}"
    folder.write("tidings.yaml", main.replace("security: none", login, 1))
    _refused(run("send", "daily", "--yes", "--now", NOW), "PASS")
    _refused(run("test", "daily", "boss@example.org"), "PASS")
    _refused(run("send", "daily", "--list", "digest", "--yes", "--now", NOW), "PASS")
    run("send", "daily", "--channel", "desk", "--yes", "--now", NOW).ok()
    assert _deliveries(run) == [("desk", "accepted")] and not folder.mails.received


def test_of_several_senders_only_the_lists_own_is_needed(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
    [first] = [line for line in main.splitlines() if line.startswith("mail:")]
    second = "{name: bulk, host: 127.0.0.1, port: 9, security: none, username: u, password: {env: PASS}}"
    both = f"mail: [{second}, {first.removeprefix('mail:').strip().replace('{', '{name: own, ', 1)}]"
    folder.write("tidings.yaml", main.replace(first, both))
    _refused(run("send", "daily", "--list", "digest", "--yes", "--now", NOW), "PASS")
    text = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
    folder.write("tidings.yaml", text.replace("digest: {name", "digest: {sender: own, name"))
    run("send", "daily", "--list", "digest", "--yes", "--now", NOW).ok()
    assert _deliveries(run) == [("digest", "accepted")] * 3


def test_what_a_person_decides_needs_no_secret(
    folder: NewsroomFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    working(folder, run)
    folder.hook.plan = [Step(422)]
    assert run("tick", "--now", at(0)).code == 3
    [number] = [row["id"] for row in _rows(run) if row["state"] == "rejected"]
    _unset(monkeypatch, *SECRETS)
    assert run("resolve", str(number), "--accepted").code == 2
    run("resolve", str(number), "--resend").ok()
    run("resolve", str(number), "--cancel").ok()
    folder.write("schedules/broken.yaml", "cadence: {dayly: nine\n")
    assert "is cancelled, not in doubt" in run("resolve", str(number), "--cancel").err


def test_what_only_reads_needs_no_secret_of_a_channel(
    folder: NewsroomFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    working(folder, run)
    _unset(monkeypatch, *SECRETS)
    for command in (
        ("sources", "list"), ("sources", "try", "newsroom"), ("sources", "sync"), ("sweep",), ("build",),
        ("rehearse", "--from", at(1), "--to", at(2)),
    ):  # fmt: skip
        run(*command).ok()
    # A source on the network needs its own.
    main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
    folder.write("tidings.yaml", main + "sources: {newsroom: {type: folder}, site: {type: feed, url: {env: FEED}}}\n")
    run("sources", "sync", "newsroom").ok()
    run("sources", "list").ok()
    for command in (("sources", "sync"), ("sources", "try", "site"), ("sweep",), ("build",)):
        _refused(run(*command), "FEED")


def test_another_schedules_mistake_stops_no_edition(folder: NewsroomFolder, run: Run) -> None:
    """`send weekly` was refused for a mistake in a schedule that it never looks at."""
    working(folder, run, schedule='cadence: {daily: "09:00"}\napproval: {by: [boss@example.org]}\n'
                                  'deliver: [{list: digest, frequency: daily}]\n')  # fmt: skip
    folder.write("schedules/other.yaml", "cadence: {dayly: nine\n")
    for command in (
        ("preview", "daily", "--now", NOW), ("test", "daily", "boss@example.org", "--now", NOW),
        ("send", "daily", "--yes", "--now", NOW), ("edition", "edit", "daily/1", "--lead", "two", "--now", NOW),
        ("recompose", "daily/1", "--now", NOW), ("release", "daily/1", "--now", NOW),
        ("sources", "sync"), ("sweep",), ("build",),
        ("subscribers", "reconfirm", "--list", "digest", "--until", "2099-01-01", "--yes"),
    ):  # fmt: skip
        ran = run(*command).ok()
        assert "warning: schedules/other.yaml:1" in ran.err, command
    assert _deliveries(run) == [("digest", "accepted")] * 3
    # Its own mistake does, and so does one in tidings.yaml. What takes all schedules names it too.
    folder.write("content/three.en.md", item("Three"))
    for name, text in (("schedules/daily.yaml", "cadence: {dayly: nine\n"), ("tidings.yaml", "siet: {}\n")):
        before = (folder.root / name).read_text(encoding="utf-8")
        folder.write(name, before + text)
        refused = run("send", "daily", "--yes", "--now", NOW)
        assert refused.code == 1 and name in refused.err
        folder.write(name, before)
    assert run("tick", "--now", NOW).code == 1


def test_a_running_service_sends_what_has_no_secret_here(
    folder: NewsroomFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service has its secrets from systemd, and the officer's shell has none."""
    working(folder, run)
    with folder.runtime() as service:
        now = datetime.now(UTC)
        with service.store.write() as connection:
            record_heartbeat(connection, Heartbeat(service.owner, now, now))
        _unset(monkeypatch, *SECRETS)
        sent = run("send", "daily", "--yes", "--now", NOW).ok()
        assert "The running `tidings run` sends it" in sent.out
        assert set(_deliveries(run)) == {("desk", "pending"), ("digest", "pending")}
        for name in SECRETS:
            monkeypatch.setenv(name, folder.env[name])
        service.set_clock(datetime.fromisoformat(f"{NOW}+05:00"))
        assert service.deliver().states == {"accepted": 4}
    _unset(monkeypatch, *SECRETS)
    folder.write("content/three.en.md", item("Three"))
    _refused(run("send", "daily", "--yes", "--now", NOW), "DESK_URL")


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (("subscribers", "erase", "r0@example.org"), "nothing was erased"),
        (("subscribers", "reconfirm", "--list", "digest", "--until", "2099-01-01"), "nobody was asked"),
        (("send", "daily", "--now", NOW), "nothing was sent"),
        (("restore", "news.tar.gz"), "nothing was changed"),
    ],
)
def test_without_a_terminal_a_question_names_the_option(
    folder: NewsroomFolder, run: Run, command: tuple[str, ...], kept: str
) -> None:
    """`erase` printed only `Aborted!`."""
    working(folder, run)
    words = command
    if command[0] == "restore":
        run("backup", str(folder.root.parent / command[1])).ok()
        words = ("restore", str(folder.root.parent / command[1]))
    refused = run(*words, stdin="")
    assert refused.code == 2
    assert f"Nobody is here to answer: {kept}. Add --yes" in refused.err
    assert run("subscribers", "list", "--count").ok().out == "3\n"
    assert not folder.mails.received
    assert run(*words, stdin="no\n").code == 2
