"""The Typer application, and what every command needs: the folder, the moment, the way to print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tidings import __version__
from tidings.model.cadence import load_zone
from tidings.model.dates import parse_moment
from tidings.model.errors import RefusedError
from tidings.runtime.newsroom import Runtime, open_runtime
from tidings.store.service.clock import refuse_earlier

app = typer.Typer(
    name="tidings",
    help="The newsroom's outbox: feeds, e-mail digests and posts from a folder of stories, on a cadence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass
class Place:
    """Where the command runs."""

    root: Path = field(default_factory=Path)
    secrets: tuple[str, ...] = ()

    def redact(self, text: str) -> str:
        """`text` without any secret of the newsroom."""
        for secret in self.secrets:
            text = text.replace(secret, "[secret]")
        return text


place = Place()

Json = Annotated[bool, typer.Option("--json", help="Print JSON, whose shape `tidings schema` gives.")]
Now = Annotated[str, typer.Option("--now", metavar="T", help="Set the newsroom's clock: 2026-12-01T09:00.")]


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    folder: Annotated[str, typer.Option("-C", metavar="DIR", help="The newsroom's folder. Default: here.")] = "",
) -> None:
    if version:
        print(f"tidings {__version__}")
        raise typer.Exit


@contextmanager
def opened(now: str = "") -> Iterator[Runtime]:
    """The newsroom of this folder. With `now` its clock stands there; `--now` far off sends to this machine only."""
    runtime = open_runtime(place.root.resolve())
    place.secrets = runtime.newsroom.secrets
    with runtime:
        if now:
            moment = read_moment(now, runtime.newsroom.site.timezone)
            from tidings.runtime.check import check_clock_override  # heavy: only `--now` needs it

            check_clock_override(runtime.newsroom, moment, datetime.now(UTC))
            with runtime.store.read() as connection:
                refuse_earlier(connection, moment)
            runtime.set_clock(moment)
        yield runtime


def read_moment(text: str, zone: str, *, end_of_day: bool = False) -> datetime:
    """`2026-12-01T09:00` in the site's zone, or with an offset of its own."""
    try:
        return parse_moment(text, load_zone(zone), end_of_day=end_of_day, years=range(1971, 2200))
    except ValueError as error:
        raise RefusedError(f"{error}; write it like 2026-12-01T09:00") from None


def show(moment: datetime | None, runtime: Runtime) -> str:
    """A moment on the site's clock."""
    if moment is None:
        return "-"
    return f"{moment.astimezone(load_zone(runtime.newsroom.site.timezone)):%a %Y-%m-%d %H:%M}"


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)
