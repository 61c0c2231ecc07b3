"""Hubs told of the feeds that changed (WebSub), apart from `publish`: a hub that is down delays nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from tidings.channels.base import Hub
from tidings.model.delivery import Outcome, Verdict
from tidings.pipeline import notices
from tidings.render.urls import FORMATS
from tidings.store.content import websub
from tidings.store.content.site_files import load_files
from tidings.store.engine import Store

_LONGEST = timedelta(hours=6)
_PATIENCE = 6
"""Pings in a row that fail before a person is told."""


def ping_hubs(store: Store, hubs: Mapping[str, Hub], *, url: str, now: datetime) -> int:
    """Tell each hub of each feed whose bytes it was not told of; returns how many it heard of. `url` is the site's.

    What fails is tried again later each time. A hub that fails once is left alone until the next call.
    """
    told = 0
    for name, hub in hubs.items():
        with store.read() as connection:
            feeds = {path: one.etag for path, one in load_files(connection, "feeds/").items() if _is_feed(path)}
            known = websub.load_pings(connection, name)
        for path, etag in sorted(feeds.items()):
            before = known.get(path, websub.Ping())
            if before.etag == etag or (before.due is not None and before.due > now):
                continue
            outcome = hub.ping(f"{url}{path}")
            good = outcome.verdict is Verdict.ACCEPTED
            after = websub.Ping(etag) if good else _later(before, outcome, now)
            with store.write() as connection:
                websub.save_ping(connection, name, path, after)
                if after.tries == _PATIENCE:
                    text = f"The hub {name!r} cannot be told of changed feeds: {outcome.reason}"
                    notices.add(connection, f"ping:{name}:{now.date()}", "failed", text, now)
            if not good:
                break
            told += 1
    return told


def _is_feed(path: str) -> bool:
    return PurePosixPath(path).suffix[1:] in FORMATS


def _later(before: websub.Ping, outcome: Outcome, now: datetime) -> websub.Ping:
    asked = timedelta(seconds=outcome.retry_after or 0)
    wait = min(timedelta(minutes=2 ** min(before.tries, 9)), _LONGEST)
    return websub.Ping(before.etag, before.tries + 1, now + max(wait, asked))
