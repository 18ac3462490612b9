"""Each reading keeps the place and the probability of every character of its value."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # NULL: the reading is of a version that did not keep them.
    op.add_column("reading", sa.Column("characters", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("reading", "characters")
