"""`subscribers import` and `export` as a person uses them: messages, files and exit codes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.shapes import misfits
from tests.fixtures.newsroom_folder import NewsroomFolder
from tidings.store.people import subscribers

ODD = """Name;E-Mail;Phone;Topics
=HYPERLINK("x");anna@example.org;1;
Bob;not an address;2;
"Zoë
Two";zoe@example.org;3;nothing
Mia;mia@example.org;4
"""


def test_refused_lines_are_corrected_and_imported(folder: NewsroomFolder, run: Run, tmp_path: Path) -> None:
    path, bad = tmp_path / "odd.csv", tmp_path / "bad.csv"
    path.write_text(ODD, encoding="utf-8")
    foreseen = run("subscribers", "import", str(path), "--list", "digest", "--dry-run")
    assert foreseen.code == 1 and "Nothing was changed. Would be: 2 added, 2 refused." in foreseen.out
    assert f"{path}: line 3: 'not an address' is not an e-mail address" in foreseen.err
    assert "columns that are not imported: Phone" in foreseen.err
    assert run("subscribers", "export", "--state", "all").ok().out.count("\n") == 1

    done = run("subscribers", "import", str(path), "--list", "digest", "--refused", str(bad))
    assert done.code == 1 and "2 added, 2 refused." in done.out and "line 3" not in done.err
    with bad.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Name", "E-Mail", "Phone", "Topics", "reason"]
    assert [row[:4] for row in rows[1:]] == [
        ["Bob", "not an address", "2", ""],
        ["Zoë\nTwo", "zoe@example.org", "3", "nothing"],
    ]
    assert rows[1][4].startswith("line 3: ") and "unknown topic 'nothing'" in rows[2][4]

    assert bad.stat().st_mode & 0o077 == 0, "other users of the machine read no address"
    same = run("subscribers", "import", str(bad), "--list", "digest", "--refused", str(bad))
    assert same.code == 2 and bad.read_text(encoding="utf-8").count("\n") == 4
    bad.write_text(
        bad.read_text(encoding="utf-8").replace("not an address", "bob@example.org").replace(",nothing,", ",,"),
        encoding="utf-8",
    )
    assert "2 added." in run("subscribers", "import", str(bad), "--list", "digest").ok().out
    out = run("subscribers", "export", "--list", "digest", "--state", "pending", "--state", "confirmed").ok().out
    assert out.splitlines()[0] == "email,name,language,topics,frequency"
    assert "zoe@example.org,Zoë Two,en,,weekly" in out and "\"'=HYPERLINK(" in out
    known = run("subscribers", "show", "zoe@example.org", "--json").ok().json
    assert not misfits(known, run("schema", "subscribers show --json").ok().json)
    assert known["name"] == "Zoë Two" and not folder.mails.received


def test_an_export_is_for_its_owner_only(folder: NewsroomFolder, run: Run, tmp_path: Path) -> None:
    run("subscribers", "add", "anna@example.org", "--list", "digest", "--confirmed").ok()
    run("subscribers", "export", "--out", str(tmp_path / "people.csv")).ok()
    assert "anna@example.org" in (tmp_path / "people.csv").read_text(encoding="utf-8")
    assert (tmp_path / "people.csv").stat().st_mode & 0o077 == 0


def test_a_character_that_nobody_sees_is_named(folder: NewsroomFolder, run: Run) -> None:
    """A zero width space before an address that had left added it again."""
    for address, odd in (("\u200bada@example.org", "U+200B ZERO WIDTH SPACE"), ("bоb@example.org", "U+043E CYRILLIC")):
        refused = run("subscribers", "add", address, "--list", "digest")
        assert refused.code == 1 and odd in refused.err
        folder.write("people.csv", f"email\n{address}\n")
        refused = run("subscribers", "import", str(folder.root / "people.csv"), "--list", "digest", "--confirmed")
        assert refused.code == 1 and odd in refused.out + refused.err
    assert run("subscribers", "list", "--state", "all", "--count").ok().out == "0\n"


def test_an_export_of_another_tool_needs_one_command(folder: NewsroomFolder, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "subscribers.csv"
    path.write_text(
        "uuid,email,name,attributes,status,created_at,updated_at\n"
        'u,a@example.org,A,"{""tags"": [""VIP""]}",enabled,2021-03-04 05:06:07.1 +0000 UTC,\n'
        "u,b@example.org,B,{},blocklisted,2021-03-04 05:06:07 +0000 UTC,\n",
        encoding="utf-8",
    )
    asked = ("subscribers", "import", str(path), "--list", "digest", "--from", "listmonk")
    messages = run(*asked, "--dry-run").ok().out
    assert "1 added, 1 left or bounced there (never mailed here)" in messages and "VIP (1)" in messages
    assert "does not say who confirmed" in messages
    run(*asked, "--confirmed").ok()
    out = run("subscribers", "export", "--list", "digest", "--all").ok().out
    assert "a@example.org,A,en,,weekly,digest,confirmed,import subscribers.csv,2021-03-04T05:06:07.100000Z,\n" in out
    assert "b@example.org" not in out
    assert run("subscribers", "add", "b@example.org", "--list", "digest").code == 2
    assert "All lists have sent them nothing" in run("explain", "b@example.org").ok().out
    assert "never mailed by any list: blocked" in run("subscribers", "show", "b@example.org").ok().out


@pytest.mark.parametrize(
    "content", [b"", b"email\n", b"\0" * 50, b"email\n\0\n", b'"', b"\xff\xfe\x00", b"email\n" + b'"' * 99]
)
def test_unusual_files_give_a_clear_message(folder: NewsroomFolder, run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(content)
    for tool in ([], ["--from", "ghost"], ["--from", "mailman3"]):
        done = run("subscribers", "import", str(path), "--list", "digest", *tool)
        assert done.code in (0, 1)
        assert done.code == 0 or str(path) in done.err
    assert run("subscribers", "import", str(tmp_path), "--list", "digest").code == 1
    assert run("subscribers", "import", str(path), "--list", "digest", "--from", "sendy").code == 2


def test_readers_are_counted_by_language_and_topic(
    folder: NewsroomFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ["email,name,language,topics,frequency"]
    rows += [
        f"r{n}@example.org,Reader {n},{('en', 'ru')[n % 2]},{('water', 'youth;water', '')[n % 3]},daily"
        for n in range(9)
    ]
    folder.write("people.csv", "\n".join(rows))
    run("subscribers", "import", str(folder.root / "people.csv"), "--list", "digest", "--confirmed").ok()
    run("subscribers", "add", "late@example.org", "--list", "digest", "--language", "ru").ok()
    run("subscribers", "remove", "r8@example.org").ok()
    # With pages of two, nobody is repeated or left out.
    plain = subscribers.subscriptions_page
    monkeypatch.setattr(subscribers, "subscriptions_page", lambda *given, **named: plain(*given, **named, limit=2))

    def addresses(*options: str) -> list[str]:
        output = run("subscribers", "list", *options, "--json").ok().json
        assert misfits(output, run("schema", "subscribers list --json").ok().json) == []
        assert run("subscribers", "list", *options, "--count").ok().out == f"{len(output)}\n"
        assert run("subscribers", "list", *options, "--count", "--json").ok().json == {"count": len(output)}
        return [row["address"] for row in output]

    assert addresses() == ["late@example.org", *(f"r{n}@example.org" for n in range(8))]
    assert addresses("--language", "ru", "--topic", "water", "--list", "digest") == [
        "r1@example.org",
        "r3@example.org",
        "r7@example.org",
    ]
    assert addresses("--topic", "wate") == []
    assert addresses("--state", "unsubscribed") == ["r8@example.org"]
    assert addresses("--state", "pending", "--frequency", "weekly") == ["late@example.org"]
    assert "r1@example.org  Reader 1  digest  confirmed  ru  daily  water, youth" in run("subscribers", "list").ok().out
    assert run("subscribers", "list", "--topic", "none").ok().out == "Nobody.\n"
    assert run("subscribers", "list", "--state", "gone").code == 2
