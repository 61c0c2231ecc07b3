"""dkimpy and OpenDKIM verify our signatures, and reject them after a change."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from tests.conftest import require_program
from tests.render.mail.samples import PREFIXES, TEMPLATES, UNSUBSCRIBE_TOKEN, UNSUBSCRIBE_URL, document, headers, many
from tidings.config.dkim import load_key
from tidings.model.edition import Selection
from tidings.render.mail.digest import build_layout
from tidings.render.mail.dkim import OVERSIGNED, DkimIdentity, SignatureTemplate, verify
from tidings.render.mail.merge import MailMerge

RSA = DkimIdentity("example.org", "s1", rsa.generate_private_key(public_exponent=65537, key_size=2048))
ED25519 = DkimIdentity("example.org", "e1", ed25519.Ed25519PrivateKey.generate())
MOMENT = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp())


def _signed(*identities: DkimIdentity, address: str = "ada@example.org", name: str = "Айгүл") -> bytes:
    items = many(4)
    document_of = document(items)
    arrangement = build_layout(document_of, Selection("en", items[0], tuple(items[1:])), templates=TEMPLATES)
    mail = MailMerge(document_of).prepare(arrangement, headers(), **PREFIXES, identities=identities)
    return b"".join(mail.render(address, name, b"1", UNSUBSCRIBE_TOKEN.encode(), b"k2.bb"))


@pytest.mark.parametrize("identities", [(RSA,), (RSA, ED25519)], ids=["rsa", "both"])
def test_every_signature_holds(identities: tuple[DkimIdentity, ...]) -> None:
    message = _signed(*identities)
    assert message.count(b"DKIM-Signature:") == len(identities)
    assert verify(message, identities) == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\r\nSubject: ", b"\r\nSubject: x"),
        (UNSUBSCRIBE_URL.encode(), b"https://evil.example.org/"),
        (b"One-Click", b"One-Clack"),
        (b"base64\r\n\r\n", b"base64\r\n\r\nAAAA\r\n"),
        (b"To: ", b"To: x"),
    ],
    ids=["subject", "unsubscribe", "post", "body", "to"],
)
def test_a_changed_message_does_not_verify(old: bytes, new: bytes) -> None:
    message = _signed(RSA)
    assert old in message
    assert verify(message.replace(old, new, 1), [RSA])


@pytest.mark.parametrize("field", OVERSIGNED)
def test_an_added_field_breaks_the_signature(field: str) -> None:
    message = _signed(RSA)
    assert verify(f"{field}: evil@example.com\r\n".encode() + message, [RSA])


@pytest.mark.parametrize("name", ["", "Ada", "Айгүл", "Ada  (of  Almaty), Ph.D.", "Қазақстан " * 9], ids=len)
@pytest.mark.parametrize("address", ["a@b.org", "x" * 60 + "@" + "mail." * 12 + "example.org"], ids=len)
def test_every_name_and_address_gives_a_valid_signature(name: str, address: str) -> None:
    """Long names and addresses are folded. DKIM's relaxed form joins them again."""
    message = _signed(RSA, address=address, name=name)
    assert verify(message, [RSA]) == ""


def test_a_header_without_marks_is_signed_too() -> None:
    head = b"From: a@example.org\r\nSubject: folded\r\n  twice\r\nTo: r@example.org\r\n"
    signature = SignatureTemplate([RSA], head, MOMENT).sign([b"hello\r\n"])
    assert verify(signature + head + b"\r\nhello\r\n", [RSA]) == ""


def test_opendkim_verifies_the_signature(tmp_path: Path) -> None:
    """OpenDKIM verifies a file offline, with the key from a file instead of the DNS."""
    program = require_program("opendkim")
    (tmp_path / "keys").write_text(f"{RSA.name} {RSA.record}\n")
    (tmp_path / "conf").write_text(f"Mode v\nTestDNSData {tmp_path}/keys\nSyslog no\nBackground no\n")
    (tmp_path / "good.eml").write_bytes(_signed(RSA))
    (tmp_path / "bad.eml").write_bytes(_signed(RSA).replace(b"One-Click", b"One-Clack"))
    output = {}
    for name in ("good", "bad"):
        command = [program, "-x", str(tmp_path / "conf"), "-vvv", "-t", str(tmp_path / f"{name}.eml")]
        process = subprocess.run(command, capture_output=True, text=True, timeout=120)
        output[name] = process.stdout + process.stderr
    assert "verification (s=s1, d=example.org, 2048-bit key) succeeded" in output["good"], output["good"]
    assert "succeeded" not in output["bad"], output["bad"]


def test_an_unusable_key_is_explained_but_not_shown() -> None:
    from cryptography.hazmat.primitives import serialization

    short = rsa.generate_private_key(public_exponent=65537, key_size=1024).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for pem, words in ((short.decode(), "1024 bits is too short"), ("nonsense", "not a private key in PEM")):
        with pytest.raises(ValueError, match=words) as caught:
            load_key(pem)
        assert pem[60:100] not in str(caught.value) or pem == "nonsense"
