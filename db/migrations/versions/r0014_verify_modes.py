"""How people verify each field; checks of what policy released; a person's own keys.

Fields that were read before are confirmed, as they were, and not checked.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("field", sa.Column("verify", sa.String(length=16), nullable=True))
    op.add_column(
        "field", sa.Column("keyed", sa.SmallInteger(), server_default="0", nullable=False)
    )
    op.add_column(
        "field", sa.Column("known", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("field", sa.Column("audit", sa.String(length=8), nullable=True))
    op.create_index(
        "ix_field_known",
        "field",
        ["tenant_id", "name"],
        postgresql_where=sa.text("known"),
        sqlite_where=sa.text("known = 1"),
    )
    op.create_index(
        "ix_field_audit",
        "field",
        ["tenant_id", "id"],
        postgresql_where=sa.text("audit IS NOT NULL"),
        sqlite_where=sa.text("audit IS NOT NULL"),
    )
    op.add_column(
        "field_hold",
        sa.Column("mode", sa.String(length=16), server_default="confirm", nullable=False),
    )
    op.add_column("person", sa.Column("keys", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("person", "keys")
    op.drop_column("field_hold", "mode")
    op.drop_index("ix_field_audit", table_name="field")
    op.drop_index("ix_field_known", table_name="field")
    for column in ("audit", "known", "keyed", "verify"):
        op.drop_column("field", column)
