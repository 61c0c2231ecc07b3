"""Each check of an ID token refuses the attack that it is for (OpenID Connect Core §3.1.3.7)."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from tests.config.newsrooms import ENV, MAIN, read, said, write
from tidings.config.settings import OpenIdSettings
from tidings.runtime.team.openid import OpenIdError, OpenIdFailure, OpenIdRequest, check_id_token

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SECRET = "s3cret-" * 8
ISSUER = "https://login.example.org"
SETTINGS = OpenIdSettings.model_validate({"issuer": ISSUER, "client_id": "room", "client_secret": SECRET})
KEY, OTHER = RSAKey.generate_key(2048, {"kid": "1"}), RSAKey.generate_key(2048, {"kid": "1"})
KEYS = {"keys": [{"kty": "unheard-of"}, "nonsense", KEY.as_dict(private=False)]}


def _claims(**changes: Any) -> dict[str, Any]:
    claims = {
        "iss": ISSUER,
        "sub": "7",
        "aud": "room",
        "nonce": "n",
        "iat": int(NOW.timestamp()),
        "exp": int((NOW + timedelta(minutes=5)).timestamp()),
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


def _token(claims: dict[str, Any], key: Any = KEY, alg: str = "RS256") -> dict[str, str]:
    return {"id_token": jwt.encode({"alg": alg, "kid": "1"}, claims, key, algorithms=[alg]), "access_token": "a"}


def _unsigned(claims: dict[str, Any]) -> dict[str, str]:
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return {"id_token": ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."}


def test_a_good_id_token_is_taken() -> None:
    assert check_id_token(SETTINGS, KEYS, _token(_claims()), "n", NOW)["sub"] == "7"
    both = _claims(aud=["room", "other"], azp="room")
    assert check_id_token(SETTINGS, KEYS, _token(both), "n", NOW)["sub"] == "7"
    curve = ECKey.generate_key("P-256", {"kid": "1"})
    keys = {"keys": [curve.as_dict(private=False)]}
    assert check_id_token(SETTINGS, keys, _token(_claims(), curve, "ES256"), "n", NOW)["sub"] == "7"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"aud": "another-client"},
        {"aud": ["another-client"]},
        {"aud": ["room", "other"], "azp": "other"},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"exp": int((NOW - timedelta(minutes=2)).timestamp())},
        {"exp": None},
        {"sub": None},
        {"iat": None},
        {"at_hash": "of-another-access-token"},
    ],
    ids=str,
)
def test_an_id_token_with_a_wrong_claim_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(OpenIdError) as caught:
        check_id_token(SETTINGS, KEYS, _token(_claims(**changes)), "n", NOW)
    assert caught.value.failure is OpenIdFailure.INVALID
    assert SECRET not in str(caught.value)


def test_an_id_token_that_others_signed_is_refused() -> None:
    for tokens, keys in (
        (_token(_claims(), OTHER), KEYS),
        (_unsigned(_claims()), KEYS),
        (_token(_claims(), OctKey.import_key(SECRET), "HS256"), KEYS),
        (_token(_claims()), {"keys": []}),
        (_token(_claims()), {"keys": None}),
        ({"id_token": "a.b.c"}, KEYS),
        ({}, KEYS),
    ):
        with pytest.raises(OpenIdError):
            check_id_token(SETTINGS, keys, tokens, "n", NOW)


def test_the_secrets_of_a_sign_in_differ_and_repeat() -> None:
    first, again, other = (OpenIdRequest.from_secret(secret) for secret in ("a", "a", "b"))
    assert first == again
    assert len({first.state, first.nonce, first.verifier, other.state, other.nonce, other.verifier}) == 6
    assert len(first.verifier) == 43, "RFC 7636 §4.1: 43 to 128 letters"


OIDC = "room:\n  oidc: {{issuer: {issuer!r}, client_id: room, client_secret: {secret}}}\n"


@pytest.mark.parametrize(
    ("issuer", "secret", "text"),
    [
        ("https://login.example.org", "{env: OIDC}", ""),
        ("https://login.example.org", "written-in-yaml", "secrets belong in the environment"),
        ("https://login.example.org", "{env: NOT_SET}", "NOT_SET"),
        ("http://login.example.org", "{env: OIDC}", "issuer must begin with https://"),
        ("https://login.example.org/?tenant=1", "{env: OIDC}", "an issuer has neither ? nor #"),
        ("login", "{env: OIDC}", "not a web address"),
    ],
)
def test_check_names_what_is_wrong_with_a_provider(tmp_path: Path, issuer: str, secret: str, text: str) -> None:
    written = write(tmp_path, MAIN + OIDC.format(issuer=issuer, secret=secret))
    problems = said(read(written, {**ENV, "OIDC": SECRET}))
    assert ([] if not text else [True]) == [text in problem for problem in problems], problems
    assert not any("written-in-yaml" in problem for problem in problems)
