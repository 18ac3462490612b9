"""The networks that read, loaded."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pipeline.readers.confidence import Weights
from pipeline.readers.micr import MICR_READER
from pipeline.readers.runtime import Model

GLYPH, STRIP, BOTH = "glyph", "strip", "both"  # who has read a field of digits


@dataclass(frozen=True, slots=True)
class Readers:
    """The loaded networks. Load them once a process, after any fork.

    `weights` say how much the word of the glyph and of the strip reader counts. `of_fields` is
    GLYPH or STRIP where one of them is to read alone, to be measured.
    """

    glyph: Model
    strip: Model
    micr: Model
    weights: Weights
    of_fields: str = BOTH

    def sha256(self, reader: str) -> str:
        """Return the hash of the weights behind a `FieldReading.reader`.

        That of both readers is the hash of their two hashes, the glyph reader's first.
        """
        if reader == BOTH:
            both = self.glyph.card.sha256 + self.strip.card.sha256
            return sha256(both.encode()).hexdigest()
        return {GLYPH: self.glyph, STRIP: self.strip, MICR_READER: self.micr}[reader].card.sha256


def load_readers(strip: Path | None = None) -> Readers:
    """Load the weights that come with Counterfoil, or the strip reader's from a folder `strip`.

    Raises ConfigError where they do not fit.
    """
    return Readers(
        glyph=Model.bundled("glyph"),
        strip=Model.bundled("strip") if strip is None else Model.in_folder(strip),
        weights=Weights.bundled(),
        micr=Model.bundled("micr"),
    )
