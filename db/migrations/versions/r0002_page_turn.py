"""Pages tell how they lay on the scanner, so that people see their fields upright."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("page", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("turn", sa.SmallInteger(), server_default="0", nullable=False)
        )


def downgrade() -> None:
    # In place: batch mode would copy the table on SQLite.
    op.drop_column("page", "turn")
