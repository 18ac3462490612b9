"""What each person keyed for a field, with the machine's value at that time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "keying",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=32), nullable=False),
        sa.Column("batch_id", sa.String(length=32), nullable=False),
        sa.Column("field_id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("note", sa.String(length=500), nullable=True),
        sa.Column("shown", sa.Text(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("right", sa.Boolean(), nullable=True),
        sa.Column("took_ms", sa.Integer(), nullable=True),
        sa.Column("keystrokes", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        *(
            sa.ForeignKeyConstraint(
                [f"{parent}_id"],
                [f"{parent}.id"],
                name=op.f(f"fk_keying_{parent}_id_{parent}"),
                ondelete="CASCADE",
            )
            for parent in ("tenant", "batch", "field", "person")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keying")),
    )
    op.create_index("ix_keying_tenant_id_id", "keying", ["tenant_id", "id"])
    op.create_index("ix_keying_person_id_id", "keying", ["person_id", "id"])
    op.create_index(op.f("ix_keying_batch_id"), "keying", ["batch_id"])
    op.create_index(op.f("ix_keying_field_id"), "keying", ["field_id"])


def downgrade() -> None:
    op.drop_table("keying")
