"""Asking a website politely: only what changed, no more often than it likes, and never where it must not lead.

Redirects are followed by hand, each hop through the guarded session: one that leads inside is refused where it dials.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

from tidings.net import ConnectionLostError, GuardedSession, HttpResponse, NotSentError, parse_retry_after
from tidings.sources.links import encode_url

AGENT = "Tidings (newsroom outbox; reads feeds at most as often as they allow)"
MAX_BODY = 15_000_000
"""Bytes, as other readers of feeds allow."""
_HOPS = 5
_MENDS = {
    401: ": it wants a password, and only what all may read is read here",
    403: ": it lets nobody in here, or not us",
    404: ": nothing stands at this address",
}
_DAY = timedelta(days=1)
_WEEK = 7 * 86_400.0
"""Seconds: the longest wait that a website can ask of us."""


class SourceError(Exception):
    """Why a website could not be read. `wait`: as long as it asked for; `gone`: it asked never to be asked again.

    `status` is what it answered, None where no answer came.
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
    """What came back. `body` is None where nothing has changed. `moved` is the address to ask from now on."""

    url: str
    body: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)
    moved: str = ""

    @property
    def fresh_for(self) -> timedelta:
        """How long it says that nothing will change (RFC 9111 §4.2.1), at most a day."""
        match = re.search(r"(?:^|[\s,])max-age=\"?(\d{1,9})", self.headers.get("cache-control", ""))
        if match:
            return min(timedelta(seconds=int(match[1])), _DAY)
        try:
            until, at = (parsedate_to_datetime(self.headers.get(name, "")) for name in ("expires", "date"))
            return min(max(until - at, timedelta(0)), _DAY)
        except (ValueError, TypeError, OverflowError):
            return timedelta(0)


def fetch_url(
    session: GuardedSession,
    url: str,
    accept: str,
    known: Mapping[str, str],
    real_now: datetime,
    most: int = MAX_BODY,
) -> Response:
    """GET `url`, at most so many bytes. `known` may hold `etag` and `modified` of the last answer (RFC 9110 §13.1).

    Raises SourceError.
    """
    headers = {"Accept": accept, "User-Agent": AGENT, "Accept-Encoding": "gzip, deflate"}
    if known.get("etag"):
        headers["If-None-Match"] = known["etag"]
    if known.get("modified"):
        headers["If-Modified-Since"] = known["modified"]
    at, moved, lasting = url, "", True
    for _ in range(_HOPS + 1):
        try:
            answer = session.request("GET", at, None, headers, most)
        except (NotSentError, ConnectionLostError) as error:
            raise SourceError(f"{_host(at)}: {error}") from None
        if answer.status not in (301, 302, 303, 307, 308):
            return _reply(answer, at, moved, real_now, most)
        at = _next(at, answer)
        # Remembered only as far as every step of the way was for good (RFC 9110 §15.4).
        lasting = lasting and answer.status in (301, 308)
        moved = at if lasting else moved
    raise SourceError(f"{_host(url)} leads on and on: more than {_HOPS} redirects")


def _next(at: str, answer: HttpResponse) -> str:
    try:
        target = encode_url(urljoin(at, answer.headers.get("location", "")))
    except ValueError:
        target = None
    if target is None or target == at:
        raise SourceError(f"{_host(at)} answered {answer.status} and leads nowhere")
    if urlsplit(at).scheme == "https" and urlsplit(target).scheme != "https":
        raise SourceError(f"{_host(at)} leads from https to http, where anybody could change what is read")
    return target


def _reply(answer: HttpResponse, at: str, moved: str, real_now: datetime, most: int) -> Response:
    if answer.status == 304:
        return Response(at, None, answer.headers, moved)
    if answer.status == 410:
        raise SourceError(f"{_host(at)} says that it is gone for good (410)", gone=True, status=410)
    if answer.status != 200:
        seconds = parse_retry_after(answer.headers.get("retry-after", ""), real_now, _WEEK)
        wait = None if seconds is None else timedelta(seconds=seconds)
        mend = _MENDS.get(answer.status, "")
        raise SourceError(f"{_host(at)} answered {answer.status}{mend}", wait=wait, status=answer.status)
    if not answer.is_complete:
        limit = f"{most // 1_000_000} MB"
        raise SourceError(f"{_host(at)} sent no whole answer: it broke off, took too long, or is larger than {limit}")
    return Response(at, answer.body, answer.headers, moved)


def _host(url: str) -> str:
    return urlsplit(url).netloc
