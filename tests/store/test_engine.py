"""Error messages of the store's engine, and how it splits long statements."""

from __future__ import annotations

from sqlalchemy.exc import OperationalError

from tidings.store.engine import describe_fault, split_chunks


def test_no_part_of_a_secret_stays_in_a_shortened_message() -> None:
    fault = OperationalError("SELECT 1", {}, Exception("x" * 295 + " hunter2-and-more\nsecond line"))
    shown = describe_fault(fault, lambda text: text.replace("hunter2-and-more", "[secret]"))
    assert len(shown) == 300 and "hunter" not in shown and "second" not in shown
    assert describe_fault(ValueError("no date")) == "ValueError: no date"


def test_long_lists_are_split_and_nothing_is_lost() -> None:
    parts = list(split_chunks(range(1_201)))
    assert [len(part) for part in parts] == [500, 500, 201]
    assert [number for part in parts for number in part] == list(range(1_201))
    assert list(split_chunks(iter(()))) == []
