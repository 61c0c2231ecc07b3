"""`report`: for the boss, on the terminal, as a page or as a table for a spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tidings.cli.app import Json, app, console, opened, print_json, read_moment, show
from tidings.cli.editions import table_of
from tidings.model.errors import RefusedError
from tidings.runtime.newsroom import Runtime
from tidings.runtime.report.page import render_report_page
from tidings.runtime.report.report import Report, as_csv, make_report


@app.command()
def report(
    since: Annotated[str, typer.Option("--since", metavar="T", help="Editions from this moment on.")] = "",
    until: Annotated[str, typer.Option("--until", metavar="T", help="And before this one.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A page (.html) or a table (.csv); default: here.")
    ] = None,
    json: Json = False,
) -> None:
    """What went out by edition and language, what came back, who joined and left; posts; what did not go, and why."""
    if out is not None and out.suffix not in (".html", ".csv"):
        raise RefusedError(f"--out {out}: a report is written as .html or .csv")
    with opened() as runtime:
        zone = runtime.newsroom.site.timezone
        begin = read_moment(since, zone) if since else None
        end = read_moment(until, zone) if until else None
        if begin is not None and end is not None and begin >= end:
            raise RefusedError("--since lies after --until")
        with runtime.store.read() as connection:
            made = make_report(connection, runtime.newsroom, begin, end, runtime.now())
        if json:
            print_json(made.as_json())
        if out is not None:
            page = out.suffix == ".html"
            text = render_report_page(made, runtime.newsroom.site.colour) if page else as_csv(made)
            out.write_text(text, encoding="utf-8")
            if not json:
                console.print(f"{out}: {len(made.mail)} rows of mail, {len(made.posts)} posts.", markup=False)
        elif not json:
            _print(made, runtime)


def _print(made: Report, runtime: Runtime) -> None:
    if not (made.mail or made.posts or made.skipped):
        console.print("Nothing went out in that time.")
        return
    table = table_of(
        "Mail", "edition", "when", "list", "language", "accepted", "returned", "rejected", "joined", "left"
    )
    for row in made.mail:
        counts = (row.accepted, row.returned, row.rejected, row.joined, row.left)
        table.add_row(row.edition, show(row.at, runtime), row.list, row.language, *map(str, counts))
    console.print(table)
    if made.posts:
        console.print("\n[bold]Posts[/]")
    for post in made.posts:
        what = f"{post.edition} {post.story}".strip()
        console.print(f"{show(post.at, runtime)}  {post.channel}  {post.state}  {what}  {post.link}", markup=False)
    if made.skipped:
        console.print("\n[bold]Did not go[/]")
    for skip in made.skipped:
        count = f" {skip.count}" if skip.count else ""
        console.print(f"{show(skip.at, runtime)}  {escape(skip.what)}:{count} {escape(skip.reason)}")
