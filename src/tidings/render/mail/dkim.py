"""DKIM signatures (RFC 6376; Ed25519: RFC 8463), relaxed/relaxed, on messages whose body needs no canonicalisation.

Our bodies are base64 in lines that end in CRLF, without white space before it and with one CRLF at the very end. The
relaxed form of such a body is the body itself (§3.4.4), so it is hashed unchanged.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tidings.config.dkim import Dkim, load_key

SIGNED: Final = (
    *("from", "to", "subject", "date", "message-id", "reply-to", "mime-version", "content-type"),
    *(
        "list-id",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "list-archive",
        "list-post",
        "feedback-id",
        "cfbl-address",
    ),
)
"""Fields that are signed where they occur. RFC 8058 §4 requires both List-Unsubscribe fields."""
OVERSIGNED: Final = ("from", "subject", "list-unsubscribe", "list-unsubscribe-post")
"""Fields signed once more than they occur: an added field breaks the signature (RFC 6376 §8.15)."""
_CACHE_SIZE: Final = 512


@dataclass(frozen=True, slots=True)
class DkimIdentity:
    """A signing key and the DNS name of its public key, SELECTOR._domainkey.DOMAIN."""

    domain: str
    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey

    @property
    def name(self) -> str:
        """The DNS name of the record."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """The TXT record (RFC 6376 §3.6.1)."""
        public = self.key.public_key()
        if isinstance(self.key, RSAPrivateKey):
            raw = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
            return f"v=DKIM1; k=rsa; p={base64.b64encode(raw).decode()}"
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}"


def load_identities(settings: Dkim) -> tuple[DkimIdentity, ...]:
    """The keys of a sender; RSA first, because not all receivers verify Ed25519."""
    first = DkimIdentity(settings.domain, settings.selector, load_key(settings.key.get_secret_value()))
    if settings.ed25519 is None:
        return (first,)
    second = settings.ed25519
    return first, DkimIdentity(settings.domain, second.selector, load_key(second.key.get_secret_value()))


class DkimSigner:
    """Signs messages. Not for several threads: it caches the fields that are the same in all messages."""

    def __init__(self, identities: Iterable[DkimIdentity]) -> None:
        self.identities = tuple(identities)
        self._cache: dict[bytes, tuple[str, bytes]] = {}

    def sign(self, head: bytes, body: Iterable[bytes], moment: int) -> bytes:
        """Return the DKIM-Signature fields to put before `head`, each ending in CRLF.

        `head` is the header, each field ending in CRLF, without the empty line; `moment` is in seconds since 1970.
        """
        digest = hashlib.sha256()
        for piece in body:
            digest.update(piece)
        hashed = base64.b64encode(digest.digest())
        fields = self._fields(head)
        names: list[str] = []
        canonical: list[bytes] = []
        for name in SIGNED:
            field = fields.get(name)
            if field is not None:
                names.append(name)
                canonical.append(field)
            if name in OVERSIGNED:
                names.append(name)
        signed = b"".join(canonical)
        listed = _fold_names(names)
        return b"".join(self._sign_as(identity, listed, signed, hashed, moment) for identity in self.identities)

    def _sign_as(self, identity: DkimIdentity, names: bytes, signed: bytes, hashed: bytes, moment: int) -> bytes:
        kind = b"rsa-sha256" if isinstance(identity.key, RSAPrivateKey) else b"ed25519-sha256"
        value = b"v=1; a=%s; c=relaxed/relaxed; d=%s;\r\n s=%s; t=%d;\r\n h=%s;\r\n bh=%s;\r\n b=" % (
            kind,
            identity.domain.encode("ascii"),
            identity.selector.encode("ascii"),
            moment,
            names,
            hashed,
        )
        data = signed + b"dkim-signature:" + value.replace(b"\r\n ", b" ")
        if isinstance(identity.key, RSAPrivateKey):
            raw = identity.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        else:
            # RFC 8463 §3: the hash of the data is signed.
            raw = identity.key.sign(hashlib.sha256(data).digest())
        signature = base64.b64encode(raw)
        lines = [signature[at : at + 72] for at in range(0, len(signature), 72)]
        return b"DKIM-Signature: " + value + b"\r\n ".join(lines) + b"\r\n"

    def _fields(self, head: bytes) -> dict[str, bytes]:
        """Fields by name in their relaxed form (RFC 6376 §3.4.2), each ending in CRLF."""
        fields: dict[str, bytes] = {}
        for raw in head.replace(b"\r\n ", b"\n ").split(b"\r\n"):
            known = self._cache.get(raw)
            if known is None:
                if not raw:
                    continue
                name, _, value = raw.partition(b":")
                lower = name.decode("ascii").strip().lower()
                known = (lower, lower.encode() + b":" + b" ".join(value.split()) + b"\r\n")
                if lower not in ("to", "message-id", "list-unsubscribe"):
                    if len(self._cache) > _CACHE_SIZE:
                        self._cache.clear()
                    self._cache[raw] = known
            fields[known[0]] = known[1]
        return fields


def _fold_names(names: list[str]) -> bytes:
    """The h= tag in lines of at most 76 characters: white space is allowed around its colons."""
    lines = [""]
    for name in names:
        part = name if not lines[-1] else f":{name}"
        if len(lines[-1]) + len(part) > 70:
            lines[-1] += ":"
            lines.append(name)
        else:
            lines[-1] += part
    return "\r\n ".join(lines).encode("ascii")


def verify(message: bytes, identities: Iterable[DkimIdentity]) -> str:
    """Verify all signatures with dkimpy, not with our own code. Returns the reason of a failure, or ""."""
    import dkim

    records = {f"{identity.name}.".encode(): identity.record.encode() for identity in identities}
    checker = dkim.DKIM(message)
    for number, identity in enumerate(identities):
        try:
            good = checker.verify(idx=number, dnsfunc=lambda name, timeout=5: records.get(name))
        except dkim.DKIMException as error:
            return f"{identity.name}: {error}"
        if not good:
            return f"{identity.name}: the signature does not verify"
    return ""
