"""Every table. Moments are integers (microseconds since 1970, UTC); what is unique is a constraint, never a hope."""

from __future__ import annotations

from tidings.store.columns import EPOCH, Moment, RowId
from tidings.store.schema.base import metadata
from tidings.store.schema.content import (
    archives,
    documents,
    editions,
    facts,
    items,
    pauses,
    renditions,
    schedules,
    selection_stories,
    selections,
    set_aside,
    shelf_entries,
    shelves,
    slots,
    uses,
)
from tidings.store.schema.people import (
    addresses,
    consents,
    imports,
    limits,
    requests,
    returns,
    subscribers,
    subscriptions,
    suppressions,
)
from tidings.store.schema.sending import deliveries, had, journal, mailings, notices, paces, senders, tallies

__all__ = [
    "EPOCH",
    "Moment",
    "RowId",
    "addresses",
    "archives",
    "consents",
    "deliveries",
    "documents",
    "editions",
    "facts",
    "had",
    "imports",
    "items",
    "journal",
    "limits",
    "mailings",
    "metadata",
    "notices",
    "paces",
    "pauses",
    "renditions",
    "requests",
    "returns",
    "schedules",
    "selection_stories",
    "selections",
    "senders",
    "set_aside",
    "shelf_entries",
    "shelves",
    "slots",
    "subscribers",
    "subscriptions",
    "suppressions",
    "tallies",
    "uses",
]
