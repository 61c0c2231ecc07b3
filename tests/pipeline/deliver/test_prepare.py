"""Messages are made by several threads, and each is its reader's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fixtures.newsroom import DAILY, MONDAY, open_newsroom
from tests.servers.dkim_judges import by_dkimpy
from tidings.config.dkim import load_key
from tidings.pipeline.deliver import prepare
from tidings.render.mail.dkim import DkimIdentity


def test_several_threads_sign_each_mail_for_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "_CORES", 3)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    identity = DkimIdentity("example.org", "s1", load_key(pem.decode()))
    with open_newsroom(tmp_path / "n", "sqlite:///tidings.db", {"daily": DAILY}) as newsroom:
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
