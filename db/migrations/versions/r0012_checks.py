"""Checks across fields are judged, and a batch has the total that its numbers should come to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_COUNTED = (
    ("control_total", sa.String(length=32)),
    ("control_field", sa.String(length=200)),
    ("expected_pages", sa.Integer()),
    ("expected_documents", sa.Integer()),
)


def upgrade() -> None:
    op.add_column("template", sa.Column("checks", sa.JSON(), nullable=True))
    op.add_column("page", sa.Column("checks", sa.JSON(), nullable=True))
    for name, kind in _COUNTED:
        op.add_column("batch", sa.Column(name, kind, nullable=True))
    op.create_table(
        "page_key",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=32), nullable=False),
        sa.Column("page_id", sa.String(length=32), nullable=False),
        sa.Column("check_name", sa.String(length=200), nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["page_id"], ["page.id"], name=op.f("fk_page_key_page_id_page"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_page_key_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_page_key")),
        sa.UniqueConstraint("page_id", "check_name", name=op.f("uq_page_key_page_id")),
    )
    op.create_index("ix_page_key_tenant_key", "page_key", ["tenant_id", "key"])


def downgrade() -> None:
    op.drop_index("ix_page_key_tenant_key", table_name="page_key")
    op.drop_table("page_key")
    for name, _ in reversed(_COUNTED):
        op.drop_column("batch", name)
    op.drop_column("page", "checks")
    op.drop_column("template", "checks")
