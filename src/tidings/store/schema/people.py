"""People: subscribers, their consent, and bounces and complaints."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Index, Integer, String, Text, UniqueConstraint

from tidings.store.schema.base import Moment, RowId, only, table

subscribers = table(
    "subscribers",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("address", String, nullable=False),
    Column("address_hash", String, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("language", String, nullable=False),
    Column("created", Moment, nullable=False),
    Column("note", Text, doc="what the team wrote about the person"),
    sqlite_autoincrement=True,
)

subscriptions = table(
    "subscriptions",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("subscriber", RowId, nullable=False),
    Column("list", String, nullable=False),
    Column("state", String, nullable=False, doc="pending, confirmed, unsubscribed"),
    Column("topics", JSON, nullable=False),
    Column("frequency", String, nullable=False),
    Column("paused_until", Moment, doc="gets no edition before this; newer stories wait"),
    Column("mark", RowId, nullable=False, doc="the last edition received on this list"),
    Column("source", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("confirmed_at", Moment),
    Column("confirm_by", Moment, doc="end of an open re-confirmation; then the state becomes pending"),
    Column("left_at", Moment),
    UniqueConstraint("subscriber", "list"),
    Index("ix_subscriptions_list_state", "list", "state", "frequency"),
    Index("ix_subscriptions_paused", "list", "paused_until", **only("paused_until IS NOT NULL")),
    Index("ix_subscriptions_confirm_by", "confirm_by", **only("confirm_by IS NOT NULL")),
    sqlite_autoincrement=True,
)

consent_locks = table(
    "consent_locks",
    Column("hash", String, primary_key=True),
    Column("version", Integer, nullable=False, doc="0; changes of consent lock this row"),
)
"""One row for each address, subscriber or not."""

suppressions = table(
    "suppressions",
    Column("hash", String, primary_key=True),
    Column("list", String, primary_key=True, doc="empty: every list"),
    Column("reason", String, nullable=False),
    Column("at", Moment, nullable=False),
)

consents = table(
    "consents",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("address_hash", String, nullable=False, index=True),
    Column("list", String, nullable=False),
    Column("what", String, nullable=False, doc="joined, confirmed, imported, unsubscribed, returned"),
    Column("source", Text, nullable=False),
    Column("wording", String, nullable=False, doc="version of the text that they agreed to"),
    Column("ip", String, nullable=False, doc="IP address of the request"),
    Column("at", Moment, nullable=False),
    sqlite_autoincrement=True,
)

feedback = table(
    "feedback",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("key", String, nullable=False, unique=True, doc="of the report: a repeated report counts once"),
    Column("delivery", RowId, index=True),
    Column("address_hash", String, nullable=False, index=True),
    Column("list", String, nullable=False),
    Column("kind", String, nullable=False, doc="hard, soft, complaint"),
    Column("code", String, nullable=False, doc="enhanced status code (RFC 3463), or empty"),
    Column("text", Text, nullable=False),
    Column("via", String, nullable=False, doc="how it came: mailbox, lmtp, ses, postmark, ..."),
    Column("at", Moment, nullable=False),
    sqlite_autoincrement=True,
)
"""Bounces and complaints."""

former_lists = table(
    "former_lists",
    Column("former", String, primary_key=True),
    Column("name", String, primary_key=True, doc="the name that the list got then"),
)
"""Every name that a list had before: a link in an old mail still leads to the list."""

sign_up_requests = table(
    "sign_up_requests",
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("address", String, nullable=False),
    Column("lists", JSON, nullable=False),
    Column("language", String, nullable=False),
    Column("topics", JSON, nullable=False),
    Column("frequency", String, nullable=False, doc="empty: the default of each list"),
    Column("source", Text, nullable=False),
    Column("wording", String, nullable=False),
    Column("ip", String, nullable=False),
    Column("at", Moment, nullable=False),
    sqlite_autoincrement=True,
)
"""Requests to join lists that wait for an answer, of known and unknown addresses alike."""

request_counts = table(
    "request_counts",
    Column("scope", String, primary_key=True, doc="ip, network, mailbox, day, domain"),
    Column("key", String, primary_key=True),
    Column("since", Moment, primary_key=True, doc="start of the window, in real time"),
    Column("count", Integer, nullable=False),
)
"""Recent requests, for rate limits."""
