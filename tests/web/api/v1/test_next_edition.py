"""A program sees the next edition before it is built, tests it, and chooses for it, as an editor does in the room."""

from __future__ import annotations

from tests.fixtures.newsroom import DAY, HOUR, MONDAY, REQUEST
from tests.web.api.v1.conftest import Program
from tests.web.room.conftest import BEFORE, RoomSite

NEXT = "schedules/friday/next"
FRIDAY = "cadence:\n  weekly: fri 09:00\ndeliver: [{list: digest, frequency: all}]\n"


def test_a_program_chooses_for_the_next_edition(room: RoomSite, program: Program) -> None:
    newsroom = room.newsroom
    newsroom.schedule("daily", REQUEST)
    newsroom.schedule("friday", FRIDAY)
    newsroom.tick(BEFORE + HOUR / 4)
    newsroom.item("vaccines", title="Vaccines", published="2026-03-02T07:20")
    newsroom.item("bridge", title="Bridge")
    newsroom.tick(BEFORE + HOUR / 2)
    editor = program("editor")
    answer = editor.get(NEXT)
    first = answer.json()
    assert answer.headers["etag"] == f'"{first["version"]}"'
    assert (first["next"]["stories"], first["total"]) == (["bridge", "vaccines"], 2)
    assert "Bridge" in editor.get(f"{NEXT}/messages").json()[0]["subject"]

    chosen = editor.patch(NEXT, json={"lead": "vaccines", "subject": {"ru": "Вакцины"}}, headers={"If-Match": "x"})
    assert chosen.status_code == 428
    tag = {"If-Match": answer.headers["etag"]}
    chosen = editor.patch(NEXT, json={"lead": "vaccines", "subject": {"ru": "Вакцины"}}, headers=tag)
    assert chosen.json()["lead"] == "vaccines" and chosen.json()["next"]["stories"][0] == "vaccines"
    assert editor.patch(NEXT, json={"lead": ""}, headers=tag).status_code == 412
    version = chosen.json()["version"]
    assert editor.patch(NEXT, json={"version": version, "lead": "none"}).status_code == 409
    assert editor.patch(NEXT, json={"version": version, "subject": {"zh": "x"}}).status_code == 409
    noted = editor.patch(NEXT, json={"version": version, "note": {"en": "Good morning."}}).json()
    assert noted["subject"] == {"ru": "Вакцины"} and noted["note"] == {"en": "Good morning."}

    room.member("editor")
    refused = editor.post(f"{NEXT}/test", json={"address": "stranger@example.org"})
    assert refused.status_code == 422
    assert editor.post(f"{NEXT}/test", json={"address": "editor@example.org"}).json()["mails"] > 0
    assert editor.get("schedules/fryday/next").json()["detail"].endswith("Did you mean 'friday'?")
    newsroom.tick(MONDAY + 4 * DAY)
    assert newsroom.edition("friday/1").stories[0] == "vaccines"
    subjects = [str(mail.message["Subject"]) for mail in newsroom.mails("boris@example.org")]
    assert subjects[-1] == "Вакцины"
    assert [(entry.who, entry.action) for entry in reversed(room.log()) if entry.who == "key editor"] == [
        *[("key editor", "edition.planned")] * 2,
        ("key editor", "edition.tested"),
    ]
