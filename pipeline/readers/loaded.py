"""The networks of all readers, loaded."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pipeline.readers.base import BOTH, GLYPH, MICR, STRIP
from pipeline.readers.confidence import EvidenceWeights
from pipeline.readers.runtime import Model


@dataclass(frozen=True, slots=True)
class Readers:
    """The loaded networks. Load them once a process, after any fork.

    `evidence_weights` say how much the glyph reader and the strip reader count. `of_fields` is
    BOTH, or GLYPH or STRIP where one of them is measured alone.
    """

    glyph: Model
    strip: Model
    micr: Model
    alteration: Model
    evidence_weights: EvidenceWeights
    of_fields: str = BOTH

    def sha256(self, reader: str) -> str:
        """Return the hash of the networks behind a `FieldReading.reader`.

        For both readers it is the hash of their two hashes, the glyph reader's first.
        """
        if reader == BOTH:
            both = self.glyph.card.sha256 + self.strip.card.sha256
            return sha256(both.encode()).hexdigest()
        return {GLYPH: self.glyph, STRIP: self.strip, MICR: self.micr}[reader].card.sha256


def load_readers(strip: Path | None = None) -> Readers:
    """Load the bundled networks, or the strip reader's from the folder `strip`.

    Raises ConfigError where weights are missing or do not match their card.
    """
    return Readers(
        glyph=Model.bundled("glyph"),
        strip=Model.bundled("strip") if strip is None else Model.in_folder(strip),
        evidence_weights=EvidenceWeights.bundled(),
        micr=Model.bundled("micr"),
        alteration=Model.bundled("alteration"),
    )
