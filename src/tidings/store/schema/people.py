"""Who reads, what they agreed to, and what came back from them."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Index, Integer, String, Table, Text, UniqueConstraint

from tidings.store.schema.base import metadata
from tidings.store.schema.columns import Moment, RowId

subscribers = Table(
    "subscribers",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("address", String, nullable=False),
    Column("address_hash", String, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("language", String, nullable=False),
    Column("created", Moment, nullable=False),
    sqlite_autoincrement=True,
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("subscriber", RowId, nullable=False),
    Column("list", String, nullable=False),
    Column("state", String, nullable=False, comment="pending, confirmed, unsubscribed"),
    Column("topics", JSON, nullable=False),
    Column("frequency", String, nullable=False),
    Column("paused_until", Moment, comment="gets no edition before; what comes out meanwhile waits for them"),
    Column("mark", RowId, nullable=False, comment="the last edition served on this list"),
    Column("source", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("confirmed_at", Moment),
    Column("confirm_by", Moment, comment="asked to say once more by then that they want it; later they wait for that"),
    Column("left_at", Moment),
    UniqueConstraint("subscriber", "list"),
    Index("ix_subscriptions_list_state", "list", "state", "frequency"),
    sqlite_autoincrement=True,
)

addresses = Table(
    "addresses",
    metadata,
    Column("hash", String, primary_key=True),
    Column("version", Integer, nullable=False, comment="counts changes: hand-off and suppression both lock this row"),
    comment="One row an address, subscriber or not: the lock of consent.",
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("hash", String, primary_key=True),
    Column("list", String, primary_key=True, comment="empty: every list"),
    Column("reason", String, nullable=False),
    Column("at", Moment, nullable=False),
)

consents = Table(
    "consents",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("address_hash", String, nullable=False, index=True),
    Column("list", String, nullable=False),
    Column("what", String, nullable=False, comment="joined, confirmed, imported, unsubscribed, returned"),
    Column("source", Text, nullable=False),
    Column("wording", String, nullable=False, comment="version of the words that were agreed to"),
    Column("ip", String, nullable=False, comment="from which it came"),
    Column("at", Moment, nullable=False),
    sqlite_autoincrement=True,
)

returns = Table(
    "returns",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("key", String, nullable=False, unique=True, comment="of the report: one that comes twice counts once"),
    Column("delivery", RowId, index=True),
    Column("address_hash", String, nullable=False, index=True),
    Column("list", String, nullable=False),
    Column("kind", String, nullable=False, comment="hard, soft, complaint"),
    Column("code", String, nullable=False, comment="enhanced status code (RFC 3463), or empty"),
    Column("text", Text, nullable=False),
    Column("via", String, nullable=False, comment="how it was heard: mailbox, lmtp, ses, postmark, ..."),
    Column("at", Moment, nullable=False),
    comment="What came back: bounces and complaints.",
    sqlite_autoincrement=True,
)

requests = Table(
    "requests",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("address", String, nullable=False),
    Column("lists", JSON, nullable=False),
    Column("language", String, nullable=False),
    Column("topics", JSON, nullable=False),
    Column("frequency", String, nullable=False, comment="empty: the default of each list"),
    Column("source", Text, nullable=False),
    Column("wording", String, nullable=False),
    Column("ip", String, nullable=False),
    Column("at", Moment, nullable=False),
    comment="Who asked to be put on lists, until it is answered: known and unknown addresses alike.",
    sqlite_autoincrement=True,
)

limits = Table(
    "limits",
    metadata,
    Column("scope", String, primary_key=True, comment="ip, address, domain"),
    Column("key", String, primary_key=True),
    Column("since", Moment, primary_key=True, comment="begin of the window, in real time"),
    Column("count", Integer, nullable=False),
    comment="How often something was asked for lately.",
)

imports = Table(
    "imports",
    metadata,
    Column("key", String, primary_key=True, comment="hash of the file, the list and what was asked"),
    Column("line", Integer, nullable=False, comment="the last line that is in"),
    Column("counts", JSON, nullable=False, comment="what became of the lines so far"),
    Column("at", Moment, nullable=False),
    comment="How far an import of subscribers has come.",
)
