"""Which of the items that a website tells today is which of those it told before.

Ids that should never change do: by a move to https, a new system, tracking parameters, or because they were made of the
title. So an item is known again by any of its marks: its id, its address, or its title and day together.
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
"""Those of them that can be nothing else: whoever comes by a mail of ours did not come by the site's feed."""
_SPELT = 8
"""Characters of a title below which it says too little to know an item by."""


@dataclass(frozen=True, slots=True)
class IdentityKeys:
    """By what one item is known."""

    key: str
    """The id that its website gives it; empty where it gives none."""
    link: str
    """Its address as `plain_link` writes it; empty where it has none."""
    title: str
    day: str
    """Of publication, as 2026-03-04; empty where nobody says."""

    @property
    def named(self) -> str:
        """Language apart, title and day; empty where they say too little."""
        return f"{self.day} {self.title}" if self.day and len(self.title) >= _SPELT else ""


def identity_keys(key: str, url: str, title: str, published: datetime | None) -> IdentityKeys:
    """Of an item as it is told."""
    link = normalise_link(url)
    # An id that is an address is compared as one: http becomes https, parameters come and go.
    key = normalise_link(key) if re.match(r"https?://", key) else key.strip()
    return IdentityKeys(
        key, link, " ".join(title.split()).casefold(), published.date().isoformat() if published else ""
    )


def normalise_link(url: str) -> str:
    """An address without what may change though the page is the same: scheme, www, tracking, fragment, last slash."""
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
    """The address without the parameters that only count readers; all else stays letter by letter."""
    head, hash_, fragment = url.partition("#")
    page, _, query = head.partition("?")
    kept = [one for one in query.split("&") if not _COUNTING.fullmatch(one.partition("=")[0])]
    if len(kept) == len(query.split("&")):
        return url
    return page + ("?" + "&".join(kept) if kept else "") + hash_ + fragment


def match_items(told: Sequence[IdentityKeys], known: Mapping[str, Iterable[IdentityKeys]]) -> list[str | None]:
    """For each item told the ref of the known one that it is, or None. `known` are all marks that each ever had.

    A mark that two items of one telling share says nothing: some sites give every item the address of their front page.
    Each known item is found at most once.
    """
    found: list[str | None] = [None] * len(told)
    taken: set[str] = set()
    for mark in ("key", "link", "named"):
        counts = Counter(getattr(one, mark) for one in told)
        refs: dict[str, set[str]] = {}
        for ref, former in known.items():
            for each in former:
                refs.setdefault(getattr(each, mark), set()).add(ref)
        for number, one in enumerate(told):
            value = getattr(one, mark)
            if found[number] is not None or not value or counts[value] > 1:
                continue
            holders = refs.get(value, set()) - taken
            if len(holders) == 1:
                [ref] = holders
                found[number] = ref
                taken.add(ref)
    return found
