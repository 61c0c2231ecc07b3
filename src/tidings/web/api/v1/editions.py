"""`/api/v1/editions`: what goes to whom, and the decisions on it."""

from __future__ import annotations

import email
import email.policy
from datetime import datetime
from typing import Annotated

from pydantic import Field

from tidings.model.edition import Edition, EditionState
from tidings.pipeline.compose.edit import describe_edition
from tidings.runtime.preview.preview import PreviewedMessage, preview_edition
from tidings.store.content import editions
from tidings.store.delivery import ledger
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
from tidings.web.room.today import may_see_schedule
from tidings.web.site.review import message_html

Schedule = Annotated[str, Field(max_length=100)]
Number = Annotated[int, Field(ge=1, lt=10**9)]


class HoldInfo(ApiModel):
    """Why an edition waits for a person."""

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
    """What persons changed so far."""

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
    """What happened to an edition."""

    at: datetime
    what: str
    who: str


class EditionDetails(ApiModel):
    """An edition with its recipients and its history, as `tidings edition show --json` prints it."""

    edition: str
    state: EditionState
    slot: datetime | None
    starts: datetime
    holds: list[HoldInfo]
    stories: list[EditionStory]
    changes: EditionChange
    recipients: list[EditionRecipients]
    history: list[HistoryLine]
    total: int = Field(description="All recipients. A release that sends at once asks for it.")
    version: str = Field(description="Of the frozen bytes. Send it back with a decision.")
    deliveries: dict[str, int] = Field(description="Its deliveries by state.")


class EditionMessage(ApiModel):
    """A mail or post of an edition as it is frozen, with most stories."""

    outlet: str
    language: str
    subject: str
    html: str
    text: str
    failures: list[str] = Field(description="Checks that it fails.")


def list_editions(
    caller: Who,
    schedule: Schedule = "",
    state: Annotated[EditionState | None, Field(description="Only in this state.")] = None,
    cursor: Cursor = "",
    limit: Limit = 50,
) -> Page[EditionInfo]:
    """List editions, the newest first."""
    position = read_cursor(cursor, int)
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
            before=position[0] if position else None,
            most=limit + 1,
        )
    return Page(
        items=[
            EditionInfo(
                edition=edition.name,
                state=edition.state,
                slot=edition.slot,
                starts=edition.starts,
                stories=list(edition.stories),
                holds=[HoldInfo(reason=hold.reason, detail=hold.detail) for hold in edition.holds],
            )
            for edition in found[:limit]
        ],
        next=make_cursor(found[limit - 1].id) if len(found) > limit else None,
    )


def show_edition(caller: Who, schedule: Schedule, number: Number) -> EditionDetails:
    """Show who gets what, what holds the edition, and its history."""
    return _details(caller, _find(caller, schedule, number))


def list_messages(
    caller: Who, schedule: Schedule, number: Number, language: Annotated[str, Field(max_length=20)] = ""
) -> list[EditionMessage]:
    """Show the frozen mails and posts of an edition: of each list and language the one with most stories."""
    edition = _find(caller, schedule, number)
    return [_message(message) for message in preview_edition(caller.runtime, edition, language or None)]


def _message(message: PreviewedMessage) -> EditionMessage:
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


ROUTES = (
    ApiRoute("GET", "/editions", "GET editions/{schedule}/{number}", list_editions),
    ApiRoute("GET", "/editions/{schedule}/{number}", "GET editions/{schedule}/{number}", show_edition),
    ApiRoute(
        "GET",
        "/editions/{schedule}/{number}/messages",
        "GET editions/{schedule}/{number}/mails/{frame}",
        list_messages,
    ),
)
