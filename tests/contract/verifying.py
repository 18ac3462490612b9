"""A site whose people verify fields: what a browser does, in one call each."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import delete, select, update

from core.keying import KeyingMode, VerifyMode
from core.policy import Decision
from core.roles import Role
from db.models import Field, FieldHold, Keying, Person
from db.queries import get_field, list_fields
from db.session import Database
from db.transitions.deciding import decide_field
from db.transitions.keyings import Keyed
from db.transitions.pages import complete_pages
from db.transitions.people import ensure_person
from db.transitions.reviewing import Question, hold_next, postpone_field, take_back
from db.views import FieldView, PersonView
from tests.contract.acts import as_typed, claimed, queued, result


class Site:
    """A batch of one page, and people of one tenant. The machine read 253 in every field."""

    def __init__(
        self,
        db: Database,
        verify: VerifyMode = VerifyMode.CONFIRM,
        *,
        fields: int = 1,
        decision: Decision = Decision.REVIEW,
        audit_share: float = 0.0,
        planted_share: float = 0.0,
    ) -> None:
        self.db, self.planted_share = db, planted_share
        self.tenant_id, self.batch_id, page_ids = queued(db, pages=1)
        (claim,) = claimed(db, page_ids)
        read = result(*[decision] * fields)
        read = replace(read, fields=tuple(replace(one, verify=verify) for one in read.fields))
        with db.transaction() as s:
            written = [(claim.page_id, claim.attempt, read)]
            assert complete_pages(s, written, audit_share=audit_share)
        with db.reading() as s:
            self.ids = [one.id for one in list_fields(s, self.tenant_id, self.batch_id)]
        self.versions: dict[str, int] = {}

    def person(self, name: str, role: Role = Role.VERIFIER) -> PersonView:
        with self.db.transaction() as s:
            return ensure_person(s, self.tenant_id, f"{name} {self.tenant_id}", role)

    def goes(self, person: PersonView) -> None:
        """Let the holds of a person expire."""
        with self.db.transaction() as s:
            s.execute(delete(FieldHold).where(FieldHold.person_id == person.id))

    def leaves(self, person: PersonView) -> None:
        with self.db.transaction() as s:
            now = select(Person.created_at).where(Person.id == person.id).scalar_subquery()
            s.execute(update(Person).where(Person.id == person.id).values(disabled_at=now))

    def asks(self, person: PersonView, count: int = 6) -> list[Question]:
        """Return the questions that a person gets, and what version she sees of each."""
        with self.db.transaction() as s:
            asked = hold_next(
                s,
                tenant_id=self.tenant_id,
                batch_id=self.batch_id,
                person=person,
                count=count,
                planted_share=self.planted_share,
            )
        for question in asked:
            self.versions[question.field_id] = self.field(question.field_id).version
        return asked

    def asked(self, person: PersonView) -> list[KeyingMode]:
        return [question.mode for question in self.asks(person)]

    def keys(self, person: PersonView, value: str | None, field_id: str = "") -> KeyingMode:
        """Let a person answer a question, by default the only one; return how she was asked."""
        questions = {one.field_id: one.mode for one in self.asks(person, 50)}
        field_id = field_id or next(iter(questions))
        self.answer(person, field_id, value)
        self.goes(person)
        return questions[field_id]

    def answer(self, person: PersonView, field_id: str, value: str | None) -> None:
        with self.db.transaction() as s:
            decided = decide_field(
                s,
                tenant_id=self.tenant_id,
                field_id=field_id,
                person=person,
                keyed=Keyed(value),
                check=as_typed,
                version=self.versions[field_id],
            )
        self.versions[field_id] = decided.version
        self.told = decided

    def takes_back(self, person: PersonView, field_id: str = "") -> KeyingMode:
        with self.db.transaction() as s:
            question = take_back(
                s,
                tenant_id=self.tenant_id,
                field_id=field_id or self.ids[0],
                person=person,
                version=self.versions[field_id or self.ids[0]],
            )
        self.versions[question.field_id] = self.field(question.field_id).version
        return question.mode

    def postpones(self, person: PersonView, field_id: str) -> None:
        with self.db.transaction() as s:
            postpone_field(s, tenant_id=self.tenant_id, field_id=field_id, person=person)

    def field(self, field_id: str = "") -> FieldView:
        with self.db.reading() as s:
            return get_field(s, self.tenant_id, field_id or self.ids[0])

    def says(self, field_id: str = "") -> tuple[str, str | None]:
        field = self.field(field_id)
        return field.state, field.value

    def row(self, field_id: str = "") -> Field:
        with self.db.reading() as s:
            return s.get_one(Field, field_id or self.ids[0])

    def rights(self, mode: KeyingMode | None = None) -> list[bool | None]:
        """Return the grades of what counts, in the order of keying."""
        query = select(Keying.right).where(
            Keying.tenant_id == self.tenant_id, Keying.withdrawn_at.is_(None)
        )
        if mode is not None:
            query = query.where(Keying.mode == mode)
        with self.db.reading() as s:
            return list(s.scalars(query.order_by(Keying.id)))
