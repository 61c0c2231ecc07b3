"""`tidings subscribers import` and `export`: people in and out as files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from tidings.cli.app import console, errors, opened
from tidings.cli.subscribers import Confirmed, List, Source, group, known_list
from tidings.model.errors import InputError, RefusedError
from tidings.model.text import format_csv_line
from tidings.runtime.people_files.csv_format import COLUMNS, REASON, PeopleFile
from tidings.runtime.people_files.export import export_people
from tidings.runtime.people_files.importer import (
    DUPLICATE,
    REFUSED,
    ImportOptions,
    ImportSummary,
    ImportWatcher,
    import_people,
)
from tidings.runtime.people_files.records import RefusedLine
from tidings.store.people import subscribers
from tidings.store.people.bulk_import import ImportResult


class Tool(StrEnum):
    """Whose export a file is."""

    LISTMONK = "listmonk"
    MAILCHIMP = "mailchimp"
    MAILMAN3 = "mailman3"
    GHOST = "ghost"


class State(StrEnum):
    """Of a subscription."""

    CONFIRMED = subscribers.CONFIRMED
    PENDING = subscribers.PENDING
    UNSUBSCRIBED = subscribers.UNSUBSCRIBED
    ALL = "all"


@group.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV: email,name,language,topics,frequency.")],
    list_name: List,
    confirmed: Confirmed = False,
    source: Source = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen to each; change nothing.")] = False,
    refused: Annotated[
        Path | None, typer.Option("--refused", metavar="OUT.csv", help="Write the lines not taken here, with reasons.")
    ] = None,
    tool: Annotated[Tool | None, typer.Option("--from", help="FILE is the export of this tool.")] = None,
) -> None:
    """Put the people of a file on a list. Mails nobody, and never brings back who left.

    Each line that is not taken is told with its number and the reason; the others go in. It may be cut at any moment:
    the same command again goes on where it stood.
    """
    with opened() as runtime, ExitStack() as stack:
        asked = ImportOptions(
            known_list(runtime, list_name),
            confirmed,
            " ".join(source.split()) or f"import {file.name}",
            tool.value if tool else "",
            dry_run,
        )
        told = stack.enter_context(_watched(file, refused))
        done = import_people(runtime.store, runtime.newsroom, file, asked, now=datetime.now(UTC), told=told)
    _say(done, asked, file)
    if done.counts[REFUSED]:
        raise typer.Exit(1)


@contextmanager
def _watched(file: Path, refused: Path | None) -> Iterator[ImportWatcher]:
    """A bar on a terminal, a line every ten seconds elsewhere; each line not taken is said, or written."""
    columns = (TextColumn("importing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    if refused is not None and refused.exists() and file.exists() and refused.samefile(file):
        raise RefusedError(f"{refused} is the file that is imported; give --refused another name.")
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal))
        task = bar.add_task("", total=None)
        out = stack.enter_context(refused.open("w", encoding="utf-8", newline="")) if refused is not None else None
        size, said, width = 0, time.monotonic(), 0

        def begun(reading: PeopleFile, total: int) -> None:
            nonlocal size, width
            size, width = total, len(reading.header)
            bar.update(task, total=total)
            if reading.ignored:
                errors.print(f"{file}: columns that are not taken: {', '.join(reading.ignored)}", markup=False)
            if out is not None:
                out.write(format_csv_line([*(reading.header or COLUMNS[:1]), REASON]))

        def tell(one: RefusedLine) -> None:
            if out is None:
                errors.print(f"{file}: line {one.line}: {one.reason}", markup=False)
            else:
                cells = [*one.cells, *[""] * (max(width, 1) - len(one.cells))]
                out.write(format_csv_line([*cells[: max(width, 1)], f"line {one.line}: {one.reason}"]))

        def step(position: int) -> None:
            nonlocal said
            bar.update(task, completed=position)
            if not errors.is_terminal and time.monotonic() - said > 10:
                said = time.monotonic()
                errors.print(f"{file}: {position * 100 // max(size, 1)} % read", markup=False)

        yield ImportWatcher(tell, begun, step)


_WORDS = {
    str(ImportResult.ADDED): "added",
    str(ImportResult.CONFIRMED): "were pending and are confirmed now",
    str(ImportResult.AWAY): "left or bounced there: never mailed here",
    str(ImportResult.KNOWN_AWAY): "left or bounced there, as is known here",
    str(ImportResult.SINCE): "left there and agreed here since",
    str(ImportResult.EXISTS): "there already",
    DUPLICATE: "twice in the file",
    str(ImportResult.LEFT): "left before (not brought back)",
    str(ImportResult.SUPPRESSED): "suppressed",
    REFUSED: "refused",
}


def _say(done: ImportSummary, asked: ImportOptions, file: Path) -> None:
    if done.resumed:
        console.print(f"Taken up after line {done.resumed:,}, where an earlier run was cut.")
    if done.labels:
        named = ", ".join(f"{label} ({count})" for label, count in done.labels.most_common(20))
        more = f", and {len(done.labels) - 20} more" if len(done.labels) > 20 else ""
        console.print(f"Labels that are no topic here, and are not taken: {named}{more}", markup=False)
    words = ", ".join(f"{done.counts[key]} {words}" for key, words in _WORDS.items() if done.counts[key])
    console.print(
        f"{'Nothing was changed. Would be: ' if asked.dry_run else ''}{words or 'nobody added'}.", markup=False
    )
    if asked.tool == "listmonk" and not asked.confirmed and done.counts[str(ImportResult.ADDED)]:
        console.print(
            "listmonk's file does not say who has confirmed: they are pending. Export those with a confirmed "
            "subscription alone, and import them with --confirmed."
        )


@group.command()
def export(
    list_name: Annotated[str, typer.Option("--list", metavar="L", help="Default: every list.")] = "",
    state: Annotated[list[State] | None, typer.Option("--state", help="In this state; may be said again.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="With list, state, source and dates.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default: print it.")] = None,
) -> None:
    """The readers of a list as CSV; without --state those who are confirmed."""
    wanted = {one.value for one in state or [State.CONFIRMED]}
    if State.ALL in wanted:
        wanted = {one.value for one in State}
    with opened() as runtime:
        lines = export_people(
            runtime.store,
            known_list(runtime, list_name) if list_name else None,
            sorted(wanted),
            everything=everything,
        )
        if out is None:
            for line in lines:
                print(line, end="")
            return
        if not out.parent.is_dir():
            raise InputError(f"{out}: there is no folder {out.parent}.")
        with out.open("w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
