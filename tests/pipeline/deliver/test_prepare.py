"""Several threads make the messages, and each message is its reader's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import update

from tests.fixtures.newsroom import DAILY, MONDAY, open_newsroom
from tests.servers.dkim_judges import by_dkimpy
from tidings.config.dkim import load_key
from tidings.pipeline.deliver import prepare
from tidings.pipeline.deliver.prepare import MessagePreparer
from tidings.render.mail.dkim import DkimIdentity
from tidings.store import schema as t
from tidings.store.delivery.claims import get_claimed


def test_several_threads_sign_each_mail_for_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "_CORES", 3)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    identity = DkimIdentity("example.org", "s1", load_key(pem.decode()))
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}, public=False) as newsroom:
        (newsroom.folder.root / "s1.pem").write_bytes(pem)
        newsroom.configure(
            "security: none", "security: none, dkim: {domain: example.org, selector: s1, key: {file: s1.pem}}"
        )
        names = [f"reader{number}" for number in range(40)]
        for name in names:
            newsroom.reader(name)
        newsroom.item("flood", title="The flood")
        newsroom.tick(MONDAY)
        links = set()
        for name in names:
            [mail] = newsroom.mails(f"{name}@example.org")
            assert by_dkimpy(mail.data, {identity.name: identity.record}) == [True]
            assert mail.message["To"] == f"{name}@example.org"
            links.add(mail.message["List-Unsubscribe"])
        assert len(links) == len(names)


def test_a_mail_is_made_again_with_the_same_bytes(tmp_path: Path) -> None:
    """A mail in doubt is sent once more. With the same Message-ID, a mail program shows one of the two."""
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}, public=False) as newsroom:
        runtime, reader = newsroom.runtime, newsroom.reader("ada")
        newsroom.item("flood", title="The flood")
        newsroom.tick(MONDAY)
        [sent] = newsroom.mails(reader)
        with runtime.store.write() as connection:
            connection.execute(update(t.deliveries).values(state="handed", owner="later", doubts=1, attempts=1))
            deliveries = get_claimed(connection, "later")
        again = MessagePreparer(runtime.store, runtime.newsroom, runtime.mail, runtime.channels)
        [message] = again(deliveries).values()
        assert b"".join(message.wire or ()) == sent.data
