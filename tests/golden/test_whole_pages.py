"""Whole pages of every kind: each value is exactly what is written, each box where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.geometry import iou
from pipeline.readers.loaded import Readers, load_readers
from pipeline.types import Box
from tests.golden.draw_pages import EXPECTED, GOLDEN, read_golden

EXPECTATIONS: list[dict[str, Any]] = json.loads(EXPECTED.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def readers() -> Readers:
    return load_readers()


@pytest.mark.parametrize(
    ("golden", "expected"),
    list(zip(GOLDEN, EXPECTATIONS, strict=True)),
    ids=[f"{expected['file']}#{expected['page']}" for expected in EXPECTATIONS],
)
def test_a_whole_page(
    golden: tuple[Path, int, str | None], expected: dict[str, Any], readers: Readers
) -> None:
    path, number, template = golden
    assert [path.name, number, template] == [
        expected[name] for name in ("file", "page", "template")
    ]
    reading = read_golden(path, number, template, readers)
    assert reading.error is None
    assert [reading.width, reading.height] == expected["size"]
    assert reading.turn == 0
    wanted = expected["fields"]
    assert {f.name: f.value for f in reading.fields} == {n: w["value"] for n, w in wanted.items()}
    for field in reading.fields:
        assert iou(field.box, Box(*wanted[field.name]["box"])) > 0.95, field.name
