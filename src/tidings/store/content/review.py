"""What a reviewer must know of a frozen edition: to how many it goes, and which bytes these are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from tidings.store import schema as t


@dataclass(frozen=True, slots=True)
class RecipientCount:
    """`count` recipients of an outlet in one language. `outlet` is list:NAME or channel:NAME."""

    outlet: str
    language: str
    count: int


def count_recipients(connection: Connection, edition: int) -> list[RecipientCount]:
    """Who would get an edition, by outlet and language; those that are skipped are not counted."""
    d, r, m = t.deliveries.c, t.renditions.c, t.mailings.c
    query = (
        select(r.outlet, r.language, func.count())
        .join_from(t.deliveries, t.mailings, m.id == d.mailing)
        .join(t.renditions, r.id == d.rendition)
        .where(m.edition == edition, d.state.not_in(("skipped", "cancelled")))
        .group_by(r.outlet, r.language)
        .order_by(r.outlet, r.language)
    )
    return [RecipientCount(row[0], row[1], int(row[2])) for row in connection.execute(query)]


def frozen_digest(connection: Connection, edition: int) -> str:
    """Changes whenever the edition's frozen bytes do: 32 hexadecimal digits."""
    r = t.renditions.c
    query = select(r.id, r.digest).where(r.edition == edition).order_by(r.id)
    text = "\n".join(f"{row.id} {row.digest}" for row in connection.execute(query))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
