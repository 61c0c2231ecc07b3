"""Count the mails of a report, and find who paused and what waits, without a look at each delivery and reader."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
compatible_from = "0011"
indexes_first = (
    "ix_deliveries_returned ON deliveries (returned, mailing) WHERE returned <> ''",
    "ix_subscriptions_paused ON subscriptions (list, paused_until) WHERE paused_until IS NOT NULL",
)


def upgrade() -> None:
    """Make indexes of mails that came back and of pauses, and note which mailings postpone stories.

    An older program that composes meanwhile notes nothing. Then waiting stories go with the next new story.
    """
    for index in indexes_first:
        op.execute(f"CREATE INDEX IF NOT EXISTS {index}")
    op.add_column("mailings", sa.Column("postpones", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("ix_mailings_schedule", "mailings", ["schedule", "postpones"])
    op.execute(
        "UPDATE mailings SET postpones = true WHERE EXISTS "
        "(SELECT 1 FROM deliveries WHERE deliveries.mailing = mailings.id AND deliveries.mark < mailings.edition)"
    )
