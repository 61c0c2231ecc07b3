"""SMTP passes the contract of all senders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tests.channels.mail_api.test_providers import CONTRACTS
from tests.channels.smtp.single_mail import SingleMailTransport
from tests.fixtures.smtp import SmtpSink
from tidings import plugins
from tidings.channels.smtp.login import Login
from tidings.channels.smtp.protocol import Timeouts
from tidings.channels.smtp.relay import Settings, SmtpRelay, make
from tidings.testing.mail_contract import SECRET, MailContract, MailSetup, ServerFault

LOCAL = {
    ServerFault.BUSY: "rcpt-451",
    ServerFault.REFUSED: "rcpt-550",
    ServerFault.LOST: "lost",
    ServerFault.SILENT: "stall",
}


class TestSmtp(MailContract):
    @contextmanager
    def world(self, fault: ServerFault, tmp_path: Path, *, patience: float = 0.3) -> Iterator[MailSetup]:
        # The sink offers no AUTH, so a client with a password cannot log in.
        login: dict[str, Any] = (
            {"username": "u", "password": SecretStr(SECRET)} if fault is ServerFault.WRONG_LOGIN else {}
        )
        with SmtpSink(tmp_path / "sink.journal") as sink:
            port = 9 if fault is ServerFault.ABSENT else sink.port
            if fault is ServerFault.SILENT:
                relay = SmtpRelay(Login("127.0.0.1", port), timeouts=Timeouts(5, patience))
            else:
                relay = make(Settings(type="smtp", host="127.0.0.1", port=port, security="none", **login))
            yield MailSetup(
                SingleMailTransport(relay), f"{LOCAL.get(fault, 'reader')}@example.net", lambda: len(sink.taken())
            )
            relay.close()


def test_every_shipped_sender_passes_the_contract() -> None:
    tested = {contract().make("http://127.0.0.1:9").__module__ for contract in CONTRACTS}
    assert {*tested, make.__module__} == set(plugins.MAIL.values())
