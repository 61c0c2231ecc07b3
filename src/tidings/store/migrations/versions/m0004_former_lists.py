"""Keep every former name of a list. Settle mails that waited for ever in a closed mailing."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table, and fill it from the ledger: targets keep the name that the list had then."""
    op.create_table(
        "former_lists",
        sa.Column("former", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("former", "name", name="pk_former_lists"),
    )
    connection = op.get_bind()
    former = "substr(target, 6, instr(substr(target, 6), ':') - 1)"
    if connection.dialect.name != "sqlite":
        former = "split_part(target, ':', 2)"
    connection.execute(
        sa.text(
            f"INSERT INTO former_lists (former, name) SELECT DISTINCT {former}, list FROM deliveries"  # noqa: S608
            f" WHERE target LIKE 'list:%' AND list <> '' AND {former} NOT IN ('', list)"
        )
    )
    # A second sign-up on one day got a row in a mailing that was closed. Its link is old by now, so it is not sent.
    connection.execute(
        sa.text(
            "UPDATE deliveries SET state = 'skipped', reason = 'expired', at = :now WHERE state = 'pending'"
            " AND mailing IN (SELECT id FROM mailings WHERE edition IS NULL AND NOT open)"
        ),
        {"now": time.time_ns() // 1_000},
    )
