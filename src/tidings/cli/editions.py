"""`plan`, `preview`, `test`, `send`, `release`, `cancel`, `recompose`: editions, before and after."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tidings.cli.app import Json, Now, app, console, opened, place, print_json, show
from tidings.cli.progress import deliver
from tidings.config.schedule import Schedule
from tidings.model.edition import Edition, EditionState, HoldReason
from tidings.model.errors import InputError, RefusedError, nearest
from tidings.pipeline.address.lists import plan_deliveries
from tidings.pipeline.collect.sweep import collect
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.outlets import count_planned
from tidings.runtime.preview.plan import PlannedSlot, find_title, open_scratch_runtime, plan, plan_as_json
from tidings.runtime.preview.preview import (
    PreviewedMessage,
    make_picture_localiser,
    make_post_pages,
    preview_edition,
    preview_schedule,
    queue_test_mails,
)
from tidings.store.content import editions
from tidings.store.service import clock, pauses

ScheduleName = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Name of a schedule.")]
EditionName = Annotated[str, typer.Argument(metavar="EDITION", help="SCHEDULE/NUMBER.")]


@app.command("plan")
def plan_command(
    runs: Annotated[int, typer.Option("--runs", min=1, max=100, help="Slots ahead for each schedule.")] = 3,
    now: Now = "",
    json: Json = False,
) -> None:
    """The next slots, and which stories would go to whom. Changes nothing."""
    with opened(now) as runtime, open_scratch_runtime(runtime) as copy:
        planned = plan(copy, copy.now(), runs)
        if json:
            print_json(plan_as_json(planned))
            return
        if not planned:
            console.print("There is no schedule yet: write one into schedules/, or copy one from the sample.")
        for one in planned:
            console.print(f"\n[bold]{one.name}[/]  {one.cadence}{'  ' + one.note if one.note else ''}")
            for slot in one.slots:
                _print_slot(runtime, slot)


def _print_slot(runtime: Runtime, slot: PlannedSlot) -> None:
    why = slot.skipped or slot.moved
    console.print(f"  {show(slot.at, runtime)}{'  skipped: ' if slot.skipped else '  ' if why else ''}{why or ''}")
    if slot.note:
        console.print(f"    {slot.note}", markup=False)
    for key, title in slot.stories or ():
        console.print(f"    - {escape(title)}  [dim]({key})[/]")
    for outlet in slot.outlets:
        total = outlet.recipients.total()
        languages = ", ".join(f"{count} {language}" for language, count in sorted(outlet.recipients.items()))
        skipped = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in outlet.skipped.items())
        console.print(
            f"    -> {outlet.name}: {total} ({languages or 'nobody'}){'; skipped: ' + skipped if skipped else ''}"
        )


@app.command("preview")
def preview_command(
    what: Annotated[str, typer.Argument(metavar="SCHEDULE|EDITION", help="A schedule, or the frozen SCHEDULE/NUMBER.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write; default: preview/ here.")] = Path(),
    language: Annotated[str, typer.Option("--language", metavar="L", help="This language alone.")] = "",
    now: Now = "",
) -> None:
    """What would be sent, as files: .html, .txt, .eml, posts with their lengths. Of an edition the frozen bytes."""
    with opened(now) as runtime:
        if "/" in what:
            found = preview_edition(runtime, _edition(runtime, what), language or None)
            at_hand = make_picture_localiser(runtime)
        else:
            schedule = _schedule(runtime, what)
            with open_scratch_runtime(runtime) as copy:
                found = preview_schedule(copy, schedule, copy.now(), language or None)
                at_hand = make_picture_localiser(copy)
        folder = out if out != Path() else place.root / "preview"
        _write(found, folder.resolve(), runtime.newsroom.site.colour, at_hand)


def _write(found: list[PreviewedMessage], folder: Path, colour: str, at_hand: Callable[[bytes], bytes]) -> None:
    if not found:
        raise InputError("there is nothing to show: no reader and no channel would get anything")
    folder.mkdir(parents=True, exist_ok=True)
    for one in found:
        for name, content in one.files():
            (folder / name).write_bytes(at_hand(content) if one.is_mail and name.endswith(".html") else content)
            console.print(f"{folder / name}", markup=False)
        if not one.is_mail:
            console.print(f"  {one.note.splitlines()[-1]}", markup=False)
        for failure in one.failures:
            console.print(f"  a gate would hold it: {failure}", markup=False)
    for name, content in make_post_pages(found, colour):
        (folder / name).write_bytes(content)
        console.print(f"{folder / name}", markup=False)


@app.command("test")
def mail_test(
    schedule: ScheduleName,
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="Who gets the mail, and nobody else.")],
    language: Annotated[str, typer.Option("--language", metavar="L", help="This language alone; default: each.")] = "",
    now: Now = "",
) -> None:
    """Send the mail of a schedule to these addresses alone. No other effect."""
    for address_ in addresses:
        if "@" not in address_.strip("@"):
            raise RefusedError(f"{address_!r} is no address")
    with opened(now) as runtime:
        one = _schedule(runtime, schedule)
        with open_scratch_runtime(runtime) as copy:
            mailing, count = queue_test_mails(runtime, copy, one, addresses, runtime.now(), language or None)
        console.print(f"{count} test mail(s).")
        deliver(runtime, mailing)


@app.command("send")
def send_command(
    schedule: ScheduleName,
    story: Annotated[list[str], typer.Option("--story", metavar="NAME", help="This story, new or not.")] = [],  # noqa: B006
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    now: Now = "",
) -> None:
    """An edition now: shows the plan and asks for the number of recipients. Heeds approval and gates."""
    with opened(now) as runtime:
        one = _schedule(runtime, schedule)
        with runtime.store.read() as connection:
            stopped = pauses.find_schedule_pause(pauses.active_pauses(connection), one.name)
        if stopped is not None:
            raise RefusedError(f"{stopped.what} is paused: `tidings resume {stopped.name or '--all'}` first.")
        with open_scratch_runtime(runtime) as copy, copy.store.read() as connection:
            moment = copy.now()
            held = editions.list_editions(connection, schedule=one.name, states=[EditionState.HELD])
            freed = frozenset(key for old in held for key in old.stories)
            edit = copy.composer.draft(connection, one, moment, stories=story, freed=freed)
            reason = copy.composer.explain_skip(connection, edit)
            if reason:
                raise InputError(f"there is nothing to send: {reason}. Name a story with --story to send it again.")
            going = count_planned(plan_deliveries(connection, copy.newsroom, edit))
        slot = PlannedSlot(moment, moment, stories=[(s.key, find_title(edit, s.key, runtime)) for s in edit.stories])
        slot.outlets = going
        _print_slot(runtime, slot)
        total = sum(outlet.recipients.total() for outlet in going)
        if not yes:
            _confirm(total)
        moment = _collect(runtime)
        composed = runtime.composer.compose(one, moment, stories=story)
        if composed is None or composed.edition is None:
            raise InputError(f"there is nothing to send: {composed.reason if composed else 'somebody else was faster'}")
        if composed.edition.state is EditionState.HELD:
            _explain_hold(composed.edition)
            return
        deliver(runtime)


def _confirm(total: int) -> None:
    console.print(f"Type the number of recipients ({total}) to send, anything else to stop: ", end="")
    answer = sys.stdin.readline()
    if not answer:
        raise RefusedError("nobody is here to answer; say --yes to send without asking. Nothing was sent.")
    if answer.strip() != str(total):
        raise RefusedError(f"{answer.strip()!r} is not {total}: nothing was sent")


@app.command()
def release(edition: EditionName, now: Now = "") -> None:
    """Let the frozen bytes of a held edition go; not while a gate fails."""
    with opened(now) as runtime:
        one = runtime.editions.release(_held(runtime, edition), runtime.now(), getpass.getuser())
        console.print(f"{one.name} is released.")
        deliver(runtime)


@app.command()
def cancel(edition: EditionName, now: Now = "") -> None:
    """Drop an edition: what has not gone never goes, and its stories stay new."""
    with opened(now) as runtime:
        one = _edition(runtime, edition)
        if one.state not in (EditionState.HELD, EditionState.SENDING):
            raise RefusedError(f"{one.name} is {one.state.value}; only what is held or being sent can be cancelled")
        runtime.editions.cancel(one, runtime.now(), getpass.getuser())
        console.print(f"{one.name} is cancelled; its stories are new again.")


@app.command()
def recompose(edition: EditionName, now: Now = "") -> None:
    """Build a held edition anew after a mend, with the content as it is now."""
    with opened(now) as runtime:
        one = _held(runtime, edition)
        _collect(runtime)
        one = runtime.composer.recompose(one, _schedule(runtime, one.schedule), runtime.now(), getpass.getuser())
        if one.state is EditionState.HELD:
            _explain_hold(one)
            return
        console.print(f"{one.name} passes every gate now, and goes.")
        deliver(runtime)


def _explain_hold(edition: Edition) -> None:
    console.print(f"{edition.name} is held, nothing of it is sent:")
    for hold in edition.holds:
        console.print(f"  {hold.reason.value}: {hold.detail}", markup=False)
    console.print(f"Look: tidings preview {edition.name}")
    console.print(f"Then: tidings release, tidings recompose or tidings cancel {edition.name}")
    if any(hold.reason is HoldReason.RESTORED for hold in edition.holds):
        console.print(f"Had it gone out before the restore: tidings resolve {edition.name} --accepted")
    if any(hold.reason in (HoldReason.GATE, HoldReason.WITHDRAWN) for hold in edition.holds):
        raise typer.Exit(1)


def _schedule(runtime: Runtime, name: str) -> Schedule:
    found = runtime.newsroom.schedules.get(name)
    if found is None:
        raise RefusedError(f"there is no schedule {name!r}. {nearest(name, runtime.newsroom.schedules)}")
    return found


def _edition(runtime: Runtime, name: str) -> Edition:
    with runtime.store.read() as connection:
        found = editions.find_edition_by_name(connection, name)
        if found is None:
            known = [edition.name for edition in editions.list_editions(connection)][-5:]
            raise RefusedError(f"there is no edition {name!r}. The newest: {', '.join(known) or 'none yet'}")
        return found


def _held(runtime: Runtime, name: str) -> Edition:
    found = _edition(runtime, name)
    if found.state is not EditionState.HELD:
        raise RefusedError(f"{found.name} is {found.state.value}, not held")
    return found


def _collect(runtime: Runtime) -> datetime:
    """Take in the content as it stands; returns the moment of it, at which what is new is out."""
    now = runtime.now()
    with runtime.store.write() as connection:
        clock.advance_clock(connection, now)
    collect(runtime.store, runtime.sources, now=now, url=runtime.newsroom.site.url)
    return now


def table_of(title: str, *columns: str) -> Table:
    """A plain table in the house's style."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), title_style="bold")
    for column in columns:
        table.add_column(column)
    return table
