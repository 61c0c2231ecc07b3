"""The models of `mail.dkim`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, SecretStr

from tidings.config.adapters import ConfigModel
from tidings.config.types import Domain

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.IGNORECASE)
MIN_RSA_BITS = 2048


def _selector(value: str) -> str:
    if not _SELECTOR.fullmatch(value) or len(value) > 63:
        raise ValueError(f"{value!r} is not a selector; use letters, digits and hyphens, such as s1")
    return value


def load_key(pem: str) -> RSAPrivateKey | Ed25519PrivateKey:
    """Read a private key in PEM that DKIM can sign with. Raises ValueError; its message never shows the key."""
    # Imported late: cryptography is slow to import.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise ValueError("the key has a password; DKIM needs one without") from None
    except ValueError:
        raise ValueError(
            "this is not a private key in PEM. `tidings dkim` makes one; write it as {file: dkim.pem}"
        ) from None
    if isinstance(key, RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:
            raise ValueError(
                f"an RSA key of {key.key_size} bits is too short. `tidings dkim` makes one of {MIN_RSA_BITS}"
            )
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise ValueError("DKIM signs with RSA or Ed25519 keys only. `tidings dkim` makes one")


def _kind(value: SecretStr) -> str:
    return "rsa" if hasattr(load_key(value.get_secret_value()), "key_size") else "ed25519"


def _rsa(value: SecretStr) -> SecretStr:
    if _kind(value) != "rsa":
        raise ValueError("this is an Ed25519 key: it belongs under `ed25519`, beside an RSA key here")
    return value


def _ed25519(value: SecretStr) -> SecretStr:
    if _kind(value) != "ed25519":
        raise ValueError("this is not an Ed25519 key. `tidings dkim --ed25519` makes one")
    return value


Selector = Annotated[str, AfterValidator(_selector)]


class SecondKey(ConfigModel):
    """A second signature by Ed25519 (RFC 8463). RSA is still needed: Microsoft and Yahoo do not verify Ed25519."""

    selector: Selector = Field(description="Selector of this key.")
    key: Annotated[SecretStr, AfterValidator(_ed25519)] = Field(description="Ed25519 key: {file: PATH} or {env: NAME}.")


class Dkim(ConfigModel):
    """The domain and the keys that sign mail."""

    domain: Domain = Field(description="Domain that signs: that of your senders, or one above it.")
    selector: Selector = Field(description="Selector; the public key is in DNS at SELECTOR._domainkey.DOMAIN.")
    key: Annotated[SecretStr, AfterValidator(_rsa)] = Field(
        description="RSA key of 2048 bits or more: {file: PATH} or {env: NAME}."
    )
    ed25519: SecondKey | None = Field(default=None, description="A second signature, by Ed25519.")
