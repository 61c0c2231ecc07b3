"""`ledger` and `explain`: what happened to each delivery, and why."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer

from tidings.cli.session import Json, format_moment, open_newsroom, read_moment, say, session
from tidings.runtime.explain import explain as explain_reader
from tidings.store.delivery import ledger as deliveries


def ledger(
    schedule: Annotated[str, typer.Option("--schedule", help="Only this schedule.")] = "",
    edition: Annotated[str, typer.Option("--edition", metavar="SCHEDULE/NUMBER", help="Only this edition.")] = "",
    target: Annotated[str, typer.Option("--target", help="list:LIST:NUMBER or channel:NAME.")] = "",
    state: Annotated[str, typer.Option("--state", help="Such as accepted, skipped, rejected, in_doubt.")] = "",
    since: Annotated[str, typer.Option("--since", metavar="T", help="Changed since this moment.")] = "",
    json: Json = False,
) -> None:
    """List deliveries and their results. With --json, one object a line."""
    with open_newsroom(needs="store") as runtime, runtime.store.read() as connection:
        for entry in deliveries.entries(
            connection,
            schedule=schedule or None,
            edition=edition or None,
            target=target or None,
            state=state or None,
            since=read_moment(since, runtime.newsroom.site.timezone) if since else None,
        ):
            if json:
                session.has_printed = True
                print(jsonlib.dumps(entry.as_json(), ensure_ascii=False))
                continue
            subject = entry.edition or entry.purpose
            story = f" {entry.story}" if entry.story else ""
            story += f" ({entry.language})" if entry.channel and entry.language else ""
            result = entry.receipt if entry.state == "accepted" else entry.reason
            at = format_moment(entry.at, runtime)
            say(f"{entry.id:>6}  {at}  {entry.state:<11} {subject}{story}  {entry.address or entry.target}  {result}")


def explain(
    address: Annotated[str, typer.Argument(metavar="ADDRESS")],
    story: Annotated[str, typer.Argument(metavar="[STORY]", help="A story's name.")] = "",
) -> None:
    """Explain why a reader did or did not get a story."""
    with open_newsroom(needs="store") as runtime, runtime.store.read() as connection:
        for line in explain_reader(
            connection,
            runtime.newsroom,
            address,
            story or None,
            lambda at: format_moment(at, runtime),
            runtime.now(),
        ):
            say(line)
