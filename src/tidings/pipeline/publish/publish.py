"""Publish feeds and pages to public/, and tell hubs about changed feeds."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath

from PIL import Image as Picture
from sqlalchemy import Connection

from tidings.channels.base import Hub
from tidings.config.settings import Newsroom
from tidings.model.delivery import Outcome, Verdict
from tidings.model.file_names import hash_program
from tidings.model.item import MAIL_COPY, Item
from tidings.pipeline import notices
from tidings.pipeline.publish.discovery import find_news_end, plan_discovery
from tidings.pipeline.publish.newest import plan_newest_feeds
from tidings.pipeline.publish.sections import plan_sections
from tidings.pipeline.publish.site_files import SiteFile, make_public_site, media_path, plan_site_files
from tidings.pipeline.publish.writing import PublishResult, is_intact, publish_lock, write_files
from tidings.render.pages.pages import STYLESHEET
from tidings.render.templates import find_shipped_templates
from tidings.render.urls import ALL, FORMATS, feed_path, page_path
from tidings.store.content import site_files, websub
from tidings.store.content.items import add_texts, find_text_lengths, items_version, load_items, next_visible_at
from tidings.store.content.site_files import NewsroomIdentity, PublishedFile, PublishStamp
from tidings.store.engine import Store
from tidings.store.key_values import find_value, set_value

KEPT = ".media"
"""Folder in the newsroom with copies of the files in frozen editions. Backups include it: the originals may change."""
NOT_OURS = ("archive/",)
"""Paths that another step writes and removes (`publish_archive`)."""
_BROKEN = "broken_pictures"
"""The key under which the store keeps the digests of pictures that cannot be copied for mails."""
CHECKED = 2_000
"""Number of files whose presence one call checks if nothing changed. The next call checks the next files."""
_CHECKED = "published_checked"
_MAX_PING_WAIT = timedelta(hours=6)
_PINGS_BEFORE_NOTICE = 6
"""Failed pings in a row before the team gets a notice."""


def publish(
    store: Store,
    newsroom: Newsroom,
    *,
    now: datetime,
    force: bool = False,
    processes: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> PublishResult:
    """Update public/. A second call writes nothing; `force` renders even if nothing changed.

    `processes`: how many forks may render files. `on_progress` gets the number of finished files, and of all: a guess
    at the first call.

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
            find_lengths=partial(find_text_lengths, store),
        )
        ends = [moment for moment in (current.until, find_news_end(site)) if moment is not None]
        current = replace(current, until=min(ends, default=None))
        planned = chain(
            plan_site_files(site),
            plan_sections(site),
            plan_discovery(site),
            (SiteFile(path, partial(_read_kept, newsroom.root, path), is_fixed=True) for path in there),
        )
        expected = len(known) or len(site.visible) * 3 // 2
        result, complete = write_files(
            store,
            newsroom,
            known,
            planned,
            now,
            configuration,
            force=force,
            processes=processes,
            on_progress=lambda done: on_progress(done, expected),
        )
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
