"""The commands: they parse arguments, call the floors below and print. Nothing is decided here."""

from __future__ import annotations

import io
import os
import sys
import traceback
from pathlib import Path

from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from tidings.model.errors import TidingsError


def main() -> None:
    """The console script. Exit codes: 0 done, 1 input at fault, 2 wrong usage or refused, 3 some deliveries failed.

    No traceback reaches a user, unless TIDINGS_DEBUG asks for it.
    """
    from tidings.cli import (  # noqa: F401
        backup,
        dkim,
        editions,
        ledger,
        newsroom,
        pauses,
        rehearse,
        report,
        service,
        sources,
        subscriber_files,
        subscribers,
    )
    from tidings.cli.app import app, place

    # A terminal of another code page shows what it can, and never stops a command.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = _take_folder(sys.argv[1:])
    try:
        app(args=arguments, prog_name="tidings")
    except TidingsError as error:
        print(str(error), file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(place.redact(f"{where}{error.strerror or error}"), file=sys.stderr)
        sys.exit(1)
    except (OperationalError, ArgumentError, NoSuchModuleError) as error:
        said = place.redact(str(getattr(error, "orig", None) or error)).strip().splitlines()[0][:300]
        print(f"the store cannot be used: {said}. See `store:` in tidings.yaml, or TIDINGS_STORE.", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if os.environ.get("TIDINGS_DEBUG"):
            traceback.print_exc()
        said = place.redact(f"{type(error).__name__}: {error}").splitlines()[0][:300]
        print(f"tidings met a fault of its own: {said}", file=sys.stderr)
        print("Nothing was lost. Set TIDINGS_DEBUG=1 to see where, and tell the authors.", file=sys.stderr)
        sys.exit(70)


def _take_folder(arguments: list[str]) -> list[str]:
    """`-C DIR` may stand before or after the command's name."""
    from tidings.cli.app import place

    rest: list[str] = []
    following = iter(arguments)
    for argument in following:
        if argument == "--":
            rest += [argument, *following]
        elif argument == "-C":
            folder = next(following, None)
            if folder is None:
                print("-C needs the newsroom's folder behind it.", file=sys.stderr)
                sys.exit(2)
            place.root = Path(folder)
        elif argument.startswith("-C") and len(argument) > 2:
            place.root = Path(argument[2:])
        else:
            rest.append(argument)
    return rest
