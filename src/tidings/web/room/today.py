"""The screen "Today": problems and their remedies, editions that wait for a person, sent editions, and next slots.

The data come from the functions behind `tidings status`, `plan` and `report`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection
from starlette.responses import Response

from tidings.config.schedule import Schedule
from tidings.model.cadence import OnNew, OnRequest, load_zone
from tidings.model.edition import Edition, EditionState, HoldReason
from tidings.render.room.room_pages import RoomWords
from tidings.runtime.monitoring.diagnosis import diagnose
from tidings.runtime.monitoring.health import read_health
from tidings.runtime.preview.plan import MOST_COUNTED, PlannedSchedule, PlannedSlot, plan
from tidings.runtime.report.report import Report, make_report
from tidings.runtime.team.rights import may_decide, may_pause, may_see_schedule
from tidings.store.content import editions
from tidings.store.content.items import load_refused, load_story
from tidings.store.service import pauses
from tidings.store.service.pauses import Pause, Scope
from tidings.web.room.demo import first_look
from tidings.web.room.visit import Visit

_RECENT = timedelta(days=7)
_MOST_RECENT = 8
_MOST_STORIES = 5
_MENDED_AT = {
    **dict.fromkeys(("refused", "source", "source_silent"), "settings"),
    **dict.fromkeys(("stalled", "in_doubt", "quarantined", "sender"), "channels"),
    **dict.fromkeys(("overdue", "nobody_works"), "calendar"),
    "set_aside": "stories",
}
"""The screen where a finding can be resolved, if there is one."""


def show(visit: Visit) -> Response:
    """The page."""
    runtime, words, now = visit.runtime, visit.words, visit.runtime.now()
    health = read_health(runtime, datetime.now(UTC))
    with runtime.store.read() as connection:
        english = RoomWords("en", visit.newsroom.site.timezone)
        wrong = diagnose(health, load_refused(connection), english.moment)
        active = pauses.active_pauses(connection)
        held = editions.list_editions(connection, states=[EditionState.HELD])
        report = make_report(connection, visit.newsroom, now - _RECENT, None, now)
    headings, screens = _headings(words), dict(visit.navigation)
    mine = [edition for edition in held if may_see_schedule(visit, edition.schedule)]
    return visit.page(
        "today.html.j2",
        words.gettext("Today"),
        today=words.day(now),
        findings=[
            {
                "heading": headings.get(found.what, words.gettext("Something needs a look")),
                "found": found,
                "screen": _MENDED_AT.get(found.what, "") if _MENDED_AT.get(found.what) in screens else "",
                "label": screens.get(_MENDED_AT.get(found.what, ""), ""),
            }
            for found in wrong
            if found.what != "held"
        ],
        pauses=[_shown_pause(visit, pause) for pause in active],
        waiting=[describe_held(visit, edition) for edition in mine],
        sent=_sent(visit, report),
        coming=_coming(visit, plan(runtime, now, 2, most_counted=MOST_COUNTED), active),
        is_empty=not visit.newsroom.schedules,
        may_pause_all=may_pause(visit, Scope.ALL, "") and all(pause.scope is not Scope.ALL for pause in active),
        first_look=first_look(visit, mine),
    )


def schedule_title(visit: Visit, name: str) -> str:
    """Return a schedule's title in the member's language, or its name if it is gone."""
    schedule = visit.newsroom.schedules.get(name)
    default = visit.newsroom.site.languages[0]
    return schedule.heading(visit.language, default) if schedule is not None else name


def name_slot(schedule: Schedule, key: datetime) -> str:
    """Return the local moment of a slot by its rule. `moved` and the calendar's URLs identify a slot by this name."""
    return f"{key.astimezone(load_zone(schedule.cadence.zone)):%Y-%m-%dT%H:%M}"


def _movable_slot(visit: Visit, name: str, slot: PlannedSlot | None) -> str:
    """Return the name of a slot if this member may move it, else ''."""
    schedule = visit.newsroom.schedules[name]
    is_timed = not isinstance(schedule.cadence.rule, OnNew | OnRequest)
    is_free = slot is not None and not slot.edition and is_timed and may_decide(visit, name)
    return name_slot(schedule, slot.key) if slot is not None and is_free else ""


def list_title(visit: Visit, name: str) -> str:
    """Return a list's title in the member's language, or its name if it is gone."""
    settings = visit.newsroom.lists.get(name)
    return settings.name.get(visit.language, visit.newsroom.site.languages[0]) if settings is not None else name


def choose_title(visit: Visit, titles: Mapping[str, str]) -> str:
    """Return the title in the member's language, else in the first language of the site that has one."""
    languages = (visit.language, *visit.newsroom.site.languages, *titles)
    return next((titles[name] for name in languages if name in titles), "")


def story_title(visit: Visit, connection: Connection, story: str) -> str:
    """Return the title of a story as `choose_title` does, or its key if it has no title."""
    return choose_title(visit, {item.language: item.title for item in load_story(connection, story)}) or story


def hold_texts(words: RoomWords) -> dict[HoldReason, str]:
    """Return an explanation of each reason for a hold."""
    return {
        HoldReason.GATE: words.gettext("A check failed. Mend the story, then build the edition again."),
        HoldReason.LATE: words.gettext("It is much later than planned. Decide whether to send it."),
        HoldReason.APPROVAL: words.gettext("It waits for approval."),
        HoldReason.WITHDRAWN: words.gettext("A story in it was withdrawn."),
        HoldReason.BREAKER: words.gettext(
            "Too many of its mails were refused or came back. Nobody was removed from the list."
        ),
        HoldReason.RESTORED: words.gettext(
            "The data come from a backup or from a standby server. It may have been sent before."
        ),
        HoldReason.SENT_BACK: words.gettext(
            "An approver sent it back. Change it or build it again, and it asks again."
        ),
        HoldReason.EDITED: words.gettext("It was changed. Look at it, then release it."),
    }


def describe_held(visit: Visit, edition: Edition) -> dict[str, object]:
    """Return a held edition for the template: title, link, reasons, and whether this member is asked to approve."""
    schedule: Schedule | None = visit.newsroom.schedules.get(edition.schedule)
    approvers = schedule.approval.by if schedule is not None and schedule.approval is not None else ()
    texts = hold_texts(visit.words)
    return {
        "title": f"{schedule_title(visit, edition.schedule)} {edition.number}",
        "path": f"editions/{edition.name}",
        "starts": edition.starts,
        "stories": len(edition.stories),
        "reasons": [
            {
                "text": texts.get(hold.reason, visit.words.gettext("It waits for a person.")),
                "detail": "" if hold.reason is HoldReason.APPROVAL else hold.detail,
            }
            for hold in edition.holds
        ],
        "asked": visit.person.email.casefold() in [address.casefold() for address in approvers],
    }


def _shown_pause(visit: Visit, pause: Pause) -> dict[str, object]:
    words = visit.words
    kinds = {
        Scope.ALL: words.gettext("Everything is paused"),
        Scope.SCHEDULE: words.gettext("The schedule %(name)s is paused", name=pause.name),
        Scope.LIST: words.gettext("The list %(name)s is paused", name=pause.name),
        Scope.CHANNEL: words.gettext("The channel %(name)s is paused", name=pause.name),
    }
    return {"pause": pause, "text": kinds[pause.scope], "may_end": may_pause(visit, pause.scope, pause.name)}


def _sent(visit: Visit, report: Report) -> list[dict[str, object]]:
    """Return the newest editions of the week with the results of their mails and posts."""
    rows: dict[str, dict[str, object]] = {}
    for mail in report.mail:
        if mail.state in (EditionState.SENDING, EditionState.DONE) and visit.person.may_see_list(mail.list):
            row = rows.setdefault(mail.edition, _sent_row(visit, mail.edition, mail.at))
            for key in ("accepted", "returned", "waiting", "rejected"):
                row[key] = int(str(row[key])) + int(getattr(mail, key))
    for post in report.posts:
        if may_see_schedule(visit, post.edition.partition("/")[0]) and post.state == "accepted":
            row = rows.setdefault(post.edition, _sent_row(visit, post.edition, post.at))
            links = row["posts"]
            assert isinstance(links, list)
            links.append({"channel": post.channel, "link": post.link if post.link.startswith("http") else ""})
    return sorted(rows.values(), key=lambda row: str(row["at"]), reverse=True)[:_MOST_RECENT]


def edition_title(visit: Visit, edition: str) -> str:
    """Return how people call an edition: Daily digest 10."""
    schedule, _, number = edition.partition("/")
    return f"{schedule_title(visit, schedule)} {number}"


def _sent_row(visit: Visit, edition: str, at: datetime) -> dict[str, object]:
    title = edition_title(visit, edition)
    counts = {"accepted": 0, "returned": 0, "waiting": 0, "rejected": 0}
    return {"title": title, "path": f"editions/{edition}", "at": at, "posts": [], **counts}


def _coming(visit: Visit, planned: list[PlannedSchedule], active: list[Pause]) -> list[dict[str, object]]:
    rows: list[dict[str, Any]] = []
    shown = [entry for entry in planned if may_see_schedule(visit, entry.name)]
    with visit.runtime.store.read() as connection:
        found = {key for entry in shown for slot in entry.slots for key, _ in (slot.stories or [])[:_MOST_STORIES]}
        titles = {key: story_title(visit, connection, key) for key in found}
    for entry in shown:
        slot = next((slot for slot in entry.slots if not slot.skipped), None)
        stories = [key for key, _ in (slot.stories or [])] if slot is not None else []
        note = (slot.note if slot is not None else "") or entry.note
        for waiting in entry.waiting:
            note = note.replace(waiting.edition, edition_title(visit, waiting.edition))
        is_empty = note in ("nothing new", "would be skipped: nothing new")
        rows.append(
            {
                "name": entry.name,
                "title": schedule_title(visit, entry.name),
                "at": slot.at if slot is not None else None,
                "skipped": [skipped for skipped in entry.slots if skipped.skipped][:2],
                "stories": [(key, titles[key]) for key in stories[:_MOST_STORIES]],
                "more": max(0, len(stories) - _MOST_STORIES),
                "recipients": sum(outlet.recipients.total() for outlet in slot.outlets) if slot is not None else 0,
                "at_most": slot.at_most if slot is not None else 0,
                "is_counted": slot is not None and slot.is_counted,
                "note": "" if is_empty else note,
                "is_empty": is_empty,
                "moved": slot.moved if slot is not None else None,
                "edition": f"editions/{slot.edition}" if slot is not None and slot.edition else "",
                "slot": _movable_slot(visit, entry.name, slot),
                "may_pause": may_pause(visit, Scope.SCHEDULE, entry.name)
                and pauses.find_schedule_pause(active, entry.name) is None,
            }
        )
    far = datetime.max.replace(tzinfo=UTC)
    return sorted(rows, key=lambda row: (row["at"] or far, row["name"]))


def _headings(words: RoomWords) -> dict[str, str]:
    """Return a heading for each kind of diagnosis."""
    return {
        "disk": words.gettext("The disk is almost full"),
        "clock": words.gettext("The clock is wrong"),
        "died": words.gettext("The service stopped"),
        "standing_still": words.gettext("The service has stopped working"),
        "fault": words.gettext("The service has an error again and again"),
        "refused": words.gettext("The changed settings have errors, so the last good ones stay in use"),
        "overdue": words.gettext("An edition is overdue"),
        "nobody_works": words.gettext("The service is not running"),
        "dead_owner": words.gettext("Some deliveries were interrupted"),
        "stalled": words.gettext("Something cannot be sent"),
        "sender": words.gettext("The mail host refuses our mail"),
        "in_doubt": words.gettext("Some posts or mails are in doubt"),
        "quarantined": words.gettext("Some deliveries failed too often"),
        "source": words.gettext("A source of stories cannot be read"),
        "source_silent": words.gettext("A source has had nothing new for a long time"),
        "unpublished": words.gettext("The pages and feeds are not up to date"),
        "set_aside": words.gettext("A story has a mistake and was set aside"),
    }


# -- pausing ----------------------------------------------------------------------------------------------------------


def _pause_target(visit: Visit, *, known_only: bool) -> tuple[Scope, str] | None:
    scope, name = visit.field("scope"), visit.field("name")
    newsroom = visit.newsroom
    known = {
        Scope.SCHEDULE: newsroom.schedules,
        Scope.LIST: newsroom.lists,
        Scope.CHANNEL: newsroom.channels,
        Scope.ALL: {"": None},
    }
    if scope not in list(Scope) or (known_only and name not in known[Scope(scope)]):
        return None
    return (Scope(scope), name) if may_pause(visit, Scope(scope), name) else None


def pause(visit: Visit) -> Response:
    """Pause a schedule, a list, a channel or everything."""
    target = _pause_target(visit, known_only=True)
    if target is None:
        return visit.not_found()
    scope, name = target
    now, reason, chosen = visit.runtime.now(), visit.field("reason"), visit.field("until", 20)
    until = visit.moment_field(chosen)
    if chosen and (until is None or until <= now):
        text = visit.words.gettext("This time has passed. Choose a later one.")
        return visit.message(visit.words.gettext("This cannot be done now"), text, status=422)
    with visit.runtime.store.write() as connection:
        pauses.pause(connection, scope, name, now, until=until, reason=reason, who=visit.person.email)
        visit.record(connection, "pause.begun", f"{scope} {name}".strip(), reason)
    return visit.redirect(_page_of_button(visit), "paused")


def resume(visit: Visit) -> Response:
    """End a pause."""
    target = _pause_target(visit, known_only=False)
    if target is None:
        return visit.not_found()
    scope, name = target
    with visit.runtime.store.write() as connection:
        if pauses.resume(connection, scope, name, visit.runtime.now()):
            visit.record(connection, "pause.ended", f"{scope} {name}".strip())
    return visit.redirect(_page_of_button(visit), "resumed")


def _page_of_button(visit: Visit) -> str:
    """Return the page that the button was on: Today, or the channels."""
    return "channels" if visit.field("back") == "channels" else ""
