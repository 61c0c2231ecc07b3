"""`tidings subscribers ...`: people and what they chose."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from tidings.cli.app import Json, app, console, opened, print_json
from tidings.model.dates import parse_moment
from tidings.model.errors import InputError, RefusedError, nearest
from tidings.runtime.newsroom import Runtime
from tidings.runtime.people_files.person_record import ListChoices, PersonRecord
from tidings.store.people import consent, feedback, subscribers
from tidings.store.people.data_export import export_address
from tidings.store.people.erasure import erase_address, is_known, truncate_log

group = typer.Typer(help="Subscribers: add, set, remove, import, export, show, erase.", no_args_is_help=True)
app.add_typer(group, name="subscribers")

Address = Annotated[str, typer.Argument(metavar="ADDRESS")]
List = Annotated[str, typer.Option("--list", metavar="L", help="The list.")]
Language = Annotated[str, typer.Option("--language", metavar="L", help="The reader's language.")]
Topics = Annotated[str, typer.Option("--topics", metavar="A;B", help="Topics, separated by `;`; empty means all.")]
Frequency = Annotated[str, typer.Option("--frequency", metavar="F", help="Such as weekly; default: the list's.")]
Confirmed = Annotated[bool, typer.Option("--confirmed", help="They have agreed already; else they stay pending.")]
Source = Annotated[str, typer.Option("--source", metavar="TEXT", help="Where the consent comes from.")]


def known_list(runtime: Runtime, name: str) -> str:
    """The list of this name. Raises RefusedError with the nearest one."""
    if name not in runtime.newsroom.lists:
        raise RefusedError(f"there is no list {name!r}. {nearest(name, runtime.newsroom.lists)}")
    return name


def _topics(text: str) -> tuple[str, ...]:
    return tuple(topic for part in text.split(";") if (topic := part.strip()))


@group.command()
def add(
    address: Address,
    list_name: List,
    language: Language = "",
    name: Annotated[str, typer.Option("--name", help="How to greet them.")] = "",
    topics: Topics = "",
    frequency: Frequency = "",
    confirmed: Confirmed = False,
    source: Source = "command line",
) -> None:
    """Put one person on a list. Nobody is mailed."""
    with opened() as runtime:
        choices = ListChoices.of(runtime.newsroom, known_list(runtime, list_name))
        person = choices.validate(PersonRecord(0, address, name, language, _topics(topics), frequency))
        with runtime.store.write() as connection:
            outcome = subscribers.add(
                connection,
                person.email,
                list_name,
                language=person.language,
                frequency=person.frequency,
                now=datetime.now(UTC),
                name=person.name,
                topics=person.topics,
                confirmed=confirmed,
                source=source,
            )
    if outcome in ("left", "suppressed"):
        raise RefusedError(f"{address} {_WORDS[outcome]} and is not brought back")
    console.print(f"{address} {_WORDS[outcome]}{'' if confirmed or outcome != 'added' else ', pending'}.", markup=False)


_WORDS = {
    "added": "is on the list",
    "exists": "was on the list already",
    "left": "has left this list",
    "suppressed": "must not be mailed",
}


@group.command("set")
def set_command(
    address: Address,
    list_name: Annotated[str, typer.Option("--list", metavar="L", help="This list alone.")] = "",
    language: Language = "",
    name: Annotated[str | None, typer.Option("--name", help="How to greet them.")] = None,
    topics: Annotated[str | None, typer.Option("--topics", metavar="A;B", help="Topics; empty means all.")] = None,
    frequency: Frequency = "",
    lift: Annotated[
        str,
        typer.Option("--lift", metavar="WHY", help="A hard bounce was wrong: mail them again; say how you know."),
    ] = "",
) -> None:
    """Change what a person chose. It neither repeats nor skips a story."""
    if lift:
        if language or frequency or name is not None or topics is not None:
            raise RefusedError("--lift goes with --list alone")
        _lift(address, list_name, lift)
        return
    with opened() as runtime:
        with runtime.store.write() as connection:
            subscriber = _known(subscribers.find_id(connection, address), address)
            mine = {one.list for one in subscribers.subscriptions(connection, address=address)}
            for each in [known_list(runtime, list_name)] if list_name else sorted(mine & set(runtime.newsroom.lists)):
                ListChoices.of(runtime.newsroom, each).validate(
                    PersonRecord(0, address, name or "", language, _topics(topics or ""), frequency)
                )
            subscribers.change(
                connection,
                subscriber,
                list_name=list_name or None,
                name=name,
                language=language or None,
                topics=None if topics is None else _topics(topics),
                frequency=frequency or None,
            )
        console.print(f"{address} is changed.", markup=False)


def _lift(address: str, list_name: str, why: str) -> None:
    with opened() as runtime, runtime.store.write() as connection:
        name = known_list(runtime, list_name) if list_name else ""
        source = f"{why} ({getpass.getuser()}, command line)"
        back = feedback.lift_suppressions(connection, consent.address_hash(address), name, source, datetime.now(UTC))
    on = f"is on {', '.join(back)} again" if back else "may be put on a list again, with `tidings subscribers add`"
    console.print(f"{address} {on}.", markup=False)


@group.command()
def remove(
    address: Address, list_name: Annotated[str, typer.Option("--list", metavar="L", help="Default: every list.")] = ""
) -> None:
    """Take a person off a list for good: an import does not bring them back."""
    with opened() as runtime, runtime.store.write() as connection:
        subscriber = _known(subscribers.find_id(connection, address), address)
        mine = {one.list for one in subscribers.subscriptions(connection, address=address)}
        names = [known_list(runtime, list_name)] if list_name else sorted(mine)
        for each in names:
            subscribers.unsubscribe(connection, subscriber, each, source="command line", now=datetime.now(UTC))
    console.print(f"{address} is off {', '.join(names)}.", markup=False)


@group.command()
def reconfirm(
    list_name: List,
    until: Annotated[str, typer.Option("--until", metavar="DATE", help="The last day, such as 2027-01-31.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the number.")] = False,
) -> None:
    """Ask everybody on an old list once more; who has not said yes by the date is no longer mailed."""
    with opened() as runtime:
        name = known_list(runtime, list_name)
        zone = runtime.newsroom.site.zone
        try:
            day = parse_moment(until, zone)
        except ValueError:
            raise RefusedError(f"--until {until}: write a day like 2027-01-31") from None
        end = (day.astimezone(zone) + timedelta(days=1)).astimezone(UTC)
        if end < runtime.now() + timedelta(days=7):
            raise RefusedError(f"--until {until}: give them a week at least")
        with runtime.store.read() as connection:
            count = subscribers.count_by_state(connection, name).get(subscribers.CONFIRMED, 0)
        if not yes and typer.prompt(f"{count} readers are asked by mail. Type the number") != str(count):
            raise RefusedError("nobody is asked")
        asked = runtime.request_reconfirmation(name, end)
    console.print(f"{asked} readers of {name} are asked; who has not confirmed by {until} gets no more.", markup=False)


@group.command("show")
def show_command(address: Address, as_json: Json = False) -> None:
    """All that is known of a person; --json is what they may ask to have."""
    with opened() as runtime, runtime.store.read() as connection:
        digest = consent.address_hash(address)
        if subscribers.find_id(connection, address) is None and not is_known(connection, digest):
            raise _nobody(address)
        if as_json:
            print_json(export_address(connection, address))
            return
        for one in subscribers.subscriptions(connection, address=address):
            topics = ", ".join(one.topics) or "all topics"
            console.print(
                f"{one.address}  {one.name}  list {one.list}: {one.state}, {one.language}, {one.frequency}, {topics}"
                f"  (from: {one.source or 'unknown'}; number {one.subscriber})",
                markup=False,
            )
        for name, (reason, at) in consent.suppressions_of(connection, digest).items():
            where = f"list {name}" if name else "every list"
            console.print(f"  {at:%Y-%m-%d %H:%M} UTC  never mailed by {where}: {reason}", markup=False)
        for at, list_name, what, source in subscribers.consents_of(connection, address):
            console.print(f"  {at:%Y-%m-%d %H:%M} UTC  {list_name}: {what}  {source}", markup=False)


@group.command()
def erase(address: Address, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Forget a person: only a hash stays, so that nobody mails them again by mistake."""
    with opened() as runtime:
        if not yes and not typer.confirm(f"Erase all that is known of {address}? This cannot be undone"):
            raise RefusedError("nothing was erased")
        with runtime.store.write() as connection:
            if not erase_address(connection, address, now=datetime.now(UTC)):
                raise _nobody(address)
        wiped = truncate_log(runtime.store)
        console.print(f"{address} is erased. Backups that were made before still hold it.", markup=False)
        if not wiped:
            console.print("So does the database's log, until nobody is reading any more.", markup=False)


def _known(subscriber: int | None, address: str) -> int:
    if subscriber is None:
        raise _nobody(address)
    return subscriber


def _nobody(address: str) -> InputError:
    return InputError(f"nobody with the address {address} is known here")
