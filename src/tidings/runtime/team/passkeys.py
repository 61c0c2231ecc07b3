"""Passkeys (WebAuthn): what the browser is asked, and the checks of what it answers. py_webauthn does both.

A passkey asks for the finger, the face or the PIN of its device (user verification), so it needs neither password nor
code. Each challenge is signed, belongs to one browser and one purpose, is good for ten minutes, and works once.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

import webauthn
from sqlalchemy import Connection
from webauthn.helpers import (
    bytes_to_base64url,
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from tidings.model.errors import InputError
from tidings.model.tokens import TokenKeys, TokenPurpose
from tidings.runtime.team import sign_in as signing
from tidings.store.engine import Store
from tidings.store.people import passkeys, team
from tidings.store.people.passkeys import Passkey

_LENGTH = timedelta(minutes=10)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Use = Literal["add", "sign-in"]


@dataclass(frozen=True, slots=True)
class PasskeySite:
    """The site that passkeys are for. `domain` is the relying party's id, `origin` the one origin that may use them."""

    domain: str
    origin: str

    @classmethod
    def from_url(cls, url: str) -> PasskeySite | None:
        """Return the site at an address; None where browsers allow no passkeys: plain http, or an IP address."""
        parts = urlsplit(url)
        domain = parts.hostname or ""
        if parts.scheme != "https" and domain != "localhost":
            return None
        try:
            ipaddress.ip_address(domain)
        except ValueError:
            return cls(domain, f"{parts.scheme}://{parts.netloc.lower()}")
        return None


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """A passkey that was just made, as the store keeps it."""

    credential: str
    public_key: str
    sign_count: int


class PasskeyChallenges:
    """The challenges of one browser, known by its cookie."""

    def __init__(self, keys: TokenKeys, cookie: str) -> None:
        self._keys = keys
        self._browser = signing.hash_token(cookie)[:16]

    def make(self, use: Use, now: datetime) -> bytes:
        """Return a new challenge."""
        text = f"{use}:{secrets.token_urlsafe(16)}:{self._browser}"
        return self._keys.sign(TokenPurpose.PASSKEY, (now - _EPOCH) // timedelta(microseconds=1), text).encode()

    def check(self, use: Use, challenge: bytes, now: datetime) -> datetime:
        """Return when a challenge was made. Raises InputError if it is not ours, or too old."""
        found = self._keys.verify(TokenPurpose.PASSKEY, challenge.decode("ascii", "replace"))
        if found is not None and found.subscriber < 1 << 53:
            issued = _EPOCH + timedelta(microseconds=found.subscriber)
            purpose, _, rest = found.list.partition(":")
            is_ours = hmac.compare_digest(rest.rpartition(":")[2], self._browser)
            if purpose == use and is_ours and timedelta() <= now - issued <= _LENGTH:
                return issued
        raise InputError("this page is too old")


def creation_options(
    site: PasskeySite, name: str, member: int, email: str, known: Sequence[Passkey], keys: TokenKeys, challenge: bytes
) -> str:
    """Return what `navigator.credentials.create` needs, as JSON. `member` is 0 for somebody who is only joining."""
    # Equal for each passkey of a member, so that a device shows one account; 60 of the 64 bytes that are allowed.
    user = keys.sign(TokenPurpose.PASSKEY, member, "user").encode() if member else secrets.token_bytes(32)
    options = webauthn.generate_registration_options(
        rp_id=site.domain,
        rp_name=name,
        user_id=user,
        user_name=email or name,
        user_display_name=email or name,
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[
            PublicKeyCredentialDescriptor(id=webauthn.base64url_to_bytes(passkey.credential)) for passkey in known
        ],
    )
    return webauthn.options_to_json(options)


def request_options(site: PasskeySite, challenge: bytes) -> str:
    """Return what `navigator.credentials.get` needs, as JSON. It names no member: the device knows its passkeys."""
    options = webauthn.generate_authentication_options(
        rp_id=site.domain, challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
    )
    return webauthn.options_to_json(options)


def check_new(site: PasskeySite, challenges: PasskeyChallenges, answer: str, now: datetime) -> NewPasskey:
    """Check the answer to `creation_options`. Raises InputError."""
    try:
        credential = parse_registration_credential_json(answer)
        challenge = parse_client_data_json(credential.response.client_data_json).challenge
        challenges.check("add", challenge, now)
        found = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=site.domain,
            expected_origin=site.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise InputError(f"this passkey cannot be used: {error}") from error
    if len(found.credential_id) > passkeys.LONGEST_CREDENTIAL:
        raise InputError("this passkey cannot be used: its id is too long")
    return NewPasskey(
        bytes_to_base64url(found.credential_id), bytes_to_base64url(found.credential_public_key), found.sign_count
    )


def store_new(connection: Connection, member: int, new: NewPasskey, name: str, now: datetime) -> bool:
    """Store a checked passkey. Returns False if it is known already, or if the member has too many."""
    return passkeys.add_passkey(
        connection,
        member,
        credential=new.credential,
        public_key=new.public_key,
        sign_count=new.sign_count,
        name=name,
        now=now,
    )


def sign_in(
    store: Store,
    site: PasskeySite,
    challenges: PasskeyChallenges,
    answer: str,
    *,
    network: str,
    browser: str,
    now: datetime,
) -> signing.SignInResult:
    """Check the answer to `request_options`, and start a session."""
    if signing.is_network_limited(store, network, now):
        return signing.SignInResult(is_limited=True)
    try:
        credential = parse_authentication_credential_json(answer)
        challenge = parse_client_data_json(credential.response.client_data_json).challenge
        issued = challenges.check("sign-in", challenge, now)
        with store.read() as connection:
            known = passkeys.find_passkey(connection, bytes_to_base64url(credential.raw_id))
        if known is None:
            return signing.SignInResult()
        found = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=site.domain,
            expected_origin=site.origin,
            credential_public_key=webauthn.base64url_to_bytes(known.public_key),
            credential_current_sign_count=known.sign_count,
            require_user_verification=True,
        )
    except (InputError, WebAuthnException, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return signing.SignInResult()
    with store.write() as connection:
        member = team.get_member(connection, known.member)
        if member is None or not passkeys.use_passkey(connection, known.id, found.new_sign_count, issued, now):
            return signing.SignInResult()
        return signing.SignInResult(signing.start_session(connection, known.member, browser, now))
