"""Mailings, their deliveries, and the state of sending."""

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
    Text,
    UniqueConstraint,
    false,
)

from tidings.store.schema.base import Moment, RowId, only, table

mailings = table(
    "mailings",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("key", String, nullable=False, unique=True, doc="edition:17, notice:..., test:..."),
    Column("kind", String, nullable=False),
    Column("edition", RowId, index=True),
    Column("schedule", String, nullable=False),
    Column("open", Boolean, nullable=False, doc="its deliveries may be claimed"),
    Column("closes", Moment, doc="end of the sending window: no delivery is claimed from then on"),
    Column("urgent", Boolean, nullable=False, doc="is sent before others"),
    Column("marked", Boolean, nullable=False, doc="the marks of all its readers are set"),
    Column("at", Moment, nullable=False),
    Column(
        "postpones",
        Boolean,
        nullable=False,
        server_default=false(),
        doc="stories of it wait for a later edition of some readers or a channel",
    ),
    Index("ix_mailings_schedule", "schedule", "postpones"),
    sqlite_autoincrement=True,
)

deliveries = table(
    "deliveries",
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
    Column("mark", RowId, doc="the mark of the subscription once this is accepted"),
    Column("address_hash", String, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("doubts", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("owner", String, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("lease_until", Moment, doc="real time, not the clock of the newsroom"),
    Column("next_at", Moment, doc="next try of a deferred delivery or a post in doubt; NULL if pending"),
    Column("not_before", Moment, doc="real time: a sending rate or a Retry-After"),
    Column("handed_at", Moment, doc="real time of the first hand-over that may have arrived"),
    Column("receipt", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("sender", String, nullable=False, doc="of the last hand-over; empty for posts"),
    Column("returned", String, nullable=False),
    Column("at", Moment, nullable=False),
    Column("details", JSON, nullable=False, doc="of mailings without an edition: address, subject, text"),
    UniqueConstraint("mailing", "target", "story", "purpose", "part"),
    Index("ix_deliveries_state", "state", "mailing", "next_at", "id"),
    Index("ix_deliveries_subscriber", "subscriber"),
    Index("ix_deliveries_selection", "selection"),
    Index("ix_deliveries_returned", "returned", "mailing", **only("returned <> ''")),
    Index(
        "uq_deliveries_post",
        "channel",
        "story",
        "purpose",
        "part",
        unique=True,
        **only("channel <> '' AND story <> '' AND state NOT IN ('cancelled', 'skipped')"),
    ),
    sqlite_autoincrement=True,
)

uploads = table(
    "uploads",
    Column("delivery", RowId, primary_key=True, autoincrement=False),
    Column("key", String, primary_key=True, doc="SHA-256 of the bytes"),
    Column("remote", Text, nullable=False, doc="the id that the service gave, and whether it is still processing"),
    Column("at", Moment, nullable=False),
)
"""Pictures that were uploaded for a post: a later try does not upload them again."""

past_readers = table(
    "past_readers",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("selection", RowId, nullable=False, index=True),
    Column(
        "subscribers",
        LargeBinary,
        nullable=False,
        doc="ids in order, as zlib over JSON",
    ),
    sqlite_autoincrement=True,
)
"""The readers of a selection after `keep` has deleted the deliveries: no story is sent to a reader twice."""

deleted_deliveries = table(
    "deleted_deliveries",
    Column("mailing", RowId, primary_key=True, autoincrement=False),
    Column("list", String, primary_key=True),
    Column("language", String, primary_key=True),
    Column("state", String, primary_key=True),
    Column("reason", String, primary_key=True, doc="of skipped deliveries, else empty"),
    Column("returned", String, primary_key=True),
    Column("count", Integer, nullable=False),
)
"""Counts of the deliveries that `keep` has deleted."""

journal = table(
    "journal",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("owner", String, nullable=False),
    Column("entry", Text, nullable=False, doc="lines of JSON: see store.delivery.journal"),
)
"""Intents and outcomes of messages whose deliveries are not settled yet. It has few rows: an index would only cost."""

sending_rates = table(
    "sending_rates",
    Column("sender", String, primary_key=True),
    Column("domain", String, primary_key=True, doc="of recipients; empty: all"),
    Column("free_from", Float, nullable=False, doc="next free time to send, in seconds since 1970"),
    Column("rate", Float, doc="messages a second at the last temporary refusal; NULL: none yet"),
    Column("refused_at", Float, nullable=False, doc="time of that refusal"),
)
"""How fast mail may be sent, for all processes and across restarts."""

senders = table(
    "senders",
    Column("name", String, primary_key=True),
    Column("fingerprint", String, nullable=False, doc="of its settings; new settings clear earlier failures"),
    Column("failures", Integer, nullable=False, doc="in a row"),
    Column("reason", Text, nullable=False),
    Column("down_until", Moment, doc="real time"),
)
"""Senders of mail that failed recently."""

notices = table(
    "notices",
    Column("key", String, primary_key=True, doc="what it is about: the same thing is reported once"),
    Column("kind", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("told_at", Moment),
)
"""Messages to a person."""

events = table(
    "events",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("uid", String, nullable=False, unique=True, doc="the `webhook-id`, made once"),
    Column("key", String, nullable=False, unique=True, doc="what it is about: the same thing is reported once"),
    Column("type", String, nullable=False, doc="story.out, edition.sent, ..."),
    Column("at", Moment, nullable=False),
    Column("data", JSON, nullable=False, doc="a subscriber by number, never by address"),
    Column("queued", Boolean, nullable=False, doc="its deliveries are made"),
    Index("ix_events_queued", "queued", "id"),
    sqlite_autoincrement=True,
)
"""The events for webhooks."""
