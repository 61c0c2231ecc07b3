"""`tidings rehearse` as a person uses it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.shapes import misfits
from tests.fixtures.newsroom_folder import NewsroomFolder, item
from tidings.model.cadence import load_zone
from tidings.runtime.schemas import make_schemas

DAILY = "cadence: {daily: '09:00'}\ndeliver:\n  - {list: digest, frequency: all}\n  - {channel: team, per: edition}\n"


FIRST = datetime.now(load_zone("Asia/Almaty")).date() + timedelta(days=5)
SECOND, FOURTH = FIRST + timedelta(days=1), FIRST + timedelta(days=3)
SPAN = ("--from", f"{FIRST}", "--to", f"{SECOND}")


@pytest.fixture
def ready(folder: NewsroomFolder, run: Run) -> NewsroomFolder:
    folder.write("schedules/daily.yaml", DAILY)
    run("subscribers", "add", "aigerim@example.net", "--list", "digest", "--confirmed").ok()
    run("tick").ok()
    folder.write("content/fresh.en.md", item("Fresh water for all", published="2099-12-02"))
    folder.mails.received.clear()
    return folder


def test_the_table_lists_each_mailing_and_its_recipients(ready: NewsroomFolder, run: Run) -> None:
    out = run("rehearse", *SPAN).ok().out
    assert "Nothing was sent or changed" in out and "skipped: nothing new" in out
    assert "2 slots until" in out, "a date alone is a day to its end"
    ready.write("content/soon.en.md", item("Soon", published=f"{SECOND}T08:00"))
    out = run("rehearse", *SPAN, "--out", str(ready.root / "x")).ok().out
    (line,) = [line for line in out.splitlines() if "daily/1" in line]
    for part in (f"{SECOND:%a %Y-%m-%d} 09:00", f"{SECOND:%d} 04:00", "channel team", "sent", "1 story"):
        assert part in line
    assert "1 edition to 2 recipients; 0 held" in out and "list digest" in out
    assert (ready.root / "x" / "table.txt").read_text(encoding="utf-8").strip() in out
    names = {path.name for path in (ready.root / "x").iterdir()}
    assert {f"{SECOND:%Y%m%d}-0400-daily-1-{end}" for end in ("digest-en.eml", "team.txt")} <= names
    assert ready.mails.received == []


def test_json_of_rehearse_fits_the_schema(ready: NewsroomFolder, run: Run) -> None:
    ready.write("content/soon.en.md", item("Soon", published=f"{SECOND}T08:00"))
    output = run("rehearse", "--from", f"{FIRST}", "--to", f"{FOURTH}", "--json").ok().json
    assert misfits(output, make_schemas()["rehearse --json"]) == []
    assert [row["outcome"] for row in output["rows"]] == ["skipped", "sent", "skipped"]
    assert Path(output["folder"]) == ready.root / "rehearsal"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", f"{FOURTH}", "--to", f"{FIRST}"), "--to must come after --from"),
        (("--from", "tomorrow", "--to", f"{FIRST}"), "is not a date"),
        (("--from", f"{FIRST}", "--to", "2199-12-01"), "five years"),
        (("--from", f"{FIRST}"), "--to"),
    ],
)
def test_impossible_arguments_are_refused(
    ready: NewsroomFolder, run: Run, arguments: tuple[str, ...], message: str
) -> None:
    done = run("rehearse", *arguments)
    assert done.code == 2 and message in done.err
    assert not (ready.root / "rehearsal").exists()


def test_a_broken_newsroom_or_full_folder_is_explained(ready: NewsroomFolder, run: Run) -> None:
    (ready.root / "letters").mkdir()
    (ready.root / "letters" / "a.eml").write_text("mine")
    done = run("rehearse", *SPAN, "--out", str(ready.root / "letters"))
    assert done.code == 2 and "--out" in done.err
    ready.write("schedules/daily.yaml", DAILY.replace("daily", "dayly", 1))
    done = run("rehearse", *SPAN)
    assert done.code == 1 and "schedules/daily.yaml:1" in done.err
