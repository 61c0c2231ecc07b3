"""Fetch, measure and keep copies of a website's pictures. Mails, pages, posts and feeds show them in true size.

This way the website cannot see who opens a mail, and no mail waits for the website. A picture that cannot be fetched
stays a link to the website.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tidings.model.errors import Problem
from tidings.model.item import CachedItem, Media
from tidings.model.text import shorten_slug, slugify
from tidings.net import GuardedSession
from tidings.sources.base import SourceContext, SourceItem
from tidings.sources.body import change_pictures, drop_picture_sources, list_pictures
from tidings.sources.fetch_cache import CacheSnapshot
from tidings.sources.media import PICTURE_TYPES, MediaError, measure_picture_in_child
from tidings.sources.web.polite_fetch import SourceError, fetch_url

FOLDER = ".pictures"
"""Folder in the newsroom, with a subfolder for each source. Backups omit it: pictures can be fetched again."""
MAX_BYTES = 10_000_000
"""Size limit of one picture."""
MAX_OF_ITEM = 20
MAX_AT_ONCE = 40
"""Most pictures to fetch from one source before other sources get their turn."""
MAX_KEPT = 500_000_000
"""Limit in bytes for each source. The pictures of its newest items are kept."""
TRIES = 3
_TIMEOUT = 10.0
_GRACE = 15.0
"""Most seconds for the last picture of a run, even if the server is slow."""
_CLAIM = timedelta(minutes=2)
"""How long one process holds the claim to fetch: longer than a run, but short enough after a crash."""
_PAUSE = timedelta(hours=1)
"""Wait for a busy site that does not say how long to wait."""
_MEND = "correct it on the site; `tidings sources sync` tries again"
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp", "image/avif": "avif"}
_ACCEPT = ", ".join(dict.fromkeys(PICTURE_TYPES.values()))
_MIN_RECHECK = timedelta(days=1)
_YOUNG = timedelta(days=14)
"""An item younger than this may still get another picture at the same address."""

PictureRecord = Mapping[str, Any]
"""The JSON record of one picture. A `digest` means that we have a copy, a `problem` that the fetch failed."""


class PictureCopies:
    """The copies of one source. One thread shows them, another fetches them."""

    def __init__(self, context: SourceContext, *, allow_private: bool) -> None:
        self._root = context.root
        self._folder = context.root / FOLDER / context.name
        self._site = context.url
        self._cache = context.picture_cache
        self._allow_private = allow_private
        self._snapshot = CacheSnapshot(context.picture_cache)
        self._session: GuardedSession | None = None
        self._stopped = False
        self._usable: tuple[Mapping[str, CachedItem], Collection[str], Mapping[str, PictureRecord]] = {}, set(), {}

    # -- showing them -------------------------------------------------------------------------------------------------

    def refresh(self) -> Mapping[str, PictureRecord]:
        """Return the records of existing copies and of failures, by address. A change makes a new mapping."""
        cached = self._snapshot.refresh()
        files = self._list_files()
        if self._usable[0] is not cached or self._usable[1] != files:
            records = {item.data["url"]: item.data for item in cached.values() if not item.gone}
            usable = {
                url: record for url, record in records.items() if "problem" in record or record["digest"] in files
            }
            self._usable = cached, files, usable
        return self._usable[2]

    def show_copies(self, item: SourceItem) -> tuple[SourceItem, list[Problem]]:
        """Replace the item's links to pictures by our copies. Returns a warning for each missing picture."""
        known = self._usable[2]
        records = {url: known[url] for url in picture_urls(item) if url in known} if known else {}
        copies = {url: (self._address(record), record) for url, record in records.items() if "digest" in record}
        problems = [
            Problem(item.ref, 1, 1, f"the picture {url[:200]} stays a link: {record['problem']}", _MEND, "warning")
            for url, record in records.items()
            if "problem" in record
        ]
        if not copies:
            return item, problems

        def has_copy(attributes: Mapping[str, str]) -> bool:
            return attributes.get("src") in copies

        def change(attributes: Mapping[str, str]) -> Mapping[str, str] | None:
            if not has_copy(attributes):
                return None
            src, record = copies[attributes["src"]]
            # Without this, readers would still fetch other sizes from the website.
            kept = {name: value for name, value in attributes.items() if name not in ("srcset", "sizes")}
            size = {"width": str(record["width"]), "height": str(record["height"])}
            return kept | {"src": src} | ({} if kept.get("width") or kept.get("height") else size)

        images = []
        for image in item.images:
            if image.src in copies:
                src, record = copies[image.src]
                image = replace(
                    image,
                    src=src,
                    width=record["width"],
                    height=record["height"],
                    media_type=record["type"],
                    length=record["length"],
                )
            images.append(image)
        return replace(
            item,
            images=tuple(images),
            body=change_pictures(drop_picture_sources(item.body, has_copy), change),
            media=(*item.media, *dict.fromkeys(self._media(record) for _, record in copies.values())),
            original_urls={src: url for url, (src, _) in copies.items()},
        ), problems

    def _address(self, record: PictureRecord) -> str:
        return f"{self._site}media/{record['digest'][:16]}/{record['name']}"

    def _media(self, record: PictureRecord) -> Media:
        path = (self._folder / record["digest"]).relative_to(self._root).as_posix()
        return Media(record["digest"][:16], record["name"], path, record["type"], record["length"])

    # -- fetching them ------------------------------------------------------------------------------------------------

    def fetch(
        self,
        wanted: Mapping[str, datetime],
        now: datetime,
        seconds: float,
        *,
        force: bool = False,
        may_fetch: Callable[[str], bool] = lambda url: True,
    ) -> int:
        """Fetch the pictures that are due and delete the unused ones. Returns the number of new pictures.

        `wanted` has the addresses, newest items first, each with the time when its item was first seen.
        """
        version, state = self._cache.version(), self._cache.state()
        records = self._snapshot.refresh()
        files = self._list_files()
        plan = plan_pictures(wanted, records, files, now, force=force)
        is_resting = not force and _is_before(now, state.get("rest"))
        stray = files - plan.kept
        has_work = plan.unused or stray or (plan.due and not is_resting)
        if _is_before(now, state.get("claimed")) or not has_work:
            return 0
        rest = {"rest": state["rest"]} if is_resting else {}
        if not self._cache.save(version, rest | {"claimed": (now + _CLAIM).isoformat()}):
            return 0
        for digest in stray:
            with suppress(OSError):
                (self._folder / digest).unlink()
        changed = [replace(record, gone=True) for record in plan.unused]
        new = 0
        if not is_resting:
            fetched, wait = self._fetch_due(plan.due[:MAX_AT_ONCE], records, files, now, seconds, may_fetch)
            new = sum(_is_new(item.data, find_record(records, item.data["url"]), files) for item in fetched)
            changed += fetched
            rest = {"rest": (now + wait).isoformat()} if wait else {}
        self._cache.save(version + 1, rest, changed)
        return new

    def abort(self) -> None:
        """End running requests and start no more. Called from another thread."""
        self._stopped = True
        if self._session is not None:
            self._session.abort()

    def _fetch_due(
        self,
        due: list[str],
        records: Mapping[str, CachedItem],
        files: Collection[str],
        now: datetime,
        seconds: float,
        may_fetch: Callable[[str], bool],
    ) -> tuple[list[CachedItem], timedelta | None]:
        """Return the new record of each fetched picture, and how long to wait before the site's next request."""
        end = time.monotonic() + seconds
        self._session = session = GuardedSession(allow_private=self._allow_private, timeout=_TIMEOUT)
        watch = threading.Timer(seconds + _GRACE, session.abort)
        watch.daemon = True
        watch.start()
        fetched: list[CachedItem] = []
        try:
            for url in due:
                if self._stopped or time.monotonic() >= end:
                    break
                before = records.get(picture_ref(url))
                known = {} if before is None or before.gone else dict(before.data)
                if known.get("digest") not in files:
                    known = {name: known[name] for name in ("tries",) if name in known}
                wait = None
                try:
                    if not may_fetch(url):
                        raise SourceError("robots.txt of the site does not allow it to be read")
                    record = self._fetch_one(session, url, known)
                except (SourceError, MediaError) as error:
                    if self._stopped:
                        break  # interrupted by `abort`
                    wait = _wait_for(error)
                    record = _failed_record(known, error)
                except OSError:
                    return fetched, _PAUSE  # the disk is full or not writable; `tidings status` reports that
                copied_at = before.seen if "digest" in known and before is not None else now
                data = {**record, "url": url, "asked": now.isoformat()}
                fetched.append(CachedItem(picture_ref(url), data, copied_at))
                if wait is not None:
                    return fetched, wait
        finally:
            watch.cancel()
            session.close()
            self._session = None
        return fetched, None

    def _fetch_one(self, session: GuardedSession, url: str, known: PictureRecord) -> dict[str, Any]:
        """Fetch one picture and return its record. Raises SourceError, MediaError or OSError."""
        response = fetch_url(session, url, _ACCEPT, known, datetime.now(UTC), MAX_BYTES)
        if response.body is None:
            return dict(known)
        digest = hashlib.sha256(response.body).hexdigest()
        width, height, media_type = measure_picture_in_child(response.body)
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._folder / f"{digest}.{os.getpid()}.new"
        try:
            unfinished.write_bytes(response.body)
            unfinished.replace(self._folder / digest)
        finally:
            unfinished.unlink(missing_ok=True)
        return {
            "digest": digest,
            "name": f"{_file_stem(url)}.{_ENDINGS[media_type]}",
            "type": media_type,
            "length": len(response.body),
            "width": width,
            "height": height,
            **response.validators,
        }

    def _list_files(self) -> set[str]:
        try:
            with os.scandir(self._folder) as listing:
                return {entry.name for entry in listing if entry.is_file(follow_symlinks=False)}
        except OSError:
            return set()


@dataclass(slots=True)
class PicturePlan:
    """Addresses to fetch, digests of copies to keep, and records that no item uses any more."""

    due: list[str]
    kept: set[str]
    unused: list[CachedItem]


def plan_pictures(
    wanted: Mapping[str, datetime],
    records: Mapping[str, CachedItem],
    files: Collection[str],
    now: datetime,
    *,
    force: bool,
) -> PicturePlan:
    """Plan the work. `wanted` begins with the newest items, so their pictures are kept first. `files` exist."""
    unused = [record for record in records.values() if not record.gone and record.data["url"] not in wanted]
    plan = PicturePlan([], set(), unused)
    room = MAX_KEPT
    for url, item_seen in wanted.items():
        record = find_record(records, url)
        if record.get("digest") not in plan.kept:
            room -= record.get("length", 0)
        if room < 0:
            break
        if "digest" in record:
            plan.kept.add(record["digest"])
        if not record or _is_due(record, records[picture_ref(url)].seen, files, item_seen, now, force=force):
            plan.due.append(url)
    return plan


def _is_due(
    record: PictureRecord,
    copied_at: datetime,
    files: Collection[str],
    item_seen: datetime,
    now: datetime,
    *,
    force: bool,
) -> bool:
    """Whether to fetch a known picture. An existing copy is checked less and less often, and finally never."""
    asked = datetime.fromisoformat(record["asked"])
    if "problem" in record:
        tries = record["tries"]
        return force or (tries < TRIES and now - asked >= timedelta(hours=1) * 24 ** (tries - 1))
    is_recheck = now - item_seen < _YOUNG and now - asked >= max(_MIN_RECHECK, asked - copied_at)
    return record["digest"] not in files or is_recheck


def find_record(records: Mapping[str, CachedItem], url: str) -> PictureRecord:
    """Return the record of a picture, empty if there is none."""
    record = records.get(picture_ref(url))
    return {} if record is None or record.gone else record.data


def picture_ref(url: str) -> str:
    """Hash an address, because it may be longer than a database index allows."""
    return hashlib.sha256(url.encode()).hexdigest()


def picture_urls(item: SourceItem) -> tuple[str, ...]:
    """Return the web addresses of an item's pictures: first its own pictures, then those in its body."""
    named = (image.src for image in item.images)
    urls = dict.fromkeys((*named, *(attributes.get("src", "") for attributes in list_pictures(item.body))))
    return tuple(islice((url for url in urls if url.startswith(("http:", "https:"))), MAX_OF_ITEM))


def remove_other_folders(root: Path, names: Collection[str]) -> None:
    """Delete the copies of sources that no longer exist. `names` are the existing sources."""
    for path in (root / FOLDER).glob("*"):
        if path.name not in names and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def _failed_record(known: PictureRecord, error: SourceError | MediaError) -> dict[str, Any]:
    """Keep an existing copy, unless the site says that the picture is gone."""
    gone = isinstance(error, SourceError) and error.gone
    if "digest" in known and not gone:
        return dict(known)
    return {"problem": str(error), "tries": TRIES if gone else known.get("tries", 0) + 1}


def _wait_for(error: SourceError | MediaError) -> timedelta | None:
    if isinstance(error, SourceError) and (error.wait or error.status in (429, 503)):
        return error.wait or _PAUSE
    return None


def _is_new(record: PictureRecord, before: PictureRecord, files: Collection[str]) -> bool:
    return "digest" in record and (record["digest"] != before.get("digest") or record["digest"] not in files)


def _is_before(now: datetime, moment: str | None) -> bool:
    return moment is not None and now < datetime.fromisoformat(moment)


def _file_stem(url: str) -> str:
    """Return the name under which readers save the picture."""
    last = unquote(urlsplit(url).path.rpartition("/")[2])
    stem, dot, _ = last.rpartition(".")
    return shorten_slug(slugify(stem if dot else last))
