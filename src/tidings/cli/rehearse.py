"""`rehearse`: the time between two moments, on a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tidings.cli.app import Json, app, console, errors, place, print_json, read_moment
from tidings.model.cadence import load_zone
from tidings.runtime.rehearsal.rehearse import load_for_rehearsal, rehearse
from tidings.runtime.rehearsal.results import Outlet, Rehearsal, RehearsedEvent


@app.command("rehearse")
def rehearse_command(
    begins: Annotated[str, typer.Option("--from", metavar="T", help="From this moment: 2026-12-01T09:00.")],
    ends: Annotated[str, typer.Option("--to", metavar="T", help="To this one; a date alone: to its end.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="For samples; default: rehearsal/ here.")] = Path(),
    json: Json = False,
) -> None:
    """What would go to whom in the time between, on a copy of the store and into a catcher. Changes nothing."""
    root = place.root.resolve()
    newsroom = load_for_rehearsal(root)
    place.secrets = newsroom.secrets
    zone = newsroom.site.timezone
    first, last = read_moment(begins, zone), read_moment(ends, zone, end_of_day=True)
    folder = out if out != Path() else root / "rehearsal"
    with _bar() as told:
        found = rehearse(newsroom, first, last, folder.resolve(), progress=told)
    if json:
        print_json(found.as_json())
        return
    lines = table(found, zone)
    (found.folder / "table.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for line in lines:
        console.print(line, markup=False)


@contextmanager
def _bar() -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal, nothing elsewhere: it takes seconds."""
    if not errors.is_terminal:
        yield lambda what, part: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda what, part: progress.update(task, description=what, completed=part)


def table(found: Rehearsal, zone: str) -> list[str]:
    """The rehearsal in lines: what comes first is what one must know to read it."""

    def local(moment: datetime) -> str:
        return f"{moment.astimezone(load_zone(zone)):%a %Y-%m-%d %H:%M}"

    lines = [f"From {local(found.begins)} to {local(found.ends)} ({zone}), on a copy. Nothing was sent or changed."]
    lines += [f"- {note}" for note in found.notes]
    lines.append("")
    if not found.rows:
        return [*lines, "Nothing happens in that time."]
    cells = [("when", "UTC", "edition", "to", "recipients", "skipped", "what")]
    for row in found.rows:
        when, utc = local(row.at), f"{row.at:%d %H:%M}"
        name, what = row.edition or row.schedule or row.outcome, _what(row, local)
        for number, outlet in enumerate(row.outlets or [None]):
            first = number == 0
            to, counted, skipped = _cells(outlet)
            cells.append(
                (when, utc, name, to, counted, skipped, what) if first else ("", "", "", to, counted, skipped, "")
            )
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    sent = sum(outlet.recipients.total() for row in found.rows if row.outcome == "sent" for outlet in row.outlets)
    editions = sum(row.outcome == "sent" for row in found.rows)
    waits = sum(row.outcome == "held" for row in found.rows)
    lines.append("")
    lines.append(f"{editions} editions to {sent:,} recipients; {waits} held. Samples: {found.folder}")
    return lines


def _cells(outlet: Outlet | None) -> tuple[str, str, str]:
    if outlet is None:
        return "", "", ""
    languages = ", ".join(f"{count:,} {language or '-'}" for language, count in sorted(outlet.recipients.items()))
    total = outlet.recipients.total()
    counted = f"{total:,} ({languages})" if len(outlet.recipients) > 1 else languages or "0"
    missing = [*outlet.skipped.items(), *outlet.failed.items()]
    return outlet.name, counted, ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in missing)


def _what(row: RehearsedEvent, local: Callable[[datetime], str]) -> str:
    many = f"{row.count} slots until {local(row.until)} " if row.count > 1 and row.until else ""
    stories = f"{len(row.stories)} stor{'y' if len(row.stories) == 1 else 'ies'}" if row.stories else ""
    moved = f"moved: {row.moved}" if row.moved else ""
    said = ": ".join(part for part in (f"{many}{row.outcome}", row.why) if part)
    return "; ".join(part for part in (said, row.after, stories, moved, *row.stalled) if part)
