"""The JSON that scripts send."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from api.problems import ProblemError

_Body = TypeVar("_Body", bound=BaseModel)


def read_body(model: type[_Body], max_bytes: int) -> _Body:
    """Return what a script sent. Raises ProblemError (422) for what the model does not allow."""
    request.max_content_length = max_bytes
    try:
        return model.model_validate_json(request.get_data(cache=False))
    except ValidationError as exc:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "This is no decision."
        ) from exc
