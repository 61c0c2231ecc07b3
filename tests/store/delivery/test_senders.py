"""The health of senders survives a restart, and all processes share it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tidings.model.throttling import REST_TIMES, SenderHealth
from tidings.store.delivery import senders
from tidings.store.engine import Store

NOW = datetime(2026, 11, 23, 15, 0, 0, 123_456, tzinfo=UTC)


def _fail(store: Store, now: datetime, fingerprint: str = "1", retry_after: float | None = None) -> SenderHealth:
    with store.write() as connection:
        return senders.record_failure(connection, "relay", fingerprint, "refused", now, retry_after)


def _known(store: Store, fingerprint: str = "1") -> dict[str, SenderHealth]:
    with store.read() as connection:
        return senders.load_healths(connection, {"relay": fingerprint, "other": "x"})


def test_failures_are_remembered_and_lengthen_the_rest(store: Store) -> None:
    assert _known(store) == {}
    first = _fail(store, NOW)
    assert _known(store) == {"relay": first} == {"relay": SenderHealth(1, "refused", NOW + REST_TIMES[0])}
    later = NOW + REST_TIMES[0]
    assert _fail(store, later) == SenderHealth(2, "refused", later + REST_TIMES[1])
    assert _known(store)["relay"].failures == 2


def test_one_outage_seen_by_two_processes_counts_once(store: Store) -> None:
    _fail(store, NOW)
    assert _fail(store, NOW + timedelta(seconds=1)).failures == 1


def test_an_accepted_message_ends_the_outage(store: Store) -> None:
    _fail(store, NOW)
    with store.write() as connection:
        senders.record_success(connection, "relay")
        senders.record_success(connection, "never-heard-of")
    assert _known(store) == {}


def test_changed_settings_end_the_rest(store: Store) -> None:
    """After correcting the password, an operator need not wait."""
    _fail(store, NOW)
    _fail(store, NOW + REST_TIMES[0])
    assert _known(store, "2") == {}
    assert _fail(store, NOW + REST_TIMES[0], "2").failures == 1
    assert _known(store, "1") == {}
