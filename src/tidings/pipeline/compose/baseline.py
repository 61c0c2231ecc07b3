"""Prepare lists, channels and schedules that are new or renamed, before they take part in editions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from datetime import datetime

from sqlalchemy import Connection

from tidings.config.schedule import Schedule
from tidings.config.settings import Newsroom
from tidings.model.cadence import Cadence, OnNew, describe_cadence, load_zone, next_slots
from tidings.pipeline.compose.select import Story, group_stories, is_note, is_upcoming, matches_rules
from tidings.store.content import schedules
from tidings.store.content.items import load_items
from tidings.store.engine import Store
from tidings.store.people import subscribers
from tidings.store.service import pauses

_LOOKAHEAD = 20
"""Number of slots to search for the next one, because the first may be skipped."""


def rename_outlets(store: Store, newsroom: Newsroom) -> None:
    """Move subscriptions, suppressions and history of a renamed list or channel to its new name (`was`)."""
    for kind, names in (("list", newsroom.lists), ("channel", newsroom.channels)):
        for name in names:
            former = newsroom.former_name(kind, name)
            if former is None:
                continue
            scope = pauses.Scope(kind)
            with store.read() as connection:
                is_known = subscribers.is_outlet_known(connection, kind, former) or pauses.is_known(
                    connection, scope, former
                )
            if is_known:
                with store.write() as connection:
                    pauses.rename(connection, scope, former, name)
                    subscribers.rename_outlet(connection, kind, former, name)


def set_baseline(store: Store, newsroom: Newsroom, schedule: Schedule, now: datetime) -> None:
    """Register a new schedule: stories that are already out do not go out, except the newest `backfill` ones.

    A renamed schedule (`was`) takes over the state of its former name instead.
    """
    former = newsroom.former_name("schedule", schedule.name)
    with store.read() as connection:
        if schedules.find_schedule(connection, schedule.name) is not None:
            return
        if former is not None and schedules.find_schedule(connection, former) is None:
            former = None
    with store.write() as connection:
        if former is not None:
            pauses.rename(connection, pauses.Scope.SCHEDULE, former, schedule.name)
            schedules.rename_schedule(connection, former, schedule.name)
            return
        items = load_items(connection)
        kept = select_backfill(group_stories(items, now).values(), schedule, now)
        # Expired and withdrawn stories count as published too, in case they come back.
        out = dict.fromkeys(item.story for item in items if item.out_at is not None and item.out_at <= now)
        schedules.begin_schedule(connection, schedule.name, now, [key for key in out if key not in kept])


def cadence_key(cadence: Cadence) -> str:
    """Return a text that changes if the slots of a cadence change.

    Default values are left out, so that a later version with more settings gives the same text.
    """

    def plain(value: object) -> object:
        if is_dataclass(value):
            changed = {
                part.name: plain(getattr(value, part.name))
                for part in fields(value)
                if getattr(value, part.name) != part.default and part.name != "max_late"
            }
            return [type(value).__name__, changed]
        if isinstance(value, frozenset):
            return sorted(value)
        if isinstance(value, tuple | list):
            return [plain(part) for part in value]
        return str(getattr(value, "code", value))

    return json.dumps(plain(cadence), ensure_ascii=False, sort_keys=True)


def find_cadence_edit(connection: Connection, schedule: Schedule, now: datetime) -> datetime | None:
    """Return when the cadence of a schedule was changed, or None. A change that no tick has seen yet counts as `now`.

    Slots of the new cadence before that moment are never due.
    """
    seen = schedules.find_cadence(connection, schedule.name)
    if seen is None:
        return None
    kind = type(schedule.cadence.rule).__name__
    if seen.key != cadence_key(schedule.cadence):
        # `settle` is left out: the same story is still new after it changes.
        return None if seen.kind == kind == OnNew.__name__ else now
    return seen.since if seen.since is not None and seen.since <= now else None


def note_cadence_edits(store: Store, newsroom: Newsroom, now: datetime) -> dict[str, str]:
    """Store the present cadences. Returns a sentence about each changed cadence, by schedule."""
    changes: dict[str, str] = {}
    for schedule in newsroom.schedules.values():
        key = cadence_key(schedule.cadence)
        with store.read() as connection:
            seen = schedules.find_cadence(connection, schedule.name)
            if seen is not None and seen.key == key:
                continue
            since = find_cadence_edit(connection, schedule, now)
        with store.write() as connection:
            kind = type(schedule.cadence.rule).__name__
            schedules.save_cadence(connection, schedule.name, schedules.SeenCadence(key, kind, since))
        if since is not None:
            changes[schedule.name] = describe_cadence_edit(schedule, since)
    return changes


def describe_cadence_edit(schedule: Schedule, since: datetime) -> str:
    """Describe since when a changed cadence applies, and its next slot."""
    cadence = schedule.cadence
    zone = load_zone(cadence.zone)
    moment = f"{since.astimezone(zone):%a %Y-%m-%d %H:%M}"
    text = f"its cadence was changed to {describe_cadence(cadence)}; it counts from {moment}"
    following = next((slot for slot in next_slots(cadence, since, _LOOKAHEAD) if not slot.skip_reason), None)
    return text if following is None else f"{text}; next: {following.at.astimezone(zone):%a %Y-%m-%d %H:%M}"


def select_backfill(stories: Iterable[Story], schedule: Schedule, now: datetime) -> set[str]:
    """Return the keys of the stories that a schedule sends although they are older than its baseline.

    These are the newest `backfill` stories, and with `starting` all coming events.
    """
    matching = [story for story in stories if not is_note(story) and matches_rules(story, schedule.select)]
    newest = sorted(matching, key=lambda story: (story.published, story.key), reverse=True)
    coming = [story for story in matching if is_upcoming(story, now)] if schedule.select.starting is not None else []
    return {story.key for story in [*newest[: schedule.backfill], *coming]}
