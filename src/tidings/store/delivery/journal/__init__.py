"""What each sender is about to do and has just done, so that a crash leaves at most one message a connection in doubt.

An intent is written before the first byte of a message, an outcome after its reply; neither is synced to disk. A crash
of the process loses nothing of it. A crash of the machine does: the journal carries the mark of the boot, and what was
handed over under another boot counts as in doubt.

An intent is noted only if the counter of `consent` still stands where it stood when the message was permitted, and no
change of it can commit between the look and the note.

A line is a JSON array: `["P", [[delivery, fence], ...]]` for what is about to be prepared and `["M"]` once all of it
is made, `["I", delivery, fence]`, or `["O", delivery, fence, {outcome}]`: the beginning of a torn line is never valid
JSON. A row is told by its fence, which every claim moves on, so that a line that stands for longer than needed harms
nothing.

Outcomes and the intents that follow them go out in one write, the outcomes first: whatever of it is lost, of each
connection at most one intent stands without its outcome.
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
    """The journal that belongs to a store."""
    if store.path is not None:
        return FileJournal(side_folder(store.path) / "journal", store.path)
    return TableJournal(store)
