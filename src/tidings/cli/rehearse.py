"""`tidings rehearse`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tidings.cli.progress import show_steps
from tidings.cli.session import Json, format_counts, print_json, read_moment, say, session
from tidings.model.cadence import load_zone
from tidings.model.plurals import count_noun
from tidings.runtime.newsroom import load_valid_newsroom
from tidings.runtime.preview.outlets import Outlet
from tidings.runtime.rehearsal.rehearse import rehearse as play
from tidings.runtime.rehearsal.results import Rehearsal, RehearsedEvent


def rehearse(
    begins: Annotated[str, typer.Option("--from", metavar="T", help="From this moment: 2026-12-01T09:00.")],
    ends: Annotated[str, typer.Option("--to", metavar="T", help="To this moment, or to the end of a date.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="For samples. Default: rehearsal/.")] = Path(),
    json: Json = False,
) -> None:
    """Show what would go to whom between two moments. Changes nothing.

    It works on a copy of the store, and every message goes into a mail catcher.
    """
    root = session.root.resolve()
    newsroom = load_valid_newsroom(root, needs="yaml")
    session.secrets = newsroom.secrets
    zone = newsroom.site.timezone
    first, last = read_moment(begins, zone), read_moment(ends, zone, end_of_day=True)
    folder = out if out != Path() else root / "rehearsal"
    with show_steps() as progress:
        result = play(newsroom, first, last, folder.resolve(), progress=progress)
    if json:
        print_json(result.as_json())
        return
    lines = format_table(result, zone)
    (result.folder / "table.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for line in lines:
        say(line)


def format_table(result: Rehearsal, zone: str) -> list[str]:
    """Return the lines to print: explanations first, then the table."""

    def local(moment: datetime) -> str:
        return f"{moment.astimezone(load_zone(zone)):%a %Y-%m-%d %H:%M}"

    lines = [f"From {local(result.begins)} to {local(result.ends)} ({zone}), on a copy. Nothing was sent or changed."]
    lines += [f"- {note}" for note in result.notes]
    lines.append("")
    if not result.rows:
        return [*lines, "Nothing happens in that time."]
    cells = [("when", "UTC", "edition", "to", "recipients", "skipped", "what")]
    for row in result.rows:
        name = row.edition or row.schedule or row.outcome
        start, end = (local(row.at), f"{row.at:%d %H:%M}", name), _format_event(row, local)
        for number, outlet in enumerate(row.outlets or [None]):
            outlet_cells = _format_outlet(outlet)
            cells.append(("", "", "", *outlet_cells, "") if number else (*start, *outlet_cells, end))
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    sent = [row for row in result.rows if row.outcome == "sent"]
    recipients = sum(outlet.recipients.total() for row in sent for outlet in row.outlets)
    held = sum(row.outcome == "held" for row in result.rows)
    lines.append("")
    lines.append(
        f"{count_noun(len(sent), 'edition')} to {count_noun(recipients, 'recipient')}; {held} held. "
        f"Samples: {result.folder}"
    )
    return lines


def _format_outlet(outlet: Outlet | None) -> tuple[str, str, str]:
    if outlet is None:
        return "", "", ""
    languages = ", ".join(f"{count:,} {language or '-'}" for language, count in sorted(outlet.recipients.items()))
    total = outlet.recipients.total()
    recipients = f"{total:,} ({languages})" if len(outlet.recipients) > 1 else languages or "0"
    return outlet.name, recipients, format_counts(outlet.skipped + outlet.failed, "")


def _format_event(row: RehearsedEvent, local: Callable[[datetime], str]) -> str:
    slots = f"{row.count} slots until {local(row.until)} " if row.count > 1 and row.until else ""
    stories = count_noun(len(row.stories), "story", "stories") if row.stories else ""
    moved = f"moved: {row.moved}" if row.moved else ""
    outcome = ": ".join(part for part in (f"{slots}{row.outcome}", row.why) if part)
    return "; ".join(part for part in (outcome, row.after, stories, moved, *row.stalled) if part)
