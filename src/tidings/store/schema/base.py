"""The metadata of all tables, and column types that are the same in both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, MetaData, Table, TypeDecorator, text
from sqlalchemy.schema import SchemaItem

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def table(name: str, *parts: SchemaItem, **options: Any) -> Table:
    """Return a table of the store with its columns, constraints and indexes."""
    return Table(name, metadata, *parts, **options)


def only(condition: str) -> dict[str, Any]:
    """Return the options of an index of only some rows."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def to_microseconds(moment: datetime) -> int:
    """Return a moment as both databases store it: microseconds since 1970. Raises ValueError without a time zone."""
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    if moment > _LAST:
        raise ValueError("a moment after the year 9999")
    return (moment - EPOCH) // timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as whole microseconds since 1970 so that both databases order and compare alike."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        try:
            return EPOCH + timedelta(microseconds=int(value))
        except OverflowError:
            # Older versions stored one: a row that cannot be read would block its reader for ever.
            return _LAST


# SQLite numbers rows only for INTEGER PRIMARY KEY.
RowId = BigInteger().with_variant(Integer, "sqlite")
