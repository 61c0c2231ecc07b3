"""The journal of senders: intents and outcomes. After a crash at most one message of a connection is in doubt.

An intent is written before the first byte of a message, an outcome after its reply; neither is synced to disk. A crash
of the process loses none of them. A crash of the machine may: the journal has the boot id, and deliveries that were
handed over under another boot count as in doubt.

An intent is written only if the consent version is still that of the permission. No change of the version can commit
between this check and the write.

A line is a JSON array: `["P", [[delivery, fence], ...]]` before messages are prepared and `["M"]` afterwards,
`["I", delivery, fence]` for an intent, `["O", delivery, fence, {outcome}]` for an outcome. The beginning of a torn line
is never valid JSON. Every claim increases the fence of a delivery, so an old line does no harm.

Outcomes and the intents after them are one write, outcomes first: whatever is lost, each connection has at most one
intent without an outcome.
"""

from __future__ import annotations

from tidings.store.delivery.journal.files import FileJournal, FileWriter
from tidings.store.delivery.journal.record import (
    DeliveryKey,
    Journal,
    JournalRecord,
    JournalWriter,
    accepted_line,
    outcome_line,
)
from tidings.store.delivery.journal.table import TableJournal, TableWriter
from tidings.store.engine import Store, side_folder

__all__ = [
    "DeliveryKey",
    "FileJournal",
    "FileWriter",
    "Journal",
    "JournalRecord",
    "JournalWriter",
    "TableJournal",
    "TableWriter",
    "accepted_line",
    "open_journal",
    "outcome_line",
]


def open_journal(store: Store) -> Journal:
    """Open the journal of a store."""
    if store.path is not None:
        return FileJournal(side_folder(store.path) / "journal", store.path)
    return TableJournal(store)
