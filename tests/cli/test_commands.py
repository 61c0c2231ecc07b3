"""The contract's table of commands, one by one: effects, exit codes, and what stays unchanged."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer

from tests.cli.conftest import Run
from tests.cli.shapes import misfits
from tests.fixtures.items import write_fresh_store
from tests.fixtures.newsroom import stories_in
from tests.fixtures.newsroom_folder import NewsroomFolder, item
from tests.servers.object_store import KEYS, MotoStore
from tidings.cli import newsroom as newsroom_commands
from tidings.model.errors import RefusedError

NOW = "2026-03-02T08:00"
SLOT = "2026-03-02T09:00"
DAILY = 'cadence: {daily: "09:00"}\ndeliver: [{list: digest, frequency: daily}, {channel: desk}]\n'

LEDGER = {
    "id", "schedule", "edition", "list", "channel", "story", "purpose", "target", "address", "state", "reason",
    "attempts", "doubts", "receipt", "via", "returned", "at",
}  # fmt: skip
COMMANDS = (
    "init", "check", "plan", "preview", "test", "run", "tick", "send", "release", "cancel", "recompose", "resolve",
    "build", "subscribers", "ledger", "explain", "status", "schema", "demo", "sweep", "backup", "restore", "upgrade",
    "rehearse", "pause", "resume", "sources",
)  # fmt: skip


def at(hours: float) -> str:
    return (datetime.fromisoformat(SLOT) + timedelta(hours=hours)).isoformat()


def rows(folder: NewsroomFolder) -> str:
    """Return a digest of every row of the store."""
    import sqlite3

    with sqlite3.connect(folder.root / "tidings.db") as connection:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()


def working(folder: NewsroomFolder, run: Run, *, readers: int = 3, schedule: str = DAILY) -> None:
    """A newsroom with a baseline, readers and two new stories."""
    write_fresh_store("sqlite:///tidings.db", folder.root)
    folder.write("schedules/daily.yaml", schedule)
    run("tick", "--now", at(-24)).ok()
    for number in range(readers):
        language = ("en", "ru", "kk")[number % 3]
        run(
            "subscribers", "add", f"r{number}@example.org", "--list", "digest", "--language", language,
            "--frequency", "daily", "--confirmed",
        ).ok()  # fmt: skip
    folder.write("content/one.en.md", item("One [/b] story", topics="[water]"))
    folder.write("content/two.en.md", item("Two"))


# -- plan, preview, test: nothing changes ------------------------------------------------------------------------------


def test_plan_changes_nothing_and_counts_as_tick_does(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    run("subscribers", "set", "r1@example.org", "--topics", "health").ok()
    before = rows(folder)
    planned = run("plan", "--runs", "4", "--now", NOW, "--json").ok().json
    text = run("plan", "--now", NOW).ok().out
    assert rows(folder) == before
    assert not (folder.root / "public" / "en" / "one").exists()
    assert "One [/b] story" in text and "skipped: 1 nothing for reader" in text
    (one,) = planned
    assert [slot["at"] for slot in one["slots"]] == [f"2026-03-0{day}T04:00:00Z" for day in (2, 3, 4, 5)]
    counts = {outlet["outlet"]: outlet["deliveries"] for outlet in one["slots"][0]["outlets"]}
    assert counts == {"list digest": 2, "channel desk": 1}
    done = run("tick", "--now", SLOT, "--json").ok().json
    assert done["deliveries"] == {"accepted": 3}
    assert sorted(done["editions"][0]["stories"]) == sorted(one["slots"][0]["stories"]) == ["one", "two"]
    assert len(folder.mails.received) == 2 and len(folder.hook.received) == 1


def test_plan_and_preview_name_an_item_with_a_mistake(folder: NewsroomFolder, run: Run) -> None:
    """A first story under a wrong topic was "nothing new"."""
    write_fresh_store("sqlite:///tidings.db", folder.root)
    folder.write("schedules/daily.yaml", DAILY)
    run("tick", "--now", NOW).ok()
    folder.write("content/gare.en.md", "---\ntitle: T\ntopics: [éducation]\n---\nText.\n")
    assert "Not in the plan: content/gare.en.md and" in run("plan", "--now", NOW).ok().out
    assert "content/gare.en.md has a mistake: see tidings check" in run("preview", "daily", "--now", NOW).err


def test_embargo_leaves_no_trace_before_its_time(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    secret = item("Sesquipedalian", embargo=at(1), topics="[water]")
    folder.write("content/sesquipedalian.en.md", secret)
    folder.write("content/ahead.en.md", item("Dated ahead", published=at(-0.5)))
    # The team's own plan shows it, with its time.
    planned = run("plan", "--now", NOW).ok().out
    assert "Dated ahead" in planned and "Sesquipedalian (sesquipedalian) is under embargo until" in planned
    seen = ""
    run("preview", "daily", "--now", NOW, "--out", str(folder.root / "shown")).ok()
    seen += run("tick", "--now", SLOT).ok().out
    for name in ("public", "shown"):
        for path in (folder.root / name).rglob("*"):
            seen += path.name + (path.read_bytes().decode("utf-8", "replace") if path.is_file() else "")
    seen += "".join(mail.text for mail in folder.mails.received) + "".join(str(r.body) for r in folder.hook.received)
    assert "esquipedalian" not in seen and "Dated ahead" in seen


def test_preview_shows_the_exact_mails_and_changes_nothing(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run, schedule=DAILY + "approval: {by: [boss@example.org]}\n")
    before = rows(folder)
    run("preview", "daily", "--now", NOW, "--out", str(folder.root / "shown")).ok()
    assert rows(folder) == before
    names = sorted(path.name for path in (folder.root / "shown").iterdir())
    assert {Path(name).suffix for name in names} == {".eml", ".html", ".txt", ".json"}
    assert "3,000" in (folder.root / "shown" / "daily-1-desk-en.txt").read_text() or "characters]" in (
        folder.root / "shown" / "daily-1-desk-en.txt"
    ).read_text(encoding="utf-8")
    run("preview", "daily", "--language", "ru", "--now", NOW, "--out", str(folder.root / "ru")).ok()
    assert {name.name.split(".")[0] for name in (folder.root / "ru").iterdir()} == {"daily-1-digest-ru"}
    run("tick", "--now", SLOT).ok()
    folder.write("content/one.en.md", item("Another title altogether"))
    before = rows(folder)
    run("preview", "daily/1", "--now", at(1), "--out", str(folder.root / "frozen")).ok()
    assert rows(folder) == before
    text = (folder.root / "frozen" / "daily-1-digest-en.txt").read_text(encoding="utf-8")
    assert "One [/b] story" in text and "Another title" not in text
    run("release", "daily/1", "--now", at(2)).ok()
    (sent,) = [mail for mail in folder.mails.received if mail.recipient == "r0@example.org"]
    assert stories_in(sent.text) == stories_in(text)


def test_test_mails_go_only_to_the_named_addresses(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    run("test", "daily", "me@example.org", "you@example.org", "--now", NOW).ok()
    assert sorted({mail.recipient for mail in folder.mails.received}) == ["me@example.org", "you@example.org"]
    assert len(folder.mails.received) == 6 and not folder.hook.received
    # Nobody can mistake it for the real mail, and each language is marked.
    subjects = {str(mail.message["Subject"]) for mail in folder.mails.received}
    assert sorted(subject[:12] for subject in subjects) == ["[Test] [en] ", "[Test] [kk] ", "[Test] [ru] "]
    assert "This is a sample of what daily would send now." in run("preview", "daily", "--now", NOW).ok().out
    run("tick", "--now", SLOT).ok()
    assert "This is a sample: nothing is new for daily" in run("preview", "daily", "--now", SLOT).ok().out
    assert sum(mail.recipient.startswith("r") for mail in folder.mails.received) == 3
    assert run("test", "daily", "nobody", "--now", at(1)).code == 2
    assert run("test", "dialy", "me@example.org", "--now", at(1)).code == 2


def test_a_test_sends_no_other_mail_that_is_due(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    settings = folder.root / "tidings.yaml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(re.sub(r"host: 127\.0\.0\.1, port: \d+", "host: 127.0.0.1, port: 9", text), encoding="utf-8")
    assert run("tick", "--now", SLOT).code == 3
    settings.write_text(text, encoding="utf-8")
    run("test", "daily", "me@example.org", "--language", "en", "--now", at(1)).ok()
    assert [mail.recipient for mail in folder.mails.received] == ["me@example.org"]
    run("tick", "--now", at(2)).ok()
    assert sum(mail.recipient.startswith("r") for mail in folder.mails.received) == 3


# -- send, release, cancel, recompose ---------------------------------------------------------------------------------


def test_send_asks_for_the_number(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    run("tick", "--now", NOW).ok()
    folder.write("content/three.en.md", item("Three"))
    before = rows(folder)
    for said in ("", "5\n", "yes\n", "\n"):
        refused = run("send", "daily", "--now", at(-0.5), stdin=said)
        assert refused.code == 2 and "othing was sent" in refused.err
    assert rows(folder) == before and not folder.mails.received
    done = run("send", "daily", "--now", at(-0.5), stdin="4\n").ok()
    assert "Three" in done.out and "4 accepted" in done.out
    assert len(folder.mails.received) == 3 and len(folder.hook.received) == 1
    nothing = run("send", "daily", "--yes", "--now", at(-0.25))
    assert nothing.code == 1 and "nothing new" in nothing.err
    run("send", "daily", "--story", "three", "--yes", "--now", at(-0.2)).ok()
    assert len(folder.mails.received) == 6
    assert run("send", "daily", "--story", "tree", "--yes", "--now", at(-0.1)).code == 1
    run("tick", "--now", SLOT).ok()
    assert len(folder.mails.received) == 6


def test_send_on_a_terminal(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run, readers=1, schedule="cadence: {on: request}\ndeliver: [{list: digest}]\n")
    main, side = pty.openpty()
    command = [sys.executable, "-m", "tidings", "send", "daily", "--story", "two", "-C", str(folder.root)]
    with subprocess.Popen(command, stdin=side, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        os.close(side)
        os.write(main, b"1\n")
        out, _ = process.communicate(timeout=120)
        os.close(main)
    assert process.returncode == 0, out
    assert [mail.recipient for mail in folder.mails.received] == ["r0@example.org"]


def test_a_held_edition_is_decided_by_commands(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    folder.write("content/bad.en.md", item("Bad", images="[{src: https://example.org/a.png}]"))
    held = run("tick", "--now", SLOT, "--json").ok().json["editions"][0]
    assert held["state"] == "held" and any("alt" in detail for detail in held["holds"])
    assert not run("status", "--json").ok().json["ok"]
    refused = run("release", "daily/1", "--now", at(1))
    assert refused.code == 1 and "recompose" in refused.err
    assert run("release", "daily/7", "--now", at(1)).code == 2
    again = run("recompose", "daily/1", "--now", at(1))
    assert again.code == 1 and "alt" in again.out
    folder.write("content/bad.en.md", item("Bad", images='[{src: https://example.org/a.png, alt: "A"}]'))
    run("recompose", "daily/1", "--now", at(2)).ok()
    assert len([mail for mail in folder.mails.received if mail.recipient.startswith("r")]) == 3
    assert run("cancel", "daily/1", "--now", at(3)).code == 2
    assert run("recompose", "daily/1", "--now", at(3)).code == 2


def test_cancel_keeps_the_stories_new(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run, schedule=DAILY + "approval: {by: [boss@example.org]}\n")
    run("tick", "--now", SLOT).ok()
    run("cancel", "daily/1", "--now", at(1)).ok()
    (planned,) = run("plan", "--now", at(2), "--json").ok().json
    assert sorted(planned["slots"][0]["stories"]) == ["one", "two"]


# -- the newsroom's clock ---------------------------------------------------------------------------------------------


def test_the_clock_never_goes_back(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    run("tick", "--now", SLOT).ok()
    for command in (["tick"], ["plan"], ["preview", "daily"], ["send", "daily", "--yes"], ["test", "daily", "a@b.org"]):
        back = run(*command, "--now", NOW)
        assert back.code == 2 and "never goes back" in back.err, command


def test_a_clock_far_from_real_time_sends_only_to_this_machine(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    text = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
    folder.write("tidings.yaml", text.replace("host: 127.0.0.1", "host: mail.example.org"))
    refused = run("tick", "--now", SLOT)
    assert refused.code == 2 and "mail would send to other machines" in refused.err
    folder.write(
        "tidings.yaml",
        text.replace(
            "  team: {type: slack, url: {env: SLACK_URL}",
            "  team: {type: slack, url: https://hooks.slack.com/services/T/B/x",
        ),
    )
    refused = run("tick", "--now", SLOT)
    assert refused.code == 2 and "channel team" in refused.err and "hooks.slack.com" not in refused.err
    folder.write("tidings.yaml", text)
    run("tick", "--now", SLOT).ok()


def test_commands_without_now_follow_a_clock_that_is_ahead(folder: NewsroomFolder, run: Run) -> None:
    """They used real time, before any story was out: an edition could not be edited, and a release sent nothing."""
    write_fresh_store("sqlite:///tidings.db", folder.root)
    folder.write("schedules/daily.yaml", DAILY + "approval: {by: [boss@example.org]}\n")
    run("tick", "--now", "2101-03-01T10:00").ok()
    run("subscribers", "add", "ada@example.org", "--list", "digest", "--frequency", "daily", "--confirmed").ok()
    folder.write("content/one.en.md", item("One"))
    folder.write("content/two.ru.md", item("Two", not_in="[desk]"))
    assert run("tick", "--now", "2101-03-02T09:00", "--json").ok().json["editions"][0]["state"] == "held"
    assert "Thu 2101-03-03 09:00" in run("plan").ok().out
    assert "-> channel desk: 1 (1 en): one" in run("plan").ok().out, "the outlet gets fewer stories than the edition"
    run("preview", "daily", "--out", str(folder.root / "shown")).ok()
    run("edition", "edit", "daily/1", "--drop", "two").ok()
    assert "not out until" not in run("explain", "ada@example.org", "one").ok().out
    run("release", "daily/1").ok()
    assert [mail.recipient for mail in folder.mails.received].count("ada@example.org") == 1
    assert run("tick").code == 2, "only a tick moves the clock, and it never goes back"
    # Commands that send to other machines keep real time, so that nothing goes out with a wrong date.
    text = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
    folder.write("tidings.yaml", text.replace("host: 127.0.0.1", "host: mail.example.org"))
    assert "There is no published story" in run("send", "daily", "--story", "one", "--yes").err


@pytest.mark.parametrize("moment", ["0001-01-01", "9999-12-31T23:59", "tomorrow", "2026-13-01", ""])
def test_an_invalid_time_is_refused(folder: NewsroomFolder, run: Run, moment: str) -> None:
    folder.write("schedules/daily.yaml", DAILY)
    ran = run("plan", "--now", moment)
    assert ran.code == (0 if moment == "" else 2)


# -- records ----------------------------------------------------------------------------------------------------------


def test_ledger_explain_status_and_resolve(folder: NewsroomFolder, run: Run) -> None:
    working(folder, run)
    run("subscribers", "set", "r1@example.org", "--topics", "health").ok()
    run("tick", "--now", SLOT).ok()
    lines = [json.loads(line) for line in run("ledger", "--json").ok().out.splitlines()]
    assert set(lines[0]) == LEDGER
    shape = run("schema", "ledger --json").ok().json
    assert not [misfit for line in lines for misfit in misfits(line, shape)]
    assert len(run("ledger", "--json", "--state", "accepted", "--edition", "daily/1").ok().out.splitlines()) == 3
    assert len(run("ledger", "--target", "channel:desk", "--schedule", "daily").ok().out.splitlines()) == 1
    assert run("ledger", "--json", "--since", at(1)).ok().out == ""
    assert run("ledger", "--state", "lost").code == 1
    assert run("ledger", "--edition", "9" * 40).code == 1
    assert run("ledger", "--edition", "daily/" + "9" * 40).code == 1
    assert run("ledger", "--since", "yesterday").code == 2
    explanation = run("explain", "r0@example.org", "one").ok().out
    assert (
        "accepted by" in explanation
        and "neither a bounce nor a complaint since" in explanation
        and "09:00" in explanation
    )
    assert "other topics" in run("explain", "r1@example.org", "one").ok().out
    assert run("explain", "nobody@example.org").code == 1
    assert run("explain", "r0@example.org", "no-such-story").code == 1
    number = str(lines[0]["id"])
    assert run("resolve", number, "--accepted").code == 2
    assert run("resolve", number, "--accepted", "--cancel").code == 2
    assert run("resolve", "999", "--cancel").code == 1
    assert run("resolve", "9" * 30, "--cancel").code == 2


def test_resolve_settles_deliveries_in_doubt(folder: NewsroomFolder, run: Run) -> None:
    from sqlalchemy import update

    from tidings.store import schema as t

    working(folder, run)
    run("tick", "--now", SLOT).ok()
    with folder.runtime() as runtime, runtime.store.write() as connection:
        connection.execute(update(t.deliveries).values(state="in_doubt"))
    assert "In doubt: 4" in run("status").ok().out
    run("resolve", "1", "--accepted", "https://example.org/post").ok()
    run("resolve", "2", "--cancel").ok()
    run("resolve", "3", "--resend").ok()
    before = len(folder.mails.received)
    run("tick", "--now", at(1)).ok()
    assert len(folder.mails.received) == before + 1
    states = [json.loads(line)["state"] for line in run("ledger", "--json").ok().out.splitlines()]
    assert states == ["accepted", "cancelled", "accepted", "in_doubt"]


@pytest.mark.parametrize("command", ["check", "plan", "tick", "status"])
def test_json_fits_the_printed_schema(folder: NewsroomFolder, run: Run, command: str) -> None:
    working(folder, run)
    folder.write("content/odd.en.md", "---\ntitle: x\nembago: 2026-01-01\n---\n")
    folder.write("content/bad.en.md", item("Bad", images="[{src: https://example.org/a.png}]"))
    run("tick", "--now", SLOT).ok()
    folder.write("content/three.en.md", item("Three"))
    arguments = [command, "--json", *(["--now", at(1)] if command in ("plan", "tick") else [])]
    result = run(*arguments)
    assert not misfits(result.json, run("schema", f"{command} --json").ok().json)


def test_failed_deliveries_exit_3(folder: NewsroomFolder, run: Run) -> None:
    from tidings.testing.http_sink import Step

    working(folder, run)
    folder.hook.plan = [Step(400, b"no")]
    done = run("tick", "--now", SLOT)
    assert done.code == 3 and "1 rejected" in done.out
    assert len(folder.mails.received) >= 3


# -- subscribers ------------------------------------------------------------------------------------------------------


def test_subscribers_in_and_out(folder: NewsroomFolder, run: Run, tmp_path: Path) -> None:
    folder.write("schedules/daily.yaml", DAILY)
    lines = [
        "email,name,language,topics,frequency",
        "anna@example.org,Anna,ru,water; youth,daily",
        'formula@example.org,"=HYPERLINK(""http://x"")",,,daily',
        "bare@example.org",
        ",No address,en,,daily",
        "not-an-address,X,en,,daily",
        "tongue@example.org,X,xx,,daily",
        "topic@example.org,X,en,watter,daily",
        "when@example.org,X,en,,hourly",
        "many@example.org,a,b,c,d,e,f",
        "anna@example.org,Anna again,en,,daily",
        "",
        "käthe@exämple.org,K,en,,daily",
        "two@example.org@example.org,K,en,,daily",
    ]
    path = tmp_path / "people.csv"
    path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    done = run("subscribers", "import", str(path), "--list", "digest", "--confirmed", "--source", "fair")
    assert done.code == 1
    for number in (5, 6, 7, 8, 9, 10):
        assert f"line {number}: " in done.err, (number, done.err)
    assert "Did you mean 'water'?" in done.err
    assert "1 twice in the file" in done.out
    assert not folder.mails.received
    out = run("subscribers", "export", "--list", "digest").ok().out
    assert out.splitlines()[0] == "email,name,language,topics,frequency"
    assert "anna@example.org,Anna,ru,water;youth,daily" in out
    assert "'=HYPERLINK" in out and ",=" not in out
    run("subscribers", "set", "anna@example.org", "--language", "kk", "--topics", "").ok()
    assert run("subscribers", "set", "anna@example.org", "--language", "kz").code == 1
    shown = run("subscribers", "show", "Anna@EXAMPLE.org").ok().out
    assert "confirmed, kk, daily, all topics" in shown and "fair" in shown
    run("subscribers", "remove", "anna@example.org").ok()
    again = run("subscribers", "import", str(path), "--list", "digest", "--confirmed")
    assert "1 left before (not added again)" in again.out.replace("2 left", "1 left")
    assert "anna@" not in run("subscribers", "export", "--list", "digest").ok().out
    assert run("subscribers", "add", "anna@example.org", "--list", "digest").code == 2
    assert run("subscribers", "erase", "anna@example.org", stdin="n\n").code == 2
    run("subscribers", "erase", "anna@example.org", "--yes").ok()
    assert run("subscribers", "show", "anna@example.org").code == 1
    assert "erased" in run("explain", "anna@example.org").ok().out
    assert run("subscribers", "add", "anna@example.org", "--list", "digest").code == 2
    assert run("subscribers", "add", "x@example.org", "--list", "digset").code == 2
    assert run("subscribers", "import", str(tmp_path / "none.csv"), "--list", "digest").code == 1
    assert run("subscribers", "export", "--list", "digest", "--out", "/nonexistent/x.csv").code == 1
    (tmp_path / "odd.csv").write_bytes("email\nx@example.org\n".encode("utf-16"))
    assert run("subscribers", "import", str(tmp_path / "odd.csv"), "--list", "digest").code == 1
    (tmp_path / "head.csv").write_text("anna@example.org\n")
    assert run("subscribers", "import", str(tmp_path / "head.csv"), "--list", "digest").code == 1


def test_a_wrong_hard_bounce_is_lifted_with_a_reason(folder: NewsroomFolder, run: Run) -> None:
    folder.write("schedules/daily.yaml", DAILY)
    run("subscribers", "add", "ada@example.org", "--list", "digest", "--frequency", "daily", "--confirmed").ok()
    run("tick", "--now", NOW).ok()
    folder.write("content/one.en.md", item("One"))

    async def refuse(*_: object) -> str:
        return "550 5.1.1 no such user"

    folder.mails.handle_DATA, takes = refuse, folder.mails.handle_DATA  # type: ignore[method-assign]
    assert run("tick", "--now", SLOT).code == 3
    run("tick", "--now", "2026-03-02T10:00").ok()
    folder.mails.handle_DATA = takes  # type: ignore[method-assign]
    assert "any list: hard" in run("subscribers", "show", "ada@example.org").ok().out
    assert run("subscribers", "add", "ada@example.org", "--list", "digest").code == 2
    lift = ("subscribers", "set", "ada@example.org", "--lift", "she rang us")
    assert run(*lift, "--language", "ru").code == 2
    assert "on digest again" in run(*lift).ok().out
    assert re.search(r"lifted  she rang us \(.+, command line\)", run("subscribers", "show", "ada@example.org").out)
    assert "has no suppression" in run(*lift).err
    folder.write("content/two.en.md", item("Two"))
    run("tick", "--now", "2026-03-03T09:00").ok()
    assert [mail.recipient for mail in folder.mails.received] == ["ada@example.org"]


def test_send_acts_on_a_refusal_as_tick_does(folder: NewsroomFolder, run: Run) -> None:
    """After `tidings send` a dead address stayed on the list."""
    folder.write("schedules/daily.yaml", DAILY)
    for name in ("ada", "bob"):
        run("subscribers", "add", f"{name}@example.org", "--list", "digest", "--frequency", "daily", "--confirmed").ok()
    run("tick", "--now", NOW).ok()
    folder.write("content/one.en.md", item("One"))

    async def choose(_server: object, _session: object, envelope: Any, address: str, _options: object) -> str:
        if address.startswith("ada"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    folder.mails.handle_RCPT = choose  # type: ignore[attr-defined]
    assert run("send", "daily", "--yes").code == 3
    assert "any list: hard" in run("subscribers", "show", "ada@example.org").ok().out
    assert "confirmed" in run("subscribers", "show", "bob@example.org").ok().out


def test_a_refused_test_mail_counts_like_any_refusal(folder: NewsroomFolder, run: Run) -> None:
    folder.write("schedules/daily.yaml", DAILY)
    run("subscribers", "add", "ada@example.org", "--list", "digest", "--frequency", "daily", "--confirmed").ok()
    run("tick", "--now", NOW).ok()
    folder.write("content/one.en.md", item("One"))

    async def refuse(*_: object) -> str:
        return "550 5.1.1 no such user"

    folder.mails.handle_RCPT = refuse  # type: ignore[attr-defined]
    assert run("test", "daily", "stranger@example.org", "Ada@example.org").code == 3
    assert "any list: hard" in run("subscribers", "show", "ada@example.org").ok().out


# -- init, build, sweep, schema ---------------------------------------------------------------------------------------


def test_init_makes_a_newsroom_that_runs(run_in: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_in(None, "init", "news").ok()
    folder = tmp_path / "news"
    assert {path.name for path in folder.iterdir()} >= {
        "tidings.yaml", "content", "schedules", "templates", "keys.json", "tidings.service", ".gitignore"
    }  # fmt: skip
    assert (folder / "keys.json").stat().st_mode & 0o077 == 0
    assert f"run -C {folder}" in (folder / "tidings.service").read_text()
    checked = run_in(folder, "check")
    assert checked.code == 0, checked.out
    run_in(None, "plan", "-C", "news", "--json").ok()
    # The first preview of a mail has all its pictures, before anything was built or served.
    run_in(None, "preview", "weekly", "-C", "news", "--language", "kk").ok()
    page = (folder / "preview" / "weekly-1-digest-kk.html").read_text()
    assert "/logo.png" in page
    for source in re.findall(r'<img[^>]* src="([^"]*)"', page):
        assert Path(unquote(source.removeprefix("file://"))).is_file(), source
    run_in(None, "-Cnews", "build").ok()
    assert (folder / "public" / "index.html").exists()
    run_in(folder, "status").ok()
    assert run_in(None, "init", "news").code == 2
    (tmp_path / "file").write_text("x")
    assert run_in(None, "init", "file").code == 2
    assert run_in(None, "init", "file/below").code == 1


def test_sweep_accept_removes_many_vanished_items(folder: NewsroomFolder, run: Run) -> None:
    for number in range(8):
        folder.write(f"content/s{number}.en.md", item(f"S{number}"))
    run("tick", "--now", NOW).ok()
    for number in range(5):
        (folder.root / "content" / f"s{number}.en.md").unlink()
    first = run("tick", "--now", SLOT, "--json").ok()
    assert first.json["items"]["gone"] == 0
    refused = run("sweep")
    assert refused.code == 2 and "sweep --accept" in refused.err
    assert "5 gone" in run("sweep", "--accept").ok().out


def test_outside_a_newsroom_every_command_says_so(run_in: Run, tmp_path: Path) -> None:
    for command in ("check", "plan", "tick", "build", "status", "ledger", "sweep"):
        ran = run_in(tmp_path, command)
        assert ran.code == 1 and "tidings init" in ran.out + ran.err, command
    assert run_in(None).code in (0, 2)
    assert run_in(None, "--version").ok().out.startswith("tidings ")
    assert run_in(None, "-C").code == 2
    assert run_in(tmp_path, "plann").code == 2
    assert run_in(tmp_path, "schema", "nothing").code == 2
    assert set(run_in(tmp_path, "schema").ok().json) >= {"tidings.yaml", "schedule.yaml", "plan --json"}


def test_an_unreachable_store_gives_a_clear_message(
    folder: NewsroomFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in (
        "postgresql://user:hunter2@127.0.0.1:1/x",
        "nonsense",
        "mysql://x/y",
        "sqlite:////nonexistent/x.db",
    ):
        monkeypatch.setenv("TIDINGS_STORE", address)
        ran = run("status")
        assert ran.code in (1, 2) and "hunter2" not in ran.out + ran.err, address
        assert "fault of its own" not in ran.err


def test_a_subprocess_prints_help_and_exits_with_the_right_code(folder: NewsroomFolder) -> None:
    command = [sys.executable, "-m", "tidings"]
    help_ = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    for name in COMMANDS:
        assert name in help_, name
    wrong = subprocess.run([*command, "tick", "--nwo", "x"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr


def test_build_reports_the_files_in_the_bucket(
    folder: NewsroomFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MotoStore() as server:
        monkeypatch.setenv("S3_KEY", KEYS["aws_access_key_id"])
        monkeypatch.setenv("S3_SECRET", KEYS["aws_secret_access_key"])
        keys = "access_key: {env: S3_KEY}, secret_key: {env: S3_SECRET}"
        settings = f"publish: {{type: s3, bucket: news, endpoint: '{server.endpoint}', {keys}}}"
        folder.write("tidings.yaml", f"{(folder.root / 'tidings.yaml').read_text()}{settings}\n")
        folder.write("content/forum.en.md", item("Youth forum"))
        assert re.search(r"/news/: \d+ copied, 0 removed\.", run("build").ok().out)
        assert "/news/: 0 copied, 0 removed." in run("build").ok().out
        folder.write("tidings.yaml", (folder.root / "tidings.yaml").read_text().replace("bucket: news", "bucket: gone"))
        refused = run("build")
        assert refused.code == 2
        assert "NoSuchBucket" in refused.err


def test_hints_of_status_name_their_folder(folder: NewsroomFolder, run: Run) -> None:
    folder.write("schedules/broken.yaml", "cadence: {weekly: fry 09:00}\n")
    assert f"-> tidings -C {folder.root} check" in run("status").ok().out


def test_an_interrupted_init_keeps_the_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-D at the third question lost the first two answers."""
    answers = iter(["Oficina de prensa", "es,ar"])

    def prompt(*_: object, **__: object) -> str:
        if (answer := next(answers, None)) is None:
            raise typer.Abort
        return answer

    monkeypatch.setattr(typer, "prompt", prompt)
    with pytest.raises(RefusedError) as stopped:
        newsroom_commands._choose(tmp_path / "n", {}, None, asks=True)
    assert str(stopped.value).endswith(f"tidings init {tmp_path}/n --title 'Oficina de prensa' --languages es,ar")
