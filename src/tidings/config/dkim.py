"""The models of `mail.dkim`."""

from __future__ import annotations

import re
from typing import Annotated

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pydantic import AfterValidator, Field, SecretStr

from tidings.config.adapters import ConfigModel
from tidings.config.types import Domain

_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.IGNORECASE)
SMALLEST = 2048
Key = RSAPrivateKey | Ed25519PrivateKey


def _selector(value: str) -> str:
    if not _SELECTOR.fullmatch(value) or len(value) > 63:
        raise ValueError(f"{value!r} is no selector; use letters, digits and hyphens, such as s1")
    return value


def load_key(pem: str) -> Key:
    """A private key in PEM that DKIM can sign with. Raises ValueError in words that never show it."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise ValueError("the key has a password; DKIM needs one without") from None
    except ValueError:
        raise ValueError(
            "this is no private key in PEM. `tidings dkim` makes one; write it as {file: dkim.pem}"
        ) from None
    if isinstance(key, RSAPrivateKey):
        if key.key_size < SMALLEST:
            raise ValueError(f"an RSA key of {key.key_size} bits is too short. `tidings dkim` makes one of {SMALLEST}")
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise ValueError("DKIM signs with RSA or Ed25519 keys only. `tidings dkim` makes one")


def _rsa(value: SecretStr) -> SecretStr:
    if not isinstance(load_key(value.get_secret_value()), RSAPrivateKey):
        raise ValueError("this is an Ed25519 key: it belongs under `ed25519`, beside an RSA key here")  # noqa: TRY004
    return value


def _ed25519(value: SecretStr) -> SecretStr:
    if not isinstance(load_key(value.get_secret_value()), Ed25519PrivateKey):
        raise ValueError("this is no Ed25519 key. `tidings dkim --ed25519` makes one")  # noqa: TRY004
    return value


Selector = Annotated[str, AfterValidator(_selector)]


class SecondKey(ConfigModel):
    """A second signature by Ed25519 (RFC 8463): Microsoft and Yahoo do not verify it, so it never stands alone."""

    selector: Selector = Field(description="Selector of this key.")
    key: Annotated[SecretStr, AfterValidator(_ed25519)] = Field(description="Ed25519 key: {file: PATH} or {env: NAME}.")


class Dkim(ConfigModel):
    """Who signs mail, and with what."""

    domain: Domain = Field(description="Domain that signs: that of your senders, or one above it.")
    selector: Selector = Field(description="Selector; the public key stands at SELECTOR._domainkey.DOMAIN.")
    key: Annotated[SecretStr, AfterValidator(_rsa)] = Field(
        description="RSA key of 2048 bits or more: {file: PATH} or {env: NAME}."
    )
    ed25519: SecondKey | None = Field(default=None, description="A second signature, by Ed25519.")
