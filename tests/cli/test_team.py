"""`tidings team` as a person uses it."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run
from tests.cli.shapes import misfits
from tests.fixtures.newsroom_folder import NewsroomFolder
from tidings.store.people import team


@pytest.fixture
def admin(run: Run) -> str:
    """Add an admin and return the one-time link."""
    return run("team", "add", "dana@example.org", "--role", "admin", "--name", "Dana").ok().out.splitlines()[-1].strip()


def test_a_new_member_gets_a_one_time_link(run: Run, admin: str) -> None:
    assert admin.startswith("https://news.example.org/room/join/")
    again = run("team", "add", "Dana@Example.org", "--role", "editor")
    assert again.code == 2 and "is in the team already" in again.err
    fresh = run("team", "set", "dana@example.org", "--link").ok().out.splitlines()[-1].strip()
    assert fresh.startswith("https://news.example.org/room/join/") and fresh != admin


def test_members_are_listed_changed_and_removed(run: Run, admin: str) -> None:
    run("team", "add", "eli@example.org", "--role", "writer", "--lists", "press").ok()
    members = run("team", "list", "--json").ok().json
    assert [(member["address"], member["role"], member["lists"]) for member in members] == [
        ("dana@example.org", "admin", []),
        ("eli@example.org", "writer", ["press"]),
    ]
    assert not misfits(members, run("schema", "team list --json").ok().json)
    assert "Dana" in run("team", "list").ok().out
    run("team", "set", "eli@example.org", "--role", "editor", "--lists", "").ok()
    assert "eli@example.org: editor, all lists" in run("team", "set", "eli@example.org", "--name", "Eli").ok().out
    assert "signed out of 0 browsers" in run("team", "sign-out", "eli@example.org").ok().out
    run("team", "remove", "eli@example.org").ok()
    gone = run("team", "remove", "eli@example.org")
    assert gone.code == 2 and "is not in the team" in gone.err


def test_the_last_admin_cannot_be_lost(run: Run, admin: str) -> None:
    for arguments in (["remove", "dana@example.org"], ["set", "dana@example.org", "--role", "viewer"]):
        refused = run("team", *arguments)
        assert refused.code == 2 and "the only admin" in refused.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["add", "eli@example.org", "--role", "boss"], "is not a role"),
        (["add", "eli@example.org", "--role", "writer", "--lists", "pres"], "Did you mean 'press'?"),
        (["add", "eli@example.org", "--role", "admin", "--lists", "press"], "an admin works on all lists"),
        (["add", "eli", "--role", "writer"], "is not an e-mail address"),
        (["set", "eli@example.org"], "say what to change"),
    ],
)
def test_a_mistake_is_named(run: Run, arguments: list[str], text: str) -> None:
    answer = run("team", *arguments)
    assert answer.code in (1, 2) and text in answer.err


def test_the_log_has_commands_but_no_address(folder: NewsroomFolder, run: Run) -> None:
    run("subscribers", "add", "reader@example.org", "--list", "digest", "--confirmed").ok()
    run("subscribers", "set", "reader@example.org", "--language", "ru").ok()
    run("pause", "digest", "--reason", "elections").ok()
    run("resume", "digest").ok()
    run("subscribers", "export", "--list", "digest").ok()
    run("subscribers", "remove", "reader@example.org").ok()
    run("subscribers", "erase", "reader@example.org", "--yes").ok()
    with folder.runtime() as runtime, runtime.store.read() as connection:
        entries = team.log_entries(connection)
    assert [entry.action for entry in reversed(entries)] == [
        *("subscriber.added", "subscriber.changed", "pause.begun", "pause.ended", "subscriber.exported"),
        *("subscriber.removed", "subscriber.erased"),
    ]
    assert {entry.via for entry in entries} == {"command"}
    assert not [entry for entry in entries if "reader@" in f"{entry.about} {entry.details}"]


def test_a_key_is_shown_once_listed_and_revoked(run: Run) -> None:
    made = run("team", "key", "add", "website", "--role", "editor", "--lists", "press").ok().out
    secret = made.splitlines()[-1].strip()
    assert secret.startswith("tdk_") and "not shown again" in made
    again = run("team", "key", "add", "website", "--role", "viewer")
    assert again.code == 2 and "there is a key 'website' already" in again.err
    keys = run("team", "key", "list", "--json").ok().json
    assert [(key["name"], key["role"], key["lists"], key["used"]) for key in keys] == [
        ("website", "editor", ["press"], None)
    ]
    assert not misfits(keys, run("schema", "team key list --json").ok().json)
    table = run("team", "key", "list").ok().out
    assert "website" in table and "never" in table and secret not in table
    assert "revoked" in run("team", "key", "remove", "website").ok().out
    gone = run("team", "key", "remove", "website")
    assert gone.code == 2 and "there is no key 'website'" in gone.err
    assert "There is no key yet" in run("team", "key", "list").ok().out


def test_a_sample_address_says_where_the_link_opens(folder: NewsroomFolder, run: Run) -> None:
    lines = run("team", "add", "eli@example.org", "--role", "viewer").ok().out.splitlines()
    assert lines[1].startswith("On this machine") and lines[2].strip().startswith("http://127.0.0.1:8080/room/join/")
    assert lines[3].startswith("On a phone") and lines[4].rpartition("/")[2] == lines[2].rpartition("/")[2]


def test_a_link_never_leads_to_the_address_of_all_networks(folder: NewsroomFolder, run: Run) -> None:
    """0.0.0.0 means every network of the machine, and some browsers do not open it."""
    main = folder.root / "tidings.yaml"
    main.write_text(f"{main.read_text()}web: {{host: 0.0.0.0}}\n")
    lines = run("team", "add", "eli@example.org", "--role", "viewer").ok().out.splitlines()
    assert lines[2].strip().startswith("http://127.0.0.1:8080/room/join/")
