"""Editions and their frozen parts: renditions, selections and arrangements."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, exists, func, insert, or_, select, update

from tidings.model.delivery import EventType
from tidings.model.edition import Edition, EditionState, Hold, HoldReason
from tidings.model.errors import RefusedError
from tidings.store import schema as t
from tidings.store.content.site_files import find_media, keep_media
from tidings.store.service.events import record_event

OPEN_STATES = (EditionState.COMPOSING, EditionState.HELD, EditionState.SENDING)

_RECENT = 50
"""Editions that are looked at to find one for a single outlet."""


def new_edition(
    connection: Connection,
    schedule: str,
    *,
    slot: datetime | None,
    cut: datetime,
    starts: datetime,
    stories: Sequence[str],
    owner: str,
    request: Mapping[str, Any],
) -> Edition:
    """Create the next edition of a schedule, in the state `composing`."""
    highest = connection.execute(
        select(func.max(t.editions.c.number)).where(t.editions.c.schedule == schedule)
    ).scalar_one()
    result = connection.execute(
        insert(t.editions)
        .values(
            schedule=schedule,
            number=(highest or 0) + 1,
            slot=slot,
            cut=cut,
            starts=starts,
            state=EditionState.COMPOSING,
            holds=[],
            stories=list(stories),
            owner=owner,
            history=[],
            request=dict(request),
            at=cut,
        )
        .returning(t.editions.c.id)
    )
    return get_edition(connection, result.scalar_one())


def _edition(row: Row[Any]) -> Edition:
    return Edition(
        id=row.id,
        schedule=row.schedule,
        number=row.number,
        slot=row.slot,
        cutoff=row.cut,
        starts=row.starts,
        state=EditionState(row.state),
        stories=tuple(row.stories),
        holds=tuple(Hold(HoldReason(reason), detail) for reason, detail in row.holds),
    )


def get_edition(connection: Connection, edition: int) -> Edition:
    """Return the row with this id, which must exist."""
    return _edition(connection.execute(select(t.editions).where(t.editions.c.id == edition)).one())


def find_edition_by_id(connection: Connection, edition: int) -> Edition | None:
    """Return an edition by id. None if it does not exist or the number is too large for the database."""
    if not 0 < edition < 2**63:
        return None
    row = connection.execute(select(t.editions).where(t.editions.c.id == edition)).one_or_none()
    return None if row is None else _edition(row)


def find_edition_by_name(connection: Connection, name: str) -> Edition | None:
    """Return an edition by `SCHEDULE/NUMBER`, or None."""
    schedule, _, number = name.rpartition("/")
    if not schedule or not number.isascii() or not number.isdigit() or len(number) > 9:
        return None
    query = select(t.editions).where(t.editions.c.schedule == schedule, t.editions.c.number == int(number))
    row = connection.execute(query).one_or_none()
    return None if row is None else _edition(row)


def list_editions(
    connection: Connection, *, schedule: str | None = None, states: Iterable[str] | None = None
) -> list[Edition]:
    """Editions in the order of creation."""
    query: Select[Any] = select(t.editions).order_by(t.editions.c.id)
    if schedule is not None:
        query = query.where(t.editions.c.schedule == schedule)
    if states is not None:
        query = query.where(t.editions.c.state.in_(list(states)))
    return [_edition(row) for row in connection.execute(query)]


def editions_page(
    connection: Connection,
    *,
    schedules: Iterable[str] | None = None,
    states: Iterable[str] = (),
    before: int | None = None,
    most: int = 50,
) -> list[Edition]:
    """Up to `most` editions, the newest first: of these schedules (None: all), and older than the id `before`."""
    e = t.editions.c
    query: Select[Any] = select(t.editions).order_by(e.id.desc()).limit(most)
    if schedules is not None:
        query = query.where(e.schedule.in_(list(schedules)))
    if wanted := list(states):
        query = query.where(e.state.in_(wanted))
    if before is not None:
        query = query.where(e.id < before)
    return [_edition(row) for row in connection.execute(query)]


def editions_with_story(connection: Connection, story: str) -> list[Edition]:
    """Editions that used a story, the newest first."""
    u = t.used_stories.c
    query = select(t.editions).join(t.used_stories, u.edition == t.editions.c.id).where(u.story == story)
    return [_edition(row) for row in connection.execute(query.order_by(t.editions.c.id.desc()))]


def newest_edition_id(connection: Connection) -> int:
    """Id of the newest edition, 0 before the first: the mark of a new subscription."""
    return connection.execute(select(func.max(t.editions.c.id))).scalar_one() or 0


def get_request(connection: Connection, edition: int) -> dict[str, Any]:
    """What persons asked for: the stories of `tidings send`, and later changes."""
    return dict(connection.execute(select(t.editions.c.request).where(t.editions.c.id == edition)).scalar_one())


def set_request(connection: Connection, edition: int, request: Mapping[str, Any]) -> None:
    """Replace the changes that people requested for an edition."""
    connection.execute(update(t.editions).where(t.editions.c.id == edition).values(request=dict(request)))


def set_state(
    connection: Connection,
    edition: Edition,
    state: EditionState,
    *,
    now: datetime,
    what: str,
    who: str = "tidings",
    holds: Sequence[Hold] | None = None,
    stories: Sequence[str] | None = None,
    starts: datetime | None = None,
) -> Edition:
    """Change the state of an edition, and add to its history what happened and who did it."""
    history = connection.execute(select(t.editions.c.history).where(t.editions.c.id == edition.id)).scalar_one()
    values: dict[str, Any] = {"state": state, "history": [*history, [now.isoformat(), what, who]], "at": now}
    if holds is not None:
        values["holds"] = [[hold.reason.value, hold.detail] for hold in holds]
    if stories is not None:
        values["stories"] = list(stories)
    if starts is not None:
        values["starts"] = starts
    before = get_edition(connection, edition.id)
    connection.execute(update(t.editions).where(t.editions.c.id == edition.id).values(**values))
    after = get_edition(connection, edition.id)
    _record_events(connection, before, after, now)
    return after


def _record_events(connection: Connection, before: Edition, after: Edition, now: datetime) -> None:
    """Record the events for webhooks: an edition is composed, held or sent."""
    data = {
        "edition": after.name,
        "state": after.state.value,
        "starts": after.starts.isoformat(),
        "stories": list(after.stories),
        "holds": [{"reason": hold.reason.value, "detail": hold.detail} for hold in after.holds],
    }
    moment = f"{after.id}:{now.isoformat()}"
    is_held = after.state is EditionState.HELD
    if before.state is EditionState.COMPOSING and (is_held or after.state is EditionState.SENDING):
        record_event(connection, EventType.EDITION_COMPOSED, moment, data, now)
    if is_held and (before.state is not EditionState.HELD or before.holds != after.holds):
        record_event(connection, EventType.EDITION_HELD, moment, data, now)
    if after.state is EditionState.DONE and before.state is not EditionState.DONE:
        record_event(connection, EventType.EDITION_SENT, str(after.id), data, now)


def lock(connection: Connection, edition: int) -> None:
    """Let other decisions on an edition wait until this transaction ends."""
    connection.execute(select(t.editions.c.id).where(t.editions.c.id == edition).with_for_update())


def get_history(connection: Connection, edition: int) -> list[tuple[str, str, str]]:
    """(time, event, person) of an edition, oldest first."""
    rows = connection.execute(select(t.editions.c.history).where(t.editions.c.id == edition)).scalar_one()
    return [(row[0], row[1], row[2]) for row in rows]


def freeze_document(connection: Connection, edition: int, outlet: str, language: str, story: str, raw: bytes) -> int:
    """Store the frozen bytes of one rendition, and note the media files that it shows; returns its id."""
    keep_media(connection, edition, find_media(raw))
    result = connection.execute(
        insert(t.renditions)
        .values(
            edition=edition,
            outlet=outlet,
            language=language,
            story=story,
            document=zlib.compress(raw, 6),
            digest=hashlib.sha256(raw).hexdigest(),
        )
        .returning(t.renditions.c.id)
    )
    return int(result.scalar_one())


@dataclass(frozen=True, slots=True)
class Rendition:
    """A frozen document: of a list in one language, or the body of a post."""

    id: int
    edition: int
    outlet: str
    language: str
    story: str
    raw: bytes

    @property
    def document(self) -> Any:
        """The JSON of a list's document."""
        return json.loads(self.raw)


def _rendition(row: Row[Any]) -> Rendition:
    return Rendition(row.id, row.edition, row.outlet, row.language, row.story, zlib.decompress(row.document))


def get_rendition(connection: Connection, rendition: int) -> Rendition:
    """Return the row with this id, which must exist."""
    return _rendition(connection.execute(select(t.renditions).where(t.renditions.c.id == rendition)).one())


def list_renditions(connection: Connection, edition: int) -> list[Rendition]:
    rows = connection.execute(select(t.renditions).where(t.renditions.c.edition == edition).order_by(t.renditions.c.id))
    return [_rendition(row) for row in rows]


def thread_parts(connection: Connection, edition: int) -> dict[int, int]:
    """Positions of posts in threads, by rendition, without the first posts."""
    d, m = t.deliveries.c, t.mailings.c
    query = select(d.rendition, d.part).join_from(t.deliveries, t.mailings, m.id == d.mailing)
    rows = connection.execute(query.where(m.edition == edition, d.channel != "", d.part > 0, d.rendition.is_not(None)))
    return {row.rendition: row.part for row in rows}


@dataclass(frozen=True, slots=True)
class ShownStory:
    """How a selection shows a story: `what` is story, note or correction; `version` identifies a correction."""

    story: str
    what: str = "story"
    version: str = ""


def freeze_selection(
    connection: Connection, rendition: int, key: str, arrangement: Mapping[str, Any], shown: Iterable[ShownStory]
) -> int:
    """Store the content for one group of readers; returns its id."""
    row = insert(t.selections).values(rendition=rendition, key=key, arrangement=dict(arrangement))
    selection = int(connection.execute(row.returning(t.selections.c.id)).scalar_one())
    rows = [{"selection": selection, "story": s.story, "what": s.what, "version": s.version} for s in shown]
    if rows:
        connection.execute(insert(t.selection_stories), rows)
    return selection


def get_arrangements(connection: Connection, selections: Iterable[int]) -> dict[int, dict[str, Any]]:
    rows = connection.execute(
        select(t.selections.c.id, t.selections.c.arrangement).where(t.selections.c.id.in_(list(selections)))
    )
    return {row.id: dict(row.arrangement) for row in rows}


def rendition_arrangements(connection: Connection, rendition: int) -> dict[int, dict[str, Any]]:
    """The arrangements of a rendition, by selection."""
    rows = connection.execute(
        select(t.selections.c.id, t.selections.c.arrangement).where(t.selections.c.rendition == rendition)
    )
    return {row.id: dict(row.arrangement) for row in rows}


def newest_rendition_id(connection: Connection) -> int:
    """Id of the newest rendition, 0 before the first."""
    return connection.execute(select(func.max(t.renditions.c.id))).scalar_one() or 0


def shown_stories(connection: Connection, edition: int) -> set[str]:
    """Every story that a reader of an edition gets, with stories of earlier editions and corrections."""
    query = (
        select(t.selection_stories.c.story)
        .join_from(t.selection_stories, t.selections, t.selections.c.id == t.selection_stories.c.selection)
        .join(t.renditions, t.renditions.c.id == t.selections.c.rendition)
        .where(t.renditions.c.edition == edition)
        .distinct()
    )
    return set(connection.execute(query).scalars())


def has_begun(connection: Connection, edition: int) -> bool:
    """Whether a delivery of an edition was handed over, or may have been."""
    d = t.deliveries.c
    query = (
        select(d.id)
        .join_from(t.deliveries, t.mailings, t.mailings.c.id == d.mailing)
        .where(t.mailings.c.edition == edition, or_(d.attempts > 0, d.state.in_(("leased", "handed", "accepted"))))
        .limit(1)
    )
    return connection.execute(query).first() is not None


def delete_frozen(connection: Connection, edition: int) -> None:
    """Delete frozen content, to compose the edition again. Raises RefusedError if a delivery was handed over."""
    if has_begun(connection, edition):
        raise RefusedError("part of this edition was sent already, so it cannot be composed again")
    frozen = select(t.renditions.c.id).where(t.renditions.c.edition == edition)
    chosen = select(t.selections.c.id).where(t.selections.c.rendition.in_(frozen))
    mailing = select(t.mailings.c.id).where(t.mailings.c.edition == edition)
    connection.execute(delete(t.deliveries).where(t.deliveries.c.mailing.in_(mailing)))
    connection.execute(delete(t.selection_stories).where(t.selection_stories.c.selection.in_(chosen)))
    connection.execute(delete(t.selections).where(t.selections.c.rendition.in_(frozen)))
    connection.execute(delete(t.renditions).where(t.renditions.c.edition == edition))


def first_edition_of_channel(connection: Connection, schedule: str, channel: str) -> int | None:
    """Id of the first edition of a schedule with a post for a channel."""
    query = (
        select(func.min(t.mailings.c.edition))
        .join_from(t.mailings, t.deliveries, t.deliveries.c.mailing == t.mailings.c.id)
        # No post has a subscriber: its index finds the posts among millions of mails.
        .where(
            t.mailings.c.schedule == schedule, t.deliveries.c.channel == channel, t.deliveries.c.subscriber.is_(None)
        )
    )
    return connection.execute(query).scalar_one_or_none()


def partial_editions(connection: Connection, schedule: str, before: int) -> list[int]:
    """Ids of the editions for one outlet since the last edition for all: the other outlets wait for their stories.

    `before`: the id of the edition that is planned.
    """
    e = t.editions.c
    query = select(e.id, e.request).where(
        e.schedule == schedule, e.id < before, e.state.not_in(("cancelled", "superseded"))
    )
    found = []
    for number, request in connection.execute(query.order_by(e.id.desc()).limit(_RECENT)):
        if request.get("only"):
            found.append(number)
        elif not request.get("stories"):
            break
    return found


def has_postponed_stories(connection: Connection, schedule: str, before: int) -> bool:
    """Whether readers or channels of the schedule may still wait for stories of an edition earlier than `before`."""
    if partial_editions(connection, schedule, before):
        return True
    d, m, s, e = t.deliveries.c, t.mailings.c, t.subscriptions.c, t.editions.c
    postponing = connection.execute(select(m.id, m.edition).where(m.schedule == schedule, m.postpones.is_(True))).all()
    if not postponing:
        return False
    left = select(d.id).join_from(t.deliveries, t.mailings, m.id == d.mailing).where(d.mark < m.edition)
    reader = (s.subscriber == d.subscriber) & (s.list == d.list) & (s.state == "confirmed") & (s.mark <= d.mark)
    mailings = d.mailing.in_([row.id for row in postponing])
    if connection.execute(left.where(mailings, exists().where(reader), d.state == "accepted").limit(1)).first():
        return True
    newest = select(func.max(e.id)).where(e.schedule == schedule, e.state.not_in(("cancelled", "superseded")))
    found = connection.execute(left.where(mailings, d.channel != "", m.edition == newest.scalar_subquery()).limit(1))
    return found.first() is not None


def take_over(connection: Connection, edition: int, was: str, owner: str) -> bool:
    """Make `owner` compose the edition instead of `was`. True for only one of several callers."""
    e = t.editions.c
    done = connection.execute(update(t.editions).where(e.id == edition, e.owner == was).values(owner=owner))
    return bool(done.rowcount == 1)


def restart_composing(connection: Connection, edition: int, cut: datetime, owner: str) -> None:
    """Let `owner` compose an edition again, with the items as they are at `cut`."""
    connection.execute(update(t.editions).where(t.editions.c.id == edition).values(cut=cut, owner=owner))


def get_owner(connection: Connection, edition: int) -> str:
    """The process that composes an edition."""
    return str(connection.execute(select(t.editions.c.owner).where(t.editions.c.id == edition)).scalar_one())


@dataclass(frozen=True, slots=True)
class RecipientCount:
    """`count` recipients of an outlet in one language. `outlet` is list:NAME or channel:NAME."""

    outlet: str
    language: str
    count: int


def count_recipients(connection: Connection, edition: int) -> list[RecipientCount]:
    """Recipients of an edition by outlet and language, without skipped deliveries."""
    d, r, m = t.deliveries.c, t.renditions.c, t.mailings.c
    query = (
        select(r.outlet, r.language, func.count())
        .join_from(t.deliveries, t.mailings, m.id == d.mailing)
        .join(t.renditions, r.id == d.rendition)
        .where(m.edition == edition, d.state.not_in(("skipped", "cancelled")))
        .group_by(r.outlet, r.language)
        .order_by(r.outlet, r.language)
    )
    return [RecipientCount(row[0], row[1], int(row[2])) for row in connection.execute(query)]


def frozen_digest(connection: Connection, edition: int) -> str:
    """A digest of the frozen bytes of an edition: 32 hexadecimal digits."""
    r = t.renditions.c
    query = select(r.id, r.digest).where(r.edition == edition).order_by(r.id)
    text = "\n".join(f"{row.id} {row.digest}" for row in connection.execute(query))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
