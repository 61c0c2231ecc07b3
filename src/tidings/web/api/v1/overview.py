"""`/api/v1/`: the key, status, schedules, plan, report, log and webhooks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from tidings.config.schedule import ChannelDelivery, ListDelivery
from tidings.config.types import Moment
from tidings.model.cadence import describe_cadence
from tidings.model.delivery import WEBHOOK_LANE, EventType
from tidings.model.errors import nearest
from tidings.pipeline.webhooks import queue_test
from tidings.runtime.monitoring.status import status
from tidings.runtime.preview.plan import MOST_COUNTED, plan, plan_as_json
from tidings.runtime.report.report import make_report
from tidings.runtime.team.rights import may_see_schedule
from tidings.store.people import team
from tidings.store.service import events, pauses
from tidings.web.api.v1.access import ApiModel, ApiRefusal, ApiRoute, Cursor, Limit, Page, Who, make_page, read_id

_REPORTED = timedelta(days=30)


class KeyInfo(ApiModel):
    """The key of the request."""

    name: str
    role: str
    lists: list[str] = Field(description="The lists that it may work on; empty: all.")


class Finding(ApiModel):
    """A problem of the newsroom, and what to do about it."""

    what: str
    text: str
    mend: str


class HeldEdition(ApiModel):
    """An edition that waits for a person."""

    edition: str
    holds: list[str]


class NextSlot(ApiModel):
    """The next slot of a schedule."""

    schedule: str
    at: datetime | None


class PauseInfo(ApiModel):
    """A pause."""

    what: str
    since: datetime
    until: datetime | None
    reason: str
    who: str


class Status(ApiModel):
    """The state of the newsroom, as `tidings status` prints it."""

    ok: bool
    wrong: list[Finding]
    version: str
    clock: datetime | None
    held: list[HeldEdition]
    paused: list[PauseInfo]
    lists: dict[str, dict[str, int]] = Field(description="Subscribers of each list, by state.")
    next: list[NextSlot]
    deliveries: dict[str, int] = Field(description="Deliveries by state.")
    stalled: dict[str, str] = Field(description="What cannot be sent now, and why.")
    last_tick: datetime | None


class ScheduleInfo(ApiModel):
    """A schedule: its timing, and the lists and channels that it delivers to."""

    name: str
    title: str
    cadence: str
    lists: list[str]
    channels: list[str]
    paused: bool


class PlannedOutlet(ApiModel):
    """The stories that a list or a channel would get."""

    outlet: str
    deliveries: int
    languages: dict[str, int]
    skipped: dict[str, int]
    stories: list[str]


class PlanSlot(ApiModel):
    """A coming slot. Only the next slot of a schedule has stories and outlets."""

    slot: datetime
    at: datetime
    moved: str | None
    skipped: str | None
    note: str
    stories: list[str] | None
    outlets: list[PlannedOutlet]
    at_most: int = Field(default=0, description="Subscribers, if there are too many to count who gets it: no outlets.")
    embargoed: dict[str, datetime] = Field(default_factory=dict)
    edition: str = ""


class PlanEntry(ApiModel):
    """The plan of one schedule, as `tidings plan --json` prints it."""

    schedule: str
    cadence: str
    note: str
    waiting: list[PlanSlot]
    slots: list[PlanSlot]


class ReportInfo(ApiModel):
    """The report of a period, as `tidings report --json` prints it."""

    since: datetime | None
    until: datetime | None
    mail: list[dict[str, Any]]
    posts: list[dict[str, Any]]
    skipped: list[dict[str, Any]]
    lists: list[dict[str, Any]]


class LogLine(ApiModel):
    """A line of the log: who did what, when, and in which part of Tidings."""

    id: int
    at: datetime
    who: str
    via: str
    action: str
    about: str
    details: str


class ToldEvent(ApiModel):
    """A message to a webhook."""

    delivery: int
    id: str = Field(description="The `webhook-id`.", validation_alias="uid")
    type: str
    state: str
    reason: str
    attempts: int
    at: datetime


class WebhookInfo(ApiModel):
    """A program that receives events."""

    name: str
    events: list[EventType]
    deliveries: list[ToldEvent] = Field(description="The newest messages, newest first.")


class TestEvent(ApiModel):
    """The test event."""

    id: str = Field(description="The `webhook-id` that the receiver will see.")


def show_key(caller: Who) -> KeyInfo:
    """Show the name, the role and the lists of this key."""
    return KeyInfo(name=caller.key.name, role=caller.key.role.value, lists=list(caller.key.lists))


def show_status(caller: Who) -> Status:
    """Show problems, the editions that wait for a person, and the next slots."""
    found = status(caller.runtime, caller.runtime.now())
    held = [row for row in found["held"] if may_see_schedule(caller, row["edition"].rpartition("/")[0])]
    whole = ("ok", "wrong", "version", "clock", "paused", "deliveries", "stalled", "last_tick")
    return Status(
        **{key: found[key] for key in whole},
        held=held,
        lists={name: counts for name, counts in found["lists"].items() if caller.person.may_see_list(name)},
        next=[row for row in found["next"] if may_see_schedule(caller, row["schedule"])],
    )


def list_schedules(caller: Who) -> list[ScheduleInfo]:
    """List the schedules."""
    newsroom = caller.newsroom
    default = newsroom.site.languages[0]
    with caller.runtime.store.read() as connection:
        active = pauses.active_pauses(connection)
    return [
        ScheduleInfo(
            name=name,
            title=schedule.heading(default, default),
            cadence=describe_cadence(schedule.cadence),
            lists=[part.list for part in schedule.deliver if isinstance(part, ListDelivery)],
            channels=[part.channel for part in schedule.deliver if isinstance(part, ChannelDelivery)],
            paused=pauses.find_schedule_pause(active, name) is not None,
        )
        for name, schedule in newsroom.schedules.items()
        if may_see_schedule(caller, name)
    ]


def show_plan(
    caller: Who, runs: Annotated[int, Field(ge=1, le=20, description="Slots of each schedule.")] = 3
) -> list[PlanEntry]:
    """Show the next slots of each schedule, and the stories that each list and channel would get. Changes nothing."""
    planned = plan(caller.runtime, caller.runtime.now(), runs, most_counted=MOST_COUNTED)
    mine = [entry for entry in planned if may_see_schedule(caller, entry.name)]
    return [PlanEntry.model_validate(entry) for entry in plan_as_json(mine)]


def show_report(
    caller: Who,
    since: Annotated[Moment | None, Field(description="Default: 30 days ago.")] = None,
    until: Moment | None = None,
) -> ReportInfo:
    """Report on the editions of a period: accepted, bounced and skipped deliveries, and people who joined or left."""
    now = caller.runtime.now()
    with caller.runtime.store.read() as connection:
        report = make_report(connection, caller.newsroom, since or now - _REPORTED, until, now).as_json()
    person = caller.person
    return ReportInfo(
        since=report["since"],
        until=report["until"],
        mail=[row for row in report["mail"] if person.may_see_list(row["list"])],
        posts=[row for row in report["posts"] if may_see_schedule(caller, row["edition"].rpartition("/")[0])],
        # A reason may be about a list that the key does not work on.
        skipped=[] if person.lists else report["skipped"],
        lists=[row for row in report["lists"] if person.may_see_list(row["list"])],
    )


def show_log(
    caller: Who,
    who: Annotated[str, Field(max_length=300, description="An address, or `key NAME`.")] = "",
    kind: Annotated[str, Field(max_length=50, description="The part of an action before the dot.")] = "",
    cursor: Cursor = "",
    limit: Limit = 50,
) -> Page[LogLine]:
    """Show who did what and when, the newest first."""
    with caller.runtime.store.read() as connection:
        found = team.log_entries(
            connection,
            before=read_id(cursor),
            who=who,
            kinds=[kind] if kind else [],
            most=limit + 1,
        )
    return make_page(found, limit, LogLine.model_validate)


def list_webhooks(caller: Who) -> list[WebhookInfo]:
    """List the event webhooks with their newest messages."""
    found = []
    with caller.runtime.store.read() as connection:
        for name, settings in caller.newsroom.webhooks.items():
            told = events.recent_deliveries(connection, f"{WEBHOOK_LANE}{name}")
            found.append(
                WebhookInfo(
                    name=name,
                    events=list(settings.events or EventType),
                    deliveries=[ToldEvent.model_validate(event) for event in told],
                )
            )
    return found


def send_webhook_test(caller: Who, name: Annotated[str, Field(max_length=100)]) -> TestEvent:
    """Send an event of the type `webhook.test` to a webhook."""
    if name not in caller.newsroom.webhooks:
        raise ApiRefusal(404, f"there is no webhook {name!r}. {nearest(name, caller.newsroom.webhooks)}")
    with caller.runtime.store.write() as connection:
        uid = queue_test(connection, caller.newsroom.webhooks, name, caller.runtime.now())
        caller.record(connection, "webhook.tested", name)
    return TestEvent(id=uid)


ROUTES = (
    ApiRoute("GET", "/me", "GET ", show_key),
    ApiRoute("GET", "/status", "GET ", show_status),
    ApiRoute("GET", "/schedules", "GET calendar", list_schedules),
    ApiRoute("GET", "/plan", "GET calendar", show_plan),
    ApiRoute("GET", "/report", "GET results", show_report),
    ApiRoute("GET", "/log", "GET log", show_log),
    ApiRoute("GET", "/webhooks", "GET api", list_webhooks),
    ApiRoute("POST", "/webhooks/{name}/test", "POST api/test", send_webhook_test, 202),
)
