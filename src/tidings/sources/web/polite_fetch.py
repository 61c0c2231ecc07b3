"""Request pages politely: only changes, as rarely as the site asks, by its robots.txt, and never in a private network.

This module follows redirects itself. Each request uses the guarded session, which refuses a private address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

from protego import Protego

from tidings.net import ConnectionLostError, GuardedSession, HttpResponse, NotSentError, parse_retry_after
from tidings.sources.links import encode_url

AGENT = "Tidings (newsroom outbox; reads feeds at most as often as they allow)"
MAX_BODY = 15_000_000
"""Limit in bytes, as in other feed readers."""
_HOPS = 5
_MENDS = {
    401: ": it asks for a password, but Tidings reads only public pages",
    403: ": it refuses all readers, or only Tidings",
    404: ": there is nothing at this address",
}
_DAY = timedelta(days=1)
_WEEK = 7 * 86_400.0
"""In seconds: the longest wait that a website can request."""
_TOKEN = AGENT.partition(" ")[0]
# Sites write `User-agent: Tidings/2.0`. A product token has no version (RFC 9309 §2.2.1); Protego compares it whole.
_VERSIONED_AGENT = re.compile(r"^([ \t]*user-agent[ \t]*:[ \t]*[a-z_-]+)/[^\s#]*", re.IGNORECASE | re.MULTILINE)


class SourceError(Exception):
    """The reason why a website could not be read.

    `wait`: how long the site asked us to wait. `gone`: the address is gone for good. `status`: the HTTP status, None if
    no response came.
    """

    def __init__(
        self, message: str, *, wait: timedelta | None = None, gone: bool = False, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.wait = wait
        self.gone = gone
        self.status = status


@dataclass(frozen=True, slots=True)
class Response:
    """A website's response. `body` is None if nothing changed. `moved` is the address for future requests."""

    url: str
    body: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)
    moved: str = ""

    @property
    def fresh_for(self) -> timedelta:
        """Return how long the response stays fresh by its headers (RFC 9111 §4.2.1), at most a day."""
        control = self.headers.get("cache-control", "").lower()
        if re.search(r"(?:^|[\s,])no-(?:cache|store)\b(?!\s*=)", control):
            return timedelta(0)
        # A cache on the way has already kept the response for this time (§4.2.3).
        written_age = self.headers.get("age", "").strip()
        age = (
            timedelta(seconds=int(written_age[:9])) if written_age.isascii() and written_age.isdigit() else timedelta(0)
        )
        match = re.search(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,12})", control)
        if match:
            return min(max(timedelta(seconds=min(int(match[1]), 10**9)) - age, timedelta(0)), _DAY)
        try:
            until, at = (parsedate_to_datetime(self.headers.get(name, "")) for name in ("expires", "date"))
            return min(max(until - at - age, timedelta(0)), _DAY)
        except (ValueError, TypeError, OverflowError):
            return timedelta(0)

    @property
    def validators(self) -> dict[str, str]:
        """The validators for the next conditional request (RFC 9110 §13.1), as `fetch_url` takes them."""
        validators = {"etag": self.headers.get("etag", ""), "modified": self.headers.get("last-modified", "")}
        return {name: value for name, value in validators.items() if value}


def fetch_url(
    session: GuardedSession,
    url: str,
    accept: str,
    validators: Mapping[str, str],
    real_now: datetime,
    max_bytes: int = MAX_BODY,
) -> Response:
    """Get `url`. `validators` may hold `etag` and `modified` of the last response. Raises SourceError."""
    headers = {"Accept": accept, "User-Agent": AGENT, "Accept-Encoding": "gzip, deflate"}
    if validators.get("etag"):
        headers["If-None-Match"] = validators["etag"]
    if validators.get("modified"):
        headers["If-Modified-Since"] = validators["modified"]
    at, moved, is_permanent = url, "", True
    for _ in range(_HOPS + 1):
        try:
            answer = session.request("GET", at, None, headers, max_bytes)
        except (NotSentError, ConnectionLostError) as error:
            raise SourceError(f"{_host(at)}: {error}") from None
        if answer.status not in (301, 302, 303, 307, 308):
            return _check(answer, at, moved, real_now, max_bytes)
        at = _next_hop(at, answer)
        # The new URL is kept only if every redirect so far was permanent (RFC 9110 §15.4).
        is_permanent = is_permanent and answer.status in (301, 308)
        moved = at if is_permanent else moved
    raise SourceError(f"{_host(url)} redirects too often: more than {_HOPS} redirects")


def _next_hop(at: str, answer: HttpResponse) -> str:
    location = answer.headers.get("location", "")
    with suppress(UnicodeError):
        # Some servers send UTF-8, and headers are decoded as Latin-1 (RFC 9110 §5.5).
        location = location.encode("latin-1").decode("utf-8")
    try:
        target = encode_url(urljoin(at, location))
    except ValueError:
        target = None
    if target is None or target == at:
        raise SourceError(f"{_host(at)} answered {answer.status} without a usable address")
    if urlsplit(at).scheme == "https" and urlsplit(target).scheme != "https":
        raise SourceError(f"{_host(at)} redirects from https to http, where anybody could change the content")
    return target


def _check(answer: HttpResponse, at: str, moved: str, real_now: datetime, max_bytes: int) -> Response:
    if answer.status == 304:
        return Response(at, None, answer.headers, moved)
    if answer.status == 410:
        raise SourceError(f"{_host(at)} says that this address is gone for good (410)", gone=True, status=410)
    if answer.status != 200:
        seconds = parse_retry_after(answer.headers.get("retry-after", ""), real_now, _WEEK)
        wait = None if seconds is None else timedelta(seconds=seconds)
        mend = _MENDS.get(answer.status, "")
        raise SourceError(f"{_host(at)} answered {answer.status}{mend}", wait=wait, status=answer.status)
    if not answer.is_complete:
        limit = f"{max_bytes // 1_000_000} MB"
        raise SourceError(
            f"the response of {_host(at)} is incomplete: it broke off, took too long, or is larger than {limit}"
        )
    return Response(at, answer.body, answer.headers, moved)


def _host(url: str) -> str:
    return urlsplit(url).netloc


class Robots:
    """The rules of a robots.txt for Tidings (RFC 9309)."""

    def __init__(self, text: str) -> None:
        self._rules = Protego.parse(_VERSIONED_AGENT.sub(r"\1", text.removeprefix("\ufeff")))

    def allows(self, url: str) -> bool:
        """Whether Tidings may read the page."""
        return self._rules.can_fetch(url, _TOKEN)
