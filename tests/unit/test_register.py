"""A template is found on scans however they lie, and not on pages of another kind."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import TemplateError
from pipeline.geometry import corners, rotation, scaling, transform_points, translation
from pipeline.placing.register import register, turn_page
from pipeline.placing.strips import cut_strips
from pipeline.placing.template import Template, bundled_template, parse_template
from pipeline.types import Image, Page

WIDTH, HEIGHT = 827, 1169  # A4 at 100 dpi
BOXES = {
    "date": (560, 90, 210, 50),
    "number": (60, 90, 300, 50),
    "first": (60, 300, 160, 50),
    "second": (300, 300, 160, 50),
    "third": (540, 420, 230, 50),
    "sum": (420, 980, 350, 60),
}
FORM = parse_template(
    f"name: form\npage: [{WIDTH}, {HEIGHT}]\nanchors: frames\nfields:\n"
    + "".join(
        f"  - {{name: {name}, grammar: digits,"
        f" box: [{x / WIDTH:.6f}, {y / HEIGHT:.6f}, {w / WIDTH:.6f}, {h / HEIGHT:.6f}]}}\n"
        for name, (x, y, w, h) in BOXES.items()
    )
)
WHOLE = parse_template(
    f"name: whole\npage: [{WIDTH}, {HEIGHT}]\nfields:\n"
    "  - {name: middle, box: [0.4, 0.45, 0.2, 0.1], grammar: digits}\n"
)


def _drawn(matrix: np.ndarray, size: tuple[int, int], *, handwriting: bool = True) -> Image:
    """Draw the form under `matrix`, template's pixels to those of an image of (width, height)."""
    page = np.full((size[1], size[0]), 255, np.uint8)
    line = max(1, round(2 * np.sqrt(abs(np.linalg.det(matrix[:2, :2])))))
    random = np.random.default_rng(3)
    for x, y, w, h in BOXES.values():
        quad = transform_points(matrix, [(x, y), (x + w, y), (x + w, y + h), (x, y + h)])
        cv2.polylines(page, [np.rint(quad).astype(np.int32)], True, 20, line)
        for number in range(4 if handwriting else 0):
            stroke = random.uniform((0, 0.1), (0.8, 0.9), (7, 2)) * (h, h) + (
                *(x + 5 + number * h * 0.8, y),
            )
            curve = np.rint(transform_points(matrix, stroke)).astype(np.int32)
            cv2.polylines(page, [curve], False, 40, line)
    for row in range(40):
        at = transform_points(matrix, [(70, 520 + 11 * row)])[0].astype(int).tolist()
        text = "printed words that are no frame at all and go on for a while"
        cv2.putText(page, text, at, cv2.FONT_HERSHEY_PLAIN, 0.8, 60, 1)
    return page


def _placed(template: Template, matrix: np.ndarray) -> dict[str, np.ndarray]:
    return {f.name: transform_points(matrix, corners(f.box)) for f in template.fields}


@settings(max_examples=15, deadline=None)
@given(
    turn=st.floats(-5, 5),
    scale=st.floats(0.8, 2.5),
    shift=st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05)),
    stretch=st.floats(0.98, 1.02),
    dark=st.booleans(),
    noise=st.sampled_from([0, 12]),
)
def test_a_form_is_found_however_it_lies(
    turn: float,
    scale: float,
    shift: tuple[float, float],
    stretch: float,
    dark: bool,
    noise: int,
) -> None:
    size = (round(WIDTH * scale), round(HEIGHT * scale))
    matrix = (
        translation(shift[0] * size[0], shift[1] * size[1])
        @ rotation(turn, (size[0] / 2, size[1] / 2))
        @ scaling(scale * stretch, scale)
    )
    grey = _drawn(matrix, size)
    grey = np.random.default_rng(1).normal(25 + 0.8 * grey.astype(np.float32), noise)
    grey = np.clip(255 - grey if dark else grey, 0, 255).astype(np.uint8)
    placement = register(Page(grey), FORM)
    assert placement.score > 0.9
    for name, quad in _placed(FORM, placement.matrix).items():
        expected = _placed(FORM, matrix @ scaling(WIDTH, HEIGHT))[name]
        # Half a line's width and what the small copy resolves: about 0.5 mm on A4.
        assert np.abs(quad - expected).max() <= 2.0 * scale + 1.5


@pytest.mark.parametrize("scale", [1.6, 1.7, 2.15, 3.2])
@pytest.mark.parametrize("turn", [0.2, 2.0])
def test_lines_as_thin_as_a_pixel_survive_the_small_copy(scale: float, turn: float) -> None:
    size = (round(WIDTH * scale), round(HEIGHT * scale))
    matrix = rotation(turn, (size[0] / 2, size[1] / 2)) @ scaling(scale)
    grey = np.full((size[1], size[0]), 240, np.uint8)
    for quad in _placed(FORM, matrix @ scaling(WIDTH, HEIGHT)).values():
        cv2.polylines(grey, [np.rint(quad).astype(np.int32)], True, 20, 1)
    placement = register(Page(grey), FORM)
    assert placement.score > 0.9
    expected = _placed(FORM, matrix @ scaling(WIDTH, HEIGHT))
    for name, quad in _placed(FORM, placement.matrix).items():
        assert np.abs(quad - expected[name]).max() <= 1.5 * scale


@pytest.mark.parametrize("shrink", [0.5, 0.75])
def test_a_small_form_on_a_large_sheet_is_found(shrink: float) -> None:
    matrix = translation(300, 250) @ scaling(2 * shrink)
    placement = register(Page(_drawn(matrix, (2 * WIDTH, 2 * HEIGHT))), FORM)
    expected = _placed(FORM, matrix @ scaling(WIDTH, HEIGHT))
    for name, quad in _placed(FORM, placement.matrix).items():
        assert np.abs(quad - expected[name]).max() < 4


def test_a_template_may_hang_on_one_frame() -> None:
    text = (
        f"name: one\npage: [{WIDTH}, {HEIGHT}]\nframes:\n"
        f"  - {{name: sum, box: [{420 / WIDTH}, {980 / HEIGHT}, {350 / WIDTH}, {60 / HEIGHT}]}}\n"
        "fields:\n  - {name: total, within: sum, grammar: digits}\n"
    )
    page = np.full((HEIGHT, WIDTH), 250, np.uint8)
    cv2.rectangle(page, (437, 1001), (787, 1061), 30, 2)
    placement = register(Page(page), parse_template(text))
    quad = _placed(parse_template(text), placement.matrix)["total"]
    np.testing.assert_allclose(quad[[0, 2]], [(437.5, 1001.5), (787.5, 1061.5)], atol=2)


def _strange_pages() -> dict[str, Image]:
    random = np.random.default_rng(5)
    grid = np.full((1200, 900), 255, np.uint8)
    grid[::24] = 0
    grid[:, ::24] = 0
    hatch = np.full((1200, 900), 255, np.uint8)
    hatch[::3] = 0
    cloud = cv2.GaussianBlur(random.normal(128, 900, (1200, 900)).astype(np.float32), (0, 0), 9)
    other = np.full((1200, 900), 255, np.uint8)
    for y in range(60, 1100, 130):
        cv2.rectangle(other, (40, y), (860, y + 90), 0, 3)
    return {
        "white": np.full((1200, 900), 255, np.uint8),
        "black": np.zeros((1200, 900), np.uint8),
        "noise": random.integers(0, 256, (1200, 900)).astype(np.uint8),
        "photograph": np.clip(cloud, 0, 255).astype(np.uint8),
        "grid": grid,
        "hatch": hatch,
        "another form": other,
        "a pixel": np.zeros((1, 1), np.uint8),
        "a line": np.zeros((1, 4000), np.uint8),
        "a strip": np.full((40, 900), 255, np.uint8),
    }


@pytest.mark.parametrize("kind", _strange_pages())
@pytest.mark.parametrize("name", ["nist-hsf", "form"])
def test_another_page_is_refused_in_words(kind: str, name: str) -> None:
    template = FORM if name == "form" else bundled_template(name)
    with pytest.raises(TemplateError, match=r"does not look like a '.*': \d+% .* found") as error:
        register(Page(_strange_pages()[kind]), template)
    assert error.value.code == "template-mismatch"
    assert error.value.hint


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_form_on_its_side_or_upside_down_is_found(turn: int) -> None:
    matrix = rotation(1.5, (WIDTH, HEIGHT)) @ scaling(2)
    upright = Page(_drawn(matrix, (2 * WIDTH, 2 * HEIGHT)))
    placement = register(turn_page(upright, -turn), FORM)
    assert placement.turn == turn
    for name, quad in _placed(FORM, placement.matrix).items():
        expected = _placed(FORM, matrix @ scaling(WIDTH, HEIGHT))[name]
        assert np.abs(quad - expected).max() <= 5.5


@pytest.mark.parametrize("turn", range(4))
def test_a_mirror_image_of_a_form_is_told(turn: int) -> None:
    mirrored = Page(np.ascontiguousarray(_drawn(scaling(2), (2 * WIDTH, 2 * HEIGHT))[:, ::-1]))
    with pytest.raises(TemplateError) as error:
        register(turn_page(mirrored, turn), FORM)
    assert error.value.code == "mirrored-page"
    assert "mirror" in str(error.value.hint)


@pytest.mark.parametrize("turn", [-4.0, 0.0, 3.0])
def test_a_page_without_frames_is_the_whole_image_made_level(turn: float) -> None:
    level = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for y in range(100, HEIGHT - 100, 120):
        cv2.line(level, (80, y), (WIDTH - 80, y), 0, 3)
    matrix = rotation(turn, (WIDTH / 2, HEIGHT / 2))
    page = cv2.warpAffine(level, matrix[:2], (WIDTH, HEIGHT), borderValue=255)
    placement = register(Page(np.asarray(page, np.uint8)), WHOLE)
    expected = transform_points(matrix @ scaling(WIDTH, HEIGHT), corners(WHOLE.fields[0].box))
    np.testing.assert_allclose(_placed(WHOLE, placement.matrix)["middle"], expected, atol=4)


def test_a_page_of_another_shape_is_refused() -> None:
    with pytest.raises(TemplateError, match="does not look like a 'whole'"):
        register(Page(np.full((400, 1200), 255, np.uint8)), WHOLE)


@pytest.mark.parametrize("turn", [0.0, 4.0])
def test_strips_are_upright_and_hold_the_border(turn: float) -> None:
    size = (2 * WIDTH, 2 * HEIGHT)
    matrix = rotation(turn, (WIDTH, HEIGHT)) @ scaling(2)
    page = Page(_drawn(matrix, size, handwriting=False))
    strips = cut_strips(page, FORM, register(page, FORM))
    assert [strip.name for strip in strips] == list(BOXES)
    for strip, (_, _, w, h) in zip(strips, BOXES.values(), strict=True):
        assert abs(strip.grey.shape[0] - 2.4 * h) <= 3
        assert abs(strip.grey.shape[1] - 2 * (w + 0.2 * h)) <= 4
        dark = strip.grey < 128
        # The four borders lie level and upright, a tenth of the height inside the strip.
        rows, columns = dark.mean(axis=1), dark.mean(axis=0)
        margin = round(0.2 * h) + 5
        assert rows[:margin].max() > 0.6
        assert rows[-margin:].max() > 0.6
        assert columns[:margin].max() > 0.6
        assert columns[-margin:].max() > 0.6
        assert not dark[margin:-margin, margin:-margin].any()
        assert strip.box.x >= 0
        assert strip.box.x + strip.box.w <= size[0]


def test_a_field_off_the_page_is_paper() -> None:
    page = Page(np.full((100, 100), 230, np.uint8))
    placement = register(
        page,
        parse_template(
            "name: t\npage: [1, 1]\nfields:\n  - {name: a, box: [0, 0, 1, 1], grammar: digits}\n"
        ),
    )
    moved = type(placement)(translation(500, 0) @ placement.matrix, 1.0)
    [strip] = cut_strips(
        page,
        parse_template(
            "name: t\npage: [1, 1]\nfields:\n  - {name: a, box: [0, 0, 1, 1], grammar: digits}\n"
        ),
        moved,
    )
    assert (strip.grey == 230).all()


def test_the_edges_of_a_page_alone_make_no_field_sure() -> None:
    page = Page(np.full((HEIGHT, WIDTH), 250, np.uint8))
    assert register(page, WHOLE).unsure == {"middle"}
    assert register(Page(_drawn(scaling(1.0), (WIDTH, HEIGHT))), FORM).unsure == frozenset()
