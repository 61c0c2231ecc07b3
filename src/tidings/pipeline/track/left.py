"""A reader left by a provider's own unsubscribe link or suppression list: that is honoured as our own link is."""

from __future__ import annotations

from sqlalchemy import Connection

from tidings.pipeline.track.event import Event
from tidings.store.people import consent, subscribers


def happened(connection: Connection, event: Event) -> bool:
    """Off the list, or off all where nobody knows which. False if they were on none."""
    if event.whom.list and event.whom.subscriber is not None:
        return subscribers.unsubscribe(
            connection, event.whom.subscriber, event.whom.list, source=event.via, now=event.at
        )
    return consent.suppress(connection, event.whom.address_hash, "", subscribers.UNSUBSCRIBED, event.at)
