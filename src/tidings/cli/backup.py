"""`tidings backup`, `restore` and `upgrade`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidings.cli.progress import show_steps
from tidings.cli.session import ask, say, session, warn
from tidings.config.references import read_store_address
from tidings.model.dates import format_local
from tidings.model.errors import RefusedError
from tidings.model.plurals import count_noun
from tidings.runtime.backup.backup import BackupResult, make_backup
from tidings.runtime.backup.backup import upgrade as upgrade_newsroom
from tidings.runtime.backup.restore import RestoreResult
from tidings.runtime.backup.restore import restore as restore_newsroom


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Such as ~/news-2026-12-01.tar.gz.")],
) -> None:
    """Write store, keys, YAML, content and templates into one file.

    The newsroom may keep running. Keep the file where nobody else can read it.
    """
    _hide_password()
    with show_steps() as progress:
        result = make_backup(session.root.resolve(), file, progress)
    _print_backup(result)


def _print_backup(result: BackupResult) -> None:
    counts = result.manifest.counts
    parts = (
        f"{result.size / 1e6:,.1f} MB",
        count_noun(counts.get("subscribers", 0), "subscriber"),
        count_noun(counts.get("deliveries", 0), "delivery", "deliveries"),
        count_noun(len(result.manifest.members) - 2, "file"),
    )
    say(f"{result.path}: {', '.join(parts)}.")
    for line in result.left_out:
        warn(f"Not in the backup: {line}")
    if result.manifest.environment:
        names = ", ".join(result.manifest.environment)
        say(f"Not in the backup: the environment variables {names}. Keep them elsewhere.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Made by `tidings backup`.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before replacing a newsroom.")] = False,
) -> None:
    """Bring a newsroom back from a backup.

    Editions that came due since are held for your decision. They are never sent again automatically.
    """
    _hide_password()
    with show_steps() as progress:
        result = restore_newsroom(file, session.root, agree=warn if yes else _ask, progress=progress)
    _print_restore(result)


def _ask(question: str) -> None:
    answer = ask(f"{question}\nType restore to continue, anything else to stop: ", "nothing was changed")
    if answer != "restore":
        raise RefusedError(f"You typed {answer!r} and not restore. Nothing was changed.")


def _print_restore(result: RestoreResult) -> None:
    say(f"{result.root} is as it was on {format_local(result.manifest.made, result.zone)}.")
    if result.held:
        say("Held, because they may have gone out since:")
        for name in result.held:
            say(f"  {name}")
        say(
            "Look at each with `tidings preview`. If it did not go out, use `tidings release`. If it did, use "
            "`tidings resolve --accepted`."
        )
    if result.in_doubt:
        deliveries = count_noun(result.in_doubt, "delivery was", "deliveries were")
        say(f"{deliveries} being sent at that time. List them with `tidings ledger --state in_doubt`.")
    if result.dropped:
        mails = count_noun(result.dropped, "waiting notice or other mail was", "waiting notices or other mails were")
        say(f"{mails} dropped.")
    say("The next `tidings run` or `tidings tick` also holds the editions that came due since.")
    say(
        "Readers who left, joined or were erased since the backup are as before. Remove those who left with `tidings "
        "subscribers remove ADDRESS`. Look for them in the mailboxes for complaints and for leaving."
    )
    if result.missing:
        names = ", ".join(result.missing)
        say(f"Set these environment variables before you start: {names}")
    if result.aside is not None:
        say(f"The old files are in {result.aside}. Delete them once all is well.")


def upgrade() -> None:
    """Make a backup, then bring the store to this version's schema."""
    _hide_password()
    with show_steps() as progress:
        result = upgrade_newsroom(session.root.resolve(), progress)
    if result is None:
        say("The store has the schema of this version. There is nothing to do.")
        return
    _print_backup(result.backup)
    say(f"Upgraded the store from schema {result.before} to {result.after}.")
    if result.may_run_meanwhile:
        say("Processes of the version before work with it too. Restart them one by one.")
    else:
        say("Start `tidings run` again.")


def _hide_password() -> None:
    """Hide the store's address in messages, because it may contain a password. The configuration is not loaded here."""
    if (session.root / "tidings.yaml").is_file():
        address = read_store_address(session.root.resolve()).get_secret_value()
        session.secrets = (address,) if "@" in address else ()
