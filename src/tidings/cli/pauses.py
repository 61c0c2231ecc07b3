"""`pause` and `resume`: stops what a person says, for a while, also what is half sent."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import Annotated

import typer

from tidings.cli.app import Now, app, console, opened, read_moment, show
from tidings.model.errors import RefusedError, nearest
from tidings.runtime.newsroom import Runtime
from tidings.store.service import pauses
from tidings.store.service.pauses import Scope

What = Annotated[str, typer.Argument(metavar="NAME", help="A schedule, list or channel; list:NAME where two share it.")]
Everything = Annotated[bool, typer.Option("--all", help="Everything but notices and tests.")]


@app.command("pause")
def pause_command(
    name: What = "",
    everything: Everything = False,
    until: Annotated[str, typer.Option("--until", metavar="T", help="Goes on by itself then.")] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Shown by status and plan.")] = "",
    now: Now = "",
) -> None:
    """Stop a schedule, a list or a channel, also what is half sent; what comes due meanwhile merges into one."""
    with opened(now) as runtime:
        scope, found = _scope(runtime, name, everything)
        at = runtime.now()
        moment = read_moment(until, runtime.newsroom.site.timezone) if until else None
        if moment is not None and moment <= at:
            raise RefusedError(f"--until {until} has passed already.")
        with runtime.store.write() as connection:
            pauses.pause(connection, scope, found, at, until=moment, reason=reason, who=getpass.getuser())
        what = pauses.Pause(scope, found, at, moment, reason, "").what
        end = f"until {show(moment, runtime)}" if moment else f"until `tidings resume {name or '--all'}`"
        console.print(f"{what[0].upper()}{what[1:]} is paused {end}. What is on the wire ends first.", markup=False)


@app.command("resume")
def resume_command(name: What = "", everything: Everything = False, now: Now = "") -> None:
    """Let what was paused go on."""
    with opened(now) as runtime:
        with runtime.store.read() as connection:
            gone = pauses.active_pauses(connection)
        scope, found = _scope(runtime, name, everything, gone)
        at = runtime.now()
        with runtime.store.write() as connection:
            done = pauses.resume(connection, scope, found, at)
        what = pauses.Pause(scope, found, at, None, "", "").what
        if not done:
            raise RefusedError(f"{what} is not paused. `tidings status` says what is.")
        console.print(f"{what[0].upper()}{what[1:]} goes on with the next `tidings tick`, or at once under `run`.")


def _scope(runtime: Runtime, name: str, everything: bool, holding: Sequence[pauses.Pause] = ()) -> tuple[Scope, str]:
    """What a person means; also what is paused and no longer there."""
    if everything == bool(name):
        raise RefusedError("say what: the name of a schedule, list or channel, or --all for everything.")
    if everything:
        return Scope.ALL, ""
    newsroom = runtime.newsroom
    known = {
        Scope.SCHEDULE: set(newsroom.schedules),
        Scope.LIST: set(newsroom.lists),
        Scope.CHANNEL: set(newsroom.channels),
    }
    for one in holding:
        if one.scope in known:
            known[one.scope].add(one.name)
    kind, _, rest = name.partition(":")
    if rest and kind in [str(scope) for scope in known]:
        known, name = {Scope(kind): known[Scope(kind)]}, rest
    found = [scope for scope, names in known.items() if name in names]
    if len(found) > 1:
        ways = " or ".join(f"{scope}:{name}" for scope in found)
        raise RefusedError(f"{name} is {' and '.join(f'a {scope}' for scope in found)}: say {ways}.")
    if not found:
        mend = nearest(name, [one for names in known.values() for one in names])
        raise RefusedError(f"there is no schedule, list or channel {name!r}. {mend}".strip())
    return found[0], name
