"""Renders a report as one HTML page without scripts: bar charts as SVG, and tables with the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from tidings.render.i18n import format_count, format_date, format_datetime, language_name
from tidings.render.palette import make_palette
from tidings.runtime.report.report import MailRow, Report

_MAX_BARS = 40
"""A chart shows only the newest editions."""
_WIDTH, _HEIGHT = 720, 260
_LEFT, _RIGHT, _BOTTOM, _TOP = 48, 24, 26, 8
_STYLE = Path(__file__).with_name("report.css")


def render_report_page(report: Report, colour: str) -> str:
    """Return the page. It loads nothing."""
    colours = make_palette(colour)
    style = _STYLE.read_text(encoding="utf-8")
    style = style.replace("ACCENT-LIGHT", colours.accent).replace("ACCENT-DARK", colours.accent_dark)
    title = f"{report.title}: report"
    period = f"{escape(_format_period(report))} Made {_time(report.made, report)}."
    sections = [_totals(report), _mail(report), _readers(report), _posts(report), _skipped(report)]
    return (
        '<!DOCTYPE html>\n<html lang="en" dir="ltr">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title[:60])}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="muted">{period}</p>\n'
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _format_period(report: Report) -> str:
    def day(moment: datetime) -> str:
        return format_date(moment, "en", report.zone)

    if report.since and report.until:
        return f"From {day(report.since)} until {day(report.until)}."
    if report.since:
        return f"Since {day(report.since)}."
    return f"Until {day(report.until)}." if report.until else "Everything so far."


def _time(moment: datetime, report: Report) -> str:
    return escape(format_datetime(moment, "en", report.zone))


def _number(count: int) -> str:
    return format_count(count, "en")


def _totals(report: Report) -> str:
    figures = {
        "Editions by mail": len({row.edition for row in report.mail if row.accepted}),
        "Mails accepted": sum(row.accepted for row in report.mail),
        "Bounces and complaints": sum(row.returned for row in report.mail),
        "Posts": sum(post.state == "accepted" for post in report.posts),
        "Joined": sum(row.joined for row in report.lists),
        "Left": sum(row.left for row in report.lists),
    }
    cells = "".join(f"<div><dt>{name}</dt><dd>{_number(count)}</dd></div>" for name, count in figures.items())
    return f'<dl class="totals">{cells}</dl>'


def _mail(report: Report) -> str:
    if not report.mail:
        return "<h2>Mail</h2>\n<p>No edition was sent by mail in this period.</p>"
    names = {code: language_name(code) for code in sorted({row.language for row in report.mail})}

    def accepted(rows: Sequence[MailRow], language: str) -> int:
        return sum(row.accepted for row in rows if row.language == language)

    plot = _bars(report, "Mails accepted, by edition and language", names, accepted)
    rows = [
        [
            _th(row.edition),
            _td(format_date(row.at, "en", report.zone)),
            _td(row.list),
            _td(names[row.language], row.language),
            *(_n(count) for count in (row.accepted, row.hard, row.soft, row.complaints, row.rejected, row.waiting)),
            _n(row.joined),
            _n(row.left),
        ]
        for row in report.mail
    ]
    heads = ("Edition", "When", "List", "Language")
    counts = ("Accepted", "Hard bounces", "Soft bounces", "Complaints", "Refused", "Not finished", "Joined", "Left")
    note = "Joined and left: between this edition and the next one of the same list."
    return f"<h2>Mail</h2>\n{plot}\n{_table('Mail', note, heads, counts, rows)}"


def _readers(report: Report) -> str:
    if not report.lists:
        return "<h2>Readers</h2>\n<p>Nobody joined or left in this period.</p>"

    def count(rows: Sequence[MailRow], series: str) -> int:
        return sum(row.joined if series == "joined" else row.left for row in rows)

    series = {"joined": "Joined", "left": "Left"}
    plot = _bars(report, "Joined and left between each edition and the next", series, count, stacked=False)
    rows = []
    for row in report.lists:
        language = language_name(row.language) if row.language else "erased later"
        rows.append([_th(row.list), _td(language), _n(row.joined), _n(row.left)])
    table = _table(
        "Readers", "In the whole period, by list and language.", ("List", "Language"), ("Joined", "Left"), rows
    )
    return f"<h2>Readers</h2>\n{plot if report.mail else ''}\n{table}"


def _posts(report: Report) -> str:
    if not report.posts:
        return "<h2>Posts</h2>\n<p>Nothing was posted in this period.</p>"
    rows = []
    for post in report.posts:
        link = (
            f'<td><a href="{escape(post.link)}" rel="noreferrer">{escape(post.link)}</a></td>' if post.link else _td("")
        )
        state = f"{post.state}: {post.reason}" if post.reason else post.state
        story = post.story or post.edition
        rows.append([_th(post.channel), f"<td>{_time(post.at, report)}</td>", _td(story), _td(state), link])
    return f"<h2>Posts</h2>\n{_table('Posts', '', ('Channel', 'When', 'What', 'State', 'Link'), (), rows)}"


def _skipped(report: Report) -> str:
    if not report.skipped:
        return "<h2>Not sent</h2>\n<p>Nothing was held or skipped.</p>"
    rows = []
    for skip in report.skipped:
        count = _n(skip.count) if skip.count else _td("")
        rows.append([_th(skip.what), f"<td>{_time(skip.at, report)}</td>", _td(skip.reason), count])
    return f"<h2>Not sent</h2>\n{_table('Not sent', '', ('What', 'When', 'Why'), ('Readers',), rows)}"


# -- pieces -----------------------------------------------------------------------------------------------------------


def _bars(
    report: Report,
    title: str,
    series: dict[str, str],
    value: Callable[[Sequence[MailRow], str], int],
    *,
    stacked: bool = True,
) -> str:
    """Draw bars by edition, oldest first, with the series stacked or side by side."""
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
        label = _number(top * (4 - step) // 4)
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
    return (
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


def _table(label: str, caption: str, heads: Iterable[str], counts: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    top += "".join(f'<th scope="col" class="n">{escape(head)}</th>' for head in counts)
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    table = f"<table>{title}<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    return f'<section class="table" tabindex="0" aria-label="{escape(label)}">{table}</section>'


def _th(text: str) -> str:
    return f'<th scope="row">{escape(text)}</th>'


def _td(text: str, language: str = "") -> str:
    attribute = f' lang="{escape(language)}"' if language else ""
    return f"<td{attribute}>{escape(text)}</td>"


def _n(count: int) -> str:
    return f'<td class="n">{_number(count)}</td>'
