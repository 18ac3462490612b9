"""Release policies of a site, and which pages were read under which."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "release_policy",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("one_in", sa.Integer(), nullable=True),
        sa.Column("thresholds", sa.JSON(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("who", sa.String(length=200), nullable=False),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("watched_to", sa.String(length=32), nullable=True),
        sa.Column("alarm_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("alarm", sa.JSON(), nullable=True),
        sa.Column("alarm_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.String(length=200), nullable=True),
        sa.Column("acknowledged_why", sa.String(length=500), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_release_policy_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_release_policy")),
        sa.UniqueConstraint("tenant_id", "number", name=op.f("uq_release_policy_tenant_id")),
    )
    op.add_column(
        "batch", sa.Column("by_policy", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    with op.batch_alter_table("page") as page:
        page.add_column(sa.Column("policy_id", sa.String(length=32), nullable=True))
        page.create_foreign_key(
            op.f("fk_page_policy_id_release_policy"),
            "release_policy",
            ["policy_id"],
            ["id"],
            ondelete="SET NULL",
        )
        page.create_index(op.f("ix_page_policy_id"), ["policy_id"])


def downgrade() -> None:
    with op.batch_alter_table("page") as page:
        page.drop_index(op.f("ix_page_policy_id"))
        page.drop_constraint(op.f("fk_page_policy_id_release_policy"), type_="foreignkey")
        page.drop_column("policy_id")
    op.drop_column("batch", "by_policy")
    op.drop_table("release_policy")
