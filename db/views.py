"""The results of queries: frozen values that do not depend on a session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.checks import Finding
from core.ids import object_key
from core.keying import VerifyMode
from core.policy import Decision
from core.roles import Role, SignInMethod
from db.models import FieldState


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch without its counts."""

    id: str
    state: str
    closed: bool
    template_id: str | None


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """A batch and its progress. Each mapping has the count of every state, also where it is 0."""

    id: str
    name: str
    state: str
    closed: bool
    template: str | None  # name
    release_threshold: float | None
    by_policy: bool  # the policy of the site decides what is released
    control_total: str | None  # what the values of `control_field` should add up to, a decimal
    control_field: str | None
    expected_pages: int | None
    expected_documents: int | None
    created_at: datetime
    finished_at: datetime | None
    documents: dict[str, int]
    pages: dict[str, int]
    fields: dict[str, int]
    passed_over: int  # what was found in its documents and is no page
    percent: float  # of the pages that have ended, 0 to 100; an unopened file counts as one page
    eta_seconds: float | None  # estimated time left; None: not known yet


@dataclass(frozen=True, slots=True)
class PassedOverView:
    """Something in a document that is no page."""

    id: str
    name: str  # what and where it is
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class DocumentView:
    id: str
    batch_id: str
    filename: str
    sha256: str
    size: int
    state: str
    copy_of: str | None  # id of the document with the same bytes that is read
    copy_of_file: str | None  # its name
    template: str | None
    pages: int
    passed_over: tuple[PassedOverView, ...]
    error_code: str | None
    error_message: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field with its current reading. If it has none, the members of the reading are None."""

    id: str
    page_id: str
    batch_id: str
    ordinal: int  # reading order on the page, from 1
    name: str
    state: str
    value: str | None
    reason: str | None  # a ReviewReason: why policy gave it to a person; None if it did not
    grammar: str | None  # in normal form; None: an older version read it
    required: bool | None  # None: an older version read it
    released_by: str | None
    released_at: datetime | None
    version: int  # grows by each decision of a person
    forced: bool  # a person released a value that the grammar does not allow
    note: str | None  # of the person who decided
    postponed_at: datetime | None  # a person left it for later
    verify: str  # a VerifyMode
    raw: str | None
    confidence: float | None
    alternatives: list[dict[str, Any]]
    # Of the value that was read; none: no reader tells where they are. None: an older version read.
    characters: list[dict[str, Any]] | None
    rule: str | None
    reader: str | None
    model_sha256: str | None
    box: tuple[float, float, float, float] | None  # x, y, w, h in pixels of the page as scanned
    contradicted_by: tuple[Finding, ...] = ()  # the checks across fields that fail with it

    @property
    def is_secret(self) -> bool:
        """Say whether people are asked for it who must not see what anybody read."""
        return self.state == FieldState.REVIEW and self.verify != VerifyMode.CONFIRM

    @property
    def decision(self) -> Decision:
        """ACCEPTED if policy or a person released a value, else REVIEW."""
        released = self.state in (FieldState.ACCEPTED, FieldState.VERIFIED)
        return Decision.ACCEPTED if released else Decision.REVIEW


@dataclass(frozen=True, slots=True)
class FieldRules:
    """What a field may hold.

    If an older version read the field, `grammar` and `required` are None: `template_text` has them.
    Without a template a field holds digits.
    """

    name: str
    grammar: str | None  # in normal form
    required: bool | None
    template_text: str | None


@dataclass(frozen=True, slots=True)
class PageView:
    id: str
    batch_id: str
    document_id: str
    file: str  # name of the uploaded file
    ordinal: int  # within the file, from 1
    label: str  # its name in a ZIP, else ""
    template: str | None
    state: str
    sha256: str | None
    media_type: str
    width: int | None
    height: int | None
    turn: int  # clockwise quarter turns that make it upright
    error_code: str | None
    error_message: str | None
    fields: tuple[FieldView, ...] = ()
    findings: tuple[Finding, ...] = ()  # of the template's checks across fields

    @property
    def object_key(self) -> str | None:
        """The key of the page image in the object store, or None if there is no image."""
        return None if self.sha256 is None else object_key(self.batch_id, self.sha256)


@dataclass(frozen=True, slots=True)
class ExportRow:
    """A row of an export: a field; a page or file without one; or what was passed over.

    CSV files have these columns.
    """

    batch: str
    file: str
    page: int | None = None
    label: str = ""
    template: str | None = None
    field: str | None = None
    value: str | None = None
    raw: str | None = None
    confidence: float | None = None
    state: str | None = None
    decision: str | None = None
    reason: str | None = None
    released_by: str | None = None
    released_at: datetime | None = None
    forced: bool | None = None
    note: str | None = None
    box: str | None = None  # "[x, y, w, h]", pixels of the page
    page_state: str = ""
    error: str | None = None
    document_id: str = ""
    page_id: str | None = None
    field_id: str | None = None
    row_id: str = ""  # of the field, else of the page, of what was passed over, or of the file


@dataclass(frozen=True, slots=True)
class PersonView:
    """Somebody who works in the browser."""

    id: str
    tenant_id: str
    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Say whether the person may do what `role` may do."""
        order = list(Role)
        return order.index(self.role) >= order.index(role)


@dataclass(frozen=True, slots=True)
class PersonDetails:
    """A person as admins see her."""

    id: str
    name: str
    role: Role
    has_password: bool
    of_provider: bool  # an identity provider signs her in, and says her role
    signed_in_at: datetime | None
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class SessionView:
    """The browser session of a request."""

    id: str
    method: SignInMethod
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AuditView:
    """An entry of the audit log."""

    id: int
    at: datetime
    who: str
    person_id: str | None  # None: an API key, or a command on the server
    action: str
    about: dict[str, Any]
    address: str  # "": on the server itself


@dataclass(frozen=True, slots=True)
class ApiKeyView:
    """An API key without its secret."""

    id: str
    tenant: str  # name
    name: str
    prefix: str  # of the plaintext `cf_<prefix>_<secret>`
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventView:
    id: int
    kind: str
    payload: dict[str, Any]
    created_at: datetime
