"""`subscribers`: people and their choices."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from sqlalchemy import Connection

from tidings.cli.session import Json, ask, format_moment, log_action, open_newsroom, print_json, say
from tidings.config.references import find_names
from tidings.model.dates import parse_moment, to_json
from tidings.model.errors import InputError, RefusedError, nearest
from tidings.model.plurals import count_noun
from tidings.runtime.newsroom import Runtime
from tidings.runtime.people_files.person_record import ListChoices, PersonRecord
from tidings.store.people import consent, feedback, subscribers
from tidings.store.people.data_export import export_address
from tidings.store.people.erasure import erase_address, is_known, truncate_log
from tidings.store.people.subscribers import SubscriptionFilter

Address = Annotated[str, typer.Argument(metavar="ADDRESS")]
List = Annotated[str, typer.Option("--list", metavar="L", help="The list.")]
Language = Annotated[str, typer.Option("--language", metavar="L", help="The reader's language.")]
Topics = Annotated[str, typer.Option("--topics", metavar="A;B", help="Topics, separated by `;`. Empty means all.")]
Frequency = Annotated[str, typer.Option("--frequency", metavar="F", help="Such as weekly. Default: the list's.")]
Confirmed = Annotated[bool, typer.Option("--confirmed", help="They have agreed already. Without it they stay pending.")]
Source = Annotated[str, typer.Option("--source", metavar="TEXT", help="Where the consent comes from.")]


def check_list(runtime: Runtime, name: str) -> str:
    """Return the name of a list that exists. Raises RefusedError with the nearest name."""
    if name not in runtime.newsroom.lists:
        if runtime.newsroom.faults and name in find_names(runtime.root)["list"]:
            raise InputError(f"the list {name!r} cannot be used: {runtime.newsroom.faults[0]}")
        raise RefusedError(f"there is no list {name!r}. {nearest(name, runtime.newsroom.lists)}")
    return name


def _topics(text: str) -> tuple[str, ...]:
    return tuple(topic for part in text.split(";") if (topic := part.strip()))


def add(
    address: Address,
    list_name: List,
    language: Language = "",
    name: Annotated[str, typer.Option("--name", help="The name that mails greet them by.")] = "",
    topics: Topics = "",
    frequency: Frequency = "",
    confirmed: Confirmed = False,
    source: Source = "command line",
) -> None:
    """Put one person on a list. Sends no mail."""
    with open_newsroom(needs="store") as runtime:
        choices = ListChoices.of(runtime.newsroom, check_list(runtime, list_name))
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
            if outcome == "added":
                log_action(connection, "subscriber.added", _about(connection, address), list_name)
    if outcome in ("left", "suppressed"):
        raise RefusedError(f"{address} {_WORDS[outcome]} and was not added")
    say(f"{address} {_WORDS[outcome]}{'' if confirmed or outcome != 'added' else ', pending'}.")


_WORDS = {
    "added": "is on the list",
    "exists": "was on the list already",
    "left": "has left this list",
    "suppressed": "must not be mailed",
}


def change(
    address: Address,
    list_name: Annotated[str, typer.Option("--list", metavar="L", help="Only this list.")] = "",
    language: Language = "",
    name: Annotated[str | None, typer.Option("--name", help="The name that mails greet them by.")] = None,
    topics: Annotated[str | None, typer.Option("--topics", metavar="A;B", help="Topics. Empty means all.")] = None,
    frequency: Frequency = "",
    note: Annotated[str | None, typer.Option("--note", help="A note of the team about this person.")] = None,
    lift: Annotated[
        str,
        typer.Option("--lift", metavar="WHY", help="Mail them again after a wrong hard bounce. Write how you know."),
    ] = "",
) -> None:
    """Change a person's choices. No story is repeated or skipped."""
    if lift:
        if language or frequency or any(value is not None for value in (name, topics, note)):
            raise RefusedError("--lift can be combined with --list only")
        _lift(address, list_name, lift)
        return
    with open_newsroom(needs="store") as runtime:
        with runtime.store.write() as connection:
            subscriber = _known(subscribers.find_id(connection, address), address)
            names = [check_list(runtime, list_name)] if list_name else _lists_of(connection, address)
            for each in names:
                if each not in runtime.newsroom.lists:
                    continue
                ListChoices.of(runtime.newsroom, each).validate(
                    PersonRecord(0, address, name or "", language, _topics(topics or ""), frequency)
                )
            subscribers.change(
                connection,
                subscriber,
                list_name=list_name or None,
                name=name,
                language=language or None,
                note=note,
                topics=None if topics is None else _topics(topics),
                frequency=frequency or None,
            )
            log_action(connection, "subscriber.changed", f"subscriber {subscriber}")
        say(f"The choices of {address} are changed.")


def _lift(address: str, list_name: str, why: str) -> None:
    with open_newsroom(needs="store") as runtime, runtime.store.write() as connection:
        name = check_list(runtime, list_name) if list_name else ""
        source = f"{why} ({getpass.getuser()}, command line)"
        back = feedback.lift_suppressions(connection, consent.address_hash(address), name, source, datetime.now(UTC))
    on = f"is on {', '.join(back)} again" if back else "can be put on a list again with `tidings subscribers add`"
    say(f"{address} {on}.")


def remove(
    address: Address, list_name: Annotated[str, typer.Option("--list", metavar="L", help="Default: every list.")] = ""
) -> None:
    """Take a person off a list for good. An import does not bring them back."""
    with open_newsroom(needs="store") as runtime, runtime.store.write() as connection:
        subscriber = _known(subscribers.find_id(connection, address), address)
        names = [check_list(runtime, list_name)] if list_name else _lists_of(connection, address)
        for each in names:
            subscribers.unsubscribe(connection, subscriber, each, source="command line", now=datetime.now(UTC))
        log_action(connection, "subscriber.removed", f"subscriber {subscriber}", ", ".join(names))
    say(f"{address} is off {', '.join(names)}.")


def reconfirm(
    list_name: List,
    until: Annotated[str, typer.Option("--until", metavar="DATE", help="The last day, such as 2027-01-31.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask to type the number of readers.")] = False,
) -> None:
    """Ask everybody on an old list to confirm again by a date.

    People who have not confirmed by then get no more mail. Run again, it asks those who were not asked yet.
    """
    with open_newsroom(needs="yaml", schedules_needed=()) as runtime:
        name = check_list(runtime, list_name)
        zone = runtime.newsroom.site.zone
        try:
            day = parse_moment(until, zone)
        except ValueError:
            raise RefusedError(f"--until {until}: write a date like 2027-01-31") from None
        end = (day.astimezone(zone) + timedelta(days=1)).astimezone(UTC)
        if end < runtime.now() + timedelta(days=7):
            raise RefusedError(f"--until {until}: give them at least a week")
        with runtime.store.read() as connection:
            now = runtime.now()
            count = subscribers.count_not_asked(connection, name, now, end)
        question = f"{count_noun(count, 'reader')} will be asked by mail. Type the number: "
        if not yes and ask(question, "nobody was asked") != str(count):
            raise RefusedError("nobody was asked")
        asked = runtime.request_reconfirmation(name, end)
    say(f"{count_noun(asked, 'reader')} of {name} will be asked. Those who do not confirm by {until} get no more mail.")


def show_person(address: Address, as_json: Json = False) -> None:
    """Show all that is known about a person.

    With --json, it is the copy of their data that they may ask for.
    """
    with open_newsroom(needs="store") as runtime, runtime.store.read() as connection:
        digest = consent.address_hash(address)
        number = subscribers.find_id(connection, address)
        if number is None and not is_known(connection, digest):
            raise _nobody(address)
        if as_json:
            print_json(export_address(connection, address))
            return
        for entry in subscribers.subscriptions(connection, address=address):
            choices = f"{entry.language}, {entry.frequency}, {', '.join(entry.topics) or 'all topics'}"
            origin = f"(from: {entry.source or 'unknown'}; number {entry.subscriber})"
            say(f"{entry.address}  {entry.name}  list {entry.list}: {entry.state}, {choices}  {origin}")
        if number is not None and (person := subscribers.find_by_id(connection, number)) and person.note:
            say(f"  note: {person.note}")
        for name, (reason, at) in consent.suppressions_of(connection, digest).items():
            say(f"  {format_moment(at, runtime)}  never mailed by {f'list {name}' if name else 'any list'}: {reason}")
        for at, name, event, source in subscribers.consents_of(connection, address):
            say(f"  {format_moment(at, runtime)}  {name}: {event}  {source}")


def list_people(
    list_name: Annotated[str, typer.Option("--list", metavar="L", help="Default: every list.")] = "",
    language: Annotated[str, typer.Option("--language", metavar="X", help="Who reads this language.")] = "",
    topic: Annotated[str, typer.Option("--topic", metavar="T", help="Who chose this topic.")] = "",
    frequency: Annotated[str, typer.Option("--frequency", metavar="F", help="Who chose this frequency.")] = "",
    state: Annotated[
        str,
        typer.Option(
            "--state", metavar="S", help="pending, confirmed, unsubscribed or all. Default: all who have not left."
        ),
    ] = "",
    count: Annotated[bool, typer.Option("--count", help="Only the number.")] = False,
    as_json: Json = False,
) -> None:
    """List or count the people on a list by language, topic, frequency or state."""
    states = subscribers.STATES if state == "all" else (state,) if state else subscribers.STATES[:2]
    if not set(states) <= set(subscribers.STATES):
        raise RefusedError(f"there is no state {state!r}. {nearest(state, (*subscribers.STATES, 'all'))}")
    with open_newsroom(needs="store") as runtime:
        wanted = SubscriptionFilter(
            list=check_list(runtime, list_name) if list_name else "",
            language=language,
            topic=topic,
            frequency=frequency,
            states=states,
        )
        if count:
            with runtime.store.read() as connection:
                total = subscribers.count_subscriptions(connection, wanted)
            print_json({"count": total}) if as_json else say(str(total))
            return
        _print_people(runtime, wanted, as_json=as_json)


def _print_people(runtime: Runtime, wanted: SubscriptionFilter, *, as_json: bool) -> None:
    """Print page by page, so that a long list needs little memory and does not block writers."""
    after, number = ("", ""), 0
    while True:
        with runtime.store.read() as connection:
            page = subscribers.subscriptions_page(connection, wanted, after=after)
        for entry in page:
            if as_json:
                say(
                    f"{',' if number else '['}\n  {json.dumps(asdict(entry), ensure_ascii=False, default=to_json)}",
                    end="",
                )
            else:
                topics = ", ".join(entry.topics) or "all topics"
                choices = f"{entry.language}  {entry.frequency}  {topics}"
                say(f"{entry.address}  {entry.name or '-'}  {entry.list}  {entry.state}  {choices}")
            number += 1
        if not page:
            break
        after = (page[-1].list, page[-1].address)
    if as_json:
        say("\n]" if number else "[]")
    elif not number:
        say("Nobody.")


def erase(address: Address, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Erase a person. Only a hash stays, so that nobody mails them again."""
    with open_newsroom(needs="store") as runtime:
        question = f"Erase all that is known about {address}? This cannot be undone. Type yes to erase: "
        if not yes and ask(question, "nothing was erased").casefold() not in ("y", "yes"):
            raise RefusedError("nothing was erased")
        with runtime.store.write() as connection:
            about = _about(connection, address)
            if not erase_address(connection, address, now=datetime.now(UTC)):
                raise _nobody(address)
            log_action(connection, "subscriber.erased", about)
        wiped = truncate_log(runtime.store)
        say(f"{address} is erased. Older backups still contain it.")
        if not wiped:
            say("So does the database's log, until the processes that are reading now have finished.")


def _lists_of(connection: Connection, address: str) -> list[str]:
    return sorted({entry.list for entry in subscribers.subscriptions(connection, address=address)})


def _about(connection: Connection, address: str) -> str:
    """Return a description of a person for the log, without the address."""
    number = subscribers.find_id(connection, address)
    return f"subscriber {number}" if number is not None else "an address without a subscription"


def _known(subscriber: int | None, address: str) -> int:
    if subscriber is None:
        raise _nobody(address)
    return subscriber


def _nobody(address: str) -> InputError:
    return InputError(f"there is no subscriber with the address {address}")
