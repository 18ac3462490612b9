"""The networks that read, loaded."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from pipeline.confidence import Weights
from pipeline.readers.micr_template import MICR_READER
from pipeline.readers.runtime import Model

GLYPH, STRIP, BOTH = "glyph", "strip", "both"  # who has read a field of digits


@dataclass(frozen=True, slots=True)
class Readers:
    """The loaded networks. Load them once a process, after any fork.

    Fields are read by the glyph reader, the strip reader, or both where both are there; `weights`
    then say how much each one's word counts.
    """

    glyph: Model | None
    strip: Model | None = None
    weights: Weights | None = None
    micr: Model | None = None

    def __post_init__(self) -> None:
        if self.glyph is None and self.strip is None:
            raise ValueError("fields need a reader")
        if self.glyph is not None and self.strip is not None and self.weights is None:
            raise ValueError("two readers need the weights of their words")

    @property
    def name(self) -> str:
        """Who reads fields of digits."""
        if self.strip is None:
            return GLYPH
        return STRIP if self.glyph is None else BOTH

    def sha256(self, reader: str) -> str:
        """Return the hash of the weights behind a `FieldReading.reader`.

        Of both readers it is the hash of their two hashes, the glyph reader's first.
        """
        if reader == MICR_READER:
            models = [self.micr]
        else:
            models = [self.glyph, self.strip] if reader == BOTH else [self._of(reader)]
        hashes = [model.card.sha256 for model in models if model is not None]
        return hashes[0] if len(hashes) == 1 else sha256("".join(hashes).encode()).hexdigest()

    def _of(self, reader: str) -> Model | None:
        return self.glyph if reader == GLYPH else self.strip


def load_readers() -> Readers:
    """Load the weights that come with Counterfoil. Raises ConfigError where they do not fit."""
    return Readers(
        glyph=Model.bundled("glyph"),
        strip=Model.bundled("strip"),
        weights=Weights.bundled(),
        micr=Model.bundled("micr"),
    )
