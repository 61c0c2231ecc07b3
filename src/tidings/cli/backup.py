"""`tidings backup`, `restore` and `upgrade`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tidings.cli.app import app, console, errors, place
from tidings.cli.progress import progress_bar
from tidings.config.references import read_store_address
from tidings.model.errors import RefusedError
from tidings.model.plurals import count_noun
from tidings.runtime.backup.backup import BackupResult, make_backup, upgrade
from tidings.runtime.backup.restore import RestoreResult, restore


@app.command("backup")
def backup_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Such as ~/news-2026-12-01.tar.gz.")],
) -> None:
    """Save store, keys, YAML, content and templates in one file, while everything runs.

    Keep the file where nobody else can read it.
    """
    _hide_password()
    with progress_bar() as progress:
        result = make_backup(place.root.resolve(), file, progress)
    _print_backup(result)


def _print_backup(result: BackupResult) -> None:
    counts = result.manifest.counts
    parts = (
        f"{result.size / 1e6:,.1f} MB",
        count_noun(counts.get("subscribers", 0), "subscriber"),
        count_noun(counts.get("deliveries", 0), "delivery", "deliveries"),
        count_noun(len(result.manifest.members) - 2, "file"),
    )
    console.print(f"{result.path}: {', '.join(parts)}.", markup=False)
    for line in result.left_out:
        errors.print(f"Not in the backup: {line}", markup=False)
    if result.manifest.environment:
        names = ", ".join(result.manifest.environment)
        console.print(f"Not in the backup: the environment variables {names}. Keep them elsewhere.", markup=False)


@app.command("restore")
def restore_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Made by `tidings backup`.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before replacing a newsroom.")] = False,
) -> None:
    """Restore a newsroom from a backup. Editions that came due since are held for a person, and not sent again."""
    _hide_password()
    with progress_bar() as progress:
        result = restore(file, place.root, agree=_print_question if yes else _ask, progress=progress)
    _print_restore(result)


def _print_question(question: str) -> None:
    errors.print(question, markup=False)


def _ask(question: str) -> None:
    errors.print(question, markup=False)
    errors.print("Type restore to go on, anything else to stop: ", end="")
    answer = sys.stdin.readline()
    if not answer:
        raise RefusedError("Nobody answered. Use --yes to go on without a question. Nothing was changed.")
    if answer.strip() != "restore":
        raise RefusedError(f"You typed {answer.strip()!r} and not restore. Nothing was changed.")


def _print_restore(result: RestoreResult) -> None:
    console.print(f"{result.root} is as it was on {result.manifest.made:%Y-%m-%d %H:%M} UTC.", markup=False)
    if result.held:
        console.print("Held, because they may have gone out since:", markup=False)
        for name in result.held:
            console.print(f"  {name}", markup=False)
        console.print(
            "Look at each with `tidings preview`. If it did not go out, use `tidings release`. If it did, use "
            "`tidings resolve --accepted`."
        )
    if result.in_doubt:
        deliveries = count_noun(result.in_doubt, "delivery was", "deliveries were")
        console.print(f"{deliveries} being sent at that time. List them with `tidings ledger --state in_doubt`.")
    if result.dropped:
        mails = count_noun(result.dropped, "waiting notice or other mail was", "waiting notices or other mails were")
        console.print(f"{mails} dropped.")
    console.print("The next `tidings run` or `tidings tick` also holds the editions that came due since.")
    console.print(
        "Readers who left, joined or were erased since the backup are as before. Remove those who left with `tidings "
        "subscribers remove ADDRESS`. Look for them in the mailboxes for complaints and for leaving."
    )
    if result.missing:
        names = ", ".join(result.missing)
        console.print(f"Set these environment variables before you start: {names}", markup=False)
    if result.aside is not None:
        console.print(f"The old files are in {result.aside}. Delete them once all is well.", markup=False)


@app.command("upgrade")
def upgrade_command() -> None:
    """Make a backup, then bring the store to the schema of this version."""
    _hide_password()
    with progress_bar() as progress:
        result = upgrade(place.root.resolve(), progress)
    if result is None:
        console.print("The store has the schema of this version. There is nothing to do.")
        return
    _print_backup(result.backup)
    console.print(f"Upgraded the store from schema {result.before} to {result.after}. Start `tidings run` again.")


def _hide_password() -> None:
    """Hide the store's address in messages: it may hold a password, and the configuration is not loaded here."""
    if (place.root / "tidings.yaml").is_file():
        address = read_store_address(place.root.resolve()).get_secret_value()
        place.secrets = (address,) if "@" in address else ()
