"""Site adaptation: what is learnt and held out, what winning means, and a tiny run of it all."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from pipeline.grammar.base import ANY_DIGITS
from pipeline.grammar.parse import parse_grammar
from storage.site_models import current_name
from tests.processes import run_python
from training.adaptation.corrections import (
    Correction,
    as_pool,
    load_corrections,
    split_by_file,
    vary,
)
from training.adaptation.fine_tune import (
    MARGIN,
    Readings,
    Tuning,
    compare,
    loss_bound,
    mcnemar,
    split,
)
from training.evaluation.labelled import Example


def corrections(count: int, a_file: int = 1) -> list[Correction]:
    grey = np.full((40, 120), 220, np.uint8)
    cv2.line(grey, (60, 8), (58, 32), 40, 3)
    return [Correction(Path(f"{n // a_file:04}.png"), grey, "1", ANY_DIGITS) for n in range(count)]


def readings(
    exact: Sequence[bool], sure: int = 0, synthetic: Sequence[bool] = (True,) * 1000
) -> Readings:
    """Readings of which the first `sure` are sure."""
    confidences = (0.995,) * sure + (0.5,) * (len(exact) - sure)
    return Readings(tuple(exact), confidences, tuple(synthetic))


@given(better=st.integers(0, 7), worse=st.integers(0, 7))
def test_mcnemar_agrees_with_all_ways_to_toss_a_coin(better: int, worse: int) -> None:
    tosses = list(itertools.product((0, 1), repeat=better + worse))
    expected = sum(sum(toss) >= better for toss in tosses) / len(tosses)
    assert mcnemar(better, worse) == pytest.approx(expected)


def test_the_adapted_one_wins_by_all_three_conditions() -> None:
    old = readings([False] * 10 + [True] * 90)
    assert compare(old, readings([True] * 100)).won
    assert compare(old, readings([True] * 5 + [False] * 5 + [True] * 90)).won  # 5 to 0: 0.031
    unsure = compare(old, readings([True] * 4 + [False] * 6 + [True] * 90))  # 4 to 0: 0.0625
    assert unsure.reasons == ["it is not significantly better on the held-out fields (p = 0.0625)"]
    reckless = compare(old, readings([False] + [True] * 99, sure=99))
    assert not reckless.won
    assert "of which it is sure" in reckless.reasons[0]
    # At 0.99 one in a hundred may be wrong, and no more.
    assert compare(old, readings([False] + [True] * 99, sure=100)).won
    assert not compare(old, readings([False] * 2 + [True] * 98, sure=100)).won
    forgot = compare(old, readings([True] * 100, synthetic=[False] * 40 + [True] * 960))
    assert not forgot.won
    assert "fewer synthetic strips" in forgot.reasons[0]
    assert not compare(old, old).won


def test_little_evidence_of_not_forgetting_is_none() -> None:
    assert loss_bound([True] * 1000, [True] * 1000) < MARGIN
    assert loss_bound([True] * 50, [True] * 50) > MARGIN
    assert loss_bound([], []) == 1
    better, worse = [True] * 1000, [True] * 980 + [False] * 20
    assert loss_bound(worse, better) < 0 < 0.02 < loss_bound(better, worse) < MARGIN


@given(count=st.integers(2, 60), a_file=st.integers(1, 5), seed=st.integers(0, 9))
def test_no_file_is_learnt_and_held_out(count: int, a_file: int, seed: int) -> None:
    fields = corrections(count, a_file)
    learnt, held_out = split_by_file(fields, 0.3, seed)
    assert not {field.file for field in learnt} & {field.file for field in held_out}
    assert len(learnt) + len(held_out) == count
    assert 0.3 * count <= len(held_out) < 0.3 * count + a_file
    again = split_by_file(fields[::-1], 0.3, seed)[1]
    assert {field.file for field in again} == {field.file for field in held_out}


@pytest.mark.parametrize(("count", "a_file"), [(142, 1), (160, 160), (0, 1)])
def test_too_few_fields_are_refused(count: int, a_file: int) -> None:
    with pytest.raises(InputError, match="too few"):
        split(corrections(count, a_file), Tuning())


def test_enough_fields_are_not_refused() -> None:
    learnt, held_out = split(corrections(180), Tuning())
    assert len(learnt) == 126
    assert len(held_out) == 54


def test_a_varied_strip_is_still_that_strip() -> None:
    rng = np.random.default_rng(2)
    grey = corrections(1)[0].grey
    for _ in range(20):
        changed = vary(grey, rng)
        assert changed.shape == grey.shape
        assert changed.dtype == np.uint8
        assert (changed[:, :20] < 130).mean() < 0.02  # no ink where none was
    pool = as_pool(corrections(3), rng)
    assert [str(text) for text in pool.texts] == ["1"] * 3
    assert all((pool.strip(n) > 128).any() for n in range(3))


def test_what_cannot_be_learnt_is_left_out_and_counted(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), corrections(1)[0].grey)
    (tmp_path / "bad.png").write_bytes(b"no image")
    examples = [
        Example(tmp_path / "a.png", "1"),
        Example(tmp_path / "b.png", ""),
        Example(tmp_path / "c.png", "12.50"),  # no digits
        Example(tmp_path / "c.png", "1", "other"),
        Example(tmp_path / "c.png", "111111111111"),  # 48 columns are 12 steps; it takes 23
        Example(tmp_path / "bad.png", "1"),
    ]
    found = load_corrections(examples, lambda name: None if name else ANY_DIGITS)
    assert [field.text for field in found.kept] == ["1", ""]
    assert len(found.remarks) == 4
    assert all(remark.startswith("1 fields ") for remark in found.remarks)
    amounts = load_corrections(examples, lambda _name: parse_grammar("amount(USD)"))
    assert "12.50" in [field.text for field in amounts.kept]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_python("from cli.main import app; app()", *arguments, how="-c")


def test_the_models_of_a_new_site_are_the_bundled_one(tmp_path: Path) -> None:
    done = run("train", "models", "--data", tmp_path, "--json")
    assert json.loads(done.stdout) == {"current": "bundled", "models": []}, done.stderr
    done = run("train", "back", "--data", tmp_path)
    assert done.returncode == 5, done.stderr
    assert "there is no earlier one" in done.stderr
    assert current_name(tmp_path) == "bundled"


# TensorFlow stays out of the test process: its memory, its threads and its warnings.
_WHOLE = """
import json, sys
from pathlib import Path
import cv2, numpy as np
from cli.adapt import adapt
from core.errors import ConfigError
from storage.site_models import current_name, current_strip, new_model, promote
from tests.training.test_adaptation import corrections
from tests.training.test_strip_training import pool
from pipeline.readers.runtime import Model
from dataclasses import replace
from training.adaptation.fine_tune import Challenger, Tuning, fine_tune, write_challenger
from training.strip.export import convert_strips
from training.strip.network import LAYOUTS, build_strip_network

home, scans = Path(sys.argv[1]), Path(sys.argv[2])
network = build_strip_network(LAYOUTS["small"])  # it knows nothing yet
converted = convert_strips(network, "small", pool(20), pool(20))
report = {"champion": "bundled", "verdict": {"fields": 0, "challenger_right": 0}}
with new_model(home) as folder:
    write_challenger(folder, Challenger(network, "small", converted), report)
    promote(home, folder, converted.model.card.sha256[:12], "bundled")
folder = current_strip(home)
assert Model.in_folder(folder).card == converted.model.card
scans.mkdir()
rows = ["file,text"]
for number, own in enumerate(corrections(160)):
    cv2.imwrite(str(scans / f"{number}.png"), own.grey)
    rows.append(f"{number}.png,1")
(scans / "labels.csv").write_text("\\n".join(rows) + "\\n")
tuning = Tuning(held_out=0.32, passes=1, strips=30, validation=30)
options = {"field": "digits", "template": None, "tuning": tuning, "home": home}
adapt([scans], **options, dry_run=False, as_json=True)
assert current_name(home) == folder.name
# Between the champion's weights and the tuned ones, as far as it is said.
begun, *ends = (
    fine_tune(folder, corrections(110), pool(20), pool(20), replace(tuning, tuned=share)).network
    for share in (0.0, 0.5, 1.0)
)
for old, half, new in zip(
    network.get_weights(), ends[0].get_weights(), ends[1].get_weights(), strict=True
):
    assert np.allclose(half, (old + new) / 2, atol=1e-4)
assert not np.allclose(ends[1].get_weights()[0], network.get_weights()[0], atol=1e-5)
# What goes to no number is tried again in float32, and then said to have failed.
try:
    fine_tune(folder, corrections(110), pool(20), pool(20), replace(tuning, learning_rate=1e30))
except ConfigError as exc:
    assert exc.code == "diverged"
else:
    raise AssertionError("weights without bound were taken")
for old, same in zip(network.get_weights(), begun.get_weights(), strict=True):
    assert np.allclose(old, same, atol=1e-6)
"""


@pytest.mark.slow
def test_a_reader_that_has_not_proved_better_is_not_promoted(tmp_path: Path) -> None:
    done = run_python(_WHOLE, tmp_path / "home", tmp_path / "scans", how="-c")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert not report["promoted"]
    assert report["learnt"] + report["verdict"]["fields"] == 160
    assert report["verdict"]["reasons"]  # which of the three tests it failed is up to the strips
    listed = json.loads(run("train", "models", "--data", tmp_path / "home", "--json").stdout)
    assert [model["champion"] for model in listed["models"]] == ["bundled"]
    assert listed["current"] == listed["models"][0]["name"]
    assert run("train", "back", "--data", tmp_path / "home").returncode == 0
    assert current_name(tmp_path / "home") == "bundled"
