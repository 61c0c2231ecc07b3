"""`backup`, `restore`, `upgrade`: what an operator does with a whole newsroom."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tidings.cli.app import app, console, errors, place
from tidings.config.references import read_store_address
from tidings.model.errors import RefusedError
from tidings.runtime.backup import backup as backups
from tidings.runtime.backup.restore import RestoreResult, restore
from tidings.runtime.backup.upgrade import upgrade


@app.command("backup")
def backup_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Such as ~/news-2026-12-01.tar.gz.")],
) -> None:
    """Store, keys, YAML, content and templates in one file, while everything runs. Keep it where nobody else reads."""
    _hide_store()
    with _bar() as told:
        made = backups.make_backup(place.root.resolve(), file, told)
    _print_made(made)


def _print_made(made: backups.BackupResult) -> None:
    counts = made.manifest.counts
    console.print(
        f"{made.path}: {made.size / 1e6:,.1f} MB, {counts.get('subscribers', 0):,} subscribers, "
        f"{counts.get('deliveries', 0):,} deliveries, {len(made.manifest.members) - 2:,} files.",
        markup=False,
    )
    for line in made.left_out:
        errors.print(f"Not in it: {line}", markup=False)
    names = ", ".join(made.manifest.environment)
    if names:
        console.print(f"Not in it: what the environment holds ({names}). Keep that elsewhere.", markup=False)


@app.command("restore")
def restore_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Made by `tidings backup`.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, though something stands there.")] = False,
) -> None:
    """Bring a newsroom back from a backup. What came due since is held for a person, never sent again."""
    _hide_store()
    with _bar() as told:
        found = restore(file, place.root, agree=_agreed if yes else _agree, progress=told)
    _print_restored(found)


def _agreed(question: str) -> None:
    errors.print(question, markup=False)


def _agree(question: str) -> None:
    errors.print(question, markup=False)
    errors.print("Type restore to go on, anything else to stop: ", end="")
    answer = sys.stdin.readline()
    if not answer:
        raise RefusedError("nobody is here to answer; say --yes to go on without asking. Nothing was changed.")
    if answer.strip() != "restore":
        raise RefusedError(f"{answer.strip()!r} is not restore: nothing was changed")


def _print_restored(found: RestoreResult) -> None:
    if found.manifest is None:
        console.print("The restore that had been cut off is finished.")
    else:
        console.print(f"{found.root} is as it was on {found.manifest.made:%Y-%m-%d %H:%M} UTC.", markup=False)
    if found.held:
        console.print("Held, for they may have gone out since:", markup=False)
        for name in found.held:
            console.print(f"  {name}", markup=False)
        console.print(
            "Look: tidings preview. It had not gone out: tidings release. It had: tidings resolve --accepted."
        )
    if found.in_doubt:
        console.print(f"{found.in_doubt} deliveries were on their way then: tidings ledger --state in_doubt")
    if found.dropped:
        console.print(f"{found.dropped} notices or other mails that waited then are dropped.")
    console.print("What came due since is held too, by the next `tidings run` or `tidings tick`.")
    console.print(
        "Who left, joined or was erased since the backup is not in it. Take out again who left: tidings subscribers "
        "remove ADDRESS. Look into what came to your mailbox of complaints and leave."
    )
    if found.missing:
        console.print(f"Set in the environment before you start: {', '.join(found.missing)}", markup=False)
    if found.aside is not None:
        console.print(f"What stood here is kept in {found.aside}; delete it once all is well.", markup=False)


@app.command("upgrade")
def upgrade_command() -> None:
    """Make a backup, then bring the store to the form that this version of tidings needs."""
    _hide_store()
    with _bar() as told:
        found = upgrade(place.root.resolve(), told)
    if found is None:
        console.print("The store is as this version needs it: there is nothing to do.")
        return
    _print_made(found.backup)
    console.print(f"The store had schema {found.before} and has {found.after} now. Start `tidings run` again.")


def _hide_store() -> None:
    """An address of the store may hold a password, and these commands run before the configuration is loaded."""
    if (place.root / "tidings.yaml").is_file():
        address = read_store_address(place.root.resolve()).get_secret_value()
        place.secrets = (address,) if "@" in address else ()


@contextmanager
def _bar() -> Iterator[backups.Progress]:
    """A bar on a terminal, nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("")

        def told(what: str, done: int, total: int) -> None:
            # A question must not be painted over.
            if done >= total:
                progress.update(task, visible=False)
            else:
                progress.update(task, description=what, completed=done, total=total, visible=True)

        yield told
