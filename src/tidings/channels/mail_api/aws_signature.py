"""Signing a request for Amazon, Signature Version 4 (IAM User Guide, "Create a signed AWS API request")."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who signs. `token` goes with keys that are lent for a while."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


def signed_headers(
    credentials: Credentials,
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    region: str,
    service: str,
    at: datetime,
) -> dict[str, str]:
    """All headers to send, names in small letters: those given, host, x-amz-date and authorization.

    `at` is real time: Amazon refuses a signature that is some minutes off.
    """
    parts = urlsplit(url)
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    found = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    found |= {"host": parts.netloc, "x-amz-date": stamp}
    if credentials.token:
        found["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(found))
    request = "\n".join(
        (
            method,
            # Once more for every service but S3: the path is encoded already.
            quote(parts.path or "/", safe="/~"),
            _query(parts.query),
            *(f"{name}:{found[name]}" for name in sorted(found)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    found["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return found


def _query(query: str) -> str:
    """Sorted as it is encoded."""
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs))
