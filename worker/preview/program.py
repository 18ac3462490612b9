"""What the child runs: `python -m worker.preview.program BYTES SECONDS`, then it ends.

It decodes files that anybody may have made, so it has a limited address space, limited time, and
no secret. The request comes on its standard input, the answer goes to its standard output.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.errors import InputError, TemplateError
from pipeline.files.documents import DocumentLimits, only_pages, open_document
from pipeline.files.page import decode_page
from pipeline.geometry import turn_box
from pipeline.placing.choose import choose_template
from pipeline.placing.draft import draft_template
from pipeline.placing.level import level_page
from pipeline.placing.propose import propose_fields
from pipeline.placing.register import is_checked, turn_page
from pipeline.placing.sheet import find_sheet
from pipeline.placing.template_set import TemplateSet, parse_templates
from pipeline.read import read_pages
from pipeline.readers.loaded import load_readers
from pipeline.types import Box, EncodedPage, FieldReading, Image, Page, PageReading
from storage.site_models import current_strip
from worker.preview.protocol import OUT_OF_MEMORY, Request, Task, encode_error

_LONG_SIDE = 1600  # pixels of a picture
_QUALITY = 80  # of its JPEG


def main(memory: int, seconds: int) -> None:
    """Answer one request."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints must not get into the answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    cv2.setNumThreads(1)
    request = Request.decode(sys.stdin.buffer.read())
    try:
        answer = _TASKS[request.task](request)
    except InputError as exc:
        answer = {"error": encode_error(exc)}
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    answers.write(json.dumps(answer).encode())
    answers.flush()


def _draft(request: Request) -> dict[str, Any]:
    """Propose a template, and lay the page out as it says."""
    page = _page(request)
    proposals = propose_fields(page)
    if not proposals.found:
        raise InputError(
            "No boxes, combs or underlined blanks were found on this page.",
            hint="Scan an empty page at 200 dpi or more.",
            code="nothing-to-propose",
        )
    text, template, score = draft_template(page, proposals, request.name)
    flat = level_page(page, proposals.to_page, (proposals.width, proposals.height), _LONG_SIDE)
    return {
        "text": text,
        "score": score,
        "checked": is_checked(template),
        "fields": len(proposals.found),
        "picture": _picture(flat),
    }


def _place(request: Request) -> dict[str, Any]:
    """Lay a page out as the template says that it fits."""
    page = _page(request)
    template = parse_templates(request.text).templates[request.part]
    template, placement = choose_template(page, [replace(template, numbers=None)])
    if placement is None:
        raise TemplateError(f"'{template.name}' says to pass over such pages.")
    flat = level_page(
        turn_page(page, placement.turn),
        placement.matrix,
        (template.width, template.height),
        _LONG_SIDE,
    )
    return {"score": placement.score, "picture": _picture(flat)}


def _read(request: Request) -> dict[str, Any]:
    """Read pages with the templates, and say what is doubtful."""
    templates = parse_templates(request.text)
    home = Path(request.home) if request.home else None
    readers = load_readers(None if home is None else current_strip(home))
    pages = []
    for number, path in enumerate(request.paths):
        one = replace(request, paths=(path,), number=request.number if number == 0 else 1)
        try:
            encoded = _encoded(one)
            page = decode_page(encoded.data, encoded.media_type, max_pixels=request.max_pixels)
        except InputError as exc:
            pages.append({"error": encode_error(exc)})
            continue
        # Its number in a document is not known, so no template may depend on it.
        anywhere = [replace(template, numbers=None) for template in templates.templates]
        asked = TemplateSet(tuple(anywhere), templates.text)
        (reading,) = read_pages([page], asked, readers)
        pages.append(_read_page(page, reading))
    return {"pages": pages}


def _read_page(page: Page, reading: PageReading) -> dict[str, Any]:
    upright = turn_page(page, reading.turn)
    answer: dict[str, Any] = {
        "template": reading.template,
        "score": reading.template_score,
        "passed_over": reading.passed_over,
        "picture": _picture(_reduced(upright.grey)),
        "fields": [_read_field(field, page, reading.turn) for field in reading.fields],
    }
    if reading.error is not None:
        answer["error"] = encode_error(reading.error)
    return answer


def _read_field(field: FieldReading, page: Page, turn: int) -> dict[str, Any]:
    height, width = page.grey.shape
    box = turn_box(field.box, turn, (width, height))
    wide, high = (height, width) if turn % 2 else (width, height)
    return {
        "name": field.name,
        "box": _numbers(Box(box.x / wide, box.y / high, box.w / wide, box.h / high)),
        "value": field.value,
        "confidence": field.confidence,
        "blocked": field.blocked,
        "required": field.required,
    }


def _outline(request: Request) -> dict[str, Any]:
    """Find the sheet; its corners are in fractions of the photograph, clockwise."""
    page = _page(request)
    height, width = page.grey.shape
    sheet = find_sheet(page.grey)
    if sheet is None:
        return {"corners": None}
    return {"corners": (sheet.corners / (width, height)).round(4).tolist(), "score": sheet.score}


def _page(request: Request) -> Page:
    encoded = _encoded(request)
    return decode_page(encoded.data, encoded.media_type, max_pixels=request.max_pixels)


def _encoded(request: Request) -> EncodedPage:
    """Return the asked page of the first file. Raises InputError."""
    path = Path(request.paths[0])
    limits = DocumentLimits(request.max_pages, request.max_pixels, request.max_unpacked_bytes)
    pages = 0
    for pages, page in enumerate(only_pages(open_document(path, limits)), 1):
        if pages < request.number:
            continue
        if page.error is not None:
            raise page.error
        data = path.read_bytes() if page.data is None else page.data
        return EncodedPage(data, page.media_type)
    count = "1 page" if pages == 1 else f"{pages} pages"
    raise InputError(f"There is no page {request.number} in this file: it has {count}.")


def _reduced(grey: Image) -> Image:
    scale = _LONG_SIDE / max(grey.shape)
    if scale >= 1:
        return grey
    size = [max(1, round(side * scale)) for side in grey.shape[::-1]]
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _picture(grey: Image) -> dict[str, Any]:
    data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return {
        "jpeg": base64.b64encode(data).decode(),
        "width": grey.shape[1],
        "height": grey.shape[0],
    }


def _numbers(box: Box) -> list[float]:
    return [round(side, 5) for side in (box.x, box.y, box.w, box.h)]


_TASKS: dict[Task, Callable[[Request], dict[str, Any]]] = {
    Task.DRAFT: _draft,
    Task.PLACE: _place,
    Task.READ: _read,
    Task.OUTLINE: _outline,
}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
