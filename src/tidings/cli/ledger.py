"""`ledger`, `explain`, `resolve`, `status`: what happened, and how things stand."""

from __future__ import annotations

import getpass
import json as jsonlib
from typing import Annotated, Literal

import typer

from tidings.cli.app import Json, app, console, opened, print_json, read_moment, show
from tidings.cli.status_text import report_status
from tidings.model.errors import RefusedError
from tidings.pipeline.deliver.resolve import resolve_in_doubt
from tidings.runtime.explain import explain
from tidings.runtime.monitoring.status import status
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.service import restored

_MOST = 2**53


@app.command("ledger")
def ledger_command(
    schedule: Annotated[str, typer.Option("--schedule", help="Of this schedule.")] = "",
    edition: Annotated[str, typer.Option("--edition", metavar="SCHEDULE/NUMBER", help="Of this edition.")] = "",
    target: Annotated[str, typer.Option("--target", help="list:LIST:NUMBER or channel:NAME.")] = "",
    state: Annotated[str, typer.Option("--state", help="Such as accepted, skipped, rejected, in_doubt.")] = "",
    since: Annotated[str, typer.Option("--since", metavar="T", help="Changed since this moment.")] = "",
    json: Json = False,
) -> None:
    """Deliveries and what became of them; with --json one object a line."""
    with opened() as runtime, runtime.store.read() as connection:
        moment = read_moment(since, runtime.newsroom.site.timezone) if since else None
        for entry in ledger.entries(
            connection,
            schedule=schedule or None,
            edition=edition or None,
            target=target or None,
            state=state or None,
            since=moment,
        ):
            if json:
                print(jsonlib.dumps(entry.as_json(), ensure_ascii=False))
                continue
            what = entry.edition or entry.purpose
            to = entry.address or entry.target
            story = f" {entry.story}" if entry.story else ""
            story += f" ({entry.language})" if entry.channel and entry.language else ""
            more = entry.receipt if entry.state == "accepted" else entry.reason
            console.print(
                f"{entry.id:>6}  {show(entry.at, runtime)}  {entry.state:<11} {what}{story}  {to}  {more}", markup=False
            )


@app.command("explain")
def explain_command(
    address: Annotated[str, typer.Argument(metavar="ADDRESS")],
    story: Annotated[str, typer.Argument(metavar="[STORY]", help="A story's name.")] = "",
) -> None:
    """Why this reader did or did not get it, in words."""
    with opened() as runtime, runtime.store.read() as connection:
        for line in explain(connection, runtime.newsroom, address, story or None, lambda at: show(at, runtime)):
            console.print(line, markup=False)


@app.command()
def resolve(
    delivery: Annotated[
        str,
        typer.Argument(metavar="DELIVERY|EDITION", help="Its number in `tidings ledger`; or what a restore holds."),
    ],
    accepted: Annotated[bool, typer.Option("--accepted", help="It arrived; a URL of the post may follow.")] = False,
    url: Annotated[str, typer.Argument(metavar="[URL]", help="With --accepted: where the post is.")] = "",
    resend: Annotated[bool, typer.Option("--resend", help="It did not arrive: send it again.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Let it be.")] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="With --accepted: the further posts of its thread do not follow.")
    ] = False,
) -> None:
    """Settle a delivery that is in doubt; or, with --accepted, an edition that had gone out before a restore."""
    if sum((accepted, resend, cancel)) != 1:
        raise RefusedError("say one of --accepted, --resend or --cancel")
    if "/" in delivery:
        _resolve_edition(delivery, accepted=accepted)
        return
    if not (delivery.isascii() and delivery.isdigit() and 0 < int(delivery[:17]) <= _MOST):
        raise RefusedError(f"{delivery!r} is no delivery; `tidings ledger --state in_doubt` gives their numbers")
    how: Literal["accepted", "resend", "cancel"] = "accepted" if accepted else "resend" if resend else "cancel"
    with opened() as runtime:
        resolve_in_doubt(runtime.store, runtime.channels, int(delivery), how, runtime.now(), url=url, alone=alone)
    then = "it goes with the next `tidings tick`, or at once if `tidings run` runs" if resend else "settled"
    console.print(f"Delivery {delivery}: {then}.")


def _resolve_edition(name: str, *, accepted: bool) -> None:
    if not accepted:
        raise RefusedError(f"let it go with `tidings release {name}`, or drop it with `tidings cancel {name}`")
    with opened() as runtime, runtime.store.write() as connection:
        edition = editions.find_edition_by_name(connection, name)
        if edition is None:
            raise RefusedError(f"there is no edition {name!r}; `tidings status` names those that are held")
        count = restored.settle_as_sent(connection, edition, runtime.now(), getpass.getuser())
    console.print(f"{name}: settled. {count} deliveries count as accepted, and nothing of it goes.")


@app.command("status")
def status_command(json: Json = False) -> None:
    """What is wrong and what mends it, the next slots, what is pending, held, in doubt."""
    with opened() as runtime:
        found = status(runtime, runtime.now())
        if json:
            print_json(found)
        else:
            report_status(found, runtime)
