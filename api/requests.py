"""What requests to the HTTP API may hold: JSON bodies, form fields and query strings.

OpenAPI is generated from these models, and from those of `api.answers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    WithJsonSchema,
    WrapValidator,
)

from core.balance import control_total
from core.limits import MAX_NAME, MAX_NOTE, MAX_VALUE
from core.text import checked_line
from db.models import FieldState, PageState

ID_PATTERN = "^[0-9a-f]{32}$"
MAX_LIMIT = 1000


# An InputError passes through pydantic as it is.
Label = Annotated[
    str,
    StringConstraints(max_length=MAX_NAME),
    AfterValidator(lambda text: checked_line(text, "The name", longest=MAX_NAME)),
]
Value = Annotated[str, StringConstraints(max_length=MAX_VALUE)]
Note = Annotated[str, StringConstraints(max_length=MAX_NOTE)]
POLICY: Final[Literal["policy"]] = "policy"  # in place of a threshold: the policy of the site


def _threshold_or_policy(value: object, check: Callable[[object], float]) -> object:
    return POLICY if value == POLICY else check(value)


if TYPE_CHECKING:
    Threshold = float | Literal["policy"]
else:  # a union would name its members in each message
    Threshold = Annotated[
        float,
        Field(gt=0, le=1),
        WrapValidator(_threshold_or_policy),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                    {"const": POLICY},
                ]
            }
        ),
    ]
ControlTotal = Annotated[str, StringConstraints(max_length=40), AfterValidator(control_total)]
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]
Count = Annotated[int, Field(ge=0, le=10_000_000)]


class Body(BaseModel):
    """A JSON request. Unknown members and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


TemplateName = Annotated[str, Field(max_length=200)]
TemplateYaml = Annotated[str, Field(max_length=1 << 20)]


class TemplateOptions(Body):
    """Of several templates, each page is read with the one that fits it."""

    template: TemplateName | list[TemplateName] | None = Field(
        None,
        description="Name of a bundled template, of a stored one, or of a stored set; or several."
        " `*`: all of which pages can be told apart, unless others are named too.",
    )
    template_text: TemplateYaml | list[TemplateYaml] | None = Field(
        None, description="A template as YAML text, or several; beside those of `template`."
    )


class BatchOptions(TemplateOptions):
    name: Label = Field("", description="A name for people to read.")
    release_threshold: Threshold | None = Field(
        None,
        description="A value with this confidence or a higher one is released without a person."
        ' "policy": the policy of the site decides. Without it, every field waits for a person.',
    )
    control_total: ControlTotal | None = Field(
        None,
        description="What the values of `control_field` should add up to, such as `12345.50`.",
    )
    control_field: FieldName | None = Field(
        None, description="Name of the field whose values are added up."
    )
    expected_pages: Count | None = Field(None, description="How many pages there should be.")
    expected_documents: Count | None = Field(None, description="How many files there should be.")


class NewBatch(BatchOptions):
    """A batch without files. Send them to `links.documents`, then close the batch."""

    keep_open: Literal[True] = Field(True, description="The batch stays open for files.")


class UploadForm(BatchOptions):
    """The form fields of a multipart request that creates a batch."""

    model_config = ConfigDict(strict=False)

    keep_open: bool = Field(False, description="The batch stays open for more files.")


class DocumentForm(TemplateOptions):
    """The form fields of a multipart request that adds files to a batch."""


class VerifiedValue(Body):
    value: Value = Field(
        description="The value as a person reads it. Empty text: nothing is written there."
    )
    force: bool = Field(
        False, description="Record a value that the field's grammar does not allow. Needs a `note`."
    )
    note: Note | None = Field(None, description="Why; one line of text.")


class Unreadable(Body):
    unreadable: Literal[True] = Field(description="Nobody can read the field.")
    note: Note | None = Field(None, description="Why; one line of text.")


class Verification(RootModel[VerifiedValue | Unreadable]):
    """The decision of a person: a value, or that the field is unreadable."""


class ExportOrder(Body):
    target: str = Field(
        max_length=200, description="Name of a database in the server's setting `export_targets`."
    )
    table: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$", description="Created if it does not exist."
    )


class ListQuery(Query):
    after: str | None = Field(
        None, pattern=ID_PATTERN, description="Cursor: the member `next` of the previous answer."
    )
    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="Most items in one answer.")


class PagesQuery(ListQuery):
    state: PageState | None = Field(None, description="Only pages in this state.")


class FieldsQuery(ListQuery):
    state: FieldState | None = Field(None, description="Only fields in this state.")


class ExportQuery(Query):
    format: Literal["csv", "jsonl", "xlsx"] = Field("csv", description="Format of the file.")
    bom: bool = Field(False, description="CSV only: begin with a byte order mark, for Excel.")


class ImageQuery(Query):
    width: int | None = Field(
        None, ge=16, le=4096, description="Width of a smaller copy, in pixels (grey JPEG)."
    )
