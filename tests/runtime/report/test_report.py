"""The report: mail by edition and language, also once `keep` has taken the deliveries; posts; what did not go."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from lxml import html
from sqlalchemy import update

from tests.pipeline.desk import DAILY, DAY, HOUR, MONDAY, Desk, open_desk
from tests.servers.judges import html_validate
from tidings.config.retention import Retention
from tidings.model.text import unescape_formula
from tidings.pipeline.retention import retain
from tidings.runtime.report.page import render_report_page
from tidings.runtime.report.report import Report, as_csv, make_report
from tidings.store import schema as t
from tidings.store.people import subscribers


@pytest.fixture
def desk(tmp_path: Path, database_url: str) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", database_url) as found:
        found.schedule("daily", DAILY)
        for number in range(3):
            found.reader(f"anna{number}")
        found.reader("boris", language="ru")
        found.reader("clara", language="ru", topics=("water",))
        found.tick(MONDAY - 12 * HOUR)
        found.item("one", topics="[school]")
        found.item("one", "ru", topics="[school]")
        found.tick(MONDAY)
        found.tick(MONDAY + DAY)
        yield found


def made(desk: Desk, **period: object) -> Report:
    since, until = period.get("since"), period.get("until")
    with desk.runtime.store.read() as connection:
        return make_report(connection, desk.runtime.newsroom, since, until, desk.now)  # type: ignore[arg-type]


def rows(report: Report) -> list[tuple[object, ...]]:
    return [(r.edition, r.list, r.language, r.accepted, r.hard, r.complaints, r.joined, r.left) for r in report.mail]


def come_back(desk: Desk, *kinds: str) -> None:
    """As a bounce does: `returned` of the first deliveries."""
    d = t.deliveries
    with desk.runtime.store.write() as connection:
        for number, kind in enumerate(kinds, 1):
            target = f"list:digest:{number}"
            connection.execute(update(d).where(d.c.target == target).values(returned=kind))


def test_accepted_returned_joined_and_left_by_edition_and_language(desk: Desk) -> None:
    come_back(desk, "hard", "complaint")
    desk.now = MONDAY + 2 * HOUR
    desk.reader("dana", language="ru")
    with desk.runtime.store.write() as connection:
        subscribers.unsubscribe(connection, 1, "digest", source="link", now=MONDAY + HOUR)
    report = made(desk)
    assert rows(report) == [
        ("daily/1", "digest", "en", 3, 1, 1, 0, 1),
        ("daily/1", "digest", "ru", 1, 0, 0, 1, 0),
    ]
    assert [(one.list, one.language, one.joined, one.left) for one in report.lists] == [
        ("digest", "en", 3, 1), ("digest", "ru", 3, 0)
    ]  # fmt: skip


def test_what_keep_has_taken_is_counted_as_before(desk: Desk) -> None:
    come_back(desk, "hard")
    before = made(desk)
    desk.item("two")
    desk.tick(MONDAY + 2 * DAY)
    retain(desk.runtime.store, Retention(ledger=timedelta(days=400)), MONDAY + timedelta(days=800))
    with desk.runtime.store.read() as connection:
        assert connection.execute(t.tallies.select()).first() is not None
    after = made(desk, until=MONDAY + DAY)
    assert [row[:6] for row in rows(after)] == [row[:6] for row in rows(before)]


def test_what_did_not_go_says_why(desk: Desk) -> None:
    report = made(desk)
    skipped = {(row.what, row.reason, row.count) for row in report.skipped}
    assert ("slot of daily", "nothing new", 0) in skipped
    assert ("readers of daily/1", "nothing for reader", 1) in skipped
    desk.schedule("daily", DAILY + "approval: {by: [boss@example.org]}\n")
    desk.item("two")
    desk.tick(MONDAY + 2 * DAY)
    desk.runtime.composer.cancel(desk.edition("daily/2"), desk.now, "boss@example.org")
    assert ("daily/2", "cancelled (boss@example.org)") in {(row.what, row.reason) for row in made(desk).skipped}


def test_the_period_holds(desk: Desk) -> None:
    assert made(desk, since=MONDAY + HOUR).mail == []
    assert made(desk, until=MONDAY).mail == []
    assert len(made(desk, since=MONDAY, until=MONDAY + HOUR).mail) == 2


def test_no_cell_of_the_table_is_a_formula(desk: Desk) -> None:
    report = made(desk)
    evil = "=HYPERLINK(1)"
    report.skipped = [type(report.skipped[0])(evil, MONDAY, "@SUM(1)")]
    table = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert {row["what"] for row in table} == {"mail", "skipped", "list"}
    assert table[0]["accepted"] == "3"
    for row in table:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in row.values())
    assert evil in {unescape_formula(row["name"]) for row in table}


def test_the_page_shows_the_numbers_as_a_table_and_runs_nothing(desk: Desk) -> None:
    report = made(desk)
    report.skipped = [type(report.skipped[0])("<script>", MONDAY, "<b>")]
    page = render_report_page(report, "#0077b6")
    tree = html.fromstring(page)
    assert not tree.xpath("//script | //link | //img | //@onload")
    assert not tree.xpath("//*[starts-with(@href, 'javascript')]")
    cells = [[cell.text_content() for cell in row] for row in tree.xpath("//table[1]//tbody/tr")]
    assert ["daily/1", "2 March 2026", "digest", "English", "3"] in [row[:5] for row in cells]
    assert all(one.get("aria-label") for one in tree.xpath("//svg[@role='img']"))


def test_a_report_of_nothing_is_a_page_too(desk: Desk) -> None:
    report = made(desk, since=MONDAY + 30 * DAY)
    assert "No edition went out by mail" in render_report_page(report, "#0077b6")
    assert as_csv(report).count("\n") == 1


@pytest.mark.slow
def test_the_page_is_valid_html(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_report_page(made(desk), "#0077b6"), encoding="utf-8")
    assert html_validate(file, extends=("recommended",)) == []
