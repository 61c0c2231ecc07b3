"""A program changes files, posts, the team and its keys, without losing changes of others."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import httpx
import pytest
from PIL import Image
from sqlalchemy import text

from tests.web.api.v1.conftest import Program
from tests.web.room.conftest import RoomSite

DAILY = {"file": "schedules/daily.yaml"}


def _detail(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["detail"])


def _picture(kind: str = "JPEG") -> str:
    written = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(written, kind)
    return base64.b64encode(written.getvalue()).decode()


def _actions(room: RoomSite) -> list[str]:
    return [entry.action for entry in reversed(room.log())]


@pytest.fixture
def secrets(room: RoomSite) -> Path:
    """The secrets of the channels, without which no settings are saved."""
    path = room.newsroom.folder.root / "secrets.env"
    path.touch(0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in room.newsroom.folder.env.items()))
    return path


def test_a_changed_file_names_the_version_it_replaces(room: RoomSite, program: Program) -> None:
    writer, editor = program("writer"), program("editor")
    made = writer.post("stories", json={"title": "A ferry", "language": "en", "body": "It runs.\n"})
    place = "stories/a-ferry/en"
    shown = writer.get(f"{place}/text")
    assert shown.headers["etag"] == made.headers["etag"] == f'"{shown.json()["version"]}"'
    changed = {"text": shown.json()["text"] + "On Sundays too.\n"}
    assert "If-Match" in _detail(writer.put(f"{place}/text", json=changed), 428)
    saved = writer.put(f"{place}/text", json=changed, headers={"If-Match": f'"old", {shown.headers["etag"]}'})
    assert saved.status_code == 200 and saved.json()["text"] == changed["text"]
    for late in (
        writer.put(f"{place}/text", json=changed, headers={"If-Match": shown.headers["etag"]}),
        writer.put(f"{place}/text", json={**changed, "version": shown.json()["version"]}),
        writer.patch(place, json={"summary": "Other"}, headers={"If-Match": shown.headers["etag"]}),
        writer.put(f"{place}/text", json=changed, headers={"If-Match": "*"}),
    ):
        assert late.status_code in (412, 428), late.text
    for wrong, status in (("no front matter", 422), ("---\ntitle: x\n---\nReady.\n", 403)):
        assert (
            writer.put(f"{place}/text", json={"text": wrong, "version": saved.json()["version"]}).status_code == status
        )
    (former,) = writer.get(f"{place}/versions").json()
    assert former["who"] == "key_writer"
    old = writer.get(f"{place}/versions/{former['id']}").json()
    assert old["text"] == shown.json()["text"] and old["difference"].endswith("-On Sundays too.")
    assert writer.get(f"{place}/versions/none").status_code == 404
    back = editor.post(f"{place}/versions/{former['id']}/restore", json={}, headers={"If-Match": saved.headers["etag"]})
    assert back.json()["text"] == shown.json()["text"] and len(writer.get(f"{place}/versions").json()) == 2
    assert _actions(room) == ["story.created", "story.saved", "story.restored"]


def test_pictures_of_a_story_are_added_described_and_removed(room: RoomSite, program: Program) -> None:
    writer = program("writer")
    writer.post("stories", json={"title": "A pier", "language": "en", "body": "Text [1].\n"})
    place = "stories/a-pier/en/pictures"

    def seen() -> dict[str, str]:
        return {"If-Match": writer.get(place).headers["etag"]}

    for name, alt in (("../../a b.jpg", "A pier: new"), ("мол.png", "Its [end] \\ side")):
        added = writer.post(place, json={"name": name, "data": _picture(), "alt": alt}, headers=seen())
        assert added.status_code == 201, added.text
    pictures = added.json()["pictures"]
    assert [(picture["alt"], picture["in_text"]) for picture in pictures] == [
        ("A pier: new", False),
        ("Its [end] \\ side", True),
    ]
    assert all((room.newsroom.folder.root / "content" / picture["src"]).is_file() for picture in pictures)
    svg = base64.b64encode(b"<svg onload='alert(1)'/>").decode()
    for data, status in ((svg, 422), ("no base64!", 422), ("", 422)):
        body = {"name": "x.svg", "data": data, "alt": "x"}
        assert writer.post(place, json=body, headers=seen()).status_code == status
    assert writer.post(place, json={"name": "x", "data": _picture(), "alt": "x"}).status_code == 428
    for number, words in ((1, {"alt": 'In "quotes" # x', "credit": "Ada"}), (2, {"alt": "The ] end"})):
        assert writer.patch(f"{place}/{number}", json=words, headers=seen()).status_code == 200
    assert "has none" in _detail(writer.patch(f"{place}/2", json={"credit": "Ada"}, headers=seen()), 422)
    own, other = writer.get(place).json()["pictures"]
    assert (own["alt"], own["credit"], other["alt"]) == ('In "quotes" # x', "Ada", "The ] end")
    assert writer.delete(f"{place}/3", headers=seen()).status_code == 404
    writer.delete(f"{place}/2", headers=seen())
    writer.delete(f"{place}/1", headers=seen())
    assert writer.get(place).json()["pictures"] == []
    assert writer.get("stories/a-pier/en/text").json()["text"] == "---\ntitle: A pier\ndraft: true\n---\nText [1].\n"


def test_settings_are_checked_and_planned_before_they_are_saved(
    room: RoomSite, program: Program, secrets: Path
) -> None:
    admin = program("admin")
    assert [one["schedule"] for one in admin.get("settings").json()] == ["", "daily", "press"]
    shown = admin.get("settings/file", params=DAILY)
    later = shown.json()["text"].replace("09:00", "11:30")
    checked = admin.post("settings/check", params=DAILY, json={"text": later}).json()
    assert '+cadence: {daily: "11:30"}' in checked["difference"]
    slots = [checked[side][0]["slots"][0]["at"] for side in ("before", "after")]
    assert slots[0] != slots[1] and admin.get("settings/file", params=DAILY).json() == shown.json()
    wrong = later + "cadense: x\n"
    diagnoses = admin.post("settings/check", params=DAILY, json={"text": wrong}).json()
    assert diagnoses["after"] is None and ("schedules/daily.yaml", 4) in [
        (p["file"], p["line"]) for p in diagnoses["problems"]
    ]
    seen = {"version": shown.json()["version"]}
    assert "schedules/daily.yaml:4" in _detail(
        admin.put("settings/file", params=DAILY, json={"text": wrong, **seen}), 422
    )
    saved = admin.put("settings/file", params=DAILY, json={"text": later, **seen})
    assert saved.json()["text"] == later
    assert admin.put("settings/file", params=DAILY, json={"text": later, **seen}).status_code == 412
    (former,) = admin.get("settings/versions", params=DAILY).json()
    assert "11:30" in admin.get(f"settings/versions/{former['id']}", params=DAILY).json()["difference"]
    back = admin.post(
        f"settings/versions/{former['id']}/restore", params=DAILY, json={}, headers={"If-Match": saved.headers["etag"]}
    )
    assert back.json() == shown.json()
    for name in ("keys.json", "schedules/../keys.json", "secrets.env", "content/one.en.md", ""):
        assert admin.get("settings/file", params={"file": name}).status_code == 404
    assert _actions(room) == ["settings.saved", "settings.restored"]


def test_a_team_and_its_keys_keep_an_admin_and_no_secret(room: RoomSite, program: Program) -> None:
    admin = program("admin")
    once = {"Idempotency-Key": "a"}
    added = admin.post("team", json={"email": "ada@example.org", "role": "admin"}, headers=once).json()
    assert added["link"].startswith("https://news.example.org/room/join/")
    assert "not kept" in _detail(
        admin.post("team", json={"email": "ada@example.org", "role": "admin"}, headers=once), 410
    )
    place = f"team/{added['member']}"
    for refused in (admin.patch(place, json={"role": "viewer"}), admin.delete(place)):
        assert "the only admin" in _detail(refused, 409)
    second = admin.post("team", json={"email": "bo@example.org", "role": "editor", "lists": ["digest"]}).json()[
        "member"
    ]
    assert "works on all lists" in _detail(
        admin.patch(f"team/{second}", json={"role": "admin", "lists": ["press"]}), 422
    )
    promoted = admin.patch(f"team/{second}", json={"role": "admin"}).json()
    assert (promoted["role"], promoted["lists"]) == ("admin", [])
    assert admin.post(f"{place}/link").json()["link"] != added["link"]
    assert admin.post(f"{place}/sign-out").json() == {"sessions": 0}
    assert admin.delete(place).status_code == 204 and admin.post(f"{place}/link").status_code == 404
    made = admin.post("keys", json={"name": "crm", "role": "viewer"}, headers={"Idempotency-Key": "b"}).json()
    assert httpx.get(f"{room.url}api/v1/me", headers={"Authorization": f"Bearer {made['key']}"}).json()["name"] == "crm"
    assert "crm" in [one["name"] for one in admin.get("keys").json()]
    assert admin.post("keys", json={"name": "crm", "role": "viewer"}).status_code == 409
    assert admin.delete("keys/crm").status_code == 204 and admin.delete("keys/crm").status_code == 404
    with room.newsroom.runtime.store.read() as connection:
        kept = " ".join(connection.execute(text("SELECT body FROM api_answers")).scalars())
    assert "join/" not in kept and made["key"] not in kept
    assert admin.delete(f"team/{second}").status_code == 409


def test_a_post_that_is_not_online_is_not_changed(program: Program) -> None:
    editor = program("editor")
    for answer in (
        editor.get("deliveries/1/post"),
        editor.post("deliveries/1/post", json={"change": "edit", "text": "x"}),
        editor.post("deliveries/99/post", json={"change": "take_down"}),
    ):
        assert "online" in _detail(answer, 404)
