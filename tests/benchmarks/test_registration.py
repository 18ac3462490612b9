"""The NIST form is found where the benchmark's distortions have put it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.registration import Distortion, distort
from pipeline.files.page import decode_page
from pipeline.geometry import Matrix, corners, rotation, scaling, transform_points, translation
from pipeline.placing.register import register
from pipeline.placing.template import Template, bundled_template
from pipeline.types import Page
from tests.samples import NIST_FORM


def placed(template: Template, matrix: Matrix) -> dict[str, np.ndarray]:
    """Return the corners of each field under `matrix`, (4, 2)."""
    return {field.name: transform_points(matrix, corners(field.box)) for field in template.fields}


@pytest.mark.parametrize(
    "how",
    [
        Distortion(),
        Distortion(turn=-3),
        Distortion(turn=3, scale=0.5, shift=(0.05, 0.0)),
        Distortion(turn=-3, scale=2, shift=(-0.02, 0.05)),
        Distortion(turn=2, scale=0.5, noise=12, paper=215, shift=(0.05, -0.05)),
        Distortion(turn=5, scale=0.6, shrink=0.8),
    ],
    ids=str,
)
def test_the_nist_form_is_found(how: Distortion) -> None:
    scan = decode_page(NIST_FORM.read_bytes()).grey
    template = bundled_template("nist-hsf")
    placement = register(Page(distort(scan, how)), template)
    assert placement.score > 0.9
    height, width = scan.shape
    middle = (width / 2, height / 2)
    straight = register(Page(scan), template).matrix
    about = translation(*middle) @ scaling(how.shrink) @ translation(-middle[0], -middle[1])
    moved = translation(how.shift[0] * width, how.shift[1] * height) @ rotation(how.turn, middle)
    expected = placed(template, scaling(how.scale) @ moved @ about @ straight)
    for name, quad in placed(template, placement.matrix).items():
        assert np.abs(quad - expected[name]).max() < 6 * how.scale * how.shrink + 1
