"""`report`: deliveries and bounces, on the terminal, as a page or as a spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidings.cli.session import Json, console, format_moment, make_table, open_newsroom, print_json, read_moment, say
from tidings.model.errors import RefusedError
from tidings.model.plurals import count_noun
from tidings.runtime.newsroom import Runtime
from tidings.runtime.report.page import render_report_page
from tidings.runtime.report.report import Report, as_csv, make_report


def report(
    since: Annotated[str, typer.Option("--since", metavar="T", help="Editions from this moment on.")] = "",
    until: Annotated[str, typer.Option("--until", metavar="T", help="Editions before this moment.")] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write a page (.html) or a spreadsheet (.csv). Default: print it."),
    ] = None,
    json: Json = False,
) -> None:
    """Report what went out, what bounced, and who joined or left.

    Mail is counted by edition, list and language. Posts, and what did not go out and why, follow.
    """
    if out is not None and out.suffix not in (".html", ".csv"):
        raise RefusedError(f"--out {out}: write a name that ends in .html or .csv")
    with open_newsroom(needs="store") as runtime:
        zone = runtime.newsroom.site.timezone
        begin = read_moment(since, zone) if since else None
        end = read_moment(until, zone) if until else None
        if begin is not None and end is not None and begin >= end:
            raise RefusedError("--since must be earlier than --until")
        with runtime.store.read() as connection:
            made = make_report(connection, runtime.newsroom, begin, end, runtime.now())
        if json:
            print_json(made.as_json())
        if out is not None:
            is_page = out.suffix == ".html"
            text = render_report_page(made, runtime.newsroom.site.colour) if is_page else as_csv(made)
            out.write_text(text, encoding="utf-8")
            if not json:
                rows, posts = count_noun(len(made.mail), "row"), count_noun(len(made.posts), "post")
                say(f"{out}: {rows} of mail, {posts}.")
        elif not json:
            _print(made, runtime)


def _print(report: Report, runtime: Runtime) -> None:
    if not (report.mail or report.posts or report.skipped):
        say("Nothing went out in that time.")
        return
    table = make_table(
        "Mail", "edition", "when", "list", "language", "accepted", "returned", "rejected", "joined", "left"
    )
    for row in report.mail:
        counts = (row.accepted, row.returned, row.rejected, row.joined, row.left)
        table.add_row(row.edition, format_moment(row.at, runtime), row.list, row.language, *map(str, counts))
    console().print(table)
    if report.posts:
        say("\nPosts")
    for post in report.posts:
        subject = f"{post.edition} {post.story}".strip()
        say(f"{format_moment(post.at, runtime)}  {post.channel}  {post.state}  {subject}  {post.link}")
    if report.skipped:
        say("\nDid not go out")
    for skip in report.skipped:
        count = f" {skip.count}" if skip.count else ""
        say(f"{format_moment(skip.at, runtime)}  {skip.what}:{count} {skip.reason}")
