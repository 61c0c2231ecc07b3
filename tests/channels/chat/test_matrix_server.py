"""A real homeserver (Synapse) on loopback: our posts are in the room, once each."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.channels.cutting import Cutting
from tests.conftest import missing
from tests.servers.judges import TOOLS
from tidings.channels.base import Attempt
from tidings.channels.chat.matrix import MatrixChannel, Settings, make
from tidings.model.delivery import Verdict
from tidings.testing.channel_contract import sample_item, sample_post

pytestmark = pytest.mark.slow
PYTHON = TOOLS / "matrix" / ".venv" / "bin" / "python"
CONFIG = """\
server_name: localhost
pid_file: FOLDER/pid
listeners: [{port: PORT, type: http, tls: false, bind_addresses: [127.0.0.1], resources: [{names: [client]}]}]
database: {name: sqlite3, args: {database: FOLDER/homeserver.db}}
log_config: FOLDER/log.yaml
media_store_path: FOLDER/media
signing_key_path: FOLDER/signing.key
registration_shared_secret: a-secret-of-the-test
macaroon_secret_key: another
form_secret: another
report_stats: false
trusted_key_servers: []
rc_message: {per_second: 1000, burst_count: 1000}
rc_registration: {per_second: 1000, burst_count: 1000}
"""
LOG = "version: 1\nhandlers: {}\nroot: {level: ERROR, handlers: []}\ndisable_existing_loggers: false\n"


@dataclass
class Room:
    """A room on the server, which is read without our code."""

    server: str
    token: str
    id: str
    alias: str

    def ask(self, method: str, path: str, told: Any = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.server}_matrix/client/v3/{path}"
        answer = requests.request(method, url, json=told, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        records: dict[str, Any] = answer.json()
        return records

    def messages(self) -> list[dict[str, Any]]:
        """Return all posts, oldest first, also edits and redacted ones."""
        chunk = self.ask("GET", f"rooms/{self.id}/messages?dir=f&limit=100")["chunk"]
        return [one for one in chunk if one["type"] == "m.room.message"]

    def channel(self, server: str = "", **settings: str) -> MatrixChannel:
        """Return our channel for this room."""
        written = {"type": "matrix", "server": server or self.server, "room": self.id, "token": self.token}
        return make("room", Settings.model_validate(written | settings | {"allow_private": True}))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if not PYTHON.exists():
        missing("Synapse")
    folder = Path(tempfile.mkdtemp(prefix="tidings-matrix-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "homeserver.yaml").write_text(CONFIG.replace("FOLDER", str(folder)).replace("PORT", str(port)))
    (folder / "log.yaml").write_text(LOG)
    command = [str(PYTHON), "-m", "synapse.app.homeserver", "-c", str(folder / "homeserver.yaml")]
    done = subprocess.run([*command, "--generate-keys"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    url = f"http://127.0.0.1:{port}/"
    with (folder / "out").open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, cwd=folder) as process:
        try:
            _wait(url, process, folder)
            yield url
        finally:
            process.terminate()
            process.wait(60)
            shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, (folder / "out").read_text()
        try:
            if requests.get(f"{url}_matrix/client/versions", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError("the homeserver does not answer")


@pytest.fixture
def room(server: str, request: pytest.FixtureRequest) -> Room:
    """Create a room with its own account for each test (admin API, shared-secret registration)."""
    name = f"t{abs(hash(request.node.nodeid)) % 10**9}"
    register = f"{server}_synapse/admin/v1/register"
    nonce = requests.get(register, timeout=20).json()["nonce"]
    signed = "\0".join([nonce, name, "a-password", "notadmin"]).encode()
    mac = hmac.new(b"a-secret-of-the-test", signed, hashlib.sha1).hexdigest()
    wanted = {"nonce": nonce, "username": name, "password": "a-password", "admin": False, "mac": mac}
    token = requests.post(register, json=wanted, timeout=20).json()["access_token"]
    made = Room(server, token, "", f"#{name}:localhost")
    made.id = made.ask("POST", "createRoom", {"room_alias_name": name, "preset": "public_chat"})["room_id"]
    return made


def attempt(story: str = "one", at: datetime | None = None) -> Attempt:
    return Attempt(f"room:{story}:story:0", at or datetime.now(UTC))


ITEM = sample_item(1, title="Ауылға <b>су</b> келді 👩🏽\u200d🚒 & more", summary="4,000 people.", topics=("sdg-6",))
POST = replace(sample_post(), items=(ITEM,), title=ITEM.title, url=ITEM.url, language="kk")


def test_a_post_is_in_the_room_with_its_link(room: Room) -> None:
    channel = room.channel()
    outcome = channel.send(channel.prepare(POST), attempt())
    assert outcome.verdict is Verdict.ACCEPTED, outcome
    [event] = room.messages()
    assert event["event_id"] == outcome.receipt and outcome.receipt in outcome.via.replace("%24", "$")
    content = event["content"]
    assert content["body"].startswith(ITEM.title) and ITEM.url in content["body"]
    assert f'<a href="{ITEM.url}">Ауылға &lt;b&gt;су&lt;/b&gt; келді' in content["formatted_body"]


def test_a_repeat_is_the_same_event_and_other_stories_are_new(room: Room) -> None:
    channel = room.channel(room=room.alias)
    outcomes = [channel.send(channel.prepare(POST), attempt()) for _ in range(3)]
    assert len({outcome.receipt for outcome in outcomes}) == 1
    for number in range(4):
        assert channel.send(channel.prepare(POST), attempt(f"s{number}")).verdict is Verdict.ACCEPTED
    assert len(room.messages()) == 5


def test_a_post_is_edited_replied_to_and_deleted(room: Room) -> None:
    channel = room.channel()
    first = channel.send(channel.prepare(POST), attempt())
    mended = replace(POST, items=(replace(ITEM, correction="Correction: 4,180, not 4,810."),))
    for _ in range(2):
        edited = channel.edit(first.receipt, channel.prepare(mended), attempt("edit"))
        assert (edited.verdict, edited.receipt) == (Verdict.ACCEPTED, first.receipt)
    events = room.messages()
    assert len(events) == 2
    assert "4,180" in events[1]["content"]["m.new_content"]["body"]
    shown = room.ask("GET", f"rooms/{room.id}/event/{first.receipt}")
    assert shown["unsigned"]["m.relations"]["m.replace"]["event_id"] == events[1]["event_id"]
    answer = replace(POST, items=(), title="", text="Correction: 4,180, not 4,810.")
    outcome = channel.send(channel.prepare(answer), replace(attempt("answer"), reply_to=first.receipt))
    assert outcome.verdict is Verdict.ACCEPTED, outcome
    assert room.messages()[2]["content"]["m.relates_to"]["m.in_reply_to"]["event_id"] == first.receipt
    for _ in range(2):
        assert channel.take_down(first.receipt, attempt()).verdict is Verdict.ACCEPTED
    gone = room.ask("GET", f"rooms/{room.id}/event/{first.receipt}")
    assert gone["content"] == {} and "redacted_because" in gone["unsigned"]
    assert channel.edit(first.receipt, channel.prepare(POST), attempt("late")).verdict is Verdict.REJECTED
    assert channel.take_down("$nothing", attempt()).verdict is Verdict.ACCEPTED


def test_a_connection_lost_after_the_request_leads_to_one_post(room: Room) -> None:
    proxy = Cutting(int(room.server.rstrip("/").rpartition(":")[2]), b"/send/m.room.message/")
    try:
        channel = room.channel(proxy.url)
        body = channel.prepare(POST)
        first = channel.send(body, attempt())
        assert first.verdict is Verdict.UNKNOWN and proxy.cuts == 1
        assert len(room.messages()) == 1
        second = room.channel(proxy.url).send(body, attempt())
        assert second.verdict is Verdict.ACCEPTED, second
    finally:
        proxy.close()
    [event] = room.messages()
    assert second.receipt == event["event_id"]


def test_an_unknown_outcome_is_resolved_from_the_room(room: Room) -> None:
    channel = room.channel()
    before = datetime.now(UTC)
    body = channel.prepare(POST)
    assert channel.find(body, attempt(at=before)).verdict is Verdict.NOT_STARTED
    sent = channel.send(body, attempt())
    for number in range(120):
        channel.send(channel.prepare(replace(POST, items=(), title=f"Other {number}")), attempt(f"s{number}"))
    earlier = channel.find(body, attempt(at=before))
    assert (earlier.verdict, earlier.receipt) == (Verdict.ACCEPTED, sent.receipt)
    assert channel.find(channel.prepare(replace(POST, title="x", items=())), attempt("never", before)).verdict is (
        Verdict.NOT_STARTED
    )


def test_invalid_room_settings_are_refused_with_the_reason(room: Room) -> None:
    body = room.channel().prepare(POST)
    wrong = room.channel(token="syt_wrong-token").send(body, attempt())
    assert wrong.verdict is Verdict.NOT_STARTED and "401" in wrong.reason and "wrong-token" not in wrong.reason
    assert "there is no room" in room.channel(room="#nowhere:localhost").send(body, attempt()).reason
    room.ask("PUT", f"rooms/{room.id}/state/m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    assert "encrypted" in room.channel().send(body, attempt()).reason
    assert room.messages() == []
