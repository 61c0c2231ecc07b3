"""The journal: intents and outcomes survive the process, and another boot is noticed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tidings.model.delivery import Outcome, Verdict
from tidings.store import schema as t
from tidings.store.delivery import journal as journals
from tidings.store.delivery.journal import DeliveryKey, Journal, JournalWriter, delete_entries
from tidings.store.engine import Store
from tidings.store.people import consent

ACCEPTED = Outcome(Verdict.ACCEPTED, receipt="Ok: queued as ж1", via="mx.example")


def _count(store: Store) -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(t.journal)).scalar_one())


def _settle(store: Store, writer: JournalWriter, keys: list[DeliveryKey]) -> None:
    entries = writer.settled_entries(keys)
    with store.write() as connection:
        delete_entries(connection, writer.owner, entries)
    writer.remove_settled(keys, entries)


def test_another_process_reads_the_notes_of_two_workers(store: Store) -> None:
    journal = Journal(store)
    first, second = journal.writer("host-1-aa"), journal.writer("host-1-aa")
    first.begin([(7, 3)], 0)
    first.queue_accepted((7, 3), ACCEPTED.receipt, ACCEPTED.via)
    first.flush()
    second.begin([(8, 1)], 0)
    other = journal.writer("host-1-aab")
    other.begin([(9, 1)], 0)
    record = Journal(store).read("host-1-aa")
    assert record.intents == {(7, 3), (8, 1)}
    assert record.outcomes == {(7, 3): ACCEPTED}
    assert record.boots == {journal.boot()}
    assert journal.owners() == {"host-1-aa", "host-1-aab"}
    for writer in (first, second, other):
        writer.close()


def test_settling_for_one_worker_leaves_the_others_alone(store: Store) -> None:
    journal = Journal(store)
    first, second = journal.writer("me"), journal.writer("me")
    first.begin([(7, 1)], 0)
    # The second worker claimed the same delivery, which the first had deferred and not yet settled.
    second.begin([(7, 2)], 0)
    _settle(store, first, [(7, 1)])
    assert journal.read("me").intents == {(7, 2)}
    assert journal.read("me").boots == {journal.boot()}
    first.begin([(8, 1)], 0)
    assert journal.read("me").intents == {(7, 2), (8, 1)}
    first.close()
    second.close()


def test_an_entry_goes_once_all_its_deliveries_are_settled(store: Store) -> None:
    journal = Journal(store)
    writer = journal.writer("me")
    writer.begin([(1, 1), (2, 1)], 0)
    writer.queue_accepted((1, 1), "Ok", "mx")
    writer.begin([(3, 1)], 0)
    _settle(store, writer, [(1, 1)])
    assert journal.read("me").intents == {(1, 1), (2, 1), (3, 1)}
    _settle(store, writer, [(2, 1)])
    # The entry also has the outcome of the first delivery, which does no harm.
    assert journal.read("me").intents == {(3, 1)}
    _settle(store, writer, [(3, 1)])
    assert _count(store) == 1
    writer.close()
    assert _count(store) == 0


def test_only_unsettled_deliveries_stay_after_closing(store: Store) -> None:
    journal = Journal(store)
    tidy, untidy = journal.writer("me"), journal.writer("me")
    tidy.begin([(1, 1)], 0)
    _settle(store, tidy, [(1, 1)])
    tidy.close()
    untidy.begin([(2, 1)], 0)
    untidy.close()
    assert journal.read("me").intents == {(2, 1)}
    journal.forget("me")
    assert _count(store) == 0


def test_every_field_of_an_outcome_comes_back(store: Store) -> None:
    journal = Journal(store)
    writer = journal.writer("me")
    outcome = Outcome(Verdict.DEFERRED, reason='429 "slow"\n', via="x", retry_after=1.5, disable=True)
    writer.queue_outcome((1, 1), outcome)
    writer.flush()
    assert journal.read("me").outcomes == {(1, 1): outcome}
    writer.close()


def test_queued_outcomes_are_written_once(store: Store) -> None:
    journal = Journal(store)
    writer = journal.writer("me")
    writer.begin([(7, 3)], 0)
    writer.queue_accepted((7, 3), ACCEPTED.receipt, ACCEPTED.via)
    assert journal.read("me").outcomes == {}
    writer.flush()
    before = _count(store)
    writer.flush()
    assert _count(store) == before
    assert journal.read("me").outcomes == {(7, 3): ACCEPTED}
    writer.close()


def test_another_boot_is_noticed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(store)
    writer = journal.writer("me")
    assert journal.read("me").boots == {journal.boot()}
    if store.is_sqlite:
        boot = tmp_path / "boot"
        boot.write_text("another-boot\n")
        monkeypatch.setattr(journals, "_BOOT_ID", boot)
        assert journal.read("me").boots != {journal.boot()}
    writer.close()


def test_no_message_begins_once_somebody_has_left(store: Store) -> None:
    journal = Journal(store)
    writer = journal.writer("me")
    assert writer.begin([(1, 1)], 0)
    writer.queue_accepted((1, 1), "Ok", "mx")
    with store.write() as connection:
        consent.advance_version(connection)
    assert not writer.begin([(2, 1), (3, 1)], 0)
    assert journal.read("me").intents == {(1, 1)}
    assert journal.read("me").outcomes == {}
    assert writer.begin([(2, 1), (3, 1)], 1)
    record = journal.read("me")
    assert record.intents == {(1, 1), (2, 1), (3, 1)}
    assert set(record.outcomes) == {(1, 1)}
    writer.close()


def test_no_intent_is_written_while_somebody_leaves(store: Store) -> None:
    """The intent waits for the transaction that changes consent, and is then refused."""
    writer = Journal(store).writer("me")
    results: list[bool] = []
    beginning = threading.Thread(target=lambda: results.append(writer.begin([(1, 1)], 0)))
    with store.write() as connection:
        consent.advance_version(connection)
        beginning.start()
        beginning.join(0.3)
        assert beginning.is_alive()
    beginning.join(120)
    assert results == [False]
    assert Journal(store).read("me").intents == set()
    writer.close()


def test_messages_count_as_prepared_only_until_their_intent(store: Store) -> None:
    journal = Journal(store)
    writer = journal.writer("me")
    with store.write() as connection:
        entry = writer.note_preparing(connection, [(1, 1), (2, 1)])
    assert journal.read("me").prepared == {(1, 1), (2, 1)}
    writer.end_preparing(entry)
    assert journal.read("me").prepared == set()
    writer.close()


def test_a_failing_write_is_an_error_with_the_cause(store: Store) -> None:
    writer = Journal(store).writer("me")
    with store.write() as connection:
        connection.exec_driver_sql("DROP TABLE journal")
    with pytest.raises(OSError, match="the journal cannot be written"):
        writer.begin([(1, 1)], 0)
    writer._connection.close()
