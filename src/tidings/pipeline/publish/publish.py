"""Publish feeds and pages to public/: file by file, atomically, and only where bytes changed."""

from __future__ import annotations

import errno
import fcntl
import getpass
import gzip
import hashlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image as Picture
from sqlalchemy import Connection

from tidings.channels.base import Hub
from tidings.config.settings import Newsroom
from tidings.model.delivery import Outcome, Verdict
from tidings.model.file_names import hash_program
from tidings.model.item import MAIL_COPY, Item, Media
from tidings.pipeline import notices
from tidings.pipeline.publish.discovery import find_news_end, plan_discovery
from tidings.pipeline.publish.newest import plan_newest_feeds
from tidings.pipeline.publish.sections import plan_sections
from tidings.pipeline.publish.site_files import SiteFile, make_public_site, media_path, plan_site_files
from tidings.render.pages.pages import STYLESHEET
from tidings.render.templates import find_shipped_templates
from tidings.render.urls import ALL, FORMATS, feed_path, page_path
from tidings.store.content import site_files, websub
from tidings.store.content.items import add_texts, items_version, load_items, load_text_lengths, next_visible_at
from tidings.store.content.site_files import NewsroomIdentity, PublishedFile, PublishStamp
from tidings.store.engine import Store, lock_file
from tidings.store.key_values import find_value, set_value

GZIP_ENDINGS = frozenset({".html", ".css", ".js", ".rss", ".atom", ".json", ".opml", ".xml", ".txt", ".ics"})
"""Text files that get a `.gz` file beside them."""
_GZIPPED = tuple(GZIP_ENDINGS)
KEPT = ".media"
"""Folder in the newsroom with copies of the files in frozen editions. Backups include it: the originals may change."""
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644
"""Permissions that let a web server of another user serve public/."""
NOT_OURS = ("archive/",)
"""Paths that another step writes and removes (`publish_archive`)."""
_BROKEN = "broken_pictures"
"""The key under which the store keeps the digests of pictures that cannot be copied for mails."""
CHECKED = 2_000
"""Number of files whose presence one call checks if nothing changed. The next call checks the next files."""
_CHECKED = "published_checked"
SAVED = 500
"""Number of rows of written files to save in one transaction."""
_SECOND = timedelta(seconds=1)
_MAX_PING_WAIT = timedelta(hours=6)
_PINGS_BEFORE_NOTICE = 6
"""Failed pings in a row before the team gets a notice."""


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The written and removed paths below public/, and the number of unchanged files."""

    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0
    failed: tuple[str, ...] = ()
    """Files that could not be written or removed: path, reason, owner and remedy. All other files were written."""


def hash_basis(configuration: str, basis: object) -> str:
    """Return a hash of the inputs of a file's bytes, or '' if they are unknown."""
    if basis is None:
        return ""
    parts = [configuration]
    _describe(basis, parts)
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


def _describe(value: object, parts: list[str]) -> None:
    """Append a text that is the same for equal values in every process. Items are identified by id and version."""
    kind: Any = type(value)
    if isinstance(value, str):
        parts.append(f"{len(value)} {value}")
    elif isinstance(value, Item):
        parts.append(f"{value.id} {value.version}")
    elif isinstance(value, (tuple, list)):
        parts.append(f"{len(value)}:")
        for each in value:
            _describe(each, parts)
    elif isinstance(value, Mapping):
        parts.append(f"{len(value)}=")
        for key, each in sorted(value.items()):
            parts.append(str(key))
            _describe(each, parts)
    elif names := _field_names(kind):
        parts.append(kind.__name__)
        for name in names:
            _describe(getattr(value, name), parts)
    else:
        parts.append(repr(value))


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind)) if is_dataclass(kind) else ()


def publish(store: Store, newsroom: Newsroom, *, now: datetime, force: bool = False) -> PublishResult:
    """Update public/. A second call writes nothing; `force` renders even if nothing changed.

    A file is replaced before its row is written. A client that fetches it in between gets new bytes with the old ETag,
    and fetches it again. In the other order clients would keep old bytes forever.
    """
    public = newsroom.public
    after, unchanged, is_idle = "", 0, False
    with publish_lock(public):
        with store.read() as connection:
            identity = site_files.find_identity(connection)
            stamp = site_files.find_stamp(connection)
            configuration = _key(newsroom)
            noted = site_files.kept_media(connection)
            # Mails that were sent show the logo even after it was changed.
            logo = {f"media/{newsroom.logo.digest}/{newsroom.logo.name}"} if newsroom.logo else set()
            kept = noted | logo
            broken = (find_value(connection, _BROKEN) or "").split()
            inputs = f"{configuration}.{items_version(connection)}.{_hash(sorted(kept))}"
            current = PublishStamp(inputs, next_visible_at(connection, now))
            fresh = stamp is not None and stamp.key == current.key and (stamp.until is None or now < stamp.until)
            if fresh and not force:
                after, some = _choose_checked(connection, newsroom)
                if all(is_intact(public, published) for published in some):
                    unchanged = site_files.count_files(connection)
                    is_idle = True
        if is_idle:
            if unchanged > CHECKED:
                with store.write() as connection:
                    set_value(connection, _CHECKED, after)
            return PublishResult(unchanged=unchanged)
        logo_size = _logo_size(newsroom)
        first = frozenset[str]()
        if stamp is not None and identity is not None and stamp.key.startswith(f"{configuration}.") and not force:
            first = _write_newest(store, newsroom, identity, stamp, now, configuration, logo_size)
        with store.read() as connection:
            files = site_files.load_files(connection)
            known = {path: file for path, file in files.items() if not path.startswith(NOT_OURS)}
            items = load_items(connection, include_gone=True, texts=False)
            lengths = load_text_lengths(connection)
        if identity is None:
            with store.write() as connection:
                identity = site_files.create_identity(connection, now)
        if not logo <= noted:
            with store.write() as connection:
                site_files.keep_media(connection, 0, logo)
        kept -= _withdrawn_media(items)
        there = [path for path in sorted(kept) if _is_kept(newsroom, path, known.get(path))]
        site = make_public_site(
            newsroom,
            items,
            identity,
            now,
            logo_size=logo_size,
            broken_pictures=broken,
            add_texts=partial(add_texts, store),
            lengths=lengths,
        )
        ends = [moment for moment in (current.until, find_news_end(site)) if moment is not None]
        current = replace(current, until=min(ends, default=None))
        planned = chain(
            plan_site_files(site),
            plan_sections(site),
            plan_discovery(site),
            (SiteFile(path, partial(_read_kept, newsroom.root, path), is_fixed=True) for path in there),
        )
        result, complete = write_files(store, newsroom, known, planned, now, configuration, force=force)
        _copy_kept(newsroom, kept)
        broken_now = site.broken_pictures & {each.digest for item in site.visible for each in item.media}
        with store.write() as connection:
            site_files.save_stamp(connection, current if complete else None)
            if broken_now != set(broken):
                set_value(connection, _BROKEN, " ".join(sorted(broken_now)))
        again = first - set(result.written)
        return replace(
            result, written=tuple(sorted({*result.written, *first})), unchanged=result.unchanged - len(again)
        )


def _write_newest(
    store: Store,
    newsroom: Newsroom,
    identity: NewsroomIdentity,
    stamp: PublishStamp,
    now: datetime,
    configuration: str,
    logo_size: tuple[int, int] | None,
) -> frozenset[str]:
    """Write the feeds with changed items, before all items are read. Returns the written paths."""
    # An item that is published because its time has come has no new version.
    is_due = stamp.until is not None and stamp.until <= now
    since = None if is_due else int(stamp.key.split(".")[1])
    with store.read() as connection:
        planned = plan_newest_feeds(connection, newsroom, identity, now, since, logo_size)
        found = {file.path: site_files.find_file(connection, file.path) for file in planned}
    known = {path: file for path, file in found.items() if file is not None}
    result, _ = write_files(store, newsroom, known, planned, now, configuration)
    return frozenset(result.written)


def write_files(
    store: Store,
    newsroom: Newsroom,
    known: dict[str, PublishedFile],
    wanted: Iterable[SiteFile],
    now: datetime,
    configuration: str,
    *,
    force: bool = False,
) -> tuple[PublishResult, bool]:
    """Write the wanted files and remove all other `known` files. The caller holds the lock.

    A file is not rendered if it exists and if its basis and the configuration are unchanged. Returns the result, and
    whether it is complete.
    """
    public = newsroom.public
    written: list[str] = []
    changed: list[PublishedFile] = []
    kept: set[str] = set()
    failed: list[str] = []
    unchanged, complete = 0, True
    try:
        for file in wanted:
            before = known.get(file.path)
            if file.path in kept:
                continue
            kept.add(file.path)
            if file.is_fixed and before is not None and is_intact(public, before):
                unchanged += 1
                continue
            basis = hash_basis(configuration, file.basis)
            if file.media is not None:
                is_same = before is not None and before.etag == _etag_of_media(file.media)
            else:
                is_same = before is not None and before.basis == basis != "" and not force
            if before is not None and is_same and is_intact(public, before):
                unchanged += 1
                continue
            content = b"" if file.media else file.render()
            if content == b"" and file.is_fixed:
                # These bytes can never be converted.
                kept.discard(file.path)
                continue
            if content is None:
                # A picture could not be converted just now. The next call tries again.
                complete = False
                kept.discard(file.path)
                continue
            etag = _etag_of_media(file.media) if file.media else _etag(content)
            modified = before.modified if before and before.etag == etag else _moment(now, before)
            published = PublishedFile(file.path, etag, modified, basis)
            if before and before.etag == etag and is_intact(public, published):
                unchanged += 1
                if published != before:
                    changed.append(published)
            elif is_written := _try_write(public, published, file, content, newsroom.root, failed):
                written.append(file.path)
                if published != before:
                    changed.append(published)
            elif is_written is None:
                # The old file stays. The next call tries again.
                complete = False
            else:
                # The media file changed or vanished after its item was read. The next call tries again.
                complete = False
                kept.discard(file.path)
            if len(changed) >= SAVED:
                with store.write() as connection:
                    site_files.save_files(connection, changed)
                changed = []
    finally:
        # This also runs after an error in a template: the files written so far have new ETags.
        if changed:
            with store.write() as connection:
                site_files.save_files(connection, changed)
    removed = sorted(set(known) - kept)
    for path in list(removed):
        try:
            _remove(public, path)
        except OSError as error:
            failed.append(describe_unwritable(public / path, error, public))
            removed.remove(path)
            complete = False
    if removed:
        with store.write() as connection:
            site_files.delete_files(connection, removed)
    return PublishResult(tuple(sorted(written)), tuple(removed), unchanged, tuple(failed)), complete


@contextmanager
def publish_lock(public: Path) -> Iterator[None]:
    """Allow one publisher at a time on this machine, so that an older state never overwrites a newer one."""
    _make_folder(public)
    descriptor = os.open(public / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), 0o600)  # another user who can open the file could hold the lock
        lock_file(file.fileno(), fcntl.LOCK_EX)
        yield


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents in public/, readable for a web server regardless of the umask."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(_FOLDER_MODE)


def _choose_checked(connection: Connection, newsroom: Newsroom) -> tuple[str, list[PublishedFile]]:
    """Return the files to check when nothing changed: the next part of all files, and the most requested ones.

    Also returns the last path of that part.
    """
    after = find_value(connection, _CHECKED) or ""
    some = site_files.load_some_files(connection, after, CHECKED)
    if len(some) < CHECKED and after:
        some += site_files.load_some_files(connection, "", CHECKED - len(some))
    last = some[-1].path if some else ""
    paths = ["index.html", "404.html", STYLESHEET]
    for language in newsroom.site.languages:
        paths += [page_path(language) + "index.html", *(feed_path(language, ALL, ending) for ending in FORMATS)]
    shared = (site_files.find_file(connection, path) for path in paths)
    return last, [*some, *(file for file in shared if file is not None)]


def _key(newsroom: Newsroom) -> str:
    """Return a hash of all inputs of pages and feeds except the items."""
    # These settings decide about hubs, and about links to forms and archives.
    lists = [(name, settings.public, repr(settings.name)) for name, settings in newsroom.lists.items()]
    hubs = [getattr(settings, "url", "") for settings in newsroom.channels.values() if not settings.POSTS]
    parts = [
        hash_program("model", "render", "pipeline/publish"),
        repr((newsroom.site, newsroom.topics, newsroom.feeds, newsroom.logo)),
        repr((lists, hubs, bool(newsroom.mail))),
    ]
    for folder in (find_shipped_templates() / "pages", newsroom.root / "templates" / "pages"):
        for path in sorted(folder.glob("*")):
            stat = path.stat()
            parts.append(f"{path} {stat.st_mtime_ns} {stat.st_size}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()


def _hash(paths: Collection[str]) -> str:
    return hashlib.sha256("\n".join(paths).encode("utf-8", "replace")).hexdigest()[:16]


def _withdrawn_media(items: Collection[Item]) -> set[str]:
    """Return the files that only withdrawn stories show. They are removed everywhere."""
    by_state: dict[bool, set[str]] = {True: set(), False: set()}
    for item in items:
        for each in item.media:
            path = f"media/{each.digest}/{each.name}"
            by_state[bool(item.withdrawn)] |= {path, path + MAIL_COPY}
    return by_state[True] - by_state[False]


def _is_kept(newsroom: Newsroom, path: str, published: PublishedFile | None) -> bool:
    is_published = published is not None and is_intact(newsroom.public, published)
    return is_published or (newsroom.root / KEPT / path.removeprefix("media/")).is_file()


def _read_kept(root: Path, path: str) -> bytes | None:
    try:
        return (root / KEPT / path.removeprefix("media/")).read_bytes()
    except OSError:
        return None


def _copy_kept(newsroom: Newsroom, kept: Collection[str]) -> None:
    """Copy the files that frozen editions show to a folder outside public/, and remove other copies."""
    folder = newsroom.root / KEPT
    wanted = {folder / path.removeprefix("media/"): newsroom.public / path for path in kept}
    for copy, public in wanted.items():
        if copy.exists() or not public.is_file():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        unfinished = copy.with_name(f".{copy.name[:80]}.{os.getpid()}.new")
        try:
            shutil.copyfile(public, unfinished)
            unfinished.replace(copy)
        finally:
            unfinished.unlink(missing_ok=True)
    for digest in folder.iterdir() if folder.is_dir() else ():
        for copy in digest.iterdir() if digest.is_dir() and not digest.is_symlink() else ():
            if copy not in wanted:
                copy.unlink(missing_ok=True)
        with suppress(OSError):
            digest.rmdir()


def _etag(content: bytes) -> str:
    """Return a hash of the bytes with their length, because the length alone often shows that a file is damaged."""
    return f"{hashlib.sha256(content).hexdigest()[:24]}-{len(content):x}"


def _etag_of_media(media: Media) -> str:
    return f"{media.digest}-{media.length:x}"


def _moment(now: datetime, before: PublishedFile | None) -> datetime:
    """Return a time that is later than the last version of this path, in whole seconds as in HTTP."""
    moment = now.replace(microsecond=0)
    return moment if before is None else max(moment, before.modified + _SECOND)


def is_intact(public: Path, published: PublishedFile) -> bool:
    """Whether size and modification time of the file are still as we wrote them."""
    path = f"{public}/{published.path}"
    length = int(published.etag.rpartition("-")[2], 16)
    moment = int(published.modified.timestamp()) * 10**9
    try:
        status = os.lstat(path)
        if status.st_size != length or status.st_mtime_ns != moment:
            return False
        if path.endswith(_GZIPPED) and not published.path.startswith("media/"):
            return os.lstat(f"{path}.gz").st_mtime_ns == moment
    except OSError:
        return False
    return True


def _try_write(
    public: Path, published: PublishedFile, file: SiteFile, content: bytes, root: Path, failed: list[str]
) -> bool | None:
    """Write a file. If the disk or the permissions do not allow it, returns None and adds the reason to `failed`."""
    try:
        return _write(public, published, file, content, root)
    except OSError as error:
        failed.append(describe_unwritable(public / file.path, error, public))
        return None


def describe_unwritable(path: Path, error: OSError, public: Path) -> str:
    """Describe a path that cannot be written: the reason, the owner, and the remedy."""
    place = next((each for each in (path, *path.parents) if each.exists() or each == each.parent), path)
    try:
        owner = place.owner()
    except (KeyError, OSError):
        owner = "somebody unknown"
    user = getpass.getuser()
    reason = error.strerror or str(error)
    text = f"{path} cannot be written: {reason}"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"{text}. Free some space on this disk"
        case errno.EROFS:
            return f"{text}. Mount this disk so that {user} may write"
        case errno.EACCES | errno.EPERM:
            return f"{text}. {place} belongs to {owner}. Run: sudo chown -R {user} {public}"
    return f"{text}. {place} belongs to {owner}"


def _write(public: Path, published: PublishedFile, file: SiteFile, content: bytes, root: Path) -> bool:
    """Write a file. Returns False if the media file to copy has changed."""
    path = public / file.path
    _make_folder(path.parent)
    if file.media is not None:
        return _place(path, published.modified, source=media_path(file.media, root), media=file.media)
    if path.suffix in GZIP_ENDINGS:
        _place(_beside(path), published.modified, content=gzip.compress(content, 9, mtime=0))
    return _place(path, published.modified, content=content)


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
        temporary.chmod(_FILE_MODE)
        # A web server that serves public/ takes Last-Modified from this time.
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
    """Remove a file, its `.gz`, and folders that are now empty."""
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
    """Notify each WebSub hub of changed feeds. Returns the number of successful pings. `url`: the address of the site.

    Runs apart from `publish`, so that a broken hub delays nothing. After a failure the hub gets no more pings in this
    call, and the wait for the feed grows with each failure.
    """
    pings = 0
    for name, hub in hubs.items():
        with store.read() as connection:
            files = site_files.load_files(connection, "feeds/").values()
            known = websub.load_pings(connection, name)
        for file in sorted(files, key=lambda each: each.path):
            before = known.get(file.path, websub.Ping())
            # Feeds of sections name no hub, because there are too many of them.
            is_feed = PurePosixPath(file.path).suffix[1:] in FORMATS and file.path.count("/") == 2
            if not is_feed or before.etag == file.etag or (before.due is not None and before.due > now):
                continue
            outcome = hub.ping(f"{url}{file.path}")
            is_accepted = outcome.verdict is Verdict.ACCEPTED
            after = websub.Ping(file.etag) if is_accepted else _retry_later(before, outcome, now)
            with store.write() as connection:
                websub.save_ping(connection, name, file.path, after)
                if after.tries == _PINGS_BEFORE_NOTICE:
                    text = f"The hub {name!r} does not accept pings about changed feeds: {outcome.reason}"
                    notices.add(connection, f"ping:{name}:{now.date()}", "failed", text, now)
            if not is_accepted:
                break
            pings += 1
    return pings


def _retry_later(before: websub.Ping, outcome: Outcome, now: datetime) -> websub.Ping:
    wait = min(timedelta(minutes=2 ** min(before.tries, 9)), _MAX_PING_WAIT)
    retry_after = timedelta(seconds=outcome.retry_after or 0)
    return websub.Ping(before.etag, before.tries + 1, now + max(wait, retry_after))
