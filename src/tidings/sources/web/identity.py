"""Match items of a website with known items.

Ids change although they should not: after a move to https, with a new system, by tracking parameters, or with the
title. So any of three keys identifies an item: its id, its URL, or its title together with its day.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

_TRACKING = re.compile(
    r"utm_\w+|fbclid|gclid|dclid|msclkid|yclid|mc_(cid|eid)|igshid|_openstat|at_(medium|campaign)|cmpid|ref_src"
)
_COUNTING = re.compile(r"utm_\w+|fbclid|gclid", re.IGNORECASE)
"""Tracking parameters, which would be wrong in our mails: a reader who follows our link does not come from the feed."""
_MIN_TITLE = 8
"""Least characters of a title that can identify an item."""


@dataclass(frozen=True, slots=True)
class IdentityKeys:
    """The keys that identify one item. Each may be empty."""

    key: str
    """The id of the item on its website."""
    link: str
    """The address, normalised by `normalise_link`."""
    title: str
    day: str
    """The day of publication, as 2026-03-04."""

    @property
    def titled_day(self) -> str:
        """Day and title, the same in every language version; empty if they cannot identify an item."""
        return f"{self.day} {self.title}" if self.day and len(self.title) >= _MIN_TITLE else ""


def identity_keys(key: str, url: str, title: str, published: datetime | None) -> IdentityKeys:
    """Make the keys of an item."""
    # An id that is a URL is normalised like a URL, because http becomes https and parameters change.
    key = normalise_link(key) if re.match(r"https?://", key) else key.strip()
    day = published.date().isoformat() if published else ""
    return IdentityKeys(key, normalise_link(url), " ".join(title.split()).casefold(), day)


def normalise_link(url: str) -> str:
    """Remove parts that may change although the page stays the same: scheme, www, tracking, fragment, last slash."""
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "").removeprefix("www.")
        port = f":{parts.port}" if parts.port not in (None, 80, 443) else ""
    except ValueError:
        return url.strip()
    if not host:
        return ""
    query = urlencode(sorted((k, v) for k, v in parse_qsl(parts.query, True) if not _TRACKING.fullmatch(k.lower())))
    return f"{host}{port}{unquote(parts.path).rstrip('/')}" + (f"?{query}" if query else "")


def strip_tracking(url: str) -> str:
    """Remove only tracking parameters."""
    head, hash_, fragment = url.partition("#")
    page, _, query = head.partition("?")
    pairs = query.split("&")
    kept = [pair for pair in pairs if not _COUNTING.fullmatch(pair.partition("=")[0])]
    if len(kept) == len(pairs):
        return url
    return page + ("?" + "&".join(kept) if kept else "") + hash_ + fragment


def match_items(items: Sequence[IdentityKeys], known: Mapping[str, Iterable[IdentityKeys]]) -> list[str | None]:
    """Return for each item the ref of the same known item, or None. `known` has all keys that each item ever had.

    A key that two items share is ignored: some sites give every item the address of their front page. Each known
    item is matched at most once.
    """
    matches: list[str | None] = [None] * len(items)
    taken: set[str] = set()
    for field in ("key", "link", "titled_day"):
        counts = Counter(getattr(item, field) for item in items)
        refs: dict[str, set[str]] = {}
        for ref, former in known.items():
            for keys in former:
                refs.setdefault(getattr(keys, field), set()).add(ref)
        for number, item in enumerate(items):
            value = getattr(item, field)
            if matches[number] is not None or not value or counts[value] > 1:
                continue
            candidates = refs.get(value, set()) - taken
            if len(candidates) == 1:
                [ref] = candidates
                matches[number] = ref
                taken.add(ref)
    return matches
