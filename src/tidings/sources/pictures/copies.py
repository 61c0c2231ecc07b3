"""Pictures of a website, measured and kept: mails, pages, posts and feeds show ours, in their true size.

Nobody who opens a mail is seen by the website then, and no mail waits for it. What cannot be had stays a link.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tidings.model.errors import Problem
from tidings.model.item import CachedItem, Image, Media
from tidings.model.text import shorten_slug, slugify
from tidings.net import GuardedSession
from tidings.sources.base import SourceContext, SourceItem
from tidings.sources.body_pictures import change_pictures, drop_picture_sources, list_pictures
from tidings.sources.fetch_cache import CacheSnapshot
from tidings.sources.media import PICTURE_TYPES, MediaError, measure_picture_in_child
from tidings.sources.pictures.selection import TRIES, PictureRecord, find_record, picture_ref, plan_pictures
from tidings.sources.web.polite_fetch import SourceError, fetch_url

FOLDER = ".pictures"
"""In the newsroom, with a folder for each source; can be had again, so no backup has it."""
MAX_BYTES = 10_000_000
"""Of one picture."""
MAX_OF_ITEM = 20
MAX_AT_ONCE = 40
"""Pictures of one source that are asked for before others get their turn."""
_TIMEOUT = 10.0
_GRACE = 15.0
"""Seconds that the last one of a turn may still take, whatever the other side does."""
_CLAIM = timedelta(minutes=2)
"""Longer than a turn takes: of two processes one asks, and one that died is waited for no longer."""
_PAUSE = timedelta(hours=1)
"""For a site that is busy, if it does not say how long."""
_MEND = "mend it on the site; tidings sources sync tries again"
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}
_ACCEPT = ", ".join(PICTURE_TYPES.values())


class PictureCopies:
    """Those of one source. Looked at in one thread and brought in another."""

    def __init__(self, context: SourceContext, *, allow_private: bool) -> None:
        self._root = context.root
        self._folder = context.root / FOLDER / context.name
        self._site = context.url
        self._shelf = context.picture_cache
        self._allow_private = allow_private
        self._view = CacheSnapshot(context.picture_cache)
        self._session: GuardedSession | None = None
        self._stopped = False
        self._looked: tuple[Mapping[str, CachedItem], Collection[str], Mapping[str, PictureRecord]] = {}, set(), {}

    # -- showing them -------------------------------------------------------------------------------------------------

    def look(self) -> Mapping[str, PictureRecord]:
        """What is known of each, by address; another mapping whenever something changed."""
        entries = self._view.refresh()
        there = self._there()
        if self._looked[0] is not entries or self._looked[1] != there:
            known = {one.data["url"]: one.data for one in entries.values() if not one.gone}
            here = {url: one for url, one in known.items() if "problem" in one or one["digest"] in there}
            self._looked = entries, there, here
        return self._looked[2]

    def placed(self, found: SourceItem) -> tuple[SourceItem, list[Problem]]:
        """The item with our copies in the place of links, as far as they are here; and which of them cannot be had."""
        known = self._looked[2]
        mine = {url: known[url] for url in picture_urls(found) if url in known} if known else {}
        ours = {url: (self._address(one), one) for url, one in mine.items() if "digest" in one}
        problems = [
            Problem(found.ref, 1, 1, f"the picture {url[:200]} stays a link: {one['problem']}", _MEND, "warning")
            for url, one in mine.items()
            if "problem" in one
        ]
        if not ours:
            return found, problems

        def is_ours(attributes: Mapping[str, str]) -> bool:
            return attributes.get("src") in ours

        def change(attributes: Mapping[str, str]) -> Mapping[str, str] | None:
            if not is_ours(attributes):
                return None
            src, one = ours[attributes["src"]]
            # Its other sizes would still be fetched from the website.
            kept = {name: value for name, value in attributes.items() if name not in ("srcset", "sizes")}
            size = {"width": str(one["width"]), "height": str(one["height"])}
            return kept | {"src": src} | ({} if kept.get("width") or kept.get("height") else size)

        return replace(
            found,
            images=tuple(_with(image, *ours[image.src]) if image.src in ours else image for image in found.images),
            body=change_pictures(drop_picture_sources(found.body, is_ours), change),
            media=(*found.media, *dict.fromkeys(self._media(one) for _, one in ours.values())),
            original_urls={src: url for url, (src, _) in ours.items()},
        ), problems

    def _address(self, one: PictureRecord) -> str:
        return f"{self._site}media/{one['digest'][:16]}/{one['name']}"

    def _media(self, one: PictureRecord) -> Media:
        path = (self._folder / one["digest"]).relative_to(self._root).as_posix()
        return Media(one["digest"][:16], one["name"], path, one["type"], one["length"])

    # -- bringing them ------------------------------------------------------------------------------------------------

    def bring(
        self,
        wanted: Mapping[str, datetime],
        now: datetime,
        seconds: float,
        *,
        force: bool = False,
        allowed: Callable[[str], bool] = lambda url: True,
    ) -> int:
        """Ask for those of `wanted` that are due, and take away what is not wanted any more; how many came.

        `wanted` has each address, those of the newest items first, with when that item was first met.
        """
        version, state = self._shelf.version(), self._shelf.state()
        entries = self._view.refresh()
        there = self._there()
        turn = plan_pictures(wanted, entries, there, now, force=force)
        rests = not force and _is_before(now, state.get("rest"))
        stray = there - turn.stay
        if _is_before(now, state.get("claimed")) or not (turn.unused or stray or (turn.due and not rests)):
            return 0
        rest = {"rest": state["rest"]} if rests else {}
        if not self._shelf.save(version, rest | {"claimed": (now + _CLAIM).isoformat()}):
            return 0
        for digest in stray:
            with suppress(OSError):
                (self._folder / digest).unlink()
        changed = [replace(entry, gone=True) for entry in turn.unused]
        came = 0
        if not rests:
            brought, wait = self._ask(turn.due[:MAX_AT_ONCE], entries, there, now, seconds, allowed)
            came = sum(_is_news(one.data, find_record(entries, one.data["url"]), there) for one in brought)
            changed += brought
            rest = {"rest": (now + wait).isoformat()} if wait else {}
        self._shelf.save(version + 1, rest, changed)
        return came

    def abort(self) -> None:
        """From another thread: end what is on the wire, and begin nothing more."""
        self._stopped = True
        if self._session is not None:
            self._session.abort()

    def _ask(
        self,
        due: list[str],
        entries: Mapping[str, CachedItem],
        there: Collection[str],
        now: datetime,
        seconds: float,
        allowed: Callable[[str], bool],
    ) -> tuple[list[CachedItem], timedelta | None]:
        """What is known of each that was asked for; and how long the site is to be left in peace, if it is."""
        end = time.monotonic() + seconds
        self._session = session = GuardedSession(allow_private=self._allow_private, timeout=_TIMEOUT)
        watch = threading.Timer(seconds + _GRACE, session.abort)
        watch.daemon = True
        watch.start()
        found: list[CachedItem] = []
        try:
            for url in due:
                if self._stopped or time.monotonic() >= end:
                    break
                before = entries.get(picture_ref(url))
                known = {} if before is None or before.gone else dict(before.data)
                if known.get("digest") not in there:
                    known = {name: known[name] for name in ("tries",) if name in known}
                wait = None
                try:
                    if not allowed(url):
                        raise SourceError("robots.txt of the site does not allow it to be read")
                    one = self._one(session, url, known)
                except (SourceError, MediaError) as error:
                    if self._stopped:
                        break  # it was cut off by us
                    wait = _wait(error)
                    one = _failed(known, error)
                except OSError:
                    return found, _PAUSE  # the disk is full or refuses us, which `status` says in its own words
                since = before.seen if "digest" in known and before is not None else now
                found.append(CachedItem(picture_ref(url), {**one, "url": url, "asked": now.isoformat()}, since))
                if wait is not None:
                    return found, wait
        finally:
            watch.cancel()
            session.close()
            self._session = None
        return found, None

    def _one(self, session: GuardedSession, url: str, known: PictureRecord) -> dict[str, Any]:
        """Raises SourceError, MediaError, OSError."""
        reply = fetch_url(session, url, _ACCEPT, known, datetime.now(UTC), MAX_BYTES)
        if reply.body is None:
            return dict(known)
        digest = hashlib.sha256(reply.body).hexdigest()
        width, height, media_type = measure_picture_in_child(reply.body)
        self._folder.mkdir(parents=True, exist_ok=True)
        coming = self._folder / f"{digest}.{os.getpid()}.new"
        try:
            coming.write_bytes(reply.body)
            coming.replace(self._folder / digest)
        finally:
            coming.unlink(missing_ok=True)
        said = {"etag": reply.headers.get("etag"), "modified": reply.headers.get("last-modified")}
        return {
            "digest": digest,
            "name": f"{_stem(url)}.{_ENDINGS[media_type]}",
            "type": media_type,
            "length": len(reply.body),
            "width": width,
            "height": height,
            **{name: value for name, value in said.items() if value},
        }

    def _there(self) -> set[str]:
        """Names of the files that are kept."""
        try:
            with os.scandir(self._folder) as listing:
                return {entry.name for entry in listing if entry.is_file(follow_symlinks=False)}
        except OSError:
            return set()


def picture_urls(found: SourceItem) -> tuple[str, ...]:
    """Of an item's pictures on the web, those that it names before those of its body."""
    wanted = dict.fromkeys(
        (*(image.src for image in found.images), *(one.get("src", "") for one in list_pictures(found.body)))
    )
    return tuple(islice((url for url in wanted if url.startswith(("http:", "https:"))), MAX_OF_ITEM))


def remove_other_folders(root: Path, names: Collection[str]) -> None:
    """Take away what was kept for sources that are none of these."""
    for path in (root / FOLDER).glob("*"):
        if path.name not in names and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def _with(image: Image, src: str, one: PictureRecord) -> Image:
    width, height = one["width"], one["height"]
    return replace(image, src=src, width=width, height=height, media_type=one["type"], length=one["length"])


def _failed(known: PictureRecord, error: SourceError | MediaError) -> dict[str, Any]:
    """The one that is here is better than none, unless the site says that there is none any more."""
    gone = isinstance(error, SourceError) and error.gone
    if "digest" in known and not gone:
        return dict(known)
    return {"problem": str(error), "tries": TRIES if gone else known.get("tries", 0) + 1}


def _wait(error: SourceError | MediaError) -> timedelta | None:
    if isinstance(error, SourceError) and (error.wait or error.status in (429, 503)):
        return error.wait or _PAUSE
    return None


def _is_news(known: PictureRecord, before: PictureRecord, there: Collection[str]) -> bool:
    return "digest" in known and (known["digest"] != before.get("digest") or known["digest"] not in there)


def _is_before(now: datetime, moment: str | None) -> bool:
    return moment is not None and now < datetime.fromisoformat(moment)


def _stem(url: str) -> str:
    """The name that readers save it by."""
    last = unquote(urlsplit(url).path.rpartition("/")[2])
    stem, dot, _ = last.rpartition(".")
    return shorten_slug(slugify(stem if dot else last))
