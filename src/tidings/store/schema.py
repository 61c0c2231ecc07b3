"""Every table. Moments are integers (microseconds since 1970, UTC); what is unique is a constraint, never a hope."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from tidings.store.columns import EPOCH, Moment, RowId

__all__ = ["EPOCH", "Moment", "RowId", "metadata"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

facts = Table(
    "facts",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", Text, nullable=False),
    comment="Single values: the newsroom's clock, counters.",
)

items = Table(
    "items",
    metadata,
    Column("id", String, primary_key=True),
    Column("source", String, nullable=False),
    Column("ref", String, nullable=False),
    Column("story", String, nullable=False),
    Column("language", String, nullable=False),
    Column("slug", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("title", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("published", Moment, nullable=False),
    Column("first_seen", Moment, nullable=False),
    Column("ready_at", Moment, comment="when it was first no draft"),
    Column("out_at", Moment, comment="the first moment it was new to schedules; never moves once passed"),
    Column("changed", Moment, nullable=False, comment="last significant change; distinct in a language"),
    Column("updated", Moment),
    Column("embargo", Moment),
    Column("expires", Moment),
    Column("starts", Moment),
    Column("ends", Moment),
    Column("corrected_at", Moment),
    Column("gone_at", Moment, comment="vanished from its source"),
    Column("missing_since", Moment, comment="absent in one sweep, not yet in two"),
    Column("draft", Boolean, nullable=False),
    Column("correction", Text, nullable=False),
    Column("withdrawn", Text, nullable=False),
    Column("details", JSON, nullable=False, comment="what is only ever read as a whole"),
    Column("fingerprint", String, nullable=False),
    UniqueConstraint("source", "ref"),
    UniqueConstraint("story", "language"),
    UniqueConstraint("language", "slug"),
    Index("ix_items_language_changed", "language", "changed"),
)

set_aside = Table(
    "set_aside",
    metadata,
    Column("source", String, primary_key=True),
    Column("ref", String, primary_key=True),
    Column("problem", Text, nullable=False),
    Column("since", Moment, nullable=False),
    Column("notified_at", Moment),
    comment="Content that could not be taken, and why.",
)

documents = Table(
    "documents",
    metadata,
    Column("path", String, primary_key=True),
    Column("etag", String, nullable=False),
    Column("modified", Moment, nullable=False),
    comment="What stands in public/: ETag and Last-Modified move together.",
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", String, primary_key=True),
    Column("baseline", Moment, nullable=False, comment="what was out before does not go out"),
    Column("last_slot", Moment, comment="key of the last slot that was settled"),
    Column("last_cut", Moment, comment="what came out since then makes the next slot of `on: new`"),
)

pauses = Table(
    "pauses",
    metadata,
    Column("scope", String, primary_key=True, comment="schedule, list, channel, all"),
    Column("name", String, primary_key=True),
    Column("since", Moment, nullable=False),
    Column("until", Moment),
    Column("reason", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("ended", Moment, comment="NULL while it holds"),
    comment="What a person has stopped for a while.",
)

slots = Table(
    "slots",
    metadata,
    Column("schedule", String, primary_key=True),
    Column("slot", Moment, primary_key=True, comment="UTC instant before any shift"),
    Column("state", String, nullable=False, comment="claimed, fired, skipped, merged"),
    Column("reason", Text, nullable=False),
    Column("edition", RowId),
    Column("owner", String, nullable=False),
    Column("at", Moment, nullable=False),
    comment="A row is the claim: two processes never fire one slot.",
)

editions = Table(
    "editions",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("schedule", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("slot", Moment),
    Column("cut", Moment, nullable=False),
    Column("starts", Moment, nullable=False, comment="no delivery before; later than the cut with approval ahead"),
    Column("state", String, nullable=False),
    Column("holds", JSON, nullable=False, comment="[[reason, detail], ...]"),
    Column("stories", JSON, nullable=False),
    Column("owner", String, nullable=False, comment="who composes it"),
    Column("history", JSON, nullable=False, comment="[[at, what, who], ...]"),
    Column("request", JSON, nullable=False, comment="of `tidings send`: the stories asked for"),
    Column("at", Moment, nullable=False),
    UniqueConstraint("schedule", "number"),
    UniqueConstraint("schedule", "slot"),
    sqlite_autoincrement=True,
)

uses = Table(
    "uses",
    metadata,
    Column("schedule", String, primary_key=True),
    Column("story", String, primary_key=True),
    Column("edition", RowId, nullable=False, index=True),
    comment="A story is used once by a schedule; a held edition reserves its stories so.",
)

renditions = Table(
    "renditions",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("edition", RowId, nullable=False),
    Column("outlet", String, nullable=False, comment="list:NAME or channel:NAME"),
    Column("language", String, nullable=False),
    Column("story", String, nullable=False, comment="of `per: item`, else empty"),
    Column("document", LargeBinary, nullable=False, comment="the frozen bytes (zlib over JSON), or a post's body"),
    Column("digest", String, nullable=False, comment="hex SHA-256 of the document"),
    UniqueConstraint("edition", "outlet", "language", "story"),
    sqlite_autoincrement=True,
)

selections = Table(
    "selections",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("rendition", RowId, nullable=False, index=True),
    Column("key", String, nullable=False, comment="hash of what it shows: equal readers share one"),
    Column("arrangement", JSON, nullable=False, comment="subject, preheader, order of fragments"),
    UniqueConstraint("rendition", "key"),
    sqlite_autoincrement=True,
)

selection_stories = Table(
    "selection_stories",
    metadata,
    Column("selection", RowId, primary_key=True),
    Column("story", String, primary_key=True),
    Column("what", String, primary_key=True, comment="story, note or correction"),
    Column("version", String, nullable=False, comment="of a correction: hash of its text"),
    Index("ix_selection_stories_story", "story"),
)

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
    Column("mark", RowId, nullable=False, comment="the last edition served on this list"),
    Column("source", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("confirmed_at", Moment),
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

consents = Table(
    "consents",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("address_hash", String, nullable=False, index=True),
    Column("list", String, nullable=False),
    Column("what", String, nullable=False, comment="joined, confirmed, imported, unsubscribed, returned"),
    Column("source", Text, nullable=False),
    Column("at", Moment, nullable=False),
    sqlite_autoincrement=True,
)
