"""`tidings status` shows problems first, each with its remedy, and nothing else when all is well."""

from __future__ import annotations

import shutil
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.cli.shapes import misfits
from tests.fixtures.newsroom_folder import NewsroomFolder, item, make_newsroom_folder
from tests.runtime.test_service import prepared
from tidings.model.dates import to_json
from tidings.runtime.monitoring.status import status
from tidings.runtime.newsroom import Runtime
from tidings.runtime.schemas import make_schemas
from tidings.runtime.tick import tick
from tidings.store import schema as t
from tidings.store.delivery import senders
from tidings.store.locks import acquire_liveness
from tidings.store.service import heartbeat, pauses
from tidings.store.service.clock import advance_clock
from tidings.store.service.pauses import Scope

HOURLY = "cadence: {every: 1h}\ndeliver:\n  - {list: digest, frequency: all}\n"


def wrong(runtime: Runtime) -> list[tuple[str, str]]:
    """Return (problem, remedy) of each problem. Checks that the JSON fits its schema."""
    state = status(runtime, runtime.now())
    plain = {key: _through_json(value) for key, value in state.items()}
    assert misfits(plain, make_schemas()["status --json"]) == []
    assert state["ok"] == (not state["wrong"])
    return [(problem["what"], problem["mend"]) for problem in state["wrong"]]


def _through_json(value: object) -> object:
    if isinstance(value, dict):
        return {key: _through_json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_through_json(one) for one in value]
    return to_json(value) if isinstance(value, datetime) else value


@pytest.fixture
def folder(tmp_path: Path, database_url: str):  # type: ignore[no-untyped-def]
    with make_newsroom_folder(tmp_path / "n", database_url) as opened:
        prepared(opened)
        yield opened


def test_a_new_and_a_running_newsroom_have_no_problem(folder: NewsroomFolder) -> None:
    with folder.runtime() as runtime:
        assert wrong(runtime) == []
        tick(runtime, datetime.now(UTC))
        folder.write("content/fresh.en.md", item("Fresh water for all"))
        tick(runtime, datetime.now(UTC))
        state = status(runtime, runtime.now())
    assert state["ok"] and state["deliveries"]["accepted"] == 3 and state["queued"] == 0
    assert state["schema"] and state["disks"]["newsroom"]["free"] > 0 and state["store_bytes"] > 0
    assert state["last_tick"] and state["last_accepted"] and state["services"] == []
    assert [(source["source"], bool(source["read"]), source["problem"]) for source in state["sources"]] == [
        ("newsroom", True, "")
    ]
    assert [(sender["sender"], sender["up"]) for sender in state["senders"]] == [("127.0.0.1", True)]


def test_due_work_without_a_service_is_reported(folder: NewsroomFolder) -> None:
    folder.write("schedules/alert.yaml", HOURLY)
    with folder.runtime() as runtime:
        start = datetime.now(UTC)
        tick(runtime, start)
        runtime.set_clock(start + timedelta(hours=3))
        ((what, mend),) = wrong(runtime)
        assert what == "nobody_works" and "tidings run" in mend
        with runtime.store.write() as connection:
            pauses.pause(connection, Scope.ALL, "", start, until=None, reason="", who="me")
        assert wrong(runtime) == [], "what a person has paused is not overdue"


def test_dead_and_stopped_services_are_reported(folder: NewsroomFolder) -> None:
    now = datetime.now(UTC)
    with folder.runtime() as runtime:
        dead = acquire_liveness(runtime.store)
        with runtime.store.write() as connection:
            heartbeat.record_heartbeat(
                connection, heartbeat.Heartbeat(dead.owner, now, now, faults={"beat": "OperationalError"})
            )
        assert [what for what, _ in wrong(runtime)] == ["fault"], "it lives"
        with runtime.store.write() as connection:
            heartbeat.record_heartbeat(
                connection, heartbeat.Heartbeat(dead.owner, now, now - timedelta(hours=1), refused="a: wrong\nb")
            )
        diagnoses = dict(wrong(runtime))
        assert list(diagnoses) == ["standing_still", "refused"]
        assert "restart" in diagnoses["standing_still"] and diagnoses["refused"] == "tidings check"
        dead.release()
        assert [what for what, _ in wrong(runtime)] == ["died"]


def test_work_that_waits_for_a_person_is_reported(folder: NewsroomFolder) -> None:
    with folder.runtime() as runtime:
        tick(runtime, datetime.now(UTC))
        folder.write("content/fresh.en.md", item("Fresh", images='[{src: https://example.org/a.png, alt: ""}]'))
        folder.write("content/broken.en.md", "---\nkind: story\n---\nNo title.\n")
        tick(runtime, datetime.now(UTC))
        diagnoses = wrong(runtime)
        assert [what for what, _ in diagnoses] == ["held", "set_aside"]
        assert "tidings recompose alert/1" in diagnoses[0][1]
        folder.write("content/fresh.en.md", item("Fresh"))
        (folder.root / "content" / "broken.en.md").unlink()
        runtime.editions.cancel(next(iter(_held(runtime))), datetime.now(UTC), "me")
        tick(runtime, datetime.now(UTC))
        with runtime.store.write() as connection:
            newest = t.deliveries.c.list == "digest"
            connection.execute(update(t.deliveries).where(newest).values(state="in_doubt", next_at=None))
        kinds = dict(wrong(runtime))
        assert "tidings resolve" in kinds["in_doubt"]
        with runtime.store.write() as connection:
            connection.execute(update(t.deliveries).where(newest).values(state="quarantined", at=datetime.now(UTC)))
        assert "quarantined" in dict(wrong(runtime))


def _held(runtime: Runtime):  # type: ignore[no-untyped-def]
    from tidings.store.content import editions

    with runtime.store.read() as connection:
        return editions.list_editions(connection, states=["held"])


def test_senders_sources_clock_and_disk_are_checked(folder: NewsroomFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    with folder.runtime() as runtime:
        now = datetime.now(UTC)
        tick(runtime, now)
        (sender,) = runtime.newsroom.mail
        with runtime.store.write() as connection:
            for number in range(3):
                moment = now + timedelta(minutes=10 * number)
                senders.record_failure(connection, sender.name, sender.fingerprint, "535 no", moment)
        assert [what for what, _ in wrong(runtime)] == ["sender"]
        with runtime.store.write() as connection:
            senders.record_success(connection, sender.name)
        (folder.root / "content").rename(folder.root / "elsewhere")
        tick(runtime, datetime.now(UTC))
        assert [what for what, _ in wrong(runtime)] == ["source"]
        (folder.root / "elsewhere").rename(folder.root / "content")
        tick(runtime, datetime.now(UTC))
        assert wrong(runtime) == []
        monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(10**9, 10**9 - 10**8, 10**8))
        assert [what for what, _ in wrong(runtime)] == ["disk"]
        monkeypatch.undo()
        with runtime.store.write() as connection:
            advance_clock(connection, datetime.now(UTC) + timedelta(days=2))
        assert [what for what, _ in wrong(runtime)] == ["clock"]
