"""Name tables by the words of the glossary. Drop the progress of imports, which are run again instead.

Comments on tables and columns are in the code alone now, so that rewording one needs no migration.
"""

import re

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

RENAMED = {
    "addresses": "consent_locks",
    "documents": "published_files",
    "had": "past_readers",
    "limits": "request_counts",
    "paces": "sending_rates",
    "pings": "websub_pings",
    "requests": "sign_up_requests",
    "returns": "feedback",
    "shelf_entries": "cached_items",
    "shelves": "fetch_caches",
    "tallies": "deleted_deliveries",
    "uses": "used_stories",
}


def upgrade() -> None:
    """Rename tables with their indexes, constraints and sequences."""
    connection = op.get_bind()
    op.drop_table("imports")
    if connection.dialect.name == "sqlite":
        # The old pages hold addresses: an erasure after this must not leave them legible in free pages.
        connection.exec_driver_sql("PRAGMA secure_delete=ON").all()
        for old, new in RENAMED.items():
            _rename_on_sqlite(connection, old, new)
    else:
        for old, new in RENAMED.items():
            _rename_on_postgresql(connection, old, new)
        _drop_comments(connection)


def _rename_on_sqlite(connection: sa.Connection, old: str, new: str) -> None:
    """Make the table again: ALTER TABLE keeps the old names of constraints."""

    def renamed(sql: str) -> str:
        return re.sub(rf"(?<![a-z]){old}(?![a-z])", new, sql)

    query = sa.text("SELECT type, sql FROM sqlite_master WHERE tbl_name = :name AND sql IS NOT NULL")
    parts = connection.execute(query, {"name": old}).all()
    last = sa.text("SELECT seq FROM sqlite_sequence WHERE name = :name")
    number = connection.execute(last, {"name": old}).scalar_one_or_none()
    connection.exec_driver_sql(next(renamed(part.sql) for part in parts if part.type == "table"))
    connection.exec_driver_sql(f"INSERT INTO {new} SELECT * FROM {old}")  # noqa: S608
    connection.exec_driver_sql(f"DROP TABLE {old}")
    for part in parts:
        if part.type == "index":
            connection.exec_driver_sql(renamed(part.sql))
    # No number is given twice, also if the newest rows were deleted.
    connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": new})
    if number is not None:
        insert = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)")
        connection.execute(insert, {"name": new, "number": number})


def _rename_on_postgresql(connection: sa.Connection, old: str, new: str) -> None:
    op.rename_table(old, new)
    names = {
        f"TABLE {new} RENAME CONSTRAINT": "SELECT conname FROM pg_constraint WHERE conrelid = CAST(:table AS regclass)",
        "INDEX": "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = :table",
        "SEQUENCE": "SELECT relname FROM pg_class WHERE relkind = 'S' AND relname = :old || '_id_seq'",
    }
    for kind, query in names.items():
        # After a constraint its index has the new name already.
        for name in connection.execute(sa.text(query), {"table": new, "old": old}).scalars().all():
            if new not in name and re.search(rf"(?<![a-z]){old}(?![a-z])", name):
                how = kind if kind.startswith("TABLE") else f'{kind} "{name}" RENAME'
                what = f'"{name}" TO' if kind.startswith("TABLE") else "TO"
                connection.exec_driver_sql(f'ALTER {how} {what} "{name.replace(old, new, 1)}"')


def _drop_comments(connection: sa.Connection) -> None:
    inspector = sa.inspect(connection)
    for table in inspector.get_table_names():
        connection.exec_driver_sql(f'COMMENT ON TABLE "{table}" IS NULL')
        for column in inspector.get_columns(table):
            if column.get("comment"):
                connection.exec_driver_sql(f'COMMENT ON COLUMN "{table}"."{column["name"]}" IS NULL')
