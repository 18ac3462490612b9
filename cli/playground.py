"""`counterfoil playground`: a web page to upload or draw digits and watch how they are read.

It runs the pipeline itself, without a server, and loads nothing from the network: no analytics,
no fonts.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cli.read import load_quietly
from core.errors import ConfigError, InputError
from pipeline.cleaning.ink import binarize
from pipeline.files.page import decode_page
from pipeline.grammar.parse import parse_grammar
from pipeline.placing.template import bundled_names, bundled_template
from pipeline.read import read_pages, read_strip
from pipeline.readers.loaded import Readers
from pipeline.types import FieldReading, Image, Page, PageReading

ONE_NUMBER, NO_TEMPLATE = "one number", "a page, without a template"
_COLOURS = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
)  # colour-blind people can tell them apart

Picture = NDArray[np.uint8]  # (height, width, 3), red green blue


@dataclass(frozen=True, slots=True)
class Seen:
    """What the web page shows for one image."""

    ink: Image  # (height, width), ink black on white
    marked: Picture  # the image with the glyphs' boxes, numbered in reading order
    fields: list[list[str]]  # name, value, confidence, other readings
    glyphs: list[list[str]]  # number, field, digit, confidence


def look(page: Page, kind: str, grammar: str, readers: Readers) -> Seen:
    """Read an image and show the steps.

    Raises InputError, in words for the person who uploaded it.
    """
    if kind == ONE_NUMBER:
        reading = read_strip(page, parse_grammar(grammar), readers)
    else:
        template = None if kind == NO_TEMPLATE else bundled_template(kind)
        (reading,) = read_pages([page], template, readers)
    if reading.error is not None:
        raise reading.error
    return Seen(
        255 - binarize(page.grey),
        _marked(page, reading),
        [_field_row(field) for field in reading.fields],
        [
            [str(number), field.name, glyph.text, f"{glyph.probability:.2%}"]
            for number, (field, glyph) in enumerate(_in_order(reading), 1)
        ],
    )


def page_of_drawing(drawing: NDArray[np.uint8]) -> Page:
    """Return a drawing, (height, width, 4) red green blue alpha, as a page on white paper."""
    alpha = drawing[..., 3:].astype(np.float32) / 255
    flat = drawing[..., :3] * alpha + 255 * (1 - alpha)
    return Page(cv2.cvtColor(flat.astype(np.uint8), cv2.COLOR_RGB2GRAY).astype(np.uint8))


def _in_order(reading: PageReading) -> Iterator[tuple[FieldReading, Any]]:
    for field in reading.fields:
        for glyph in field.characters:
            yield field, glyph


def _field_row(field: FieldReading) -> list[str]:
    others = [f"{other.value or 'empty'} ({other.probability:.2%})" for other in field.alternatives]
    value = "?" if field.value is None else field.value or "(empty)"
    return [field.name, value, f"{field.confidence:.2%}", ", ".join(others[1:4])]


def _marked(page: Page, reading: PageReading) -> Picture:
    picture = cv2.cvtColor(page.grey, cv2.COLOR_GRAY2RGB)
    glyphs = list(_in_order(reading))
    width = max(1, round(max(page.grey.shape) / 900))
    for number, (field, glyph) in enumerate(glyphs, 1):
        box = glyph.box
        colour = _COLOURS[reading.fields.index(field) % len(_COLOURS)]
        corner = (round(box.x), round(box.y))
        end = (round(box.x + box.w), round(box.y + box.h))
        cv2.rectangle(picture, corner, end, colour, width)
        size = max(0.5, box.h / 90)
        place = (corner[0], max(corner[1] - 2 * width, round(22 * size)))
        cv2.putText(picture, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, width)
    return picture.astype(np.uint8)


def _gradio() -> Any:
    """Import Gradio with its network calls off. Raises ConfigError if it is not installed."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import gradio
    except ImportError as exc:
        raise ConfigError(
            "The playground needs the extra 'playground', which is not installed.",
            hint="In Counterfoil's folder: `make playground`, or pip install '.[playground]'.",
            code="extra-missing",
        ) from exc
    return gradio


def build(readers: Readers) -> Any:
    """Return the web page as Gradio blocks."""
    gr = _gradio()

    def shown(page: Page, kind: str, grammar: str) -> tuple[Any, ...]:
        try:
            seen = look(page, kind, grammar, readers)
        except InputError as exc:
            raise gr.Error(str(exc), print_exception=False) from exc
        return seen.ink, seen.marked, seen.fields, seen.glyphs

    def read_upload(path: str | None, kind: str, grammar: str) -> tuple[Any, ...]:
        if path is None:
            raise gr.Error("Choose an image first.", print_exception=False)
        try:
            page = decode_page(Path(path).read_bytes())
        except InputError as exc:
            raise gr.Error(str(exc), print_exception=False) from exc
        return shown(page, kind, grammar)

    def read_drawing(drawing: dict[str, Any] | None, grammar: str) -> tuple[Any, ...]:
        if drawing is None or drawing["composite"] is None:
            raise gr.Error("Draw some digits first.", print_exception=False)
        return shown(page_of_drawing(drawing["composite"]), ONE_NUMBER, grammar)

    with gr.Blocks(title="Counterfoil playground", analytics_enabled=False) as blocks:
        gr.Markdown("# Counterfoil playground\nUpload or draw digits and watch how they are read.")
        with gr.Row():
            with gr.Column():
                grammar = gr.Textbox(
                    "digits",
                    label="What one number may hold",
                    info="digits, digits(6), digits(1,7), date(DDMMYYYY), …",
                )
                with gr.Tab("Upload"):
                    # A file, because an image component would decode and re-encode it.
                    upload = gr.File(
                        label="JPEG or PNG", file_types=[".jpg", ".jpeg", ".png"], type="filepath"
                    )
                    kind = gr.Dropdown(
                        [ONE_NUMBER, NO_TEMPLATE, *bundled_names()],
                        value=ONE_NUMBER,
                        label="The image shows",
                    )
                    button = gr.Button("Read it", variant="primary")
                with gr.Tab("Draw"):
                    canvas = gr.Sketchpad(
                        label="Write with the mouse or a finger",
                        image_mode="RGBA",
                        type="numpy",
                        format="png",
                        canvas_size=(800, 220),
                        layers=False,
                        brush=gr.Brush(default_size=10, colors=["#101840"], color_mode="fixed"),
                    )
                    draw_button = gr.Button("Read it", variant="primary")
            with gr.Column():
                fields = gr.Dataframe(
                    headers=["field", "value", "confidence", "alternatives"],
                    label="Values",
                    interactive=False,
                    type="array",
                )
                marked = gr.Image(label="Boxes in reading order", format="png", interactive=False)
                ink = gr.Image(label="Ink after thresholding", format="png", interactive=False)
                glyphs = gr.Dataframe(
                    headers=["no.", "field", "digit", "confidence"],
                    label="Each digit",
                    interactive=False,
                    type="array",
                )
        outputs = [ink, marked, fields, glyphs]
        # One at a time for both buttons: an interpreter must not run in two threads.
        one = {"concurrency_limit": 1, "concurrency_id": "reading"}
        button.click(read_upload, [upload, kind, grammar], outputs, api_name="read_upload", **one)
        draw_button.click(read_drawing, [canvas, grammar], outputs, api_name="read_drawing", **one)
    return blocks


@contextmanager
def running(host: str, port: int) -> Iterator[str]:
    """Serve the page and yield its URL. Raises ConfigError where the port is taken."""
    gr = _gradio()
    if port == 0:
        with socket.create_server((host, 0)) as free:
            port = free.getsockname()[1]
    blocks = build(load_quietly())
    try:
        _, url, _ = blocks.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            inbrowser=False,
            ssr_mode=False,
            footer_links=[],
            max_file_size="64mb",
            theme=gr.themes.Default(
                font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
            ),
        )
    except OSError as exc:
        raise ConfigError(
            f"The playground cannot listen on {host} port {port}.",
            hint="If another program uses it, choose another with --port, or 0 for any free one.",
            code="port-unavailable",
        ) from exc
    try:
        yield url
    finally:
        blocks.close(verbose=False)


def serve(host: str, port: int) -> None:
    """Serve the page until Ctrl-C."""
    with running(host, port) as url:
        print(f"The playground is at {url} (Ctrl-C stops it).", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
