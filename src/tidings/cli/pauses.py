"""`pause` and `resume`: stop a schedule, a list or a channel for a while, even in the middle of an edition."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import Annotated

import typer

from tidings.cli.session import Now, format_moment, log_action, open_newsroom, read_moment, say
from tidings.config.references import find_names
from tidings.model.errors import RefusedError, nearest
from tidings.runtime.newsroom import Runtime
from tidings.store.service import pauses
from tidings.store.service.pauses import Pause, Scope

Name = Annotated[str, typer.Argument(metavar="NAME", help="A schedule, list or channel; list:NAME where two share it.")]
Everything = Annotated[bool, typer.Option("--all", help="Everything except notices and test mails.")]


def pause(
    name: Name = "",
    everything: Everything = False,
    until: Annotated[str, typer.Option("--until", metavar="T", help="Resume automatically then.")] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Shown by status and plan.")] = "",
    now: Now = "",
) -> None:
    """Pause a schedule, a list or a channel, even in the middle of an edition.

    Slots that come due during the pause merge into one.
    """
    with open_newsroom(now, needs="store") as runtime:
        scope, known_name = _find_scope(runtime, name, everything)
        at = runtime.now()
        moment = read_moment(until, runtime.newsroom.site.timezone) if until else None
        if moment is not None and moment <= at:
            raise RefusedError(f"--until {until} has passed already.")
        with runtime.store.write() as connection:
            pauses.pause(connection, scope, known_name, at, until=moment, reason=reason, who=getpass.getuser())
            log_action(connection, "pause.begun", f"{scope} {known_name}".strip(), reason)
        end = f"until {format_moment(moment, runtime)}" if moment else f"until `tidings resume {name or '--all'}`"
        say(f"{_capitalised(scope, known_name)} is paused {end}. Messages that are being sent now are finished.")


def resume(name: Name = "", everything: Everything = False, now: Now = "") -> None:
    """Resume what was paused."""
    with open_newsroom(now, needs="store") as runtime:
        with runtime.store.read() as connection:
            active = pauses.active_pauses(connection)
        scope, known_name = _find_scope(runtime, name, everything, active)
        with runtime.store.write() as connection:
            resumed = pauses.resume(connection, scope, known_name, runtime.now())
            if resumed:
                log_action(connection, "pause.ended", f"{scope} {known_name}".strip())
        if not resumed:
            raise RefusedError(f"{_capitalised(scope, known_name)} is not paused. `tidings status` lists the pauses.")
        say(
            f"{_capitalised(scope, known_name)} continues with the next `tidings tick`, or at once under `tidings run`."
        )


def _capitalised(scope: Scope, name: str) -> str:
    return "Everything" if scope is Scope.ALL else f"{scope.capitalize()} {name}"


def _find_scope(runtime: Runtime, name: str, everything: bool, active: Sequence[Pause] = ()) -> tuple[Scope, str]:
    """Find the schedule, list or channel of a name. With `active`, includes paused ones that no longer exist."""
    if everything == bool(name):
        raise RefusedError("name a schedule, list or channel, or write --all for everything.")
    if everything:
        return Scope.ALL, ""
    newsroom = runtime.newsroom
    known = {
        Scope.SCHEDULE: set(newsroom.schedules),
        Scope.LIST: set(newsroom.lists),
        Scope.CHANNEL: set(newsroom.channels),
    }
    if newsroom.faults:
        # Pausing must work even if the files are broken, for any name in them.
        for written, names in find_names(newsroom.root).items():
            known[Scope(written)] |= names
    for paused in active:
        if paused.scope in known:
            known[paused.scope].add(paused.name)
    kind, _, rest = name.partition(":")
    if rest and kind in [str(scope) for scope in known]:
        known, name = {Scope(kind): known[Scope(kind)]}, rest
    matches = [scope for scope, names in known.items() if name in names]
    if len(matches) > 1:
        ways = " or ".join(f"{scope}:{name}" for scope in matches)
        raise RefusedError(f"{name} is {' and '.join(f'a {scope}' for scope in matches)}: write {ways}.")
    if not matches:
        mend = nearest(name, [known_name for names in known.values() for known_name in names])
        raise RefusedError(f"there is no schedule, list or channel {name!r}. {mend}".strip())
    return matches[0], name
