"""A field keeps the reason for which policy gave it to a person.

Fields that were read before have none: it cannot be known for all of them any more.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# In place on both databases, as in 0003.


def upgrade() -> None:
    op.add_column("field", sa.Column("reason", sa.String(length=32), nullable=True))


def downgrade() -> None:
    op.drop_column("field", "reason")
