"""An edition by each provider's API: the same ledger as by SMTP, with the provider's own receipts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.channels import providers
from tests.channels.providers import said
from tests.pipeline.desk import DAILY, HOUR, MONDAY, Desk, open_desk
from tidings.store import schema as t
from tidings.testing.http_sink import HttpSink, Received, Step

KEY = "a-key-of-the-provider"
SETTINGS = {
    "ses": "region: eu-central-1, access_key: AKIDEXAMPLE, secret_key: {env: PROVIDER_KEY}",
    "mailgun": "domain: mg.example.org, api_key: {env: PROVIDER_KEY}",
    "postmark": "server_token: {env: PROVIDER_KEY}",
    "sendgrid": "api_key: {env: PROVIDER_KEY}",
}
ANSWERS: dict[str, Callable[[Received, str], Step]] = {
    "ses": providers.ses,
    "mailgun": providers.mailgun,
    "postmark": providers.postmark,
    "sendgrid": providers.sendgrid,
}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}) as found:
        found.world.env["PROVIDER_KEY"] = KEY
        yield found


def _use(desk: Desk, kind: str, url: str) -> None:
    path = desk.world.root / "tidings.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    [old] = [line for line in lines if line.startswith("mail:")]
    new = f"mail: {{type: {kind}, {SETTINGS[kind]}, endpoint: '{url}', allow_private: true, connections: 2}}"
    desk.configure(old, new)


def _rows(desk: Desk) -> dict[str, Any]:
    d, p = t.deliveries.c, t.subscribers.c
    query = select(p.address, d.state, d.reason, d.receipt, d.via).where(d.subscriber == p.id, d.list == "digest")
    with desk.runtime.store.read() as connection:
        return {row.address: row for row in connection.execute(query)}


def _unsubscribe(kind: str, received: Received) -> str:
    """List-Unsubscribe as the provider got it."""
    body = {} if kind == "mailgun" else json.loads(received.body)
    if kind == "postmark":
        return next(one["Value"] for one in body["Headers"] if one["Name"] == "List-Unsubscribe")
    if kind == "sendgrid":
        return str(body["headers"]["List-Unsubscribe"])
    raw = base64.b64decode(body["Content"]["Raw"]["Data"]) if kind == "ses" else None
    form = providers.mailgun_form(received)["message"] if raw is None else raw
    assert isinstance(form, bytes)
    return str(message_from_bytes(form)["List-Unsubscribe"])


@pytest.mark.parametrize("kind", sorted(SETTINGS))
def test_an_edition_reaches_everybody_and_the_ledger_holds_the_receipts(desk: Desk, kind: str) -> None:
    addresses = [desk.reader(f"r{number}") for number in range(5)]
    desk.item("one")
    with HttpSink(answer=lambda received: ANSWERS[kind](received, KEY)) as sink:
        _use(desk, kind, sink.url)
        desk.tick(MONDAY)
    rows = _rows(desk)
    assert {row.state for row in rows.values()} == {"accepted"}, rows
    assert sorted(rows) == sorted(addresses)
    assert len({row.receipt for row in rows.values()}) == 5
    assert {row.via for row in rows.values()} == {"127.0.0.1"}
    links = {_unsubscribe(kind, received) for received in sink.received}
    assert len(links) == 5 and all(link.startswith("<http") for link in links)


def test_a_wrong_key_stops_the_sender_and_loses_nobody(desk: Desk) -> None:
    desk.reader("ada")
    desk.item("one")
    with HttpSink(answer=lambda received: providers.postmark(received, "another-key")) as sink:
        _use(desk, "postmark", sink.url)
        ticked = desk.tick(MONDAY)
    assert "error 10" in ticked.stalled[""] and KEY not in repr(ticked)
    assert [row.state for row in _rows(desk).values()] == ["pending"]
    with HttpSink(answer=lambda received: providers.postmark(received, KEY)) as sink:
        _use(desk, "postmark", sink.url)
        desk.tick(MONDAY + HOUR)
    assert [row.state for row in _rows(desk).values()] == ["accepted"]


def test_one_inactive_recipient_is_rejected_and_the_others_get_theirs(desk: Desk) -> None:
    for name in ("ada", "bob", "eve"):
        desk.reader(name)
    desk.item("one")

    def answer(received: Received) -> Step:
        if b"bob@example.org" in received.body:
            return said(422, {"ErrorCode": 406, "Message": "Found inactive addresses: bob@example.org."})
        return providers.postmark(received, KEY)

    with HttpSink(answer=answer) as sink:
        _use(desk, "postmark", sink.url)
        desk.tick(MONDAY)
    states = {address: row.state for address, row in _rows(desk).items()}
    assert states == {"ada@example.org": "accepted", "bob@example.org": "rejected", "eve@example.org": "accepted"}
    assert "inactive" in _rows(desk)["bob@example.org"].reason
    assert "bob@" not in _rows(desk)["bob@example.org"].reason
