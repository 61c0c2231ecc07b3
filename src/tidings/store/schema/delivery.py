"""Mailings, their deliveries, and how mail leaves."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from tidings.store.schema.base import metadata
from tidings.store.schema.columns import Moment, RowId

mailings = Table(
    "mailings",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("key", String, nullable=False, unique=True, comment="edition:17, notice:..., test:..."),
    Column("kind", String, nullable=False),
    Column("edition", RowId, index=True),
    Column("schedule", String, nullable=False),
    Column("open", Boolean, nullable=False, comment="its deliveries may be claimed"),
    Column("closes", Moment, comment="none of its deliveries is claimed from then on: the end of the window"),
    Column("urgent", Boolean, nullable=False, comment="goes before the others"),
    Column("marked", Boolean, nullable=False, comment="all its readers' marks are set"),
    Column("at", Moment, nullable=False),
    sqlite_autoincrement=True,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("mailing", RowId, nullable=False),
    Column("target", String, nullable=False),
    Column("story", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("part", Integer, nullable=False),
    Column("list", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("subscriber", RowId),
    Column("selection", RowId),
    Column("rendition", RowId),
    Column("mark", RowId, comment="what the subscription's mark becomes once this is served"),
    Column("address_hash", String, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("doubts", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("owner", String, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("lease_until", Moment, comment="real time, not the newsroom's"),
    Column("next_at", Moment, comment="of deferred ones and posts in doubt; pending ones have none"),
    Column("not_before", Moment, comment="real time: what the other side asked for (Retry-After)"),
    Column("handed_at", Moment, comment="real time of the first hand-over that may have arrived (idempotency windows)"),
    Column("receipt", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("sender", String, nullable=False, comment="by which it was handed over last; empty for posts"),
    Column("returned", String, nullable=False),
    Column("at", Moment, nullable=False),
    Column("details", JSON, nullable=False, comment="of mailings that are no edition: address, subject, text"),
    UniqueConstraint("mailing", "target", "story", "purpose", "part"),
    Index("ix_deliveries_state", "state", "mailing", "next_at", "id"),
    Index("ix_deliveries_subscriber", "subscriber"),
    Index("ix_deliveries_selection", "selection"),
    Index(
        "uq_deliveries_post",
        "channel",
        "story",
        "purpose",
        "part",
        unique=True,
        sqlite_where=text("channel <> '' AND story <> '' AND state NOT IN ('cancelled', 'skipped')"),
        postgresql_where=text("channel <> '' AND story <> '' AND state NOT IN ('cancelled', 'skipped')"),
    ),
    sqlite_autoincrement=True,
)

uploads = Table(
    "uploads",
    metadata,
    Column("delivery", RowId, primary_key=True, autoincrement=False),
    Column("key", String, primary_key=True, comment="SHA-256 of the bytes"),
    Column("remote", Text, nullable=False, comment="what the service calls them, and whether it is busy with them"),
    Column("at", Moment, nullable=False),
    comment="Pictures that a service took before the post that shows them: a later try does not upload them again.",
)

had = Table(
    "had",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("selection", RowId, nullable=False, index=True),
    Column("subscribers", LargeBinary, nullable=False, comment="their ids in order, as zlib over JSON"),
    comment="Who was served with what, once `keep` has taken the deliveries: no story goes to a reader twice.",
    sqlite_autoincrement=True,
)

tallies = Table(
    "tallies",
    metadata,
    Column("mailing", RowId, primary_key=True, autoincrement=False),
    Column("list", String, primary_key=True),
    Column("language", String, primary_key=True),
    Column("state", String, primary_key=True),
    Column("reason", String, primary_key=True, comment="of those that were skipped"),
    Column("returned", String, primary_key=True),
    Column("count", Integer, nullable=False),
    comment="Deliveries that `keep` has taken, counted.",
)

journal = Table(
    "journal",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("owner", String, nullable=False, index=True),
    Column("delivery", RowId, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("entry", Text, nullable=False),
    comment="Intents and outcomes on PostgreSQL; SQLite keeps a file beside itself.",
    sqlite_autoincrement=True,
)

paces = Table(
    "paces",
    metadata,
    Column("sender", String, primary_key=True),
    Column("domain", String, primary_key=True, comment="of recipients; empty: the sender as a whole"),
    Column("free_from", Float, nullable=False, comment="the next free place, in seconds since 1970"),
    Column("rate", Float, comment="messages a second at the last refusal for now; NULL: there was none"),
    Column("refused_at", Float, nullable=False, comment="when that was"),
    comment="How fast mail may go; kept over restarts, and for all processes.",
)

senders = Table(
    "senders",
    metadata,
    Column("name", String, primary_key=True),
    Column("fingerprint", String, nullable=False, comment="of its settings; others begin afresh"),
    Column("failures", Integer, nullable=False, comment="in a row"),
    Column("reason", Text, nullable=False),
    Column("down_until", Moment, comment="real time"),
    comment="Senders of mail that failed lately.",
)

notices = Table(
    "notices",
    metadata,
    Column("key", String, primary_key=True, comment="what it is about: the same thing is told once"),
    Column("kind", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("told_at", Moment),
    comment="What a person must hear of.",
)
