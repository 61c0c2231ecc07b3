"""An access request shows all data of a person. After an erasure, no table, file or log contains address or name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from tests.cli.shapes import misfits
from tests.fixtures.newsroom import DAILY, DAY, MONDAY, RunningNewsroom, open_newsroom
from tidings.pipeline import notices
from tidings.runtime.schemas import make_schemas
from tidings.store import schema as t
from tidings.store.delivery import ledger
from tidings.store.people import consent, subscribers
from tidings.store.people.data_export import export_address, export_subscriber
from tidings.store.people.erasure import erase_address, truncate_log

ADDRESS = "Zuleikha@xn--80ak6aa92e.example.org"
NAME = "Zuleikha Almasova"
MARKS = ("zuleikha", "almasova")


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url, {"daily": DAILY}, public=False) as running:
        yield running


def traces(newsroom: RunningNewsroom) -> list[str]:
    """Return the tables and files that contain the person's address or name."""
    result = []
    with newsroom.runtime.store.read() as connection:
        for table in t.metadata.sorted_tables:
            for row in connection.execute(select(table)):
                text = " ".join(
                    value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in row
                ).casefold()
                result += [f"{table.name}: {text[:300]}" for mark in MARKS if mark in text]
    for path in newsroom.folder.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes().decode("utf-8", errors="replace").casefold()
            result += [str(path) for mark in MARKS if mark in content]
    return result


def add_person(newsroom: RunningNewsroom) -> int:
    """Add a person with an accepted mail, a refused mail, a test, a bounce, a notice and a rate limit."""
    now = newsroom.now
    with newsroom.runtime.store.write() as connection:
        subscribers.add(
            connection,
            ADDRESS,
            "digest",
            language="en",
            frequency="daily",
            now=now,
            name=NAME,
            confirmed=True,
            source=f"card of {NAME}",
        )
        reader = subscribers.find_id(connection, ADDRESS)
        assert reader is not None
    answers = iter([f"250 OK <{ADDRESS}> queued", f"550 5.1.1 <{ADDRESS}>: no such user"])

    async def answer(server: Any, session: Any, envelope: Any) -> str:
        return next(answers) if "zuleikha" in envelope.rcpt_tos[0].casefold() else "250 OK"

    newsroom.folder.mails.handle_DATA = answer  # type: ignore[method-assign]
    newsroom.item("one")
    newsroom.tick(MONDAY)
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    digest = consent.address_hash(ADDRESS)
    with newsroom.runtime.store.write() as connection:
        mailing = ledger.get_or_create_mailing(connection, "test:1", "test", now=now, open=False)
        message = f"550 5.1.1 <{ADDRESS.upper()}>: no such user"
        details = {"address": ADDRESS, "language": "en"}
        row: dict[str, Any] = {"mailing": mailing, "target": "test:0:0", "purpose": "test", "at": now}
        ledger.add_deliveries(connection, [row | {"details": details, "state": "rejected", "reason": message}])
        connection.execute(
            insert(t.feedback).values(
                key="k",
                address_hash=digest,
                list="digest",
                kind="hard",
                code="5.1.1",
                text=f"To: {NAME} <{ADDRESS}>",
                via="mailbox",
                at=now,
            )
        )
        connection.execute(insert(t.request_counts).values(scope="address", key=digest, since=now, count=1))
        connection.execute(
            insert(t.journal).values(owner="o", entry=f'["O",1,1,{{"verdict":"accepted","receipt":"{message}"}}]')
        )
        consent.record(connection, digest, "digest", "confirmed", f"card of {NAME}", now, ip="192.0.2.1")
        notices.add(connection, "complaint:1", "complaint", f"{ADDRESS} complained of the digest", now)
    notices.send_notices(newsroom.runtime.store, now, to=["boss@example.org"], channel=None, title="N")
    return reader


def test_an_access_request_shows_all_data(newsroom: RunningNewsroom) -> None:
    reader = add_person(newsroom)
    with newsroom.runtime.store.read() as connection:
        known = export_subscriber(connection, reader)
        with pytest.raises(KeyError):
            export_subscriber(connection, reader + 1_000)
    assert not misfits(known, make_schemas()["subscribers show --json"])
    assert (known["address"], known["name"]) == (ADDRESS, NAME)
    assert [consent["what"] for consent in known["consents"]] == ["confirmed", "returned", "confirmed"]
    assert known["consents"][2]["ip"] == "192.0.2.1"
    assert [(mail["kind"], mail["state"]) for mail in known["mails"]] == [
        ("edition", "accepted"),
        ("edition", "rejected"),
        ("test", "rejected"),
    ]
    assert known["mails"][0]["stories"] == ["one"] and known["mails"][0]["subject"]
    assert "5.1.1" in [one["code"] for one in known["returns"]]


def test_data_that_keep_has_packed_is_shown_too(newsroom: RunningNewsroom) -> None:
    reader = add_person(newsroom)
    newsroom.configure("notify:", "keep: {ledger: 400d}\nnotify:")
    newsroom.tick(MONDAY.replace(year=2028))
    with newsroom.runtime.store.read() as connection:
        known = export_subscriber(connection, reader)
    assert known["mails"] == []
    assert [(mail["edition"], mail["list"], mail["stories"]) for mail in known["older_mails"]] == [
        ("daily/1", "digest", ["one"])
    ]


def test_nothing_names_an_erased_person(newsroom: RunningNewsroom) -> None:
    reader = add_person(newsroom)
    before = newsroom.entries()
    assert len({line.partition(":")[0] for line in traces(newsroom)}) >= 7
    with newsroom.runtime.store.write() as connection:
        subscribers.erase(connection, reader, now=newsroom.now)
    assert truncate_log(newsroom.runtime.store)
    assert traces(newsroom) == []
    # The counts stay. The hash stays too, so that nobody adds the person again by mistake.
    assert [(entry.id, entry.state) for entry in newsroom.entries()] == [(entry.id, entry.state) for entry in before]
    with newsroom.runtime.store.write() as connection:
        u = t.suppressions.c
        assert connection.execute(select(u.list, u.reason)).all() == [("", "erased")]
        chosen: dict[str, Any] = {"language": "en", "frequency": "daily", "now": newsroom.now}
        assert subscribers.add(connection, ADDRESS.lower(), "digest", **chosen) == "suppressed"


@pytest.mark.parametrize(
    "message", ["250 OK <{}> queued", "250 OK queued", "550 5.1.1 <{}>: no such user", "450 4.2.1 <{}>: later"]
)
def test_a_late_reply_about_an_erased_person_is_blanked(newsroom: RunningNewsroom, message: str) -> None:
    async def answer(server: Any, session: Any, envelope: Any) -> str:
        with newsroom.runtime.store.write() as connection:
            assert erase_address(connection, ADDRESS, now=newsroom.now)
        return message.format(ADDRESS)

    chosen: dict[str, Any] = {"language": "en", "frequency": "daily", "confirmed": True, "now": newsroom.now}
    with newsroom.runtime.store.write() as connection:
        subscribers.add(connection, ADDRESS, "digest", **chosen)
    newsroom.folder.mails.handle_DATA = answer  # type: ignore[method-assign]
    newsroom.item("one")
    newsroom.tick(MONDAY)
    [only] = newsroom.entries()
    assert only.state == {"2": "accepted", "5": "rejected", "4": "deferred"}[message[0]]
    assert message[0] == "2" or message.partition(" <")[0] in only.reason
    # The receipt stays, unless it contains the address: it finds the mail at the relay.
    assert bool(only.receipt) == (message == "250 OK queued")
    truncate_log(newsroom.runtime.store)
    assert traces(newsroom) == []


def test_every_table_with_addresses_is_erased() -> None:
    """A new column would be missed: add it here when `erase` handles it."""
    columns = {f"{table.name}.{column.name}" for table in t.metadata.sorted_tables for column in table.c}
    named = {name for name in columns if "address" in name.partition(".")[2] or name.endswith((".email", ".hash"))}
    assert named <= {
        "consent_locks.hash",
        "consents.address_hash",
        "deliveries.address_hash",
        "sign_up_requests.address",
        "feedback.address_hash",
        "subscribers.address",
        "subscribers.address_hash",
        "suppressions.hash",
        # A colleague, not a subscriber: `tidings team remove` deletes them.
        "team_members.email",
    }


def test_a_person_on_no_list_may_ask_for_data(newsroom: RunningNewsroom) -> None:
    """A person can be known without a list: from a test mail, or from an import of people who had left."""
    digest = consent.address_hash(ADDRESS)
    with newsroom.runtime.store.write() as connection:
        assert not erase_address(connection, ADDRESS, now=newsroom.now)
        mailing = ledger.get_or_create_mailing(connection, "test:1", "test", now=newsroom.now, open=False)
        row: dict[str, Any] = {"mailing": mailing, "purpose": "test", "at": newsroom.now}
        for number, address in enumerate([ADDRESS, "boss@example.org"]):
            ledger.add_deliveries(connection, [row | {"target": f"test:0:{number}", "details": {"address": address}}])
        consent.suppress(connection, digest, "digest", "unsubscribed", newsroom.now)
        known = export_address(connection, ADDRESS)
    assert not misfits(known, make_schemas()["subscribers show --json"])
    assert [mail["kind"] for mail in known["mails"]] == ["test"]
    assert [suppression["list"] for suppression in known["suppressions"]] == ["digest"]
    with newsroom.runtime.store.write() as connection:
        assert erase_address(connection, ADDRESS.lower(), now=newsroom.now)
    truncate_log(newsroom.runtime.store)
    assert traces(newsroom) == []
    with newsroom.runtime.store.write() as connection:
        assert not erase_address(connection, ADDRESS, now=newsroom.now)
