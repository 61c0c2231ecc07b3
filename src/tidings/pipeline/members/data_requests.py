"""What is a reader's own: who they are to us, their data by mail, and the mail in which they ask to be forgotten."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from tidings.config.settings import Newsroom
from tidings.model.delivery import Purpose, list_target
from tidings.model.tokens import TokenKeys, TokenPurpose
from tidings.pipeline.members.subscribe import make_mail, page_frame
from tidings.render.pages.pages import Pages
from tidings.store.delivery import ledger
from tidings.store.people import subscribers as roll
from tidings.store.people.data_export import export_subscriber


@dataclass(frozen=True, slots=True)
class SubscriberProfile:
    """A subscriber, with the lists that they are on."""

    id: int
    address: str
    address_hash: str
    language: str
    subscriptions: tuple[roll.Subscription, ...]
    paused_until: datetime | None

    @property
    def masked(self) -> str:
        """Enough for themselves to know it by: their link may have been passed on."""
        local, _, domain = self.address.rpartition("@")
        return f"{local[:1]}…@{domain}"


def load_profile(connection: Connection, subscriber: int) -> SubscriberProfile | None:
    """None for who was erased."""
    row = roll.find_by_id(connection, subscriber)
    if row is None:
        return None
    on = tuple(one for one in roll.subscriptions(connection, address=row.address) if one.state == roll.CONFIRMED)
    paused = roll.paused_until(connection, subscriber)
    return SubscriberProfile(row.id, row.address, row.address_hash, row.language, on, paused)


def queue_data_mail(
    connection: Connection, newsroom: Newsroom, keys: TokenKeys, pages: Pages, reader: SubscriberProfile, now: datetime
) -> None:
    """All that is known of them, to their own mailbox; once a day."""
    words = page_frame(newsroom, reader.language).words
    known = json.dumps(export_subscriber(connection, reader.id), ensure_ascii=False, indent=2)
    details = {
        "subject": words.gettext("What we know of you"),
        "text": f"{words.gettext('You asked for all that we know of you. It is this:')}\n\n{known}\n",
        "language": reader.language,
    }
    _queue(connection, "data", reader, details, now)


def queue_erasure_mail(
    connection: Connection, newsroom: Newsroom, keys: TokenKeys, pages: Pages, reader: SubscriberProfile, now: datetime
) -> None:
    """A mail with the link by which they say it once more; once a day."""
    frame = page_frame(newsroom, reader.language)
    gettext = frame.words.gettext
    details = make_mail(
        pages,
        frame,
        subject=gettext("Erase all that we know of you?"),
        texts=[gettext("We forget your address, your name and all that you chose. You get no more mail from us.")],
        link=f"{newsroom.site.url}erase/{keys.sign(TokenPurpose.ERASE, reader.id, '')}",
        label=gettext("Erase me"),
        last=gettext("It was not you? Then do nothing: without your word nothing happens."),
    )
    _queue(connection, "erase", reader, details, now)


def _queue(
    connection: Connection, kind: str, reader: SubscriberProfile, details: dict[str, str], now: datetime
) -> None:
    purpose = str(Purpose.CONFIRMATION)
    mailing = ledger.get_or_create_mailing(
        connection, f"{kind}:{reader.address_hash}:{now.date()}", purpose, now=now, open=True
    )
    ledger.add_deliveries(
        connection,
        [
            {
                "mailing": mailing,
                "target": list_target("", reader.id),
                "subscriber": reader.id,
                "address_hash": reader.address_hash,
                "purpose": purpose,
                "at": now,
                "details": details,
            }
        ],
    )
