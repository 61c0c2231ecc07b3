"""What an HTTP answer means for a delivery: one policy for every channel."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from tidings.model.delivery import Outcome, Verdict
from tidings.net import ConnectionLostError, GuardedSession, HttpResponse, NotSentError, parse_retry_after

LONGEST_WAIT = 86_400.0
_LIKE_A_SECRET = 16
"""Characters: a shorter piece of an address is a word of the API."""


def send_request(
    session: GuardedSession,
    url: str,
    body: bytes | None,
    headers: dict[str, str],
    method: str = "POST",
    *,
    hide: tuple[str, ...] = (),
    also: tuple[int, ...] = (),
) -> HttpResponse | Outcome:
    """One request. An HttpResponse means 2xx, or a status of `also`; everything else is an Outcome already.

    A reason quotes the other side, less what it may have learnt from us: the address, tokens, and `hide`.

    A refusal with 4xx was certainly not taken. After 5xx, or a connection lost once the request was on its way, nobody
    can know: the outcome is unknown and the channel's idempotency decides about a retry.
    """
    try:
        answer = session.request(method, url, body, headers)
    except NotSentError as error:
        return Outcome(Verdict.DEFERRED, reason=str(error))
    except ConnectionLostError as error:
        return Outcome(Verdict.UNKNOWN, reason=str(error))
    status = answer.status
    if 200 <= status < 300 or status in also:
        return answer
    wait = requested_wait(answer)
    word = f"HTTP {status}"
    if status == 429 or status == 408:
        return Outcome(Verdict.DEFERRED, reason=word, retry_after=wait)
    if status == 410:
        return Outcome(Verdict.REJECTED, reason=f"{word}: gone, and asks never to be called again", disable=True)
    if 300 <= status < 400:
        return Outcome(Verdict.REJECTED, reason=f"{word}: redirects are not followed; write the new address")
    if 400 <= status < 500:
        return Outcome(Verdict.REJECTED, reason=f"{word}: {quote_answer(answer.text, url, headers, hide)}".rstrip(": "))
    return Outcome(Verdict.UNKNOWN, reason=word, retry_after=wait)


def defer_unknown(outcome: Outcome) -> Outcome:
    """Where nothing was published yet, an unknown outcome is one to try again."""
    if outcome.verdict is not Verdict.UNKNOWN:
        return outcome
    return Outcome(Verdict.DEFERRED, reason=outcome.reason, retry_after=outcome.retry_after)


def read_object(answer: HttpResponse) -> dict[str, Any]:
    """The JSON object of an answer; an empty one where it is none."""
    try:
        found = json.loads(answer.text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def requested_wait(answer: HttpResponse, now: datetime | None = None) -> float | None:
    """Seconds that the other side asked us to wait, in whichever form; None where it said nothing usable.

    Retry-After; else what the JSON says (Discord, Telegram, Matrix); else the end of the period that a header names, in
    ISO 8601 (Mastodon) or in seconds since 1970 (X, Bluesky).
    """
    now = now or datetime.now(UTC)
    wait = parse_retry_after(answer.headers.get("retry-after", ""), now, LONGEST_WAIT)
    if wait is None and (answer.status == 429 or answer.status >= 500):
        names = ("x-ratelimit-reset", "x-rate-limit-reset", "ratelimit-reset")
        reset = next((answer.headers[name] for name in names if answer.headers.get(name)), "")
        wait = _wait_in_json(answer)
        wait = _wait_until(reset, now) if wait is None else wait
    return None if wait is None else min(max(wait, 0.0), LONGEST_WAIT)


def _wait_in_json(answer: HttpResponse) -> float | None:
    found = read_object(answer)
    held = found.get("parameters", found)
    if not isinstance(held, dict):
        return None
    for key, unit in (("retry_after", 1.0), ("retry_after_ms", 1e-3)):
        value = held.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value * unit
    return None


def _wait_until(text: str, now: datetime) -> float | None:
    try:
        moment = datetime.fromisoformat(text) if "-" in text else datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return ((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - now).total_seconds()


def quote_answer(text: str, url: str, headers: dict[str, str], hide: tuple[str, ...] = ()) -> str:
    """The beginning of what was answered, on one line; what only we and the other side know is taken out."""
    parts = urlsplit(url)
    behind = f"{parts.path}?{parts.query}" if parts.query else parts.path
    pieces = [piece for piece in re.split(r"[/?&=:]", behind) if len(piece) >= _LIKE_A_SECRET]
    told = [value.split()[-1] for name, value in headers.items() if name.lower() == "authorization"]
    known = {url, behind, parts.path, parts.query, *pieces, *told, *hide}
    known |= {unquote(one) for one in known}
    words = " ".join(text.split())
    for secret in sorted(known - {"", "/"}, key=len, reverse=True):
        words = words.replace(secret, "…")
    return words[:120]
