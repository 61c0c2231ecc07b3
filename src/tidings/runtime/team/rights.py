"""What a member of the team, or a key of the API, may see and do, beside the role: it depends on the lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tidings.config.schedule import ListDelivery
from tidings.config.settings import Newsroom
from tidings.store.delivery.ledger import LedgerEntry
from tidings.store.people.team import TeamMember
from tidings.store.service.pauses import Scope


class Asker(Protocol):
    """Who asks, in which newsroom: a member in the room, or a key of the API."""

    @property
    def newsroom(self) -> Newsroom:
        """The present configuration."""

    @property
    def person(self) -> TeamMember:
        """The member, or the key as one."""


def schedule_lists(newsroom: Newsroom, name: str) -> set[str]:
    """Return the lists that a schedule delivers to."""
    schedule = newsroom.schedules.get(name)
    parts = schedule.deliver if schedule is not None else ()
    return {part.list for part in parts if isinstance(part, ListDelivery)}


def may_see_schedule(asker: Asker, name: str) -> bool:
    """Whether a schedule concerns the member: they work on all lists, or on one of its lists."""
    member = asker.person
    return not member.lists or bool(schedule_lists(asker.newsroom, name) & set(member.lists))


def may_decide(asker: Asker, name: str) -> bool:
    """Whether the member may decide on a schedule's editions: they must work on every list that it mails."""
    lists = schedule_lists(asker.newsroom, name)
    return covers(asker.person, lists) and may_see_schedule(asker, name)


def covers(member: TeamMember, lists: Iterable[str]) -> bool:
    """Whether a member works on all of these lists."""
    return all(member.may_see_list(name) for name in lists)


def may_pause(asker: Asker, scope: Scope, name: str) -> bool:
    """Whether the member may pause this: a member for some lists may not stop what others work on."""
    member = asker.person
    if not member.lists:
        return True
    if scope is Scope.LIST:
        return name in member.lists
    return scope is Scope.SCHEDULE and may_decide(asker, name)


def may_settle(asker: Asker, entry: LedgerEntry) -> bool:
    """Whether a delivery concerns the lists of the member."""
    return asker.person.may_see_list(entry.list) if entry.list else may_see_schedule(asker, entry.schedule)
