"""Which fields' places are confirmed by printed frames of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import intersection
from pipeline.placing.edges import look_alike
from pipeline.placing.frames import FrameMatch
from pipeline.placing.template import FieldSpec, Template
from pipeline.types import Box

_WITHIN: Final = 0.9  # of a field's area: a field that lies so far in a frame belongs to it
_IN_LINE: Final = 0.1  # of a frame's side, by which frames in one line may differ


def unsure_fields(template: Template, match: FrameMatch) -> frozenset[str]:
    """Return the fields whose place on the page is not confirmed.

    A field's own frame must be seen, from above or below and from a side. If a frame is missing
    from a row or column of frames that look alike, any of them may be its neighbour: where a strip
    of the page is folded away, the lower rows come up.
    """
    unsure = match.vague | match.lost
    for missing in np.flatnonzero(match.lost):
        unsure |= _in_line(template.frames, int(missing))
    if not unsure.any():
        return frozenset()
    owners = {spec.name: _frame_of(spec, template.frames) for spec in template.fields}
    return frozenset(name for name, owner in owners.items() if owner is not None and unsure[owner])


def _frame_of(spec: FieldSpec, frames: Sequence[Box]) -> int | None:
    """Return the smallest frame that a field lies in, by number."""
    if spec.micr is not None:
        return None
    around = [
        number
        for number, frame in enumerate(frames)
        if (shared := intersection(frame, spec.box)) is not None
        and shared.w * shared.h >= _WITHIN * spec.box.w * spec.box.h
    ]
    return min(around, key=lambda n: frames[n].w * frames[n].h, default=None)


def _in_line(frames: Sequence[Box], which: int) -> NDArray[np.bool_]:
    """Return which frames look like one and lie in one row or column with it, (frames,)."""
    sides = np.array([(b.x, b.y, b.w, b.h) for b in frames])
    own = sides[which]
    alike = look_alike(sides[:, 2:], own[2:])
    in_line = (np.abs(sides[:, :2] - own[:2]) <= _IN_LINE * own[2:]).any(axis=1)
    return np.asarray(alike & in_line)
