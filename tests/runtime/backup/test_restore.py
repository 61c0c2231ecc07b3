"""A backup brought back: the newsroom as it was, and nothing that may have gone out since goes a second time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import inspect, select, text, update

from tests.pipeline.desk import DAILY, DAY, HOUR, MONDAY, Desk, open_desk
from tidings.model.errors import RefusedError
from tidings.runtime.backup import restore as restoring
from tidings.runtime.backup.backup import make_backup
from tidings.runtime.backup.restore import RestoreResult, restore
from tidings.runtime.monitoring.status import status
from tidings.runtime.newsroom import open_runtime
from tidings.store import schema as t
from tidings.store.content import schedules
from tidings.store.delivery import ledger
from tidings.store.engine import Store
from tidings.store.people import subscribers
from tidings.store.service import clock, restored


@pytest.fixture
def desk(tmp_path: Path, database_url: str) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", database_url, {"daily": DAILY}) as found:
        yield found
        found.runtime.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}) as found:
        yield found
        found.runtime.close()


def quiet(what: str, done: int, total: int) -> None:
    """No bar."""


def yes(question: str) -> None:
    """A person who agrees."""


def never(question: str) -> None:
    raise AssertionError(f"asked: {question}")


def saved(desk: Desk, name: str = "backup.tar.gz") -> Path:
    path = desk.world.root.parent / name
    make_backup(desk.world.root, path, quiet, desk.world.env)
    return path


def brought_back(desk: Desk, archive: Path) -> RestoreResult:
    """What `tidings restore` does, and the newsroom opened again."""
    desk.runtime.close()
    found = restore(archive, desk.world.root, agree=yes, progress=quiet, env=desk.world.env)
    desk.runtime = desk.world.runtime()
    return found


def release(desk: Desk, name: str) -> None:
    desk.runtime.at(desk.now)
    desk.runtime.composer.release(desk.edition(name), desk.now, "ann")
    desk.runtime.deliver()


def test_what_was_sent_since_is_held_and_never_sent_again(desk: Desk) -> None:
    """listmonk #1801: a restored copy sent everything once more."""
    ada, grace = desk.reader("ada"), desk.reader("grace")
    desk.item("one")
    desk.tick(MONDAY)
    desk.item("two")
    desk.tick(MONDAY + HOUR)
    archive = saved(desk)
    desk.tick(MONDAY + DAY)
    assert [desk.read(reader) for reader in (ada, grace)] == [[["one"], ["two"]]] * 2
    before = len(desk.world.mails.caught)

    brought_back(desk, archive)
    assert desk.editions() == ["daily/1 done"]
    done = desk.tick(MONDAY + DAY)
    assert "daily" in done.restored
    assert desk.editions() == ["daily/1 done", "daily/2 held"]
    assert [hold.reason.value for hold in desk.edition("daily/2").holds] == ["restored"]
    found = status(desk.runtime, desk.now)
    assert (found["restored"]["waiting"], found["ok"]) == (["daily/2"], False)
    readers = [mail for mail in desk.world.mails.caught[before:] if mail.recipient != "comms@example.org"]
    assert readers == []
    assert any("restored from a backup" in text for text in desk.notices())

    # The person looks, and lets it go: only then does it.
    release(desk, "daily/2")
    assert desk.read(ada) == [["one"], ["two"], ["two"]]
    # From here on all goes by itself again.
    desk.item("three")
    desk.tick(MONDAY + 2 * DAY)
    assert desk.read(grace)[-1] == ["three"]
    assert status(desk.runtime, desk.now)["restored"] is None


def test_what_had_gone_out_is_settled_by_a_word(desk: Desk) -> None:
    """The person found it in the mail host's log: nobody gets it again, in no later edition either."""
    ada = desk.reader("ada")
    desk.item("one")
    archive = saved(desk)
    desk.tick(MONDAY)
    brought_back(desk, archive)
    desk.tick(MONDAY)
    with desk.runtime.store.write() as connection:
        assert restored.had_gone_out(connection, desk.edition("daily/1"), desk.now, "ann") == 1
    desk.item("two")
    desk.tick(MONDAY + DAY)
    assert desk.editions() == ["daily/1 done", "daily/2 done"]
    assert desk.read(ada) == [["one"], ["two"]]
    with desk.runtime.store.write() as connection, pytest.raises(RefusedError, match="not held because of a restore"):
        restored.had_gone_out(connection, desk.edition("daily/2"), desk.now, "ann")


def test_what_is_put_back_after_the_restore_waits_too(small: Desk) -> None:
    ada = small.reader("ada")
    archive = saved(small)
    small.item("one")
    small.tick(MONDAY)
    brought_back(small, archive)
    small.tick(MONDAY + HOUR)
    assert small.editions() == []
    # The story is put back, as somebody would who finds it missing. The slot that had come due found nothing to send;
    # the next edition is held all the same.
    small.item("one")
    small.item("two")
    small.tick(MONDAY + DAY)
    assert small.read(ada) == [["one"]]
    (held,) = [name for name in small.editions() if "held" in name]
    # Superseded while it waits: its stories may have gone out, so the newer one waits too.
    small.item("three")
    small.tick(MONDAY + 2 * DAY)
    assert small.editions()[-1] == "daily/2 held"
    assert held == "daily/1 held"
    assert small.read(ada) == [["one"]]
    release(small, "daily/2")
    assert sorted(small.read(ada)[-1]) == ["one", "three", "two"]


def test_nothing_is_held_that_did_not_come_due(small: Desk) -> None:
    ada = small.reader("ada")
    small.item("one")
    archive = saved(small)
    brought_back(small, archive)
    small.tick(MONDAY - HOUR)
    small.tick(MONDAY)
    assert small.read(ada) == [["one"]]


def test_restored_in_mid_send(desk: Desk) -> None:
    """Part was accepted, part on the wire, part waiting: the rest waits, what was on the wire is in doubt."""
    readers = [desk.reader(f"r{number}") for number in range(6)]
    desk.item("one")
    desk.tick(MONDAY, deliver=False)
    d = t.deliveries
    with desk.runtime.store.write() as connection:
        ids = list(connection.execute(select(d.c.id).order_by(d.c.id)).scalars())
        dead = {"owner": desk.runtime.owner, "fence": 1, "lease_until": MONDAY + DAY}
        connection.execute(update(d).where(d.c.id == ids[0]).values(state="accepted", attempts=1))
        connection.execute(update(d).where(d.c.id == ids[1]).values(state="handed", **dead))
        connection.execute(update(d).where(d.c.id == ids[2]).values(state="leased", **dead))
        connection.execute(update(d).where(d.c.id == ids[3]).values(state="deferred", next_at=MONDAY))
        connection.execute(update(d).where(d.c.id == ids[4]).values(state="in_doubt", doubts=1, next_at=MONDAY))
    archive = saved(desk)
    found = brought_back(desk, archive)
    assert (found.held, found.in_doubt) == (("daily/1",), 1)
    desk.tick(MONDAY + HOUR)
    states = [entry.state for entry in desk.entries()]
    assert states == ["accepted", "in_doubt", "pending", "deferred", "in_doubt", "pending"]
    assert all(not desk.mails(reader) for reader in readers)

    release(desk, "daily/1")
    states = [entry.state for entry in desk.entries()]
    assert states == ["accepted", "in_doubt", "accepted", "accepted", "in_doubt", "accepted"]
    assert [bool(desk.mails(reader)) for reader in readers] == [False, False, True, True, False, True]
    with desk.runtime.store.write() as connection:
        ledger.resolve(connection, ids[1], "resend", desk.now)
    desk.tick()
    assert desk.mails(readers[1])
    assert [reader for reader in readers if len(desk.mails(reader)) > 1] == []


def test_half_composed_and_waiting_editions_are_held(small: Desk) -> None:
    small.reader("ada")
    small.schedule("daily", DAILY + "approval: {by: [boss@example.org], ahead: 1h, silence: send}\n")
    small.item("one")
    small.tick(MONDAY - HOUR)
    assert small.editions() == ["daily/1 held"]
    with small.runtime.store.write() as connection:
        connection.execute(update(t.editions).values(state="composing", owner="somebody"))
    composing = saved(small, "composing.tar.gz")
    with small.runtime.store.write() as connection:
        connection.execute(update(t.editions).values(state="held"))
    held = saved(small, "held.tar.gz")
    for archive in (composing, held):
        assert brought_back(small, archive).held == ("daily/1",)
        # Silence is no answer any more.
        small.tick(MONDAY + HOUR)
        assert "restored" in {hold.reason.value for hold in small.edition("daily/1").holds}
        assert small.mails("ada@example.org") == []


def test_other_mail_that_waited_is_dropped(desk: Desk) -> None:
    desk.reader("ada")
    with desk.runtime.store.write() as connection:
        mailing = ledger.mailing(connection, "test:1", "test", now=desk.now, open=True)
        row = {"mailing": mailing, "target": "test:1", "purpose": "test", "at": desk.now}
        details = {"address": "boss@example.org", "subject": "A test", "text": "."}
        ledger.add_deliveries(connection, [{**row, "details": details}])
    found = brought_back(desk, saved(desk))
    assert found.dropped == 1
    desk.tick(MONDAY - HOUR)
    assert desk.mails("boss@example.org") == []


def test_numbers_given_since_are_not_given_again(desk: Desk) -> None:
    """A link to leave names its reader by number, a Message-ID its mailing: neither may mean another later."""
    archive = saved(desk)
    lost = desk.reader("lost")
    desk.item("one")
    desk.tick(MONDAY)
    with desk.runtime.store.read() as connection:
        number = subscribers.find(connection, lost)
        mailing = connection.execute(select(t.mailings.c.id)).scalars().all()
    assert number is not None
    brought_back(desk, archive)
    new = desk.reader("new")
    desk.item("one")
    desk.tick(MONDAY + DAY)
    with desk.runtime.store.read() as connection:
        assert (subscribers.find(connection, new) or 0) > number
        assert min(connection.execute(select(t.mailings.c.id)).scalars()) > max(mailing)


def test_the_clock_does_not_go_back(desk: Desk) -> None:
    archive = saved(desk)
    desk.tick(MONDAY + DAY)
    brought_back(desk, archive)
    with desk.runtime.store.read() as connection:
        assert clock.read_clock(connection) == MONDAY + DAY


def test_refused_while_somebody_works_on_it(desk: Desk) -> None:
    archive = saved(desk)
    with pytest.raises(RefusedError, match="stop `tidings run`"):
        restore(archive, desk.world.root, agree=yes, progress=quiet, env=desk.world.env)
    assert not (desk.world.root / ".restoring").exists()
    desk.item("one")
    desk.tick(MONDAY)
    assert desk.editions() == ["daily/1 done"]


def test_nobody_begins_while_it_is_replaced(desk: Desk) -> None:
    archive = saved(desk)
    desk.runtime.close()

    def ask(question: str) -> None:
        with pytest.raises(RefusedError, match="being restored"):
            desk.world.runtime()
        raise RefusedError("no")

    with pytest.raises(RefusedError, match="no"):
        restore(archive, desk.world.root, agree=ask, progress=quiet, env=desk.world.env)


def test_into_an_empty_folder_and_what_stands_there_afterwards(small: Desk, tmp_path: Path) -> None:
    small.reader("ada")
    small.item("one")
    small.world.write("content/media/x.bin", "x" * 1000)
    small.world.write("templates/digest/README", "ours")
    (small.world.root / "keys.json").chmod(0o600)
    archive = saved(small)
    elsewhere = tmp_path / "elsewhere" / "news"
    found = restore(archive, elsewhere, agree=never, progress=quiet, env=small.world.env)
    assert (found.held, found.aside, found.missing) == ((), None, ())

    def tree(root: Path) -> dict[str, bytes]:
        kept = ("tidings.yaml", "keys.json", "content", "schedules", "templates")
        files = [
            one for name in kept for one in ([root / name] if (root / name).is_file() else (root / name).rglob("*"))
        ]
        return {one.relative_to(root).as_posix(): one.read_bytes() for one in files if one.is_file()}

    assert tree(elsewhere) == tree(small.world.root)
    assert (elsewhere / "keys.json").stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in elsewhere.iterdir() if one.name.startswith(".")) == []
    with open_runtime(elsewhere, small.world.env) as runtime, runtime.store.read() as connection:
        assert subscribers.find(connection, "ada@example.org")
        assert schedules.schedule_state(connection, "daily") is not None


def test_what_stood_there_is_kept_aside(small: Desk) -> None:
    archive = saved(small)
    small.item("since")
    small.schedule("weekly", "cadence: {weekly: fri 09:00}\ndeliver: [{list: digest, frequency: weekly}]\n")
    small.reader("ada")
    small.tick(MONDAY)
    found = brought_back(small, archive)
    root = small.world.root
    assert not (root / "content/since.en.md").exists()
    assert not (root / "schedules/weekly.yaml").exists()
    assert found.aside is not None
    assert (found.aside / "content/since.en.md").exists()
    assert (found.aside / "schedules/weekly.yaml").exists()
    (kept,) = root.glob("tidings.db.before-restore-*[0-9Z]")
    with closing(Store(f"sqlite:///{kept}", root)) as store, store.read() as connection:
        assert subscribers.find(connection, "ada@example.org")


class Killed(BaseException):
    """kill -9, as far as this process can play it."""


@pytest.mark.parametrize("at", range(1, 9))
@pytest.mark.slow
def test_cut_off_at_any_step_it_is_finished_by_the_next(desk: Desk, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.reader("ada")
    desk.item("one")
    desk.tick(MONDAY - HOUR)
    archive = saved(desk)
    desk.item("since")
    desk.tick(MONDAY)
    desk.runtime.close()
    steps = 0
    rename = Path.rename

    def counted(self: Path, target: Path) -> Path:
        nonlocal steps
        if (desk.world.root / ".restoring/ready").exists():
            steps += 1
            if steps == at:
                raise Killed
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", counted)
    try:
        restore(archive, desk.world.root, agree=yes, progress=quiet, env=desk.world.env)
    except Killed:
        with pytest.raises(RefusedError, match="cut off"):
            open_runtime(desk.world.root, desk.world.env)
        found = restore(archive, desk.world.root, agree=never, progress=quiet, env=desk.world.env)
        assert found.manifest is None
    else:
        assert steps < at
    desk.runtime = desk.world.runtime()
    assert not (desk.world.root / "content/since.en.md").exists()
    assert (desk.world.root / "content/one.en.md").exists()
    assert not (desk.world.root / ".restoring").exists()
    assert desk.editions() == []
    desk.tick(MONDAY + HOUR)
    assert desk.editions() == ["daily/1 held"]


def test_nothing_changes_where_the_work_before_fails(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = saved(desk)
    desk.item("since")
    desk.tick(MONDAY)
    desk.runtime.close()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restoring, "extract_backup_file", full)
    with pytest.raises(OSError, match="No space"):
        restore(archive, desk.world.root, agree=yes, progress=quiet, env=desk.world.env)
    monkeypatch.undo()
    assert not (desk.world.root / ".restoring").exists()
    desk.runtime = desk.world.runtime()
    assert desk.editions() == ["daily/1 done"]


@pytest.mark.needs_postgresql
def test_a_newsroom_moves_to_postgresql(small: Desk, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Backup from SQLite, restore with TIDINGS_STORE: the same newsroom, marks and all."""
    from tests.conftest import missing

    server = request.getfixturevalue("postgresql")
    if server is None:
        missing("PostgreSQL")
    ada = small.reader("ada")
    small.item("one")
    small.tick(MONDAY)
    archive = saved(small)
    small.runtime.close()
    url = server.fresh_database()
    shutil.rmtree(small.world.root)
    small.world.env["TIDINGS_STORE"] = url
    restore(archive, small.world.root, agree=never, progress=quiet, env=small.world.env)
    small.runtime = small.world.runtime()
    assert not small.runtime.store.is_sqlite
    assert small.editions() == ["daily/1 done"]
    small.item("two")
    small.tick(MONDAY + timedelta(hours=2))
    small.tick(MONDAY + DAY)
    assert small.read(ada) == [["one"], ["two"]]


@pytest.mark.needs_postgresql
def test_tables_of_others_are_left_alone(small: Desk, request: pytest.FixtureRequest) -> None:
    from tests.conftest import missing

    server = request.getfixturevalue("postgresql")
    if server is None:
        missing("PostgreSQL")
    archive = saved(small)
    url = server.fresh_database()
    with closing(Store(url, small.world.root)) as store:
        with store.write() as connection:
            connection.execute(text("CREATE TABLE theirs (x INTEGER)"))
        elsewhere = small.world.root.parent / "elsewhere"
        env = {**small.world.env, "TIDINGS_STORE": url}
        with pytest.raises(RefusedError, match="another program"):
            restore(archive, elsewhere, agree=yes, progress=quiet, env=env)
        assert not elsewhere.exists()
        with store.read() as connection:
            assert inspect(connection).get_table_names() == ["theirs"]
    server.drop(url)
