"""What every reader of fields is given."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.grammar.parse import Grammar
from pipeline.types import Strip


@dataclass(frozen=True, slots=True)
class StripToRead:
    """One field as the reading stage gets it: its image, and what it may hold."""

    strip: Strip
    grammar: Grammar
    ruled: bool  # it may hold parts of printed boxes and lines
