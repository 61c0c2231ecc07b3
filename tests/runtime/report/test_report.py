"""The report counts mails and posts, also after `keep` deleted their deliveries, and explains what was not sent."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from lxml import html
from sqlalchemy import func, select, update

from tests.fixtures.newsroom import DAILY, DAY, HOUR, MONDAY, RunningNewsroom, open_newsroom
from tests.servers.judges import html_validate
from tidings.config.retention import Retention
from tidings.model.delivery import DeliveryState, FeedbackKind
from tidings.model.text import unescape_formula
from tidings.pipeline.retention import delete_expired
from tidings.runtime.report.page import render_report_page
from tidings.runtime.report.report import Report, as_csv, make_report
from tidings.store import schema as t
from tidings.store.delivery.report import MailCountKey, count_mails, load_moves
from tidings.store.people import subscribers


@pytest.fixture
def newsroom(tmp_path: Path, database_url: str) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", database_url, public=False) as running:
        running.schedule("daily", DAILY)
        for number in range(3):
            running.reader(f"anna{number}")
        running.reader("boris", language="ru")
        running.reader("clara", language="ru", topics=("water",))
        running.tick(MONDAY - 12 * HOUR)
        running.item("one", topics="[school]")
        running.item("one", "ru", topics="[school]")
        running.tick(MONDAY)
        running.tick(MONDAY + DAY)
        yield running


def made(newsroom: RunningNewsroom, **period: object) -> Report:
    since, until = period.get("since"), period.get("until")
    with newsroom.runtime.store.read() as connection:
        return make_report(connection, newsroom.runtime.newsroom, since, until, newsroom.now)  # type: ignore[arg-type]


def rows(report: Report) -> list[tuple[object, ...]]:
    return [(r.edition, r.list, r.language, r.accepted, r.hard, r.complaints, r.joined, r.left) for r in report.mail]


def come_back(newsroom: RunningNewsroom, *kinds: str) -> None:
    """Set `returned` of the first deliveries, as a bounce does."""
    d = t.deliveries
    with newsroom.runtime.store.write() as connection:
        for number, kind in enumerate(kinds, 1):
            target = f"list:digest:{number}"
            connection.execute(update(d).where(d.c.target == target).values(returned=kind))


def test_counts_by_edition_and_language(newsroom: RunningNewsroom) -> None:
    come_back(newsroom, "hard", "complaint")
    newsroom.now = MONDAY + 2 * HOUR
    newsroom.reader("dana", language="ru")
    with newsroom.runtime.store.write() as connection:
        subscribers.unsubscribe(connection, 1, "digest", source="link", now=MONDAY + HOUR)
    report = made(newsroom)
    assert rows(report) == [
        ("daily/1", "digest", "en", 3, 1, 1, 0, 1),
        ("daily/1", "digest", "ru", 1, 0, 0, 1, 0),
    ]
    assert [(one.list, one.language, one.joined, one.left) for one in report.lists] == [
        ("digest", "en", 3, 1), ("digest", "ru", 3, 0)
    ]  # fmt: skip


def test_deliveries_deleted_by_keep_are_still_counted(newsroom: RunningNewsroom) -> None:
    come_back(newsroom, "hard")
    before = made(newsroom)
    newsroom.item("two")
    newsroom.tick(MONDAY + 2 * DAY)
    delete_expired(
        newsroom.runtime.store, Retention(ledger=timedelta(days=400)), MONDAY + timedelta(days=800), budget=math.inf
    )
    with newsroom.runtime.store.read() as connection:
        assert connection.execute(t.deleted_deliveries.select()).first() is not None
    after = made(newsroom, until=MONDAY + DAY)
    assert [row[:6] for row in rows(after)] == [row[:6] for row in rows(before)]


def test_each_mail_is_counted_once(newsroom: RunningNewsroom) -> None:
    """An index gives the number of mails that were accepted and did not bounce: all mails without the others."""
    d, m, r = t.deliveries.c, t.mailings.c, t.renditions.c
    with newsroom.runtime.store.write() as connection:
        sample = connection.execute(t.deliveries.select().where(d.state == "accepted").limit(1)).one()._mapping
        fates = [
            *[(state, "", "why") for state in DeliveryState],
            *[("accepted", kind, "") for kind in FeedbackKind],
            ("rejected", "hard", "550"),
            ("skipped", "", "paused"),
        ]
        for number, (state, returned, reason) in enumerate(fates * 2):
            row = {**sample, "target": f"other:{number}", "state": state, "returned": returned, "reason": reason}
            del row["id"]
            connection.execute(t.deliveries.insert().values(**row))
        columns = (m.edition, d.list, r.language, d.state, d.reason, d.returned)
        every = connection.execute(
            select(*columns, func.count())
            .join_from(t.deliveries, t.mailings, m.id == d.mailing)
            .outerjoin(t.renditions, r.id == d.rendition)
            .group_by(*columns)
        )
        expected: Counter[MailCountKey] = Counter()
        for edition, name, language, state, reason, returned, count in every:
            why = reason if state == "skipped" else ""
            expected[MailCountKey(edition, name, language or "", state, why, returned)] += count
        assert count_mails(connection, sorted({key.edition for key in expected})) == expected


def test_moves_on_the_day_of_an_edition_count_to_its_moment(newsroom: RunningNewsroom) -> None:
    for hours in (-1, 0, 1, 30):
        newsroom.now = MONDAY + hours * HOUR
        newsroom.reader(f"late{hours}")
    with newsroom.runtime.store.read() as connection:
        moves = load_moves(connection, MONDAY - HOUR, None, [MONDAY])
    counts = [
        moves.count("digest", "en", joined=True, since=since, until=until)
        for since, until in ((None, None), (MONDAY, None), (None, MONDAY), (MONDAY, MONDAY))
    ]
    assert counts == [4, 3, 1, 0]
    assert moves.lists() == [("digest", "en")]


def test_unsent_editions_and_slots_have_reasons(newsroom: RunningNewsroom) -> None:
    report = made(newsroom)
    skipped = {(row.what, row.reason, row.count) for row in report.skipped}
    assert ("slot of daily", "nothing new", 0) in skipped
    assert ("readers of daily/1", "nothing for reader", 1) in skipped
    newsroom.schedule("daily", DAILY + "approval: {by: [boss@example.org]}\n")
    newsroom.item("two")
    newsroom.tick(MONDAY + 2 * DAY)
    newsroom.runtime.editions.cancel(newsroom.edition("daily/2"), newsroom.now, "boss@example.org")
    assert ("daily/2", "cancelled (boss@example.org)") in {(row.what, row.reason) for row in made(newsroom).skipped}


def test_only_editions_of_the_period_are_counted(newsroom: RunningNewsroom) -> None:
    assert made(newsroom, since=MONDAY + HOUR).mail == []
    assert made(newsroom, until=MONDAY).mail == []
    assert len(made(newsroom, since=MONDAY, until=MONDAY + HOUR).mail) == 2


def test_no_cell_of_the_table_is_a_formula(newsroom: RunningNewsroom) -> None:
    report = made(newsroom)
    evil = "=HYPERLINK(1)"
    report.skipped = [type(report.skipped[0])(evil, MONDAY, "@SUM(1)")]
    table = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert {row["what"] for row in table} == {"mail", "skipped", "list"}
    assert table[0]["accepted"] == "3"
    for row in table:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in row.values())
    assert evil in {unescape_formula(row["name"]) for row in table}


def test_the_page_has_tables_and_no_scripts(newsroom: RunningNewsroom) -> None:
    report = made(newsroom)
    report.skipped = [type(report.skipped[0])("<script>", MONDAY, "<b>")]
    page = render_report_page(report, "#0077b6")
    tree = html.fromstring(page)
    assert not tree.xpath("//script | //link | //img | //@onload")
    assert not tree.xpath("//*[starts-with(@href, 'javascript')]")
    cells = [[cell.text_content() for cell in row] for row in tree.xpath("//table[1]//tbody/tr")]
    assert ["daily/1", "2 March 2026", "digest", "English", "3"] in [row[:5] for row in cells]
    assert all(one.get("aria-label") for one in tree.xpath("//svg[@role='img']"))


def test_an_empty_report_is_a_valid_page(newsroom: RunningNewsroom) -> None:
    report = made(newsroom, since=MONDAY + 30 * DAY)
    assert "No edition was sent by mail" in render_report_page(report, "#0077b6")
    assert as_csv(report).count("\n") == 1


@pytest.mark.slow
def test_the_page_is_valid_html(newsroom: RunningNewsroom, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_report_page(made(newsroom), "#0077b6"), encoding="utf-8")
    assert html_validate(file, extends=("recommended",)) == []
