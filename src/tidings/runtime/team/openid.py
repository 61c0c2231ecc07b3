"""Sign in with an account of an OpenID Connect provider: discovery, the code flow with PKCE, the ID token's checks.

Authlib knows the protocol, and all requests go through the guarded session. Nothing is stored: state, nonce and
verifier are made from one secret that the browser keeps in a cookie until it comes back.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote_plus, urlsplit

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tidings.config.settings import OpenIdSettings
from tidings.net import ConnectionLostError, GuardedSession, HttpResponse, NotSentError

_TIMEOUT = 10.0
_LEEWAY = 60
"""Seconds by which the clocks of the provider and of this machine may differ."""
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Signatures with the provider's own key. Neither `none` nor HS256, which the client secret would sign."""


class OpenIdFailure(StrEnum):
    """Why a sign-in through a provider did not succeed."""

    CANCELLED = "cancelled"
    UNREACHABLE = "unreachable"
    INVALID = "invalid"
    STALE = "stale"
    UNVERIFIED = "unverified"


class OpenIdError(Exception):
    """A sign-in through a provider did not succeed. The text is for the service's log and holds no secret."""

    def __init__(self, failure: OpenIdFailure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class OpenIdRequest:
    """The secrets of one sign-in (OpenID Connect Core §3.1.2.1, RFC 7636)."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def from_secret(cls, secret: str) -> OpenIdRequest:
        """Make them from the secret that the browser keeps."""

        def make(use: bytes) -> str:
            digest = hmac.new(secret.encode(), use, hashlib.sha256).digest()
            return base64.urlsafe_b64encode(digest).decode().rstrip("=")

        return cls(make(b"state"), make(b"nonce"), make(b"verifier"))


def authorization_url(settings: OpenIdSettings, request: OpenIdRequest, back: str) -> str:
    """Return the address of the provider's sign-in page. It leads back to `back`. Raises OpenIdError."""
    with _session(settings) as http:
        provider = _discover(settings, http)
    url: str = prepare_grant_uri(
        _endpoint(settings, provider, "authorization_endpoint"),
        settings.client_id,
        "code",
        redirect_uri=back,
        scope="openid email",
        state=request.state,
        nonce=request.nonce,
        code_challenge=create_s256_code_challenge(request.verifier),
        code_challenge_method="S256",
    )
    return url


def find_address(
    settings: OpenIdSettings, request: OpenIdRequest, answer: Mapping[str, str], back: str, now: datetime
) -> str:
    """Return the verified e-mail address of the person who comes back with `answer`. Raises OpenIdError."""
    if not hmac.compare_digest(answer.get("state", "").encode(), request.state.encode()):
        raise OpenIdError(OpenIdFailure.STALE, "the sign-in was not started in this browser")
    with _session(settings) as http:
        provider = _discover(settings, http)
        # RFC 9207: the answer of another provider is not taken for this one's.
        must_name = provider.get("authorization_response_iss_parameter_supported") is True
        if answer.get("iss", "" if must_name else settings.issuer) != settings.issuer:
            raise OpenIdError(OpenIdFailure.INVALID, "the answer is from another issuer")
        if "error" in answer:
            raise OpenIdError(OpenIdFailure.CANCELLED, f"the provider answers {answer['error'][:60]!r}")
        tokens = _exchange(settings, provider, request, answer.get("code", ""), back, http)
        keys = _get(http, _endpoint(settings, provider, "jwks_uri"))
        claims = check_id_token(settings, keys, tokens, request.nonce, now)
        if "email" not in claims:
            access = str(tokens.get("access_token", ""))
            person = _get(http, _endpoint(settings, provider, "userinfo_endpoint"), access)
            # OpenID Connect Core §5.3.2: the answer may be about somebody else.
            if person.get("sub") != claims["sub"]:
                raise OpenIdError(OpenIdFailure.INVALID, "the userinfo is about another person")
            claims = person
    email = claims.get("email")
    # Some providers write the boolean as a string.
    if not isinstance(email, str) or claims.get("email_verified") not in (True, "true"):
        raise OpenIdError(OpenIdFailure.UNVERIFIED, "the provider names no verified e-mail address")
    return email


def check_id_token(
    settings: OpenIdSettings, keys: Mapping[str, Any], tokens: Mapping[str, Any], nonce: str, now: datetime
) -> dict[str, Any]:
    """Return the claims of the ID token after all checks of OpenID Connect Core §3.1.3.7. Raises OpenIdError."""
    found = keys.get("keys")
    usable = [
        key
        for key in (found if isinstance(found, list) else [])
        if isinstance(key, dict) and key.get("kty") in ("RSA", "EC") and key.get("use", "sig") == "sig"
    ]
    try:
        token = jwt.decode(str(tokens.get("id_token", "")), KeySet.import_key_set({"keys": usable}), _ALGORITHMS)
        claims = CodeIDToken(
            token.claims,
            token.header,
            options={
                "iss": {"essential": True, "value": settings.issuer},
                "aud": {"essential": True, "value": settings.client_id},
            },
            params={"nonce": nonce, "client_id": settings.client_id, "access_token": tokens.get("access_token")},
        )
        claims.validate(int(now.timestamp()), _LEEWAY)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise OpenIdError(OpenIdFailure.INVALID, f"the ID token is not valid: {error}") from error
    return dict(claims)


def _session(settings: OpenIdSettings) -> closing[GuardedSession]:
    return closing(GuardedSession(allow_private=settings.allow_private, timeout=_TIMEOUT))


def _discover(settings: OpenIdSettings, http: GuardedSession) -> dict[str, Any]:
    """Read what the provider says about itself (OpenID Connect Discovery 1.0 §4)."""
    provider = _get(http, get_well_known_url(settings.issuer, external=True))
    if provider.get("issuer") != settings.issuer:
        detail = f"the provider calls itself {str(provider.get('issuer'))[:200]!r}; write it so under room.oidc.issuer"
        raise OpenIdError(OpenIdFailure.INVALID, detail)
    return provider


def _exchange(
    settings: OpenIdSettings,
    provider: Mapping[str, Any],
    request: OpenIdRequest,
    code: str,
    back: str,
    http: GuardedSession,
) -> dict[str, Any]:
    """Exchange the code for the tokens. The verifier shows that we are who asked (RFC 7636 §4.5)."""
    url = _endpoint(settings, provider, "token_endpoint")
    # RFC 6749 §2.3.1: both are form-encoded before they become user and password. Authlib does not do this.
    client_id, secret = quote_plus(settings.client_id), quote_plus(settings.client_secret.get_secret_value())
    methods = provider.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    if "client_secret_basic" in methods:
        auth = ClientAuth(client_id, secret, "client_secret_basic")
    else:
        auth = ClientAuth(settings.client_id, settings.client_secret.get_secret_value(), "client_secret_post")
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    body = prepare_token_request(
        "authorization_code", redirect_uri=back, code=code or "-", code_verifier=request.verifier
    )
    url, headers, body = auth.prepare("POST", url, headers, body)
    return _read(_send(http, "POST", url, body.encode(), headers), "the token endpoint")


def _endpoint(settings: OpenIdSettings, provider: Mapping[str, Any], name: str) -> str:
    """Return an address that the provider names. Plain http only where the settings permit it."""
    url = provider.get(name)
    schemes = ("https", "http") if settings.allow_private else ("https",)
    if not isinstance(url, str) or urlsplit(url).scheme not in schemes:
        raise OpenIdError(OpenIdFailure.INVALID, f"the provider names no {name} with https")
    return url


def _get(http: GuardedSession, url: str, access: str = "") -> dict[str, Any]:
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {access}"} if access else {})
    return _read(_send(http, "GET", url, None, headers), urlsplit(url).path)


def _send(http: GuardedSession, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> HttpResponse:
    try:
        return http.request(method, url, body, headers)
    except (NotSentError, ConnectionLostError) as error:
        raise OpenIdError(OpenIdFailure.UNREACHABLE, f"{urlsplit(url).hostname}: {error}") from error


def _read(answer: HttpResponse, where: str) -> dict[str, Any]:
    try:
        value = json.loads(answer.text)
    except (ValueError, RecursionError):
        value = None
    if answer.status >= 500 or answer.status == 429:
        raise OpenIdError(OpenIdFailure.UNREACHABLE, f"{where} answers with status {answer.status}")
    if answer.status != 200 or not isinstance(value, dict):
        reason = value.get("error") if isinstance(value, dict) else ""
        raise OpenIdError(OpenIdFailure.INVALID, f"{where} answers with status {answer.status} {str(reason)[:60]}")
    return value
