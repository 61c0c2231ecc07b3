"""The rule for mailing a person. Addressing an edition, claiming deliveries and permitting them all use it.

An address is not mailed while it has a suppression on every list (list '') or on the list of the mail. A list mails
only people whose subscription is confirmed. Tests, notices and confirmations need no subscription, and only a
suppression on every list stops them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, select

from tidings.model.delivery import Delivery, Purpose, SkipReason
from tidings.store import schema as t

CONFIRMED = "confirmed"
PENDING = "pending"
UNSUBSCRIBED = "unsubscribed"

EVERYWHERE, HERE = t.suppressions.alias("everywhere"), t.suppressions.alias("here")
REASON = func.coalesce(EVERYWHERE.c.reason, HERE.c.reason)
"""Why a list must not mail an address, in a query with `join_suppressions`; NULL if it may."""
REASON_SQL = str(REASON)

_NEEDS_NO_SUBSCRIPTION = frozenset({Purpose.TEST, Purpose.NOTICE, Purpose.CONFIRMATION})


def _conditions(digest: ColumnElement[str], list_name: Any) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    everywhere = (EVERYWHERE.c.hash == digest) & (EVERYWHERE.c.list == literal_column("''"))
    return everywhere, (HERE.c.hash == digest) & (HERE.c.list == list_name)


def join_suppressions(query: Select[Any], digest: ColumnElement[str], list_name: Any) -> Select[Any]:
    """Join the suppressions of an address to a query: on every list, and on one list (a name or a column)."""
    everywhere, here = _conditions(digest, list_name)
    return query.outerjoin(EVERYWHERE, everywhere).outerjoin(HERE, here)


_ON_EVERYWHERE, _ON_HERE = _conditions(literal_column("p.address_hash"), literal_column(":list"))
JOINS_SQL = f"LEFT JOIN suppressions AS everywhere ON {_ON_EVERYWHERE} LEFT JOIN suppressions AS here ON {_ON_HERE}"
"""The joins of `join_suppressions` as SQL text, for subscribers `p` and the list `:list`."""


def suppression_skip(reason: str) -> SkipReason:
    """Return why a delivery is skipped, for the reason of a suppression."""
    known = {str(SkipReason.UNSUBSCRIBED): SkipReason.UNSUBSCRIBED, str(SkipReason.ERASED): SkipReason.ERASED}
    return known.get(reason, SkipReason.SUPPRESSED)


SKIP_SQL = f"CASE WHEN {REASON_SQL} IN ('unsubscribed', 'erased') THEN {REASON_SQL} ELSE 'suppressed' END"
"""`suppression_skip` as SQL text."""


def skip_reason(
    delivery: Delivery, *, everywhere: str | None, here: str | None, subscription: str | None
) -> SkipReason | None:
    """Return why a delivery must not be sent, or None if it may.

    `everywhere` and `here` are the reasons of suppressions, `subscription` is the state of the subscription. Posts to
    channels may always be sent.
    """
    if delivery.channel:
        return None
    needs_subscription = delivery.purpose not in _NEEDS_NO_SUBSCRIPTION
    reason = everywhere or (here if needs_subscription else None)
    if reason is not None:
        return suppression_skip(reason)
    if not delivery.address:
        return SkipReason.ERASED
    if needs_subscription and delivery.list and delivery.subscriber is not None and subscription != CONFIRMED:
        return SkipReason.NOT_CONFIRMED if subscription == PENDING else SkipReason.UNSUBSCRIBED
    return None


def count_on_other_lists(connection: Connection, lists: Collection[str]) -> dict[str, int]:
    """Count the confirmed readers of each other list: it was renamed or deleted, and they get nothing."""
    s = t.subscriptions.c
    query = select(s.list, func.count()).where(s.state == CONFIRMED, s.list.not_in(list(lists)))
    return {row[0]: row[1] for row in connection.execute(query.group_by(s.list).order_by(s.list))}
