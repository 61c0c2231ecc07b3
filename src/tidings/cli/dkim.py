"""`tidings dkim`: a key, and what to tell the DNS."""

from __future__ import annotations

import os
from email.utils import parseaddr
from typing import Annotated

import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from tidings.cli.app import app, console, place
from tidings.config.dkim import SMALLEST, Key
from tidings.model.errors import InputError, RefusedError
from tidings.render.mail.dkim import DkimIdentity, load_identities
from tidings.runtime.newsroom import load_newsroom

_STRING = 255
"""Bytes of one string of a TXT record (RFC 1035 §3.3)."""


@app.command("dkim")
def dkim_command(
    selector: Annotated[str, typer.Option("--selector", metavar="NAME", help="Name of a new key.")] = "s1",
    file: Annotated[str, typer.Option("--file", metavar="NAME", help="Where a new key is written.")] = "dkim.pem",
    second: Annotated[bool, typer.Option("--ed25519", help="Make an Ed25519 key for a second signature.")] = False,
) -> None:
    """Make a key to sign mail with, or show what the DNS must say of the keys that are configured."""
    loaded = load_newsroom(place.root, lenient=True)
    newsroom = loaded.newsroom
    if newsroom is None:
        raise InputError("\n".join(str(problem) for problem in loaded.problems if problem.level == "error"))
    configured = [dkim for sender in newsroom.mail if (dkim := getattr(sender, "dkim", None)) is not None]
    if configured and not second:
        for identity in dict.fromkeys(identity for dkim in configured for identity in load_identities(dkim)):
            _print_record(identity)
        return
    domain = configured[0].domain if configured else _domain([one.from_ for one in newsroom.lists.values()])
    _make(domain, selector if not second or selector != "s1" else "e1", "dkim-ed25519.pem" if second else file, second)


def _domain(senders: list[str]) -> str:
    if not senders:
        raise InputError("there is no list yet: its sender says which domain signs. Write one under `lists:` first.")
    return parseaddr(senders[0])[1].rpartition("@")[2].lower()


def _make(domain: str, selector: str, file: str, second: bool) -> None:
    key: Key = (
        ed25519.Ed25519PrivateKey.generate()
        if second
        else rsa.generate_private_key(public_exponent=65537, key_size=SMALLEST)
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = place.root / file
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise RefusedError(
            f"{file} is there already, and a key is never overwritten. Name another one with --file."
        ) from None
    with os.fdopen(descriptor, "wb") as out:
        out.write(pem)
    console.print(f"{file} is the private key: keep it to yourself; it is in every backup.", markup=False)
    _print_record(DkimIdentity(domain, selector, key))
    console.print("Once the record is there, write this into tidings.yaml, and `tidings check`:", markup=False)
    if second:
        console.print(f"mail:\n  dkim:\n    ed25519: {{selector: {selector}, key: {{file: {file}}}}}", markup=False)
    else:
        line = f"mail:\n  dkim: {{domain: {domain}, selector: {selector}, key: {{file: {file}}}}}"
        console.print(line, markup=False, soft_wrap=True)


def _print_record(identity: DkimIdentity) -> None:
    record = identity.record
    strings = [record[at : at + _STRING] for at in range(0, len(record), _STRING)]
    console.print("The DNS must have this record of type TXT:", markup=False)
    said = " ".join(f'"{one}"' for one in strings)
    console.print(f"{identity.name}. IN TXT ( {said} )", markup=False, soft_wrap=True)
