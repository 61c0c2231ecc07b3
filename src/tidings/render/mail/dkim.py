"""DKIM signatures (RFC 6376; Ed25519: RFC 8463), relaxed/relaxed, on messages whose body needs no canonicalisation.

Our bodies are base64 in lines that end in CRLF, without white space before it and with one CRLF at the very end. The
relaxed form of such a body is the body itself (§3.4.4), so it is hashed unchanged.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
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
"""Fields to sign if they occur. RFC 8058 §4 requires both List-Unsubscribe fields."""
OVERSIGNED: Final = ("from", "subject", "list-unsubscribe", "list-unsubscribe-post")
"""Fields to sign once more than they occur, so that an added field breaks the signature (RFC 6376 §8.15)."""
_PADDING: Final = padding.PKCS1v15()
_SHA256: Final = hashes.SHA256()


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
    """Load the keys of a sender. RSA comes first, because not all receivers verify Ed25519."""
    first = DkimIdentity(settings.domain, settings.selector, load_key(settings.key.get_secret_value()))
    if settings.ed25519 is None:
        return (first,)
    second = settings.ed25519
    return first, DkimIdentity(settings.domain, second.selector, load_key(second.key.get_secret_value()))


class SignatureTemplate:
    """Signs messages whose headers are equal except at marked places. Safe for several threads."""

    def __init__(
        self, identities: Iterable[DkimIdentity], head: bytes, moment: int, marks: Sequence[bytes] = ()
    ) -> None:
        """Prepare the parts that all messages share.

        `head` is the header, each field ending in CRLF, without the empty line; `moment` is in seconds since 1970.
        `marks` are control characters in `head`, without white space, where each message has a value of its own.
        """
        fields = _relaxed_fields(head)
        names = [name for name in SIGNED if name in fields for _ in range(1 + (name in OVERSIGNED))]
        signed = b"".join([fields[name] for name in SIGNED if name in fields])
        pieces = re.split(b"([%b])" % b"".join(marks), signed) if marks else [signed]
        self._literals, self._marks = pieces[::2], pieces[1::2]
        self._identities = [(identity.key, *_signature_field(identity, names, moment)) for identity in identities]

    def sign(self, body: Iterable[bytes], values: Mapping[bytes, bytes] = MappingProxyType({})) -> bytes:
        """Return the DKIM-Signature fields to put before the header, each ending in CRLF.

        `values` are the values of the marks, in relaxed form (RFC 6376 §3.4.2).
        """
        digest = hashlib.sha256()
        for piece in body:
            digest.update(piece)
        hashed = base64.b64encode(digest.digest())
        signed = [self._literals[0]]
        for mark, literal in zip(self._marks, self._literals[1:], strict=True):
            signed += (values[mark], literal)
        data = b"".join(signed)
        return b"".join([_sign(data, hashed, *identity) for identity in self._identities])


def relax(value: bytes) -> bytes:
    """Return the value of a field in relaxed form (RFC 6376 §3.4.2)."""
    return b" ".join(value.split())


def _relaxed_fields(head: bytes) -> dict[str, bytes]:
    fields: dict[str, bytes] = {}
    for raw in head.replace(b"\r\n ", b"\n ").split(b"\r\n"):
        name, _, value = raw.partition(b":")
        lower = name.strip().lower()
        if lower:
            fields[lower.decode("ascii")] = lower + b":" + relax(value) + b"\r\n"
    return fields


def _signature_field(identity: DkimIdentity, names: Sequence[str], moment: int) -> tuple[bytes, bytes]:
    """Return the field up to the hash of the body, as it is sent and in relaxed form."""
    kind = b"rsa-sha256" if isinstance(identity.key, RSAPrivateKey) else b"ed25519-sha256"
    domain, selector = identity.domain.encode("ascii"), identity.selector.encode("ascii")
    tags = (kind, domain, selector, moment, _fold_names(names))
    value = b"v=1; a=%s; c=relaxed/relaxed; d=%s;\r\n s=%s; t=%d;\r\n h=%s;\r\n bh=" % tags
    return b"DKIM-Signature: " + value, b"dkim-signature:" + value.replace(b"\r\n ", b" ")


def _sign(signed: bytes, hashed: bytes, key: RSAPrivateKey | Ed25519PrivateKey, field: bytes, relaxed: bytes) -> bytes:
    data = b"".join((signed, relaxed, hashed, b"; b="))
    if isinstance(key, RSAPrivateKey):
        raw = key.sign(data, _PADDING, _SHA256)
    else:
        # RFC 8463 §3: the hash of the data is signed.
        raw = key.sign(hashlib.sha256(data).digest())
    signature = base64.b64encode(raw)
    lines = [signature[at : at + 72] for at in range(0, len(signature), 72)]
    return b"".join((field, hashed, b";\r\n b=", b"\r\n ".join(lines), b"\r\n"))


def _fold_names(names: Sequence[str]) -> bytes:
    """Return the h= tag in lines of at most 76 characters. White space is allowed around its colons."""
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
