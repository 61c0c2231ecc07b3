"""The first tables.

A migration is frozen once it is released. `_table` takes the columns as text: a name and a type, and `?` where NULL is
allowed. A `moment` is a number of microseconds since 1970, UTC. A `counter` is an id that is never given twice.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "string": sa.String(),
    "text": sa.Text(),
    "int": sa.Integer(),
    "moment": sa.BigInteger(),
    "id": _ID,
    "counter": _ID,
    "json": sa.JSON(),
    "bool": sa.Boolean(),
    "float": sa.Float(),
    "bytes": sa.LargeBinary(),
}


def upgrade() -> None:
    """Make every table."""
    _table("addresses", "hash string, version int", key="hash")
    _table("archives", "list string, number int, edition id", key="list number", unique=["edition list"])
    _table(
        "consents",
        "id counter, address_hash string, list string, what string, source text, wording string, ip string, at moment",
        key="id",
    )
    op.create_index("ix_consents_address_hash", "consents", ["address_hash"])
    _table(
        "deliveries",
        "id counter, mailing id, target string, story string, purpose string, part int, list string, channel string, "
        "subscriber id?, selection id?, rendition id?, mark id?, address_hash string, state string, reason text, "
        "attempts int, doubts int, crashes int, owner string, fence int, lease_until moment?, next_at moment?, "
        "not_before moment?, handed_at moment?, receipt text, via text, sender string, returned string, at moment, "
        "details json",
        key="id",
        unique=["mailing target story purpose part"],
    )
    op.create_index("ix_deliveries_selection", "deliveries", ["selection"])
    op.create_index("ix_deliveries_state", "deliveries", ["state", "mailing", "next_at", "id"])
    op.create_index("ix_deliveries_subscriber", "deliveries", ["subscriber"])
    where = sa.text("channel <> '' AND story <> '' AND state NOT IN ('cancelled', 'skipped')")
    op.create_index(
        "uq_deliveries_post",
        "deliveries",
        ["channel", "story", "purpose", "part"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
    _table("documents", "path string, etag string, modified moment", key="path")
    _table(
        "editions",
        "id counter, schedule string, number int, slot moment?, cut moment, starts moment, state string, holds json, "
        "stories json, owner string, history json, request json, at moment",
        key="id",
        unique=["schedule number", "schedule slot"],
    )
    _table("facts", "name string, value text", key="name")
    _table("had", "id counter, selection id, subscribers bytes", key="id")
    op.create_index("ix_had_selection", "had", ["selection"])
    _table(
        "hub_subscriptions",
        "source string, hub string, topic string, token string, secret string, asked moment?, tries int, "
        "due moment?, until moment?, called moment?, problem text",
        key="source",
        unique=["token"],
    )
    _table("imports", "key string, line int, counts json, at moment", key="key")
    _table(
        "items",
        "id string, source string, ref string, story string, language string, slug string, kind string, title text, "
        "summary text, body text, url text, published moment, first_seen moment, ready_at moment?, out_at moment?, "
        "changed moment, updated moment?, embargo moment?, expires moment?, starts moment?, ends moment?, "
        "corrected_at moment?, gone_at moment?, missing_since moment?, draft bool, correction text, withdrawn text, "
        "details json, fingerprint string",
        key="id",
        unique=["language slug", "source ref", "story language"],
    )
    op.create_index("ix_items_language_changed", "items", ["language", "changed"])
    _table("journal", "id counter, owner string, delivery id, fence int, entry text", key="id")
    op.create_index("ix_journal_owner", "journal", ["owner"])
    _table("limits", "scope string, key string, since moment, count int", key="scope key since")
    _table(
        "mailings",
        "id counter, key string, kind string, edition id?, schedule string, open bool, closes moment?, urgent bool, "
        "marked bool, at moment",
        key="id",
        unique=["key"],
    )
    op.create_index("ix_mailings_edition", "mailings", ["edition"])
    _table("notices", "key string, kind string, text text, at moment, told_at moment?", key="key")
    _table("paces", "sender string, domain string, free_from float, rate float?, refused_at float", key="sender domain")
    _table(
        "pauses",
        "scope string, name string, since moment, until moment?, reason text, who text, ended moment?",
        key="scope name",
    )
    _table("pings", "channel string, path string, etag string, tries int, due moment?", key="channel path")
    _table(
        "renditions",
        "id counter, edition id, outlet string, language string, story string, document bytes, digest string",
        key="id",
        unique=["edition outlet language story"],
    )
    _table(
        "requests",
        "id counter, address string, lists json, language string, topics json, frequency string, source text, "
        "wording string, ip string, at moment",
        key="id",
    )
    _table(
        "returns",
        "id counter, key string, delivery id?, address_hash string, list string, kind string, code string, "
        "text text, via string, at moment",
        key="id",
        unique=["key"],
    )
    op.create_index("ix_returns_address_hash", "returns", ["address_hash"])
    op.create_index("ix_returns_delivery", "returns", ["delivery"])
    _table("schedules", "name string, baseline moment, last_slot moment?, last_cut moment?", key="name")
    _table("selection_stories", "selection id, story string, what string, version string", key="selection story what")
    op.create_index("ix_selection_stories_story", "selection_stories", ["story"])
    _table("selections", "id counter, rendition id, key string, arrangement json", key="id", unique=["rendition key"])
    op.create_index("ix_selections_rendition", "selections", ["rendition"])
    _table("senders", "name string, fingerprint string, failures int, reason text, down_until moment?", key="name")
    _table("set_aside", "source string, ref string, problem text, since moment, notified_at moment?", key="source ref")
    _table(
        "shelf_entries",
        "source string, ref string, version int, seen moment, backlog bool, gone bool, data json",
        key="source ref",
    )
    op.create_index("ix_shelf_entries_version", "shelf_entries", ["source", "version"])
    _table("shelves", "source string, version int, state json", key="source")
    _table(
        "slots",
        "schedule string, slot moment, state string, reason text, edition id?, owner string, at moment",
        key="schedule slot",
    )
    _table(
        "subscribers",
        "id counter, address string, address_hash string, name text, language string, created moment",
        key="id",
        unique=["address_hash"],
    )
    _table(
        "subscriptions",
        "id counter, subscriber id, list string, state string, topics json, frequency string, paused_until moment?, "
        "mark id, source text, created moment, confirmed_at moment?, confirm_by moment?, left_at moment?",
        key="id",
        unique=["subscriber list"],
    )
    op.create_index("ix_subscriptions_list_state", "subscriptions", ["list", "state", "frequency"])
    _table("suppressions", "hash string, list string, reason string, at moment", key="hash list")
    _table(
        "tallies",
        "mailing id, list string, language string, state string, reason string, returned string, count int",
        key="mailing list language state reason returned",
    )
    _table("uploads", "delivery id, key string, remote text, at moment", key="delivery key")
    _table("uses", "schedule string, story string, edition id", key="schedule story")
    op.create_index("ix_uses_edition", "uses", ["edition"])


def _table(name: str, columns: str, *, key: str, unique: list[str] | None = None) -> None:
    parts: list[sa.schema.SchemaItem] = []
    for column in columns.split(", "):
        label, kind = column.split(" ")
        kind, may_be_null = kind.removesuffix("?"), kind.endswith("?")
        parts.append(sa.Column(label, _TYPES[kind], nullable=may_be_null, autoincrement=kind == "counter"))
    parts.append(sa.PrimaryKeyConstraint(*key.split(" "), name=op.f(f"pk_{name}")))
    for names in unique or []:
        parts.append(sa.UniqueConstraint(*names.split(" "), name=op.f(f"uq_{name}_{names.replace(' ', '_')}")))
    op.create_table(name, *parts, sqlite_autoincrement=" counter" in columns)
