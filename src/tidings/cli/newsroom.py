"""`init`, `check`, `schema`: make a newsroom and check it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidings.cli.session import Json, print_json, say, session


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist or is empty.")],
) -> None:
    """Create a new newsroom that runs."""
    from tidings.runtime.init import init_newsroom

    root = init_newsroom(session.root / folder)
    say(f"The newsroom is in {root}. Next:\n")
    say(f"  tidings check -C {folder}      check it")
    say(f"  tidings plan -C {folder}       see what goes out next, to whom, and why")
    say(f"  tidings run -C {folder}        watch, publish and send; pages on http://127.0.0.1:8080/")


def check(json: Json = False) -> None:
    """Check YAML, templates, items, channels and frequencies."""
    from tidings.model.plurals import count_noun
    from tidings.runtime.check import check_newsroom

    problems = check_newsroom(session.root.resolve())
    errors = sum(problem.level == "error" for problem in problems)
    if json:
        rows = [
            {
                "file": problem.file,
                "line": problem.line or None,
                "column": problem.column or None,
                "level": problem.level,
                "message": problem.message,
                "mend": problem.mend,
            }
            for problem in problems
        ]
        print_json({"ok": not errors, "problems": rows})
    else:
        for problem in problems:
            say(f"{'' if problem.level == 'error' else 'warning: '}{problem}")
        counts = ((errors, "problem"), (len(problems) - errors, "warning"))
        say(", ".join(count_noun(count, noun) for count, noun in counts if count) + "." if problems else "All is well.")
    raise typer.Exit(1 if errors else 0)


def schema(name: Annotated[str, typer.Argument(help="Only this schema. Default: all.")] = "") -> None:
    """Print the JSON Schemas of the YAML files and of every --json."""
    from tidings.model.errors import RefusedError, nearest
    from tidings.runtime.schemas import make_schemas

    schemas = make_schemas()
    if name and name not in schemas:
        raise RefusedError(f"there is no schema {name!r}. {nearest(name, schemas)}")
    print_json(schemas[name] if name else schemas)
