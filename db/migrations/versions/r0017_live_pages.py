"""Open pages ask for the newest event of a tenant; pages of a batch are listed in their order."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_event_tenant_id_id", "event", ["tenant_id", "id"])
    op.create_index("ix_page_batch_place", "page", ["batch_id", "document_id", "ordinal"])


def downgrade() -> None:
    op.drop_index("ix_page_batch_place", table_name="page")
    op.drop_index("ix_event_tenant_id_id", table_name="event")
