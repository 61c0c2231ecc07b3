"""A real Postfix bounces, by LMTP or into a mailbox that a real Dovecot serves, and the list cleans itself."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.desk import DAILY, DAY, MONDAY, Desk, open_desk
from tests.servers.dovecot import dovecot
from tests.servers.postfix import Postfix, postfix
from tidings.runtime.bounces.receivers import Ears
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
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}) as found:
        yield found


def _use(desk: Desk, relay: Postfix, bounces: str) -> None:
    path = desk.world.root / "tidings.yaml"
    [old] = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("mail:")]
    mail = f"{{host: 127.0.0.1, port: {relay.port}, security: none, return_path: bounces@bounce.example}}"
    desk.configure(old, f"mail: {mail}\nbounces: {{soft: {{days: 3}}, {bounces}}}")


def _edition(desk: Desk, number: int) -> None:
    desk.item(f"story-{number}")
    desk.tick(MONDAY + number * DAY)


def _states(desk: Desk) -> dict[str, str]:
    with desk.runtime.store.read() as connection:
        found = {one.address: one.state for one in subscribers.subscriptions(connection, list_name="digest")}
    return {name: found[address] for name, address in READERS.items()}


def _returned(desk: Desk, edition: int) -> dict[str, str]:
    found = {entry.address: entry.returned for entry in desk.entries(edition=f"daily/{edition}")}
    return {name: found[address] for name, address in READERS.items() if address in found}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_bounces_by_lmtp(desk: Desk) -> None:
    port = _free_port()
    woken: list[bool] = []
    ears = Ears(desk.runtime, lambda: woken.append(True))
    with postfix(lmtp=port) as relay:
        _use(desk, relay, f"lmtp: '127.0.0.1:{port}'")
        assert ears.listen() == f"127.0.0.1:{port}"
        try:
            for address in READERS.values():
                with desk.runtime.store.write() as connection:
                    subscribers.add(
                        connection, address, "digest", language="en", frequency="daily", now=desk.now, confirmed=True
                    )
            _edition(desk, 0)
            # Refused in the session: at once. The rest comes back.
            assert _states(desk)["refused"] == UNSUBSCRIBED
            relay.until(lambda: sum(map(bool, _returned(desk, 1).values())) == 3)
            assert _returned(desk, 1) == {
                "ada": "", "unknown": "hard", "full": "soft", "relay denied": "soft", "refused": ""
            }  # fmt: skip
            assert _states(desk) == {
                "ada": CONFIRMED,
                "unknown": UNSUBSCRIBED,
                "full": CONFIRMED,
                "relay denied": CONFIRMED,
                "refused": UNSUBSCRIBED,
            }
            for number in (1, 2):
                _edition(desk, number)
                assert set(_returned(desk, number + 1)) == {"ada", "full", "relay denied"}
                relay.until(lambda n=number: sum(map(bool, _returned(desk, n + 1).values())) == 2)  # type: ignore[misc]
            assert {name for name, state in _states(desk).items() if state == CONFIRMED} == {"ada"}
            _edition(desk, 3)
            assert _returned(desk, 4) == {"ada": ""}
            _is_strict(port, relay, desk)
        finally:
            assert ears.stop(10)


def _is_strict(port: int, relay: Postfix, desk: Desk) -> None:
    """Other addresses are refused; a forged bounce is taken, and moves nobody."""
    with smtplib.LMTP("127.0.0.1", port, local_hostname="x", timeout=20) as session:
        session.ehlo()
        assert session.mail("")[0] == 250
        assert session.rcpt("ada@example.org")[0] == 550
        assert session.rcpt("bounces+short@bounce.example")[0] == 550
        assert session.rcpt("Bounces@BOUNCE.example")[0] == 250
        forged = (Path(__file__).parents[1] / "pipeline/track/returns/postfix-unknown.eml").read_bytes()
        code, text = session.data(forged.replace(b"ada@example.net", b"ada@example.org"))
        assert (code, text) == (250, b"2.0.0 ignored")
    assert _states(desk)["ada"] == CONFIRMED


def test_bounces_from_a_mailbox(desk: Desk) -> None:
    with postfix() as relay, dovecot(relay.maildir("bounces")) as server:
        settings = f"host: 127.0.0.1, port: {server.port}, security: none, username: bounces, password: {{env: IMAP}}"
        desk.world.env["IMAP"] = "secret"
        _use(desk, relay, f"mailbox: {{{settings}, every: 10s}}")
        desk.reader("unknown")
        desk.reader("ada")
        _edition(desk, 0)
        relay.wait_for("bounces")
        with smtplib.SMTP("127.0.0.1", relay.port, local_hostname="x") as session:
            session.sendmail(
                "ada@example.org", "bounces@bounce.example", b"Subject: Out of office\r\n\r\nBack soon.\r\n"
            )
        relay.wait_for("bounces", 2)
        ears = Ears(desk.runtime, lambda: None)
        ears.start()
        try:
            relay.until(lambda: _returned(desk, 1)["unknown"] == "hard")
            relay.until(lambda: server.flags() == [r"\Seen", ""])
        finally:
            assert ears.stop(10)
        with desk.runtime.store.read() as connection:
            [one] = subscribers.subscriptions(connection, address="unknown@example.org")
        assert one.state == UNSUBSCRIBED
