"""`run`, `tick`, `demo`: the newsroom at work."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tidings.cli.app import Json, Now, app, console, errors, opened, place, print_json
from tidings.cli.progress import FAILED, sending
from tidings.cli.sources import fetched
from tidings.runtime.tick import TickResult, tick


@app.command("tick")
def tick_command(now: Now = "", json: Json = False) -> None:
    """Do now what is due, wait for its deliveries, say what happened, exit."""
    with opened(now) as runtime, sending(runtime):
        asked = fetched(runtime)
        done = tick(runtime, runtime.now())
        runtime.ping_hubs()
    if json:
        print_json(_as_json(done) | {"sources": asked})
    else:
        _print(done)
    if done.unpublished:
        errors.print(f"Pages and feeds stay as they are: {done.unpublished}", markup=False)
        raise typer.Exit(1)
    if done.stalled or any(done.delivered[state] for state in FAILED):
        raise typer.Exit(3)


def _as_json(done: TickResult) -> dict[str, Any]:
    collected, published = done.collected, done.published
    return {
        "now": done.now,
        "items": {
            "new": len(collected.new) if collected else 0,
            "changed": len(collected.changed) if collected else 0,
            "gone": len(collected.gone) if collected else 0,
            "set_aside": sum(problem.level == "error" for problem in collected.problems) if collected else 0,
        },
        "public": {
            "written": len(published.written) if published else 0,
            "removed": len(published.removed) if published else 0,
        },
        "editions": [
            {
                "schedule": one.schedule,
                "edition": one.edition.name if one.edition else None,
                "state": one.edition.state.value if one.edition else None,
                "reason": one.reason,
                "holds": [hold.detail for hold in one.edition.holds] if one.edition else [],
                "stories": list(one.edition.stories) if one.edition else [],
            }
            for one in done.composed
        ],
        "deliveries": dict(done.delivered),
        "stalled": done.stalled,
        "unpublished": done.unpublished,
        "told": done.notices,
        "restored": done.restored,
    }


def _print(done: TickResult) -> None:
    if done.restored:
        console.print(done.restored, markup=False)
    if done.collected is not None:
        for problem in done.collected.problems:
            errors.print(str(problem), markup=False)
        if done.collected.held:
            errors.print(done.collected.held, markup=False)
        collected = done.collected
        console.print(
            f"Content: {len(collected.new)} new, {len(collected.changed)} changed, {len(collected.gone)} gone."
        )
    if done.published is not None:
        console.print(f"public/: {len(done.published.written)} written, {len(done.published.removed)} removed.")
    for one in done.composed:
        if one.edition is None:
            console.print(f"{one.schedule}: skipped, {one.reason}.", markup=False)
            continue
        console.print(f"{one.edition.name}: {one.edition.state.value}, {len(one.edition.stories)} stories.")
        for hold in one.edition.holds:
            console.print(f"  held: {hold.detail}", markup=False)
    words = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in sorted(done.delivered.items()) if count)
    console.print(f"Deliveries: {words or 'none'}.")
    for lane, reason in done.stalled.items():
        errors.print(f"{f'channel {lane}' if lane else 'mail'} cannot go on: {reason}", markup=False)


@app.command("run")
def run_command(
    only: Annotated[str, typer.Option("--only", metavar="pages", help="`pages`: serve them, and nothing else.")] = "",
) -> None:
    """The service: watches, publishes, sends on cadence, serves the pages."""
    from tidings.model.errors import RefusedError
    from tidings.runtime.service import run_service
    from tidings.web.app import newsroom_app
    from tidings.web.metrics import metrics_app

    if only not in ("", "pages"):
        raise RefusedError(f"--only {only} is not known; `--only pages` is")
    raise typer.Exit(
        run_service(
            place.root.resolve(),
            make_app=newsroom_app,
            make_metrics_app=metrics_app,
            only_pages=only == "pages",
            say=lambda line: console.print(line, markup=False),
        )
    )


@app.command("demo")
def demo_command(
    once: Annotated[bool, typer.Option("--once", help="Exit at the end instead of serving the result.")] = False,
    port: Annotated[int, typer.Option("--port", help="Where to serve; the next free one if it is taken.")] = 8080,
) -> None:
    """The sample newsroom through a fortnight, for real, on this machine alone."""
    from tidings.cli.demo import run_demo

    raise typer.Exit(run_demo(console, once=once, port=port))
