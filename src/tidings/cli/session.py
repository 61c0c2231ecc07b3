"""Shared by all commands: the newsroom's folder, the terminal, common options, and the formatting of values."""

from __future__ import annotations

import getpass
import json
import re
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidings.model.dates import to_json
from tidings.model.errors import InputError, RefusedError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from sqlalchemy import Connection

    from tidings.config.file_reader import UnsetSecret
    from tidings.config.load import Needs
    from tidings.runtime.newsroom import Runtime


@dataclass
class CommandSession:
    """The folder and the secrets of the newsroom that the command works on."""

    root: Path = field(default_factory=Path)
    secrets: tuple[str, ...] = ()
    has_printed: bool = False
    """Whether stdout has any output. With --json, an error goes to stdout only if it is still empty."""

    def name_folder(self, text: str) -> str:
        """Add `-C DIR` to the commands in a hint, if this command was given one."""
        if self.root == Path():
            return text
        folder = shlex.quote(str(self.root))
        return re.sub(r"\btidings (?=[a-z]+\b)(?! *-C)", lambda _: f"tidings -C {folder} ", text)

    def redact(self, text: str) -> str:
        """Remove every secret of the newsroom from a text."""
        for secret in self.secrets:
            text = text.replace(secret, "[secret]")
        return text


session = CommandSession()

Json = Annotated[bool, typer.Option("--json", help="Print JSON. `tidings schema` describes it.")]
Now = Annotated[str, typer.Option("--now", metavar="T", help="Set the newsroom's clock: 2026-12-01T09:00.")]


@cache
def console(*, stderr: bool = False) -> Console:
    """Return the terminal of stdout or stderr."""
    from rich.console import Console

    # Without markup: `[/b]` in a headline is text.
    made = Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False)
    if not stderr:
        made.width = max(made.width, 80)  # a narrow terminal breaks the lines of a table; Rich would cut its words
    return made


def say(text: str = "", *, end: str = "\n") -> None:
    """Print text to stdout."""
    session.has_printed = True
    print(text, end=end, flush=True)


def warn(text: str, *, end: str = "\n") -> None:
    """Print text to stderr."""
    print(text, end=end, file=sys.stderr, flush=True)


@contextmanager
def open_newsroom(
    now: str = "",
    *,
    needs: Needs = "everything",
    sends: bool = False,
    schedules_needed: Collection[str] | None = None,
    say_faults: bool = True,
    follows_clock: bool = True,
) -> Iterator[Runtime]:
    """Open the newsroom of this folder.

    `now` sets its clock. A clock that is far from real time may only send to this machine. Without `now`, a clock that
    is ahead of real time keeps its time, unless the command sends to other machines or does not follow the clock.
    A command that `sends` with only a part of the secrets calls `check_sender` first. With `store`, errors in the YAML
    are only warnings, and so are those in other schedules than `schedules_needed`.
    """
    from tidings.runtime.newsroom import Runtime, load_valid_newsroom

    newsroom = load_valid_newsroom(session.root.resolve(), needs=needs, schedules_needed=schedules_needed)
    runtime = Runtime(newsroom, lazy=True)
    session.secrets = runtime.newsroom.secrets
    for fault in runtime.newsroom.faults if say_faults else ():
        warn(f"warning: {fault}")
    with runtime:
        if now:
            from tidings.runtime.check import check_clock_override
            from tidings.store.service.clock import refuse_earlier

            moment = read_moment(now, runtime.newsroom.site.timezone)
            # Without its secrets the command sends nothing, and their addresses are unknown.
            if sends or not runtime.newsroom.unset:
                check_clock_override(runtime.newsroom, moment, datetime.now(UTC))
            with runtime.store.read() as connection:
                refuse_earlier(connection, moment)
            runtime.set_clock(moment)
        elif follows_clock:
            _follow_clock(runtime, may_send=sends)
        yield runtime


def _follow_clock(runtime: Runtime, *, may_send: bool) -> None:
    from tidings.store.service.clock import read_clock

    real = datetime.now(UTC)
    with runtime.store.read() as connection:
        reached = read_clock(connection) or real
    if reached <= real:
        return
    from tidings.runtime.check import CLOSE_TO_REAL_TIME, find_remote_outlet

    is_far = reached > real + CLOSE_TO_REAL_TIME
    if not (may_send and is_far and find_remote_outlet(runtime.newsroom)):
        runtime.set_clock(reached)


def check_sender(runtime: Runtime, outlets: Iterable[str]) -> bool:
    """Check who can send to these outlets (`list:NAME`, `channel:NAME`): True for this command, False for a service.

    A running service sends where this command lacks a secret. Raises InputError if none runs.
    """
    newsroom = runtime.newsroom
    unset: list[UnsetSecret] = []
    for kind, _, name in (outlet.partition(":") for outlet in outlets):
        if kind == "channel":
            unset += newsroom.find_unset("channels", name)
        else:
            unset += [each for sender in newsroom.find_senders(name) for each in newsroom.find_unset_of_sender(sender)]
    if unset and not any(service.work.sends for service in runtime.list_services()):
        raise InputError("\n".join(dict.fromkeys(each.problem for each in unset)))
    return not unset


def require_secrets(runtime: Runtime, *places: str | tuple[str, ...]) -> None:
    """Raise InputError if a secret is missing below these places of tidings.yaml."""
    paths = [place if isinstance(place, tuple) else (place,) for place in places]
    if unset := [each for path in paths for each in runtime.newsroom.find_unset(*path)]:
        raise InputError("\n".join(dict.fromkeys(each.problem for each in unset)))


def ask(question: str, otherwise: str) -> str:
    """Ask the person at the terminal. Raises RefusedError, which says `otherwise`, if nobody can answer."""
    warn(question, end="")
    answer = sys.stdin.readline()
    if not answer:
        warn("")
        raise RefusedError(f"Nobody is here to answer: {otherwise}. Add --yes to go on without the question.")
    return answer.strip()


def log_action(connection: Connection, action: str, about: str, details: str = "") -> None:
    """Write a line of the team's log, in the transaction of the action. Name a subscriber by number."""
    from tidings.store.people import team

    team.record_action(
        connection, action, about, who=getpass.getuser(), via="command", now=datetime.now(UTC), details=details
    )


def read_moment(text: str, zone: str, *, end_of_day: bool = False) -> datetime:
    """Read `2026-12-01T09:00` in a time zone, or with its own offset. Returns UTC; raises RefusedError."""
    from tidings.model.cadence import load_zone
    from tidings.model.dates import parse_moment

    try:
        return parse_moment(text, load_zone(zone), end_of_day=end_of_day, years=range(1971, 2200))
    except ValueError as error:
        raise RefusedError(f"{error}; write it like 2026-12-01T09:00") from None


def format_moment(moment: datetime | None, runtime: Runtime) -> str:
    """Format a moment in the site's zone, `-` for None."""
    return "-" if moment is None else f"{moment.astimezone(runtime.newsroom.site.zone):%a %Y-%m-%d %H:%M}"


def format_counts(counts: Mapping[str, int], empty: str) -> str:
    """Format counts by state, such as `3 accepted, 1 in doubt`; `empty` if all are 0."""
    return ", ".join(f"{count:,} {key.replace('_', ' ')}" for key, count in sorted(counts.items()) if count) or empty


def make_table(title: str, *columns: str) -> Table:
    """Make a table without borders."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", min_width=len(column))
    return table


def print_json(value: Any) -> None:
    """Print one JSON document to stdout."""
    say(json.dumps(value, ensure_ascii=False, indent=2, default=to_json))
