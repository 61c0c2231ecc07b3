"""`tidings report`: on the terminal, as an HTML page or as a CSV table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tidings.cli.app import Json, app, console, opened, print_json, read_moment, show
from tidings.cli.editions import table_of
from tidings.model.errors import RefusedError
from tidings.model.plurals import count_noun
from tidings.runtime.newsroom import Runtime
from tidings.runtime.report.page import render_report_page
from tidings.runtime.report.report import Report, as_csv, make_report


@app.command()
def report(
    since: Annotated[str, typer.Option("--since", metavar="T", help="Editions from this moment on.")] = "",
    until: Annotated[str, typer.Option("--until", metavar="T", help="Editions before this moment.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write a page (.html) or a table (.csv).")
    ] = None,
    json: Json = False,
) -> None:
    """Show what was sent, what bounced, who joined and left, and what was not sent, with the reasons."""
    if out is not None and out.suffix not in (".html", ".csv"):
        raise RefusedError(f"--out {out}: the name of a report must end in .html or .csv.")
    with opened() as runtime:
        zone = runtime.newsroom.site.timezone
        begin = read_moment(since, zone) if since else None
        end = read_moment(until, zone) if until else None
        if begin is not None and end is not None and begin >= end:
            raise RefusedError("--since must be before --until.")
        with runtime.store.read() as connection:
            made = make_report(connection, runtime.newsroom, begin, end, runtime.now())
        if json:
            print_json(made.as_json())
        if out is not None:
            page = out.suffix == ".html"
            text = render_report_page(made, runtime.newsroom.site.colour) if page else as_csv(made)
            out.write_text(text, encoding="utf-8")
            if not json:
                console.print(
                    f"{out}: {count_noun(len(made.mail), 'row')} of mail, {count_noun(len(made.posts), 'post')}.",
                    markup=False,
                )
        elif not json:
            _print(made, runtime)


def _print(made: Report, runtime: Runtime) -> None:
    if not (made.mail or made.posts or made.skipped):
        console.print("Nothing was sent in this period.")
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
        console.print("\n[bold]Not sent[/]")
    for skip in made.skipped:
        count = f" {skip.count}" if skip.count else ""
        console.print(f"{show(skip.at, runtime)}  {escape(skip.what)}:{count} {escape(skip.reason)}")
