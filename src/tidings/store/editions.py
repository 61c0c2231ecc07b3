"""Schedules, slots and editions: who claimed what, and what was frozen."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tidings.model.edition import Edition, EditionState, Hold, HoldReason
from tidings.model.errors import RefusedError
from tidings.store import schema as t

OPEN_STATES = (EditionState.COMPOSING, EditionState.HELD, EditionState.SENDING)


def insert_once(connection: Connection, table: Any) -> Any:
    """An INSERT that leaves rows alone which stand already (ON CONFLICT DO NOTHING); `rowcount` counts the new."""
    made: Any = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    # Without the option SQLAlchemy forgets the count of an INSERT on PostgreSQL and says -1.
    return made.on_conflict_do_nothing().execution_options(preserve_rowcount=True)


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """What the store knows of a schedule."""

    name: str
    baseline: datetime
    last_slot: datetime | None
    last_cut: datetime | None


def schedule_state(connection: Connection, name: str) -> ScheduleState | None:
    """None for a schedule that was never seen."""
    row = connection.execute(select(t.schedules).where(t.schedules.c.name == name)).one_or_none()
    return None if row is None else ScheduleState(row.name, row.baseline, row.last_slot, row.last_cut)


def begin_schedule(connection: Connection, name: str, now: datetime, used: Iterable[str]) -> bool:
    """Set the baseline: the stories in `used` were out before and do not go out. False if it was set already."""
    done = connection.execute(
        insert_once(connection, t.schedules).values(name=name, baseline=now, last_slot=None, last_cut=now)
    )
    if done.rowcount != 1:
        return False
    use(connection, name, used, edition=0)
    return True


def rename_schedule(connection: Connection, was: str, name: str) -> None:
    """Carry everything of a schedule over to its new name."""
    for table in (t.uses, t.slots, t.editions, t.mailings):
        connection.execute(update(table).where(table.c.schedule == was).values(schedule=name))
    connection.execute(update(t.schedules).where(t.schedules.c.name == was).values(name=name))


def claim_slot(connection: Connection, schedule: str, slot: datetime, owner: str, now: datetime) -> bool:
    """Whether this process may fire the slot: the row is the claim, so two never fire one."""
    done = connection.execute(
        insert_once(connection, t.slots).values(
            schedule=schedule, slot=slot, state="claimed", reason="", edition=None, owner=owner, at=now
        )
    )
    return bool(done.rowcount == 1)


def settle_slot(
    connection: Connection,
    schedule: str,
    slot: datetime,
    state: str,
    reason: str,
    now: datetime,
    edition: int | None = None,
) -> None:
    """Say what became of a slot: fired, skipped or merged; an unclaimed one gets its row here."""
    values = {"state": state, "reason": reason, "edition": edition, "at": now}
    connection.execute(insert_once(connection, t.slots).values(schedule=schedule, slot=slot, owner="", **values))
    connection.execute(update(t.slots).where(t.slots.c.schedule == schedule, t.slots.c.slot == slot).values(**values))


def passed(connection: Connection, schedule: str, *, slot: datetime | None, cut: datetime | None) -> None:
    """Remember how far a schedule has come; never goes back."""
    state = schedule_state(connection, schedule)
    if state is None:
        return
    slots = [moment for moment in (state.last_slot, slot) if moment is not None]
    cuts = [moment for moment in (state.last_cut, cut) if moment is not None]
    connection.execute(
        update(t.schedules)
        .where(t.schedules.c.name == schedule)
        .values(last_slot=max(slots, default=None), last_cut=max(cuts, default=None))
    )


def slots_of(connection: Connection, schedule: str, limit: int = 20) -> Sequence[Row[Any]]:
    """The newest slots of a schedule with what became of them."""
    return connection.execute(
        select(t.slots).where(t.slots.c.schedule == schedule).order_by(t.slots.c.slot.desc()).limit(limit)
    ).all()


def used_stories(connection: Connection, schedule: str) -> set[str]:
    """Stories that the schedule has used, or that a held edition of it reserves."""
    return set(connection.execute(select(t.uses.c.story).where(t.uses.c.schedule == schedule)).scalars())


def used_since(connection: Connection, schedule: str, edition: int) -> dict[str, int]:
    """Stories used in editions after `edition`, each with the id of its edition."""
    rows = connection.execute(
        select(t.uses.c.story, t.uses.c.edition).where(t.uses.c.schedule == schedule, t.uses.c.edition > edition)
    )
    return {row.story: row.edition for row in rows}


def use(connection: Connection, schedule: str, stories: Iterable[str], edition: int) -> list[str]:
    """Reserve stories for an edition; returns those that nobody had reserved."""
    taken = []
    for story in stories:
        done = connection.execute(
            insert_once(connection, t.uses).values(schedule=schedule, story=story, edition=edition)
        )
        if done.rowcount == 1:
            taken.append(story)
    return taken


def release_uses(connection: Connection, edition: int) -> None:
    """The stories of an edition that will not go out are new again."""
    connection.execute(delete(t.uses).where(t.uses.c.edition == edition))


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
    """Number an edition and begin to compose it."""
    highest = connection.execute(
        select(func.max(t.editions.c.number)).where(t.editions.c.schedule == schedule)
    ).scalar_one()
    result = connection.execute(
        insert(t.editions).values(
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
    )
    primary_key = result.inserted_primary_key
    assert primary_key is not None
    return get_edition(connection, int(primary_key[0]))


def _edition(row: Row[Any]) -> Edition:
    return Edition(
        id=row.id,
        schedule=row.schedule,
        number=row.number,
        slot=row.slot,
        cut=row.cut,
        starts=row.starts,
        state=EditionState(row.state),
        stories=tuple(row.stories),
        holds=tuple(Hold(HoldReason(reason), detail) for reason, detail in row.holds),
    )


def get_edition(connection: Connection, edition: int) -> Edition:
    """By id."""
    return _edition(connection.execute(select(t.editions).where(t.editions.c.id == edition)).one())


def find_edition(connection: Connection, name: str) -> Edition | None:
    """By `SCHEDULE/NUMBER`; None where there is none."""
    schedule, _, number = name.rpartition("/")
    if not schedule or not number.isascii() or not number.isdigit():
        return None
    query = select(t.editions).where(t.editions.c.schedule == schedule, t.editions.c.number == int(number))
    row = connection.execute(query).one_or_none()
    return None if row is None else _edition(row)


def editions(
    connection: Connection, *, schedule: str | None = None, states: Iterable[str] | None = None
) -> list[Edition]:
    """In the order in which they were made."""
    query: Select[Any] = select(t.editions).order_by(t.editions.c.id)
    if schedule is not None:
        query = query.where(t.editions.c.schedule == schedule)
    if states is not None:
        query = query.where(t.editions.c.state.in_(list(states)))
    return [_edition(row) for row in connection.execute(query)]


def newest_edition(connection: Connection) -> int:
    """Id of the newest edition of all, 0 before the first: the mark of a new subscription."""
    return connection.execute(select(func.max(t.editions.c.id))).scalar_one() or 0


def request_of(connection: Connection, edition: int) -> dict[str, Any]:
    """What a person asked for with `tidings send`; empty for an edition of a slot."""
    return dict(connection.execute(select(t.editions.c.request).where(t.editions.c.id == edition)).scalar_one())


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
) -> Edition:
    """Move an edition on, and note in its history what happened and who did it."""
    history = connection.execute(select(t.editions.c.history).where(t.editions.c.id == edition.id)).scalar_one()
    values: dict[str, Any] = {"state": state, "history": [*history, [now.isoformat(), what, who]], "at": now}
    if holds is not None:
        values["holds"] = [[hold.reason.value, hold.detail] for hold in holds]
    if stories is not None:
        values["stories"] = list(stories)
    connection.execute(update(t.editions).where(t.editions.c.id == edition.id).values(**values))
    return get_edition(connection, edition.id)


def history_of(connection: Connection, edition: int) -> list[tuple[str, str, str]]:
    """(moment, what, who) of an edition, oldest first."""
    rows = connection.execute(select(t.editions.c.history).where(t.editions.c.id == edition)).scalar_one()
    return [(row[0], row[1], row[2]) for row in rows]


def freeze_document(connection: Connection, edition: int, outlet: str, language: str, story: str, raw: bytes) -> int:
    """Store the frozen bytes of one rendition; returns its id."""
    result = connection.execute(
        insert(t.renditions).values(
            edition=edition,
            outlet=outlet,
            language=language,
            story=story,
            document=zlib.compress(raw, 6),
            digest=hashlib.sha256(raw).hexdigest(),
        )
    )
    primary_key = result.inserted_primary_key
    assert primary_key is not None
    return int(primary_key[0])


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
    """By id."""
    return _rendition(connection.execute(select(t.renditions).where(t.renditions.c.id == rendition)).one())


def renditions(connection: Connection, edition: int) -> list[Rendition]:
    """All of an edition."""
    rows = connection.execute(select(t.renditions).where(t.renditions.c.edition == edition).order_by(t.renditions.c.id))
    return [_rendition(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a selection shows of a story: `what` is story, note or correction; `version` tells corrections apart."""

    story: str
    what: str = "story"
    version: str = ""


def freeze_selection(
    connection: Connection, rendition: int, key: str, arrangement: Mapping[str, Any], shown: Iterable[Shown]
) -> int:
    """Store what one set of readers gets; returns its id."""
    result = connection.execute(
        insert(t.selections).values(rendition=rendition, key=key, arrangement=dict(arrangement))
    )
    primary_key = result.inserted_primary_key
    assert primary_key is not None
    selection = int(primary_key[0])
    rows = [{"selection": selection, "story": s.story, "what": s.what, "version": s.version} for s in shown]
    if rows:
        connection.execute(insert(t.selection_stories), rows)
    return selection


def arrangements(connection: Connection, selections: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The arrangement of each selection."""
    rows = connection.execute(
        select(t.selections.c.id, t.selections.c.arrangement).where(t.selections.c.id.in_(list(selections)))
    )
    return {row.id: dict(row.arrangement) for row in rows}


def arrangements_of(connection: Connection, rendition: int) -> dict[int, dict[str, Any]]:
    """Every selection of a rendition with its arrangement."""
    rows = connection.execute(
        select(t.selections.c.id, t.selections.c.arrangement).where(t.selections.c.rendition == rendition)
    )
    return {row.id: dict(row.arrangement) for row in rows}


def newest_rendition(connection: Connection) -> int:
    """Id of the newest rendition, 0 before the first."""
    return connection.execute(select(func.max(t.renditions.c.id))).scalar_one() or 0


def shown_stories(connection: Connection, edition: int) -> set[str]:
    """Every story that some reader of an edition gets, those of earlier editions and corrections included."""
    query = (
        select(t.selection_stories.c.story)
        .join_from(t.selection_stories, t.selections, t.selections.c.id == t.selection_stories.c.selection)
        .join(t.renditions, t.renditions.c.id == t.selections.c.rendition)
        .where(t.renditions.c.edition == edition)
        .distinct()
    )
    return set(connection.execute(query).scalars())


def has_begun(connection: Connection, edition: int) -> bool:
    """Whether anything of an edition was handed over, or may have been."""
    d = t.deliveries.c
    query = (
        select(d.id)
        .join_from(t.deliveries, t.mailings, t.mailings.c.id == d.mailing)
        .where(t.mailings.c.edition == edition, or_(d.attempts > 0, d.state.in_(("leased", "handed", "accepted"))))
        .limit(1)
    )
    return connection.execute(query).first() is not None


def wipe(connection: Connection, edition: int) -> None:
    """Take away what was frozen, to compose it anew. Raises RefusedError if anything of it was handed over."""
    if has_begun(connection, edition):
        raise RefusedError("part of this edition has gone out already: what was frozen of it stays")
    frozen = select(t.renditions.c.id).where(t.renditions.c.edition == edition)
    chosen = select(t.selections.c.id).where(t.selections.c.rendition.in_(frozen))
    mailing = select(t.mailings.c.id).where(t.mailings.c.edition == edition)
    connection.execute(delete(t.deliveries).where(t.deliveries.c.mailing.in_(mailing)))
    connection.execute(delete(t.selection_stories).where(t.selection_stories.c.selection.in_(chosen)))
    connection.execute(delete(t.selections).where(t.selections.c.rendition.in_(frozen)))
    connection.execute(delete(t.renditions).where(t.renditions.c.edition == edition))


def first_edition_of_channel(connection: Connection, schedule: str, channel: str) -> int | None:
    """Id of the first edition of a schedule that had anything for a channel."""
    query = (
        select(func.min(t.mailings.c.edition))
        .join_from(t.mailings, t.deliveries, t.deliveries.c.mailing == t.mailings.c.id)
        .where(t.mailings.c.schedule == schedule, t.deliveries.c.channel == channel)
    )
    return connection.execute(query).scalar_one_or_none()


def take_over(connection: Connection, edition: int, was: str, owner: str) -> bool:
    """Whether `owner` now composes it instead of `was`; of several that try, one does."""
    e = t.editions.c
    done = connection.execute(update(t.editions).where(e.id == edition, e.owner == was).values(owner=owner))
    return bool(done.rowcount == 1)


def owner_of(connection: Connection, edition: int) -> str:
    """Which process composes it."""
    return str(connection.execute(select(t.editions.c.owner).where(t.editions.c.id == edition)).scalar_one())
