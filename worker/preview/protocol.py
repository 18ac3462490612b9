"""What goes between a server and the child that looks at a page for it: JSON, both ways.

Pictures are JPEG in base64. Boxes are in fractions: of the picture that comes with them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from core.errors import InputError

OUT_OF_MEMORY = 77  # the child's exit status then; nothing else uses it


class Task(StrEnum):
    DRAFT = "draft"  # propose a template for a page
    PLACE = "place"  # lay a page out as a template says
    READ = "read"  # read pages with a template
    OUTLINE = "outline"  # find the sheet on a photograph


@dataclass(frozen=True, slots=True)
class Request:
    """What to do with files; `number` is the page of the first, from 1.

    `name` is that of a new template; `text` states the templates, `part` which of them.
    """

    task: Task
    paths: tuple[str, ...]
    number: int = 1
    name: str = ""
    text: str = ""
    part: int = 0
    home: str = ""  # of the site's own reader; "": the bundled one
    max_pixels: int = 0
    max_pages: int = 0
    max_unpacked_bytes: int = 0

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Request:
        fields = json.loads(data)
        paths = tuple(str(Path(path)) for path in fields.pop("paths"))
        return cls(task=Task(fields.pop("task")), paths=paths, **fields)


def encode_error(error: InputError) -> dict[str, str]:
    return {"message": error.message, "hint": error.hint, "code": error.code}


def decode_error(fields: dict[str, Any]) -> InputError:
    return InputError(fields["message"], hint=fields["hint"], code=fields["code"])
