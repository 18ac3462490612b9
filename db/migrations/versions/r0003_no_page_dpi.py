"""The resolution of a page is no longer stored: nothing read it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Both databases change the table in place; Alembic's batch mode would copy it on SQLite.


def upgrade() -> None:
    op.drop_column("page", "dpi")


def downgrade() -> None:
    op.add_column("page", sa.Column("dpi", sa.Double(), nullable=True))
