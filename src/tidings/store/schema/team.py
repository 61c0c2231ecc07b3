"""The team: members, their sessions in the comms room, keys of the API, and the log of what they did."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Integer, String, Text

from tidings.store.schema.base import Moment, RowId, table

team_members = table(
    "team_members",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column(
        "email",
        String,
        nullable=False,
        doc="normal form; not named `address`: erasing a reader spares the team",
    ),
    Column("email_hash", String, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("role", String, nullable=False, doc="viewer, writer, editor, admin"),
    Column("lists", JSON, nullable=False, doc="the lists that they may work on; empty: all"),
    Column("language", String, nullable=False, doc="of the room; empty: the browser's"),
    Column("password", Text, nullable=False, doc="argon2id hash; empty until the one-time link is used"),
    Column("totp", Text, nullable=False, doc="secret of the code generator (RFC 6238), in base32"),
    Column("totp_step", RowId, nullable=False, doc="the last step whose code was used: a code works once"),
    Column("link", String, unique=True, doc="SHA-256 of the one-time link's token"),
    Column("link_until", Moment, doc="real time"),
    Column("created", Moment, nullable=False),
    sqlite_autoincrement=True,
)

team_sessions = table(
    "team_sessions",
    Column("token", String, primary_key=True, doc="SHA-256 of the cookie"),
    Column("member", RowId, nullable=False, index=True),
    Column("created", Moment, nullable=False, doc="real time, like all moments of a session"),
    Column("seen", Moment, nullable=False),
    Column("browser", Text, nullable=False),
)

team_passkeys = table(
    "team_passkeys",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("member", RowId, nullable=False, index=True),
    Column("credential", Text, nullable=False, unique=True, doc="id of the credential, in base64url"),
    Column("public_key", Text, nullable=False, doc="in COSE format (RFC 9053), in base64url"),
    Column("sign_count", RowId, nullable=False, doc="how often the device says that it signed; many always say 0"),
    Column("name", Text, nullable=False),
    Column("created", Moment, nullable=False, doc="real time, like all moments of a passkey"),
    Column("used", Moment, nullable=False, doc="a challenge that is older than this is refused"),
    sqlite_autoincrement=True,
)

team_log = table(
    "team_log",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("who", Text, nullable=False, doc="a member's address, `key NAME`, or the account on the server"),
    Column("via", String, nullable=False, doc="room, command, api or mail (the link of a reviewer)"),
    Column("action", String, nullable=False, doc="a key such as edition.released"),
    Column("about", Text, nullable=False, doc="what it was done to; a subscriber by number, never by address"),
    Column("details", Text, nullable=False),
    sqlite_autoincrement=True,
)

api_keys = table(
    "api_keys",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("name", String, nullable=False, unique=True),
    Column("token", String, nullable=False, unique=True, doc="SHA-256 of the key, which is shown once"),
    Column("role", String, nullable=False, doc="viewer, writer, editor, admin"),
    Column("lists", JSON, nullable=False, doc="the lists that it may work on; empty: all"),
    Column("who", Text, nullable=False, doc="who made it"),
    Column("created", Moment, nullable=False, doc="real time, like all moments of a key"),
    Column("used", Moment, doc="the last use, within ten minutes"),
    sqlite_autoincrement=True,
)

api_answers = table(
    "api_answers",
    Column("key", RowId, primary_key=True, autoincrement=False, doc="the API key"),
    Column("name", String, primary_key=True, doc="the Idempotency-Key of the request"),
    Column("request", String, nullable=False, doc="SHA-256 of method, address and body"),
    Column("status", Integer, doc="NULL while the first request is being answered"),
    Column("body", Text, nullable=False),
    Column("at", Moment, nullable=False, doc="real time"),
)
"""Answers to requests with an Idempotency-Key: a repeat gets the same answer and does nothing."""
