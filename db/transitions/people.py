"""Who may work in the browser, and as what. `db.transitions.sessions` signs them in and out.

A tenant that has an admin always keeps one who is not disabled.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import ConflictError, InputError, NotFoundError
from core.ids import is_id
from core.limits import MAX_NAME
from core.roles import Role
from core.text import checked_line
from db.models import Person
from db.session import database_now
from db.transitions.upsert import insert_or_ignore
from db.views import PersonView


def ensure_person(s: Session, tenant_id: str, name: str, role: Role) -> PersonView:
    """Return the person of that name, and add her with `role` if there is none.

    Raises InputError for a name that is not one line of text, or that belongs to a person of
    another tenant.
    """
    name = _checked_name(name)
    insert_or_ignore(s, Person, ["name"], tenant_id=tenant_id, name=name, role=role)
    person = s.scalars(select(Person).where(Person.name == name)).one()
    if person.tenant_id != tenant_id:
        raise _taken(name)
    return person_view(person)


def add_person(s: Session, tenant_id: str, name: str, role: Role) -> PersonView:
    """Add a person. Raises InputError as `ensure_person`, and for every name that is taken."""
    name = _checked_name(name)
    person_id = insert_or_ignore(s, Person, ["name"], tenant_id=tenant_id, name=name, role=role)
    if person_id is None:
        raise _taken(name)
    return person_view(s.get_one(Person, person_id))


def person_of_provider(
    s: Session, tenant_id: str, subject: str, names: list[str], role: Role
) -> PersonView | None:
    """Return the person whom an identity provider has signed in, and add her if she is new.

    `subject` is the provider's address and its unchanging id of her; `names` are what she may be
    called, the best first: a name that somebody has already is never hers. Her role is what the
    settings say of her now. None if she is disabled, or belongs to another tenant.
    """
    person = s.scalar(select(Person).where(Person.subject == subject).with_for_update())
    for name in [] if person is not None else names:
        row_id = insert_or_ignore(
            s, Person, ["name"], tenant_id=tenant_id, name=_checked_name(name), role=role
        )
        if row_id is not None:
            person = s.get_one(Person, row_id)
            person.subject = subject
            break
    if person is None or person.disabled_at is not None or person.tenant_id != tenant_id:
        return None
    person.role = role
    s.flush()
    return person_view(person)


def set_role(s: Session, *, tenant_id: str, person_id: str, role: Role) -> PersonView:
    """Let a person do what `role` may do.

    Raises NotFoundError, and ConflictError for the last admin, or where the provider says it.
    """
    person = _locked(s, tenant_id, person_id)
    if person.subject is not None:
        raise ConflictError(
            f"The role of {person.name} comes from the identity provider.",
            hint="Change it there.",
            code="role-of-provider",
        )
    if role != Role.ADMIN:
        _keep_an_admin(s, person)
    person.role = role
    s.flush()
    return person_view(person)


def disable_person(s: Session, *, tenant_id: str, person_id: str) -> PersonView:
    """Shut a person out at once. Safe to repeat.

    Raises NotFoundError, and ConflictError for the last admin.
    """
    person = _locked(s, tenant_id, person_id)
    _keep_an_admin(s, person)
    person.disabled_at = person.disabled_at or database_now(s)
    s.flush()
    return person_view(person)


def enable_person(s: Session, *, tenant_id: str, person_id: str) -> PersonView:
    """Let a person in again. Safe to repeat. Raises NotFoundError."""
    person = _locked(s, tenant_id, person_id)
    person.disabled_at = None
    s.flush()
    return person_view(person)


def get_person(s: Session, tenant_id: str, person_id: str) -> PersonView:
    """Return a person of the tenant. Raises NotFoundError."""
    query = select(Person).where(Person.id == person_id, Person.tenant_id == tenant_id)
    person = s.scalar(query) if is_id(person_id) else None
    if person is None:
        raise _missing()
    return person_view(person)


def set_keys(s: Session, person_id: str, keys: dict[str, str]) -> None:
    """Store the keys that a person has chosen, by what they do; none: those of everybody."""
    s.get_one(Person, person_id).keys = dict(keys) or None
    s.flush()


def keys_of(s: Session, person_id: str) -> dict[str, str]:
    """Return the keys that a person has chosen, by what they do."""
    keys = s.scalar(select(Person.keys).where(Person.id == person_id))
    return dict(keys or {})


def person_view(person: Person) -> PersonView:
    return PersonView(person.id, person.tenant_id, person.name, Role(person.role))


def _locked(s: Session, tenant_id: str, person_id: str) -> Person:
    # All people of the tenant, in the order of their ids: of two admins who demote each other at
    # once, the second sees what the first has done.
    query = select(Person).where(Person.tenant_id == tenant_id).order_by(Person.id)
    locking = query.with_for_update().execution_options(populate_existing=True)
    for person in s.scalars(locking).all():
        if person.id == person_id:
            return person
    raise _missing()


def _keep_an_admin(s: Session, person: Person) -> None:
    others = select(Person.id).where(
        Person.tenant_id == person.tenant_id,
        Person.id != person.id,
        Person.role == Role.ADMIN,
        Person.disabled_at.is_(None),
    )
    is_one = person.role == Role.ADMIN and person.disabled_at is None
    if is_one and s.scalar(others.limit(1)) is None:
        raise ConflictError(
            f"{person.name} is the last admin.",
            hint="Make somebody else an admin first.",
            code="last-admin",
        )


def _checked_name(name: str) -> str:
    name = checked_line(name, "The name of a person", longest=MAX_NAME)
    if not name:
        raise InputError("The name of a person must not be empty.", code="bad-text")
    if name.casefold() == "policy":  # who released a field: a person, or the policy
        raise _taken(name)
    return name


def _taken(name: str) -> InputError:
    return InputError(
        f"The name '{name}' is taken.", hint="Choose another name.", code="name-taken"
    )


def _missing() -> NotFoundError:
    return NotFoundError("There is no such person.", code="person-not-found")
