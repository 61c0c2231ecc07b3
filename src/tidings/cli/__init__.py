"""The commands: they parse arguments, call the layers below and print. They contain no rules."""

from __future__ import annotations

import io
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from tidings.model.errors import TidingsError


def main() -> None:
    """Run the console script.

    Exit codes: 0 done, 1 the input is at fault, 2 wrong usage or refused, 3 some deliveries failed, 70 a fault of
    Tidings itself. A traceback is printed only if TIDINGS_DEBUG is set. With --json, an error is also printed to
    stdout.
    """
    # A terminal with another encoding must never stop a command.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.argv[1:] == ["--version"]:
        from tidings import __version__

        print(f"tidings {__version__}")
        return
    from tidings.cli.commands import root_command
    from tidings.cli.session import session

    try:
        root_command()(args=_take_folder(sys.argv[1:]), prog_name="tidings")
    except TidingsError as error:
        _end(str(error), error.exit_code)
    except SystemExit as end:
        if end.code not in (None, 0):
            _print_json_error("The command ended early; the text on stderr says why.", end.code)
        raise
    except BrokenPipeError:
        _give_up_stdout()
        sys.exit(0)
    except OSError as error:
        file = f"{error.filename}: " if error.filename else ""
        _end(session.redact(f"{file}{error.strerror or error}"), 1)
    except Exception as error:
        if _is_store_error(error):
            from tidings.store.engine import describe_fault

            cause = describe_fault(error, session.redact)
            _end(f"The store cannot be used: {cause}. See `store:` in tidings.yaml, or TIDINGS_STORE.", 1)
        if os.environ.get("TIDINGS_DEBUG"):
            traceback.print_exc()
        cause = session.redact(f"{type(error).__name__}: {error}").splitlines()[0][:300]
        advice = "Nothing was lost. Set TIDINGS_DEBUG=1 to see where it happened, and report it."
        _end(f"This is a fault of Tidings itself: {cause}\n{advice}", 70)


def _end(text: str, code: int) -> NoReturn:
    """Print an error to stderr for people and, with --json, to stdout for programs."""
    print(text, file=sys.stderr)
    _print_json_error(text, code)
    sys.exit(code)


def _print_json_error(text: str, code: str | int | None) -> None:
    from tidings.cli.session import print_json, session

    if "--json" in sys.argv and not session.has_printed:
        try:
            print_json({"error": text, "exit_code": code})
        except OSError:  # a closed pipe or a full disk: the text is on stderr
            _give_up_stdout()


def _give_up_stdout() -> None:
    """Send further output to nowhere: at exit the interpreter would fail to write it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_store_error(error: Exception) -> bool:
    """Whether the error means that the database cannot be reached or that its address is wrong."""
    # SQLAlchemy is slow to import. If no command has imported it, the error cannot be its own.
    exc = sys.modules.get("sqlalchemy.exc")
    return exc is not None and isinstance(error, (exc.OperationalError, exc.ArgumentError, exc.NoSuchModuleError))


def _take_folder(arguments: list[str]) -> list[str]:
    """Remove `-C DIR` from the arguments. It may come before or after the command's name."""
    from tidings.cli.session import session

    rest: list[str] = []
    following = iter(arguments)
    for argument in following:
        if argument == "--":
            rest += [argument, *following]
        elif argument == "-C":
            folder = next(following, None)
            if folder is None:
                print("-C needs the newsroom's folder after it.", file=sys.stderr)
                sys.exit(2)
            session.root = Path(folder)
        elif argument.startswith("-C") and len(argument) > 2:
            session.root = Path(argument[2:])
        else:
            rest.append(argument)
    return rest
