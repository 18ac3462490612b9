"""The JSON body of a request."""

from __future__ import annotations

from typing import TypeVar

from flask import request
from pydantic import BaseModel

_Body = TypeVar("_Body", bound=BaseModel)


def read_body(model: type[_Body], max_bytes: int) -> _Body:
    """Return the body of this request.

    Raises pydantic's ValidationError for what the model does not allow, which is answered with 422,
    and RequestEntityTooLarge (413).
    """
    request.max_content_length = max_bytes
    return model.model_validate_json(request.get_data(cache=False))
