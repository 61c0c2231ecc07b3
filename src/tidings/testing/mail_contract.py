"""The suite that every mail transport passes: ours by SMTP and by API, and those of third parties.

Subclass `MailContract` in a test module and give it a `world`: a server on loopback with a given fault, and a
transport of yours that connects to it. `ApiContract` adds the tests for HTTP APIs.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from pathlib import Path

import pytest

from tidings.channels.base import MailTransport
from tidings.model.delivery import Outcome, Verdict
from tidings.testing.http_sink import HttpSink, Received, Step

SENDER = "bounces@example.org"
SECRET = "s3cret-of-the-sender"  # noqa: S105
"""Use it as the password or key of your transport."""
MESSAGE = (
    b"Message-ID: <0123456789abcdef@example.org>\r\n"
    b"Date: Fri, 20 Nov 2026 09:00:00 +0500\r\n"
    b"From: =?utf-8?b?0JTQsNC70LA=?= <news@example.org>\r\n"
    b'To: "Reader, A." <reader@example.net>\r\n'
    b"Reply-To: comms@example.org\r\n"
    b"Subject: =?utf-8?b?0JDRg9GL0Lcg0YHRgzogwqsxMsK7?=\r\n"
    b"List-Id: =?utf-8?b?0JTQsNC50LTQttC10YHRgg==?= <digest.example.org>\r\n"
    b"List-Unsubscribe: <https://news.example.org/unsubscribe/t0ken-that-is-longer-than-a-line-of-mail-would-be>,\r\n"
    b" <mailto:leave@example.org?subject=t0ken>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"Feedback-ID: weekly:digest:tidings:example\r\n"
    b"Auto-Submitted: auto-generated\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: multipart/alternative; boundary="b0"\r\n'
    b"\r\n"
    b"--b0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: base64\r\n"
    b"\r\n"
    b"0KHRgyDSm9Kx0LHRi9GA0YsNCg==\r\n"
    b"--b0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: base64\r\n"
    b"\r\n"
    b"PHA+0KHRgyAmYW1wOyDQttCw0qPQsCDSm9Kx0LTRi9KbPC9wPg0K\r\n"
    b"--b0--\r\n"
)


class ServerFault(StrEnum):
    """The fault of the server."""

    NONE = "none"
    ABSENT = "nobody listens"
    WRONG_LOGIN = "it does not take the password or key"
    BUSY = "not now"
    REFUSED = "not this recipient"
    LOST = "it takes the message, and the answer never comes: the connection breaks"
    SILENT = "it takes the message, and says nothing for longer than we wait"


@dataclass(frozen=True, slots=True)
class MailSetup:
    """A transport, the recipient, and the count of messages that the server has accepted."""

    transport: MailTransport
    recipient: str
    taken: Callable[[], int]

    def send(self) -> Outcome:
        """Send the message once."""
        return self.transport.send(SENDER, self.recipient, MESSAGE)


class MailContract(ABC):
    """The tests for every mail transport."""

    @abstractmethod
    def world(self, fault: ServerFault, tmp_path: Path, *, patience: float = 0.3) -> AbstractContextManager[MailSetup]:
        """Make a server with a permanent fault, and a transport that waits `patience` seconds for an answer."""

    def test_an_accepted_message_has_receipt_and_host(self, tmp_path: Path) -> None:
        with self.world(ServerFault.NONE, tmp_path) as world:
            first, second = world.send(), world.send()
        assert (first.verdict, second.verdict) == (Verdict.ACCEPTED, Verdict.ACCEPTED), first.reason
        assert first.receipt
        assert first.receipt != second.receipt
        assert first.via == second.via != ""
        assert world.taken() == 2

    @pytest.mark.parametrize(
        ("fault", "verdict", "taken"),
        [
            (ServerFault.ABSENT, Verdict.NOT_STARTED, 0),
            (ServerFault.WRONG_LOGIN, Verdict.NOT_STARTED, 0),
            (ServerFault.BUSY, Verdict.DEFERRED, 0),
            (ServerFault.REFUSED, Verdict.REJECTED, 0),
            (ServerFault.LOST, Verdict.UNKNOWN, 1),
            (ServerFault.SILENT, Verdict.UNKNOWN, 1),
        ],
    )
    def test_each_fault_has_its_verdict(self, fault: ServerFault, verdict: Verdict, taken: int, tmp_path: Path) -> None:
        with self.world(fault, tmp_path) as world:
            outcome = world.send()
            assert (outcome.verdict, world.taken()) == (verdict, taken), outcome.reason
            assert outcome.reason
            assert outcome.reason.isprintable()
            # After a fault the transport still works for the next message.
            assert world.send().verdict is verdict
        assert SECRET not in repr(outcome) + repr(world.transport)

    def test_abort_ends_the_transfer_which_is_in_doubt(self, tmp_path: Path) -> None:
        with self.world(ServerFault.SILENT, tmp_path, patience=20.0) as world:
            threading.Timer(0.2, world.transport.abort).start()
            begun = time.monotonic()
            outcome = world.send()
            assert outcome.verdict is Verdict.UNKNOWN, outcome.reason
            assert time.monotonic() - begun < 4


class ApiContract(MailContract):
    """The suite for HTTP APIs."""

    success: Step
    """The provider's answer to a message that it accepts, by its published schema."""
    refusals: dict[Verdict, list[Step]]
    """The provider's refusals, for each verdict."""

    @abstractmethod
    def make(self, url: str, *, key: str = SECRET, allow_private: bool = True, patience: float = 0.3) -> MailTransport:
        """Make a transport for an endpoint. It waits `patience` seconds for an answer."""

    @abstractmethod
    def answer(self, received: Received) -> Step:
        """Return the provider's answer by its published schema, also to a request whose key is not SECRET."""

    @contextmanager
    def world(self, fault: ServerFault, tmp_path: Path, *, patience: float = 0.3) -> Iterator[MailSetup]:
        plans = {
            ServerFault.BUSY: [Step(429)] * 9,
            ServerFault.REFUSED: self.refusals[Verdict.REJECTED][:1] * 9,
            ServerFault.LOST: [Step(reset="after")] * 9,
            ServerFault.SILENT: [Step(stall=min(patience + 1, 6))] * 9,
        }
        with HttpSink(plans.get(fault), self.answer) as sink:
            url = "http://127.0.0.1:9" if fault is ServerFault.ABSENT else sink.url
            key = "the-key-of-somebody-else" if fault is ServerFault.WRONG_LOGIN else SECRET
            transport = self.make(url, key=key, patience=patience)
            refused = fault in (ServerFault.BUSY, ServerFault.REFUSED, ServerFault.WRONG_LOGIN)
            yield MailSetup(transport, "reader@example.net", lambda: 0 if refused else len(sink.received))
            transport.close()

    def _hand(self, *plan: Step, allow_private: bool = True) -> tuple[Outcome, list[Received]]:
        with HttpSink(list(plan)) as sink:
            transport = self.make(sink.url, allow_private=allow_private)
            outcome = transport.send(SENDER, "reader@example.net", MESSAGE)
            transport.close()
        return outcome, sink.received

    def test_both_forms_of_retry_after_are_read(self) -> None:
        outcome, _ = self._hand(Step(429, headers={"Retry-After": "7"}))
        assert (outcome.verdict, outcome.retry_after) == (Verdict.DEFERRED, 7.0)
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
        outcome, _ = self._hand(Step(429, headers={"Retry-After": date}))
        assert outcome.verdict is Verdict.DEFERRED
        assert 80 < (outcome.retry_after or 0) <= 90

    def test_each_documented_refusal_has_its_verdict(self) -> None:
        for verdict, steps in self.refusals.items():
            for step in steps:
                outcome, _ = self._hand(step)
                assert outcome.verdict is verdict, (step, outcome)
                assert "reader@example.net" not in outcome.reason

    @pytest.mark.parametrize("status", [500, 502, 504])
    def test_a_server_error_is_unknown(self, status: int) -> None:
        assert self._hand(Step(status, b"<h1>Oops</h1>"))[0].verdict is Verdict.UNKNOWN

    @pytest.mark.parametrize("status", [301, 307, 308])
    def test_a_redirect_is_not_followed(self, status: int) -> None:
        with HttpSink() as inner:
            outcome, _ = self._hand(Step(status, headers={"Location": inner.url}))
        assert outcome.verdict is Verdict.NOT_STARTED
        assert "endpoint" in outcome.reason
        assert not inner.received

    @pytest.mark.parametrize("body", [b"", b"ok", b"{", b"[]", b"null", b'{"id": 7, "MessageId": null}', b"[" * 60_000])
    def test_a_2xx_without_the_providers_id_is_unknown(self, body: bytes) -> None:
        assert self._hand(Step(self.success.status, body))[0].verdict is Verdict.UNKNOWN

    @pytest.mark.parametrize("status", [400, 422])
    def test_a_refusal_by_a_proxy_is_not_started(self, status: int) -> None:
        """A proxy or a wrong endpoint refuses every message alike: that must not end an edition."""
        assert self._hand(Step(status, b"<h1>Bad gateway</h1>"))[0].verdict is Verdict.NOT_STARTED

    def test_a_huge_answer_is_cut(self) -> None:
        for status in (self.success.status, 400, 500):
            begun = time.monotonic()
            outcome, _ = self._hand(Step(status, b'{"message": "' + b"x" * 10_000_000))
            assert time.monotonic() - begun < 3
            assert len(outcome.reason) < 400
            assert outcome.verdict in (Verdict.UNKNOWN, Verdict.NOT_STARTED)

    def test_a_reset_during_the_request_is_unknown(self) -> None:
        outcome, received = self._hand(Step(reset="before"))
        assert (outcome.verdict, received) == (Verdict.UNKNOWN, [])

    def test_a_private_address_is_refused_unless_allowed(self) -> None:
        with HttpSink([self.success]) as sink:
            url = sink.url.replace("http://", "https://")
            outcome = self.make(url, allow_private=False).send(SENDER, "reader@example.net", MESSAGE)
        assert outcome.verdict is Verdict.NOT_STARTED
        assert "allow_private" in outcome.reason
        assert not sink.received

    def test_a_public_endpoint_without_tls_is_refused(self) -> None:
        with pytest.raises(ValueError, match="unencrypted"):
            self.make("http://api.example.org", allow_private=False)

    def test_no_outcome_shows_key_or_address(self) -> None:
        refusal = f'{{"message": "no {SECRET} for reader@example.net\\r\\nX: y"}}'.encode()
        for step in (Step(400, refusal), Step(401, refusal), Step(500, refusal), Step(reset="after"), Step(302)):
            outcome, _ = self._hand(step)
            assert "reader@example.net" not in repr(outcome)
            assert "\\n" not in repr(outcome)
            assert SECRET not in repr(outcome)
