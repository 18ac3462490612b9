"""A batch that people have keyed, written at once: thousands of fields in a moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert

from core.ids import new_id
from core.keying import KeyingMode
from core.policy import ReviewReason
from core.roles import Role
from db.models import (
    Batch,
    BatchState,
    Document,
    DocumentState,
    Field,
    FieldState,
    Keying,
    Page,
    PageState,
    Reading,
)
from db.session import Database
from db.transitions.people import ensure_person

MODEL = "a" * 64


def keyed_batch(
    db: Database,
    tenant_id: str,
    confidences: Sequence[float],
    *,
    wrong: int = 0,
    name: str = "amount",
    template: str = "cheque",
    model: str = MODEL,
) -> None:
    """Write a complete batch that released nothing, of one field a page, all keyed blindly.

    The first `wrong` were read as 71 and are 17.
    """
    batch_id, document_id = new_id(), new_id()
    common = {"tenant_id": tenant_id, "batch_id": batch_id}
    rows: dict[type[Any], list[dict[str, Any]]] = {
        table: [] for table in (Page, Field, Reading, Keying)
    }
    with db.transaction() as s:
        ada = ensure_person(s, tenant_id, f"Ada of {tenant_id}", Role.VERIFIER).id
    for number, confidence in enumerate(confidences):
        page_id, field_id, value = new_id(), new_id(), "71" if number < wrong else "17"
        rows[Page].append(
            {
                "id": page_id,
                "document_id": document_id,
                "ordinal": number + 1,
                "state": PageState.READ,
                "attempt": 1,
                "template": template,
                **common,
            }
        )
        rows[Field].append(
            {
                "id": field_id,
                "page_id": page_id,
                "ordinal": 1,
                "name": name,
                "state": FieldState.VERIFIED,
                "value": "17",
                "reason": ReviewReason.NO_THRESHOLD,
                **common,
            }
        )
        rows[Reading].append(
            {
                "tenant_id": tenant_id,
                "field_id": field_id,
                "attempt": 1,
                "reader": "strip",
                "model_sha256": model,
                "raw": value,
                "value": value,
                "confidence": confidence,
                "alternatives": [],
                **dict.fromkeys("xywh", 1.0),
            }
        )
        rows[Keying].append(
            {
                "field_id": field_id,
                "person_id": ada,
                "mode": KeyingMode.BLIND,
                "value": "17",
                "shown": value,
                "confidence": confidence,
                **common,
            }
        )
    with db.transaction() as s:
        s.add(Batch(id=batch_id, tenant_id=tenant_id, state=BatchState.COMPLETE, closed=True))
        s.flush()
        s.add(
            Document(
                id=document_id,
                filename="keyed.zip",
                sha256="0" * 64,
                size=1,
                state=DocumentState.OPENED,
                **common,
            )
        )
        s.flush()
        for table, some in rows.items():
            s.execute(insert(table), some)
