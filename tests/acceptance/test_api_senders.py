"""An edition by each provider's API gives the same ledger as by SMTP, with the provider's receipts."""

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
from tests.fixtures.newsroom import DAILY, HOUR, MONDAY, RunningNewsroom, open_newsroom
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
def newsroom(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}, public=False) as running:
        running.folder.env["PROVIDER_KEY"] = KEY
        yield running


def _use(newsroom: RunningNewsroom, kind: str, url: str) -> None:
    path = newsroom.folder.root / "tidings.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    [old] = [line for line in lines if line.startswith("mail:")]
    new = f"mail: {{type: {kind}, {SETTINGS[kind]}, endpoint: '{url}', allow_private: true, connections: 2}}"
    newsroom.configure(old, new)


def _rows(newsroom: RunningNewsroom) -> dict[str, Any]:
    d, p = t.deliveries.c, t.subscribers.c
    query = select(p.address, d.state, d.reason, d.receipt, d.via).where(d.subscriber == p.id, d.list == "digest")
    with newsroom.runtime.store.read() as connection:
        return {row.address: row for row in connection.execute(query)}


def _suppressed(newsroom: RunningNewsroom) -> list[str]:
    with newsroom.runtime.store.read() as connection:
        query = select(t.subscribers.c.address).join(
            t.suppressions, t.suppressions.c.hash == t.subscribers.c.address_hash
        )
        return list(connection.execute(query).scalars())


def _unsubscribe(kind: str, received: Received) -> str:
    """Return List-Unsubscribe as the provider received it."""
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
def test_an_edition_reaches_all_and_stores_receipts(newsroom: RunningNewsroom, kind: str) -> None:
    addresses = [newsroom.reader(f"r{number}") for number in range(5)]
    newsroom.item("one")
    with HttpSink(answer=lambda received: ANSWERS[kind](received, KEY)) as sink:
        _use(newsroom, kind, sink.url)
        newsroom.tick(MONDAY)
    rows = _rows(newsroom)
    assert {row.state for row in rows.values()} == {"accepted"}, rows
    assert sorted(rows) == sorted(addresses)
    assert len({row.receipt for row in rows.values()}) == 5
    assert {row.via for row in rows.values()} == {"127.0.0.1"}
    links = {_unsubscribe(kind, received) for received in sink.received}
    assert len(links) == 5 and all(link.startswith("<http") for link in links)


def test_a_wrong_key_stops_the_sender_and_loses_nobody(newsroom: RunningNewsroom) -> None:
    newsroom.reader("ada")
    newsroom.item("one")
    with HttpSink(answer=lambda received: providers.postmark(received, "another-key")) as sink:
        _use(newsroom, "postmark", sink.url)
        ticked = newsroom.tick(MONDAY)
    assert "error 10" in ticked.stalled[""] and KEY not in repr(ticked)
    assert [row.state for row in _rows(newsroom).values()] == ["pending"]
    with HttpSink(answer=lambda received: providers.postmark(received, KEY)) as sink:
        _use(newsroom, "postmark", sink.url)
        newsroom.tick(MONDAY + HOUR)
    assert [row.state for row in _rows(newsroom).values()] == ["accepted"]


def test_one_inactive_recipient_does_not_stop_others(newsroom: RunningNewsroom) -> None:
    for name in ("ada", "bob", "eve"):
        newsroom.reader(name)
    newsroom.item("one")

    def answer(received: Received) -> Step:
        if b"bob@example.org" in received.body:
            return said(422, {"ErrorCode": 406, "Message": "Found inactive addresses: bob@example.org."})
        return providers.postmark(received, KEY)

    with HttpSink(answer=answer) as sink:
        _use(newsroom, "postmark", sink.url)
        newsroom.tick(MONDAY)
    states = {address: row.state for address, row in _rows(newsroom).items()}
    assert states == {"ada@example.org": "accepted", "bob@example.org": "rejected", "eve@example.org": "accepted"}
    assert "inactive" in _rows(newsroom)["bob@example.org"].reason
    assert "bob@" not in _rows(newsroom)["bob@example.org"].reason
    # Postmark calls an address inactive after a bounce, a complaint, or a click of the team. Its webhook says which.
    assert _suppressed(newsroom) == []


@pytest.mark.parametrize(
    "words", ["Error parsing 'To': Illegal email address.", "The recipient address is not valid.", "Try later."]
)
def test_a_doubtful_answer_of_an_api_takes_nobody_off(newsroom: RunningNewsroom, words: str) -> None:
    for name in ("ada", "bob", "eve"):
        newsroom.reader(name)
    newsroom.item("one")

    def answer(received: Received) -> Step:
        if b"bob@example.org" in received.body:
            return said(422, {"ErrorCode": 300, "Message": words})
        return providers.postmark(received, KEY)

    with HttpSink(answer=answer) as sink:
        _use(newsroom, "postmark", sink.url)
        newsroom.tick(MONDAY)
    assert {address: row.state for address, row in _rows(newsroom).items()}["bob@example.org"] == "rejected"
    assert _suppressed(newsroom) == []
