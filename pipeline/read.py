"""The only door of the pipeline: page images in, readings out.

The stages in their order, a folder each: decode (`files`), place and cut (`placing`), clean
(`cleaning`), read (`readers`), and conclude under the field's grammar (`grammar`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

from core.errors import InputError
from core.limits import MAX_PAGE_PIXELS
from core.policy import ReviewReason
from pipeline.cleaning.clean import CleanStrip
from pipeline.fields import clean_fields, read_fields
from pipeline.files.page import decode_page
from pipeline.geometry import turn_box
from pipeline.grammar.base import ANY_DIGITS, Grammar
from pipeline.lines import read_lines
from pipeline.micr import read_micr_fields
from pipeline.placing.choose import choose_template
from pipeline.placing.layout import PageLines, find_text_lines
from pipeline.placing.register import Placement, turn_page
from pipeline.placing.strips import cut_strips
from pipeline.placing.template import FieldSpec, Template
from pipeline.placing.template_set import TemplateSet
from pipeline.readers.base import FieldStrip
from pipeline.readers.loaded import Readers
from pipeline.sight import Tones, beyond_edge, brighten, measure_tones, median_tone
from pipeline.types import Box, EncodedPage, FieldReading, Page, PageReading, Strip

OnStage = Callable[[str], None]  # called with the name of each stage when it ends


def _ignore(_stage: str) -> None:
    """Do nothing at the end of a stage."""


def read_pages(
    pages: Sequence[bytes | EncodedPage | Page],
    template: Template | TemplateSet | None,
    readers: Readers,
    *,
    max_pixels: int = MAX_PAGE_PIXELS,
    on_stage: OnStage = _ignore,
) -> list[PageReading]:
    """Read every page: the fields of `template`, or without one the lines of handwritten digits.

    Of a set, each page gets the template that fits it. `pages` are encoded images or decoded
    pages. Returns one reading a page, in order. A page that cannot be decoded, or that no template
    fits, has its InputError in `error` and no fields; no InputError is raised. Without a template
    the fields are `line-1`, `line-2`, ... from the top.

    The stages "decode", "place", "micr" and "cut" end once a page (those that it needs), "clean"
    and "read" once for all pages.
    """
    templates = None if template is None else _set_of(template)
    # Page by page, so that only one decoded page is in memory.
    cut = [_cut_page(image, templates, readers, max_pixels, on_stage) for image in pages]
    cleaned = [clean_fields(page.fields) for page in cut]
    on_stage("clean")
    if templates is None:
        read = [
            read_lines(page.lines, page.fields, own, readers)
            for page, own in zip(cut, cleaned, strict=True)
        ]
    else:
        read = _read_together(cut, cleaned, readers)
    on_stage("read")
    return [_conclude(page, own) for page, own in zip(cut, read, strict=True)]


def read_strip(
    image: bytes | EncodedPage | Page,
    grammar: Grammar,
    readers: Readers,
    *,
    max_pixels: int = MAX_PAGE_PIXELS,
) -> PageReading:
    """Read a whole image as one field named `strip`. An InputError goes into `error`."""
    try:
        page = _decoded(image, max_pixels)
    except InputError as exc:
        return PageReading(width=0, height=0, template=None, error=exc)
    height, width = page.grey.shape
    strip = Strip("strip", Box(0, 0, width, height), page.grey)
    fields = [FieldStrip(strip, grammar, ruled=False)]
    read = read_fields(fields, clean_fields(fields), readers)
    read = [replace(field, grammar=grammar.name) for field in read]
    return PageReading(width=width, height=height, template=None, fields=tuple(read))


@dataclass(frozen=True, slots=True)
class _CutPage:
    """A page that was decoded, placed and cut; its image is no longer needed.

    `reading` lacks only its fields, which `fields` and `micr` become. With an error there are none.
    `template` is the one that fits the page.
    """

    reading: PageReading
    template: Template | None = None
    fields: Sequence[FieldStrip] = ()
    micr: Sequence[FieldReading] = ()  # the fields of the E-13B line
    lines: PageLines = field(default_factory=PageLines)  # what `fields` are without a template


def _cut_page(
    image: bytes | EncodedPage | Page,
    templates: TemplateSet | None,
    readers: Readers,
    max_pixels: int,
    on_stage: OnStage,
) -> _CutPage:
    """Decode a page, place its template or find the lines, and cut the strips out."""
    reading = PageReading(width=0, height=0, template=templates.name if templates else None)
    try:
        page = _decoded(image, max_pixels)
        on_stage("decode")
        height, width = page.grey.shape
        reading = replace(reading, width=width, height=height)
        if templates is None:
            return _cut_lines(reading, page, readers, on_stage)
        number = image.number if isinstance(image, EncodedPage) else None
        template, placement = choose_template(page, templates.templates, number=number)
        on_stage("place")
        reading = replace(reading, template=template.name)
        if placement is None or template.ignored:
            why = f"This page is a '{template.name}', which its template says to ignore."
            return _CutPage(replace(reading, passed_over=why))
        return _cut_fields(reading, page, template, placement, readers, on_stage)
    except InputError as exc:
        return _CutPage(replace(reading, error=exc))


def _set_of(template: Template | TemplateSet) -> TemplateSet:
    return (
        template if isinstance(template, TemplateSet) else TemplateSet((template,), template.text)
    )


def _decoded(image: bytes | EncodedPage | Page, max_pixels: int) -> Page:
    if isinstance(image, Page):
        return image
    if isinstance(image, EncodedPage):
        return decode_page(image.data, image.media_type, max_pixels=max_pixels)
    return decode_page(image, max_pixels=max_pixels)


def _cut_lines(reading: PageReading, page: Page, readers: Readers, on_stage: OnStage) -> _CutPage:
    found = find_text_lines(page, readers.glyph.probabilities)
    on_stage("place")
    fields = [FieldStrip(line.strip, ANY_DIGITS, ruled=False) for line in found.lines]
    return _CutPage(reading, fields=fields, lines=found)


def _cut_fields(
    reading: PageReading,
    page: Page,
    template: Template,
    placement: Placement,
    readers: Readers,
    on_stage: OnStage,
) -> _CutPage:
    page = turn_page(page, placement.turn)
    micr = read_micr_fields(page, template, placement, readers.micr)
    on_stage("micr")
    specs = {spec.name: spec for spec in template.fields}
    tones = measure_tones(page)
    fields = [
        _place_strip(strip, specs[strip.name], page, placement, tones)
        for strip in cut_strips(page, template, placement)
    ]
    on_stage("cut")
    placed = replace(reading, template_score=placement.score, turn=placement.turn)
    return _CutPage(placed, template, fields, micr)


def _place_strip(
    strip: Strip, spec: FieldSpec, page: Page, placement: Placement, tones: Tones
) -> FieldStrip:
    """Return a strip with what is known of its place."""
    unsure = ReviewReason.UNSURE_PLACE if spec.name in placement.unsure else None
    tone = median_tone(strip)
    return FieldStrip(
        brighten(strip, tone, tones),
        spec.grammar,
        ruled=True,
        blocked=beyond_edge(page, placement, spec) or unsure,
        paper=tones.paper,
        tone=tone,
        contrast=tones.contrast,
        framed=placement.framed,
    )


def _read_together(
    cut: Sequence[_CutPage], cleaned: Sequence[Sequence[CleanStrip]], readers: Readers
) -> list[list[FieldReading]]:
    """Read the fields of all pages in one batch, which is quicker, and return them by page."""
    fields = [field for page in cut for field in page.fields]
    read = iter(read_fields(fields, [clean for own in cleaned for clean in own], readers))
    return [list(islice(read, len(page.fields))) for page in cut]


def _conclude(page: _CutPage, fields: Sequence[FieldReading]) -> PageReading:
    """Return the reading of a page, its fields in the template's order, boxes as scanned."""
    template = page.template
    if template is not None:
        order = {spec.name: number for number, spec in enumerate(template.fields)}
        specs = {spec.name: spec for spec in template.fields}
        fields = sorted([*fields, *page.micr], key=lambda field: order[field.name])
        fields = [
            replace(
                field,
                required=specs[field.name].required,
                grammar=specs[field.name].grammar.name,
                verify=specs[field.name].verify,
            )
            for field in fields
        ]
    checks = () if template is None else template.checks
    turned = tuple(_turned_back(page.reading, fields))
    return replace(page.reading, fields=turned, checks=checks)


def _turned_back(reading: PageReading, fields: Sequence[FieldReading]) -> Sequence[FieldReading]:
    """Return fields of the page after its quarter turns with boxes of the page as decoded."""
    if reading.turn == 0:
        return fields
    size = (reading.width, reading.height)
    upright = size[::-1] if reading.turn % 2 else size
    back = partial(turn_box, turns=-reading.turn, page=upright)
    return [
        replace(
            field,
            box=back(field.box),
            characters=tuple(replace(one, box=back(one.box)) for one in field.characters),
        )
        for field in fields
    ]
