"""The glyph reader: ink to glyphs, glyphs to digits by the CNN, digits to the best strings.

One batch of glyphs goes through the network for all strips of a group of pages. A strip whose best
string is not legal is read once more: wide pieces are cut sooner, and only legal strings are
searched for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.clean import CleanStrip, cell_count
from pipeline.cleaning.ink import Ink, separate_ink
from pipeline.cleaning.paper import is_blank
from pipeline.grammar.base import Grammar
from pipeline.readers.base import MAX_ALTERNATIVES, FieldStrip, Hypotheses
from pipeline.readers.characters import on_page
from pipeline.readers.lattice import Path, best_paths, path_probabilities
from pipeline.readers.runtime import Model
from pipeline.readers.segment import Segmentation, segment_cells, segment_glyphs
from pipeline.types import Alternative, Character, Image, Strip

# Widths over the height of the line from which the second reading cuts a piece: two narrow digits
# that touch are hardly wider than that.
SECOND_WIDE: Final = 0.85
EMPTY_BOX: Final = 0.9  # the probability that a box is empty: a mark may lie on its border
FAINT_MARKS: Final = 0.3  # that nothing is written where there are marks too faint to separate


@dataclass(frozen=True, slots=True)
class _Decoded:
    """The strings found in one segmentation of a strip, best first."""

    segmentation: Segmentation
    probabilities: NDArray[np.float32]  # (candidates, classes)
    paths: list[Path]
    rival: float = 0.0  # the weight, not in log, of the best other string of the other segmentation


def read_glyphs(
    fields: Sequence[FieldStrip], cleaned: Sequence[CleanStrip], model: Model
) -> list[Hypotheses]:
    """Read each strip, in order, from the ink that cleaning left.

    A strip without ink has no legal value, and tells how probable it is that nothing is written.
    """
    inks = [_ink_of(field, clean) for field, clean in zip(fields, cleaned, strict=True)]
    free = _decode(list(map(_segment, fields, cleaned, inks)), model)
    legal = [
        found
        if found.paths and field.grammar.accepts(found.paths[0].text)
        else replace(found, paths=[])
        for field, found in zip(fields, free, strict=True)
    ]
    illegal = [
        index
        for index, (field, found) in enumerate(zip(fields, free, strict=True))
        if found.paths
        and 0 < len(found.paths[0].text) <= 2 * field.grammar.max_length
        and not legal[index].paths
    ]
    second = _decode([segment_glyphs(inks[index], wide=SECOND_WIDE) for index in illegal], model)
    for index, found in zip(illegal, second, strict=True):
        grammar = fields[index].grammar
        legal[index] = _likelier(
            _under_grammar(free[index], grammar, model), _under_grammar(found, grammar, model)
        )
    return [
        _hypotheses(field, ink, found, best, model.card.classes)
        for field, ink, found, best in zip(fields, inks, free, legal, strict=True)
    ]


def _segment(field: FieldStrip, clean: CleanStrip, ink: Ink) -> Segmentation:
    """Segment the ink of a strip: by the cells of its comb, if each cell is to hold a digit."""
    comb = clean.comb
    if comb is None or ink is not clean.ink or comb.cells != cell_count(field.grammar):
        return segment_glyphs(ink)
    return segment_cells(ink, comb.scaled(ink.scale, ink.mask.shape[1]).separators)


def _ink_of(field: FieldStrip, clean: CleanStrip) -> Ink:
    if clean.ink.mask.any() or not field.ruled:
        return clean.ink
    # Cleaning may have taken digits that fill a tight box along with the box.
    ink = separate_ink(field.strip.grey)
    return ink.with_mask(beside_straight_runs(ink))


def beside_straight_runs(ink: Ink) -> Image:
    """Return the ink (h, w) outside long level and upright runs, if as large as a digit's."""
    rows = ink.mask.shape[0]
    across, down = max(9, round(0.5 * rows)), max(9, round(0.75 * rows))
    rest = ink.mask.copy()
    for kernel in ((1, across), (down, 1)):  # a 1 is as high, but no digit is as wide
        straight = cv2.morphologyEx(ink.mask, cv2.MORPH_OPEN, np.ones(kernel, np.uint8))
        rest[cv2.dilate(straight, np.ones((3, 3), np.uint8)) > 0] = 0
    _, labels, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    high = stats[:, cv2.CC_STAT_HEIGHT] >= 0.25 * rows
    thick = stats[:, cv2.CC_STAT_AREA] >= 3 * ink.stroke**2
    kept = high & thick
    kept[0] = False
    image: Image = np.where(kept[labels], np.uint8(255), np.uint8(0))
    return image


def _decode(segmentations: list[Segmentation], model: Model) -> list[_Decoded]:
    """Classify all glyphs in one batch, and return the best strings of each segmentation."""
    glyphs = [c.glyph.image for found in segmentations for c in found.candidates]
    images: Image = np.stack(glyphs) if glyphs else np.zeros((0, 28, 28), np.uint8)
    probabilities = model.probabilities(images)
    decoded = []
    start = 0
    for segmentation in segmentations:
        stop = start + len(segmentation.candidates)
        own = probabilities[start:stop]
        paths = best_paths(segmentation, own, classes=model.card.classes)
        decoded.append(_Decoded(segmentation, own, paths))
        start = stop
    return decoded


def _under_grammar(found: _Decoded, grammar: Grammar, model: Model) -> _Decoded:
    """Return the best strings of the same segmentation that `grammar` allows."""
    paths = best_paths(
        found.segmentation,
        found.probabilities,
        classes=model.card.classes,
        automaton=grammar.automaton,
    )
    return replace(found, paths=paths)


def _likelier(first: _Decoded, second: _Decoded) -> _Decoded:
    """Return the one with the likelier best string; the best other string becomes its rival."""
    if not first.paths or not second.paths:
        return first if first.paths else second
    winner, loser = sorted((first, second), key=lambda found: -found.paths[0].score)
    known = {path.text for path in winner.paths}
    others = [math.exp(path.score) for path in loser.paths if path.text not in known]
    return replace(winner, rival=max(others, default=0.0))


def _hypotheses(
    field: FieldStrip, ink: Ink, free: _Decoded, best: _Decoded, classes: str
) -> Hypotheses:
    raw = free.paths[0].text if free.paths else ""
    if not raw:
        return Hypotheses("", (), _probability_of_empty(field.strip, ink))
    if not best.paths:
        return Hypotheses(raw, (), 0.0)
    trust = _trust(ink, best.segmentation)
    probabilities = path_probabilities(best.paths, best.rival)
    # Where the raw string is legal, the search was free, so that its rivals may not be legal.
    legal = [
        Alternative(path.text, trust * probability)
        for path, probability in zip(best.paths, probabilities, strict=True)
        if path.text == best.paths[0].text or field.grammar.accepts(path.text)
    ]
    chosen = best.paths[0]
    glyphs = tuple(
        Character(
            on_page(field.strip, best.segmentation.candidates[index].glyph.box),
            digit,
            float(best.probabilities[index, classes.index(digit)]),
        )
        for index, digit in zip(chosen.candidates, chosen.text, strict=True)
    )
    return Hypotheses(raw, tuple(legal[:MAX_ALTERNATIVES]), 0.0, glyphs)


def _probability_of_empty(strip: Strip, ink: Ink) -> float:
    """Return how probable it is that nothing is written on a strip in which no digit was read."""
    if ink.contrast == 0:
        return 1.0 if is_blank(strip.grey) else FAINT_MARKS
    # All ink was rules, as in an empty box; or there are specks and other marks.
    return 0.0 if ink.mask.any() else EMPTY_BOX


def _trust(ink: Ink, segmentation: Segmentation) -> float:
    """Return how far the picture itself can be trusted, 0 to 1, whatever the network says.

    The network knows only digits and is sure of one in any blot. Ink that hardly stands out from
    the noise, or that is mostly specks, is not writing.
    """
    above_noise = np.clip((ink.contrast / max(ink.noise, 1e-6) - 5) / 2, 0, 1)
    clean = np.clip((segmentation.clean - 0.5) / 0.3, 0, 1)
    return float(above_noise * clean)
