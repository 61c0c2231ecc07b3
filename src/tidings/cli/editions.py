"""`preview`, `test`, `send`, `release`, `cancel`, `recompose`, `resolve`: the commands for editions."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from tidings.cli.plan import print_slot
from tidings.cli.progress import deliver, deliver_edition
from tidings.cli.session import (
    Json,
    Now,
    ask,
    check_sender,
    format_moment,
    log_action,
    open_newsroom,
    print_json,
    say,
    session,
)
from tidings.config.schedule import Schedule
from tidings.model.cadence import CadenceError, parse_at, to_utc
from tidings.model.edition import Edition, EditionState, HoldReason
from tidings.model.errors import InputError, RefusedError, nearest
from tidings.model.plurals import count_noun
from tidings.pipeline.address.lists import plan_deliveries
from tidings.pipeline.collect.sweep import collect
from tidings.pipeline.compose.edit import EditionChanges, describe_edition
from tidings.pipeline.deliver.recovery import resolve_in_doubt
from tidings.pipeline.track.bounces import believe_bounces
from tidings.runtime.newsroom import Runtime
from tidings.runtime.preview.outlets import count_planned
from tidings.runtime.preview.plan import PlannedSlot, find_title, look_ahead, open_scratch_runtime
from tidings.runtime.preview.preview import (
    PreviewedMessage,
    make_picture_localiser,
    make_post_pages,
    preview_edition,
    preview_schedule,
    queue_test_mails,
)
from tidings.store.content import editions
from tidings.store.delivery import ledger, threads
from tidings.store.service import clock, pauses, restored

ScheduleName = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Name of a schedule.")]
EditionName = Annotated[str, typer.Argument(metavar="EDITION", help="SCHEDULE/NUMBER.")]
_HIGHEST_ID = 2**53


def preview(
    name: Annotated[
        str, typer.Argument(metavar="SCHEDULE|EDITION", help="A schedule, or an edition (SCHEDULE/NUMBER).")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write. Default: preview/ here.")] = Path(),
    language: Annotated[str, typer.Option("--language", metavar="L", help="Only this language.")] = "",
    now: Now = "",
) -> None:
    """Write what would be sent as files: .html, .txt, .eml and posts.

    For an edition these are the frozen bytes. Posts are shown with their lengths.
    """
    with open_newsroom(now, needs="yaml", schedules_needed=_schedule_of(name)) as runtime:
        if "/" in name:
            messages, is_new = preview_edition(runtime, _find_edition(runtime, name), language or None), True
            localise = make_picture_localiser(runtime)
        else:
            schedule = _find_schedule(runtime, name)
            with open_scratch_runtime(runtime) as copy:
                messages = preview_schedule(copy, schedule, copy.now(), language or None)
                with copy.store.read() as connection:
                    is_new = bool(look_ahead(copy, connection, schedule, copy.now()).stories)
                localise = make_picture_localiser(copy)
        folder = out if out != Path() else session.root / "preview"
        _write_preview(messages, folder.resolve(), runtime.newsroom.site.colour, localise)
        if not is_new:
            say(f"This is a sample: nothing is new for {name}. It shows the newest stories; readers would get nothing.")
        elif "/" not in name:
            say(f"This is a sample of what {name} would send now. `tidings plan` shows when, and to how many.")


def _write_preview(
    messages: list[PreviewedMessage], folder: Path, colour: str, localise: Callable[[bytes], bytes]
) -> None:
    if not messages:
        raise InputError("there is nothing to show: no reader and no channel would get anything")
    folder.mkdir(parents=True, exist_ok=True)
    for message in messages:
        for name, content in message.files():
            is_page = message.is_mail and name.endswith(".html")
            (folder / name).write_bytes(localise(content) if is_page else content)
            say(f"{folder / name}")
        if not message.is_mail:
            say(f"  {message.note.splitlines()[-1]}")
        for failure in message.failures:
            say(f"  a check would hold it: {failure}")
        for warning in message.warnings:
            say(f"  warning: {warning}")
    for name, content in make_post_pages(messages, colour):
        (folder / name).write_bytes(content)
        say(f"{folder / name}")


def send_test(
    schedule: ScheduleName,
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="The only addresses that get the mail.")],
    language: Annotated[str, typer.Option("--language", metavar="L", help="Only this language. Default: each.")] = "",
    now: Now = "",
) -> None:
    """Send the mail of a schedule to these addresses only. It has no other effect."""
    for address in addresses:
        if "@" not in address.strip("@"):
            raise RefusedError(f"{address!r} is not an address; write it like name@example.org")
    with open_newsroom(now, needs="yaml", sends=True, schedules_needed=_schedule_of(schedule)) as runtime:
        planned = _find_schedule(runtime, schedule)
        outlets = [part.outlet for part in planned.deliver if part.outlet.startswith("list:")]
        check_sender(runtime, outlets)
        with open_scratch_runtime(runtime) as copy:
            mailing, count = queue_test_mails(runtime, copy, planned, addresses, runtime.now(), language or None)
        say(f"{count_noun(count, 'test mail')}.")
        deliver(runtime, mailing, outlets)


def send(
    schedule: ScheduleName,
    story: Annotated[list[str], typer.Option("--story", metavar="NAME", help="This story, new or not.")] = [],  # noqa: B006
    channel: Annotated[str, typer.Option("--channel", metavar="NAME", help="To this channel only.")] = "",
    list_name: Annotated[str, typer.Option("--list", metavar="NAME", help="To this list only.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    now: Now = "",
) -> None:
    """Send an edition now. Shows the plan and asks for the number of recipients.

    Approval and checks hold it like any other edition. With --channel or --list the other outlets get nothing now:
    they get its stories with their next edition, unless they have had them.
    """
    with open_newsroom(now, needs="yaml", sends=True, schedules_needed=_schedule_of(schedule)) as runtime:
        planned = _find_schedule(runtime, schedule)
        only = _find_outlet(planned, channel, list_name)
        check_sender(runtime, [part.outlet for part in planned.for_outlet(only).deliver])
        with runtime.store.read() as connection:
            pause = pauses.find_schedule_pause(pauses.active_pauses(connection), planned.name)
        if pause is not None:
            raise RefusedError(f"{pause.what} is paused. Run `tidings resume {pause.name or '--all'}` first.")
        with open_scratch_runtime(runtime) as copy, copy.store.read() as connection:
            moment = copy.now()
            held = editions.list_editions(connection, schedule=planned.name, states=[EditionState.HELD])
            held = [] if story or only else held
            freed = frozenset(key for edition in held for key in edition.stories)
            draft = copy.composer.draft(connection, planned, moment, stories=story, only=only, freed=freed)
            reason = copy.composer.explain_skip(connection, draft)
            if reason:
                raise InputError(f"there is nothing to send: {reason}. Name a story with --story to send it again.")
            outlets = count_planned(plan_deliveries(connection, copy.newsroom, draft))
        stories = [(story.key, find_title(draft, story.key, runtime)) for story in draft.stories]
        print_slot(runtime, PlannedSlot(moment, moment, stories=stories, outlets=outlets))
        if not yes:
            _confirm(sum(outlet.recipients.total() for outlet in outlets))
        moment = _collect(runtime)
        composed = runtime.composer.compose(planned, moment, stories=story, only=only)
        if composed is None or composed.edition is None:
            reason = composed.reason if composed else "another process has just sent it"
            raise InputError(f"there is nothing to send: {reason}")
        if composed.edition.state is EditionState.HELD:
            _explain_hold(composed.edition)
            return
        deliver_edition(runtime, composed.edition)


def _find_outlet(schedule: Schedule, channel: str, list_name: str) -> str:
    """Return the key of the outlet in the options, or ''. Raises RefusedError if the schedule does not have it."""
    if not channel and not list_name:
        return ""
    if channel and list_name:
        raise RefusedError("choose one of --channel and --list")
    kind, name = ("channel", channel) if channel else ("list", list_name)
    known = [part.outlet.partition(":")[2] for part in schedule.deliver if part.outlet.startswith(f"{kind}:")]
    if name not in known:
        raise RefusedError(f"the schedule {schedule.name} has no {kind} {name!r}. {nearest(name, known)}")
    return f"{kind}:{name}"


def _confirm(total: int) -> None:
    question = f"Type the number of recipients ({total}) to send, anything else to stop: "
    answer = ask(question, "nothing was sent")
    if answer != str(total):
        raise RefusedError(f"{answer!r} is not {total}: nothing was sent")


def release(edition: EditionName, now: Now = "") -> None:
    """Send a held edition as it is, unless a check still fails."""
    with _open_edition(edition, now) as (runtime, held):
        released = runtime.editions.release(held, runtime.now(), getpass.getuser())
        _log(runtime, "edition.released", released.name)
        say(f"{released.name} is released.")
        deliver_edition(runtime, released)


def cancel(edition: EditionName, now: Now = "") -> None:
    """Cancel an edition. Its stories are new again.

    What is not sent yet is never sent.
    """
    with open_newsroom(now, needs="store") as runtime:
        target = _find_edition(runtime, edition)
        if target.state not in (EditionState.HELD, EditionState.SENDING):
            raise RefusedError(
                f"{target.name} is {target.state.value}; only an edition that is held or sending can be cancelled"
            )
        runtime.editions.cancel(target, runtime.now(), getpass.getuser())
        _log(runtime, "edition.cancelled", target.name)
        say(f"{target.name} is cancelled; its stories are new again.")


def recompose(edition: EditionName, now: Now = "") -> None:
    """Build a held edition again from the content as it is now."""
    with _open_edition(edition, now) as (runtime, held):
        _collect(runtime)
        schedule = _find_schedule(runtime, held.schedule)
        composed = runtime.composer.recompose(held, schedule, runtime.now(), getpass.getuser())
        _log(runtime, "edition.recomposed", composed.name)
        if composed.state is EditionState.HELD:
            _explain_hold(composed)
            return
        say(f"{composed.name} passes every check now and is sent.")
        deliver_edition(runtime, composed)


def show_edition(edition: EditionName, json: Json = False) -> None:
    """Show the stories, subjects, recipients, checks and history of an edition."""
    with open_newsroom(needs="store") as runtime:
        found = _find_edition(runtime, edition)
        with runtime.store.read() as connection:
            about = describe_edition(connection, found, runtime.newsroom.site.languages)
        if json:
            print_json(about)
            return
        say(f"{found.name}: {found.state.value}, for {format_moment(found.starts, runtime)}")
        for hold in about["holds"]:
            say(f"  {hold['reason']}: {hold['detail']}")
        for warning in about["warnings"]:
            say(f"  warning: {warning}")
        for row in about["stories"]:
            say(f"  - {row['title']}  ({row['story']})")
        for row in about["recipients"]:
            subjects = "".join(f"  {subject}" for subject in row["subjects"])
            say(f"  -> {row['outlet']} ({row['language']}): {row['count']:,}{subjects}")
        for event in about["history"]:
            at = format_moment(datetime.fromisoformat(event["at"]), runtime)
            say(f"  {at}  {event['what']}  ({event['who']})")


def edit_edition(
    edition: EditionName,
    drop: Annotated[list[str], typer.Option("--drop", metavar="STORY", help="Take a story out. It stays new.")] = [],  # noqa: B006
    lead: Annotated[str, typer.Option("--lead", metavar="STORY", help="Put this story first.")] = "",
    order: Annotated[
        str, typer.Option("--order", metavar="A,B,C", help="Put these stories first, in this order.")
    ] = "",
    note: Annotated[
        list[str],
        typer.Option("--note", metavar="TEXT", help="A text before the stories; LANG=TEXT for one language."),
    ] = [],  # noqa: B006
    subject: Annotated[
        list[str],
        typer.Option("--subject", metavar="LANG=TEXT", help="The subject in a language. Empty: the usual one."),
    ] = [],  # noqa: B006
    at: Annotated[str, typer.Option("--at", metavar="T", help="Send it then: 2026-12-01T09:00.")] = "",
    now: Now = "",
) -> None:
    """Change a held edition. Checks and approval start again.

    --note and --subject without a text take the change back.
    """
    with open_newsroom(now, needs="yaml", schedules_needed=_schedule_of(edition)) as runtime:
        held = _find_held(runtime, edition)
        languages = runtime.newsroom.site.languages
        texts = [_split_language(text, languages) for text in note]
        subjects = [(language, text) for language, _, text in (each.partition("=") for each in subject)]
        changes = EditionChanges(
            drop=tuple(key for each in drop for key in _split_names(each)),
            lead=lead.strip(),
            order=_split_names(order),
            note=dict(texts),
            subject=dict(subjects),
            starts=_read_start(at, runtime) if at else None,
        )
        if any("=" not in each for each in subject):
            raise RefusedError(f"--subject takes LANG=TEXT, such as --subject {languages[0]}=News.")
        changed = runtime.composer.edit(
            held, _find_schedule(runtime, held.schedule), changes, runtime.now(), getpass.getuser()
        )
        _log(runtime, "edition.changed", changed.name, changes.describe())
        say(f"{changed.name}: {changes.describe()}.")
        _explain_hold(changed)


def _read_start(text: str, runtime: Runtime) -> datetime:
    """Read a local day and time. Raises RefusedError."""
    zone = runtime.newsroom.site.zone
    try:
        return to_utc(parse_at(text).moment, zone).astimezone(zone)
    except CadenceError as error:
        raise RefusedError(f"--at: {error}") from None


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _split_language(text: str, languages: Sequence[str]) -> tuple[str, str]:
    """Split `ru=TEXT` into language and text. The language is '' if there is none."""
    language, equals, rest = text.partition("=")
    return (language, rest) if equals and language in languages else ("", text)


def resolve(
    delivery: Annotated[
        str,
        typer.Argument(metavar="DELIVERY|EDITION", help="Its number in `tidings ledger`; or an edition."),
    ],
    accepted: Annotated[bool, typer.Option("--accepted", help="It arrived. The URL of the post may follow.")] = False,
    url: Annotated[str, typer.Argument(metavar="[URL]", help="With --accepted: where the post is.")] = "",
    resend: Annotated[bool, typer.Option("--resend", help="It did not arrive: send it again.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Do not send it again.")] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="With --accepted: do not send the further posts of its thread.")
    ] = False,
    believe: Annotated[
        bool, typer.Option("--believe", help="The bounces are true: send these readers no more mail.")
    ] = False,
) -> None:
    """Settle a delivery in doubt, or an edition that was restored or held for bounces.

    --resend also takes a delivery that was refused, once the cause is mended. --cancel also drops a post that waits
    for its channel. An edition takes --accepted or --believe.
    """
    if sum((accepted, resend, cancel, believe)) != 1:
        raise RefusedError("choose one of --accepted, --resend, --cancel or --believe")
    if "/" in delivery and believe:
        _believe_bounces(delivery)
        return
    if "/" in delivery:
        _resolve_edition(delivery, accepted=accepted)
        return
    if believe:
        raise RefusedError("--believe needs an edition, such as `tidings resolve friday/3 --believe`")
    if not (delivery.isascii() and delivery.isdigit() and 0 < int(delivery[:17]) <= _HIGHEST_ID):
        raise RefusedError(f"{delivery!r} is not a delivery. `tidings ledger --state in_doubt` lists their numbers.")
    how: Literal["accepted", "resend", "cancel"] = "accepted" if accepted else "resend" if resend else "cancel"
    with open_newsroom(needs="store") as runtime:
        _check_channel(runtime, int(delivery), url)
        resolve_in_doubt(runtime.store, runtime.channels, int(delivery), how, runtime.now(), url=url, alone=alone)
        _log(runtime, "delivery.resolved", f"delivery {delivery}", how)
    result = "it goes with the next `tidings tick`, or at once under `tidings run`" if resend else "settled"
    say(f"Delivery {delivery}: {result}.")


def _believe_bounces(name: str) -> None:
    with _open_edition(name) as (runtime, held):
        if not any(hold.reason is HoldReason.BREAKER for hold in held.holds):
            raise RefusedError(f"{name} is not held for too many bounces. `tidings status` says what holds it.")
        now = runtime.now()
        count = believe_bounces(runtime.store, held, now)
        runtime.editions.release(held, now, getpass.getuser())
        readers = count_noun(count, "reader gets", "readers get")
        say(f"{name}: believed. {readers} no more mail, and the rest is sent.")
        deliver_edition(runtime, held)


def _check_channel(runtime: Runtime, delivery: int, url: str) -> None:
    """Raise InputError if the channel is unknown that reads the address of a post, or the replies of a thread wait."""
    with runtime.store.read() as connection:
        channel, replies = threads.count_replies(connection, delivery)
    if not channel or not (url or replies):
        return
    if channel not in runtime.channels and runtime.newsroom.faults:
        raise InputError(f"the channel {channel!r} cannot be used: {runtime.newsroom.faults[0]}")
    if unset := runtime.newsroom.find_unset("channels", channel):
        raise InputError("\n".join(each.problem for each in unset))


def _resolve_edition(name: str, *, accepted: bool) -> None:
    if not accepted:
        raise RefusedError(f"send it with `tidings release {name}`, or drop it with `tidings cancel {name}`")
    with open_newsroom(needs="store") as runtime, runtime.store.write() as connection:
        edition = editions.find_edition_by_name(connection, name)
        if edition is None:
            raise RefusedError(f"there is no edition {name!r}. `tidings status` lists the held ones.")
        count = restored.settle_as_sent(connection, edition, runtime.now(), getpass.getuser())
        log_action(connection, "delivery.resolved", name, "accepted")
    counted = count_noun(count, "delivery counts", "deliveries count")
    say(f"{name}: settled. {counted} as accepted, and nothing of it is sent.")


def _explain_hold(edition: Edition) -> None:
    say(f"{edition.name} is held. Nothing of it is sent:")
    for hold in edition.holds:
        say(f"  {hold.reason.value}: {hold.detail}")
    say(f"Look: tidings preview {edition.name}")
    say(f"Then: tidings release, tidings recompose or tidings cancel {edition.name}")
    say(f"To change it: tidings edition edit {edition.name} --drop, --lead, --order, --note, --subject or --at")
    if any(hold.reason is HoldReason.RESTORED for hold in edition.holds):
        say(f"If it was sent before the restore: tidings resolve {edition.name} --accepted")
    if any(hold.reason in (HoldReason.GATE, HoldReason.WITHDRAWN) for hold in edition.holds):
        raise typer.Exit(1)


def _log(runtime: Runtime, action: str, about: str, details: str = "") -> None:
    with runtime.store.write() as connection:
        log_action(connection, action, about, details)


@contextmanager
def _open_edition(name: str, now: str = "") -> Iterator[tuple[Runtime, Edition]]:
    """Open the newsroom of a held edition, whose rest is sent then. Raises InputError if secrets for it are missing."""
    with open_newsroom(now, needs="yaml", sends=True, schedules_needed=_schedule_of(name)) as runtime:
        held = _find_held(runtime, name)
        with runtime.store.read() as connection:
            outlets = ledger.edition_mailing(connection, held.id)[1]
        check_sender(runtime, outlets)
        yield runtime, held


def _schedule_of(name: str) -> tuple[str, ...]:
    """Return the schedule of an edition, or the schedule itself: mistakes in others do not matter."""
    return (name.partition("/")[0],)


def _find_schedule(runtime: Runtime, name: str) -> Schedule:
    schedule = runtime.newsroom.schedules.get(name)
    if schedule is None:
        raise RefusedError(f"there is no schedule {name!r}. {nearest(name, runtime.newsroom.schedules)}")
    return schedule


def _find_edition(runtime: Runtime, name: str) -> Edition:
    with runtime.store.read() as connection:
        edition = editions.find_edition_by_name(connection, name)
        if edition is None:
            newest = [known.name for known in editions.list_editions(connection)][-5:]
            raise RefusedError(f"there is no edition {name!r}. The newest: {', '.join(newest) or 'none yet'}")
        return edition


def _find_held(runtime: Runtime, name: str) -> Edition:
    edition = _find_edition(runtime, name)
    if edition.state is not EditionState.HELD:
        raise RefusedError(f"{edition.name} is {edition.state.value}, not held")
    return edition


def _collect(runtime: Runtime) -> datetime:
    """Sweep the sources. Returns the moment at which new items count as published."""
    now = runtime.now()
    with runtime.store.write() as connection:
        clock.advance_clock(connection, now)
    collect(runtime.store, runtime.sources, now=now, url=runtime.newsroom.site.url)
    return now
