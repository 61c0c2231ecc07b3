"""The screen of keys and webhooks."""

from __future__ import annotations

import re

import httpx

from tests.fixtures.newsroom_folder import SECRET
from tests.web.room.conftest import RoomSite
from tidings.testing.http_sink import HttpSink


def test_an_admin_makes_and_revokes_a_key(room: RoomSite) -> None:
    admin = room.browser("admin")
    assert "There is no key yet." in admin.get("api").text
    page = admin.post("api/keys/add", name="website", role="editor", list="press").text
    (secret,) = re.findall(r"tdk_[\w-]+", page)
    headers = {"Authorization": f"Bearer {secret}"}
    key = httpx.get(f"{room.url}api/v1/me", headers=headers, verify=False).json()
    assert key == {"name": "website", "role": "editor", "lists": ["press"]}
    again = admin.get("api").text
    assert secret not in again and "last used" in again and "Works on: press" in again
    assert "There is a key of this name already." in admin.post("api/keys/add", name="website", role="viewer").text
    assert "A name has small letters" in admin.post("api/keys/add", name="My site", role="viewer").text
    assert "Choose a role." in admin.post("api/keys/add", name="other", role="boss").text
    assert "There is no key yet." in admin.post("api/keys/remove", name="website").text
    assert admin.post("api/keys/remove", name="website").status_code == 404
    assert httpx.get(f"{room.url}api/v1/me", headers=headers, verify=False).status_code == 401
    assert [entry.action for entry in reversed(room.log())] == ["key.added", "key.removed"]


def test_a_test_event_shows_how_it_went(room: RoomSite) -> None:
    newsroom, admin = room.newsroom, room.browser("admin")
    assert "No webhook is set up." in admin.get("api").text
    with HttpSink() as sink:
        newsroom.folder.env |= {"CRM_URL": sink.url, "CRM_SECRET": SECRET}
        newsroom.configure(
            "channels:",
            "webhooks:\n  crm: {url: {env: CRM_URL}, secret: {env: CRM_SECRET}, allow_private: true}\nchannels:",
        )
        assert "A test event is on its way." in admin.post("api/test", name="crm").text
        newsroom.runtime.deliver_events()
        page = admin.get("api").text
        assert "webhook.test" in page and "accepted" in page and len(sink.received) == 1
        assert "secret-part-of-the-path" not in page and SECRET not in page
        assert admin.post("api/test", name="other").status_code == 404
