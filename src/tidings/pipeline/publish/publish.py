"""Publishing: public/ becomes what readers may see now, file by file, atomically, and only where bytes change."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from weakref import WeakKeyDictionary

from PIL import Image as Picture

import tidings
from tidings.channels.base import Hub
from tidings.config.settings import Newsroom
from tidings.model.delivery import Outcome, Verdict
from tidings.model.item import Media
from tidings.pipeline import notices
from tidings.pipeline.publish.site_files import SiteFile, media_path, plan_site_files
from tidings.render.templates import find_shipped_templates
from tidings.render.urls import FORMATS
from tidings.store.content import site_files, websub
from tidings.store.content.items import items_version, load_items, next_visible_at
from tidings.store.content.site_files import PublishedFile, PublishStamp
from tidings.store.engine import Store

GZIP_ENDINGS = frozenset({".html", ".css", ".rss", ".atom", ".json", ".opml"})
"""Text of ours, which gets a `.gz` beside it."""
NOT_OURS = ("archive/",)
"""Paths in the table of documents that another step writes and removes."""
_SECOND = timedelta(seconds=1)
_MAX_PING_WAIT = timedelta(hours=6)
_PINGS_BEFORE_NOTICE = 6
"""Failed pings in a row before the team gets a notice."""


@dataclass(frozen=True, slots=True)
class PublishResult:
    """Paths below public/ that were written and removed, and how many stood as they should."""

    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0


class EtagCache:
    """What this process rendered from what, so that one new item does not render thousands of others again."""

    def __init__(self, configuration: str) -> None:
        self.configuration = configuration
        self._kept: dict[str, tuple[object, str]] = {}

    def etag(self, one: SiteFile) -> str | None:
        """The ETag that it would have, if that is known without rendering it."""
        if one.media is not None:
            return _etag_of_media(one.media)
        basis, etag = self._kept.get(one.path, (None, None))
        return etag if basis is not None and basis == one.basis else None

    def keep(self, one: SiteFile, etag: str) -> None:
        """Remember it."""
        if one.basis is not None:
            self._kept[one.path] = (one.basis, etag)


_remembered: WeakKeyDictionary[Store, EtagCache] = WeakKeyDictionary()


def publish(store: Store, newsroom: Newsroom, *, now: datetime, force: bool = False) -> PublishResult:
    """Bring public/ up to date. Twice in a row, the second writes nothing; `force` renders even if nothing changed.

    A file is replaced before its row is written: who fetches between the two gets new bytes under the old ETag, and
    asks again; the other order would leave readers with old bytes for good.
    """
    public = newsroom.public
    with publish_lock(public):
        with store.read() as connection:
            known = _ours(site_files.load_files(connection))
            identity = site_files.find_identity(connection)
            stamp = site_files.find_stamp(connection)
            configuration = _key(newsroom)
            current = PublishStamp(f"{configuration}.{items_version(connection)}", next_visible_at(connection, now))
            fresh = stamp is not None and stamp.key == current.key and (stamp.until is None or now < stamp.until)
            if fresh and not force and all(is_intact(public, document) for document in known.values()):
                return PublishResult(unchanged=len(known))
            items = load_items(connection, include_gone=True)
        if identity is None:
            with store.write() as connection:
                identity = site_files.create_identity(connection, now)
        size = _logo_size(newsroom)
        files = plan_site_files(newsroom, items, identity, now, logo_size=size)
        memory = _remembered.get(store)
        if memory is None or force or memory.configuration != configuration:
            memory = _remembered[store] = EtagCache(configuration)
        published, complete = write_files(store, newsroom, known, files, now, memory)
        with store.write() as connection:
            site_files.save_stamp(connection, current if complete else None)
        return published


def write_files(
    store: Store,
    newsroom: Newsroom,
    known: dict[str, PublishedFile],
    wanted: Iterable[SiteFile],
    now: datetime,
    memory: EtagCache,
) -> tuple[PublishResult, bool]:
    """Make files of `known` paths what is wanted, under the lock; returns what was done, and whether all is there."""
    public = newsroom.public
    written: list[str] = []
    changed: list[PublishedFile] = []
    kept: set[str] = set()
    unchanged, complete = 0, True
    try:
        for one in wanted:
            before = known.get(one.path)
            kept.add(one.path)
            if before is not None and before.etag == memory.etag(one) and is_intact(public, before):
                unchanged += 1
                continue
            content = b"" if one.media else one.render()
            etag = _etag_of_media(one.media) if one.media else _etag(content)
            memory.keep(one, etag)
            document = before if before and before.etag == etag else PublishedFile(one.path, etag, _moment(now, before))
            if document is before and is_intact(public, document):
                unchanged += 1
            elif _write(public, document, one, content, newsroom.root):
                written.append(one.path)
                if document is not before:
                    changed.append(document)
            else:
                # The file changed or went since its item was read; the next call looks again.
                complete = False
                kept.discard(one.path)
    finally:
        # Also when a template fails half way: what was written has its new ETag.
        if changed:
            with store.write() as connection:
                site_files.save_files(connection, changed)
    removed = sorted(set(known) - kept)
    for path in removed:
        _remove(public, path)
    if removed:
        with store.write() as connection:
            site_files.delete_files(connection, removed)
    return PublishResult(tuple(sorted(written)), tuple(removed), unchanged), complete


@contextmanager
def publish_lock(public: Path) -> Iterator[None]:
    """One publisher at a time on this machine: an older view must not overwrite a newer one."""
    public.mkdir(parents=True, exist_ok=True)
    with (public / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _ours(known: dict[str, PublishedFile]) -> dict[str, PublishedFile]:
    return {path: document for path, document in known.items() if not path.startswith(NOT_OURS)}


def _key(newsroom: Newsroom) -> str:
    """Everything that pages and feeds are made from beside the items, in one hash."""
    parts = [tidings.__version__, repr((newsroom.site, newsroom.topics, newsroom.feeds, newsroom.logo))]
    for folder in (find_shipped_templates() / "pages", newsroom.root / "templates" / "pages"):
        for path in sorted(folder.glob("*")):
            stat = path.stat()
            parts.append(f"{path} {stat.st_mtime_ns} {stat.st_size}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()


def _etag(content: bytes) -> str:
    """Hash of the bytes and their number, so that a glance at the file tells whether it stands."""
    return f"{hashlib.sha256(content).hexdigest()[:24]}-{len(content):x}"


def _etag_of_media(media: Media) -> str:
    return f"{media.digest}-{media.length:x}"


def _moment(now: datetime, before: PublishedFile | None) -> datetime:
    """Whole seconds, for HTTP knows no others; later than the last one of this path."""
    moment = now.replace(microsecond=0)
    return moment if before is None else max(moment, before.modified + _SECOND)


def is_intact(public: Path, document: PublishedFile) -> bool:
    """Whether the file is there as we wrote it: by size and by the time that we gave it."""
    path = public / document.path
    length = int(document.etag.rpartition("-")[2], 16)
    seconds = int(document.modified.timestamp())
    try:
        stat = path.lstat()
        if stat.st_size != length or stat.st_mtime_ns != seconds * 10**9:
            return False
        if path.suffix in GZIP_ENDINGS and not document.path.startswith("media/"):
            return _beside(path).lstat().st_mtime_ns == seconds * 10**9
    except OSError:
        return False
    return True


def _write(public: Path, document: PublishedFile, one: SiteFile, content: bytes, root: Path) -> bool:
    """Put the file there; False if its source is not what it was."""
    path = public / one.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if one.media is not None:
        return _place(path, document.modified, source=media_path(one.media, root), media=one.media)
    if path.suffix in GZIP_ENDINGS:
        _place(_beside(path), document.modified, content=gzip.compress(content, 9, mtime=0))
    return _place(path, document.modified, content=content)


def _place(
    path: Path, modified: datetime, *, content: bytes = b"", source: Path | None = None, media: Media | None = None
) -> bool:
    temporary = path.with_name(f".{path.name[:80]}.{os.getpid()}.new")
    try:
        if source is not None and media is not None:
            try:
                shutil.copyfile(source, temporary)
            except OSError:
                return False
            with temporary.open("rb") as file:
                if not hashlib.file_digest(file, "sha256").hexdigest().startswith(media.digest):
                    return False
        else:
            temporary.write_bytes(content)
        # A web server that serves public/ takes Last-Modified from here.
        seconds = int(modified.timestamp())
        os.utime(temporary, (seconds, seconds))
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".gz")


def _remove(public: Path, document_path: str) -> None:
    """Take away the file, its `.gz`, and the folders that are empty now."""
    path = public / document_path
    for each in (path, _beside(path)):
        if each.is_symlink() or each.is_file():
            each.unlink()
    for folder in path.parents:
        if folder == public:
            break
        try:
            folder.rmdir()
        except OSError:
            break


def _logo_size(newsroom: Newsroom) -> tuple[int, int] | None:
    if newsroom.logo is None:
        return None
    try:
        with Picture.open(media_path(newsroom.logo, newsroom.root)) as picture:
            return picture.size
    except OSError:
        return None


def ping_hubs(store: Store, hubs: Mapping[str, Hub], *, url: str, now: datetime) -> int:
    """Tell each WebSub hub about changed feeds. Returns the number of successful pings. `url`: the site's.

    Runs apart from `publish`, so that a hub that is down delays nothing. After a failure the hub is left alone until
    the next call, and the feed is tried again later each time.
    """
    pings = 0
    for name, hub in hubs.items():
        with store.read() as connection:
            files = site_files.load_files(connection, "feeds/").values()
            known = websub.load_pings(connection, name)
        for file in sorted(files, key=lambda each: each.path):
            before = known.get(file.path, websub.Ping())
            is_feed = PurePosixPath(file.path).suffix[1:] in FORMATS
            if not is_feed or before.etag == file.etag or (before.due is not None and before.due > now):
                continue
            outcome = hub.ping(f"{url}{file.path}")
            is_accepted = outcome.verdict is Verdict.ACCEPTED
            after = websub.Ping(file.etag) if is_accepted else _retry_later(before, outcome, now)
            with store.write() as connection:
                websub.save_ping(connection, name, file.path, after)
                if after.tries == _PINGS_BEFORE_NOTICE:
                    text = f"The hub {name!r} does not accept news of changed feeds: {outcome.reason}"
                    notices.add(connection, f"ping:{name}:{now.date()}", "failed", text, now)
            if not is_accepted:
                break
            pings += 1
    return pings


def _retry_later(before: websub.Ping, outcome: Outcome, now: datetime) -> websub.Ping:
    wait = min(timedelta(minutes=2 ** min(before.tries, 9)), _MAX_PING_WAIT)
    retry_after = timedelta(seconds=outcome.retry_after or 0)
    return websub.Ping(before.etag, before.tries + 1, now + max(wait, retry_after))
