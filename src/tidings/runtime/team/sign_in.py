"""Sign in to the comms room: one-time links, a password (argon2id) with a code (RFC 6238), and limits on guesses.

An unknown address takes as long as a known one and gets the same answer, so that nobody learns who is in the team.
All moments here are real time: the newsroom's clock may be set to another one.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection

from tidings.model.errors import InputError, RefusedError
from tidings.store.engine import Store
from tidings.store.key_values import delete_value, find_value, set_value
from tidings.store.people import consent, team
from tidings.store.people.sign_ups import count_request
from tidings.store.people.team import Role, TeamMember

LINK_LENGTH = timedelta(days=3)
"""Time in which a one-time link works."""
SHORTEST_PASSWORD = 12
_LONGEST_PASSWORD = 200
BY_NETWORK, BY_PAIR, BY_ADDRESS = 30, 8, 60
"""Tries within `WINDOW` of one network, of one network for one address, and for one address from anywhere.

The last is high, so that a stranger cannot easily keep a member out.
"""
WINDOW = timedelta(minutes=10)
_STEP = 30
_FIRST_LINK = "first_admin_link"
"""Name in `facts` of the hash of the link that makes the first admin."""

_hasher = PasswordHasher()
_hashing = threading.BoundedSemaphore(2)
"""Each hash takes 64 MB: a flood of guesses must not take the memory of the sender."""


@dataclass(frozen=True, slots=True)
class SignInResult:
    """The outcome of a try: the token of a new session, or why not."""

    token: str = ""
    is_limited: bool = False


def hash_token(token: str) -> str:
    """Return what the store keeps of a link or a cookie."""
    return hashlib.sha256(token.encode()).hexdigest()


def make_link(connection: Connection, member: int, now: datetime) -> str:
    """Return the token of a new one-time link for a member. With it they choose a password and a code generator."""
    token = secrets.token_urlsafe(32)
    team.set_link(connection, member, hash_token(token), now + LINK_LENGTH)
    return token


def make_first_link(store: Store) -> str | None:
    """Return the token of a link that makes the first admin; None if there is a team. Only the newest link works."""
    token = secrets.token_urlsafe(32)
    with store.write() as connection:
        if team.list_members(connection):
            return None
        set_value(connection, _FIRST_LINK, hash_token(token))
    return token


def find_invited(connection: Connection, token: str, now: datetime) -> TeamMember | bool | None:
    """Return the member of a link, True if it makes the first admin, or None if it does not work."""
    if len(token) > 100:
        return None
    hashed = hash_token(token)
    if member := team.find_by_link(connection, hashed, now):
        return member
    stored = find_value(connection, _FIRST_LINK)
    is_first = stored is not None and secrets.compare_digest(stored, hashed) and not team.list_members(connection)
    return True if is_first else None


def make_totp_secret() -> str:
    """Return a new secret for a code generator."""
    return pyotp.random_base32()


def totp_link(secret: str, email: str, issuer: str) -> str:
    """Return the `otpauth:` link that opens a code generator on a phone."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


def check_password(password: str, email: str) -> str:
    """Return what is wrong with a new password: short, long or guessable; empty if nothing."""
    if len(password) < SHORTEST_PASSWORD:
        return "short"
    if len(password) > _LONGEST_PASSWORD:
        return "long"
    plain = password.casefold()
    local = email.partition("@")[0].casefold()
    if len(set(plain)) < 5 or (len(local) > 3 and plain.replace(local, "", 1).strip("0123456789!.-_") == ""):
        return "guessable"
    return ""


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password."""
    with _hashing:
        return _hasher.hash(password)


def find_step(secret: str, code: str, now: datetime) -> int | None:
    """Return the step whose code this is: the present one or a neighbour, for clocks that differ. None if wrong."""
    digits = "".join(code.split())
    generator = pyotp.TOTP(secret)
    step = int(now.timestamp()) // _STEP
    matching = None
    for candidate in (step - 1, step, step + 1):
        if secrets.compare_digest(generator.at(candidate * _STEP).encode(), digits.encode()):
            matching = candidate
    return matching


def accept_link(
    connection: Connection, token: str, *, email: str, password: str, secret: str, step: int, now: datetime
) -> TeamMember:
    """Use a link: set the credentials of its member, or make the first admin. `password` is a hash.

    Raises RefusedError if the link was used or has expired, InputError for an invalid address of the first admin.
    """
    invited = find_invited(connection, token, now)
    hashed = hash_token(token)
    if invited is True:
        number = team.add_member(connection, email, Role.ADMIN, (), now)
        if number is None:
            raise RefusedError("this link was used already")
        team.set_link(connection, number, hashed, now + LINK_LENGTH)
        delete_value(connection, _FIRST_LINK)
    member = team.use_link(connection, hashed, password=password, totp=secret, step=step, now=now)
    found = None if member is None else team.get_member(connection, member)
    if found is None:
        raise RefusedError("this link was used already, or is older than three days")
    return found


def sign_in(
    store: Store, email: str, password: str, code: str, *, network: str, browser: str, now: datetime
) -> SignInResult:
    """Check address, password and code. Takes as long for an unknown address as for a known one."""
    digest = _digest(email)
    if _is_limited(store, digest, network, now):
        return SignInResult(is_limited=True)
    with store.read() as connection:
        known = team.find_credentials(connection, digest)
    is_password = _verify(known.password if known else _dummy_hash(), password[:_LONGEST_PASSWORD])
    step = find_step(known.totp if known else _dummy_secret(), code[:20], now)
    with store.write() as connection:
        # The unknown pay for this transaction too.
        is_fresh = team.use_step(connection, known.member if known and is_password else 0, step or 0)
        if known is None or not is_password or step is None or not is_fresh:
            return SignInResult()
        if _hasher.check_needs_rehash(known.password):
            team.set_password(connection, known.member, hash_password(password))
        return SignInResult(start_session(connection, known.member, browser, now))


def start_session(connection: Connection, member: int, browser: str, now: datetime) -> str:
    """Start a session and return its token, for a cookie. Each sign-in has a new one, whatever the browser sent."""
    token = secrets.token_urlsafe(32)
    team.start_session(connection, member, hash_token(token), browser, now)
    return token


def _digest(email: str) -> str:
    try:
        return consent.address_hash(email[:300])
    except InputError:
        return hashlib.sha256(b"no address: " + email[:300].encode()).hexdigest()


def is_network_limited(store: Store, network: str, now: datetime) -> bool:
    """Count an attempt to sign in from a network. Returns whether there were too many."""
    with store.write() as connection:
        return _count(connection, "room-network", network, now) > BY_NETWORK


def _is_limited(store: Store, digest: str, network: str, now: datetime) -> bool:
    with store.write() as connection:
        # Count all, even if the first is over its limit.
        return any(
            [
                _count(connection, "room-network", network, now) > BY_NETWORK,
                _count(connection, "room-pair", f"{network} {digest}", now) > BY_PAIR,
                _count(connection, "room-address", digest, now) > BY_ADDRESS,
            ]
        )


def _count(connection: Connection, scope: str, key: str, now: datetime) -> int:
    hidden = hashlib.sha256(f"{scope}:{key}".encode()).hexdigest()[:32]
    return count_request(connection, scope, hidden, WINDOW, now)


def _verify(hashed: str, password: str) -> bool:
    with _hashing:
        try:
            return _hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False


@lru_cache(maxsize=1)
def _dummy_hash() -> str:
    return _hasher.hash(secrets.token_urlsafe(16))


@lru_cache(maxsize=1)
def _dummy_secret() -> str:
    return make_totp_secret()
