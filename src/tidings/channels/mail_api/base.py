"""Mail through providers' HTTP APIs: settings, one request for each message, and the outcome of its answer.

REJECTED is for this recipient or this message. A failure of the account (a wrong key, a sender that is not verified, a
pause) is NOT_STARTED: the message stays untouched and the sender is stalled, so that another one may take over.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Generic, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from tidings.channels.base import Idempotency
from tidings.channels.http import LONGEST_WAIT, read_object
from tidings.config.adapters import SenderSettings
from tidings.config.types import Bool, NestedValueError, Url
from tidings.model.delivery import Outcome, Verdict
from tidings.model.refusal import RefusalKind, classify
from tidings.net import ConnectionLostError, GuardedSession, HttpResponse, NotSentError, parse_retry_after

TIMEOUT = 30.0
"""Seconds for the connection, and for each wait for the answer."""
_MAX_REASON = 200
_ABOUT_ACCOUNT = (RefusalKind.LOGIN, RefusalKind.QUOTA, RefusalKind.SENDER)
"""Refusals that meet every other message too, whatever code they come with."""
_SEVERAL_ADDRESSES = re.compile(r"[\s,;<>\"\x00-\x1f\x7f]")


class ApiSettings(SenderSettings):
    """The settings that every provider's API has."""

    endpoint: Url | None = Field(
        default=None,
        description="Another address of the same API, such as your own proxy; default: the provider's.",
    )
    allow_private: Bool = Field(
        default=False, description="Permits an endpoint in the intranet or on this machine, also without TLS."
    )

    @model_validator(mode="after")
    def _is_encrypted(self) -> ApiSettings:
        if self.endpoint and self.endpoint.startswith("http:") and not self.allow_private:
            raise NestedValueError("keys and mail would be sent unencrypted; write https://...", "endpoint")
        return self

    @property
    def base(self) -> str:
        """The address of the API, without a slash at the end."""
        return (self.endpoint or self.default_endpoint).rstrip("/")

    @property
    def default_endpoint(self) -> str:
        """The provider's own address."""
        raise NotImplementedError

    @property
    def target_host(self) -> str:
        return urlsplit(self.base).hostname or ""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One POST."""

    url: str
    body: bytes
    headers: dict[str, str] = field(repr=False)


class CannotCarryError(Exception):
    """The API cannot carry something in the message. The text names it."""


S = TypeVar("S", bound=ApiSettings)


class ApiTransport(ABC, Generic[S]):
    """Sends one message in each request, over a connection that is kept. For one thread, except for `abort`."""

    idempotency: ClassVar[Idempotency] = Idempotency.NONE
    """None of these APIs recognises a repeated message: one in doubt may arrive twice if it is sent again."""

    def __init__(
        self, settings: S, *, reached: Callable[[str], None] = lambda point: None, timeout: float = TIMEOUT
    ) -> None:
        """`reached` is called at points on the way, for tests of crashes."""
        self.host = settings.target_host
        self._settings = settings
        self._reached = reached
        values = [getattr(settings, name) for name in type(settings).model_fields]
        self._secrets = tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))
        self._session = GuardedSession(allow_private=settings.allow_private, timeout=timeout)

    @abstractmethod
    def request(self, sender: str, recipient: str, data: bytes) -> ApiRequest:
        """Return the request for one message to one recipient, or raise CannotCarryError."""

    @abstractmethod
    def receipt(self, answer: HttpResponse) -> str:
        """Return the provider's id of the message; empty if the answer has none."""

    def refusal(self, answer: HttpResponse) -> Outcome | None:
        """Return the meaning of a refusal by the provider's own codes, or None to go by the HTTP status."""
        return None

    def message(self, answer: HttpResponse) -> str:
        """Return the provider's own text of a refusal."""
        return answer.text

    def send(self, sender: str, recipient: str, data: bytes) -> Outcome:
        """Send one message to one recipient."""
        try:
            if _SEVERAL_ADDRESSES.search(recipient):
                raise CannotCarryError("this provider's API could read the address as several addresses")
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
        self._session.close()

    def abort(self) -> None:
        """End the current request at once, from another thread. Its message is in doubt then."""
        self._session.abort()

    def _outcome(self, answer: HttpResponse, recipient: str) -> Outcome:
        status = answer.status
        if 200 <= status < 300 and (receipt := self.receipt(answer)):
            return Outcome(Verdict.ACCEPTED, receipt=receipt[:200], via=self.host)
        own = self.refusal(answer)
        verdict = own.verdict if own is not None else _verdict_by_status(answer)
        if verdict is Verdict.REJECTED and classify(self.message(answer), recipient=recipient).kind in _ABOUT_ACCOUNT:
            verdict = Verdict.NOT_STARTED
        reason = own.reason if own is not None and own.reason else f"HTTP {status}"
        if 300 <= status < 400:
            reason += ": redirects are not followed; write the new address as `endpoint`"
        elif 200 <= status < 300 and own is None:
            reason += " without the id of a message"
        elif message := self._redact(self.message(answer), recipient):
            reason += f": {message}"
        wait = parse_retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC), LONGEST_WAIT)
        if own is not None and own.retry_after is not None and wait is None:
            wait = own.retry_after
        return Outcome(verdict, reason=f"{self.host}: {reason}", retry_after=wait)

    def _redact(self, text: str, recipient: str) -> str:
        """Return the text on one line, without secrets and without the recipient: a reason outlives their erasure."""
        for hidden, mark in (*((secret, "[secret]") for secret in self._secrets), (recipient, "[recipient]")):
            if hidden:
                text = re.sub(re.escape(hidden), mark, text, flags=re.IGNORECASE)
        return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_MAX_REASON]


def _verdict_by_status(answer: HttpResponse) -> Verdict:
    """Judge by RFC 9110 §15. After a 5xx the message may have been accepted before the fault."""
    status = answer.status
    if status in (408, 425, 429):
        return Verdict.DEFERRED
    if status >= 500 or 200 <= status < 300:
        return Verdict.UNKNOWN
    if status == 413 or (status in (400, 415, 422) and read_object(answer)):
        return Verdict.REJECTED
    # Redirects, keys, permissions, bills, another API: every other message would fail too.
    return Verdict.NOT_STARTED
