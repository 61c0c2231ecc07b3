"""The first tables.

Written by `python -m tests.store.write_first_migration`; frozen with the first release.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "addresses",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column(
            "version",
            sa.Integer(),
            nullable=False,
            comment="counts changes: hand-off and suppression both lock this row",
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_addresses")),
        comment="One row an address, subscriber or not: the lock of consent.",
    )
    op.create_table(
        "archives",
        sa.Column("list", sa.String(), nullable=False),
        sa.Column(
            "number", sa.Integer(), nullable=False, comment="of the edition on this list, whichever schedule made it"
        ),
        sa.Column("edition", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("list", "number", name=op.f("pk_archives")),
        sa.UniqueConstraint("edition", "list", name=op.f("uq_archives_edition_list")),
        comment="Where an edition stands in the archive of a public list; fixed when it is frozen.",
    )
    op.create_table(
        "consents",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("address_hash", sa.String(), nullable=False),
        sa.Column("list", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False, comment="joined, confirmed, imported, unsubscribed, returned"),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("wording", sa.String(), nullable=False, comment="version of the words that were agreed to"),
        sa.Column("ip", sa.String(), nullable=False, comment="from which it came"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_consents_address_hash"), "consents", ["address_hash"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("mailing", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("story", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("list", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("subscriber", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("selection", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("rendition", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "mark",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="what the subscription's mark becomes once this is served",
        ),
        sa.Column("address_hash", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("doubts", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True, comment="real time, not the newsroom's"),
        sa.Column(
            "next_at",
            sa.BigInteger(),
            nullable=True,
            comment="of deferred ones and posts in doubt; pending ones have none",
        ),
        sa.Column(
            "not_before",
            sa.BigInteger(),
            nullable=True,
            comment="real time: what the other side asked for (Retry-After)",
        ),
        sa.Column(
            "handed_at",
            sa.BigInteger(),
            nullable=True,
            comment="real time of the first hand-over that may have arrived (idempotency windows)",
        ),
        sa.Column("receipt", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False, comment="by which it was handed over last; empty for posts"),
        sa.Column("returned", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column(
            "details", sa.JSON(), nullable=False, comment="of mailings that are no edition: address, subject, text"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint(
            "mailing",
            "target",
            "story",
            "purpose",
            "part",
            name=op.f("uq_deliveries_mailing_target_story_purpose_part"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_selection", "deliveries", ["selection"], unique=False)
    op.create_index("ix_deliveries_state", "deliveries", ["state", "mailing", "next_at", "id"], unique=False)
    op.create_index("ix_deliveries_subscriber", "deliveries", ["subscriber"], unique=False)
    op.create_index(
        "uq_deliveries_post",
        "deliveries",
        ["channel", "story", "purpose", "part"],
        unique=True,
        sqlite_where=sa.text("channel <> '' AND story <> '' AND state NOT IN ('cancelled', 'skipped')"),
        postgresql_where=sa.text("channel <> '' AND story <> '' AND state NOT IN ('cancelled', 'skipped')"),
    )
    op.create_table(
        "documents",
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("etag", sa.String(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_documents")),
        comment="What stands in public/: ETag and Last-Modified move together.",
    )
    op.create_table(
        "editions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("schedule", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=True),
        sa.Column("cut", sa.BigInteger(), nullable=False),
        sa.Column(
            "starts",
            sa.BigInteger(),
            nullable=False,
            comment="no delivery before; later than the cut with approval ahead",
        ),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("holds", sa.JSON(), nullable=False, comment="[[reason, detail], ...]"),
        sa.Column("stories", sa.JSON(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False, comment="who composes it"),
        sa.Column("history", sa.JSON(), nullable=False, comment="[[at, what, who], ...]"),
        sa.Column("request", sa.JSON(), nullable=False, comment="of `tidings send`: the stories asked for"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_editions")),
        sa.UniqueConstraint("schedule", "number", name=op.f("uq_editions_schedule_number")),
        sa.UniqueConstraint("schedule", "slot", name=op.f("uq_editions_schedule_slot")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "facts",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_facts")),
        comment="Single values: the newsroom's clock, counters.",
    )
    op.create_table(
        "had",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("selection", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("subscribers", sa.LargeBinary(), nullable=False, comment="their ids in order, as zlib over JSON"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_had")),
        comment="Who was served with what, once `keep` has taken the deliveries: no story goes to a reader twice.",
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_had_selection"), "had", ["selection"], unique=False)
    op.create_table(
        "hub_subscriptions",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("hub", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False, comment="the feed, by the address that it names as its own"),
        sa.Column("token", sa.String(), nullable=False, comment="of the address where the hub calls"),
        sa.Column("secret", sa.String(), nullable=False, comment="with which it signs"),
        sa.Column("asked", sa.BigInteger(), nullable=True, comment="when it was asked last"),
        sa.Column("tries", sa.Integer(), nullable=False, comment="that nothing came of"),
        sa.Column("due", sa.BigInteger(), nullable=True, comment="when it is asked again"),
        sa.Column("until", sa.BigInteger(), nullable=True, comment="end of the lease that it gave"),
        sa.Column("called", sa.BigInteger(), nullable=True, comment="when it told of a change last"),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_hub_subscriptions")),
        sa.UniqueConstraint("token", name=op.f("uq_hub_subscriptions_token")),
        comment="WebSub hubs that tell of a feed that a source reads.",
    )
    op.create_table(
        "imports",
        sa.Column("key", sa.String(), nullable=False, comment="hash of the file, the list and what was asked"),
        sa.Column("line", sa.Integer(), nullable=False, comment="the last line that is in"),
        sa.Column("counts", sa.JSON(), nullable=False, comment="what became of the lines so far"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_imports")),
        comment="How far an import of subscribers has come.",
    )
    op.create_table(
        "items",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("story", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("slug", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("published", sa.BigInteger(), nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("ready_at", sa.BigInteger(), nullable=True, comment="when it was first no draft"),
        sa.Column(
            "out_at",
            sa.BigInteger(),
            nullable=True,
            comment="the first moment it was new to schedules; never moves once passed",
        ),
        sa.Column(
            "changed", sa.BigInteger(), nullable=False, comment="last significant change; distinct in a language"
        ),
        sa.Column("updated", sa.BigInteger(), nullable=True),
        sa.Column("embargo", sa.BigInteger(), nullable=True),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.Column("starts", sa.BigInteger(), nullable=True),
        sa.Column("ends", sa.BigInteger(), nullable=True),
        sa.Column("corrected_at", sa.BigInteger(), nullable=True),
        sa.Column("gone_at", sa.BigInteger(), nullable=True, comment="vanished from its source"),
        sa.Column("missing_since", sa.BigInteger(), nullable=True, comment="absent in one sweep, not yet in two"),
        sa.Column("draft", sa.Boolean(), nullable=False),
        sa.Column("correction", sa.Text(), nullable=False),
        sa.Column("withdrawn", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False, comment="what is only ever read as a whole"),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_items")),
        sa.UniqueConstraint("language", "slug", name=op.f("uq_items_language_slug")),
        sa.UniqueConstraint("source", "ref", name=op.f("uq_items_source_ref")),
        sa.UniqueConstraint("story", "language", name=op.f("uq_items_story_language")),
    )
    op.create_index("ix_items_language_changed", "items", ["language", "changed"], unique=False)
    op.create_table(
        "journal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("delivery", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal")),
        comment="Intents and outcomes on PostgreSQL; SQLite keeps a file beside itself.",
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_journal_owner"), "journal", ["owner"], unique=False)
    op.create_table(
        "limits",
        sa.Column("scope", sa.String(), nullable=False, comment="ip, address, domain"),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False, comment="begin of the window, in real time"),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", "since", name=op.f("pk_limits")),
        comment="How often something was asked for lately.",
    )
    op.create_table(
        "mailings",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("key", sa.String(), nullable=False, comment="edition:17, notice:..., test:..."),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("edition", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("schedule", sa.String(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False, comment="its deliveries may be claimed"),
        sa.Column(
            "closes",
            sa.BigInteger(),
            nullable=True,
            comment="none of its deliveries is claimed from then on: the end of the window",
        ),
        sa.Column("urgent", sa.Boolean(), nullable=False, comment="goes before the others"),
        sa.Column("marked", sa.Boolean(), nullable=False, comment="all its readers' marks are set"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailings")),
        sa.UniqueConstraint("key", name=op.f("uq_mailings_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_mailings_edition"), "mailings", ["edition"], unique=False)
    op.create_table(
        "notices",
        sa.Column("key", sa.String(), nullable=False, comment="what it is about: the same thing is told once"),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_notices")),
        comment="What a person must hear of.",
    )
    op.create_table(
        "paces",
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False, comment="of recipients; empty: the sender as a whole"),
        sa.Column("free_from", sa.Float(), nullable=False, comment="the next free place, in seconds since 1970"),
        sa.Column(
            "rate",
            sa.Float(),
            nullable=True,
            comment="messages a second at the last refusal for now; NULL: there was none",
        ),
        sa.Column("refused_at", sa.Float(), nullable=False, comment="when that was"),
        sa.PrimaryKeyConstraint("sender", "domain", name=op.f("pk_paces")),
        comment="How fast mail may go; kept over restarts, and for all processes.",
    )
    op.create_table(
        "pauses",
        sa.Column("scope", sa.String(), nullable=False, comment="schedule, list, channel, all"),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True, comment="NULL while it holds"),
        sa.PrimaryKeyConstraint("scope", "name", name=op.f("pk_pauses")),
        comment="What a person has stopped for a while.",
    )
    op.create_table(
        "pings",
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("etag", sa.String(), nullable=False, comment="of the bytes that it heard of last"),
        sa.Column("tries", sa.Integer(), nullable=False, comment="that failed since"),
        sa.Column("due", sa.BigInteger(), nullable=True, comment="of the next one"),
        sa.PrimaryKeyConstraint("channel", "path", name=op.f("pk_pings")),
        comment="What a WebSub hub was told of each feed.",
    )
    op.create_table(
        "renditions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("edition", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("outlet", sa.String(), nullable=False, comment="list:NAME or channel:NAME"),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("story", sa.String(), nullable=False, comment="of `per: item`, else empty"),
        sa.Column(
            "document", sa.LargeBinary(), nullable=False, comment="the frozen bytes (zlib over JSON), or a post's body"
        ),
        sa.Column("digest", sa.String(), nullable=False, comment="hex SHA-256 of the document"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_renditions")),
        sa.UniqueConstraint(
            "edition", "outlet", "language", "story", name=op.f("uq_renditions_edition_outlet_language_story")
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("lists", sa.JSON(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("topics", sa.JSON(), nullable=False),
        sa.Column("frequency", sa.String(), nullable=False, comment="empty: the default of each list"),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("wording", sa.String(), nullable=False),
        sa.Column("ip", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
        comment="Who asked to be put on lists, until it is answered: known and unknown addresses alike.",
        sqlite_autoincrement=True,
    )
    op.create_table(
        "returns",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("key", sa.String(), nullable=False, comment="of the report: one that comes twice counts once"),
        sa.Column("delivery", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("address_hash", sa.String(), nullable=False),
        sa.Column("list", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False, comment="hard, soft, complaint"),
        sa.Column("code", sa.String(), nullable=False, comment="enhanced status code (RFC 3463), or empty"),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("via", sa.String(), nullable=False, comment="how it was heard: mailbox, lmtp, ses, postmark, ..."),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_returns")),
        sa.UniqueConstraint("key", name=op.f("uq_returns_key")),
        comment="What came back: bounces and complaints.",
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_returns_address_hash"), "returns", ["address_hash"], unique=False)
    op.create_index(op.f("ix_returns_delivery"), "returns", ["delivery"], unique=False)
    op.create_table(
        "schedules",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("baseline", sa.BigInteger(), nullable=False, comment="what was out before does not go out"),
        sa.Column("last_slot", sa.BigInteger(), nullable=True, comment="key of the last slot that was settled"),
        sa.Column(
            "last_cut",
            sa.BigInteger(),
            nullable=True,
            comment="what came out since then makes the next slot of `on: new`",
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_schedules")),
    )
    op.create_table(
        "selection_stories",
        sa.Column("selection", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("story", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False, comment="story, note or correction"),
        sa.Column("version", sa.String(), nullable=False, comment="of a correction: hash of its text"),
        sa.PrimaryKeyConstraint("selection", "story", "what", name=op.f("pk_selection_stories")),
    )
    op.create_index("ix_selection_stories_story", "selection_stories", ["story"], unique=False)
    op.create_table(
        "selections",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("rendition", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(), nullable=False, comment="hash of what it shows: equal readers share one"),
        sa.Column("arrangement", sa.JSON(), nullable=False, comment="subject, preheader, order of fragments"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_selections")),
        sa.UniqueConstraint("rendition", "key", name=op.f("uq_selections_rendition_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_selections_rendition"), "selections", ["rendition"], unique=False)
    op.create_table(
        "senders",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False, comment="of its settings; others begin afresh"),
        sa.Column("failures", sa.Integer(), nullable=False, comment="in a row"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("down_until", sa.BigInteger(), nullable=True, comment="real time"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_senders")),
        comment="Senders of mail that failed lately.",
    )
    op.create_table(
        "set_aside",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("notified_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("source", "ref", name=op.f("pk_set_aside")),
        comment="Content that could not be taken, and why.",
    )
    op.create_table(
        "shelf_entries",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False, comment="minted once, whatever the other side calls it later"),
        sa.Column("version", sa.Integer(), nullable=False, comment="of the shelf when it last changed"),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("backlog", sa.Boolean(), nullable=False, comment="stood there when the source was first read"),
        sa.Column("gone", sa.Boolean(), nullable=False, comment="the source says that it was taken away"),
        sa.Column("data", sa.JSON(), nullable=False, comment="what the source told last"),
        sa.PrimaryKeyConstraint("source", "ref", name=op.f("pk_shelf_entries")),
        comment="Items as a source on the network told them last.",
    )
    op.create_index("ix_shelf_entries_version", "shelf_entries", ["source", "version"], unique=False)
    op.create_table(
        "shelves",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="grows with every change"),
        sa.Column("state", sa.JSON(), nullable=False, comment="validators, when to ask again, what went wrong"),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_shelves")),
        comment="What a source on the network keeps between two fetches.",
    )
    op.create_table(
        "slots",
        sa.Column("schedule", sa.String(), nullable=False),
        sa.Column("slot", sa.BigInteger(), nullable=False, comment="UTC instant before any shift"),
        sa.Column("state", sa.String(), nullable=False, comment="claimed, fired, skipped, merged"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("edition", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("schedule", "slot", name=op.f("pk_slots")),
        comment="A row is the claim: two processes never fire one slot.",
    )
    op.create_table(
        "subscribers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("address_hash", sa.String(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscribers")),
        sa.UniqueConstraint("address_hash", name=op.f("uq_subscribers_address_hash")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("subscriber", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("list", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False, comment="pending, confirmed, unsubscribed"),
        sa.Column("topics", sa.JSON(), nullable=False),
        sa.Column("frequency", sa.String(), nullable=False),
        sa.Column(
            "paused_until",
            sa.BigInteger(),
            nullable=True,
            comment="gets no edition before; what comes out meanwhile waits for them",
        ),
        sa.Column(
            "mark",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="the last edition served on this list",
        ),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("confirmed_at", sa.BigInteger(), nullable=True),
        sa.Column(
            "confirm_by",
            sa.BigInteger(),
            nullable=True,
            comment="asked to say once more by then that they want it; later they wait for that",
        ),
        sa.Column("left_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint("subscriber", "list", name=op.f("uq_subscriptions_subscriber_list")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_subscriptions_list_state", "subscriptions", ["list", "state", "frequency"], unique=False)
    op.create_table(
        "suppressions",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("list", sa.String(), nullable=False, comment="empty: every list"),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", "list", name=op.f("pk_suppressions")),
    )
    op.create_table(
        "tallies",
        sa.Column("mailing", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("list", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False, comment="of those that were skipped"),
        sa.Column("returned", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("mailing", "list", "language", "state", "reason", "returned", name=op.f("pk_tallies")),
        comment="Deliveries that `keep` has taken, counted.",
    )
    op.create_table(
        "uploads",
        sa.Column(
            "delivery", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("key", sa.String(), nullable=False, comment="SHA-256 of the bytes"),
        sa.Column(
            "remote", sa.Text(), nullable=False, comment="what the service calls them, and whether it is busy with them"
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("delivery", "key", name=op.f("pk_uploads")),
        comment="Pictures that a service took before the post that shows them: a later try does not upload them again.",
    )
    op.create_table(
        "uses",
        sa.Column("schedule", sa.String(), nullable=False),
        sa.Column("story", sa.String(), nullable=False),
        sa.Column("edition", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("schedule", "story", name=op.f("pk_uses")),
        comment="A story is used once by a schedule; a held edition reserves its stories so.",
    )
    op.create_index(op.f("ix_uses_edition"), "uses", ["edition"], unique=False)
