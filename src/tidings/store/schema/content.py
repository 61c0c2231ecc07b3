"""What is published: items, slots, editions and what they froze."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint

from tidings.store.schema.base import metadata
from tidings.store.schema.columns import Moment, RowId

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

shelves = Table(
    "shelves",
    metadata,
    Column("source", String, primary_key=True),
    Column("version", Integer, nullable=False, comment="grows with every change"),
    Column("state", JSON, nullable=False, comment="validators, when to ask again, what went wrong"),
    comment="What a source on the network keeps between two fetches.",
)

shelf_entries = Table(
    "shelf_entries",
    metadata,
    Column("source", String, primary_key=True),
    Column("ref", String, primary_key=True, comment="minted once, whatever the other side calls it later"),
    Column("version", Integer, nullable=False, comment="of the shelf when it last changed"),
    Column("seen", Moment, nullable=False),
    Column("backlog", Boolean, nullable=False, comment="stood there when the source was first read"),
    Column("gone", Boolean, nullable=False, comment="the source says that it was taken away"),
    Column("data", JSON, nullable=False, comment="what the source told last"),
    Index("ix_shelf_entries_version", "source", "version"),
    comment="Items as a source on the network told them last.",
)

documents = Table(
    "documents",
    metadata,
    Column("path", String, primary_key=True),
    Column("etag", String, nullable=False),
    Column("modified", Moment, nullable=False),
    comment="What stands in public/: ETag and Last-Modified move together.",
)

pings = Table(
    "pings",
    metadata,
    Column("channel", String, primary_key=True),
    Column("path", String, primary_key=True),
    Column("etag", String, nullable=False, comment="of the bytes that it heard of last"),
    Column("tries", Integer, nullable=False, comment="that failed since"),
    Column("due", Moment, comment="of the next one"),
    comment="What a WebSub hub was told of each feed.",
)

hub_subscriptions = Table(
    "hub_subscriptions",
    metadata,
    Column("source", String, primary_key=True),
    Column("hub", String, nullable=False),
    Column("topic", String, nullable=False, comment="the feed, by the address that it names as its own"),
    Column("token", String, nullable=False, unique=True, comment="of the address where the hub calls"),
    Column("secret", String, nullable=False, comment="with which it signs"),
    Column("asked", Moment, comment="when it was asked last"),
    Column("tries", Integer, nullable=False, comment="that nothing came of"),
    Column("due", Moment, comment="when it is asked again"),
    Column("until", Moment, comment="end of the lease that it gave"),
    Column("called", Moment, comment="when it told of a change last"),
    Column("problem", Text, nullable=False),
    comment="WebSub hubs that tell of a feed that a source reads.",
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

archives = Table(
    "archives",
    metadata,
    Column("list", String, primary_key=True),
    Column("number", Integer, primary_key=True, comment="of the edition on this list, whichever schedule made it"),
    Column("edition", RowId, nullable=False),
    UniqueConstraint("edition", "list"),
    comment="Where an edition stands in the archive of a public list; fixed when it is frozen.",
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
