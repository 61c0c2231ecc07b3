"""Content: items, public files, schedules, slots, editions and their frozen renditions."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Index, Integer, LargeBinary, String, Text, UniqueConstraint, text

from tidings.store.schema.base import Moment, RowId, only, table

facts = table(
    "facts",
    Column("name", String, primary_key=True),
    Column("value", Text, nullable=False),
)
"""Single values by name: the clock of the newsroom, counters."""

items = table(
    "items",
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
    Column("ready_at", Moment, doc="when it first was no draft"),
    Column("out_at", Moment, doc="when it became new to schedules; fixed once it has passed"),
    Column("changed", Moment, nullable=False, doc="last significant change; unique in a language"),
    Column("updated", Moment),
    Column("embargo", Moment),
    Column("expires", Moment),
    Column("starts", Moment),
    Column("ends", Moment),
    Column("corrected_at", Moment),
    Column("gone_at", Moment, doc="when it vanished from its source"),
    Column("missing_since", Moment, doc="missing in one sweep, not yet in two"),
    Column("draft", Boolean, nullable=False),
    Column("correction", Text, nullable=False),
    Column("withdrawn", Text, nullable=False),
    Column("details", JSON, nullable=False, doc="fields that are read only as a whole"),
    Column("fingerprint", String, nullable=False),
    Column("version", Integer, nullable=False, doc="`items_version` when this row last changed"),
    UniqueConstraint("source", "ref"),
    UniqueConstraint("story", "language"),
    UniqueConstraint("language", "slug"),
    Index("ix_items_language_changed", "language", "changed"),
    Index("ix_items_language_published", "language", "published"),
    Index("ix_items_version", "version"),
    Index("ix_items_fingerprint", "fingerprint"),
    Index("ix_items_published", "published"),
    Index("ix_items_embargo", "embargo"),
    Index("ix_items_source_gone_missing", "source", "gone_at", "missing_since"),
    Index("ix_items_gone", "language", "gone_at", **only("gone_at IS NOT NULL")),
    Index("ix_items_withdrawn", "story", **only("withdrawn <> ''")),
)

source_files = table(
    "source_files",
    Column("source", String, primary_key=True),
    Column("ref", String, primary_key=True),
    Column("signature", String, nullable=False, doc="inode, size and times when it was read; '': read it again"),
    Column("needs", Text, nullable=False, doc="JSON: signatures of the files that it shows, by path; '' for none"),
    Column("state", String, nullable=False, doc="settled: the store has its item; refused; open: read it again"),
    Column("name", String, nullable=False, doc="of its item"),
    Column("story", String, nullable=False, doc="the story key that the editor wrote"),
    Column("problems", Text, nullable=False, doc="JSON; '' for none"),
    Column(
        "leftovers",
        Text,
        nullable=False,
        server_default=text("''"),
        doc="JSON: parts of a draft in its item; '' for none",
    ),
    Index("ix_source_files_name", "source", "name"),
    Index("ix_source_files_story", "source", "story"),
    Index("ix_source_files_state", "source", "state"),
)
"""What reading each file of a folder gave, so that an unchanged file is not read again."""

set_aside = table(
    "set_aside",
    Column("source", String, primary_key=True),
    Column("ref", String, primary_key=True),
    Column("problem", Text, nullable=False),
    Column("since", Moment, nullable=False),
    Column("notified_at", Moment),
)
"""Content that could not be read, and why."""

fetch_caches = table(
    "fetch_caches",
    Column("source", String, primary_key=True),
    Column("version", Integer, nullable=False, doc="grows with every change"),
    Column("state", JSON, nullable=False, doc="HTTP validators, next fetch, last error"),
)
"""The state of a source on the network between two fetches."""

cached_items = table(
    "cached_items",
    Column("source", String, primary_key=True),
    Column("ref", String, primary_key=True, doc="created once, even if the source renames the item later"),
    Column("version", Integer, nullable=False, doc="version of the fetch cache when the item last changed"),
    Column("seen", Moment, nullable=False),
    Column("backlog", Boolean, nullable=False, doc="existed when the source was first read"),
    Column("gone", Boolean, nullable=False, doc="the source says that it was deleted"),
    Column("data", JSON, nullable=False, doc="the content of the last fetch"),
    Index("ix_cached_items_version", "source", "version"),
)
"""Items of sources on the network, as last fetched."""

published_files = table(
    "published_files",
    Column("path", String, primary_key=True),
    Column("etag", String, nullable=False),
    Column("modified", Moment, nullable=False),
    Column("basis", String, nullable=False, doc="hash of what its bytes depend on; '' if unknown"),
)
"""Files in public/: ETag and Last-Modified change together."""

copied_files = table(
    "copied_files",
    Column("path", String, primary_key=True),
    Column("etag", String, nullable=False, doc="the version that is in the bucket"),
)
"""Files of public/ in the bucket of `publish`."""

edition_media = table(
    "edition_media",
    Column("edition", RowId, primary_key=True, autoincrement=False, doc="0: the newsroom's logo, in any mail"),
    Column("path", String, primary_key=True, doc="media/DIGEST/NAME, below public/"),
)
"""The pictures and files that frozen mails and posts show: they stay as long as the edition."""

websub_pings = table(
    "websub_pings",
    Column("channel", String, primary_key=True),
    Column("path", String, primary_key=True),
    Column("etag", String, nullable=False, doc="of the bytes of the last successful ping"),
    Column("tries", Integer, nullable=False, doc="failed pings since then"),
    Column("due", Moment, doc="when to try again"),
)
"""The last pings to each WebSub hub, by feed."""

hub_subscriptions = table(
    "hub_subscriptions",
    Column("source", String, primary_key=True),
    Column("hub", String, nullable=False),
    Column("topic", String, nullable=False, doc="address of the feed, as the feed names it"),
    Column("token", String, nullable=False, unique=True, doc="in the address that the hub calls"),
    Column("secret", String, nullable=False, doc="the hub signs with it"),
    Column("asked", Moment, doc="when we last asked to subscribe"),
    Column("tries", Integer, nullable=False, doc="failed requests since the last success"),
    Column("due", Moment, doc="when to ask again"),
    Column("until", Moment, doc="end of the lease"),
    Column("called", Moment, doc="when the hub last reported a change"),
    Column("problem", Text, nullable=False),
)
"""Subscriptions of sources at WebSub hubs."""

schedules = table(
    "schedules",
    Column("name", String, primary_key=True),
    Column("baseline", Moment, nullable=False, doc="items published before are not sent"),
    Column("last_slot", Moment, doc="key of the last settled slot"),
    Column("last_cut", Moment, doc="newer items make the next slot of `on: new`"),
)

pauses = table(
    "pauses",
    Column("scope", String, primary_key=True, doc="schedule, list, channel, all"),
    Column("name", String, primary_key=True),
    Column("since", Moment, nullable=False),
    Column("until", Moment),
    Column("reason", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("ended", Moment, doc="NULL while it is active"),
)
"""Schedules, lists and channels that a person has paused."""

slots = table(
    "slots",
    Column("schedule", String, primary_key=True),
    Column("slot", Moment, primary_key=True, doc="UTC time before any shift"),
    Column("state", String, nullable=False, doc="claimed, fired, skipped, merged"),
    Column("reason", Text, nullable=False),
    Column("edition", RowId),
    Column("owner", String, nullable=False),
    Column("at", Moment, nullable=False),
)
"""A row is the claim: two processes never fire the same slot."""

editions = table(
    "editions",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("schedule", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("slot", Moment),
    Column("cut", Moment, nullable=False),
    Column("starts", Moment, nullable=False, doc="no delivery before; later than the cut after an approval"),
    Column("state", String, nullable=False),
    Column("holds", JSON, nullable=False, doc="[[reason, detail], ...]"),
    Column("stories", JSON, nullable=False),
    Column("owner", String, nullable=False, doc="the process that composes it"),
    Column("history", JSON, nullable=False, doc="[[at, what, who], ...]"),
    Column("request", JSON, nullable=False, doc="of `tidings send`: the stories that a person named"),
    Column("at", Moment, nullable=False),
    UniqueConstraint("schedule", "number"),
    UniqueConstraint("schedule", "slot"),
    sqlite_autoincrement=True,
)

archives = table(
    "archives",
    Column("list", String, primary_key=True),
    Column("number", Integer, primary_key=True, doc="of the edition on this list, across schedules"),
    Column("edition", RowId, nullable=False),
    UniqueConstraint("edition", "list"),
)
"""Numbers of editions in the archive of public lists; fixed when an edition is frozen."""

used_stories = table(
    "used_stories",
    Column("schedule", String, primary_key=True),
    Column("story", String, primary_key=True),
    Column("edition", RowId, nullable=False, index=True),
)
"""A schedule uses a story once; a held edition reserves its stories here."""

renditions = table(
    "renditions",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("edition", RowId, nullable=False),
    Column("outlet", String, nullable=False, doc="list:NAME or channel:NAME"),
    Column("language", String, nullable=False),
    Column("story", String, nullable=False, doc="with `per: item`, else empty"),
    Column("document", LargeBinary, nullable=False, doc="frozen bytes: zlib over JSON, or the body of a post"),
    Column("digest", String, nullable=False, doc="hex SHA-256 of the document"),
    UniqueConstraint("edition", "outlet", "language", "story"),
    sqlite_autoincrement=True,
)

selections = table(
    "selections",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("rendition", RowId, nullable=False, index=True),
    Column("key", String, nullable=False, doc="hash of what it shows: readers with the same content share it"),
    Column("arrangement", JSON, nullable=False, doc="subject, preheader, order of fragments"),
    UniqueConstraint("rendition", "key"),
    sqlite_autoincrement=True,
)

selection_stories = table(
    "selection_stories",
    Column("selection", RowId, primary_key=True),
    Column("story", String, primary_key=True),
    Column("what", String, primary_key=True, doc="story, note or correction"),
    Column("version", String, nullable=False, doc="of a correction: the hash of its text"),
    Index("ix_selection_stories_story", "story"),
)
