"""`tidings subscribers import` and `export`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

from tidings.cli.progress import show_progress
from tidings.cli.session import console, log_action, open_newsroom, say, warn
from tidings.cli.subscribers import Confirmed, List, Source, check_list
from tidings.model.errors import InputError, RefusedError
from tidings.model.text import format_csv_line
from tidings.runtime.people_files.csv_format import COLUMNS, REASON, PeopleFile, StatusChoice, export_people
from tidings.runtime.people_files.importer import (
    DUPLICATE,
    REFUSED,
    ImportOptions,
    ImportSummary,
    ImportWatcher,
)
from tidings.runtime.people_files.importer import (
    import_people as import_file,
)
from tidings.runtime.people_files.person_record import RefusedLine
from tidings.store.people import subscribers
from tidings.store.people.bulk_import import ImportResult


class Tool(StrEnum):
    """Mailing tools whose exports can be imported."""

    LISTMONK = "listmonk"
    MAILCHIMP = "mailchimp"
    MAILMAN3 = "mailman3"
    GHOST = "ghost"
    MAILPOET = "mailpoet"
    KEILA = "keila"
    BREVO = "brevo"
    SUBSTACK = "substack"
    MAUTIC = "mautic"
    PHPLIST = "phplist"
    CONSTANTCONTACT = "constantcontact"


class State(StrEnum):
    """The state of a subscription."""

    CONFIRMED = subscribers.CONFIRMED
    PENDING = subscribers.PENDING
    UNSUBSCRIBED = subscribers.UNSUBSCRIBED
    ALL = "all"


def import_people(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV: email,name,language,topics,frequency.")],
    list_name: List,
    confirmed: Confirmed = False,
    source: Source = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the result for each line; change nothing.")] = False,
    refused: Annotated[
        Path | None, typer.Option("--refused", metavar="OUT.csv", help="Write refused lines here, with the reasons.")
    ] = None,
    tool: Annotated[Tool | None, typer.Option("--from", help="FILE is the export of this tool.")] = None,
    status_column: Annotated[
        str, typer.Option("--status-column", metavar="NAME", help="The column that says who has left.")
    ] = "",
    left: Annotated[
        str, typer.Option("--left", metavar="A,B", help="Values that mean: has left. Write `(empty)` for an empty one.")
    ] = "",
    ignore_column: Annotated[
        list[str] | None, typer.Option("--ignore-column", metavar="NAME", help="A column about something else.")
    ] = None,
) -> None:
    """Put the people of a file on a list. Sends no mail.

    People who left are not added again, also those who left elsewhere: if it is not clear what a column such as
    `status` says, nobody is imported, and you are asked. A refused line is reported with its number and the reason; the
    other lines are imported. If the import is interrupted, run the same command again.
    """
    if bool(status_column) != bool(left):
        raise RefusedError("--status-column and --left need each other: name the column and its values")
    with open_newsroom(needs="yaml") as runtime, ExitStack() as stack:
        options = ImportOptions(
            check_list(runtime, list_name),
            confirmed,
            " ".join(source.split()) or f"import {file.name}",
            tool.value if tool else "",
            dry_run,
            StatusChoice(
                status_column, tuple(filter(None, map(str.strip, left.split(",")))), tuple(ignore_column or ())
            ),
        )
        watcher = stack.enter_context(_watch_import(file, refused))
        summary = import_file(runtime.store, runtime.newsroom, file, options, now=datetime.now(UTC), watcher=watcher)
        if not dry_run:
            counts = ", ".join(f"{count} {result}" for result, count in summary.counts.items() if count)
            with runtime.store.write() as connection:
                log_action(connection, "subscriber.imported", list_name, counts)
    _print_summary(summary, options)
    if summary.counts[REFUSED]:
        raise typer.Exit(1)


def _create(path: Path) -> TextIO:
    """Open a file for addresses. If it is new, only its owner can read it."""

    def open_privately(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    return open(path, "w", encoding="utf-8", newline="", opener=open_privately)


@contextmanager
def _watch_import(file: Path, refused: Path | None) -> Iterator[ImportWatcher]:
    """Show a bar on a terminal, else a line every ten seconds. Print or write each refused line."""
    columns = (TextColumn("importing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    if refused is not None and refused.exists() and file.exists() and refused.samefile(file):
        raise RefusedError(f"{refused} is the file to import. Give --refused another name.")
    with ExitStack() as stack:
        bar = stack.enter_context(show_progress(*columns))
        task = bar.add_task("", total=None)
        out = stack.enter_context(_create(refused)) if refused is not None else None
        size, width, last_shown = 0, 1, time.monotonic()

        def begin(table: PeopleFile, total: int) -> None:
            nonlocal size, width
            size, width = total, max(len(table.header), 1)
            bar.update(task, total=total)
            if table.ignored:
                warn(f"{file}: columns that are not imported: {', '.join(table.ignored)}")
            if out is not None:
                out.write(format_csv_line([*(table.header or COLUMNS[:1]), REASON]))

        def report(line: RefusedLine) -> None:
            if out is None:
                warn(f"{file}: line {line.line}: {line.reason}")
            else:
                cells = [*line.cells, *[""] * (width - len(line.cells))]
                out.write(format_csv_line([*cells[:width], f"line {line.line}: {line.reason}"]))

        def step(position: int) -> None:
            nonlocal last_shown
            bar.update(task, completed=position)
            if not console(stderr=True).is_terminal and time.monotonic() - last_shown > 10:
                last_shown = time.monotonic()
                warn(f"{file}: {position * 100 // max(size, 1)} % read")

        yield ImportWatcher(report, begin, step)


_RESULTS = {
    str(ImportResult.ADDED): "added",
    str(ImportResult.CONFIRMED): "changed from pending to confirmed",
    str(ImportResult.AWAY): "left or bounced there (never mailed here)",
    str(ImportResult.KNOWN_AWAY): "left or bounced there (known here)",
    str(ImportResult.SINCE): "left there, but agreed here later",
    str(ImportResult.EXISTS): "on the list already",
    DUPLICATE: "twice in the file",
    str(ImportResult.LEFT): "left before (not added again)",
    str(ImportResult.LAPSED): "did not confirm again (not changed)",
    str(ImportResult.SUPPRESSED): "suppressed",
    REFUSED: "refused",
}


def _print_summary(summary: ImportSummary, options: ImportOptions) -> None:
    if summary.labels:
        names = ", ".join(f"{label} ({count})" for label, count in summary.labels.most_common(20))
        more = f", and {len(summary.labels) - 20} more" if len(summary.labels) > 20 else ""
        say(f"These labels are not topics here and are not imported: {names}{more}")
    results = ", ".join(f"{summary.counts[key]:,} {words}" for key, words in _RESULTS.items() if summary.counts[key])
    start = "Nothing was changed. Would be: " if options.dry_run else ""
    say(f"{start}{results or 'nobody added'}.")
    if options.tool == "listmonk" and not options.confirmed and summary.counts[str(ImportResult.ADDED)]:
        say(
            "listmonk's file does not say who confirmed, so these people are pending. Export only the people with a "
            "confirmed subscription and import them with --confirmed."
        )


def export(
    list_name: Annotated[str, typer.Option("--list", metavar="L", help="Default: every list.")] = "",
    state: Annotated[list[State] | None, typer.Option("--state", help="In this state. Can be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Add list, state, source and dates.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it here. Default: print it.")] = None,
) -> None:
    """Write the confirmed subscribers of a list as CSV, or those in another state."""
    wanted = set(State) if state and State.ALL in state else set(state or [State.CONFIRMED])
    with open_newsroom(needs="store") as runtime:
        with runtime.store.write() as connection:
            log_action(connection, "subscriber.exported", list_name or "every list")
        lines = export_people(
            runtime.store,
            check_list(runtime, list_name) if list_name else None,
            sorted(item.value for item in wanted),
            everything=everything,
        )
        if out is None:
            for line in lines:
                print(line, end="")
            return
        if not out.parent.is_dir():
            raise InputError(f"{out}: there is no folder {out.parent}.")
        with _create(out) as file:
            file.writelines(lines)
