"""Render a report as one HTML page without scripts: bar charts as SVG, and tables with the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from jinja2 import FileSystemLoader
from markupsafe import Markup

from tidings.render.i18n import format_count, format_date, format_datetime, language_name
from tidings.render.palette import make_palette
from tidings.render.templates import make_environment
from tidings.runtime.report.report import MailRow, Report

_MAX_BARS = 40
"""A chart shows only the newest editions."""
_WIDTH, _HEIGHT = 720, 260
_LEFT, _RIGHT, _BOTTOM, _TOP = 48, 24, 26, 8


def render_report_page(report: Report, colour: str) -> str:
    """Return the page (`report.html.j2`). It loads nothing."""
    environment = make_environment(FileSystemLoader(Path(__file__).parent), keep_trailing_newline=True)
    environment.filters |= {
        "number": lambda count: format_count(count, "en"),
        "day": lambda moment: format_date(moment, "en", report.zone),
        "time": lambda moment: format_datetime(moment, "en", report.zone),
        "language": language_name,
    }
    languages = {code: language_name(code) for code in sorted({row.language for row in report.mail})}
    totals = {
        "Editions by mail": len({row.edition for row in report.mail if row.accepted}),
        "Mails accepted": sum(row.accepted for row in report.mail),
        "Bounces and complaints": sum(row.returned for row in report.mail),
        "Posts": sum(post.state == "accepted" for post in report.posts),
        "Joined": sum(row.joined for row in report.lists),
        "Left": sum(row.left for row in report.lists),
    }

    def count_accepted(rows: Sequence[MailRow], language: str) -> int:
        return sum(row.accepted for row in rows if row.language == language)

    def count_moves(rows: Sequence[MailRow], series: str) -> int:
        return sum(row.joined if series == "joined" else row.left for row in rows)

    mail_chart = _draw_chart(report, "Mails accepted, by edition and language", languages, count_accepted)
    title, series = "Joined and left between each edition and the next", {"joined": "Joined", "left": "Left"}
    return environment.get_template("report.html.j2").render(
        report=report,
        title=f"{report.title}: report",
        colours=make_palette(colour),
        totals=totals,
        mail_chart=mail_chart,
        readers_chart=_draw_chart(report, title, series, count_moves, stacked=False),
    )


def _draw_chart(
    report: Report,
    title: str,
    series: dict[str, str],
    value: Callable[[Sequence[MailRow], str], int],
    *,
    stacked: bool = True,
) -> Markup:
    """Draw bars by edition, oldest first, with the series stacked or side by side."""
    if not report.mail:
        return Markup()
    groups: dict[str, list[MailRow]] = {}
    for row in report.mail:
        groups.setdefault(row.edition, []).append(row)
    shown = list(groups.items())[-_MAX_BARS:]
    values = [[value(rows, key) for key in series] for _, rows in shown]
    highest = max((sum(each) if stacked else max(each) for each in values), default=0)
    top = _round_up(highest)
    wide = (_WIDTH - _LEFT - _RIGHT) / len(shown)
    high = _HEIGHT - _BOTTOM - _TOP
    drawn = []
    for step in range(5):
        y = _TOP + high * step / 4
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        label = format_count(top * (4 - step) // 4, "en")
        drawn.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    every = max(1, -(-len(shown) // 8))
    for number, ((_, rows), counts) in enumerate(zip(shown, values, strict=True)):
        left = _LEFT + wide * number + wide * 0.15
        room = min(wide * 0.7, 64.0)
        left += (wide * 0.7 - room) / 2
        base = 0.0
        for index, count in enumerate(counts):
            tall = high * count / top
            across = room if stacked else room / len(counts)
            x = left if stacked else left + across * index
            y = _TOP + high - base - tall
            if count:
                # A thin gap separates neighbours also without colour.
                drawn.append(
                    f'<rect class="f{index % 6}" x="{x:.1f}" y="{y:.1f}" width="{max(across - 1, 1):.1f}" '
                    f'height="{max(tall - 1, 0.8):.1f}"/>'
                )
            base += tall if stacked else 0.0
        if number % every == 0:
            day = escape(format_date(rows[0].at, "en", report.zone).rsplit(" ", 1)[0])
            drawn.append(f'<text x="{left + room / 2:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{day}</text>')
    more = f" The newest {_MAX_BARS} of {len(groups)} editions." if len(groups) > _MAX_BARS else ""
    key = "".join(
        f'<li><svg viewBox="0 0 10 10" aria-hidden="true"><rect class="f{index % 6}" width="10" height="10"/></svg>'
        f"{escape(name)}</li>"
        for index, name in enumerate(series.values())
    )
    return Markup(  # noqa: S704
        f"<figure><figcaption>{escape(title)}.{more}</figcaption>"
        f'<section class="plot" tabindex="0" aria-label="{escape(title)}">'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
        f' aria-label="{escape(title)}; the table has the numbers">'
        f'{"".join(drawn)}</svg></section><ul class="key">{key}</ul></figure>'
    )


def _round_up(highest: int) -> int:
    """Return the top of the scale: 4, 8, 20, 40, 80, 200, ..., so that its quarters are whole numbers."""
    power = 1
    while True:
        for step in (4, 8, 20):
            if step * power >= highest:
                return step * power
        power *= 10
