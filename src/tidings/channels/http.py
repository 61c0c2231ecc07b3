"""The base of HTTP channels: it sends one request, and turns the answer into an outcome."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, SecretStr

from tidings.channels.base import Attempt
from tidings.config.adapters import ChannelSettings, EventWebhookSettings
from tidings.model.delivery import Outcome, Verdict
from tidings.net import ConnectionLostError, GuardedSession, HttpResponse, NotSentError, parse_retry_after

LONGEST_WAIT = 86_400.0
INVALID_RECEIPT = Outcome(Verdict.REJECTED, reason="the ledger has no valid id of this post")
"""The reason for `edit` and `take_down` without a valid receipt, before any request."""
_SHORTEST_SECRET = 16
"""Least characters of a secret part of a URL. A shorter part is a word of the API."""
_MENDS = {
    401: "; renew its token or password",
    402: "; the account has no credit left",
    403: "; check the account and what its token may do",
    404: "; the webhook or the address no longer exists, so make a new one",
}
"""The remedy after a refusal of the whole channel, by HTTP status."""
_ACCOUNT_WORDS = re.compile(
    r"\b(?:access[ _-]?token|api[ _-]?key|webhook|account|app password|credentials|bot)\b[^.\n]{0,40}"
    r"\b(?:revoked|expired|suspended|disabled|deactivated|deleted|not found|no longer|locked|unauthori[sz]ed)"
    r"|\b(?:invalid|unknown|expired|revoked|suspended|disabled)[ _]"
    r"(?:access[ _-]?token|auth token|webhook|account|credentials|api[ _-]?key)\b",
    re.IGNORECASE,
)
"""Words in refusals about the account or the webhook, on any network."""
_ONE_POST_WORDS = re.compile(
    r"\b(?:duplicate|already (?:been )?(?:posted|published|shared|exists?|said)|too (?:long|large|many)|spam|malicious"
    r"|blocked (?:link|url|domain|content)|(?:link|url|domain|attachment|image|media|picture|video|hashtag|mention|text"
    r"|content|commentary|caption|status|tweet|post|message|reply|record|parent|thread)\b[^.\n]{0,40}\b"
    r"(?:not (?:allowed|found|exist|appear to exist|accepted|supported)|invalid|blocked|rejected|refused|flagged"
    r"|violates?|deleted|moderated|forbidden by|contains?)|(?:reply|replying|respond) to)\b",
    re.IGNORECASE,
)
"""Words in a 403 or 404 about one post: its text, a link, or the post that it answers. Other posts can be sent."""
_QUOTED = 2_000
"""Most characters to read of a refusal."""
_RESET_HEADERS = ("x-ratelimit-reset", "x-rate-limit-reset", "ratelimit-reset")
S = TypeVar("S", bound=ChannelSettings | EventWebhookSettings)


def must_match(pattern: str, hint: str) -> AfterValidator:
    """Refuse a setting that does not match. The error has `hint`, and the value unless it is a secret."""

    def check(value: Any) -> Any:
        is_secret = isinstance(value, SecretStr)
        if not re.fullmatch(pattern, value.get_secret_value() if is_secret else value):
            raise ValueError(f"this {hint}" if is_secret else f"{value!r} {hint}")
        return value

    return AfterValidator(check)


class HttpChannel(Generic[S]):
    """Base of the channels behind an HTTP API: a name, settings and one guarded session."""

    ACCOUNT_WORDS: ClassVar[str] = ""
    """A pattern for this network's refusals about the account or the webhook, with any status."""
    POST_WORDS: ClassVar[str] = ""
    """A pattern for this network's refusals about one post, with any status."""

    def __init__(self, name: str, settings: S) -> None:
        self.name = name
        self._settings = settings
        self._session = GuardedSession(allow_private=settings.allow_private)

    def request(
        self,
        url: str,
        body: bytes | None,
        headers: dict[str, str],
        method: str = "POST",
        *,
        hide: tuple[str, ...] = (),
        also: tuple[int, ...] = (),
    ) -> HttpResponse | Outcome:
        """Send one request. Returns the response for 2xx and the statuses in `also`, else an Outcome.

        The reason of an Outcome quotes the service, without the URL, the token and the strings in `hide`.

        After 4xx the service certainly did not accept the post. NOT_STARTED is for refusals of the whole channel, such
        as an expired token or a deleted webhook: its posts wait until a person has fixed it. After 5xx, and after a
        connection that was lost while sending, the result is unknown: the outcome is UNKNOWN, and the channel's
        idempotency decides.
        """
        try:
            answer = self._session.request(method, url, body, headers)
        except NotSentError as error:
            return Outcome(Verdict.DEFERRED, reason=str(error))
        except ConnectionLostError as error:
            return Outcome(Verdict.UNKNOWN, reason=str(error))
        status = answer.status
        if 200 <= status < 300 or status in also:
            return answer
        publishes = method in ("POST", "PUT")
        if status == 410 and publishes:
            reason = "HTTP 410: the address is gone, and the service asks not to be called again"
            return Outcome(Verdict.NOT_STARTED, reason=reason, disable=True)
        if 300 <= status < 400:
            reason = f"HTTP {status}: redirects are not followed; write the new address in tidings.yaml"
            return Outcome(Verdict.NOT_STARTED if publishes else Verdict.REJECTED, reason=reason)
        if self._is_about_account(answer, publishes=publishes):
            return self._stall(answer, answer.text, url, headers, hide)
        if status in (408, 429):
            return Outcome(Verdict.DEFERRED, reason=f"HTTP {status}", retry_after=requested_wait(answer))
        if 400 <= status < 500:
            return Outcome(Verdict.REJECTED, reason=describe_refusal(answer, answer.text, url, headers, hide))
        return Outcome(Verdict.UNKNOWN, reason=f"HTTP {status}", retry_after=requested_wait(answer))

    def refuse(self, answer: HttpResponse, text: str, url: str = "", headers: dict[str, str] | None = None) -> Outcome:
        """Return the Outcome of a refusal of a new post, for a status in `also` of `request`."""
        if self._is_about_account(answer, publishes=True):
            return self._stall(answer, text, url, headers, ())
        return Outcome(Verdict.REJECTED, reason=describe_refusal(answer, text, url, headers))

    def _is_about_account(self, answer: HttpResponse, *, publishes: bool) -> bool:
        """Whether a refusal is about the account, its token or its webhook, so that every post would fail."""
        text, status = answer.text[:_QUOTED], answer.status
        if self.POST_WORDS and re.search(self.POST_WORDS, text, re.IGNORECASE):
            return False
        if status in (401, 402):
            return True
        if self.ACCOUNT_WORDS and re.search(self.ACCOUNT_WORDS, text, re.IGNORECASE):
            return True
        if publishes and status in (403, 404):
            return _ACCOUNT_WORDS.search(text) is not None or not _ONE_POST_WORDS.search(text)
        return publishes and status in (400, 409, 422) and _ACCOUNT_WORDS.search(text) is not None

    def _stall(
        self, answer: HttpResponse, text: str, url: str, headers: dict[str, str] | None, hide: tuple[str, ...]
    ) -> Outcome:
        mend = _MENDS.get(answer.status, "; check the account, its token and its webhook")
        return Outcome(Verdict.NOT_STARTED, reason=describe_refusal(answer, text, url, headers, hide) + mend)

    def accepted(self, receipt: str = "", via: str = "") -> Outcome:
        """Return ACCEPTED. `via` is the URL of the post, if there is one."""
        return Outcome(Verdict.ACCEPTED, receipt=receipt, via=via or self.name)


def encode_json(value: object) -> bytes:
    """Encode as JSON in UTF-8. Equal values give equal bytes."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode()


def json_headers(token: SecretStr | None = None) -> dict[str, str]:
    """Return the headers of a JSON request, with a bearer token (RFC 6750) if there is one."""
    headers = {"Content-Type": "application/json"}
    return headers if token is None else headers | {"Authorization": f"Bearer {token.get_secret_value()}"}


def read_object(answer: HttpResponse) -> dict[str, Any]:
    """Return the JSON object of a response, or an empty one if there is none."""
    try:
        value = json.loads(answer.text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def describe_refusal(
    answer: HttpResponse, text: str, url: str = "", headers: dict[str, str] | None = None, hide: tuple[str, ...] = ()
) -> str:
    """Return the status and the beginning of `text` on one line, without secrets."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    pieces = [piece for piece in re.split(r"[/?&=:]", target) if len(piece) >= _SHORTEST_SECRET]
    tokens = [value.split()[-1] for name, value in (headers or {}).items() if name.lower() == "authorization"]
    secrets = {url, target, parts.path, parts.query, *pieces, *tokens, *hide}
    secrets |= {unquote(secret) for secret in secrets}
    line = " ".join(text.split())
    for secret in sorted(secrets - {"", "/"}, key=len, reverse=True):
        line = line.replace(secret, "…")
    return f"HTTP {answer.status}: {line[:120]}".rstrip(": ")


def doubt_success(answer: HttpResponse, missing: str) -> Outcome:
    """Return UNKNOWN for a 2xx without the signs of this service's success: it may come from a proxy."""
    return Outcome(Verdict.UNKNOWN, reason=f"HTTP {answer.status} without {missing}")


def defer_unknown(outcome: Outcome) -> Outcome:
    """Turn UNKNOWN into DEFERRED, for requests that publish nothing yet."""
    if outcome.verdict is not Verdict.UNKNOWN:
        return outcome
    return Outcome(Verdict.DEFERRED, reason=outcome.reason, retry_after=outcome.retry_after)


def requested_wait(answer: HttpResponse, now: datetime | None = None) -> float | None:
    """Return the seconds that the service asks us to wait, or None.

    Tries in this order: Retry-After, the JSON (Discord, Telegram, Matrix), and the header with the end of the rate
    limit: in ISO 8601 (Mastodon) or in seconds since 1970 (X, Bluesky).
    """
    now = now or datetime.now(UTC)
    wait = parse_retry_after(answer.headers.get("retry-after", ""), now, LONGEST_WAIT)
    if wait is None and (answer.status == 429 or answer.status >= 500):
        wait = _wait_in_json(answer)
        if wait is None:
            reset = next((answer.headers[name] for name in _RESET_HEADERS if answer.headers.get(name)), "")
            wait = _seconds_until(reset, now)
    return None if wait is None else min(max(wait, 0.0), LONGEST_WAIT)


def _wait_in_json(answer: HttpResponse) -> float | None:
    body = read_object(answer)
    fields = body.get("parameters", body)
    if not isinstance(fields, dict):
        return None
    for key, unit in (("retry_after", 1.0), ("retry_after_ms", 1e-3)):
        value = fields.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value * unit
    return None


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        moment = datetime.fromisoformat(text) if "-" in text else datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return ((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - now).total_seconds()


def upload_once(attempt: Attempt, data: bytes, upload: Callable[[], str], *, anew: bool = False) -> str:
    """Return the service's id of these bytes. Uploads them unless an earlier attempt of this delivery did.

    Returns '' if the service did not accept them. `anew`: upload again, because the stored id is no longer valid.
    """
    remote = "" if anew or attempt.uploads is None else attempt.uploads.get(_upload_key(data))
    if not remote:
        remote = upload()
        if remote or anew:
            remember_upload(attempt, data, remote)
    return remote


def remember_upload(attempt: Attempt, data: bytes, remote: str) -> None:
    """Store the service's id of these bytes, before the post that shows them is sent."""
    if attempt.uploads is not None:
        attempt.uploads.put(_upload_key(data), remote)


def _upload_key(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def image_type(data: bytes) -> str:
    """Return the media type of a picture from `Attempt.picture`."""
    return "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
