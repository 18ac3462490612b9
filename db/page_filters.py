"""Which pages of a batch are asked for, by what is on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.models import Field, FieldState, Page, Reading


@dataclass(frozen=True, slots=True)
class PageFilter:
    """Pages of a state and a template, on which one field is all that is asked; None: any.

    `unsure` is a confidence below which its reading lies, 0 to 1; `person` who decided it.
    """

    state: str | None = None
    template: str | None = None
    field: str | None = None
    field_state: str | None = None
    reason: str | None = None
    unsure: float | None = None
    person: str | None = None

    @property
    def of_field(self) -> bool:
        asked = (self.field, self.field_state, self.reason, self.unsure, self.person)
        return any(one is not None for one in asked)


@dataclass(frozen=True, slots=True)
class FilterChoices:
    """What occurs in a batch: names of fields, of templates, and of people who decided."""

    fields: tuple[str, ...]
    templates: tuple[str, ...]
    people: tuple[str, ...]


def conditions(asked: PageFilter) -> Iterator[ColumnElement[bool]]:
    """Yield what a row of Page must satisfy."""
    if asked.state is not None:
        yield Page.state == asked.state
    if asked.template is not None:
        yield Page.template == asked.template
    if asked.of_field:
        fields = select(Field.id).where(*_of_field(asked))
        if asked.unsure is not None:  # by the readings of the page's last attempt
            current = and_(Reading.field_id == Field.id, Reading.attempt == Page.attempt)
            fields = fields.join(Reading, current).where(Reading.confidence < asked.unsure)
        yield exists(fields.correlate(Page))


def _of_field(asked: PageFilter) -> Iterator[ColumnElement[bool]]:
    yield Field.page_id == Page.id
    if asked.field is not None:
        yield Field.name == asked.field
    if asked.field_state is not None:
        yield Field.state == asked.field_state
    if asked.reason is not None:
        yield Field.reason == asked.reason
        if asked.field_state is None:  # the reason of a decided field is past
            yield Field.state == FieldState.REVIEW
    if asked.person is not None:
        yield Field.released_by == asked.person


def filter_choices(s: Session, tenant_id: str, batch_id: str) -> FilterChoices:
    """Return what the pages of a batch can be filtered by."""

    def found(
        column: InstrumentedAttribute[str] | InstrumentedAttribute[str | None],
        table: type[Field | Page],
        *more: ColumnElement[bool],
    ) -> tuple[str, ...]:
        of_batch = (table.batch_id == batch_id, table.tenant_id == tenant_id)
        query = select(column).distinct().where(*of_batch, column.is_not(None), *more)
        return tuple(sorted(str(one) for one in s.scalars(query)))

    by_people = Field.state.in_((FieldState.VERIFIED, FieldState.UNREADABLE))
    return FilterChoices(
        found(Field.name, Field),
        found(Page.template, Page),
        found(Field.released_by, Field, by_people),
    )
