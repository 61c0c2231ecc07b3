"""Prepare lists, channels and schedules that are new or renamed, before they take part in editions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tidings.config.schedule import Schedule
from tidings.config.settings import Newsroom
from tidings.pipeline.compose.select import Story, group_stories, is_note, matches_rules
from tidings.store.content import schedules
from tidings.store.content.items import load_items
from tidings.store.engine import Store
from tidings.store.people import subscribers
from tidings.store.service import pauses


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
        kept = select_backfill(group_stories(items, now).values(), schedule)
        # Expired and withdrawn stories count as published too, in case they come back.
        out = dict.fromkeys(item.story for item in items if item.out_at is not None and item.out_at <= now)
        schedules.begin_schedule(connection, schedule.name, now, [key for key in out if key not in kept])


def select_backfill(stories: Iterable[Story], schedule: Schedule) -> set[str]:
    """Return the keys of the newest stories that a schedule sends although they are older than its baseline."""
    matching = [story for story in stories if not is_note(story) and matches_rules(story, schedule.select)]
    newest = sorted(matching, key=lambda story: (story.published, story.key), reverse=True)
    return {story.key for story in newest[: schedule.backfill]}
