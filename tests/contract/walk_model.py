"""What a batch should be after any transitions: written down once more, in other words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MAX_ATTEMPTS = 3
ENDED = {"complete", "complete_with_errors", "cancelled"}


@dataclass
class ModelPage:
    id: str
    batch: ModelBatch
    state: str = "queued"
    attempt: int = 0
    failures: int = 0  # attempts that count against it
    waits: bool = False  # for a service
    held: bool = False  # a lease that has not passed
    value: str | None = None


@dataclass
class ModelBatch:
    id: str
    tenant_id: str
    closed: bool = False
    cancelled: bool = False
    documents: dict[str, str] = field(default_factory=dict)  # id: state
    pages: list[ModelPage] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)  # id: state

    def state(self) -> str:
        """The state that a batch should be in: written down once more, in other words."""
        if self.cancelled:
            return "cancelled"
        if not self.closed:
            return "receiving"
        pages = {page.state for page in self.pages}
        documents = set(self.documents.values())
        if "stored" in documents or pages & {"queued", "leased"}:
            return "processing"
        if "review" in self.fields.values():
            return "reviewing"
        bad = "failed" in documents or pages & {"failed", "quarantined"}
        return "complete_with_errors" if bad else "complete"


def pick(things: list[Any], which: int) -> Any:
    return things[which % len(things)]


def holds(page: ModelPage, attempt: int) -> bool:
    return page.state == "leased" and page.attempt == attempt and page.held


def after_attempt(page: ModelPage, blame: bool) -> str:
    page.failures += blame
    return "quarantined" if page.failures >= MAX_ATTEMPTS else "queued"


def count(states: list[str]) -> dict[str, int]:
    return {state: states.count(state) for state in set(states)}


def counted(counts: dict[str, int]) -> dict[str, int]:
    return {state: number for state, number in counts.items() if number}
