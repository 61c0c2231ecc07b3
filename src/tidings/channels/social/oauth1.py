"""Signed requests by OAuth 1.0a, HMAC-SHA1 (RFC 5849 §3.4): four secrets that do not expire."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlsplit


@dataclass(frozen=True, slots=True)
class OAuthKeys:
    """Of the application, and of the account that it posts for."""

    key: str = field(repr=False)
    key_secret: str = field(repr=False)
    token: str = field(repr=False)
    token_secret: str = field(repr=False)


def authorization(method: str, url: str, keys: OAuthKeys, *, nonce: str, seconds: int, form: str = "") -> str:
    """The value of the Authorization header. `form`: the body, if it is application/x-www-form-urlencoded."""
    said = {
        "oauth_consumer_key": keys.key,
        "oauth_nonce": nonce,
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": str(seconds),
        "oauth_token": keys.token,
        "oauth_version": "1.0",
    }
    base = signature_base(method, url, said, form)
    secret = f"{_encode(keys.key_secret)}&{_encode(keys.token_secret)}".encode()
    digest = hmac.new(secret, base.encode(), hashlib.sha1).digest()
    said["oauth_signature"] = base64.b64encode(digest).decode()
    return "OAuth " + ", ".join(f'{name}="{_encode(value)}"' for name, value in sorted(said.items()))


def signature_base(method: str, url: str, said: dict[str, str], form: str = "") -> str:
    """The signature base string (§3.4.1): method, address without query, and all parameters, encoded and sorted."""
    parts = urlsplit(url)
    port = parts.port if parts.port not in (None, {"http": 80, "https": 443}.get(parts.scheme)) else None
    host = (parts.hostname or "").lower() + (f":{port}" if port else "")
    given = parse_qsl(parts.query, keep_blank_values=True) + parse_qsl(form, keep_blank_values=True)
    pairs = sorted((_encode(name), _encode(value)) for name, value in [*said.items(), *given])
    parameters = "&".join(f"{name}={value}" for name, value in pairs)
    address = f"{parts.scheme.lower()}://{host}{parts.path or '/'}"
    return "&".join(_encode(part) for part in (method.upper(), address, parameters))


def _encode(text: str) -> str:
    """RFC 5849 §3.6."""
    return quote(text, safe="-._~")
