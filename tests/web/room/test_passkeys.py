"""Members join and sign in with passkeys: with a device that the test plays, and with Chromium's virtual device."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import cbor2
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from tests.servers.chromium import Tab, chromium
from tests.web.room.conftest import Browser, RoomSite
from tidings.runtime.team import sign_in
from tidings.runtime.team.passkeys import PasskeySite
from tidings.store.people import passkeys, team
from tidings.store.service.clock import real_now
from tidings.web.room.visit import COOKIE, VISIT_COOKIE

ORIGIN = "https://news.example.org"
PRESENT, VERIFIED, ATTESTED = 1, 4, 64


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass
class Device:
    """A device with one passkey, as the browser's script would describe it (WebAuthn Level 2 §6.1)."""

    origin: str = ORIGIN
    flags: int = PRESENT | VERIFIED
    count: int = 0
    id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def _head(self, domain: str, flags: int) -> bytes:
        return hashlib.sha256(domain.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _client(self, kind: str, options: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "challenge": options["challenge"], "origin": self.origin}).encode()

    def _describe(self, **response: bytes) -> str:
        named = {name: _text(value) for name, value in response.items()}
        return json.dumps({"id": _text(self.id), "rawId": _text(self.id), "type": "public-key", "response": named})

    def create(self, options: dict[str, Any]) -> str:
        """Answer `navigator.credentials.create`."""
        point = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cbor2.dumps(cose)
        data = self._head(options["rp"]["id"], self.flags | ATTESTED) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client("webauthn.create", options)
        return self._describe(clientDataJSON=client, attestationObject=attestation)

    def get(self, options: dict[str, Any]) -> str:
        """Answer `navigator.credentials.get`."""
        data, client = self._head(options["rpId"], self.flags), self._client("webauthn.get", options)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._describe(clientDataJSON=client, authenticatorData=data, signature=signature)


def _options(page: httpx.Response) -> dict[str, Any]:
    match = re.search(r'data-options="([^"]*)"', page.text)
    assert match is not None, page.text
    return dict(json.loads(html.unescape(match[1])))


def _visit(browser: Browser, path: str) -> dict[str, Any]:
    """Open a page as somebody who is not signed in. Returns the request that its script sends to the device."""
    page = browser.get(path)
    browser.cookie = browser.client.cookies[VISIT_COOKIE]
    return _options(page)


def _add(browser: Browser, device: Device, name: str = "Pixel") -> httpx.Response:
    answer = device.create(_options(browser.get("account")))
    return browser.post("account/passkeys", passkey=answer, name=name)


def _sign_in(room: RoomSite, device: Device, browser: Browser | None = None) -> httpx.Response:
    browser = browser or room.browser()
    answer = device.get(_visit(browser, "sign-in"))
    return browser.post("sign-in/passkey", passkey=answer)


def test_a_member_adds_passkeys_and_signs_in_with_each(room: RoomSite) -> None:
    editor, phone, laptop = room.browser("editor"), Device(), Device()
    assert "The passkey is added." in _add(editor, phone).text
    assert "The passkey is added." in _add(editor, laptop, "<b>laptop</b>").text
    page = editor.get("account")
    assert "Pixel" in page.text and "&lt;b&gt;laptop&lt;/b&gt;" in page.text
    known = {each["id"] for each in _options(page)["excludeCredentials"]}
    assert known == {_text(phone.id), _text(laptop.id)}, "a device would get a second passkey"
    for device in (phone, laptop):
        assert "<h1>Today</h1>" in _sign_in(room, device).text
    number = re.findall(r'name="number" value="(\d+)"', page.text)[0]
    other = room.browser("writer")
    other.post("account/passkeys/remove", number=number)
    assert "<h1>Today</h1>" in _sign_in(room, phone).text, "a colleague removed it"
    assert "Pixel" not in editor.post("account/passkeys/remove", number=number).text
    assert _sign_in(room, phone).status_code == 403
    assert [entry.action for entry in room.log()] == ["team.passkey_removed", "team.passkey", "team.passkey"]


def test_a_link_is_used_with_a_passkey_alone(room: RoomSite) -> None:
    number = room.member("editor")
    with room.newsroom.runtime.store.write() as connection:
        token = sign_in.make_link(connection, number, real_now())
    browser, device = room.browser(), Device()
    options = _visit(browser, f"join/{token}")
    assert options["user"]["name"] == "editor@example.org"
    fields = {"secret": sign_in.make_totp_secret(), "passkey": device.create(options)}
    wrong = browser.post(f"join/{token}", **fields | {"passkey": "{}"})
    assert wrong.status_code == 422 and "This did not work." in wrong.text
    assert "Welcome. You are signed in." in browser.post(f"join/{token}", **fields).text
    assert room.browser().get(f"join/{token}").status_code == 404
    again = room.browser()
    assert "<h1>Today</h1>" in _sign_in(room, device, again).text
    again.cookie = again.client.cookies[COOKIE]
    page = again.get("account").text
    assert "Change your password" not in page
    known = re.findall(r'name="number" value="(\d+)"', page)
    answer = again.post("account/passkeys/remove", number=known[0])
    assert answer.status_code == 422 and "your only way in" in answer.text
    # A new link is for somebody who lost their device: the old passkey ends with its sessions.
    with room.newsroom.runtime.store.write() as connection:
        token = sign_in.make_link(connection, number, real_now())
        sign_in.accept_link(connection, token, email="", password="x", secret="", step=0, now=real_now())
    assert _sign_in(room, device).status_code == 403
    assert again.get("").status_code == 303


def test_the_first_admin_joins_with_a_passkey(room: RoomSite) -> None:
    token = sign_in.make_first_link(room.newsroom.runtime.store)
    browser, device = room.browser(), Device()
    answer = device.create(_visit(browser, f"join/{token}"))
    fields = {"secret": sign_in.make_totp_secret(), "passkey": answer, "email": "dana@example.org"}
    assert "Welcome. You are signed in." in browser.post(f"join/{token}", **fields).text
    assert "<h1>Today</h1>" in _sign_in(room, device).text
    assert "has not used the link yet" not in room.browser("viewer").get("team").text.partition("dana")[2][:400]


def test_each_challenge_is_for_one_browser_and_once(room: RoomSite, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    editor = room.browser("editor")
    _add(editor, device)
    first, other = room.browser(), room.browser()
    answer = device.get(_visit(first, "sign-in"))
    _visit(other, "sign-in")
    assert other.post("sign-in/passkey", passkey=answer).status_code == 403, "a challenge of another browser"
    assert first.post("sign-in/passkey", passkey=answer).status_code == 200
    thief = room.browser()
    thief.client.cookies.set(VISIT_COOKIE, first.cookie, domain="127.0.0.1", path="/room/")
    thief.cookie = first.cookie
    assert thief.post("sign-in/passkey", passkey=answer).status_code == 403, "the same answer again"
    # A challenge for adding a passkey, and an old challenge.
    options = _options(editor.get("account")) | {"rpId": "news.example.org"}
    assert thief.post("sign-in/passkey", passkey=device.get(options)).status_code == 403
    late = room.browser()
    answer = device.get(_visit(late, "sign-in"))
    monkeypatch.setattr("tidings.web.room.sign_in.real_now", lambda: real_now() + timedelta(minutes=11))
    assert late.post("sign-in/passkey", passkey=answer).status_code == 403


def test_an_answer_that_is_not_the_devices_is_refused(room: RoomSite) -> None:
    device = Device(count=5)
    editor = room.browser("editor")
    for wrong in (
        Device(origin="https://news.example.org.evil.example"),
        Device(origin="http://news.example.org"),
        Device(flags=PRESENT),
        Device(flags=VERIFIED),
    ):
        assert _add(editor, wrong).status_code == 422
    _add(editor, device)
    assert _add(editor, device).status_code == 422, "the same passkey twice"
    for changed in (
        Device(id=device.id),
        Device(id=device.id, key=device.key, origin="https://evil.example"),
        Device(id=device.id, key=device.key, flags=PRESENT, count=6),
        Device(id=device.id, key=device.key, count=5),
    ):
        answer = _sign_in(room, changed)
        assert answer.status_code == 403 and "This passkey does not fit" in answer.text, changed
    browser = room.browser()
    _visit(browser, "sign-in")
    for nonsense in ("", "{}", "[]", "null", '"x"', '{"id": 1}', "\0", "9" * 15_000, "[" * 9_000):
        assert browser.post("sign-in/passkey", passkey=nonsense).status_code in (403, 429), nonsense[:20]


def test_an_open_browser_cannot_be_given_a_passkey_later(room: RoomSite, monkeypatch: pytest.MonkeyPatch) -> None:
    editor, device = room.browser("editor"), Device()
    answer = device.create(_options(editor.get("account")))
    monkeypatch.setattr("tidings.web.room.account.real_now", lambda: real_now() + timedelta(minutes=31))
    assert "sign out and sign in again first" in editor.get("account").text
    assert editor.post("account/passkeys", passkey=answer).status_code == 403


def test_nobody_has_more_than_twenty_passkeys(room: RoomSite) -> None:
    member, now = room.member("editor"), real_now()
    with room.newsroom.runtime.store.write() as connection:
        added = [
            passkeys.add_passkey(connection, member, credential=f"c{n}", public_key="k", sign_count=0, name="", now=now)
            for n in range(passkeys.MOST_PASSKEYS + 1)
        ]
        assert added == [True] * passkeys.MOST_PASSKEYS + [False]
        team.remove_member(connection, member)
        assert passkeys.find_passkey(connection, "c1") is None


def test_passkeys_are_for_https_names_only() -> None:
    assert PasskeySite.from_url("https://News.example.org/uz/") == PasskeySite(
        "news.example.org", "https://news.example.org"
    )
    assert PasskeySite.from_url("http://localhost:8080/") == PasskeySite("localhost", "http://localhost:8080")
    for url in ("http://news.example.org/", "https://192.0.2.1/", "http://127.0.0.1:8080/", "https://[::1]/"):
        assert PasskeySite.from_url(url) is None


def _click(tab: Tab, selector: str) -> None:
    """Press Enter on a button and wait for the page that it leads to."""
    assert tab.look(f"(document.querySelector({selector!r}).focus(), document.activeElement.localName)") == "button"
    tab.key("Enter", leads_on=True)


@pytest.mark.slow
def test_chromium_joins_and_signs_in_with_its_passkeys(room: RoomSite, tmp_path: Path) -> None:
    url = room.url.replace("127.0.0.1", "localhost")
    room.newsroom.configure("https://news.example.org/\n", f"{url}\n")
    member = room.member("editor")
    with room.newsroom.runtime.store.write() as connection:
        link = sign_in.make_link(connection, member, real_now())
    with chromium(tmp_path / "profile", "en") as tab:
        tab.scripts(on=True)
        tab.ask("WebAuthn.enable")
        device = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        first = tab.ask("WebAuthn.addVirtualAuthenticator", options=device)["authenticatorId"]
        tab.open(f"{url}room/join/{link}")
        _click(tab, "form[data-passkey] button")
        assert "Welcome. You are signed in." in tab.words
        tab.open(f"{url}room/account")
        # The device already has a passkey: nothing is sent, and the page says what to do.
        tab.look("document.querySelector('#passkeys [data-passkey] button').click()")
        tab.look("new Promise(done => setInterval(() => document.querySelector('[data-failed]').hidden || done(), 50))")
        assert "Try again, or use another way." in tab.words
        tab.ask("WebAuthn.removeVirtualAuthenticator", authenticatorId=first)
        tab.ask("WebAuthn.addVirtualAuthenticator", options=device)
        tab.look("document.querySelector('#passkey-name').value = 'My laptop'")
        _click(tab, "#passkeys [data-passkey] button")
        assert "The passkey is added." in tab.words and "My laptop" in tab.words
        _click(tab, "form[action$='sign-out'] button")
        tab.open(f"{url}room/sign-in?next=calendar")
        _click(tab, "form[data-passkey] button")
        assert tab.look("location.pathname") == "/room/calendar"
        # A passkey does not work under another name of this machine, so the button is hidden.
        tab.open(f"{room.url}room/sign-in")
        assert tab.look("document.querySelector('[data-passkey]').hidden") is True
        tab.scripts(on=False)
        tab.open(f"{url}room/sign-in")
        assert "Sign in with a passkey" not in tab.words
