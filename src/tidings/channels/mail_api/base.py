"""What the providers' APIs share as senders: settings, one request a message, and what an answer means for it.

`rejected` is for what is about this recipient or this message. What is about the account (a wrong key, a sender that is
not verified, a pause) leaves the message untouched and stalls the sender, so that another one may take over.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from tidings.channels.base import Idempotency
from tidings.channels.http import LONGEST_WAIT
from tidings.config.adapters import SenderSettings
from tidings.config.types import Bool, NestedValueError, Url
from tidings.model.delivery import Outcome, Verdict
from tidings.net import ConnectionLostError, GuardedSession, HttpResponse, NotSentError, parse_retry_after

TIMEOUT = 30.0
"""Seconds for the connection, and for each wait for the answer."""
_LONGEST_REASON = 200
_NOT_ONE = re.compile(r"[\s,;<>\"\x00-\x1f\x7f]")


class ApiSettings(SenderSettings):
    """Common to the providers' APIs."""

    endpoint: Url | None = Field(
        default=None,
        description="Another address of the same API, such as a proxy of your own; default: the provider's.",
    )
    allow_private: Bool = Field(
        default=False, description="Permits an endpoint in the intranet or on this machine, also without TLS."
    )

    @model_validator(mode="after")
    def _is_secret_on_the_way(self) -> ApiSettings:
        if self.endpoint and self.endpoint.startswith("http:") and not self.allow_private:
            raise NestedValueError("keys and mail would travel in the clear; write https://...", "endpoint")
        return self

    @property
    def base(self) -> str:
        """Where the API is, without a slash at the end."""
        return (self.endpoint or self.default_endpoint).rstrip("/")

    @property
    def default_endpoint(self) -> str:
        """The provider's own."""
        raise NotImplementedError

    @property
    def target_host(self) -> str:
        """The host of the API."""
        return urlsplit(self.base).hostname or ""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One POST."""

    url: str
    body: bytes
    headers: dict[str, str] = field(repr=False)


class ApiTransport(ABC):
    """Hands mail over, one message a request, over a connection that is kept. For one thread, but for `abort`."""

    idempotency: ClassVar[Idempotency] = Idempotency.NONE
    """None of these APIs knows a repeat of the same message: what is in doubt may go out twice if it is sent again."""

    def __init__(
        self, settings: ApiSettings, *, reached: Callable[[str], None] = lambda point: None, timeout: float = TIMEOUT
    ) -> None:
        """`reached` hears of points on the way."""
        self.host = settings.target_host
        self._reached = reached
        values = [getattr(settings, name) for name in type(settings).model_fields]
        self._hidden = _Hidden(tuple(one.get_secret_value() for one in values if isinstance(one, SecretStr)))
        self._session = GuardedSession(allow_private=settings.allow_private, timeout=timeout)

    @abstractmethod
    def request(self, sender: str, recipient: str, data: bytes) -> ApiRequest:
        """What to post for one message to one recipient. CannotCarryError where the API has no place for it."""

    @abstractmethod
    def receipt(self, answer: HttpResponse) -> str:
        """The provider's id of what it took; empty where a success does not look like one."""

    def refused(self, answer: HttpResponse) -> Outcome | None:
        """What a refusal means by the provider's own codes; None: as its HTTP status says."""
        return None

    def words(self, answer: HttpResponse) -> str:
        """What the provider says of a refusal."""
        return answer.text

    def send(self, sender: str, recipient: str, data: bytes) -> Outcome:
        """Hand one message over to one recipient."""
        try:
            if _NOT_ONE.search(recipient):
                raise CannotCarryError("this provider's API could read the address as several")
            request = self.request(sender, recipient, data)
        except CannotCarryError as error:
            return Outcome(Verdict.REJECTED, reason=str(error))
        try:
            self._reached("before-request")
            answer = self._session.post(request.url, request.body, request.headers)
        except NotSentError as error:
            return Outcome(Verdict.NOT_STARTED, reason=f"{self.host}: {error}")
        except ConnectionLostError as error:
            return Outcome(Verdict.UNKNOWN, reason=f"{self.host}: {error}")
        self._reached("after-reply")
        return self._outcome(answer, recipient)

    def close(self) -> None:
        """Close the connection that is kept."""
        self._session.close()

    def abort(self) -> None:
        """From another thread: end what is on the wire; it is in doubt then."""
        self._session.abort()

    def _outcome(self, answer: HttpResponse, recipient: str) -> Outcome:
        status = answer.status
        if 200 <= status < 300:
            found = self.receipt(answer)
            if found:
                return Outcome(Verdict.ACCEPTED, receipt=found[:200], via=self.host)
        own = self.refused(answer)
        verdict = own.verdict if own is not None else _by_status(answer)
        reason = own.reason if own is not None and own.reason else f"HTTP {status}"
        if 300 <= status < 400:
            reason += ": redirects are not followed; write the new address as `endpoint`"
        elif 200 <= status < 300 and own is None:
            reason += " without the id of a message"
        elif said := self._hidden.short(self.words(answer), recipient):
            reason += f": {said}"
        wait = parse_retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC), LONGEST_WAIT)
        if own is not None and own.retry_after is not None and wait is None:
            wait = own.retry_after
        return Outcome(verdict, reason=f"{self.host}: {reason}", retry_after=wait)


class CannotCarryError(Exception):
    """A message that this API has no place for, in words."""


def _by_status(answer: HttpResponse) -> Verdict:
    """RFC 9110 §15. After a 5xx nobody can know whether it was taken before the fault."""
    status = answer.status
    if status in (408, 425, 429):
        return Verdict.DEFERRED
    if status >= 500 or 200 <= status < 300:
        return Verdict.UNKNOWN
    if status == 413 or (status in (400, 415, 422) and read_object(answer)):
        return Verdict.REJECTED
    # Redirects, keys, permissions, bills, another API than ours: nothing that another message would not meet too.
    return Verdict.NOT_STARTED


@dataclass(frozen=True, slots=True)
class _Hidden:
    """What stands in no reason."""

    secrets: tuple[str, ...] = field(repr=False)

    def short(self, text: str, recipient: str) -> str:
        """On one line, without secrets and without the recipient: a reason outlives their erasure."""
        for hidden, instead in (*((one, "[secret]") for one in self.secrets), (recipient, "[recipient]")):
            if hidden:
                text = re.sub(re.escape(hidden), instead, text, flags=re.IGNORECASE)
        return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_LONGEST_REASON]


def read_object(answer: HttpResponse) -> dict[str, Any]:
    """The answer as a JSON object; empty where it is none."""
    try:
        found = json.loads(answer.text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def dumped(body: dict[str, Any]) -> bytes:
    """JSON in UTF-8."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
