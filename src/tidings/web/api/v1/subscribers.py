"""`/api/v1/subscribers`: people and their choices, for the lists that the key may work on."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from starlette.responses import Response

from tidings.render.room.room_pages import RoomWords
from tidings.runtime.explain import explain
from tidings.runtime.people_files.csv_format import export_people
from tidings.runtime.people_files.importer import ImportOptions, ImportWatcher, import_text
from tidings.runtime.people_files.person_record import ListChoices, PersonRecord, RefusedLine
from tidings.store.people import subscribers
from tidings.store.people.erasure import truncate_log
from tidings.store.people.subscribers import (
    Subscriber,
    Subscription,
    SubscriptionFilter,
    count_subscriptions,
    subscriptions_page,
)
from tidings.store.people.team import Role
from tidings.web.api.v1.access import (
    ApiModel,
    ApiRefusal,
    ApiRoute,
    Caller,
    Cursor,
    Limit,
    Page,
    Who,
    make_cursor,
    read_cursor,
)
from tidings.web.reader_actions import request_subscription

Word = Annotated[str, Field(max_length=100)]
_MOST_REFUSED = 100
SubscriberNumber = Annotated[int, Field(ge=1, lt=2**53)]


class SubscriptionInfo(ApiModel):
    """A person on one list."""

    subscriber: int = Field(description="The number of the person.")
    address: str
    name: str
    language: str
    list: str
    state: str = Field(description="pending, confirmed or unsubscribed.")
    topics: builtins.list[str] = Field(description="The chosen topics; empty: all.")
    frequency: str
    source: str = Field(description="Where the consent comes from.")
    confirmed_at: datetime | None
    left_at: datetime | None


class SubscriptionPage(Page[SubscriptionInfo]):
    """A page of subscriptions, with the total count."""

    total: int


class ListChoice(ApiModel):
    """A person's choices for one list."""

    list: str
    state: str
    topics: builtins.list[str]
    frequency: str
    source: str
    confirmed_at: datetime | None
    left_at: datetime | None


class SubscriberInfo(ApiModel):
    """A person and their lists."""

    subscriber: int
    address: str
    name: str
    language: str
    note: str = Field(description="What the team wrote about the person.")
    lists: list[ListChoice]


class Explanation(ApiModel):
    """Sentences that say why a person did or did not get something, oldest first."""

    lines: list[str]


class NewSubscriber(ApiModel):
    """A person to add to a list."""

    email: str = Field(min_length=3, max_length=320)
    list: Word
    language: Word = Field(default="", description="Default: the first of the site's.")
    name: str = Field(default="", max_length=200)
    topics: builtins.list[Word] = Field(default_factory=builtins.list, max_length=100, description="None means all.")
    frequency: Word = Field(default="", description="Default: the list's.")
    consent: str = Field(
        default="", max_length=500, description="How they agreed already. Without it, a mail asks them to confirm."
    )


class AddedSubscriber(ApiModel):
    """The result: added, asked (a mail asks them to confirm) or exists (they are on the list already)."""

    outcome: Literal["added", "asked", "exists"]
    subscriber: int | None = Field(description="The number of the person; null for somebody who is asked first.")


class SubscriberChange(ApiModel):
    """New choices. A field that is not named stays as it is."""

    name: str | None = Field(default=None, max_length=200)
    note: str | None = Field(default=None, max_length=2_000, description="A note of the team about the person.")
    language: Word = ""
    list: Word = Field(default="", description="The list whose topics and frequency change.")
    topics: builtins.list[Word] | None = Field(default=None, max_length=100, description="Empty means all.")
    frequency: Word = ""


class Erasure(ApiModel):
    """The address of the person to erase, to prevent mistakes."""

    address: str = Field(max_length=320)


class ImportRequest(ApiModel):
    """A table of people in the format of `tidings subscribers import`."""

    list: Word
    csv: str = Field(description="email,name,language,topics,frequency; topics separated by `;`.")
    source: str = Field(min_length=1, max_length=300, description="How these people agreed.")
    confirmed: bool = Field(default=False, description="They have agreed already. Without it they stay pending.")
    dry_run: bool = Field(default=True, description="Only say what each line would do.")


class ImportRefusal(ApiModel):
    """A line that was not imported, and why."""

    line: int
    reason: str


class ImportOutcome(ApiModel):
    """The result of an import or a dry run, with the first 100 refused lines."""

    dry_run: bool
    counts: dict[str, int]
    refused: builtins.list[ImportRefusal]


def list_subscribers(
    caller: Who,
    list: Annotated[str, Field(max_length=100, description="Default: every list of the key.")] = "",
    language: Word = "",
    topic: Word = "",
    frequency: Word = "",
    state: Literal["", "confirmed", "pending", "unsubscribed"] = "",
    text: Annotated[str, Field(max_length=200, description="A part of the address or the name.")] = "",
    cursor: Cursor = "",
    limit: Limit = 50,
) -> SubscriptionPage:
    """List subscriptions by list and address, with the total count."""
    position = read_cursor(cursor, str, str)
    if list:
        caller.check_list(list)
    wanted = SubscriptionFilter(
        list=list,
        within=tuple(caller.lists()) if caller.person.lists else None,
        language=language,
        topic=topic,
        frequency=frequency,
        states=(state,) if state else (),
        text=text,
    )
    after = (position[0], position[1]) if position else ("", "")
    with caller.runtime.store.read() as connection:
        found = subscriptions_page(connection, wanted, after=after, limit=limit + 1)
        total = count_subscriptions(connection, wanted)
    shown = found[:limit]
    return SubscriptionPage(
        items=[SubscriptionInfo.model_validate(row) for row in shown],
        next=make_cursor(shown[-1].list, shown[-1].address) if len(found) > limit else None,
        total=total,
    )


def show_subscriber(caller: Who, subscriber: SubscriberNumber) -> SubscriberInfo:
    """Show a person and their choices."""
    return _describe(*_find(caller, subscriber))


def explain_subscriber(
    caller: Who,
    subscriber: SubscriberNumber,
    story: Annotated[str, Field(max_length=300, description="Only about this story.")] = "",
) -> Explanation:
    """Explain why a person did or did not get something, as `tidings explain` does."""
    person, _ = _find(caller, subscriber)
    if caller.person.lists:
        raise ApiRefusal(403, "this would show what the person gets from other lists. It needs a key for all lists.")
    with caller.runtime.store.read() as connection:
        show = RoomWords("en", caller.newsroom.site.timezone).moment
        lines = explain(connection, caller.newsroom, person.address, story or None, show, caller.runtime.now())
    return Explanation(lines=lines)


def export_list(caller: Who, list: Annotated[str, Field(max_length=100)]) -> Response:
    """Return the confirmed people of a list as CSV. The log notes it."""
    name = caller.check_list(list)
    body = "".join(export_people(caller.runtime.store, name))
    with caller.runtime.store.write() as connection:
        caller.record(connection, "subscriber.exported", name)
    return Response(body, media_type="text/csv; charset=utf-8")


def add_subscriber(caller: Who, person: NewSubscriber) -> AddedSubscriber:
    """Add a person who has agreed already to a list, or ask them by mail. A person who left is never added again."""
    runtime, name = caller.runtime, caller.check_list(person.list)
    chosen = ListChoices.of(caller.newsroom, name).validate(
        PersonRecord(0, person.email, person.name, person.language, tuple(person.topics), person.frequency)
    )
    if not person.consent.strip():
        is_asked = request_subscription(
            runtime,
            chosen.email,
            (name,),
            languages=(chosen.language,),
            topics=chosen.topics,
            frequencies=(chosen.frequency,),
            source=f"API, {caller.person.email}",
            client=caller.network,
        )
        if not is_asked:
            raise ApiRefusal(429, "There are too many requests. Try again in ten minutes, or tomorrow.")
        return AddedSubscriber(outcome="asked", subscriber=None)
    with runtime.store.write() as connection:
        outcome = subscribers.add(
            connection,
            chosen.email,
            name,
            language=chosen.language,
            frequency=chosen.frequency,
            now=runtime.now(),
            name=chosen.name,
            topics=chosen.topics,
            confirmed=True,
            source=person.consent.strip(),
        )
        number = subscribers.find_id(connection, chosen.email)
        if outcome == "added":
            caller.record(connection, "subscriber.added", f"subscriber {number}", name)
    if outcome == "left":
        raise ApiRefusal(409, f"{chosen.email} has left this list and was not added. Only they can come back.")
    if outcome == "suppressed":
        raise ApiRefusal(409, f"{chosen.email} must not be mailed and was not added.")
    return AddedSubscriber(outcome="added" if outcome == "added" else "exists", subscriber=number)


def change_subscriber(caller: Who, subscriber: SubscriberNumber, change: SubscriberChange) -> SubscriberInfo:
    """Change a person's choices. No story is repeated or skipped."""
    person, rows = _find(caller, subscriber)
    chooses = change.topics is not None or change.frequency != ""
    if chooses and change.list not in [row.list for row in rows]:
        raise ApiRefusal(422, "list: name the list of this person whose topics or frequency change.")
    topics = None if change.topics is None else tuple(change.topics)
    for name in [change.list] if chooses else [row.list for row in rows if row.list in caller.newsroom.lists]:
        record = PersonRecord(0, person.address, change.name or "", change.language, topics or (), change.frequency)
        ListChoices.of(caller.newsroom, caller.check_list(name)).validate(record)
    with caller.runtime.store.write() as connection:
        subscribers.change(
            connection,
            person.id,
            list_name=change.list or None,
            name=change.name,
            language=change.language or None,
            note=change.note,
            topics=topics,
            frequency=change.frequency or None,
        )
        caller.record(connection, "subscriber.changed", f"subscriber {person.id}")
    return _describe(*_find(caller, subscriber))


def remove_subscriber(
    caller: Who, subscriber: SubscriberNumber, list: Annotated[str, Field(max_length=100)]
) -> SubscriberInfo:
    """Remove a person from a list for good. An import does not add them again."""
    person, rows = _find(caller, subscriber)
    if list not in [row.list for row in rows if row.state != subscribers.UNSUBSCRIBED]:
        raise ApiRefusal(404, f"subscriber {subscriber} is not on the list {list!r}.")
    with caller.runtime.store.write() as connection:
        source = f"API: {caller.person.email}"
        subscribers.unsubscribe(connection, person.id, list, source=source, now=caller.runtime.now())
        caller.record(connection, "subscriber.removed", f"subscriber {person.id}", list)
    return _describe(*_find(caller, subscriber))


def erase_subscriber(caller: Who, subscriber: SubscriberNumber, erasure: Erasure) -> Explanation:
    """Erase a person. Only a hash stays, so that nobody mails them again. This cannot be undone."""
    person, _ = _find(caller, subscriber)
    if erasure.address.strip().casefold() != person.address.casefold():
        raise ApiRefusal(422, "address: this is not the address of the person. Nobody was erased.")
    with caller.runtime.store.write() as connection:
        subscribers.erase(connection, person.id, now=caller.runtime.now())
        caller.record(connection, "subscriber.erased", f"subscriber {person.id}")
    truncate_log(caller.runtime.store)
    return Explanation(lines=["The person is erased. Older backups still contain them."])


def import_subscribers(caller: Who, request: ImportRequest) -> ImportOutcome:
    """Add the people of a table to a list, or only report what each line would do. Sends no mail."""
    name = caller.check_list(request.list)
    refused: builtins.list[ImportRefusal] = []

    def keep(line: RefusedLine) -> None:
        if len(refused) < _MOST_REFUSED:
            refused.append(ImportRefusal(line=line.line, reason=line.reason))

    summary = import_text(
        caller.runtime.store,
        caller.newsroom,
        request.csv,
        ImportOptions(name, request.confirmed, request.source, dry_run=request.dry_run),
        now=caller.runtime.now(),
        watcher=ImportWatcher(refused=keep),
    )
    counts = {result: count for result, count in summary.counts.items() if count}
    if not request.dry_run:
        with caller.runtime.store.write() as connection:
            details = ", ".join(f"{count} {result}" for result, count in counts.items())
            caller.record(connection, "subscriber.imported", name, details)
    return ImportOutcome(dry_run=request.dry_run, counts=counts, refused=refused)


def _find(caller: Caller, number: int) -> tuple[Subscriber, tuple[Subscription, ...]]:
    """Return a person and their subscriptions to the lists of the key. Raises ApiRefusal."""
    with caller.runtime.store.read() as connection:
        person = subscribers.find_by_id(connection, number)
        rows = tuple(subscribers.subscriptions(connection, address=person.address)) if person is not None else ()
    mine = tuple(row for row in rows if caller.person.may_see_list(row.list))
    if person is None or (caller.person.lists and not mine):
        raise ApiRefusal(404, f"there is no subscriber {number}, or not on the lists of this key.")
    return person, mine


def _describe(person: Subscriber, rows: tuple[Subscription, ...]) -> SubscriberInfo:
    return SubscriberInfo(
        subscriber=person.id,
        address=person.address,
        name=person.name,
        language=person.language,
        note=person.note,
        lists=[ListChoice.model_validate(row) for row in rows],
    )


ROUTES = (
    ApiRoute("GET", "/subscribers", "GET subscribers", list_subscribers),
    ApiRoute("POST", "/subscribers", "POST subscribers/add", add_subscriber, 201),
    ApiRoute("POST", "/subscribers/import", "POST subscribers/import", import_subscribers),
    ApiRoute("GET", "/subscribers/export", "POST subscribers/export", export_list),
    ApiRoute("GET", "/subscribers/{subscriber}", "GET subscribers/{number}", show_subscriber),
    ApiRoute("PATCH", "/subscribers/{subscriber}", "POST subscribers/{number}", change_subscriber),
    ApiRoute("DELETE", "/subscribers/{subscriber}/lists/{list}", "POST subscribers/{number}", remove_subscriber),
    # In the room this is a button that only an admin sees, on a page for editors.
    ApiRoute("POST", "/subscribers/{subscriber}/erase", Role.ADMIN, erase_subscriber),
    ApiRoute("GET", "/subscribers/{subscriber}/explain", "GET subscribers/{number}", explain_subscriber),
)
