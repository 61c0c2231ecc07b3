"""`dkim`: make a key to sign mail with, and show the DNS record for it."""

from __future__ import annotations

import os
from email.utils import parseaddr
from typing import Annotated

import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from tidings.cli.session import say, session
from tidings.config.dkim import MIN_RSA_BITS
from tidings.model.errors import InputError, RefusedError
from tidings.render.mail.dkim import DkimIdentity, load_identities
from tidings.runtime.newsroom import load_newsroom

_MAX_STRING = 255
"""Bytes of one string of a TXT record (RFC 1035 §3.3)."""


def dkim(
    selector: Annotated[str, typer.Option("--selector", metavar="NAME", help="Name of a new key.")] = "s1",
    file: Annotated[str, typer.Option("--file", metavar="NAME", help="Where a new key is written.")] = "dkim.pem",
    second: Annotated[bool, typer.Option("--ed25519", help="Make an Ed25519 key for a second signature.")] = False,
) -> None:
    """Make a key to sign mail with, or show the DNS records of your keys."""
    loaded = load_newsroom(session.root, lenient=True)
    newsroom = loaded.newsroom
    if newsroom is None:
        raise InputError("\n".join(str(problem) for problem in loaded.problems if problem.level == "error"))
    configured = [dkim for sender in newsroom.mail if (dkim := getattr(sender, "dkim", None)) is not None]
    if configured and not second:
        for identity in dict.fromkeys(identity for dkim in configured for identity in load_identities(dkim)):
            _print_record(identity)
        return
    domain = configured[0].domain if configured else _find_domain([each.from_ for each in newsroom.lists.values()])
    if second:
        _make_key(
            domain, selector if selector != "s1" else "e1", "dkim-ed25519.pem", ed25519.Ed25519PrivateKey.generate()
        )
    else:
        _make_key(domain, selector, file, rsa.generate_private_key(public_exponent=65537, key_size=MIN_RSA_BITS))


def _find_domain(senders: list[str]) -> str:
    if not senders:
        raise InputError("there is no list yet, so the domain that signs is unknown. Add a list under `lists:` first.")
    return parseaddr(senders[0])[1].rpartition("@")[2].lower()


def _make_key(domain: str, selector: str, file: str, key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        descriptor = os.open(session.root / file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise RefusedError(
            f"{file} exists already, and a key is never overwritten. Name another with --file."
        ) from None
    with os.fdopen(descriptor, "wb") as out:
        out.write(pem)
    say(f"{file} is the private key. Give it to nobody; every backup contains it.")
    _print_record(DkimIdentity(domain, selector, key))
    say("Once the record is published, write this into tidings.yaml and run `tidings check`:")
    if isinstance(key, ed25519.Ed25519PrivateKey):
        say(f"mail:\n  dkim:\n    ed25519: {{selector: {selector}, key: {{file: {file}}}}}")
    else:
        say(f"mail:\n  dkim: {{domain: {domain}, selector: {selector}, key: {{file: {file}}}}}")


def _print_record(identity: DkimIdentity) -> None:
    record = identity.record
    strings = " ".join(f'"{record[at : at + _MAX_STRING]}"' for at in range(0, len(record), _MAX_STRING))
    say("Publish this TXT record in the DNS:")
    say(f"{identity.name}. IN TXT ( {strings} )")
