"""A rehearsal predicts correctly, and changes nothing."""

from __future__ import annotations

import email
import email.policy
import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.fixtures.newsroom_folder import NewsroomFolder, item, make_newsroom_folder
from tidings.config.settings import Newsroom
from tidings.model.errors import RefusedError
from tidings.model.tokens import TokenPurpose
from tidings.runtime.newsroom import load_newsroom
from tidings.runtime.rehearsal import rehearse as rehearsing
from tidings.runtime.rehearsal.rehearse import rehearse
from tidings.runtime.rehearsal.results import Rehearsal, RehearsedEvent
from tidings.runtime.tick import tick
from tidings.store import schema as t
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.people import consent, subscribers
from tidings.store.service.clock import read_clock

START = datetime(2026, 11, 30, 3, tzinfo=UTC)
"""A Monday, 08:00 in Almaty."""
WEEKLY = "cadence: {weekly: fri 09:00}\ndeliver:\n  - {list: digest, frequency: weekly}\n  - {channel: desk}\n"


def friday(number: int) -> datetime:
    """Return 09:00 in Almaty on a Friday after START; 0 is the first one."""
    return datetime(2026, 12, 4, 4, tzinfo=UTC) + timedelta(weeks=number)


def add_readers(folder: NewsroomFolder, count: int = 9, schedule: str = WEEKLY) -> None:
    """Add readers in three languages and tick at START."""
    folder.write("schedules/weekly.yaml", schedule)
    with folder.runtime() as runtime:
        runtime.set_clock(START)
        with runtime.store.write() as connection:
            for number in range(count):
                subscribers.add(
                    connection,
                    f"aigerim{number}@secret.example.net",
                    "digest",
                    language=("en", "ru", "kk")[number % 3],
                    frequency="weekly",
                    now=START,
                    confirmed=True,
                    name="Aigerim" if number % 2 else "",
                )
        tick(runtime, START)
    folder.mails.received.clear()


def newsroom(folder: NewsroomFolder) -> Newsroom:
    loaded = load_newsroom(folder.root, folder.env)
    assert loaded.newsroom is not None
    return loaded.newsroom


def play(
    folder: NewsroomFolder, begins: datetime, ends: datetime, *, real_now: datetime = START, out: str = "out"
) -> Rehearsal:
    return rehearse(newsroom(folder), begins, ends, folder.root.parent / out, real_now=real_now)


def brief(rows: list[RehearsedEvent]) -> list[tuple[str, str, str, dict[str, int]]]:
    """Return time, edition or schedule, outcome, and recipients by list and channel of each row."""
    result = []
    for row in rows:
        reached = {outlet.name: outlet.recipients.total() for outlet in row.outlets}
        result.append((f"{row.at:%m-%d %H:%M}", row.edition or row.schedule, row.outcome, reached))
    return result


def state_of(folder: NewsroomFolder) -> dict[str, Any]:
    """Return the hashes of all files and the rows of all tables."""
    with folder.runtime() as runtime, runtime.store.read() as connection:
        rows = {
            table.name: sorted(map(repr, connection.execute(select(table)).all())) for table in t.metadata.sorted_tables
        }
    files = {
        str(path.relative_to(folder.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.root.rglob("*"))
        if path.is_file()
    }
    return {"rows": rows, "files": files}


@pytest.mark.slow
def test_a_rehearsal_predicts_what_the_service_does(tmp_path: Path, database_url: str) -> None:
    with make_newsroom_folder(tmp_path / "n", database_url) as folder:
        add_readers(folder)
        folder.write("content/one.en.md", item("Water for all", published="2026-12-02"))
        folder.write("content/two.ru.md", item("Вода для всех", published="2026-12-09"))
        folder.write("content/two.en.md", item("Water again", published="2026-12-09"))
        with folder.runtime() as runtime, runtime.store.write() as connection:
            digest = consent.address_hash("aigerim4@secret.example.net")
            consent.suppress(connection, digest, "", "complaint", START)
        result = play(folder, START, START + timedelta(days=26))
        with folder.runtime() as runtime:
            happened: list[tuple[str, str, str, dict[str, int]]] = []
            for number in range(4):
                now = friday(number)
                runtime.set_clock(now)
                for composed in tick(runtime, now).composed:
                    name = composed.edition.name if composed.edition else composed.schedule
                    went: dict[str, int] = {}
                    with runtime.store.read() as connection:
                        for entry in ledger.entries(connection, edition=name) if composed.edition else ():
                            outlet = f"list {entry.list}" if entry.list else f"channel {entry.channel}"
                            went[outlet] = went.get(outlet, 0) + (entry.state == "accepted")
                    happened.append((f"{now:%m-%d %H:%M}", name, "sent" if composed.edition else "skipped", went))
        summary = brief(result.rows)
        assert [one for one in happened if one[2] == "sent"] == [one for one in summary if one[2] == "sent"]
        assert [one[2] for one in summary] == ["sent", "sent", "skipped"]
        first = result.rows[0]
        outlets = {outlet.name: dict(outlet.recipients) for outlet in first.outlets}
        assert outlets == {"channel desk": {"en": 1}, "list digest": {"en": 3, "kk": 3, "ru": 2}}
        assert [dict(outlet.skipped) for outlet in first.outlets if outlet.skipped] == [{"suppressed": 1}]
        assert (result.rows[2].count, result.rows[2].why) == (2, "nothing new")


def test_a_rehearsal_changes_and_sends_nothing(tmp_path: Path, database_url: str) -> None:
    with make_newsroom_folder(tmp_path / "n", database_url) as folder:
        add_readers(folder)
        folder.write("content/one.en.md", item("Water for all", published="2026-12-02"))
        folder.write(
            "content/bad.en.md", item("Bad", published="2026-12-09", images='[{src: https://e.org/a.png, alt: ""}]')
        )
        before = state_of(folder)
        result = play(folder, START, START + timedelta(days=91))
        assert state_of(folder) == before
        rows = [row for row in result.rows if row.edition]
        assert [row.outcome for row in rows] == ["sent", *["held"] * 12]
        assert "alt" in rows[1].why and rows[1].after == "then superseded" and rows[-1].after == "still held at the end"
        assert folder.mails.received == [] and folder.hook.received == []
        with folder.runtime() as runtime:
            assert runtime.liveness.list_dead() == []
        owners = tmp_path / "n" / "tidings.db.d" / "owners"
        assert not owners.exists() or list(owners.iterdir()) == []


def test_samples_are_anonymous_and_one_for_each_language(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        add_readers(folder)
        folder.write("content/one.en.md", item("Water for all", published="2026-12-02"))
        result = play(folder, START, START + timedelta(days=7))
        (row,) = result.rows
        mails = [name for name in row.files if name.endswith(".eml")]
        assert sorted(mails) == [f"20261204-0400-weekly-1-digest-{language}.eml" for language in ("en", "kk", "ru")]
        out = tmp_path / "out"
        for name in mails:
            message = email.message_from_bytes((out / name).read_bytes(), policy=email.policy.default)
            assert message["Content-Language"] == name.rpartition("-")[2].removesuffix(".eml")
            assert re.fullmatch(r"(A. Reader <)?reader[0-9]+@example.org>?", str(message["To"]).replace('"', ""))
        posts = [name for name in row.files if "desk" in name]
        assert posts == ["20261204-0400-weekly-1-desk.json", "20261204-0400-weekly-1-desk.txt"]
        for path in out.iterdir():
            text = path.read_bytes()
            assert b"secret.example.net" not in text and b"Aigerim" not in text
        # Unsubscribe links in a sample have no effect: they are signed with other keys.
        with folder.runtime() as runtime:
            way_out = str(message["List-Unsubscribe"])
            token = re.search(r"/unsubscribe/([^>]+)>", way_out)
            assert token and runtime.keys.verify(TokenPurpose.UNSUBSCRIBE, token[1]) is None


def test_a_second_rehearsal_replaces_only_old_samples(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        add_readers(folder)
        folder.write("content/one.en.md", item("Water for all", published="2026-12-02"))
        play(folder, START, START + timedelta(days=7))
        (tmp_path / "out" / "notes.txt").write_text("mine")
        play(folder, START + timedelta(days=7), START + timedelta(days=8))
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["notes.txt", "rehearsal.json"]
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "letter.eml").write_text("mine")
        with pytest.raises(RefusedError, match="other files"):
            play(folder, START, START + timedelta(days=7), out="full")
        assert [path.name for path in (tmp_path / "full").iterdir()] == ["letter.eml"]


@pytest.mark.slow
def test_a_large_mailing_is_sampled_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsing, "MAX_MAILS", 20)
    caught: list[int] = []
    take = rehearsing.MailCatcher.take
    monkeypatch.setattr(rehearsing.MailCatcher, "take", lambda self: (caught.append(len(self.mails)), take(self))[1])
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        add_readers(folder, 90)
        folder.write("content/one.en.md", item("Water for all", published="2026-12-02"))
        folder.write("content/two.en.md", item("Water again", published="2026-12-09"))
        result = play(folder, START, START + timedelta(days=20))
    sent = [row for row in result.rows if row.outcome == "sent"]
    counted = [o.recipients for row in sent for o in row.outlets if o.name == "list digest"]
    assert counted == [{"en": 30, "ru": 30, "kk": 30}, {"en": 30, "ru": 30, "kk": 30}]
    assert max(caught) == 3 * rehearsing.SAMPLES


def test_the_time_before_the_period_is_played_not_shown(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        add_readers(folder)
        folder.write("content/one.en.md", item("Water for all", published="2026-12-02"))
        folder.write("content/two.en.md", item("Water again", published="2026-12-09"))
        result = play(folder, friday(0) + timedelta(hours=1), friday(1) + timedelta(hours=1))
    assert [(row.edition, row.stories) for row in result.rows] == [("weekly/2", ["two"])]
    assert any("played first" in note for note in result.notes)


def test_only_the_copy_has_its_clock_set_back(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        add_readers(folder)
        folder.write("content/one.en.md", item("Water for all", published="2026-12-02"))
        with folder.runtime() as runtime:
            runtime.set_clock(friday(0))
            tick(runtime, friday(0))
        folder.mails.received.clear()
        folder.write("content/two.en.md", item("Water again", published="2026-12-09"))
        result = play(folder, START, friday(1), real_now=friday(0) + timedelta(hours=2))
        assert [row.edition for row in result.rows] == ["weekly/2"], "what has gone out is not played again"
        assert result.clock_set_back_from == friday(0)
        assert any("not played again" in note for note in result.notes)
        with folder.runtime() as runtime, runtime.store.read() as connection:
            assert read_clock(connection) == friday(0)
            assert [edition.name for edition in editions.list_editions(connection)] == ["weekly/1"]


def test_a_held_edition_shows_its_later_state(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        add_readers(folder, schedule=WEEKLY + "approval: {by: [boss@example.org], ahead: 3h, silence: send}\n")
        folder.write("content/one.en.md", item("Water for all", published="2026-12-02"))
        result = play(folder, START, START + timedelta(days=6))
    assert [row.outcome for row in result.rows if row.edition] == ["held", "sent"]
    held, sent = [row for row in result.rows if row.edition]
    assert held.at == friday(0) - timedelta(hours=3) and sent.at == friday(0)
    assert held.outlets[-1].recipients.total() == 9 and held.after == "then done"


def test_moved_and_skipped_slots_have_reasons(tmp_path: Path) -> None:
    schedule = WEEKLY.replace("fri 09:00}", "fri 09:00, window: '10:00-18:00', skip_dates: [2026-12-11]}")
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        add_readers(folder, schedule=schedule)
        folder.write("content/one.en.md", item("Water for all", published="2026-12-02"))
        result = play(folder, START, START + timedelta(days=13))
    sent, skipped = result.rows
    assert sent.at == friday(0) + timedelta(hours=1) and "moved to 2026-12-04 10:00" in sent.moved
    assert skipped.outcome == "skipped" and "2026-12-11" in skipped.why


def test_a_newsroom_that_never_ran_can_be_rehearsed(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        folder.write("schedules/weekly.yaml", WEEKLY)
        folder.write("content/one.en.md", item("Water for all", published="2026-12-02"))
        result = play(folder, START, START + timedelta(days=7))
        assert brief(result.rows) == [("12-04 04:00", "weekly/1", "sent", {"channel desk": 1})]
        assert not (folder.root / "tidings.db").exists() and not (folder.root / "keys.json").exists()


def test_a_delivery_in_progress_is_played_on_the_copy(tmp_path: Path) -> None:
    with make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder:
        add_readers(folder)
        folder.write("content/one.en.md", item("Water for all", published="2026-12-02"))
        with folder.runtime() as runtime:
            runtime.set_clock(friday(0))
            tick(runtime, friday(0), deliver=False)
            with runtime.store.write() as connection:
                d = t.deliveries
                first = select(func.min(d.c.id)).where(d.c.list == "digest").scalar_subquery()
                connection.execute(
                    d.update().where(d.c.id == first).values(state="handed", owner=runtime.owner, fence=1)
                )
            result = play(folder, friday(0) + timedelta(hours=1), friday(0) + timedelta(hours=2), real_now=friday(0))
            with runtime.store.read() as connection:
                assert ledger.count_by_state(connection)["handed"] == 1
    assert any("1 delivery is being sent" in note for note in result.notes)


@pytest.mark.parametrize(
    ("begins", "ends", "message"), [(5, 5, "after --from"), (5, 1, "after"), (0, 4000, "five years")]
)
def test_an_impossible_period_is_refused(tmp_path: Path, begins: int, ends: int, message: str) -> None:
    with (
        make_newsroom_folder(tmp_path / "n", "sqlite:///tidings.db") as folder,
        pytest.raises(RefusedError, match=message),
    ):
        play(folder, START + timedelta(days=begins), START + timedelta(days=ends))
