"""What goes through the pipes between the parent and its guarded child.

The parent writes requests to the child's standard input, one line of JSON each. The child writes
frames to its standard output: the lengths of a header and of a page's bytes (4 bytes each, big
end first), the header in JSON, and the bytes.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from pipeline.files.documents import DocumentLimits, DocumentPage, Position
from pipeline.files.passed_over import PassedOver

LENGTHS = struct.Struct(">II")
OUT_OF_MEMORY = 77  # the child's exit status then; nothing else uses it


@dataclass(frozen=True, slots=True)
class Request:
    """Open a document, and yield its pages from `start` on."""

    path: Path  # absolute
    limits: DocumentLimits
    start: Position


@dataclass(frozen=True, slots=True)
class Ready:
    """The child has started."""


@dataclass(frozen=True, slots=True)
class At:
    """The child is about to open what is at `position`. A page there would have these."""

    position: Position
    label: str
    media_type: str


@dataclass(frozen=True, slots=True)
class End:
    """The document has no further pages, or the error is that of the whole document."""

    error: InputError | None = None


Answer = Ready | At | DocumentPage | PassedOver | End


def encode_request(request: Request) -> bytes:
    fields = {
        "path": str(request.path),
        "limits": asdict(request.limits),
        "start": asdict(request.start),
    }
    return json.dumps(fields).encode() + b"\n"


def decode_request(line: bytes) -> Request:
    fields = json.loads(line)
    return Request(
        Path(fields["path"]), DocumentLimits(**fields["limits"]), Position(**fields["start"])
    )


def encode_answer(answer: Answer) -> tuple[bytes, bytes]:
    """Return a frame in two parts: the lengths with the header, and a page's bytes."""
    header, data = _header(answer)
    encoded = json.dumps(header).encode()
    return LENGTHS.pack(len(encoded), len(data)) + encoded, data


def _header(answer: Answer) -> tuple[dict[str, Any], bytes]:
    match answer:
        case Ready():
            return {"kind": "ready"}, b""
        case At(position, label, media_type):
            at = asdict(position)
            return {"kind": "at", "label": label, "media_type": media_type, "position": at}, b""
        case End(error):
            return {"kind": "end", "error": _encode_error(error)}, b""
        case PassedOver():
            return {"kind": "passed-over"} | asdict(answer), b""
        case DocumentPage(label, media_type, data, error):
            page = {
                "kind": "page",
                "label": label,
                "media_type": media_type,
                "has_data": data is not None,
                "error": _encode_error(error),
            }
            return page, data or b""


def decode_answer(encoded: bytes | bytearray, data: bytes) -> Answer:
    """Return the answer of a frame's header and a page's bytes."""
    header = json.loads(encoded)
    match header["kind"]:
        case "ready":
            return Ready()
        case "at":
            return At(Position(**header["position"]), header["label"], header["media_type"])
        case "end":
            return End(_decode_error(header["error"]))
        case "passed-over":
            return PassedOver(header["name"], header["code"], header["reason"])
        case _:
            return DocumentPage(
                header["label"],
                header["media_type"],
                data if header["has_data"] else None,
                _decode_error(header["error"]),
            )


def _encode_error(error: InputError | None) -> dict[str, str] | None:
    if error is None:
        return None
    return {"message": error.message, "hint": error.hint, "code": error.code}


def _decode_error(fields: dict[str, str] | None) -> InputError | None:
    if fields is None:
        return None
    return InputError(fields["message"], hint=fields["hint"], code=fields["code"])
