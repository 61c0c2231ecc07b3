"""`init`, `check`, `schema`, `build`, `sweep`: the newsroom itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tidings.cli.app import Json, app, console, errors, opened, place, print_json
from tidings.cli.sources import fetched
from tidings.model.errors import RefusedError
from tidings.pipeline.collect.sweep import collect
from tidings.pipeline.publish.archive import publish_archive
from tidings.pipeline.publish.publish import publish
from tidings.runtime.check import check_newsroom
from tidings.runtime.init import init_newsroom
from tidings.runtime.schemas import make_schemas
from tidings.store.service import clock


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist or is empty.")],
) -> None:
    """Make a new newsroom that runs."""
    made = init_newsroom(place.root / folder)
    console.print(f"A newsroom stands in {made}. Next:\n", markup=False)
    console.print(f"  tidings check -C {folder}      what is right and wrong in it", markup=False)
    console.print(f"  tidings plan -C {folder}       what goes out next, to whom, and why", markup=False)
    console.print(
        f"  tidings run -C {folder}        watch, publish and send; pages on http://127.0.0.1:8080/", markup=False
    )


@app.command()
def check(json: Json = False) -> None:
    """Validate YAML, templates, items, channels, and that each reader's frequency is served."""
    problems = check_newsroom(place.root.resolve())
    bad = [problem for problem in problems if problem.level == "error"]
    if json:
        print_json(
            {
                "ok": not bad,
                "problems": [
                    {
                        "file": one.file,
                        "line": one.line or None,
                        "column": one.column or None,
                        "level": one.level,
                        "message": one.message,
                        "mend": one.mend,
                    }
                    for one in problems
                ],
            }
        )
    else:
        for problem in problems:
            console.print(f"{'' if problem.level == 'error' else 'warning: '}{problem}", markup=False)
        console.print(_summary(len(bad), len(problems) - len(bad)))
    raise typer.Exit(1 if bad else 0)


def _summary(bad: int, warnings: int) -> str:
    if not bad and not warnings:
        return "All is well."
    parts = [f"{count} {word}{'' if count == 1 else 's'}" for count, word in ((bad, "problem"), (warnings, "warning"))]
    return ", ".join(part for part in parts if not part.startswith("0 ")) + "."


@app.command()
def schema(
    name: Annotated[str, typer.Argument(help="One of them; default: all.")] = "",
) -> None:
    """Print the JSON Schemas of the YAML files, and the shapes of every --json."""
    found = make_schemas()
    if name and name not in found:
        raise RefusedError(f"there is no schema {name!r}; there are {', '.join(found)}")
    print_json(found[name] if name else found)


@app.command()
def build() -> None:
    """Write feeds and pages into public/."""
    with opened() as runtime:
        now = runtime.now()
        with runtime.store.read() as connection:
            reached = clock.read_clock(connection)
        now = max(now, reached) if reached else now
        collected = collect(runtime.store, runtime.sources, now=now, url=runtime.newsroom.site.url)
        pages = publish(runtime.store, runtime.newsroom, now=now)
        archive = publish_archive(runtime.store, runtime.newsroom, now=now, force=True)
        written, removed = len(pages.written + archive.written), len(pages.removed + archive.removed)
        for problem in collected.problems:
            errors.print(str(problem), markup=False)
        unchanged = pages.unchanged + archive.unchanged
        console.print(f"public/: {written} written, {removed} removed, {unchanged} unchanged.")


@app.command()
def sweep(
    accept: Annotated[bool, typer.Option("--accept", help="Take it that so many items are really gone.")] = False,
) -> None:
    """Read every source now; with --accept, believe a mass vanishing."""
    with opened() as runtime:
        fetched(runtime, force=True)
        collected = collect(
            runtime.store, runtime.sources, now=datetime.now(UTC), url=runtime.newsroom.site.url, accept=accept
        )
        for problem in collected.problems:
            errors.print(str(problem), markup=False)
        console.print(f"{len(collected.new)} new, {len(collected.changed)} changed, {len(collected.gone)} gone.")
        if collected.held:
            raise RefusedError(collected.held)
