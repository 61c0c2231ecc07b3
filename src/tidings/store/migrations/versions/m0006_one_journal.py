"""Keep the journal of senders in the table on SQLite too, with one row for each write.

On SQLite the journal was a folder of files. What a crashed process noted there is carried over, so that its messages in
doubt stay known.
"""

import json
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table again, with the entries of the old table and of the files."""
    connection = op.get_bind()
    rows = connection.exec_driver_sql("SELECT owner, entry FROM journal ORDER BY id").all()
    entries = [(row.owner.rpartition(".")[0], row.entry) for row in rows if _is_needed(row.entry)]
    database = connection.engine.url.database
    if connection.dialect.name == "sqlite" and database:
        for path in sorted(Path(f"{database}.d", "journal").glob("*")):
            lines = path.read_text(encoding="ascii", errors="replace").split("\n")
            entries += [(path.name.rpartition(".")[0], line) for line in lines if _is_needed(line)]
    op.drop_table("journal")
    journal = op.create_table(
        "journal",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_journal"),
    )
    if entries:
        op.bulk_insert(journal, [{"owner": owner, "entry": entry} for owner, entry in entries])


def _is_needed(line: str) -> bool:
    """Whether a line is complete, and is not only about messages that were being prepared."""
    try:
        return json.loads(line)[0] in ("B", "I", "O")
    except (ValueError, LookupError):
        return False
