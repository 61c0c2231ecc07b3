"""`/api/v1/editions`: show editions, edit them, and decide about them.

A decision names the version of the frozen bytes. It is refused if the edition has changed since that version.
"""

from __future__ import annotations

import email
import email.policy
from datetime import datetime
from typing import Annotated

from pydantic import Field

from tidings.config.types import Moment
from tidings.model.edition import Edition, EditionState
from tidings.model.plurals import count_noun
from tidings.pipeline.compose.edit import EditionChanges, describe_edition
from tidings.runtime.preview.preview import PreviewedMessage, preview_edition, queue_edition_test
from tidings.runtime.team import decisions
from tidings.runtime.team.rights import may_decide, may_see_schedule
from tidings.store.content import editions
from tidings.store.delivery import ledger
from tidings.store.people import team
from tidings.web.api.v1.access import (
    ApiModel,
    ApiRefusal,
    ApiRoute,
    Caller,
    Cursor,
    Limit,
    Page,
    ReadVersion,
    VersionedModel,
    Who,
    make_page,
    read_id,
)
from tidings.web.site.review import message_html

Schedule = Annotated[str, Field(max_length=100)]
Key = Annotated[str, Field(max_length=300)]
Number = Annotated[int, Field(ge=1, lt=10**9)]


class HoldInfo(ApiModel):
    """The reason why an edition waits for a person."""

    reason: str
    detail: str


class EditionInfo(ApiModel):
    """An edition."""

    edition: str = Field(description="SCHEDULE/NUMBER.")
    state: EditionState
    slot: datetime | None
    starts: datetime
    stories: list[str]
    holds: list[HoldInfo]


class EditionStory(ApiModel):
    """A story of an edition."""

    story: str
    title: str


class EditionChange(ApiModel):
    """The changes that people have made to an edition."""

    drop: list[str]
    lead: str
    order: list[str]
    note: dict[str, str]
    subject: dict[str, str]


class EditionRecipients(ApiModel):
    """The recipients of a list or channel in one language."""

    outlet: str
    language: str
    count: int
    subjects: list[str]


class HistoryLine(ApiModel):
    """One event in the history of an edition."""

    at: datetime
    what: str
    who: str


class EditionDetails(VersionedModel):
    """An edition with its recipients and its history, as `tidings edition show --json` prints it.

    Its version changes with the frozen bytes.
    """

    edition: str
    state: EditionState
    slot: datetime | None
    starts: datetime
    holds: list[HoldInfo]
    warnings: list[str] = Field(description="What the checks found that does not hold it.")
    stories: list[EditionStory]
    changes: EditionChange
    recipients: list[EditionRecipients]
    history: list[HistoryLine]
    total: int = Field(description="All recipients. A release that sends at once asks for it.")
    deliveries: dict[str, int] = Field(description="Its deliveries by state.")


class EditionMessage(ApiModel):
    """A frozen mail or post of an edition: the one with the most stories."""

    outlet: str
    language: str
    subject: str
    html: str
    text: str
    failures: list[str] = Field(description="Checks that it fails.")


class EditionEdit(ApiModel):
    """Changes to a held edition. Fields that are not named stay as they are."""

    version: ReadVersion = ""
    drop: list[Key] = Field(default_factory=list, max_length=500, description="Stories to take out. They stay new.")
    lead: Key = Field(default="", description="The story to put first.")
    order: list[Key] = Field(default_factory=list, max_length=500, description="Put these stories first.")
    note: dict[str, Annotated[str, Field(max_length=5_000)]] = Field(
        default_factory=dict, description="A text before the stories, by language. An empty text removes it."
    )
    subject: dict[str, Annotated[str, Field(max_length=300)]] = Field(
        default_factory=dict, description="The subject by language. An empty text restores the usual one."
    )
    starts: Moment | None = Field(default=None, description="When it is sent instead.")


class EditionRelease(ApiModel):
    """The decision to send the frozen bytes."""

    version: ReadVersion = ""
    recipients: int | None = Field(
        default=None, description="`total` of the edition. Needed if it goes at once, so that nobody can take it back."
    )


class EditionVersion(ApiModel):
    """The edition that a decision is about."""

    version: ReadVersion = ""


class EditionComment(ApiModel):
    """A comment for the history of an edition."""

    text: str = Field(min_length=1, max_length=2_000)


class EditionTest(ApiModel):
    """The recipient of a test."""

    address: str = Field(max_length=320, description="The address of a member of the team.")


class EditionTested(ApiModel):
    """The number of test mails that are being sent."""

    mails: int


def list_editions(
    caller: Who,
    schedule: Schedule = "",
    state: Annotated[EditionState | None, Field(description="Only in this state.")] = None,
    cursor: Cursor = "",
    limit: Limit = 50,
) -> Page[EditionInfo]:
    """List editions, the newest first."""
    mine = None
    if caller.person.lists:
        mine = [name for name in caller.newsroom.schedules if may_see_schedule(caller, name)]
    if schedule:
        mine = [schedule] if mine is None or schedule in mine else []
    with caller.runtime.store.read() as connection:
        found = editions.editions_page(
            connection,
            schedules=mine,
            states=[state] if state else (),
            before=read_id(cursor),
            most=limit + 1,
        )
    return make_page(found, limit, _edition)


def _edition(edition: Edition) -> EditionInfo:
    return EditionInfo(
        edition=edition.name,
        state=edition.state,
        slot=edition.slot,
        starts=edition.starts,
        stories=list(edition.stories),
        holds=[HoldInfo.model_validate(hold) for hold in edition.holds],
    )


def show_edition(caller: Who, schedule: Schedule, number: Number) -> EditionDetails:
    """Show who gets what, what holds the edition, and its history."""
    return _details(caller, _find(caller, schedule, number))


def list_messages(
    caller: Who, schedule: Schedule, number: Number, language: Annotated[str, Field(max_length=20)] = ""
) -> list[EditionMessage]:
    """Show frozen mails and posts of an edition: for each list and language, the one with the most stories."""
    edition = _find(caller, schedule, number)
    return [describe_message(message) for message in preview_edition(caller.runtime, edition, language or None)]


def change_edition(caller: Who, schedule: Schedule, number: Number, edit: EditionEdit) -> EditionDetails:
    """Change a held edition. It is frozen again, and checks and approval start over."""
    edition = _find_to_decide(caller, schedule, number, edit.version)
    starts = edit.starts.astimezone(caller.newsroom.site.zone) if edit.starts else None
    changes = EditionChanges(tuple(edit.drop), edit.lead, tuple(edit.order), edit.note, edit.subject, starts)
    changed = decisions.change(caller.runtime, edition, changes, caller.runtime.now(), caller.person.email)
    with caller.runtime.store.write() as connection:
        caller.record(connection, "edition.changed", edition.name, changes.describe())
    return _details(caller, changed)


def release_edition(caller: Who, schedule: Schedule, number: Number, release: EditionRelease) -> EditionDetails:
    """Send a held edition as it is, unless a check still fails."""
    edition = _find_to_decide(caller, schedule, number, release.version)
    with caller.runtime.store.read() as connection:
        total = sum(count.count for count in editions.count_recipients(connection, edition.id))
    if decisions.goes_at_once(edition, caller.runtime.now()) and release.recipients != total:
        raise ApiRefusal(422, f"it goes at once to {count_noun(total, 'recipient')}. Send this number as `recipients`.")
    return _decide(caller, edition, "release")


def cancel_edition(caller: Who, schedule: Schedule, number: Number) -> EditionDetails:
    """Cancel an edition. The rest is never sent, and its stories count as new again."""
    return _decide(caller, _find_to_decide(caller, schedule, number), "cancel")


def recompose_edition(caller: Who, schedule: Schedule, number: Number, seen: EditionVersion) -> EditionDetails:
    """Build a held edition again from the present stories."""
    return _decide(caller, _find_to_decide(caller, schedule, number, seen.version), "recompose")


def comment_on_edition(caller: Who, schedule: Schedule, number: Number, comment: EditionComment) -> EditionDetails:
    """Add a comment to the history, and notify the people under `notify`."""
    edition = _find(caller, schedule, number)
    caller.runtime.editions.comment(edition, comment.text, caller.runtime.now(), caller.person.email)
    with caller.runtime.store.write() as connection:
        caller.record(connection, "edition.commented", edition.name)
    return _details(caller, edition)


def send_edition_test(caller: Who, schedule: Schedule, number: Number, test: EditionTest) -> EditionTested:
    """Send the frozen mails of an edition to a member of the team."""
    edition = _find(caller, schedule, number)
    with caller.runtime.store.write() as connection:
        if team.find_member(connection, test.address) is None:
            raise ApiRefusal(422, "a test goes to a member of the team only. GET /team lists their addresses.")
        _, count = queue_edition_test(connection, edition, test.address, caller.runtime.now())
        caller.record(connection, "edition.tested", edition.name)
    return EditionTested(mails=count)


def _decide(caller: Caller, edition: Edition, decision: decisions.Decision) -> EditionDetails:
    done = decisions.decide(caller.runtime, edition, decision, caller.runtime.now(), caller.person.email)
    with caller.runtime.store.write() as connection:
        caller.record(connection, f"edition.{done}", edition.name)
        edition = editions.get_edition(connection, edition.id)
    return _details(caller, edition)


def _find_to_decide(caller: Caller, schedule: str, number: int, seen: str | None = None) -> Edition:
    """Return an edition that the key may decide about. Raises ApiRefusal, also if it changed since it was read."""
    edition = _find(caller, schedule, number)
    if not may_decide(caller, schedule):
        raise ApiRefusal(404, f"this key does not work on every list of {edition.name}.")
    if seen is not None:
        with caller.runtime.store.read() as connection:
            version = editions.frozen_digest(connection, edition.id)
        caller.check_version(edition.name, version, seen)
    return edition


def describe_message(message: PreviewedMessage) -> EditionMessage:
    """Return a mail or post with its parts."""
    subject, html, text = "", "", message.note
    if message.is_mail:
        subject, html, text = _read_mail(message)
    return EditionMessage(
        outlet=message.outlet,
        language=message.language,
        subject=subject,
        html=html,
        text=text,
        failures=list(message.failures),
    )


def _read_mail(message: PreviewedMessage) -> tuple[str, str, str]:
    parsed = email.message_from_bytes(message.data, policy=email.policy.default)
    plain = parsed.get_body(("plain",))
    text = plain.get_content() if plain is not None else ""
    return str(parsed["Subject"]), message_html(message).decode("utf-8", "replace"), text


def _find(caller: Caller, schedule: str, number: int) -> Edition:
    name = f"{schedule}/{number}"
    edition = None
    if may_see_schedule(caller, schedule):
        with caller.runtime.store.read() as connection:
            edition = editions.find_edition_by_name(connection, name)
    if edition is None:
        raise ApiRefusal(404, f"there is no edition {name!r}, or not for the lists of this key.")
    return edition


def _details(caller: Caller, edition: Edition) -> EditionDetails:
    with caller.runtime.store.read() as connection:
        about = describe_edition(connection, edition, caller.newsroom.site.languages)
        version = editions.frozen_digest(connection, edition.id)
        states = ledger.count_by_state(connection, edition=edition.id)
    total = sum(row["count"] for row in about["recipients"])
    return EditionDetails(**about, total=total, version=version, deliveries=states)


_ONE = "/editions/{schedule}/{number}"
ROUTES = (
    ApiRoute("GET", "/editions", "GET editions/{schedule}/{number}", list_editions),
    ApiRoute("GET", _ONE, "GET editions/{schedule}/{number}", show_edition),
    ApiRoute(
        "GET",
        f"{_ONE}/messages",
        "GET editions/{schedule}/{number}/mails/{frame}",
        list_messages,
    ),
    ApiRoute("PATCH", _ONE, "POST editions/{schedule}/{number}/change", change_edition, is_versioned=True),
    ApiRoute("POST", f"{_ONE}/release", "POST editions/{schedule}/{number}", release_edition, is_versioned=True),
    ApiRoute("POST", f"{_ONE}/cancel", "POST editions/{schedule}/{number}", cancel_edition),
    ApiRoute("POST", f"{_ONE}/recompose", "POST editions/{schedule}/{number}", recompose_edition, is_versioned=True),
    ApiRoute("POST", f"{_ONE}/comment", "POST editions/{schedule}/{number}/comment", comment_on_edition, 201),
    ApiRoute("POST", f"{_ONE}/test", "POST editions/{schedule}/{number}/test", send_edition_test, 202),
)
