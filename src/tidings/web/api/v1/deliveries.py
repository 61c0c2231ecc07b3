"""`/api/v1/channels`, `/deliveries` and `/pauses`: sent and doubtful deliveries, and pauses."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from itertools import islice
from typing import Annotated, Literal

from pydantic import Field

from tidings.config.types import Moment
from tidings.model.delivery import DeliveryState, PostChange
from tidings.model.errors import nearest
from tidings.pipeline.deliver.corrections import allowed_changes, change_post
from tidings.pipeline.deliver.recovery import resolve_in_doubt
from tidings.runtime.monitoring.health import read_health
from tidings.runtime.team.rights import may_decide, may_pause, may_see_schedule, may_settle
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.delivery.corrections import OnlinePost, find_online_post
from tidings.store.delivery.ledger import LedgerEntry
from tidings.store.service import pauses
from tidings.store.service.clock import real_now
from tidings.store.service.pauses import Scope
from tidings.web.api.v1.access import (
    ApiModel,
    ApiRefusal,
    ApiRoute,
    Caller,
    Cursor,
    Limit,
    Page,
    Who,
    make_page,
    read_id,
)

DeliveryNumber = Annotated[int, Field(ge=1, lt=2**53)]


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


class Resolution(ApiModel):
    """What a person found out about a delivery."""

    how: Literal["accepted", "resend", "cancel"] = Field(
        description="It arrived; it did not arrive, so send it again; or drop it."
    )
    url: str = Field(default="", max_length=2_000, description="With `accepted`: where the post is.")
    alone: bool = Field(default=False, description="With `accepted`: leave out the further posts of its thread.")


class PostInfo(ApiModel):
    """A post that is online."""

    delivery: int
    channel: str
    schedule: str
    language: str
    story: str = Field(description="Empty for a post of a whole edition.")
    receipt: str = Field(description="Its address, or the name that the network gave it.")
    text: str = Field(description="As it was first posted.")
    length: int = Field(description="As the network counts.")
    limit: int | None
    allowed: list[PostChange] = Field(description="What the network lets us do with it.")


class PostEdit(ApiModel):
    """A change of a post that is online. Its story stays unchanged."""

    change: Literal["edit", "take_down"]
    text: str = Field(default="", max_length=20_000, description="With `edit`: the whole new text.")


class PauseTarget(ApiModel):
    """The thing to pause or resume."""

    scope: Scope
    name: str = Field(default="", max_length=100, description="Empty for `all`.")


class PauseRequest(PauseTarget):
    """A pause."""

    until: Moment | None = Field(default=None, description="Time at which the pause ends automatically.")
    reason: str = Field(default="", max_length=200)


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
    since: Annotated[Moment | None, Field(description="Changed since then.")] = None,
    cursor: Cursor = "",
    limit: Limit = 50,
) -> Page[DeliveryInfo]:
    """List deliveries of the ledger in the order of their ids."""
    with caller.runtime.store.read() as connection:
        entries = ledger.entries(
            connection,
            schedule=schedule or None,
            edition=edition or None,
            target=target or None,
            state=state,
            since=since,
            within=_within(caller),
            after=read_id(cursor) or 0,
            page=limit + 1,
        )
        found = list(islice(entries, limit + 1))
    return make_page(found, limit, _delivery)


def list_pauses(caller: Who) -> list[PauseDetails]:
    """List what is paused now."""
    with caller.runtime.store.read() as connection:
        active = pauses.active_pauses(connection)
    return [PauseDetails.model_validate(pause) for pause in active]


def resolve_delivery(caller: Who, delivery: DeliveryNumber, resolution: Resolution) -> DeliveryInfo:
    """Settle a delivery in doubt, or send a refused one again after its cause was fixed."""
    runtime = caller.runtime
    known = _find_delivery(caller, delivery)
    resolve_in_doubt(
        runtime.store,
        runtime.channels,
        known.id,
        resolution.how,
        runtime.now(),
        url=resolution.url,
        alone=resolution.alone,
    )
    with runtime.store.write() as connection:
        about = f"{known.edition or known.purpose} {known.id}"
        caller.record(connection, "delivery.resolved", about, resolution.how)
    return _delivery(_find_delivery(caller, delivery))


def _find_delivery(caller: Caller, number: int) -> LedgerEntry:
    with caller.runtime.store.read() as connection:
        found = next(iter(ledger.entries(connection, after=number - 1, page=1)), None)
    if found is None or found.id != number or not may_settle(caller, found):
        raise ApiRefusal(404, f"there is no delivery {number}, or not for the lists of this key.")
    return found


def show_post(caller: Who, delivery: DeliveryNumber) -> PostInfo:
    """Show a post that is online, and whether it can be corrected or taken down."""
    runtime = caller.runtime
    post = _find_post(caller, delivery)
    with runtime.store.read() as connection:
        body = editions.get_rendition(connection, post.rendition).raw
    channel = runtime.channels.get(post.channel)
    if channel is None:
        raise ApiRefusal(409, f"the channel {post.channel} is not in tidings.yaml any more.")
    return PostInfo(
        delivery=post.delivery,
        channel=post.channel,
        schedule=post.schedule,
        language=post.language,
        story=post.story,
        receipt=post.receipt,
        text=channel.text(body),
        length=channel.length(body),
        limit=channel.capabilities.max_length,
        allowed=allowed_changes(channel),
    )


def edit_post(caller: Who, delivery: DeliveryNumber, edit: PostEdit) -> DeliveryInfo:
    """Correct a post or take it down, if the network allows it. This happens within the next minute."""
    runtime, post = caller.runtime, _find_post(caller, delivery)
    text = edit.text.replace("\r\n", "\n").strip()
    change = PostChange(edit.change)
    change_post(runtime.store, caller.newsroom, runtime.channels, delivery, change, runtime.now(), text)
    is_edit = change is PostChange.EDIT
    action = "delivery.edited" if is_edit else "delivery.taken_down"
    with runtime.store.write() as connection:
        caller.record(connection, action, f"{post.channel} {delivery}", text[:200] if is_edit else "")
    return _delivery(_find_delivery(caller, delivery))


def _find_post(caller: Caller, number: int) -> OnlinePost:
    with caller.runtime.store.read() as connection:
        post = find_online_post(connection, number)
    if post is None or not may_decide(caller, post.schedule):
        raise ApiRefusal(404, f"there is no post {number} online, or not for the lists of this key.")
    return post


def begin_pause(caller: Who, pause: PauseRequest) -> list[PauseDetails]:
    """Pause a schedule, a list, a channel or everything, even while an edition is being sent. Returns all pauses."""
    name, now = _check_target(caller, pause, known_only=True), caller.runtime.now()
    if pause.until is not None and pause.until <= now:
        raise ApiRefusal(422, f"until: {pause.until.isoformat()} has passed already.")
    with caller.runtime.store.write() as connection:
        who = caller.person.email
        pauses.pause(connection, pause.scope, name, now, until=pause.until, reason=pause.reason, who=who)
        caller.record(connection, "pause.begun", f"{pause.scope} {name}".strip(), pause.reason)
    return list_pauses(caller)


def end_pause(caller: Who, target: PauseTarget) -> list[PauseDetails]:
    """End a pause. Returns the remaining pauses."""
    name = _check_target(caller, target, known_only=False)
    with caller.runtime.store.write() as connection:
        if not pauses.resume(connection, target.scope, name, caller.runtime.now()):
            raise ApiRefusal(409, f"{f'{target.scope} {name}'.strip()} is not paused.")
        caller.record(connection, "pause.ended", f"{target.scope} {name}".strip())
    return list_pauses(caller)


def _check_target(caller: Caller, target: PauseTarget, *, known_only: bool) -> str:
    newsroom = caller.newsroom
    known: dict[Scope, Collection[str]] = {
        Scope.SCHEDULE: newsroom.schedules,
        Scope.LIST: newsroom.lists,
        Scope.CHANNEL: newsroom.channels,
        Scope.ALL: ("",),
    }
    names = known[target.scope]
    if (known_only and target.name not in names) or not may_pause(caller, target.scope, target.name):
        hint = nearest(target.name, names) if known_only and not caller.person.lists and target.name else ""
        text = f"there is no {target.scope} {target.name!r}, or this key may not pause it. {hint}"
        raise ApiRefusal(404, text.strip())
    return target.name


def _within(caller: Caller) -> tuple[list[str], list[str]] | None:
    """Return the lists and schedules whose deliveries the key may see, or None for all."""
    if not caller.person.lists:
        return None
    return caller.lists(), [name for name in caller.newsroom.schedules if may_see_schedule(caller, name)]


def _delivery(entry: LedgerEntry) -> DeliveryInfo:
    return DeliveryInfo.model_validate(entry.as_json())


ROUTES = (
    ApiRoute("GET", "/channels", "GET channels", list_channels),
    ApiRoute("GET", "/deliveries", "GET subscribers", list_deliveries),
    ApiRoute("POST", "/deliveries/{delivery}/resolve", "POST channels/resolve", resolve_delivery),
    ApiRoute("GET", "/deliveries/{delivery}/post", "GET channels/posts/{delivery}", show_post),
    ApiRoute("POST", "/deliveries/{delivery}/post", "POST channels/change", edit_post, 202),
    ApiRoute("GET", "/pauses", "GET ", list_pauses),
    ApiRoute("POST", "/pauses", "POST pause", begin_pause, 201),
    ApiRoute("POST", "/pauses/end", "POST resume", end_pause),
)
