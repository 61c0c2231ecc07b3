"""The list of stories, as the room and the API show it: without texts, filtered, and a page at a time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from tidings.store import schema as t


@dataclass(frozen=True, slots=True)
class StoryVersion:
    """A story in one language, as lists of stories show it: without its text."""

    story: str
    language: str
    title: str
    kind: str
    slug: str
    url: str
    source: str
    ref: str
    draft: bool
    withdrawn: str
    correction: str
    published: datetime
    out_at: datetime | None

    def state(self, now: datetime) -> str:
        """Return draft, withdrawn, waiting (for its time), corrected or out."""
        if self.draft:
            return "draft"
        if self.withdrawn:
            return "withdrawn"
        if self.out_at is None or self.out_at > now:
            return "waiting"
        return "corrected" if self.correction else "out"


def find_stories(
    connection: Connection,
    now: datetime,
    *,
    story: str = "",
    text: str = "",
    language: str = "",
    kind: str = "",
    state: str = "",
    offset: int = 0,
    after: tuple[datetime, str] | None = None,
    most: int = 50,
) -> list[list[StoryVersion]]:
    """Return stories with all their versions, the newest first; a story is found if one version fits all filters.

    `text` is a part of a title or the beginning of a story's name. `state` is one of `StoryVersion.state`. `after` is
    the time and the name of the last story of the page before (see `story_time`).
    """
    i = t.items.c
    newest = _story_time()
    query = select(i.story).where(i.gone_at.is_(None)).group_by(i.story).order_by(newest.desc(), i.story)
    if after is not None:
        query = query.where(or_(newest < after[0], and_(newest == after[0], i.story > after[1])))
    if story:
        query = query.where(i.story == story)
    if text:
        # LIKE ignores the case of ASCII letters only on SQLite.
        forms = dict.fromkeys((text, text.lower(), text.capitalize(), text.upper()))
        matches = [i.title.contains(form, autoescape=True) for form in forms]
        query = query.where(or_(i.story.startswith(text, autoescape=True), *matches))
    if language:
        query = query.where(i.language == language)
    if kind:
        query = query.where(i.kind == kind)
    is_out = and_(i.draft.is_(False), i.withdrawn == "", i.out_at <= now)
    states = {
        "draft": i.draft.is_(True),
        "withdrawn": and_(i.draft.is_(False), i.withdrawn != ""),
        "waiting": and_(i.draft.is_(False), i.withdrawn == "", or_(i.out_at.is_(None), i.out_at > now)),
        "corrected": and_(is_out, i.correction != ""),
        "out": and_(is_out, i.correction == ""),
    }
    if state in states:
        query = query.where(states[state])
    keys = list(connection.execute(query.offset(offset).limit(most)).scalars())
    found = {key: list[StoryVersion]() for key in keys}
    columns = [i[field.name] for field in fields(StoryVersion)]
    for row in connection.execute(select(*columns).where(i.story.in_(keys), i.gone_at.is_(None)).order_by(i.language)):
        found[row.story].append(StoryVersion(*row))
    return list(found.values())


def _story_time() -> ColumnElement[Any]:
    """When a story is placed in lists: the latest of its versions, whichever of them a filter finds."""
    other = t.items.alias("other")
    newest = func.max(func.coalesce(other.c.out_at, other.c.published))
    return select(newest).where(other.c.story == t.items.c.story, other.c.gone_at.is_(None)).scalar_subquery()


def story_time(connection: Connection, story: str) -> datetime | None:
    """When a story is placed in lists; None if there is no such story."""
    query = select(_story_time()).select_from(t.items).where(t.items.c.story == story).limit(1)
    moment: datetime | None = connection.execute(query).scalar_one_or_none()
    return moment


def list_kinds(connection: Connection) -> list[str]:
    i = t.items.c
    return sorted(connection.execute(select(i.kind).where(i.gone_at.is_(None)).distinct()).scalars())
