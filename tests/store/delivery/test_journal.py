"""Intents and outcomes survive the process; what is torn is ignored; another boot is noticed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.fixtures.ledger import open_store
from tidings.model.delivery import Outcome, Verdict
from tidings.store import schema as t
from tidings.store.delivery import journal as journals
from tidings.store.delivery.journal import accepted_line, files, outcome_line
from tidings.store.engine import Store
from tidings.store.people import consent

TAKEN = Outcome(Verdict.ACCEPTED, receipt="Ok: queued as ж1", via="mx.example")


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    made = open_store(database_url, tmp_path)
    yield made
    made.close()


def _left(store: Store) -> int:
    if store.path is not None:
        return len(list((store.path.parent / "tidings.db.d" / "journal").iterdir()))
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(t.journal)).scalar_one())


def test_what_two_workers_noted_is_read_by_another(store: Store) -> None:
    journal = journals.open_journal(store)
    first, second = journal.writer("host-1-aa", 1), journal.writer("host-1-aa", 2)
    first.begin([(7, 3)], 0)
    first.queue(outcome_line(7, 3, TAKEN))
    first.flush()
    second.begin([(8, 1)], 0)
    other = journal.writer("host-1-aab", 1)
    other.begin([(9, 1)], 0)
    record = journals.open_journal(store).read("host-1-aa")
    assert record.intents == {(7, 3), (8, 1)}
    assert record.outcomes == {(7, 3): TAKEN}
    assert record.boots == {journal.boot()}
    assert journal.owners() == {"host-1-aa", "host-1-aab"}
    for writer in (first, second, other):
        writer.close()


def test_cutting_one_worker_leaves_the_others_alone(store: Store) -> None:
    journal = journals.open_journal(store)
    first, second = journal.writer("me", 1), journal.writer("me", 2)
    first.begin([(7, 1)], 0)
    # The same delivery, deferred by the first worker and claimed by the second before the first has cut.
    second.begin([(7, 2)], 0)
    first.remove_settled([(7, 1)])
    assert journal.read("me").intents == {(7, 2)}
    assert journal.read("me").boots == {journal.boot()}
    first.begin([(8, 1)], 0)
    assert journal.read("me").intents == {(7, 2), (8, 1)}
    first.close()
    second.close()


def test_nothing_stays_of_what_was_settled_and_all_of_what_was_not(store: Store) -> None:
    journal = journals.open_journal(store)
    tidy, untidy = journal.writer("me", 1), journal.writer("me", 2)
    tidy.begin([(1, 1)], 0)
    tidy.remove_settled([(1, 1)])
    tidy.close()
    untidy.begin([(2, 1)], 0)
    untidy.close()
    assert journal.read("me").intents == {(2, 1)}
    journal.forget("me")
    assert _left(store) == 0


def test_every_field_of_an_outcome_comes_back(store: Store) -> None:
    journal = journals.open_journal(store)
    writer = journal.writer("me", 1)
    outcome = Outcome(Verdict.DEFERRED, reason='429 "slow"\n', via="x", retry_after=1.5, disable=True)
    writer.queue(outcome_line(1, 1, outcome))
    writer.flush()
    assert journal.read("me").outcomes == {(1, 1): outcome}
    writer.close()


def test_a_torn_last_line_is_ignored_at_every_length(tmp_path: Path) -> None:
    journal = journals.FileJournal(tmp_path)
    writer = journal.writer("me", 1)
    writer.begin([(123, 45)], 0)
    writer.queue(outcome_line(123, 45, TAKEN))
    writer.flush()
    path = tmp_path / "me.1"
    whole = path.read_bytes()
    first = len(b"\n".join(whole.split(b"\n")[:2])) + 1
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        record = journal.read("me")
        assert record.intents == {(123, 45)}
        assert record.outcomes == {}
    for length in range(first):
        path.write_bytes(whole[:length])
        assert journal.read("me").intents == set()
    writer.close()


def test_a_torn_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    journal = journals.FileJournal(tmp_path)
    writer = journal.writer("me", 1)
    with (tmp_path / "me.1").open("ab") as file:
        file.write(b'["O",1,1,{"verdict":"acce\n')
    writer.begin([(2, 1)], 0)
    record = journal.read("me")
    assert record.intents == {(2, 1)}
    assert record.outcomes == {}
    writer.close()


def test_a_full_disk_is_an_error_before_the_message_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = journals.FileJournal(tmp_path).writer("me", 1)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:5]) if len(data) > 5 else write(fd, data))
    with pytest.raises(OSError, match="has room for 5 of 10 bytes"):
        writer.begin([(1, 1)], 0)
    monkeypatch.undo()
    writer.begin([(2, 1)], 0)
    assert journals.FileJournal(tmp_path).read("me").intents == {(2, 1)}
    writer.close()


def test_another_boot_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = journals.FileJournal(tmp_path / "journal")
    writer = journal.writer("me", 1)
    boot = tmp_path / "boot"
    boot.write_text("another-boot\n")
    monkeypatch.setattr(files, "_BOOT_ID", boot)
    assert journal.boot() == "another-boot"
    assert journal.read("me").boots != {journal.boot()}
    writer.close()


def test_a_line_is_json_with_nothing_but_ascii(tmp_path: Path) -> None:
    writer = journals.FileJournal(tmp_path).writer("me", 1)
    writer.queue(outcome_line(1, 2, TAKEN))
    writer.flush()
    lines = (tmp_path / "me.1").read_bytes().decode("ascii").splitlines()
    assert [json.loads(line)[0] for line in lines] == ["B", "O"]
    writer.close()


def test_outcomes_go_before_the_intents_of_the_same_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut anywhere, of each connection at most one intent stands without its outcome."""
    writer = journals.FileJournal(tmp_path).writer("me", 1)
    writes: list[bytes] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(data) or write(fd, data))
    writer.begin([(1, 1), (2, 1)], 0)
    for delivery in (1, 2):
        writer.queue(accepted_line(delivery, 1, "Ok", "mx"))
    writer.begin([(3, 1), (4, 1)], 0)
    assert [[json.loads(line)[:2] for line in one.splitlines()] for one in writes] == [
        [["I", 1], ["I", 2]],
        [["O", 1], ["O", 2], ["I", 3], ["I", 4]],
    ]
    writer.close()


def test_what_is_kept_is_noted_once(store: Store) -> None:
    journal = journals.open_journal(store)
    writer = journal.writer("me", 1)
    writer.begin([(7, 3)], 0)
    writer.queue(accepted_line(7, 3, TAKEN.receipt, TAKEN.via))
    assert journal.read("me").outcomes == {}
    writer.flush()
    writer.flush()
    assert journal.read("me").outcomes == {(7, 3): TAKEN}
    writer.close()


def test_none_of_many_begins_once_somebody_has_left(store: Store) -> None:
    journal = journals.open_journal(store)
    writer = journal.writer("me", 1)
    assert writer.begin([(1, 1)], 0)
    writer.queue(accepted_line(1, 1, "Ok", "mx"))
    with store.write() as connection:
        consent.advance_version(connection)
    assert not writer.begin([(2, 1), (3, 1)], 0)
    assert journal.read("me").intents == {(1, 1)}
    assert writer.begin([(2, 1), (3, 1)], 1)
    record = journal.read("me")
    assert record.intents == {(1, 1), (2, 1), (3, 1)}
    assert set(record.outcomes) == {(1, 1)}
    writer.close()


def test_what_was_made_is_prepared_no_more(store: Store) -> None:
    journal = journals.open_journal(store)
    writer = journal.writer("me", 1)
    writer.begin_preparing([(1, 1), (2, 1)])
    assert journal.read("me").prepared == {(1, 1), (2, 1)}
    writer.end_preparing()
    assert journal.read("me").prepared == set()
    writer.begin_preparing([(3, 1)])
    assert journal.read("me").prepared == {(3, 1)}
    writer.close()
