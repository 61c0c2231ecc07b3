"""The files in public/ with ETag and last change, the identity of the newsroom, and the state of publishing."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from urllib.parse import unquote

from sqlalchemy import Connection, Table, delete, exists, func, select, update

from tidings.store import schema as t
from tidings.store.engine import Store, insert_once, split_chunks
from tidings.store.key_values import delete_value, find_value, set_value

_MEDIA = re.compile(r"/(media/[0-9a-f]{16}/[^\s\"'<>()\\/?#&]{1,255})")
_IDENTITY = "newsroom_identity"
_PUBLISHED = "published"
_COPY_TARGET = "copy_target"
_FILE = tuple(t.published_files.c[name] for name in ("path", "etag", "modified", "basis"))


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file below public/. `etag` is without quotes; `modified` is in whole seconds."""

    path: str
    etag: str
    modified: datetime
    basis: str = ""
    """A hash of what the bytes depend on, '' if unknown: while it stays, the file need not be rendered."""


@dataclass(frozen=True, slots=True)
class NewsroomIdentity:
    """Created once for a newsroom: the root of the ids of its feeds, which never change."""

    id: uuid.UUID
    since: datetime


@dataclass(frozen=True, slots=True)
class PublishStamp:
    """The inputs of the last publishing, and when public/ becomes out of date without a change (None: never)."""

    key: str
    until: datetime | None


def load_files(connection: Connection, below: str = "") -> dict[str, PublishedFile]:
    """All files by path, or those below one path."""
    query = select(*_FILE)
    rows = connection.execute(
        query.where(t.published_files.c.path.startswith(below, autoescape=True)) if below else query
    )
    return {row.path: PublishedFile(*row) for row in rows}


def load_some_files(connection: Connection, after: str, most: int) -> list[PublishedFile]:
    """Return some files, outside of the archive, in order of paths: the next ones after a path."""
    p = t.published_files.c.path
    is_archive = p.startswith("archive/", autoescape=True)
    query = select(*_FILE).where(p > after, ~is_archive).order_by(p).limit(most)
    return [PublishedFile(*row) for row in connection.execute(query)]


def count_files(connection: Connection) -> int:
    """Count the files outside of the archive."""
    p = t.published_files.c.path
    query = select(func.count()).select_from(t.published_files).where(~p.startswith("archive/", autoescape=True))
    return connection.scalar(query) or 0


def forget_publishing(connection: Connection) -> None:
    """Have every file rendered again."""
    connection.execute(update(t.published_files).values(basis=""))
    save_stamp(connection, None)


def find_file(connection: Connection, path: str) -> PublishedFile | None:
    row = connection.execute(select(*_FILE).where(t.published_files.c.path == path)).first()
    return None if row is None else PublishedFile(*row)


def save_files(connection: Connection, documents: Sequence[PublishedFile]) -> None:
    """Insert or replace files."""
    delete_files(connection, [document.path for document in documents])
    if documents:
        rows = [asdict(each) for each in documents]
        connection.execute(insert_once(connection, t.published_files), rows)


def delete_files(connection: Connection, paths: Collection[str]) -> None:
    """Delete files that are no longer in public/."""
    _delete_paths(connection, t.published_files, paths)


def _delete_paths(connection: Connection, table: Table, paths: Collection[str]) -> None:
    for some in split_chunks(paths):
        connection.execute(delete(table).where(table.c.path.in_(some)))


def prepare_copies(store: Store, target: str) -> tuple[list[PublishedFile], list[str]]:
    """Return the files whose version is not in the bucket, and the paths in the bucket without a file.

    `target` is the address of the bucket: of another one than before, nothing is known.
    """
    c, p = t.copied_files.c, t.published_files.c
    with store.read() as connection:
        is_known = find_value(connection, _COPY_TARGET) == target
    if not is_known:
        with store.write() as connection:
            connection.execute(delete(t.copied_files))
            set_value(connection, _COPY_TARGET, target)
    has_version = exists().where(c.path == p.path, c.etag == p.etag)
    is_file = exists().where(p.path == c.path)
    with store.read() as connection:
        changed = [PublishedFile(*row) for row in connection.execute(select(*_FILE).where(~has_version))]
        gone = list(connection.execute(select(c.path).where(~is_file).order_by(c.path)).scalars())
    return changed, gone


def save_copies(connection: Connection, files: Sequence[PublishedFile]) -> None:
    """Note that these versions are in the bucket."""
    delete_copies(connection, [file.path for file in files])
    if files:
        rows = [{"path": file.path, "etag": file.etag} for file in files]
        connection.execute(insert_once(connection, t.copied_files), rows)


def delete_copies(connection: Connection, paths: Collection[str]) -> None:
    """Note that these paths are no longer in the bucket."""
    _delete_paths(connection, t.copied_files, paths)


def forget_copies(connection: Connection) -> None:
    """Have every file copied again. Files that are gone are still removed from the bucket."""
    connection.execute(update(t.copied_files).values(etag=""))


def find_media(raw: bytes) -> set[str]:
    """Find the paths of our media files in frozen bytes."""
    return {unquote(path) for path in _MEDIA.findall(raw.decode("utf-8", "replace"))}


def keep_media(connection: Connection, edition: int, paths: Collection[str]) -> None:
    """Note that an edition shows these files of public/. 0 is for the logo, which all mails show."""
    if paths:
        rows = [{"edition": edition, "path": path} for path in sorted(paths)]
        connection.execute(insert_once(connection, t.edition_media), rows)


def kept_media(connection: Connection) -> frozenset[str]:
    """Return the paths of all files that frozen editions show."""
    return frozenset(connection.execute(select(t.edition_media.c.path).distinct()).scalars())


def is_page_withdrawn(connection: Connection, language: str, slug: str) -> bool:
    """Whether the item of this page was withdrawn."""
    query = select(t.items.c.withdrawn).where(t.items.c.language == language, t.items.c.slug == slug)
    return bool(connection.scalar(query.where(t.items.c.gone_at.is_(None))))


def find_identity(connection: Connection) -> NewsroomIdentity | None:
    """Return the identity, or None before it was created."""
    value = find_value(connection, _IDENTITY)
    if value is None:
        return None
    minted, _, since = value.partition(" ")
    return NewsroomIdentity(uuid.UUID(minted), datetime.fromisoformat(since))


def create_identity(connection: Connection, now: datetime) -> NewsroomIdentity:
    """Return the identity of the newsroom; create it if there is none. Needs a write transaction."""
    known = find_identity(connection)
    if known is None:
        known = NewsroomIdentity(uuid.uuid4(), now.replace(microsecond=0))
        value = f"{known.id} {known.since.isoformat()}"
        connection.execute(insert_once(connection, t.facts).values(name=_IDENTITY, value=value))
        # Of two processes on a fresh store, the first one wins.
        known = find_identity(connection) or known
    return known


def find_stamp(connection: Connection) -> PublishStamp | None:
    """Return the stamp of the last publishing, or None before the first."""
    value = find_value(connection, _PUBLISHED)
    if value is None:
        return None
    key, _, until = value.partition(" ")
    return PublishStamp(key, datetime.fromisoformat(until) if until else None)


def save_stamp(connection: Connection, stamp: PublishStamp | None) -> None:
    """Save the stamp of the last publishing; None if publishing is not complete."""
    if stamp is None:
        delete_value(connection, _PUBLISHED)
    else:
        set_value(connection, _PUBLISHED, f"{stamp.key} {stamp.until.isoformat() if stamp.until else ''}")
