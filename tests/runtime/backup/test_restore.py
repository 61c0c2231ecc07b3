"""A restored newsroom is the same as before, and sends nothing a second time."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from sqlalchemy import inspect, select, text, update

from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tests.web.server import served
from tidings.model.errors import RefusedError
from tidings.pipeline.publish.publish import KEPT
from tidings.runtime.backup import restore as restoring
from tidings.runtime.backup.backup import make_backup
from tidings.runtime.backup.restore import RestoreResult, restore
from tidings.runtime.monitoring.status import status
from tidings.runtime.newsroom import RESTORING, open_runtime
from tidings.store import schema as t
from tidings.store.content import schedules
from tidings.store.copying import replace_store
from tidings.store.delivery import ledger
from tidings.store.engine import Store
from tidings.store.people import subscribers
from tidings.store.service import clock, restored
from tidings.web.app import newsroom_app


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url, {"daily": DAILY}) as running:
        yield running
        running.runtime.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}) as running:
        yield running
        running.runtime.close()


def quiet(what: str, done: int, total: int) -> None:
    """Show no progress bar."""


def yes(question: str) -> None:
    """Answer yes."""


def never(question: str) -> None:
    raise AssertionError(f"asked: {question}")


def refuse(question: str) -> None:
    raise RefusedError("no")


def tree(root: Path) -> dict[str, bytes]:
    """Return the files of a newsroom that a backup covers."""
    places = ("tidings.yaml", "keys.json", "content", "schedules", "templates")
    files = [path for name in places for path in (root / name, *(root / name).rglob("*"))]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files if path.is_file()}


def saved(newsroom: RunningNewsroom, name: str = "backup.tar.gz") -> Path:
    path = newsroom.folder.root.parent / name
    make_backup(newsroom.folder.root, path, quiet, newsroom.folder.env)
    return path


def brought_back(newsroom: RunningNewsroom, archive: Path) -> RestoreResult:
    """Restore a backup and open the newsroom again."""
    newsroom.runtime.close()
    result = restore(archive, newsroom.folder.root, agree=yes, progress=quiet, env=newsroom.folder.env)
    newsroom.runtime = newsroom.folder.runtime()
    return result


def release(newsroom: RunningNewsroom, name: str) -> None:
    newsroom.runtime.set_clock(newsroom.now)
    newsroom.runtime.editions.release(newsroom.edition(name), newsroom.now, "ann")
    newsroom.runtime.deliver()


def test_editions_sent_since_the_backup_are_held(newsroom: RunningNewsroom) -> None:
    """listmonk #1801: a restored copy sent everything again."""
    ada, grace = newsroom.reader("ada"), newsroom.reader("grace")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    newsroom.item("two")
    newsroom.tick(MONDAY + HOUR)
    archive = saved(newsroom)
    newsroom.tick(MONDAY + DAY)
    assert [newsroom.read(reader) for reader in (ada, grace)] == [[["one"], ["two"]]] * 2
    before = len(newsroom.folder.mails.received)

    brought_back(newsroom, archive)
    assert newsroom.editions() == ["daily/1 done"]
    done = newsroom.tick(MONDAY + DAY)
    assert "daily" in done.restored
    assert newsroom.editions() == ["daily/1 done", "daily/2 held"]
    assert [hold.reason.value for hold in newsroom.edition("daily/2").holds] == ["restored"]
    state = status(newsroom.runtime, newsroom.now)
    assert (state["restored"]["waiting"], state["ok"]) == (["daily/2"], False)
    readers = [mail for mail in newsroom.folder.mails.received[before:] if mail.recipient != "comms@example.org"]
    assert readers == []
    assert any("restored from a backup" in text for text in newsroom.notices())

    # It is sent when a person has released it.
    release(newsroom, "daily/2")
    assert newsroom.read(ada) == [["one"], ["two"], ["two"]]
    # Later editions are sent as usual.
    newsroom.item("three")
    newsroom.tick(MONDAY + 2 * DAY)
    assert newsroom.read(grace)[-1] == ["three"]
    assert status(newsroom.runtime, newsroom.now)["restored"] is None


def test_an_edition_that_was_sent_can_be_resolved(newsroom: RunningNewsroom) -> None:
    """A person saw in the mail host's log that it was sent. Nobody gets it again, not even in later editions."""
    ada = newsroom.reader("ada")
    newsroom.item("one")
    archive = saved(newsroom)
    newsroom.tick(MONDAY)
    brought_back(newsroom, archive)
    newsroom.tick(MONDAY)
    with newsroom.runtime.store.write() as connection:
        assert restored.settle_as_sent(connection, newsroom.edition("daily/1"), newsroom.now, "ann") == 1
    newsroom.item("two")
    newsroom.tick(MONDAY + DAY)
    assert newsroom.editions() == ["daily/1 done", "daily/2 done"]
    assert newsroom.read(ada) == [["one"], ["two"]]
    with (
        newsroom.runtime.store.write() as connection,
        pytest.raises(RefusedError, match="not held because of a restore"),
    ):
        restored.settle_as_sent(connection, newsroom.edition("daily/2"), newsroom.now, "ann")


def test_pictures_of_sent_mails_come_back_with_a_restore(newsroom: RunningNewsroom) -> None:
    """The originals were changed long ago. Only the kept copies have the pictures of the mails."""
    newsroom.reader("ada")
    media = newsroom.folder.root / "content" / "media"
    media.mkdir(exist_ok=True)
    Image.new("RGB", (400, 300), "navy").save(media / "photo.jpg")
    newsroom.item("one", images='[{src: media/photo.jpg, alt: "A well"}]')
    newsroom.tick(MONDAY)
    (mail,) = newsroom.mails("ada@example.org")
    shown = set(re.findall(r"/(media/[0-9a-f]{16}/photo\.jpg)", mail.message.get_body(("html",)).get_content()))
    (path,) = shown
    public = newsroom.folder.root / "public"
    before = (public / path).read_bytes()
    Image.new("RGB", (400, 300), "red").save(media / "photo.jpg")
    newsroom.tick(MONDAY + HOUR)
    archive = saved(newsroom)
    shutil.rmtree(public)
    shutil.rmtree(newsroom.folder.root / KEPT)
    brought_back(newsroom, archive)
    newsroom.tick(MONDAY + 2 * HOUR)
    assert (public / path).read_bytes() == before
    page = (public / "archive/digest/1/en/index.html").read_text()
    assert path in page
    with served(newsroom_app(newsroom.runtime)) as url:
        assert httpx.get(url + path).content == before


def test_stories_put_back_after_a_restore_are_held(small: RunningNewsroom) -> None:
    ada = small.reader("ada")
    archive = saved(small)
    small.item("one")
    small.tick(MONDAY)
    brought_back(small, archive)
    small.tick(MONDAY + HOUR)
    assert small.editions() == []
    # A person puts the missing story back. The slot that had come due found nothing to send,
    # and the next edition is still held.
    small.item("one")
    small.item("two")
    small.tick(MONDAY + DAY)
    assert small.read(ada) == [["one"]]
    (held,) = [name for name in small.editions() if "held" in name]
    # A newer edition supersedes it. It is held too, because its stories may have been sent.
    small.item("three")
    small.tick(MONDAY + 2 * DAY)
    assert small.editions()[-1] == "daily/2 held"
    assert held == "daily/1 held"
    assert small.read(ada) == [["one"]]
    release(small, "daily/2")
    assert sorted(small.read(ada)[-1]) == ["one", "three", "two"]


def test_an_edition_that_was_not_due_is_not_held(small: RunningNewsroom) -> None:
    ada = small.reader("ada")
    small.item("one")
    archive = saved(small)
    brought_back(small, archive)
    small.tick(MONDAY - HOUR)
    small.tick(MONDAY)
    assert small.read(ada) == [["one"]]


def test_a_backup_made_while_sending_is_restored(newsroom: RunningNewsroom) -> None:
    """Accepted deliveries stay accepted, deliveries in progress are in doubt, and waiting ones still wait."""
    readers = [newsroom.reader(f"r{number}") for number in range(6)]
    newsroom.item("one")
    newsroom.tick(MONDAY, deliver=False)
    d = t.deliveries
    with newsroom.runtime.store.write() as connection:
        ids = list(connection.execute(select(d.c.id).order_by(d.c.id)).scalars())
        dead = {"owner": newsroom.runtime.owner, "fence": 1, "lease_until": MONDAY + DAY}
        connection.execute(update(d).where(d.c.id == ids[0]).values(state="accepted", attempts=1))
        connection.execute(update(d).where(d.c.id == ids[1]).values(state="handed", **dead))
        connection.execute(update(d).where(d.c.id == ids[2]).values(state="leased", **dead))
        connection.execute(update(d).where(d.c.id == ids[3]).values(state="deferred", next_at=MONDAY))
        connection.execute(update(d).where(d.c.id == ids[4]).values(state="in_doubt", doubts=1, next_at=MONDAY))
    archive = saved(newsroom)
    result = brought_back(newsroom, archive)
    assert (result.held, result.in_doubt) == (("daily/1",), 1)
    newsroom.tick(MONDAY + HOUR)
    states = [entry.state for entry in newsroom.entries()]
    assert states == ["accepted", "in_doubt", "pending", "deferred", "in_doubt", "pending"]
    assert all(not newsroom.mails(reader) for reader in readers)

    release(newsroom, "daily/1")
    states = [entry.state for entry in newsroom.entries()]
    assert states == ["accepted", "in_doubt", "accepted", "accepted", "in_doubt", "accepted"]
    assert [bool(newsroom.mails(reader)) for reader in readers] == [False, False, True, True, False, True]
    with newsroom.runtime.store.write() as connection:
        ledger.resolve(connection, ids[1], "resend", newsroom.now)
    newsroom.tick()
    assert newsroom.mails(readers[1])
    assert [reader for reader in readers if len(newsroom.mails(reader)) > 1] == []


def test_composing_and_held_editions_are_held(small: RunningNewsroom) -> None:
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
        # `silence: send` no longer releases it.
        small.tick(MONDAY + HOUR)
        assert "restored" in {hold.reason.value for hold in small.edition("daily/1").holds}
        assert small.mails("ada@example.org") == []


def test_waiting_test_mails_are_dropped(newsroom: RunningNewsroom) -> None:
    newsroom.reader("ada")
    with newsroom.runtime.store.write() as connection:
        mailing = ledger.get_or_create_mailing(connection, "test:1", "test", now=newsroom.now, open=True)
        row = {"mailing": mailing, "target": "test:1", "purpose": "test", "at": newsroom.now}
        details = {"address": "boss@example.org", "subject": "A test", "text": "."}
        ledger.add_deliveries(connection, [{**row, "details": details}])
    result = brought_back(newsroom, saved(newsroom))
    assert result.dropped == 1
    newsroom.tick(MONDAY - HOUR)
    assert newsroom.mails("boss@example.org") == []


def test_ids_used_since_the_backup_are_not_reused(newsroom: RunningNewsroom) -> None:
    """Unsubscribe links contain a reader's id, Message-IDs a mailing's. Nobody else may get the same id later."""
    archive = saved(newsroom)
    lost = newsroom.reader("lost")
    newsroom.item("one")
    newsroom.tick(MONDAY)
    with newsroom.runtime.store.read() as connection:
        number = subscribers.find_id(connection, lost)
        mailing = connection.execute(select(t.mailings.c.id)).scalars().all()
    assert number is not None
    brought_back(newsroom, archive)
    new = newsroom.reader("new")
    newsroom.item("one")
    newsroom.tick(MONDAY + DAY)
    with newsroom.runtime.store.read() as connection:
        assert (subscribers.find_id(connection, new) or 0) > number
        assert min(connection.execute(select(t.mailings.c.id)).scalars()) > max(mailing)


def test_the_clock_does_not_go_back(newsroom: RunningNewsroom) -> None:
    archive = saved(newsroom)
    newsroom.tick(MONDAY + DAY)
    brought_back(newsroom, archive)
    with newsroom.runtime.store.read() as connection:
        assert clock.read_clock(connection) == MONDAY + DAY


def test_a_restore_is_refused_while_a_newsroom_runs(newsroom: RunningNewsroom) -> None:
    archive = saved(newsroom)
    with pytest.raises(RefusedError, match="Stop `tidings run`"):
        restore(archive, newsroom.folder.root, agree=yes, progress=quiet, env=newsroom.folder.env)
    assert not (newsroom.folder.root / ".restoring").exists()
    newsroom.item("one")
    newsroom.tick(MONDAY)
    assert newsroom.editions() == ["daily/1 done"]


def test_no_command_starts_during_a_restore(newsroom: RunningNewsroom) -> None:
    archive = saved(newsroom)
    newsroom.runtime.close()

    def ask(question: str) -> None:
        with pytest.raises(RefusedError, match="being restored"):
            newsroom.folder.runtime()
        raise RefusedError("no")

    with pytest.raises(RefusedError, match="no"):
        restore(archive, newsroom.folder.root, agree=ask, progress=quiet, env=newsroom.folder.env)


def test_an_empty_folder_gets_the_whole_newsroom(small: RunningNewsroom, tmp_path: Path) -> None:
    small.reader("ada")
    small.item("one")
    small.folder.write("content/media/x.bin", "x" * 1000)
    small.folder.write("templates/digest/README", "ours")
    (small.folder.root / "keys.json").chmod(0o600)
    archive = saved(small)
    elsewhere = tmp_path / "elsewhere" / "news"
    result = restore(archive, elsewhere, agree=never, progress=quiet, env=small.folder.env)
    assert (result.held, result.aside, result.missing) == ((), None, ())

    assert tree(elsewhere) == tree(small.folder.root)
    assert (elsewhere / "keys.json").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in elsewhere.iterdir() if path.name.startswith(".")) == []
    with open_runtime(elsewhere, small.folder.env) as runtime, runtime.store.read() as connection:
        assert subscribers.find_id(connection, "ada@example.org")
        assert schedules.find_schedule(connection, "daily") is not None


def test_the_old_newsroom_is_kept_aside(small: RunningNewsroom) -> None:
    archive = saved(small)
    small.item("since")
    small.schedule("weekly", "cadence: {weekly: fri 09:00}\ndeliver: [{list: digest, frequency: weekly}]\n")
    small.reader("ada")
    small.tick(MONDAY)
    result = brought_back(small, archive)
    root = small.folder.root
    assert not (root / "content/since.en.md").exists()
    assert not (root / "schedules/weekly.yaml").exists()
    assert result.aside is not None
    assert (result.aside / "content/since.en.md").exists()
    assert (result.aside / "schedules/weekly.yaml").exists()
    (kept,) = root.glob("tidings.db.before-restore-*[0-9Z]")
    with closing(Store(f"sqlite:///{kept}", root)) as store, store.read() as connection:
        assert subscribers.find_id(connection, "ada@example.org")


class Killed(BaseException):
    """Act like kill -9 in this process: after it, nothing is moved and nothing is undone."""


@pytest.mark.parametrize("step", range(1, 13))
@pytest.mark.slow
def test_a_crash_leaves_the_old_or_the_new(
    newsroom: RunningNewsroom, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash at any move, nothing starts. The next restore first puts the old newsroom back."""
    newsroom.reader("ada")
    newsroom.item("one")
    newsroom.tick(MONDAY - HOUR)
    archive = saved(newsroom)
    newsroom.item("since")
    newsroom.tick(MONDAY)
    newsroom.runtime.close()
    before = tree(newsroom.folder.root)
    steps = 0
    rename = Path.rename

    def counted(self: Path, target: Path) -> Path:
        nonlocal steps
        steps += (newsroom.folder.root / RESTORING).exists()
        if steps >= step:
            raise Killed
        return rename(self, target)

    def dead(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(Path, "rename", counted)
    monkeypatch.setattr(restoring, "_undo_moves", dead)
    try:
        restore(archive, newsroom.folder.root, agree=yes, progress=quiet, env=newsroom.folder.env)
    except Killed:
        monkeypatch.undo()
        with pytest.raises(RefusedError, match="was interrupted"):
            open_runtime(newsroom.folder.root, newsroom.folder.env)
        with pytest.raises(RefusedError, match="no"):
            restore(archive, newsroom.folder.root, agree=refuse, progress=quiet, env=newsroom.folder.env)
        assert tree(newsroom.folder.root) == before
        assert not (newsroom.folder.root / ".restoring").exists()
        restore(archive, newsroom.folder.root, agree=yes, progress=quiet, env=newsroom.folder.env)
    else:
        assert steps < step
    newsroom.runtime = newsroom.folder.runtime()
    assert not (newsroom.folder.root / "content/since.en.md").exists()
    assert (newsroom.folder.root / "content/one.en.md").exists()
    assert not (newsroom.folder.root / ".restoring").exists()
    assert newsroom.editions() == []
    newsroom.tick(MONDAY + HOUR)
    assert newsroom.editions() == ["daily/1 held"]


@pytest.mark.parametrize("step", [1, 4, 7])
def test_a_failed_move_is_undone(newsroom: RunningNewsroom, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = saved(newsroom)
    newsroom.item("since")
    newsroom.tick(MONDAY)
    newsroom.runtime.close()
    before = tree(newsroom.folder.root)
    steps = 0
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        nonlocal steps
        steps += (newsroom.folder.root / RESTORING).exists()
        if steps == step:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space"):
        restore(archive, newsroom.folder.root, agree=yes, progress=quiet, env=newsroom.folder.env)
    monkeypatch.undo()
    assert not (newsroom.folder.root / ".restoring").exists()
    assert tree(newsroom.folder.root) == before
    assert list(newsroom.folder.root.glob("before-restore-*")) == []
    newsroom.runtime = newsroom.folder.runtime()
    assert newsroom.editions() == ["daily/1 done"]


@pytest.mark.parametrize("is_committed", [False, True])
@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.needs_postgresql)], indirect=True
)
def test_a_crash_beside_the_tables_leaves_one_newsroom(
    newsroom: RunningNewsroom, is_committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL files and tables belong together: both are old, or both are new."""
    archive = saved(newsroom)
    newsroom.item("since")
    newsroom.tick(MONDAY)
    newsroom.runtime.close()

    def killed(*arguments: Any) -> None:
        if is_committed:
            replace_store(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(restoring, "replace_store", killed)
    with pytest.raises(KeyboardInterrupt):
        restore(archive, newsroom.folder.root, agree=yes, progress=quiet, env=newsroom.folder.env)
    newsroom.runtime = newsroom.folder.runtime()
    assert (newsroom.folder.root / "content/since.en.md").exists() is not is_committed
    assert newsroom.editions() == ([] if is_committed else ["daily/1 done"])


def test_a_failed_extraction_changes_nothing(newsroom: RunningNewsroom, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = saved(newsroom)
    newsroom.item("since")
    newsroom.tick(MONDAY)
    newsroom.runtime.close()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restoring, "extract_backup_file", full)
    with pytest.raises(OSError, match="No space"):
        restore(archive, newsroom.folder.root, agree=yes, progress=quiet, env=newsroom.folder.env)
    monkeypatch.undo()
    assert not (newsroom.folder.root / ".restoring").exists()
    newsroom.runtime = newsroom.folder.runtime()
    assert newsroom.editions() == ["daily/1 done"]


@pytest.mark.needs_postgresql
def test_a_newsroom_moves_to_postgresql(small: RunningNewsroom, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Back up from SQLite and restore with TIDINGS_STORE: the newsroom is the same, with its marks."""
    from tests.conftest import missing

    server = request.getfixturevalue("postgresql")
    if server is None:
        missing("PostgreSQL")
    ada = small.reader("ada")
    small.item("one")
    small.tick(MONDAY)
    archive = saved(small)
    small.runtime.close()
    url = server.empty_database()
    shutil.rmtree(small.folder.root)
    small.folder.env["TIDINGS_STORE"] = url
    restore(archive, small.folder.root, agree=never, progress=quiet, env=small.folder.env)
    small.runtime = small.folder.runtime()
    assert not small.runtime.store.is_sqlite
    assert small.editions() == ["daily/1 done"]
    small.item("two")
    small.tick(MONDAY + timedelta(hours=2))
    small.tick(MONDAY + DAY)
    assert small.read(ada) == [["one"], ["two"]]


@pytest.mark.needs_postgresql
def test_tables_of_another_program_are_refused(small: RunningNewsroom, request: pytest.FixtureRequest) -> None:
    from tests.conftest import missing

    server = request.getfixturevalue("postgresql")
    if server is None:
        missing("PostgreSQL")
    archive = saved(small)
    url = server.empty_database()
    with closing(Store(url, small.folder.root)) as store:
        with store.write() as connection:
            connection.execute(text("CREATE TABLE theirs (x INTEGER)"))
        elsewhere = small.folder.root.parent / "elsewhere"
        env = {**small.folder.env, "TIDINGS_STORE": url}
        with pytest.raises(RefusedError, match="another program"):
            restore(archive, elsewhere, agree=yes, progress=quiet, env=env)
        assert not elsewhere.exists()
        with store.read() as connection:
            assert inspect(connection).get_table_names() == ["theirs"]
    server.drop(url)
