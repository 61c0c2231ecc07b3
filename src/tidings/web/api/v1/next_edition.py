"""`/api/v1/schedules/{schedule}/next`: see the next edition before it is built, test it, and choose for it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tidings.config.schedule import Schedule
from tidings.model.errors import nearest
from tidings.pipeline.compose.edit import EditionChanges
from tidings.runtime.preview.plan import slot_as_json
from tidings.runtime.preview.preview import preview_schedule, queue_test_mails
from tidings.runtime.team.next_edition import NextEdition, describe_choices, find_next_edition, save_choices
from tidings.runtime.team.rights import may_decide, may_see_schedule
from tidings.store.people import team
from tidings.web.api.v1.access import ApiModel, ApiRefusal, ApiRoute, Caller, ReadVersion, VersionedModel, Who
from tidings.web.api.v1.editions import EditionMessage, EditionTest, EditionTested, Key, describe_message
from tidings.web.api.v1.editions import Schedule as ScheduleName
from tidings.web.api.v1.overview import PlanSlot


class NextEditionDetails(VersionedModel):
    """The next edition as it would be now, and what was chosen for it. Its version changes with slot and choices."""

    schedule: str
    next: PlanSlot | None = Field(description="Its slot, stories and recipients; null if no slot is known.")
    total: int = Field(description="All recipients; 0 if they are not counted (see `at_most`).")
    lead: str = Field(description="The story that comes first; empty: as the schedule orders them.")
    note: dict[str, str]
    subject: dict[str, str]


class NextEditionEdit(ApiModel):
    """Choices for the next edition only. Fields that are not named stay as they are."""

    version: ReadVersion = ""
    lead: Key | None = Field(default=None, description="The story to put first; empty: as the schedule orders them.")
    note: dict[str, Annotated[str, Field(max_length=5_000)]] = Field(
        default_factory=dict, description="A text before the stories, by language. An empty text removes it."
    )
    subject: dict[str, Annotated[str, Field(max_length=300)]] = Field(
        default_factory=dict, description="The subject by language. An empty text restores the usual one."
    )


def show_next_edition(caller: Who, schedule: ScheduleName) -> NextEditionDetails:
    """Show the next edition of a schedule. It is not built yet: stories that come out before its time join it."""
    return _details(schedule, find_next_edition(caller.runtime, _find(caller, schedule), caller.runtime.now()))


def list_next_messages(
    caller: Who, schedule: ScheduleName, language: Annotated[str, Field(max_length=20)] = ""
) -> list[EditionMessage]:
    """Show its mails and posts as they would be now. If nothing is new, they show the newest stories."""
    found, now = _find(caller, schedule), caller.runtime.now()
    at = find_next_edition(caller.runtime, found, now).built_at(now)
    return [describe_message(message) for message in preview_schedule(caller.runtime, found, at, language or None)]


def change_next_edition(caller: Who, schedule: ScheduleName, edit: NextEditionEdit) -> NextEditionDetails:
    """Choose the first story, the subjects and the notes. The edition is built with them at its time."""
    found, now = _find(caller, schedule), caller.runtime.now()
    if not may_decide(caller, schedule):
        raise ApiRefusal(404, f"this key does not work on every list of {schedule}.")
    seen = find_next_edition(caller.runtime, found, now)
    caller.check_version(f"the next edition of {schedule}", seen.version, edit.version)
    unchanged = dict.fromkeys(caller.newsroom.site.languages, "")
    stories = {key for key, _ in (seen.slot and seen.slot.stories) or ()}
    earlier = seen.changes.lead if seen.changes.lead in stories else ""
    changes = EditionChanges(
        lead=earlier if edit.lead is None else edit.lead,
        note={**unchanged, **seen.changes.note, **edit.note},
        subject={**unchanged, **seen.changes.subject, **edit.subject},
    )
    with caller.runtime.store.write() as connection:
        kept = save_choices(connection, caller.runtime, schedule, seen, changes)
        caller.record(connection, "edition.planned", schedule, describe_choices(kept))
    return _details(schedule, find_next_edition(caller.runtime, found, now))


def send_next_test(caller: Who, schedule: ScheduleName, test: EditionTest) -> EditionTested:
    """Send its mails, as they would be now, to a member of the team."""
    found, now = _find(caller, schedule), caller.runtime.now()
    with caller.runtime.store.read() as connection:
        if team.find_member(connection, test.address) is None:
            raise ApiRefusal(422, "a test goes to a member of the team only. GET /team lists their addresses.")
    at = find_next_edition(caller.runtime, found, now).built_at(now)
    _, count = queue_test_mails(caller.runtime, caller.runtime, found, [test.address], now, None, at)
    with caller.runtime.store.write() as connection:
        caller.record(connection, "edition.tested", schedule)
    return EditionTested(mails=count)


def _find(caller: Caller, name: str) -> Schedule:
    schedules = {key: each for key, each in caller.newsroom.schedules.items() if may_see_schedule(caller, key)}
    if name not in schedules:
        raise ApiRefusal(404, f"there is no schedule {name!r}, or not for this key. {nearest(name, schedules)}".strip())
    return schedules[name]


def _details(name: str, coming: NextEdition) -> NextEditionDetails:
    slot = coming.slot
    return NextEditionDetails(
        schedule=name,
        version=coming.version,
        next=PlanSlot.model_validate(slot_as_json(slot)) if slot is not None else None,
        total=sum(outlet.recipients.total() for outlet in slot.outlets) if slot is not None else 0,
        lead=coming.changes.lead,
        note=dict(coming.changes.note),
        subject=dict(coming.changes.subject),
    )


_NEXT = "/schedules/{schedule}/next"
ROUTES = (
    ApiRoute("GET", _NEXT, "GET coming/{schedule}", show_next_edition),
    ApiRoute("GET", f"{_NEXT}/messages", "GET coming/{schedule}", list_next_messages),
    ApiRoute("PATCH", _NEXT, "POST coming/{schedule}", change_next_edition, is_versioned=True),
    ApiRoute("POST", f"{_NEXT}/test", "POST coming/{schedule}/test", send_next_test, 202),
)
