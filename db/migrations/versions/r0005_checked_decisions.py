"""A field keeps what it may hold, and what a person said: the version, the note, whether forced.

What fields that were read before may hold is in the text of their template alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# In place on both databases, as in 0003.
_COLUMNS = ("grammar", "required", "version", "forced", "note")


def upgrade() -> None:
    op.add_column("field", sa.Column("grammar", sa.Text(), nullable=True))
    op.add_column("field", sa.Column("required", sa.Boolean(), nullable=True))
    op.add_column("field", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.add_column(
        "field", sa.Column("forced", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("field", sa.Column("note", sa.String(length=500), nullable=True))


def downgrade() -> None:
    for name in reversed(_COLUMNS):
        op.drop_column("field", name)
