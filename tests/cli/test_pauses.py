"""`pause` and `resume` as a person uses them."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Run
from tests.cli.test_commands import NOW, SLOT, at, working
from tests.fixtures.newsroom_folder import NewsroomFolder, item


def test_every_command_shows_a_pause_and_its_end_sends_all(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    output = run("pause", "digest", "--reason", "elections [/b]", "--until", at(72), "--now", NOW).ok().out
    assert output.startswith("List digest is paused until Thu 2026-03-05 09:00.")
    (shown,) = run("status", "--json").ok().json["paused"]
    assert (shown["what"], shown["until"], shown["reason"]) == (
        "list digest",
        "2026-03-05T04:00:00Z",
        "elections [/b]",
    )
    assert "list digest, until Thu 2026-03-05 09:00 (elections [/b])" in run("status").ok().out.replace("\n", " ")
    assert "list digest is paused" in run("plan", "--now", NOW).ok().out
    # The post is sent, the mail waits.
    assert run("tick", "--now", SLOT, "--json").ok().json["deliveries"] == {"accepted": 1}
    assert folder.mails.received == []
    assert "list digest is paused since" in run("explain", "r0@example.org").ok().out.replace("\n", " ")
    # A second pause changes the first one, and keeps its begin.
    run("pause", "list:digest", "--reason", "later", "--now", at(1)).ok()
    (changed,) = run("status", "--json").ok().json["paused"]
    assert (changed["since"], changed["until"], changed["reason"]) == (shown["since"], None, "later")
    run("resume", "digest", "--now", at(2)).ok()
    assert run("status", "--json").ok().json["paused"] == []
    run("tick", "--now", at(2)).ok()
    assert len(folder.mails.received) == 3
    again = run("resume", "digest", "--now", at(2))
    assert again.code == 2 and "List digest is not paused" in again.err


def test_a_paused_schedule_refuses_send_but_not_test(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    for name in ("daily", "--all"):
        run("pause", name, "--now", NOW).ok()
        refused = run("send", "daily", "--yes", "--now", NOW)
        assert refused.code == 2 and f"tidings resume {name}" in refused.err
        assert [mail.recipient for mail in folder.mails.received] == []
        run("test", "daily", "boss@example.org", "--language", "en", "--now", NOW).ok()
        assert [mail.recipient for mail in folder.mails.received] == ["boss@example.org"]
        folder.mails.received.clear()
        run("resume", name, "--now", NOW).ok()
    run("send", "daily", "--yes", "--now", NOW).ok()
    assert len(folder.mails.received) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a schedule, list or channel"),
        (["daily", "--all"], "name a schedule, list or channel"),
        (["digset"], "digest"),
        (["list:daily"], "daily"),
        (["desk"], "write schedule:desk or channel:desk"),
        (["daily", "--until", "2026-03-01T00:00"], "has passed"),
        (["daily", "--until", "soon"], "is not a date"),
        (["daily", "--until"], "requires an argument"),
    ],
)
def test_an_impossible_pause_is_refused_with_a_correction(
    folder: NewsroomFolder, run: Run, arguments: list[str], message: str
) -> None:
    working(folder, run)
    folder.write("schedules/desk.yaml", 'cadence: {daily: "10:00"}\ndeliver: [{channel: desk}]\n')
    refused = run("pause", "--now", NOW, *arguments)
    assert refused.code == 2
    assert message in " ".join(refused.err.split())
    assert run("status", "--json").ok().json["paused"] == []


def test_a_removed_schedule_can_be_resumed(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    folder.write("schedules/gone.yaml", 'cadence: {daily: "10:00"}\ndeliver: [{channel: desk}]\n')
    run("pause", "gone", "--now", NOW).ok()
    (folder.root / "schedules" / "gone.yaml").unlink()
    assert run("pause", "gone", "--now", NOW).code == 2
    run("resume", "gone", "--now", NOW).ok()


def test_cancel_of_a_half_sent_paused_edition_drops_the_rest(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    run("pause", "digest", "--now", NOW).ok()
    run("tick", "--now", SLOT).ok()
    run("cancel", "daily/1", "--now", at(1)).ok()
    run("resume", "digest", "--now", at(2)).ok()
    run("tick", "--now", at(3)).ok()
    assert folder.mails.received == []
    rows = [json.loads(line) for line in run("ledger", "--json").ok().out.splitlines()]
    assert {row["state"] for row in rows if row["list"]} == {"cancelled"}
    # Its stories are new again.
    folder.write("content/three.en.md", item("Three"))
    run("tick", "--now", at(24)).ok()
    assert len(folder.mails.received) == 3
    assert all("/one/" in mail.text and "/three/" in mail.text for mail in folder.mails.received)
