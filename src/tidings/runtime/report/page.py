"""A report as one page of HTML: plots drawn as SVG with the table of the same numbers beside them, and no script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from html import escape

from tidings.render.i18n import format_count, format_date, format_datetime, language_name
from tidings.render.palette import make_palette
from tidings.runtime.report.report import MailRow, Report

_MOST = 40
"""Editions that a plot shows: the newest."""
_WIDTH, _HEIGHT = 720, 260
_LEFT, _RIGHT, _BOTTOM, _TOP = 48, 24, 26, 8
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --muted: #566070; --line: #c9d0da; --paper: #ffffff; --tint: #f3f5f8;
  --accent: %s; --c0: #0b63a5; --c1: #b4560a; --c2: #2f7d32; --c3: #8a3ea8; --c4: #a32040; --c5: #4a6572; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceff3; --muted: #aab4c1; --line: #4a5460; --paper: #1b2026;
  --tint: #262c34; --accent: %s; --c0: #6bb3ec; --c1: #f0a35a; --c2: #7fcf83; --c3: #d59bec; --c4: #f28ba3;
  --c5: #a9bcc6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem clamp(1rem, 4vw, 2.5rem) 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-bottom: .35rem; border-bottom: 3px solid var(--accent); }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.muted { color: var(--muted); }
.totals { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .75rem; margin: 1.5rem 0 0; }
.totals div { padding: .8rem 1rem; background: var(--tint); border: 1px solid var(--line); border-radius: .5rem; }
.totals dt { color: var(--muted); font-size: .9rem; }
.totals dd { margin: 0; font-size: 1.6rem; font-weight: 650; font-variant-numeric: tabular-nums; }
figure { margin: 0 0 1rem; }
figcaption { font-weight: 600; margin-bottom: .5rem; }
.plot { overflow-x: auto; }
.plot svg { display: block; width: 100%%; min-width: 34rem; height: auto; }
svg text { fill: var(--muted); font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
.grid { stroke: var(--line); stroke-width: 1; }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .5rem 0 0; padding: 0; list-style: none;
  font-size: .92rem; }
.key svg { display: inline-block; width: .8rem; height: .8rem; margin-inline-end: .4rem; }
.f0 { fill: var(--c0); } .f1 { fill: var(--c1); } .f2 { fill: var(--c2); } .f3 { fill: var(--c3); }
.f4 { fill: var(--c4); } .f5 { fill: var(--c5); }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%%; font-size: .94rem; }
caption { text-align: start; color: var(--muted); padding-bottom: .4rem; }
th, td { padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); text-align: start; vertical-align: top; }
thead th { color: var(--muted); font-weight: 600; }
tbody th { font-weight: 500; white-space: nowrap; }
.n { text-align: end; font-variant-numeric: tabular-nums; }
td:not(.n) { overflow-wrap: break-word; min-width: 5.5rem; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } h2, figure { break-after: avoid; }
  tr, figure, .totals { break-inside: avoid; } a { color: inherit; } .table { overflow: visible; } }
"""


def render_report_page(report: Report, colour: str) -> str:
    """The page; nothing in it is loaded from elsewhere."""
    colours = make_palette(colour)
    style = _STYLE % (colours.accent, colours.accent_dark)
    period = _period(report)
    title = f"{report.title}: report"
    parts = [
        f'<h1>{escape(title)}</h1>\n<p class="muted">{escape(period)} Made {_when(report.made, report)}.</p>',
        _totals(report),
        _mail(report),
        _came(report),
        _posts(report),
        _skipped(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en" dir="ltr">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title[:60])}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _period(report: Report) -> str:
    def day(moment: datetime) -> str:
        return format_date(moment, "en", report.zone)

    if report.since and report.until:
        return f"From {day(report.since)} until {day(report.until)}."
    if report.since:
        return f"Since {day(report.since)}."
    return f"Until {day(report.until)}." if report.until else "Everything so far."


def _when(moment: datetime, report: Report) -> str:
    return escape(format_datetime(moment, "en", report.zone))


def _number(count: int) -> str:
    return format_count(count, "en")


def _totals(report: Report) -> str:
    figures = {
        "Editions by mail": len({row.edition for row in report.mail if row.accepted}),
        "Mails accepted": sum(row.accepted for row in report.mail),
        "Returned": sum(row.returned for row in report.mail),
        "Posts": sum(post.state == "accepted" for post in report.posts),
        "Joined": sum(row.joined for row in report.lists),
        "Left": sum(row.left for row in report.lists),
    }
    cells = "".join(f"<div><dt>{name}</dt><dd>{_number(count)}</dd></div>" for name, count in figures.items())
    return f'<dl class="totals">{cells}</dl>'


def _mail(report: Report) -> str:
    if not report.mail:
        return "<h2>Mail</h2>\n<p>No edition went out by mail in that time.</p>"
    languages = list(dict.fromkeys(row.language for row in sorted(report.mail, key=lambda row: row.language)))
    names = {each: language_name(each) for each in languages}

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
    counts = ("Accepted", "Hard bounces", "Soft bounces", "Complaints", "Refused", "Not over", "Joined", "Left")
    note = "Joined and left: from this edition until the next one to the same list."
    return f"<h2>Mail</h2>\n{plot}\n{_table('Mail', note, heads, counts, rows)}"


def _came(report: Report) -> str:
    if not report.lists:
        return "<h2>Readers</h2>\n<p>Nobody joined or left in that time.</p>"
    sums = {"joined": "Joined", "left": "Left"}

    def moved(rows: Sequence[MailRow], which: str) -> int:
        return sum(row.joined if which == "joined" else row.left for row in rows)

    plot = _bars(report, "Joined and left, from each edition until the next", sums, moved, stacked=False)
    rows = [
        [
            _th(row.list),
            _td(language_name(row.language) if row.language else "erased since"),
            _n(row.joined),
            _n(row.left),
        ]
        for row in report.lists
    ]
    table = _table("Readers", "The whole time, by list and language.", ("List", "Language"), ("Joined", "Left"), rows)
    return f"<h2>Readers</h2>\n{plot if report.mail else ''}\n{table}"


def _posts(report: Report) -> str:
    if not report.posts:
        return "<h2>Posts</h2>\n<p>Nothing was posted in that time.</p>"
    rows = []
    for post in report.posts:
        link = (
            f'<td><a href="{escape(post.link)}" rel="noreferrer">{escape(post.link)}</a></td>' if post.link else _td("")
        )
        state = f"{post.state}: {post.reason}" if post.reason else post.state
        story = post.story or post.edition
        rows.append([_th(post.channel), f"<td>{_when(post.at, report)}</td>", _td(story), _td(state), link])
    return f"<h2>Posts</h2>\n{_table('Posts', '', ('Channel', 'When', 'What', 'State', 'Link'), (), rows)}"


def _skipped(report: Report) -> str:
    if not report.skipped:
        return "<h2>What did not go</h2>\n<p>Nothing was held back or skipped.</p>"
    rows = [
        [
            _th(skip.what),
            f"<td>{_when(skip.at, report)}</td>",
            _td(skip.reason),
            _n(skip.count) if skip.count else _td(""),
        ]
        for skip in report.skipped
    ]
    return f"<h2>What did not go</h2>\n{_table('What did not go', '', ('What', 'When', 'Why'), ('Readers',), rows)}"


# -- pieces -----------------------------------------------------------------------------------------------------------


def _bars(
    report: Report,
    title: str,
    series: dict[str, str],
    value: Callable[[Sequence[MailRow], str], int],
    *,
    stacked: bool = True,
) -> str:
    """Bars by edition, oldest first: the series on top of each other, or side by side. The table says the numbers."""
    groups: dict[str, list[MailRow]] = {}
    for row in report.mail:
        groups.setdefault(row.edition, []).append(row)
    shown = list(groups.items())[-_MOST:]
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
                # A hair of ground between neighbours tells them apart without colour.
                drawn.append(
                    f'<rect class="f{index % 6}" x="{x:.1f}" y="{y:.1f}" width="{max(across - 1, 1):.1f}" '
                    f'height="{max(tall - 1, 0.8):.1f}"/>'
                )
            base += tall if stacked else 0.0
        if number % every == 0:
            day = escape(format_date(rows[0].at, "en", report.zone).rsplit(" ", 1)[0])
            drawn.append(f'<text x="{left + room / 2:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{day}</text>')
    more = f" The newest {_MOST} of {len(groups)}." if len(groups) > _MOST else ""
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
    """The top of the scale: 4, 8, 20, 40, 80, 200, 400, ... so that quarters are whole numbers."""
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
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    table = f"<table>{said}<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    return f'<section class="table" tabindex="0" aria-label="{escape(label)}">{table}</section>'


def _th(text: str) -> str:
    return f'<th scope="row">{escape(text)}</th>'


def _td(text: str, language: str = "") -> str:
    said = f' lang="{escape(language)}"' if language else ""
    return f"<td{said}>{escape(text)}</td>"


def _n(count: int) -> str:
    return f'<td class="n">{_number(count)}</td>'
