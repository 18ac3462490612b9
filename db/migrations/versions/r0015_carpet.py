"""What people say of single characters that they saw in a digit carpet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "carpet_screen",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=32), nullable=False),
        sa.Column("batch_id", sa.String(length=32), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("audit", sa.Boolean(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_back_at", sa.DateTime(timezone=True), nullable=True),
        *(
            sa.ForeignKeyConstraint(
                [f"{parent}_id"],
                [f"{parent}.id"],
                name=op.f(f"fk_carpet_screen_{parent}_id_{parent}"),
                ondelete="CASCADE",
            )
            for parent in ("tenant", "batch", "person")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_carpet_screen")),
    )
    op.create_index(op.f("ix_carpet_screen_batch_id"), "carpet_screen", ["batch_id"])
    op.create_table(
        "character_check",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("screen_id", sa.String(length=32), nullable=False),
        sa.Column("field_id", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("shown", sa.String(length=8), nullable=False),
        sa.Column("said", sa.String(length=8), nullable=True),
        sa.ForeignKeyConstraint(
            ["screen_id"],
            ["carpet_screen.id"],
            name=op.f("fk_character_check_screen_id_carpet_screen"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["field_id"],
            ["field.id"],
            name=op.f("fk_character_check_field_id_field"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_character_check")),
    )
    op.create_index(op.f("ix_character_check_screen_id"), "character_check", ["screen_id"])
    op.create_index("ix_character_check_field_id_place", "character_check", ["field_id", "place"])


def downgrade() -> None:
    op.drop_table("character_check")
    op.drop_table("carpet_screen")
