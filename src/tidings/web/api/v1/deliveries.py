"""`/api/v1/channels`, `/deliveries` and `/pauses`: what went out, what is in doubt, and what is stopped."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Annotated

from pydantic import AwareDatetime, Field

from tidings.model.delivery import DeliveryState
from tidings.runtime.monitoring.health import read_health
from tidings.store.delivery import ledger
from tidings.store.delivery.ledger import LedgerEntry
from tidings.store.service import pauses
from tidings.store.service.clock import real_now
from tidings.store.service.pauses import Scope
from tidings.web.api.v1.access import ApiModel, ApiRoute, Caller, Cursor, Limit, Page, Who, make_cursor, read_cursor
from tidings.web.room.today import may_see_schedule


class ChannelInfo(ApiModel):
    """A channel, and whether it can post."""

    name: str
    type: str
    languages: list[str]
    paused: bool
    stalled: str = Field(description="Why it cannot post; empty if it can.")


class DeliveryInfo(ApiModel):
    """One line of the ledger, as `tidings ledger --json` prints it."""

    id: int
    schedule: str
    edition: str
    list: str
    channel: str
    story: str
    purpose: str
    target: str
    address: str
    state: DeliveryState
    reason: str
    attempts: int
    doubts: int
    receipt: str
    via: str
    returned: str
    at: datetime


class PauseDetails(ApiModel):
    """A pause."""

    scope: Scope
    name: str = Field(description="Empty for `all`.")
    since: datetime
    until: datetime | None
    reason: str
    who: str


def list_channels(caller: Who) -> list[ChannelInfo]:
    """List the channels that posts go to."""
    newsroom = caller.newsroom
    stalled = read_health(caller.runtime, real_now()).stalled
    with caller.runtime.store.read() as connection:
        active = [pause.name for pause in pauses.active_pauses(connection) if pause.scope is Scope.CHANNEL]
    return [
        ChannelInfo(
            name=name,
            type=settings.type,
            languages=list(settings.languages or newsroom.site.languages[:1]),
            paused=name in active,
            stalled=stalled.get(name, ""),
        )
        for name, settings in newsroom.channels.items()
        if settings.POSTS
    ]


def list_deliveries(
    caller: Who,
    schedule: Annotated[str, Field(max_length=100)] = "",
    edition: Annotated[str, Field(max_length=120, description="SCHEDULE/NUMBER.")] = "",
    target: Annotated[str, Field(max_length=200, description="list:LIST:NUMBER or channel:NAME.")] = "",
    state: DeliveryState | None = None,
    since: Annotated[AwareDatetime | None, Field(description="Changed since then.")] = None,
    cursor: Cursor = "",
    limit: Limit = 50,
) -> Page[DeliveryInfo]:
    """List deliveries of the ledger in the order of their ids."""
    position = read_cursor(cursor, int)
    with caller.runtime.store.read() as connection:
        entries = ledger.entries(
            connection,
            schedule=schedule or None,
            edition=edition or None,
            target=target or None,
            state=state,
            since=since,
            within=_within(caller),
            after=position[0] if position else 0,
            page=limit + 1,
        )
        found = list(islice(entries, limit + 1))
    return Page(
        items=[_delivery(entry) for entry in found[:limit]],
        next=make_cursor(found[limit - 1].id) if len(found) > limit else None,
    )


def list_pauses(caller: Who) -> list[PauseDetails]:
    """List what is paused now."""
    with caller.runtime.store.read() as connection:
        active = pauses.active_pauses(connection)
    return [
        PauseDetails(
            scope=pause.scope, name=pause.name, since=pause.since, until=pause.until, reason=pause.reason, who=pause.who
        )
        for pause in active
    ]


def _within(caller: Caller) -> tuple[list[str], list[str]] | None:
    """Return the lists and schedules whose deliveries the key may see; None: all."""
    if not caller.person.lists:
        return None
    return caller.lists(), [name for name in caller.newsroom.schedules if may_see_schedule(caller, name)]


def _delivery(entry: LedgerEntry) -> DeliveryInfo:
    return DeliveryInfo.model_validate(entry.as_json())


ROUTES = (
    ApiRoute("GET", "/channels", "GET channels", list_channels),
    ApiRoute("GET", "/deliveries", "GET subscribers", list_deliveries),
    ApiRoute("GET", "/pauses", "GET ", list_pauses),
)
