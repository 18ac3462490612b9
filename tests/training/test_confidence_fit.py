"""The weights of two readers' words: fitted from strips whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.readers.confidence import Evidence, EvidenceWeights, rank
from training.confidence import ReadStrip, fit, main, measure

TRUE = EvidenceWeights(strip=0.9, glyph=0.3, other=-2.0)


def simulate(count: int, seed: int) -> list[ReadStrip]:
    """Strips of which each truth is as likely as TRUE says of the evidence."""
    rng = np.random.default_rng(seed)
    sample = []
    for _ in range(count):
        first, second = rng.beta(0.6, 0.6, 2)
        evidence = {
            "12": Evidence(first, second),
            "17": Evidence(1 - first, 0.0),
            "": Evidence(0.0, 1 - second),
        }
        shares = {item.value: item.probability for item in rank(evidence, TRUE)}
        shares["99"] = 1 - sum(shares.values())  # neither reader thought of it
        sample.append(ReadStrip(str(rng.choice(list(shares), p=list(shares.values()))), evidence))
    return sample


def test_the_weights_that_made_the_truths_are_found_again() -> None:
    found = fit(simulate(4000, seed=1))
    assert (found.strip, found.glyph, found.other) == pytest.approx(
        (TRUE.strip, TRUE.glyph, TRUE.other), abs=0.15
    )
    others = simulate(4000, seed=2)
    assert measure(others, found)["calibration_error"] < 0.03
    distrustful = EvidenceWeights(strip=0.2, glyph=0.1, other=-2.0)
    assert measure(others, distrustful)["calibration_error"] > 0.1


def test_a_point_that_is_missed_is_counted() -> None:
    sure, unsure = Evidence(0.9999, 0.99), Evidence(0.7, 0.5)
    sample = [
        ReadStrip("12.50", {"1250": sure}),
        ReadStrip("12.50", {"1250": unsure}),
        ReadStrip("12.50", {"12.50": sure}),
        ReadStrip("1250", {"1250": sure}),
    ]
    counted = measure(sample, EvidenceWeights(strip=1.0, glyph=0.5, other=-2.0))
    assert (counted["with_a_point"], counted["point_missed"]) == (3, 2)
    assert counted["point_missed_surely"] == 1


def test_strips_are_drawn_and_read_and_the_card_tells_of_it(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(data_dir), "--strips", "96"]) == 0
    out, progress = capsys.readouterr()
    card = json.loads(out)
    assert "96 of 96 strips" in progress
    assert card["fitted"]["strips"] == card["other_half"]["strips"] == 48
    assert card["weights"]["strip"] > 0.3
    assert card["other_half"]["exact"] > 0.6
