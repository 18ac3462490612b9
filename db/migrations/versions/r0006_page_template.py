"""A page keeps which template of its document's set it was read with.

Pages that were read before have none: their documents have one template each.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# In place on both databases, as in 0003.


def upgrade() -> None:
    op.add_column("page", sa.Column("template", sa.String(200), nullable=True))


def downgrade() -> None:
    op.drop_column("page", "template")
