"""A program can do the same as the room's buttons, with the same rules, messages and lines in the log."""

from __future__ import annotations

import httpx

from tests.fixtures.newsroom import MONDAY
from tests.web.api.v1.conftest import Program
from tests.web.room.conftest import RoomSite
from tidings.store.people import consent


def _log(room: RoomSite) -> list[tuple[str, str, str]]:
    return [(entry.who, entry.action, entry.about) for entry in reversed(room.log())]


def _detail(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


def test_a_story_is_written_made_ready_corrected_and_withdrawn(room: RoomSite, program: Program) -> None:
    writer, editor = program("writer"), program("editor")
    made = writer.post("stories", json={"title": "A new: bridge", "language": "en", "body": "Text.", "topics": []})
    assert made.status_code == 201, made.text
    story = made.json()
    assert (story["story"], story["file"], story["draft"]) == ("a-new-bridge", "content/a-new-bridge.en.md", True)
    again = writer.post("stories", json={"title": "A new bridge", "language": "en"})
    assert "there is a file content/a-new-bridge.en.md already" in _detail(again, 409)
    changed = writer.patch("stories/a-new-bridge/en", json={"version": story["version"], "summary": "Short."}).json()
    assert changed["summary"] == "Short." and changed["title"] == "A new: bridge"
    stale = writer.patch("stories/a-new-bridge/en", json={"version": story["version"], "summary": "Other."})
    assert "changed in the meantime" in _detail(stale, 412)
    refused = writer.patch("stories/a-new-bridge/en", json={"version": changed["version"], "draft": False})
    assert "only an editor" in _detail(refused, 403)
    ready = editor.post("stories/a-new-bridge/en/ready", json={"version": changed["version"]}).json()
    assert not ready["draft"]
    assert "only an editor" in _detail(
        writer.patch("stories/a-new-bridge/en", json={"version": ready["version"], "title": "No"}), 403
    )
    edit = {"version": ready["version"], "correction": "It is 60 m long.", "contact": ["Ada, ada@un.example"]}
    corrected = editor.patch("stories/a-new-bridge/en", json=edit).json()
    gone = editor.post(
        "stories/a-new-bridge/en/withdraw", json={"version": corrected["version"], "reason": "An error."}
    ).json()
    assert (gone["correction"], gone["withdrawn"]) == ("It is 60 m long.", "An error.")
    assert gone["contact"] == ["Ada, ada@un.example"]
    text = (room.newsroom.folder.root / "content/a-new-bridge.en.md").read_text()
    assert "title: A new: bridge\n" in text and 'withdrawn: "An error."' in text and "draft" not in text
    who = [line[0] for line in _log(room)]
    assert who == ["key writer", "key writer", "key editor", "key editor", "key editor"]
    wrong = editor.patch("stories/a-new-bridge/en", json={"version": gone["version"], "published": "soon"})
    assert "published" in _detail(wrong, 422)
    russian = writer.post("stories", json={"title": "Мост", "language": "ru", "story": "one", "kind": "story"})
    assert "there is a file content/one.ru.md already" in _detail(russian, 409)


def test_a_test_goes_to_the_team_only(room: RoomSite, program: Program) -> None:
    writer = program("writer")
    room.member("editor")
    refused = writer.post("editions/daily/1/test", json={"address": "stranger@example.org"})
    assert "a member of the team only" in _detail(refused, 422)
    assert writer.post("editions/daily/1/test", json={"address": "editor@example.org"}).json() == {"mails": 2}


def test_an_edition_is_changed_released_and_cancelled(room: RoomSite, program: Program) -> None:
    editor = program("editor")
    edition = editor.get("editions/daily/1").json()
    stale = editor.post("editions/daily/1/release", json={"version": "x", "recipients": 2})
    assert "changed in the meantime" in _detail(stale, 412)
    unknown = editor.patch("editions/daily/1", json={"version": edition["version"], "drop": ["none"]})
    assert "there is no story 'none' in this edition" in _detail(unknown, 409)
    subject = {"version": edition["version"], "subject": {"ru": "Воскресенье"}}
    changed = editor.patch("editions/daily/1", json=subject).json()
    assert changed["version"] != edition["version"] and changed["changes"]["subject"] == {"ru": "Воскресенье"}
    room.newsroom.runtime.set_clock(MONDAY)
    asked = editor.post("editions/daily/1/release", json={"version": changed["version"]})
    assert "2 recipients" in _detail(asked, 422)
    comment = editor.post("editions/daily/1/comment", json={"text": "Fine."})
    assert comment.status_code == 201 and comment.json()["history"][-1]["who"] == "key editor"
    released = editor.post("editions/daily/1/release", json={"version": changed["version"], "recipients": 2}).json()
    assert released["state"] == "sending"
    assert "sending, not held" in _detail(
        editor.post("editions/daily/1/recompose", json={"version": released["version"]}), 409
    )
    assert editor.post("editions/daily/1/cancel").json()["state"] == "cancelled"
    assert [action for _, action, _ in _log(room)] == [
        "edition.changed", "edition.commented", "edition.released", "edition.cancelled",
    ]  # fmt: skip


def test_a_person_is_added_changed_removed_and_erased(room: RoomSite, program: Program) -> None:
    editor, admin = program("editor"), program("admin")
    person = {"email": "clara@example.org", "list": "digest", "consent": "paper form", "frequency": "daily"}
    made = editor.post("subscribers", json=person)
    assert made.status_code == 201 and made.json()["outcome"] == "added", made.text
    number = made.json()["subscriber"]
    assert editor.post("subscribers", json=person).json() == {"outcome": "exists", "subscriber": number}
    assert "unknown language 'xx'" in _detail(editor.post("subscribers", json={**person, "language": "xx"}), 422)
    assert "is not an e-mail address" in _detail(editor.post("subscribers", json={**person, "email": "a b"}), 422)
    changed = editor.patch(f"subscribers/{number}", json={"language": "ru", "name": "Clara"}).json()
    assert (changed["language"], changed["name"]) == ("ru", "Clara")
    assert "name the list" in _detail(editor.patch(f"subscribers/{number}", json={"frequency": "daily"}), 422)
    left = editor.delete(f"subscribers/{number}/lists/digest").json()
    assert left["lists"][0]["state"] == "unsubscribed"
    assert "has left this list" in _detail(editor.post("subscribers", json=person), 409)
    asked = editor.post("subscribers", json={"email": "dora@example.org", "list": "digest"})
    assert asked.json() == {"outcome": "asked", "subscriber": None}
    assert "role of admin" in _detail(editor.post(f"subscribers/{number}/erase", json={"address": "x"}), 403)
    assert "not the address" in _detail(admin.post(f"subscribers/{number}/erase", json={"address": "x"}), 422)
    erased = admin.post(f"subscribers/{number}/erase", json={"address": "Clara@example.org"})
    assert erased.status_code == 200
    assert admin.get(f"subscribers/{number}").status_code == 404
    with room.newsroom.runtime.store.read() as connection:
        assert consent.suppression(connection, consent.address_hash("clara@example.org"), "") == "erased"
    assert [action for _, action, _ in _log(room)] == [
        "subscriber.added", "subscriber.changed", "subscriber.removed", "subscriber.erased",
    ]  # fmt: skip
    assert all(about == f"subscriber {number}" for _, _, about in _log(room))


def test_an_import_is_tried_dry_before_it_is_done(room: RoomSite, program: Program) -> None:
    editor = program("editor")
    table = "email,language\neva@example.org,en\nanna@example.org,en\nno address,en\n"
    body = {"list": "digest", "csv": table, "source": "the fair", "confirmed": True}
    dry = editor.post("subscribers/import", json=body).json()
    assert dry["dry_run"] and dry["counts"] == {"added": 1, "exists": 1, "refused": 1}
    assert dry["refused"][-1]["line"] == 4
    assert editor.get("subscribers", params={"text": "eva"}).json()["total"] == 0
    done = editor.post("subscribers/import", json={**body, "dry_run": False}).json()
    assert not done["dry_run"] and editor.get("subscribers", params={"text": "eva"}).json()["total"] == 1
    assert [action for _, action, _ in _log(room)] == ["subscriber.imported"]


def test_a_moment_at_the_end_of_time_is_refused(program: Program) -> None:
    """The answer was 503, as if the store could not be reached."""
    editor, odd = program("editor"), "9999-12-31T23:59:59-23:59"
    pause = editor.post("pauses", json={"scope": "list", "name": "digest", "until": odd})
    queries = [editor.get(path, params={"since": odd}) for path in ("deliveries", "report")]
    assert [answer.status_code for answer in (pause, *queries)] == [422] * 3


def test_a_list_is_paused_and_resumed(room: RoomSite, program: Program) -> None:
    editor, press = program("editor"), program("editor", "press", name="press")
    begun = editor.post("pauses", json={"scope": "list", "name": "digest", "reason": "mourning"})
    assert begun.status_code == 201
    assert [(pause["name"], pause["who"]) for pause in begun.json()] == [("digest", "key editor")]
    for scope, name in (("list", "digest"), ("all", ""), ("channel", "team"), ("schedule", "daily")):
        assert press.post("pauses", json={"scope": scope, "name": name}).status_code == 404
        assert press.post("pauses/end", json={"scope": scope, "name": name}).status_code == 404
    assert "Did you mean 'digest'?" in _detail(editor.post("pauses", json={"scope": "list", "name": "digst"}), 404)
    assert editor.post("pauses/end", json={"scope": "list", "name": "digest"}).json() == []
    assert "is not paused" in _detail(editor.post("pauses/end", json={"scope": "list", "name": "digest"}), 409)
    assert [action for _, action, _ in _log(room)] == ["pause.begun", "pause.ended"]


def test_a_delivery_without_doubt_is_not_settled(program: Program) -> None:
    editor, press = program("editor"), program("editor", "press", name="press")
    number = editor.get("deliveries", params={"edition": "daily/1"}).json()["items"][0]["id"]
    refused = editor.post(f"deliveries/{number}/resolve", json={"how": "accepted"})
    assert "not in doubt" in _detail(refused, 409)
    assert press.post(f"deliveries/{number}/resolve", json={"how": "accepted"}).status_code == 404
    assert editor.post("deliveries/99999/resolve", json={"how": "cancel"}).status_code == 404


def test_a_repeated_post_gets_the_same_answer_and_does_nothing(room: RoomSite, program: Program) -> None:
    editor = program("editor")
    person = {"email": "fatima@example.org", "list": "digest", "consent": "form"}
    once = {"Idempotency-Key": "9d7f"}
    first = editor.post("subscribers", json=person, headers=once)
    again = editor.post("subscribers", json=person, headers=once)
    assert first.status_code == again.status_code == 201 and first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true" and "idempotent-replayed" not in first.headers
    other = editor.post("subscribers", json={**person, "list": "press"}, headers=once)
    assert "was used for another request" in _detail(other, 422)
    refused = [editor.post("pauses/end", json={"scope": "all"}, headers={"Idempotency-Key": "b"}) for _ in range(2)]
    assert refused[0].status_code == refused[1].status_code == 409 and refused[0].content == refused[1].content
    assert len(_log(room)) == 1
    other_key = program("editor", name="second").post("subscribers", json=person, headers=once)
    assert other_key.json()["outcome"] == "exists", "each key has its own names"
    assert "visible ASCII" in _detail(editor.post("pauses", json={}, headers={"Idempotency-Key": "x" * 300}), 400)


def test_a_wrong_body_is_explained(program: Program) -> None:
    editor = program("editor")
    typo = editor.post("subscribers", json={"email": "a@example.org", "list": "digest", "frequenzy": "daily"})
    assert "frequenzy" in _detail(typo, 422) and typo.json()["errors"][0]["field"] == "frequenzy"
    assert "not marked as JSON" in _detail(editor.post("subscribers", content=b"email=a"), 415)
    assert "null character" in _detail(editor.post("subscribers", json={"email": "a\0b"}), 422)
    assert _detail(editor.post("no/such/address"), 404) == "Not Found"
    assert _detail(editor.put("stories"), 405) == "Method Not Allowed"
    large = editor.post("subscribers/import", json={"csv": "x" * 6_100_000})
    assert "larger than 6 MB" in _detail(large, 413)
