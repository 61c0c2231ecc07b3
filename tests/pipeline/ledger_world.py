"""A ledger with readers, a mailing and a clock, for tests of delivery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from tidings.channels.smtp.relay import Login, SmtpRelay, Waits
from tidings.model.delivery import Delivery, list_target
from tidings.pipeline.deliver.deliverer import Deliverer, Handover, MailSender
from tidings.pipeline.deliver.outcomes import ResendPolicies
from tidings.store import migrate
from tidings.store import schema as t
from tidings.store.delivery import ledger
from tidings.store.engine import Store
from tidings.store.liveness import Liveness
from tidings.store.people import consent

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def open_store(url: str, root: Path) -> Store:
    """With its tables."""
    store = Store(url, root)
    migrate.create_or_check(store)
    return store


def add_readers(
    store: Store, names: Sequence[str], list_name: str = "digest", state: str = "confirmed"
) -> dict[str, int]:
    """Readers NAME@example.org; their ids by name."""
    found = {}
    with store.write() as connection:
        for name in names:
            address = f"{name}@example.org"
            row = insert(t.subscribers).values(
                address=address, address_hash=consent.address_hash(address), name=name, language="en", created=NOW
            )
            key = connection.execute(row).inserted_primary_key
            assert key is not None
            found[name] = int(key[0])
            connection.execute(
                insert(t.subscriptions).values(
                    subscriber=found[name],
                    list=list_name,
                    state=state,
                    topics=[],
                    frequency="weekly",
                    mark=0,
                    source="test",
                    created=NOW,
                    confirmed_at=NOW,
                )
            )
    return found


def add_edition(store: Store, number: int = 1, schedule: str = "friday") -> int:
    """An edition that is being sent."""
    with store.write() as connection:
        row = insert(t.editions).values(
            schedule=schedule,
            number=number,
            slot=None,
            cut=NOW,
            starts=NOW,
            state="sending",
            holds=[],
            stories=[],
            owner="",
            history=[],
            request={},
            at=NOW,
        )
        key = connection.execute(row).inserted_primary_key
        assert key is not None
        return int(key[0])


def add_mailing(
    store: Store,
    readers: Mapping[str, int],
    edition: int | None = None,
    list_name: str = "digest",
    purpose: str = "edition",
) -> int:
    """An open mailing with one delivery for each reader."""
    with store.write() as connection:
        mailing = ledger.mailing(
            connection, f"edition:{edition}", "edition", now=NOW, schedule="friday", edition=edition, open=True
        )
        hashes = {
            row.id: row.address_hash
            for row in connection.execute(select(t.subscribers.c.id, t.subscribers.c.address_hash))
        }
        ledger.add_deliveries(
            connection,
            [
                {
                    "mailing": mailing,
                    "target": list_target(list_name, subscriber),
                    "purpose": purpose,
                    "list": list_name,
                    "subscriber": subscriber,
                    # What is prepared here asks for neither; only a mail that has both takes the usual way.
                    "selection": 1,
                    "rendition": 1,
                    "address_hash": hashes[subscriber],
                    "at": NOW,
                }
                for subscriber in readers.values()
            ],
        )
    return mailing


def message_id(delivery: Delivery) -> str:
    """Stable over tries."""
    return f"<{delivery.id}@news.example.org>"


def prepare(deliveries: Sequence[Delivery]) -> dict[int, Handover]:
    """A small message for each."""
    return {
        delivery.id: Handover(
            data=f"Message-ID: {message_id(delivery)}\r\nSubject: news\r\n\r\nHello {delivery.target}.\r\n".encode(),
            sender="bounces@example.org",
            recipient=delivery.address,
        )
        for delivery in deliveries
    }


def deliverer(store: Store, liveness: Liveness, port: int, **options: Any) -> Deliverer:
    """The real thing, towards a sink."""
    reached: Callable[[str], None] = options.get("reached", lambda point: None)
    login = Login("127.0.0.1", port, timeout=10)
    connect = options.pop("connect", lambda: SmtpRelay(login, waits=Waits(10, 10), reached=reached))
    options.setdefault(
        "senders", [MailSender("relay", connect, options.pop("connections", 4), options.pop("rate", None))]
    )
    options.setdefault("prepare", prepare)
    options.setdefault("policies", ResendPolicies())
    options.setdefault("clock", lambda: NOW)
    return Deliverer(store, liveness, **options)


def rows(store: Store) -> list[dict[str, Any]]:
    """The ledger as `tidings ledger --json` shows it, with fence and crashes."""
    with store.read() as connection:
        extra = {
            row.id: {"crashes": row.crashes, "fence": row.fence, "owner": row.owner, "next_at": row.next_at}
            for row in connection.execute(select(t.deliveries))
        }
        return [entry.as_json() | extra[entry.id] for entry in ledger.entries(connection)]
