"""Nothing that came in goes missing: copies are documents, and what is no page is named.

Documents of earlier batches have neither: it was not recorded.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("document", schema=None) as batch_op:
        batch_op.add_column(sa.Column("copy_of", sa.String(length=32), nullable=True))
        batch_op.drop_constraint(op.f("uq_document_batch_id"), type_="unique")
        batch_op.create_index("ix_document_batch_sha256", ["batch_id", "sha256"], unique=False)
        batch_op.create_index(op.f("ix_document_copy_of"), ["copy_of"], unique=False)
        batch_op.create_foreign_key(
            op.f("fk_document_copy_of_document"),
            "document",
            ["copy_of"],
            ["id"],
            ondelete="CASCADE",
        )

    op.create_table(
        "passed_over",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=32), nullable=False),
        sa.Column("batch_id", sa.String(length=32), nullable=False),
        sa.Column("document_id", sa.String(length=32), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(1000), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenant.id"],
            name=op.f("fk_passed_over_tenant_id_tenant"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batch.id"],
            name=op.f("fk_passed_over_batch_id_batch"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["document.id"],
            name=op.f("fk_passed_over_document_id_document"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passed_over")),
        sa.UniqueConstraint("document_id", "ordinal", name=op.f("uq_passed_over_document_id")),
    )
    op.create_index(op.f("ix_passed_over_batch_id"), "passed_over", ["batch_id"], unique=False)


def downgrade() -> None:
    op.drop_table("passed_over")
    # Before, the same bytes were one document of a batch. A copy has no pages to lose.
    document = sa.table("document", sa.column("copy_of"))
    op.execute(sa.delete(document).where(document.c.copy_of.is_not(None)))
    with op.batch_alter_table("document", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("fk_document_copy_of_document"), type_="foreignkey")
        batch_op.drop_index(op.f("ix_document_copy_of"))
        batch_op.drop_index("ix_document_batch_sha256")
        batch_op.create_unique_constraint(op.f("uq_document_batch_id"), ["batch_id", "sha256"])
        batch_op.drop_column("copy_of")
