"""Choose the template of a page among several.

Scores of different templates cannot be compared: two thirds of six frames are found by chance,
two thirds of fifty are not, and nearly every page has something like a border. So each score is
turned into evidence: the logarithm of how much likelier it is on a page of this template than on
another page. A page gets the template with the most evidence, if that is enough, and by a clear
margin more than any other template has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from core.errors import TemplateError
from pipeline.geometry import transform_points
from pipeline.placing.frames import (
    LongLines,
    count_edges,
    draw_rules,
    find_frames,
    find_long_lines,
    glance,
)
from pipeline.placing.page_rules import PageRules, find_page_rules, turn_page_rules
from pipeline.placing.register import (
    MIN_SCORE_TURNED,
    MismatchError,
    Placement,
    mismatch_error,
    register,
    turn_page,
)
from pipeline.placing.sheet import find_sheet
from pipeline.placing.template import Anchors, Template
from pipeline.types import Box, Page

# Natural logarithms of odds, about 20 to 1: the evidence that a template needs, and by how much
# it must exceed that of every other template. `python -m benchmarks.piles` measures both.
MARGIN: Final = 3.0

# How often an edge is found on a page of its template, distorted by scanners, and how often at
# best on a page of another kind, which every placement was tried on.
_FOUND: Final = 0.9
_FOUND_BY_CHANCE: Final = 0.35
_PER_EDGE: Final = float(np.log(_FOUND / _FOUND_BY_CHANCE))
_PER_MISS: Final = float(np.log((1 - _FOUND) / (1 - _FOUND_BY_CHANCE)))
# Of the other anchors: the score that tells nothing, and the evidence of a score higher by 1.
# Indian cheques fit `cheque-in` with 0.51 to 0.95 and US cheques with 0.42 to 0.59; US cheques fit
# `check-us` with 0.95 to 1.0 and other pages with up to 0.85.
_BY_SCORE: Final = {Anchors.LOOSE: (0.48, 20.0), Anchors.BORDER: (0.85, 45.0)}

# What a page of the template has, however much else speaks for it.
_LEAST_ON_SCAN: Final = 0.75  # of the template's page lies on the scan
_MOST_FRAMES_GONE: Final = 0.05  # of its frames: a form with a row less is another form
_MOST_STRETCHED: Final = 1.2  # one way more than the other; paper and scanners stretch by 2 %
_GLANCE_SLACK: Final = 0.15  # by which a placement may fit better than a glance promises
# A page that has more of a template than this, but not enough, may be a damaged page of it: it is
# not passed over as a page of no interest.
_RESEMBLES: Final = 0.5
_NAMED: Final = 8  # templates that a message names


class Choice(NamedTuple):
    """The template of a page, and where it lies. An ignored one without marks has no placement."""

    template: Template
    placement: Placement | None


@dataclass(frozen=True, slots=True)
class _Fit:
    """How a template fits a page. With `error` it cannot be placed.

    An error other than a mismatch means that the page is of this template, as far as can be seen.
    """

    template: Template
    evidence: float
    score: float
    placement: Placement | None = None
    error: TemplateError | None = None


def choose_template(
    page: Page, templates: Sequence[Template], *, number: int | None = None
) -> Choice:
    """Return the template that fits `page` by a clear margin, and where it lies.

    A single template is not compared with anything. `number` is that of the page in its document,
    from 1, or None if it is not known. Raises TemplateError where none fits (code
    "no-template-fits"), where two fit about equally well ("ambiguous-placement"), and what
    `register` raises other than a mismatch.
    """
    if len(templates) == 1:
        return Choice(templates[0], register(page, templates[0]))
    marked = [template for template in templates if template.has_marks]
    allowed = [template for template in marked if template.may_be_page(number)]
    fits = _fit_templates(page, allowed)
    best = max(fits, key=lambda fit: fit.evidence, default=None)
    if best is not None and best.evidence >= MARGIN:
        return _clearly(best, fits)
    fits += _fit_templates(page, [template for template in marked if template not in allowed])
    unmarked = _unmarked(templates, number)
    resembles = any(fit.score >= _RESEMBLES for fit in fits if not fit.template.ignored)
    if unmarked is None or resembles:
        raise _none_fits(fits)
    if unmarked.ignored:
        return Choice(unmarked, None)
    try:
        return Choice(unmarked, register(page, unmarked))
    except MismatchError as exc:
        raise _none_fits([*fits, _Fit(unmarked, -np.inf, exc.score, error=exc)]) from exc


def evidence(template: Template, score: float) -> float:
    """Return how strongly a score of 0 to 1 speaks for a template, as the logarithm of odds."""
    if template.anchors is Anchors.FRAMES:
        edges = _count_edges(template.frames)
        return edges * (score * _PER_EDGE + (1 - score) * _PER_MISS)
    neutral, slope = _BY_SCORE[template.anchors]
    return slope * (score - neutral)


def resembling(templates: Sequence[Template]) -> Iterator[tuple[Template, Template]]:
    """Yield each pair of templates by frames of which the first's empty page fits the second.

    A page of the first may then be set apart, because it cannot be told which of them it is.
    """
    framed = [template for template in templates if template.anchors is Anchors.FRAMES]
    for own in framed:
        for other in framed:
            if other is not own and _promise(own, other) > evidence(own, 1.0) - MARGIN:
                yield own, other


def _fit_templates(page: Page, templates: Sequence[Template]) -> list[_Fit]:
    """Return how each template fits the page; those that cannot win are only glanced at."""
    if not templates:
        return []
    view = _View(page, templates)
    fits: dict[str, _Fit] = {}
    best = MARGIN
    winner: Template | None = None
    # All templates on the page as it is, and if none fits, what else may fit another way round.
    for others in (False, True):
        if others and winner is not None:
            break
        promised = view.promised_other_ways() if others else view.promised
        for template in sorted(templates, key=lambda one: -promised[one.name]):
            rival = winner is not None and _is_rival(winner, template)
            if template.name in fits or (
                promised[template.name] <= (best - MARGIN if winner else MARGIN) and not rival
            ):
                continue
            fit = fits[template.name] = view.fit(template)
            if fit.evidence >= best:
                best, winner = fit.evidence, template
    return [fits.get(template.name) or view.glanced(template) for template in templates]


class _View:
    """A page as it is compared with templates; its lines are found once for all of them."""

    def __init__(self, page: Page, templates: Sequence[Template]) -> None:
        self._page = page
        self._templates = templates
        self._rules = (
            find_page_rules(page.grey)
            if any(template.anchors is Anchors.FRAMES for template in templates)
            else None
        )
        self._scores = {template.name: 1.0 for template in templates}
        if self._rules is not None:
            self._scores |= self._glance([self._rules])
        self.promised = self._promises()

    def promised_other_ways(self) -> dict[str, float]:
        """Return the most evidence for each template if the page lies another way round."""
        if self._rules is None:
            return self.promised
        if find_sheet(self._page.grey) is not None:  # a photograph: its lines are not level
            return {template.name: evidence(template, 1.0) for template in self._templates}
        needed = MIN_SCORE_TURNED[Anchors.FRAMES] - _GLANCE_SLACK
        for name, score in self._glance(_other_ways(self._rules, self._page.grey.shape)).items():
            if score >= needed:
                self._scores[name] = max(self._scores[name], score)
        return self._promises()

    def fit(self, template: Template) -> _Fit:
        """Place a template, wherever and whichever way round it lies."""
        fit = self._fit(template, upside_down=False)
        if fit.placement is None and fit.score >= MIN_SCORE_TURNED[Anchors.FRAMES]:
            # Frames alone may look the same upside down; where they lie on the page does not.
            other = self._fit(template, upside_down=True)
            if other.placement is not None:
                error = TemplateError(
                    f"this page may be a '{template.name}' upside down, or another form: its"
                    " frames look the same either way round.",
                    hint="Scan it upright.",
                    code="ambiguous-placement",
                )
                return _Fit(template, other.evidence, other.score, error=error)
        return fit

    def _fit(self, template: Template, *, upside_down: bool) -> _Fit:
        turns = 2 if upside_down else 0
        rules = self._rules and turn_page_rules(
            self._rules, self._page.grey.shape, turns, mirrored=False
        )
        try:
            placement = register(turn_page(self._page, turns), template, rules=rules)
        except MismatchError as exc:
            return _Fit(template, -np.inf, exc.score, error=exc)
        except TemplateError as exc:
            # The error tells no score. What was glanced of the template does, without the slack.
            framed = template.anchors is Anchors.FRAMES
            seen = evidence(template, self._scores[template.name]) if framed else MARGIN
            return _Fit(template, seen, 1.0, error=exc)
        placement = replace(placement, turn=(placement.turn + turns) % 4)
        score = placement.score
        why = self._misfit(template, placement)
        if why is not None:
            error = mismatch_error(template, why, score=score)
            return _Fit(template, -np.inf, score, error=error)
        return _Fit(template, evidence(template, score), score, placement)

    def _misfit(self, template: Template, placement: Placement) -> str | None:
        """Say why the page is none of the template's, although most of its print is there."""
        page = turn_page(self._page, placement.turn)
        steps = (np.arange(16) + 0.5) / 16
        points = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        at = transform_points(placement.matrix, points)
        on_scan = float(((at >= 0) & (at <= page.grey.shape[::-1])).all(axis=1).mean())
        if on_scan < _LEAST_ON_SCAN:
            return f"only {on_scan:.0%} of its page would lie on the scan"
        if self._rules is None or template.anchors is not Anchors.FRAMES:
            return None
        if np.abs(placement.matrix[2, :2]).max() > 1e-9:  # a photograph, in perspective
            return None
        stretched = np.linalg.svd(placement.matrix[:2, :2] / (template.width, template.height))[1]
        if stretched[0] > _MOST_STRETCHED * stretched[1]:
            return "it would have to be stretched to fit"
        shape = self._page.grey.shape
        rules = turn_page_rules(self._rules, shape, placement.turn, mirrored=False)
        size = (template.width, template.height)
        there = find_frames(rules, template.frames, size, placement.matrix)
        if (~there).mean() > _MOST_FRAMES_GONE:
            return f"{int(there.sum())} of its {len(there)} printed frames found"
        return None

    def glanced(self, template: Template) -> _Fit:
        """Return what was seen of a template that was not placed."""
        return _Fit(template, -np.inf, self._scores[template.name])

    def _promises(self) -> dict[str, float]:
        return {
            template.name: evidence(template, min(1.0, self._scores[template.name] + _GLANCE_SLACK))
            for template in self._templates
        }

    def _glance(self, ways: Iterable[PageRules]) -> dict[str, float]:
        framed = [template for template in self._templates if template.anchors is Anchors.FRAMES]
        seen = dict.fromkeys((template.name for template in framed), 0.0)
        for rules in ways:
            lines = find_long_lines(rules)
            for template in framed:
                seen[template.name] = max(seen[template.name], _glance_at(lines, template))
        return seen


def _clearly(best: _Fit, fits: Sequence[_Fit]) -> Choice:
    """Return the best template, unless another fits about as well. Raises its error."""
    if best.error is not None:
        raise best.error
    others = [fit for fit in fits if fit is not best]
    near = [fit for fit in others if fit.evidence > best.evidence - MARGIN]
    if best.template.ignored and all(fit.template.ignored for fit in near):
        near = []  # whichever it is, the page is passed over
    if near:
        names = " and ".join(f"'{fit.template.name}'" for fit in (best, *near))
        raise TemplateError(
            f"this page fits {names} about equally well, so it cannot be told which it is.",
            hint="`counterfoil template check` says which templates resemble one another.",
            code="ambiguous-placement",
        )
    return Choice(best.template, best.placement)


def _unmarked(templates: Sequence[Template], number: int | None) -> Template | None:
    """Return the template that takes the pages which fit no other, if exactly one does."""
    found = [
        template
        for template in templates
        if not template.has_marks
        and template.may_be_page(number)
        and (number is not None or template.numbers is None)
    ]
    stated = [template for template in found if template.numbers is not None]
    if len(stated) == 1:
        return stated[0]
    return found[0] if len(found) == 1 or (all(one.ignored for one in found) and found) else None


def _none_fits(fits: Sequence[_Fit]) -> TemplateError:
    ordered = sorted(fits, key=lambda fit: -fit.score)
    said = [_in_words(fit) for fit in ordered[:_NAMED]]
    if len(ordered) > _NAMED:
        said.append(f"{len(ordered) - _NAMED} more")
    return TemplateError(
        f"no template fits this page: {'; '.join(said)}.",
        hint="Scan the whole page, or add the template of its kind.",
        code="no-template-fits",
    )


def _in_words(fit: _Fit) -> str:
    name = f"'{fit.template.name}'"
    if isinstance(fit.error, MismatchError):
        return f"{name} ({fit.error.why})"
    if fit.placement is None:
        return f"{name} (about {fit.score:.0%} of its printed frames found)"
    return f"{name} ({fit.score:.0%} found, not enough to tell it from other pages)"


# --- templates compared with one another ---------------------------------------------------------


def _is_rival(winner: Template, other: Template) -> bool:
    """Say whether `other` may fit a page of `winner` as well, the same or another way round."""
    if winner.anchors is not Anchors.FRAMES or other.anchors is not Anchors.FRAMES:
        return False
    return _promise(winner, other) > evidence(winner, 1.0) - MARGIN


def _promise(own: Template, other: Template) -> float:
    """Return the most evidence for `other` that an empty page of `own` gives."""
    size, other_size = (own.width, own.height), (other.width, other.height)
    score = _glance_at_template(own.frames, size, other.frames, other_size)
    return evidence(other, min(1.0, score + _GLANCE_SLACK))


@lru_cache(maxsize=4096)
def _glance_at_template(
    own: tuple[Box, ...],
    size: tuple[float, float],
    other: tuple[Box, ...],
    other_size: tuple[float, float],
) -> float:
    rules = draw_rules(own, size)
    ways = [rules, *_other_ways(rules, rules.horizontal.shape)]
    return max(glance(find_long_lines(way), other, other_size) for way in ways)


@lru_cache(maxsize=256)
def _count_edges(frames: tuple[Box, ...]) -> int:
    return count_edges(frames)


def _glance_at(lines: LongLines, template: Template) -> float:
    return glance(lines, template.frames, (template.width, template.height))


def _other_ways(rules: PageRules, page: tuple[int, ...]) -> Iterator[PageRules]:
    """Yield the lines of a page, (height, width), as they run if it lies another way round."""
    height, width = page
    for mirrored in (False, True):
        for turns in range(4):
            if turns or mirrored:
                yield turn_page_rules(rules, (height, width), turns, mirrored=mirrored)
