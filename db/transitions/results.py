"""The result of a page, as a worker hands it in, and the rows that are made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from core.ids import new_id
from core.keying import AUDIT_SHARE, VerifyMode, is_chosen
from core.policy import ReviewReason
from db.models import Audit, Field, FieldState, Page, Reading

POLICY = "policy"


@dataclass(frozen=True, slots=True)
class FieldResult:
    name: str  # unique on its page
    value: str | None  # the best legal value; None: there is none
    raw: str  # the best string before the grammar was applied
    confidence: float  # calibrated, 0 to 1
    alternatives: list[dict[str, Any]]  # [{"value": …, "probability": …}], best first
    box: tuple[float, float, float, float]  # x, y, w, h in pixels of the page as scanned
    rule: str | None  # the rule that made `value` differ from `raw`
    reader: str
    model_sha256: str
    reason: ReviewReason | None  # why a person must see it; None: policy releases it
    grammar: str = "digits"  # what it may hold, in the grammar's normal form
    required: bool = False  # a person may not leave it empty
    # [{"text": …, "probability": …, "box": [x, y, w, h], "alternatives": […]}], those of `value`;
    # none: no reader tells where they are.
    characters: list[dict[str, Any]] = dataclass_field(default_factory=list)
    verify: VerifyMode = VerifyMode.CONFIRM


@dataclass(frozen=True, slots=True)
class PageResult:
    width: int  # pixels, as scanned
    height: int
    template_score: float | None
    fields: tuple[FieldResult, ...]  # in reading order
    turn: int = 0  # clockwise quarter turns that make it upright
    template: str | None = None  # that it was read with
    policy_id: str | None = None  # the site's policy, if it decided what is released


def insert_fields(
    s: Session,
    pages: Iterable[tuple[Page, PageResult]],
    now: datetime,
    audit_share: float = AUDIT_SHARE,
) -> None:
    """Write the fields of pages that were just read, each with its reading and its state.

    Of those that policy releases, people are to check `audit_share`, 0 to 1.
    """
    fields: list[dict[str, Any]] = []
    readings: list[dict[str, Any]] = []
    for page, result in pages:
        for ordinal, field in enumerate(result.fields, 1):
            accepted = field.reason is None
            field_id = new_id()
            fields.append(
                {
                    "id": field_id,
                    "tenant_id": page.tenant_id,
                    "batch_id": page.batch_id,
                    "page_id": page.id,
                    "ordinal": ordinal,
                    "name": field.name,
                    "state": FieldState.ACCEPTED if accepted else FieldState.REVIEW,
                    "value": field.value,
                    "reason": field.reason,
                    "grammar": field.grammar,
                    "required": field.required,
                    "verify": field.verify,
                    "audit": Audit.DUE if accepted and is_audited(field_id, audit_share) else None,
                    "released_by": POLICY if accepted else None,
                    "released_at": now if accepted else None,
                }
            )
            x, y, w, h = field.box
            readings.append(
                {
                    "id": new_id(),
                    "tenant_id": page.tenant_id,
                    "field_id": field_id,
                    "attempt": page.attempt,
                    "reader": field.reader,
                    "model_sha256": field.model_sha256,
                    "raw": field.raw,
                    "value": field.value,
                    "confidence": field.confidence,
                    "alternatives": field.alternatives,
                    "characters": field.characters,
                    "rule": field.rule,
                    "x": x,
                    "y": y,
                    "w": w,
                    "h": h,
                    "created_at": now,
                }
            )
    if fields:
        s.execute(insert(Field), fields)
        s.execute(insert(Reading), readings)


def is_audited(field_id: str, share: float) -> bool:
    """Say whether people are to check a field that policy releases."""
    return is_chosen(share, "audit", field_id)
