"""The JSON objects that the HTTP API answers with. OpenAPI is generated from these models."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.checks import CheckState
from core.policy import Decision, ReviewReason
from db.models import BatchState, DocumentState, FieldState, PageState


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class DocumentCounts(Answer):
    total: int = 0
    stored: int = 0
    opened: int = 0
    failed: int = 0
    copies: int = Field(0, description="Documents in state `copy`.")


class PageCounts(Answer):
    total: int = 0
    queued: int = 0
    leased: int = 0
    read: int = 0
    failed: int = 0
    quarantined: int = 0
    passed_over: int = Field(0, description="Not to be read: their template says to ignore them.")
    cancelled: int = 0


class FieldCounts(Answer):
    total: int = 0
    accepted: int = 0
    review: int = 0
    verified: int = 0
    unreadable: int = 0


class BatchObject(Answer):
    id: str
    name: str
    state: BatchState
    closed: bool
    template: str | None
    release_threshold: float | Literal["policy"] | None
    control_total: str | None = Field(
        description="What the values of `control_field` should add up to, a decimal."
    )
    control_field: str | None
    expected_pages: int | None
    expected_documents: int | None
    created_at: datetime
    finished_at: datetime | None
    documents: DocumentCounts
    pages: PageCounts
    fields: FieldCounts
    passed_over: int = Field(
        description="Images, files and frames that were found in the documents and are no pages:"
        " thumbnails, attachments, hidden files. `passed_over` of a document names each."
    )
    percent: float = Field(description="Share of the pages that have ended, rounded down.")
    eta_seconds: float | None = Field(
        description="Estimated time until the last page is read. Null: not known."
    )
    links: dict[str, str]


class UploadedFile(Answer):
    id: str
    filename: str
    sha256: str
    size: int
    state: DocumentState
    duplicate: bool = Field(
        description="The batch had this file already, with this name and these bytes; nothing was"
        " added."
    )
    copy_of: str | None = Field(
        description="Id of a document with the same bytes under another name, which is read. This"
        " one is not."
    )


class RejectedFile(Answer):
    filename: str
    code: str
    message: str


class BatchReceipt(BatchObject):
    """The batch, with the result for each file of the request."""

    uploaded: list[UploadedFile]
    rejected: list[RejectedFile]


class Retried(Answer):
    documents: int
    pages: int


class RetryReceipt(BatchObject):
    """The batch, with the numbers of files and pages that are retried."""

    retried: Retried


class DocumentsReceipt(Answer):
    documents: list[UploadedFile]
    rejected: list[RejectedFile]


class ErrorObject(Answer):
    code: str
    message: str


class PassedOverObject(Answer):
    """Something in a document that is no page."""

    name: str = Field(description="What and where it is, such as `frame 2`; for showing only.")
    code: str = Field(description="Why it is no page; the codes are stable.")
    reason: str = Field(description="The same in words, and what to do if it is a page.")


class DocumentObject(Answer):
    id: str
    batch_id: str
    filename: str
    sha256: str
    size: int
    template: str | None
    pages: int
    passed_over: list[PassedOverObject]
    copy_of: str | None = Field(
        description="State `copy`: the id of the document with the same bytes that is read."
    )
    copy_of_file: str | None = Field(description="The name of that document.")
    state: DocumentState
    error: ErrorObject | None
    created_at: datetime


class Alternative(Answer):
    value: str
    probability: float


class CharacterObject(Answer):
    """One character of the value that was read."""

    text: str
    probability: float = Field(description="That this character stands in this place.")
    box: tuple[float, float, float, float] = Field(
        description="x, y, width and height, in pixels of the page as scanned."
    )
    alternatives: list[Alternative] = Field(description="Other characters, best first.")


class FieldObject(Answer):
    id: str
    name: str
    state: FieldState
    value: str | None = Field(
        description="The released value; in state `review`, the best one that the field's grammar"
        " allows. Empty text: the field is empty. Null: there is no such value, or the field is"
        " `unreadable`."
    )
    raw: str | None = Field(description="The best reading, whatever the field's grammar allows.")
    confidence: float | None = Field(
        description="Calibrated probability that the value that was read is right as a whole."
    )
    alternatives: list[Alternative] = Field(description="Values with probabilities, best first.")
    characters: list[CharacterObject] | None = Field(
        description="Those of the value that was read, one each. Empty: no reader tells where they"
        " are. Null: read by a version that did not keep them."
    )
    box: tuple[float, float, float, float] | None = Field(
        description="x, y, width and height, in pixels of the page as scanned."
    )
    decision: Decision = Field(
        description="`accepted`: policy or a person released the value. Else `review`."
    )
    reason: ReviewReason | None = Field(
        description="Why policy gave the field to a person; null where it released the value."
    )
    grammar: str | None = Field(
        description="What the field may hold. Null: read by a version that did not keep it."
    )
    required: bool | None = Field(description="Whether it may not be left empty. Null: the same.")
    rule: str | None = Field(description="The rule that made `value` differ from `raw`.")
    reader: str | None
    model_sha256: str | None
    released_by: str | None = Field(
        description="`policy`, or the name of the API key with which a person decided."
    )
    released_at: datetime | None
    version: int = Field(
        description="Grows by each decision of a person. In quotes it is the field's ETag."
    )
    forced: bool = Field(
        description="A person released a value that the grammar does not allow, or that a check"
        " across fields contradicts."
    )
    note: str | None = Field(description="What the person noted who decided.")


class BatchField(FieldObject):
    """A field in a list of its batch, with the id of its page."""

    page_id: str
    links: dict[str, str]


class CheckObject(Answer):
    """What became of a check across fields, which the template states."""

    name: str = Field(description="The name of the rule.")
    fields: list[str] = Field(description="Names of the fields that it is about.")
    state: CheckState = Field(
        description="`unknown`: it cannot be decided, because a value is missing."
    )
    message: str = Field(description="What contradicts what, or what is missing; for showing only.")
    pages: list[str] = Field(description="Ids of other pages with the same values (`unique`).")


class PageObject(Answer):
    id: str
    document_id: str
    file: str
    page: int = Field(description="Counted from 1 within the file.")
    label: str = Field(description="Where in a ZIP the page comes from, else empty.")
    template: str | None = Field(
        description="Name of the template that fits the page; if none was found yet, of each that"
        " may."
    )
    state: PageState
    turn: int = Field(
        description="Number of quarter turns clockwise that bring the page upright. Boxes are in"
        " pixels of the page as scanned; crops of fields are upright."
    )
    fields: list[FieldObject]
    checks: list[CheckObject] = Field(description="Checks across the fields, as they are now.")
    error: ErrorObject | None
    passed_over: str | None = Field(
        description="State `passed_over`: why the page is not to be read."
    )


class ExportedPage(Answer):
    """A line of a JSON Lines export.

    Of a file without pages, and of what was passed over, `id` and `page` are null. State `copy`:
    the same bytes as another file, which is read. State `passed_over`: `label` names what was found
    in the file and is no page; `error` says why.
    """

    id: str | None
    document_id: str
    file: str
    page: int | None
    label: str
    template: str | None
    state: PageState | Literal["copy", "passed_over"]
    turn: int | None
    fields: list[FieldObject]
    checks: list[CheckObject] = []
    error: ErrorObject | None
    passed_over: str | None = None


class BatchList(Answer):
    items: list[BatchObject]
    next: str | None


class DocumentList(Answer):
    items: list[DocumentObject]
    next: str | None


class PageList(Answer):
    items: list[PageObject]
    next: str | None


class FieldList(Answer):
    items: list[BatchField]
    next: str | None


class TemplateField(Answer):
    name: str
    grammar: str
    required: bool


class TemplateObject(Answer):
    name: str = Field(description="What readings and exports call it.")
    set: str = Field(
        description="What the form field `template` calls it: its own name, or that of the stored"
        " set that it is in."
    )
    stored: bool = Field(description="It was stored at this site; else it is bundled.")
    fields: list[TemplateField]
    text: str
    error: str | None = Field(description="Why a stored template cannot be used.")


class TemplateList(Answer):
    items: list[TemplateObject]


class ExportReceipt(Answer):
    target: str
    table: str
    rows: int


class ServiceState(Answer):
    state: Literal["ok", "away", "not configured"]
    detail: str = ""


class Health(Answer):
    status: Literal["ok"] = "ok"


class Readiness(Answer):
    ready: bool
    database: ServiceState
    store: ServiceState
    broker: ServiceState
    backlog_seconds: float | None = Field(
        description="Age of the oldest message that the dispatcher has not sent. More than a few"
        " seconds: no dispatcher runs, or the broker is away. Null: the database is away."
    )


class Problem(Answer):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`/problems/<code>`, stable, for machines.")
    title: str
    status: int
    code: str
    detail: str = Field(description="A sentence that says what is wrong and what to do.")
    instance: str
    request_id: str
    errors: list[dict[str, Any]] | None = None
