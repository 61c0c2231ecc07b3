"""Event webhooks: queue events as deliveries of the ledger, with the same rules as for every other delivery.

An event is recorded in the transaction that causes it (`store.service.events`). It is queued in a separate step, so
that sending mail never waits for a receiver.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from tidings.config.adapters import EventWebhookSettings
from tidings.model.dates import format_utc
from tidings.model.delivery import WEBHOOK_LANE, Purpose
from tidings.model.errors import RefusedError
from tidings.store.delivery import ledger
from tidings.store.engine import Store
from tidings.store.service.events import has_news, mark_queued, record_stories_out, unqueued_events

TEST_EVENT = "webhook.test"
"""Type of the event that a person sends to test a webhook."""


def queue_events(store: Store, webhooks: Mapping[str, EventWebhookSettings], now: datetime) -> int:
    """Make the deliveries of new events, one for each webhook that subscribes to the type. Returns their number.

    A second call adds nothing. An event without subscribed webhooks counts as queued too, so that a webhook that is
    added later gets no old events.
    """
    with store.read() as connection:
        if not (has_news(connection, now) if webhooks else unqueued_events(connection)):
            return 0
    count = 0
    while True:
        with store.write() as connection:
            record_stories_out(connection, now)
            events = unqueued_events(connection)
            rows = [
                _row(connection, name, event.uid, event.type, event.at, event.data, now)
                for event in events
                for name, settings in webhooks.items()
                if settings.wants(event.type)
            ]
            count += ledger.add_deliveries(connection, rows)
            mark_queued(connection, [event.id for event in events])
        if not events:
            return count


def queue_test(connection: Connection, webhooks: Mapping[str, EventWebhookSettings], name: str, now: datetime) -> str:
    """Queue a test event for a webhook, and return its id. Raises RefusedError for an unknown name."""
    if name not in webhooks:
        raise RefusedError(f"there is no webhook {name!r} in tidings.yaml.")
    uid = f"evt_{secrets.token_hex(16)}"
    ledger.add_deliveries(connection, [_row(connection, name, uid, TEST_EVENT, now, {"webhook": name}, now)])
    return uid


def _row(
    connection: Connection, name: str, uid: str, kind: str, at: datetime, data: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """Return the delivery of an event. Its bytes are made now, so that each retry sends the same bytes."""
    # One mailing a day, because claims read every open mailing, so there must be few.
    key = f"events:{name}:{now.astimezone(UTC):%Y-%m-%d}"
    envelope = {
        "type": str(kind),
        "timestamp": format_utc(at),
        "data": dict(data),
    }
    return {
        "mailing": ledger.get_or_create_mailing(connection, key, "event", now=now, open=True),
        "target": f"{WEBHOOK_LANE}{name}",
        "channel": f"{WEBHOOK_LANE}{name}",
        "story": uid,
        "purpose": Purpose.EVENT.value,
        "at": now,
        "details": {"type": str(kind), "body": json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))},
    }
