"""`/api/v1/subscribers`: people and their choices, on the lists of the key."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from starlette.responses import Response

from tidings.render.room.room_pages import RoomWords
from tidings.runtime.explain import explain
from tidings.runtime.people_files.csv_format import export_people
from tidings.store.people import subscribers
from tidings.store.people.subscribers import (
    Subscriber,
    Subscription,
    SubscriptionFilter,
    count_subscriptions,
    subscriptions_page,
)
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

Word = Annotated[str, Field(max_length=100)]
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
    """A page of subscriptions, with the count of all that fit."""

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
    lists: list[ListChoice]


class Explanation(ApiModel):
    """Why a person did or did not get something, in sentences, oldest first."""

    lines: list[str]


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
    """List subscriptions by list and address, with the count of all that fit."""
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
        items=[_subscription(row) for row in shown],
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


def _subscription(row: Subscription) -> SubscriptionInfo:
    return SubscriptionInfo(
        subscriber=row.subscriber,
        address=row.address,
        name=row.name,
        language=row.language,
        list=row.list,
        state=row.state,
        topics=[*row.topics],
        frequency=row.frequency,
        source=row.source,
        confirmed_at=row.confirmed_at,
        left_at=row.left_at,
    )


def _find(caller: Caller, number: int) -> tuple[Subscriber, tuple[Subscription, ...]]:
    """Return a person and their subscriptions on the lists of the key. Raises ApiRefusal."""
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
        lists=[
            ListChoice(
                list=row.list,
                state=row.state,
                topics=[*row.topics],
                frequency=row.frequency,
                source=row.source,
                confirmed_at=row.confirmed_at,
                left_at=row.left_at,
            )
            for row in rows
        ],
    )


ROUTES = (
    ApiRoute("GET", "/subscribers", "GET subscribers", list_subscribers),
    ApiRoute("GET", "/subscribers/export", "POST subscribers/export", export_list),
    ApiRoute("GET", "/subscribers/{subscriber}", "GET subscribers/{number}", show_subscriber),
    ApiRoute("GET", "/subscribers/{subscriber}/explain", "GET subscribers/{number}", explain_subscriber),
)
