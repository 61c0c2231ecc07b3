"""What a person must hear of: each thing is told once, by mail and by channel, as `notify` says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from tidings.model.edition import Edition
from tidings.store.delivery import ledger
from tidings.store.delivery.notices import Notice, add_notice, mark_sent, unsent_notices
from tidings.store.engine import Store


def add(connection: Connection, key: str, kind: str, text: str, now: datetime) -> bool:
    """Note something to tell; False if it was noted before."""
    return add_notice(connection, Notice(key, kind, text, now))


def add_held(connection: Connection, edition: Edition, now: datetime) -> None:
    """An edition waits for a person."""
    reasons = "; ".join(hold.detail for hold in edition.holds)
    text = (
        f"Edition {edition.name} is held and nothing of it is sent: {reasons}.\n"
        f"Look at it: tidings preview {edition.name}\n"
        f"Then one of: tidings release, tidings recompose or tidings cancel {edition.name}"
    )
    add(connection, f"held:{edition.id}:{now.isoformat()}", "held", text, now)


def add_shortened(connection: Connection, edition: Edition, count: int, now: datetime) -> None:
    """Items were cut to 'read more' so that the mail stays under the size that mail programs clip."""
    text = f"Edition {edition.name}: {count} item(s) were shortened to 'read more' to stay under 102 KB."
    add(connection, f"shortened:{edition.id}", "shortened", text, now)


def send_notices(store: Store, now: datetime, *, to: Sequence[str], channel: str | None, title: str) -> int:
    """Turn what is untold into one mailing to `notify`; returns how many things it tells.

    Failures to deliver a notice make no notice, else a dead relay would fill the store.
    """
    with store.write() as connection:
        news = unsent_notices(connection)
        if not news:
            return 0
        mark_sent(connection, [notice.key for notice in news], now)
        if not to and not channel:
            return 0
        text = "\n\n".join(notice.text for notice in news)
        first = news[0].text.splitlines()[0]
        subject = f"[{title}] {first}" if len(news) == 1 else f"[{title}] {len(news)} things need a look"
        key = f"notice:{news[0].key}:{now.isoformat()}"
        mailing = ledger.get_or_create_mailing(connection, key, "notice", now=now, open=True)
        rows = [
            {
                "mailing": mailing,
                "target": f"notify:{number}",
                "purpose": "notice",
                "at": now,
                "details": {"address": address, "subject": subject, "text": text},
            }
            for number, address in enumerate(to, 1)
        ]
        if channel:
            rows.append(
                {
                    "mailing": mailing,
                    "target": f"channel:{channel}",
                    "channel": channel,
                    "purpose": "notice",
                    "at": now,
                    "details": {"subject": subject, "text": text},
                }
            )
        ledger.add_deliveries(connection, rows)
        return len(news)
