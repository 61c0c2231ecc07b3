"""A real Postfix bounces by LMTP or into a mailbox of a real Dovecot, and dead addresses leave the list."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.newsroom import DAILY, DAY, MONDAY, RunningNewsroom, open_newsroom
from tests.fixtures.ports import free_port
from tests.servers.dovecot import dovecot
from tests.servers.postfix import Postfix, postfix
from tidings.runtime.bounces.receivers import FeedbackReceivers
from tidings.store.people import subscribers
from tidings.store.people.subscribers import CONFIRMED, UNSUBSCRIBED

pytestmark = pytest.mark.slow
READERS = {
    "ada": "ada@example.org",
    "unknown": "unknown@example.org",
    "full": "full@example.org",
    "relay denied": "x@other.example",
    "refused": "refused@example.org",
}


@pytest.fixture
def newsroom(tmp_path: Path) -> Iterator[RunningNewsroom]:
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}, public=False) as running:
        yield running


def _use(newsroom: RunningNewsroom, relay: Postfix, bounces: str) -> None:
    path = newsroom.folder.root / "tidings.yaml"
    [old] = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("mail:")]
    mail = f"{{host: 127.0.0.1, port: {relay.port}, security: none, return_path: bounces@bounce.example}}"
    newsroom.configure(old, f"mail: {mail}\nbounces: {{soft: {{days: 3}}, {bounces}}}")


def _edition(newsroom: RunningNewsroom, number: int) -> None:
    newsroom.item(f"story-{number}")
    newsroom.tick(MONDAY + number * DAY)


def _states(newsroom: RunningNewsroom) -> dict[str, str]:
    with newsroom.runtime.store.read() as connection:
        result = {
            subscription.address: subscription.state
            for subscription in subscribers.subscriptions(connection, list_name="digest")
        }
    return {name: result[address] for name, address in READERS.items()}


def _returned(newsroom: RunningNewsroom, edition: int) -> dict[str, str]:
    result = {entry.address: entry.returned for entry in newsroom.entries(edition=f"daily/{edition}")}
    return {name: result[address] for name, address in READERS.items() if address in result}


def test_bounces_by_lmtp(newsroom: RunningNewsroom) -> None:
    port = free_port()
    woken: list[bool] = []
    receivers = FeedbackReceivers(newsroom.runtime, lambda: woken.append(True))
    with postfix(lmtp=port) as relay:
        _use(newsroom, relay, f"lmtp: '127.0.0.1:{port}'")
        assert receivers.open_port() == f"127.0.0.1:{port}"
        try:
            for address in READERS.values():
                with newsroom.runtime.store.write() as connection:
                    subscribers.add(
                        connection,
                        address,
                        "digest",
                        language="en",
                        frequency="daily",
                        now=newsroom.now,
                        confirmed=True,
                    )
            _edition(newsroom, 0)
            # Some are refused in the session. The others bounce later.
            assert _states(newsroom)["refused"] == UNSUBSCRIBED
            relay.until(lambda: sum(map(bool, _returned(newsroom, 1).values())) == 3)
            assert _returned(newsroom, 1) == {
                "ada": "", "unknown": "hard", "full": "soft", "relay denied": "soft", "refused": ""
            }  # fmt: skip
            assert _states(newsroom) == {
                "ada": CONFIRMED,
                "unknown": UNSUBSCRIBED,
                "full": CONFIRMED,
                "relay denied": CONFIRMED,
                "refused": UNSUBSCRIBED,
            }
            for number in (1, 2):
                _edition(newsroom, number)
                assert set(_returned(newsroom, number + 1)) == {"ada", "full", "relay denied"}
                relay.until(lambda n=number: sum(map(bool, _returned(newsroom, n + 1).values())) == 2)  # type: ignore[misc]
            # A full mailbox leaves after some days. "Relay access denied" is about us, so it suppresses nobody.
            assert {name for name, state in _states(newsroom).items() if state == CONFIRMED} == {"ada", "relay denied"}
            _edition(newsroom, 3)
            assert _returned(newsroom, 4).keys() == {"ada", "relay denied"}
            assert _returned(newsroom, 4)["ada"] == ""
            _is_strict(port, relay, newsroom)
        finally:
            assert receivers.stop(120)


def _is_strict(port: int, relay: Postfix, newsroom: RunningNewsroom) -> None:
    """Mail to other addresses is refused. A forged bounce is accepted and has no effect."""
    with smtplib.LMTP("127.0.0.1", port, local_hostname="x", timeout=120) as session:
        session.ehlo()
        assert session.mail("")[0] == 250
        assert session.rcpt("ada@example.org")[0] == 550
        assert session.rcpt("bounces+short@bounce.example")[0] == 550
        assert session.rcpt("Bounces@BOUNCE.example")[0] == 250
        forged = (Path(__file__).parents[1] / "pipeline/track/returns/postfix-unknown.eml").read_bytes()
        code, text = session.data(forged.replace(b"ada@example.net", b"ada@example.org"))
        assert (code, text) == (250, b"2.0.0 ignored")
    assert _states(newsroom)["ada"] == CONFIRMED


def test_bounces_from_a_mailbox(newsroom: RunningNewsroom) -> None:
    with postfix() as relay, dovecot(relay.maildir("bounces")) as server:
        settings = f"host: 127.0.0.1, port: {server.port}, security: none, username: bounces, password: {{env: IMAP}}"
        newsroom.folder.env["IMAP"] = "secret"
        _use(newsroom, relay, f"mailbox: {{{settings}, every: 10s}}")
        newsroom.reader("unknown")
        newsroom.reader("ada")
        _edition(newsroom, 0)
        relay.wait_for("bounces")
        with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="x") as session:
            session.sendmail(
                "ada@example.org", "bounces@bounce.example", b"Subject: Out of office\r\n\r\nBack soon.\r\n"
            )
        relay.wait_for("bounces", 2)
        receivers = FeedbackReceivers(newsroom.runtime, lambda: None)
        receivers.start()
        try:
            relay.until(lambda: _returned(newsroom, 1)["unknown"] == "hard")
            relay.until(lambda: server.flags() == [r"\Seen", ""])
        finally:
            assert receivers.stop(120)
        with newsroom.runtime.store.read() as connection:
            [one] = subscribers.subscriptions(connection, address="unknown@example.org")
        assert one.state == UNSUBSCRIBED
