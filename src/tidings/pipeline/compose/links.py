"""Look up the links of an edition before it is sent, and store the results.

A link is dead only if two tries agree that the page is gone (404, 410) or that its host name does not exist. A site
that is slow, refuses programs (401, 403, 429), fails (5xx) or has a bad certificate is not dead.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urldefrag, urljoin, urlsplit

from tidings.net import ConnectionLostError, GuardedSession, HttpResponse, NoSuchNameError, NotSentError
from tidings.store.content.fetch_cache import StoredFetchCache
from tidings.store.engine import Store

CACHE: Final = "gates/links"
"""Name in the fetch cache. No source can have it."""
BUDGET: Final = 12.0
"""Seconds that the look-ups of one edition may take. Links that are unknown by then do not hold it."""
_TIMEOUT: Final = 6.0
_WORKERS: Final = 8
_PAUSE: Final = 1.0
"""Seconds between the two tries."""
_GOOD_FOR: Final = {"alive": 86_400.0, "unknown": 600.0, "dead": 60.0}
"""Seconds for which a result is used. A dead link is looked up again soon, because it may have been fixed."""
_FORGET: Final = 30 * 86_400.0
_MOST: Final = 300
"""Most links of one edition to look up."""
_MOST_REDIRECTS: Final = 5
_GONE: Final = (404, 410)
_WALLS: Final = ("cf-mitigated", "x-datadome", "x-amzn-waf-action", "x-sucuri-block")
"""Headers of services that keep programs out."""
_BROWSER: Final = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Accept-Language": "en,*;q=0.5",
}
_FOR_EXAMPLES: Final = ("example", "test", "localhost", "example.com", "example.net", "example.org")
"""Domains that lead nowhere by definition (RFC 2606, RFC 6761). A name below `invalid` does not exist."""


@dataclass(frozen=True, slots=True)
class LinkResult:
    """The state of a link (alive, dead or unknown), the reason, and when it was looked up (seconds since 1970)."""

    verdict: str
    reason: str
    at: float

    def is_fresh(self, now: float) -> bool:
        """Whether the result may still be used."""
        return now - self.at < _GOOD_FOR.get(self.verdict, 0.0)


class LinkLookups:
    """The links of editions and their states. Uses real time, because the web does not follow our clock."""

    def __init__(self, store: Store, *, allow_private: bool = False) -> None:
        self._cache = StoredFetchCache(store, CACHE)
        self._allow_private = allow_private

    def find_dead(self, urls: Iterable[str]) -> dict[str, str]:
        """Return the links that are known to be dead, each with the reason. Makes no requests."""
        known = _read(self._cache.state())
        found = {url: known.get(_key(url)) for url in urls}
        return {url: result.reason for url, result in found.items() if result is not None and result.verdict == "dead"}

    def look_up(self, urls: Iterable[str], now: float) -> None:
        """Look up unknown links, for a few seconds at most, and store the results."""
        version, known = self._cache.version(), _read(self._cache.state())
        wanted: dict[str, list[str]] = {}
        for key in list(dict.fromkeys(_key(url) for url in urls if is_looked_up(url)))[:_MOST]:
            if key not in known or not known[key].is_fresh(now):
                wanted.setdefault(urlsplit(key).hostname or "", []).append(key)
        if not wanted:
            return
        deadline = time.monotonic() + BUDGET
        found: dict[str, LinkResult] = {}
        stopping = threading.Event()
        pool = ThreadPoolExecutor(min(_WORKERS, len(wanted)), thread_name_prefix="links")
        try:
            tasks = [pool.submit(self._try_host, keys, now, stopping, found) for keys in wanted.values()]
            for task in tasks:
                task.exception(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            pass
        finally:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
        results = _without_network_faults(dict(found), known, now)
        kept = {key: result for key, result in known.items() if now - result.at < _FORGET}
        self._cache.save(version, _write({**kept, **results}))

    def _try_host(self, keys: list[str], now: float, stopping: threading.Event, found: dict[str, LinkResult]) -> None:
        """Try the links of one host, one after the other."""
        session = GuardedSession(allow_private=self._allow_private, timeout=_TIMEOUT)
        try:
            for key in keys:
                if stopping.is_set():
                    return
                verdict, reason = _judge(session, key, stopping)
                found[key] = LinkResult(verdict, reason, now)
                if reason.startswith("no answer"):
                    return  # the host is slow, so its other links would take as long
        finally:
            session.close()


def is_looked_up(url: str) -> bool:
    """Whether to look up a link: it leads to the web, and not to a domain for examples."""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return False
    is_example = any(host == domain or host.endswith(f".{domain}") for domain in _FOR_EXAMPLES)
    return parts.scheme in ("http", "https") and bool(host) and (not is_example or host == "localhost")


def _key(url: str) -> str:
    return urldefrag(url)[0]


def _judge(session: GuardedSession, url: str, stopping: threading.Event) -> tuple[str, str]:
    """Return the state of a link and the reason. If the first try finds no page, there is a second one."""
    first = _try(session, url, {})
    if first[0] == "dead" and not stopping.wait(_PAUSE):
        # Some sites answer programs with 404.
        return _try(session, url, _BROWSER)
    return first if first[0] != "dead" else ("unknown", "there was no time for a second try")


def _try(session: GuardedSession, url: str, headers: dict[str, str]) -> tuple[str, str]:
    for _ in range(_MOST_REDIRECTS):
        host = (urlsplit(url).hostname or "").rstrip(".")
        if host.endswith(".invalid"):
            return "dead", f"the name {host} does not exist"
        try:
            response = session.request("GET", url, None, headers)
        except NoSuchNameError:
            return "dead", f"the name {host} does not exist"
        except ConnectionLostError:
            return "unknown", "no answer"
        except NotSentError as error:
            return "unknown", "no answer in time" if "in time" in str(error) else str(error)
        if response.status in (301, 302, 303, 307, 308) and response.headers.get("location"):
            url = urljoin(url, response.headers["location"])
            if not is_looked_up(url):
                return "unknown", "a redirect that leads nowhere"
            continue
        if response.status in _GONE:
            return (
                ("unknown", "a wall against programs") if _has_wall(response) else ("dead", f"HTTP {response.status}")
            )
        return ("alive" if response.status < 400 else "unknown"), f"HTTP {response.status}"
    return "unknown", "too many redirects"


def _has_wall(response: HttpResponse) -> bool:
    return any(name in response.headers for name in _WALLS)


def _without_network_faults(
    found: Mapping[str, LinkResult], known: Mapping[str, LinkResult], now: float
) -> dict[str, LinkResult]:
    """Ignore missing host names if no other host can be reached: the network may be down."""
    reached = [key for key, result in found.items() if result.reason.startswith("HTTP ")]
    reached += [key for key, result in known.items() if result.verdict == "alive" and result.is_fresh(now)]
    if any(_is_name(urlsplit(key).hostname or "") for key in reached):
        return dict(found)
    unsure = LinkResult("unknown", "this machine may be offline", now)
    return {
        key: unsure
        if result.reason.endswith("does not exist") and not (urlsplit(key).hostname or "").endswith(".invalid")
        else result
        for key, result in found.items()
    }


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return bool(host)
    return False


def _read(state: Mapping[str, Any]) -> dict[str, LinkResult]:
    return {key: LinkResult(str(row[0]), str(row[1]), float(row[2])) for key, row in state.items()}


def _write(results: Mapping[str, LinkResult]) -> dict[str, Any]:
    return {key: [result.verdict, result.reason, result.at] for key, result in results.items()}
