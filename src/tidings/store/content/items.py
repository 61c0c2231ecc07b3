"""Items: conversion between rows and `Item`, and the data with which `collect` decides."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from functools import lru_cache
from itertools import count
from operator import itemgetter
from sys import intern
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from tidings.model.item import NOTE, Attachment, Contact, Image, Item, Media
from tidings.store import schema as t
from tidings.store.engine import Store, run_sql, split_chunks
from tidings.store.key_values import find_value

VERSION = "items_version"
"""The key of the counter of changes to items. A decision at an older count must be made again."""
_PAGE = 60
"""Items that are read at a time where only the first ones are needed."""


@dataclass(frozen=True, slots=True)
class KnownItem:
    """A stored item without its text: enough to recognise it and to decide what changed."""

    id: str
    source: str
    ref: str
    story: str
    language: str
    slug: str
    title: str
    url: str
    fingerprint: str
    published: datetime
    first_seen: datetime
    changed: datetime
    ready_at: datetime | None
    out_at: datetime | None
    updated: datetime | None
    embargo: datetime | None
    corrected_at: datetime | None
    gone_at: datetime | None
    missing_since: datetime | None
    draft: bool
    correction: str
    withdrawn: str


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """Content that could not be read, and why."""

    source: str
    ref: str
    problem: str
    since: datetime


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A row to write: the item, and the fields that only the store keeps."""

    item: Item
    ready_at: datetime | None
    fingerprint: str
    backlog: bool = False
    """The story existed before the first sweep: existing schedules count it as sent."""


_KNOWN_COLUMNS = [t.items.c[name] for name in KnownItem.__slots__]


def load_known(connection: Connection) -> list[KnownItem]:
    """Every item, also gone ones, ordered by id."""
    return [KnownItem(*row) for row in connection.execute(select(*_KNOWN_COLUMNS).order_by(t.items.c.id))]


def find_known(
    connection: Connection,
    *,
    sources: Collection[str] = (),
    refs: Collection[str] = (),
    ids: Collection[str] = (),
    fingerprints: Collection[str] = (),
    stories: Collection[str] = (),
    published: Collection[datetime] = (),
    missing: bool = False,
    without_file: bool = False,
    since: int | None = None,
) -> dict[str, KnownItem]:
    """Return the items, also gone ones, that fit one of these, by id.

    `refs` are those of `sources`. `missing`: those of `sources` that were missing in one sweep. `without_file`: those
    of `sources` whose place is no known file. `since`: those that changed after this version of the items.
    """
    i = t.items.c
    found: dict[str, KnownItem] = {}
    wheres: list[Any] = []
    for column, values in ((i.id, ids), (i.fingerprint, fingerprints), (i.story, stories), (i.published, published)):
        wheres += [column.in_(some) for some in split_chunks(values)]
    wheres += [and_(i.source.in_(list(sources)), i.ref.in_(some)) for some in split_chunks(refs)]
    if missing:
        wheres.append(and_(i.source.in_(list(sources)), i.gone_at.is_(None), i.missing_since.is_not(None)))
    if without_file:
        f = t.source_files.c
        file = select(f.ref).where(f.source == i.source, f.ref == i.ref)
        wheres.append(and_(i.source.in_(list(sources)), i.gone_at.is_(None), ~file.exists()))
    if since is not None:
        wheres.append(i.version > since)
    for where in wheres:
        found |= {row.id: KnownItem(*row) for row in connection.execute(select(*_KNOWN_COLUMNS).where(where))}
    return found


def count_present(connection: Connection, source: str) -> int:
    """Count the items of a source that are not gone."""
    i = t.items.c
    query = select(func.count()).select_from(t.items).where(i.source == source, i.gone_at.is_(None))
    return connection.scalar(query) or 0


def has_missing(connection: Connection, source: str) -> bool:
    """Whether items of a source were missing in one sweep and are not gone yet."""
    i = t.items.c
    query = select(i.id).where(i.source == source, i.gone_at.is_(None), i.missing_since.is_not(None)).limit(1)
    return connection.execute(query).first() is not None


def list_sources(connection: Connection) -> set[str]:
    """Return the names of the sources that have items."""
    return set(connection.execute(select(t.items.c.source).where(t.items.c.gone_at.is_(None)).distinct()).scalars())


class StoredKeys:
    """Which slugs, feed dates and stories the stored items use, asked one by one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def has_slug(self, language: str, slug: str) -> bool:
        return self._exists("language = :language AND slug = :slug", language=language, slug=slug)

    def has_date(self, language: str, changed: datetime) -> bool:
        """Whether a stored item in this language has the feed date."""
        moment = t.to_microseconds(changed)
        return self._exists("language = :language AND changed = :changed", language=language, changed=moment)

    def has_story(self, story: str) -> bool:
        """Whether a stored item belongs to the story."""
        return self._exists("story = :story", story=story)

    def _exists(self, where: str, **values: str | int) -> bool:
        return bool(run_sql(self._connection, f"SELECT 1 FROM items WHERE {where} LIMIT 1", values))  # noqa: S608


def load_items(
    connection: Connection,
    *,
    language: str | None = None,
    ids: Collection[str] | None = None,
    stories: Collection[str] | None = None,
    include_gone: bool = False,
    texts: bool = True,
) -> list[Item]:
    """Items, newest feed date first, with drafts and withdrawn ones. Empty `ids` or `stories` mean none.

    Without `texts`, `summary`, `body` and `ref` are empty: with them, all items of a newsroom take too much memory.
    """
    columns = (column if texts or column.name not in _TEXTS else literal("").label(column.name) for column in t.items.c)
    query = select(*columns).order_by(t.items.c.changed.desc(), t.items.c.id)
    if language is not None:
        query = query.where(t.items.c.language == language)
    if ids is not None:
        query = query.where(t.items.c.id.in_(list(ids)))
    if stories is not None:
        query = query.where(t.items.c.story.in_(list(stories)))
    if not include_gone:
        query = query.where(t.items.c.gone_at.is_(None))
    return [_item(row) for row in connection.execute(query)]


def add_texts(store: Store, items: Sequence[Item]) -> list[Item]:
    """Return items that were loaded without their texts, with them. An item that vanished meanwhile has none."""
    i = t.items.c
    texts: dict[str, tuple[str, str]] = {}
    with store.read() as connection:
        for some in split_chunks(item.id for item in items):
            rows = connection.execute(select(i.id, i.summary, i.body).where(i.id.in_(some)))
            texts |= {row.id: (row.summary, row.body) for row in rows}
    whole = []
    for item in items:
        summary, body = texts.get(item.id, ("", ""))
        whole.append(replace(item, summary=summary, body=body))
    return whole


def find_text_lengths(store: Store, items: Sequence[Item]) -> dict[str, tuple[int, int]]:
    """Return the number of characters of summary and body of each of these items, by id."""
    i = t.items.c
    lengths: dict[str, tuple[int, int]] = {}
    with store.read() as connection:
        for some in split_chunks(item.id for item in items):
            rows = connection.execute(select(i.id, func.length(i.summary), func.length(i.body)).where(i.id.in_(some)))
            lengths |= {row[0]: (row[1], row[2]) for row in rows}
    return lengths


def find_changed_languages(connection: Connection, since: int) -> set[str]:
    """Return the languages of all stories with an item that changed after this version of the items."""
    i, other = t.items.c, t.items.alias("other").c
    changed = select(other.story).where(other.version > since)
    return set(connection.execute(select(i.language).where(i.story.in_(changed)).distinct()).scalars())


def read_newest(connection: Connection, language: str, now: datetime) -> Iterator[Item]:
    """Yield the items of a language that are out, in the order of feeds."""
    i = t.items.c
    is_out = (i.published <= now, or_(i.embargo.is_(None), i.embargo <= now), i.withdrawn == "", i.gone_at.is_(None))
    query = _in_language(language).where(*is_out)
    return _read_pages(connection, query.order_by(i.published.desc(), i.changed.desc(), i.id.desc()))


def read_changed(connection: Connection, language: str) -> Iterator[Item]:
    """Yield the items of a language that are not gone, by their last significant change, the latest first."""
    query = _in_language(language).where(t.items.c.gone_at.is_(None))
    return _read_pages(connection, query.order_by(t.items.c.changed.desc(), t.items.c.id))


def read_gone(connection: Connection, language: str) -> Iterator[Item]:
    """Yield the items of a language that are gone and were out before, the latest first."""
    i = t.items.c
    query = _in_language(language).where(i.gone_at.is_not(None), i.out_at <= i.gone_at)
    return _read_pages(connection, query.order_by(i.gone_at.desc(), i.id))


def _in_language(language: str) -> Select[Any]:
    """Select the items of a language that are neither drafts nor notes."""
    i = t.items.c
    return select(t.items).where(i.language == language, i.draft.is_(False), i.kind != NOTE)


def _read_pages(connection: Connection, query: Select[Any]) -> Iterator[Item]:
    """Read items page by page, so that a caller that needs only the first ones does not load the others."""
    for offset in count(0, _PAGE):
        rows = connection.execute(query.offset(offset).limit(_PAGE)).all()
        yield from map(_item, rows)
        if len(rows) < _PAGE:
            return


def existing_refs(connection: Connection, source: str, refs: Collection[str]) -> frozenset[str]:
    """Return the refs among `refs` whose items in the source are not gone."""
    i = t.items.c
    present = connection.execute(select(i.ref).where(i.source == source, i.gone_at.is_(None))).scalars()
    return frozenset(present) & frozenset(refs)


def load_story(connection: Connection, story: str) -> list[Item]:
    """The item and its translations, by language, without gone ones."""
    return sorted(load_items(connection, stories=[story]), key=lambda item: item.language)


def find_embargoes(connection: Connection, after: datetime) -> dict[str, datetime]:
    """Return when the embargo of each story ends, for those that end after a moment."""
    i = t.items.c
    query = (
        select(i.story, func.min(i.embargo))
        .where(i.gone_at.is_(None), i.embargo > after, i.draft.is_(False), i.withdrawn == "")
        .group_by(i.story)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def next_visible_at(connection: Connection, now: datetime) -> datetime | None:
    """The next time at which an item becomes visible because a date or an embargo passes, or None."""
    rows = connection.execute(
        select(t.items.c.published, t.items.c.embargo).where(
            t.items.c.gone_at.is_(None),
            t.items.c.draft.is_(False),
            t.items.c.withdrawn == "",
            or_(t.items.c.published > now, t.items.c.embargo > now),
        )
    )
    return min((max(row.published, row.embargo or row.published) for row in rows), default=None)


def items_version(connection: Connection) -> int:
    """The version of all items, which grows with each change of `collect`."""
    return int(find_value(connection, VERSION) or 0)


def advance_version(connection: Connection, seen: int) -> bool:
    """Increase the version of items if it still is `seen`. False if another process changed items since.

    PostgreSQL locks the row, so only one of two processes with the same decision writes.
    """
    done = connection.execute(
        update(t.facts).where(t.facts.c.name == VERSION, t.facts.c.value == str(seen)).values(value=str(seen + 1))
    )
    if done.rowcount == 1:
        return True
    if seen:
        return False
    try:
        with connection.begin_nested():
            connection.execute(insert(t.facts).values(name=VERSION, value="1"))
    except IntegrityError:
        return False
    return True


def insert_items(connection: Connection, rows: Sequence[ItemRow]) -> None:
    """Insert new items."""
    if rows:
        version = items_version(connection)
        connection.execute(insert(t.items), [_row(row, version) for row in rows])


def rewrite_items(connection: Connection, rows: Sequence[tuple[str, ItemRow]]) -> None:
    """Update items, each by its previous id. `missing_since` is cleared."""
    if not rows:
        return
    names = [column.name for column in t.items.columns]
    new: dict[str, Any] = {name: bindparam(f"b_{name}") for name in names}
    statement = update(t.items).where(t.items.c.id == bindparam("had")).values(new)
    former = _media_of(connection, [had for had, row in rows if row.item.withdrawn and not row.item.media])
    version = items_version(connection)
    values = []
    for had, row in rows:
        new_row = _row(row, version)
        # Publishing takes down the files of withdrawn items, also those that their source does not name any more.
        new_row["details"]["media"] = new_row["details"]["media"] or former.get(had, [])
        values.append({f"b_{name}": value for name, value in new_row.items()} | {"had": had})
    connection.execute(statement, values)


def _media_of(connection: Connection, ids: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the stored media of items, by id."""
    if not ids:
        return {}
    rows = connection.execute(select(t.items.c.id, t.items.c.details).where(t.items.c.id.in_(list(ids))))
    return {row.id: _details(row)["media"] for row in rows}


def park_items(connection: Connection, ids: Iterable[str]) -> None:
    """Give items unique refs and stories temporarily, before `rewrite_items` exchanges them."""
    rows = [{"had": item_id, "parked": f"\x1fmoving:{item_id}"} for item_id in ids]
    if rows:
        place: BindParameter[str] = bindparam("parked")
        statement = (
            update(t.items)
            .where(t.items.c.id == bindparam("had"))
            .values(ref=place, story=place, version=items_version(connection))
        )
        connection.execute(statement, rows)


def release_refs(connection: Connection, ids: Iterable[str]) -> None:
    """Give items a ref that no file has, because another item now uses their ref."""
    rows = [{"had": item_id, "away": f"\x1fgone:{item_id}"} for item_id in ids]
    if rows:
        values = {"ref": bindparam("away"), "version": items_version(connection)}
        connection.execute(update(t.items).where(t.items.c.id == bindparam("had")).values(values), rows)


def mark_missing(connection: Connection, ids: Iterable[str], now: datetime) -> None:
    """Mark items as missing in one sweep."""
    _set(connection, ids, {"missing_since": now})


def mark_gone(connection: Connection, ids: Iterable[str], now: datetime) -> None:
    """Mark items as gone: out of feeds and new editions."""
    _set(connection, ids, {"gone_at": now, "missing_since": None})


def mark_back(connection: Connection, ids: Iterable[str]) -> None:
    """Mark items as present again."""
    _set(connection, ids, {"gone_at": None, "missing_since": None})


def load_refused(connection: Connection) -> list[RefusedItem]:
    """Everything that could not be read, by source and ref."""
    rows = connection.execute(select(t.set_aside).order_by(t.set_aside.c.source, t.set_aside.c.ref))
    return [RefusedItem(row.source, row.ref, row.problem, row.since) for row in rows]


def save_refused(connection: Connection, aside: RefusedItem, *, again: bool) -> None:
    """Insert unreadable content, or update its problem if it is known (`again`); `since` stays."""
    if again:
        where = (t.set_aside.c.source == aside.source, t.set_aside.c.ref == aside.ref)
        connection.execute(update(t.set_aside).where(*where).values(problem=aside.problem))
    else:
        connection.execute(insert(t.set_aside).values(**asdict(aside)))


def delete_refused(connection: Connection, source: str, ref: str) -> None:
    """Delete the record of content that is readable again, or gone."""
    connection.execute(delete(t.set_aside).where(t.set_aside.c.source == source, t.set_aside.c.ref == ref))


def count_items(connection: Connection) -> int:
    """Items that are not gone."""
    return connection.scalar(select(func.count()).select_from(t.items).where(t.items.c.gone_at.is_(None))) or 0


def _set(connection: Connection, ids: Iterable[str], values: dict[str, Any]) -> None:
    values = values | {"version": items_version(connection)}
    for some in split_chunks(ids):
        connection.execute(update(t.items).where(t.items.c.id.in_(some)).values(values))


_DETAILS = {column.name for column in fields(Item)} - {column.name for column in t.items.columns}
_PLAIN = [column.name for column in fields(Item) if column.name not in _DETAILS]
_TEXTS = ("summary", "body", "ref")
_REPEATED = ("language", "kind", "source")
"""Thousands of items have the same of these texts, and the same names in their details."""
_NOTHING: dict[str, str] = {}
_read_plain = itemgetter(*(t.items.columns.keys().index(name) for name in _PLAIN))
"""Reads columns by position: by name takes several times as long."""


def _row(stored: ItemRow, version: int) -> dict[str, Any]:
    item = stored.item
    details = {
        "place": item.place,
        "topics": list(item.topics),
        "organisations": list(item.organisations),
        "authors": list(item.authors),
        "images": [asdict(image) for image in item.images],
        "attachments": [asdict(attachment) for attachment in item.attachments],
        "media": [asdict(media) for media in item.media],
        "contacts": [asdict(contact) for contact in item.contacts],
        "lead": item.lead,
        "not_in": list(item.not_in),
        "post": dict(item.post),
        "extra": dict(item.extra),
    }
    row = {name: getattr(item, name) for name in _PLAIN}
    return row | {
        "details": details,
        "ready_at": stored.ready_at,
        "fingerprint": stored.fingerprint,
        "missing_since": None,
        "version": version,
    }


def _details(row: Any) -> dict[str, Any]:
    details: dict[str, Any] = row.details if isinstance(row.details, dict) else json.loads(row.details)
    return details


def _item(row: Row[Any]) -> Item:
    """Make an item of a row of `select(t.items)`."""
    details = _details(row)
    plain = dict(zip(_PLAIN, _read_plain(row), strict=True))
    for name in _REPEATED:
        plain[name] = intern(plain[name])
    for first, second in (("published", "changed"), ("first_seen", "out_at"), ("story", "slug")):
        if plain[first] == plain[second]:
            plain[second] = plain[first]
    return Item(
        **plain,
        place=details["place"],
        topics=_share(details["topics"]),
        organisations=_share(details["organisations"]),
        authors=_share(details["authors"]),
        images=tuple(Image(**image) for image in details["images"]),
        attachments=tuple(Attachment(**attachment) for attachment in details["attachments"]),
        media=tuple(Media(**media) for media in details["media"]),
        contacts=tuple(Contact(**contact) for contact in details.get("contacts", ())),
        lead=details["lead"],
        not_in=tuple(details["not_in"]),
        post=details["post"] or _NOTHING,
        extra=details["extra"] or _NOTHING,
    )


@lru_cache(maxsize=4_096)
def _share_tuple(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(intern, names))


def _share(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple, mostly the same one for equal names."""
    return _share_tuple(tuple(names))


class StoredStories:
    """The story index of the newsroom (`sources.base.StoryIndex`), read again only if an item has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: tuple[int, tuple[tuple[str, str, str, str], ...]] | None = None

    def rows(self) -> tuple[tuple[str, str, str, str], ...]:
        """Source, ref, URL and story key of every item, also gone ones."""
        i = t.items.c
        with self._store.read() as connection:
            version = items_version(connection)
            if self._read is None or self._read[0] != version:
                rows = connection.execute(select(i.source, i.ref, i.url, i.story).order_by(i.id))
                self._read = version, tuple((row.source, row.ref, row.url, row.story) for row in rows)
            return self._read[1]
