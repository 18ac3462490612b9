"""The glyph reader: strips to pieces of ink, to what the CNN takes them for, to strings.

One batch of glyphs goes through the network for all strips of all pages of a group. A strip whose
string is not legal gets a second look, in which wide pieces may fall apart earlier and only legal
strings are searched for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.clean import CleanStrip, cell_count
from pipeline.cleaning.ink import Ink, is_flat, separate_ink
from pipeline.grammar.parse import Grammar
from pipeline.readers.base import StripToRead
from pipeline.readers.lattice import Path, best_paths, shares
from pipeline.readers.runtime import Model
from pipeline.readers.segment import Segmentation, segment_cells, segment_glyphs
from pipeline.types import Alternative, Box, FieldReading, GlyphReading, Image, Strip

SECOND_WIDE = 0.85  # of the line's height: two narrow digits that touch are hardly wider
ALTERNATIVES = 5
EMPTY_BOX = 0.9  # a mark may lie on the border


@dataclass(frozen=True, slots=True)
class _Found:
    """The strings found in one segmentation of a strip, best first."""

    segmentation: Segmentation
    probabilities: NDArray[np.float32]  # (candidates, classes)
    paths: list[Path]
    rival: float = 0.0  # the weight of the best other string of another segmentation


def read_strips(
    strips: Sequence[StripToRead], cleaned: Sequence[CleanStrip], model: Model
) -> list[FieldReading]:
    """Read each strip, in order, from what cleaning left of it.

    A strip without ink reads as the empty string.
    """
    inks = [_ink_of(strip, clean) for strip, clean in zip(strips, cleaned, strict=True)]
    looks = _look(list(map(_segment, strips, cleaned, inks)), model)
    legal = [
        look
        if look.paths and strip.grammar.accepts(look.paths[0].text)
        else replace(look, paths=[])
        for strip, look in zip(strips, looks, strict=True)
    ]
    again = [
        index
        for index, (strip, look) in enumerate(zip(strips, looks, strict=True))
        if look.paths
        and 0 < len(look.paths[0].text) <= 2 * strip.grammar.max_length
        and not legal[index].paths
    ]
    closer = _look([segment_glyphs(inks[index], wide=SECOND_WIDE) for index in again], model)
    for index, look in zip(again, closer, strict=True):
        grammar = strips[index].grammar
        legal[index] = _better(_bound(looks[index], grammar, model), _bound(look, grammar, model))
    return [
        _reading(strip, ink, look, best, model.card.classes)
        for strip, ink, look, best in zip(strips, inks, looks, legal, strict=True)
    ]


def _segment(strip: StripToRead, clean: CleanStrip, ink: Ink) -> Segmentation:
    """Part the ink of a strip: by the cells of its comb, where each is to hold a digit."""
    comb = clean.comb
    if comb is None or ink is not clean.ink or comb.cells != cell_count(strip.grammar):
        return segment_glyphs(ink)
    return segment_cells(ink, comb.scaled(ink.scale, ink.mask.shape[1]).edges)


def _ink_of(strip: StripToRead, clean: CleanStrip) -> Ink:
    if clean.ink.mask.any() or not strip.ruled:
        return clean.ink
    # Digits in a tight box may have gone with it.
    ink = separate_ink(strip.strip.grey)
    return ink.with_mask(beside_straight_runs(ink))


def beside_straight_runs(ink: Ink) -> Image:
    """Return the ink that is no long level or upright run, if it is as much as a digit's."""
    rows = ink.mask.shape[0]
    across, down = max(9, round(0.5 * rows)), max(9, round(0.75 * rows))
    rest = ink.mask.copy()
    for kernel in ((1, across), (down, 1)):  # a 1 is high, no digit is as wide
        straight = cv2.morphologyEx(ink.mask, cv2.MORPH_OPEN, np.ones(kernel, np.uint8))
        rest[cv2.dilate(straight, np.ones((3, 3), np.uint8)) > 0] = 0
    _, labels, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
    high = stats[:, cv2.CC_STAT_HEIGHT] >= 0.25 * rows
    thick = stats[:, cv2.CC_STAT_AREA] >= 3 * ink.stroke**2
    kept = high & thick
    kept[0] = False
    image: Image = np.where(kept[labels], np.uint8(255), np.uint8(0))
    return image


def _look(segmentations: list[Segmentation], model: Model) -> list[_Found]:
    glyphs = [c.glyph.image for found in segmentations for c in found.candidates]
    images: Image = np.stack(glyphs) if glyphs else np.zeros((0, 28, 28), np.uint8)
    probabilities = model.probabilities(images)
    found = []
    start = 0
    for segmentation in segmentations:
        stop = start + len(segmentation.candidates)
        own = probabilities[start:stop]
        paths = best_paths(segmentation, own, classes=model.card.classes)
        found.append(_Found(segmentation, own, paths))
        start = stop
    return found


def _bound(found: _Found, grammar: Grammar, model: Model) -> _Found:
    paths = best_paths(
        found.segmentation,
        found.probabilities,
        classes=model.card.classes,
        automaton=grammar.automaton,
    )
    return replace(found, paths=paths)


def _better(first: _Found, second: _Found) -> _Found:
    """Return the one with the likelier string; what the other one read remains its rival."""
    if not first.paths or not second.paths:
        return first if first.paths else second
    winner, loser = sorted((first, second), key=lambda found: -found.paths[0].score)
    known = {path.text for path in winner.paths}
    others = [math.exp(path.score) for path in loser.paths if path.text not in known]
    return replace(winner, rival=max(others, default=0.0))


def _reading(
    strip: StripToRead, ink: Ink, free: _Found, best: _Found, classes: str
) -> FieldReading:
    name, box = strip.strip.name, strip.strip.box
    raw = free.paths[0].text if free.paths else ""
    if not raw:
        sure = _sure_of_nothing(strip, ink)
        return FieldReading(name, "", "", sure, (Alternative("", sure),), box)
    if not best.paths:
        return FieldReading(name, None, raw, 0.0, (), box, (), strip.grammar.name)
    trust = _trust(ink, best.segmentation)
    probabilities = [trust * share for share in shares(best.paths, best.rival)]
    # Where the raw reading is legal, the search was free and its rivals may not be.
    alternatives = tuple(
        Alternative(path.text, probability)
        for path, probability in zip(best.paths, probabilities, strict=False)
        if path.text == best.paths[0].text or strip.grammar.accepts(path.text)
    )[:ALTERNATIVES]
    chosen = best.paths[0]
    glyphs = tuple(
        GlyphReading(
            _on_page(strip.strip, best.segmentation.candidates[index].glyph.box),
            digit,
            float(best.probabilities[index, classes.index(digit)]),
        )
        for index, digit in zip(chosen.candidates, chosen.text, strict=True)
    )
    return FieldReading(
        name=name,
        value=chosen.text,
        raw=raw,
        confidence=alternatives[0].probability,
        alternatives=alternatives,
        box=box,
        glyphs=glyphs,
        rule=None if chosen.text == raw else strip.grammar.name,
    )


def _sure_of_nothing(strip: StripToRead, ink: Ink) -> float:
    """Return how sure it is that the strip holds no digit, where none was read."""
    if ink.contrast == 0:
        return 1.0 if is_flat(strip.strip.grey) else 0.3
    # All was rules, as in an empty box; or there are specks and other marks.
    return 0.0 if ink.mask.any() else EMPTY_BOX


def _trust(ink: Ink, segmentation: Segmentation) -> float:
    """Return how far the picture itself can be trusted, 0 to 1, whatever the network says.

    The network knows digits only and is sure of one in any blot. Ink that hardly stands out of
    the noise, or that is mostly specks, is no writing.
    """
    above_noise = np.clip((ink.contrast / max(ink.noise, 1e-6) - 5) / 2, 0, 1)
    clean = np.clip((segmentation.clean - 0.5) / 0.3, 0, 1)
    return float(above_noise * clean)


def _on_page(strip: Strip, box: Box) -> Box:
    rows, columns = strip.grey.shape
    across, down = strip.box.w / columns, strip.box.h / rows
    return Box(
        strip.box.x + box.x * across, strip.box.y + box.y * down, box.w * across, box.h * down
    )
