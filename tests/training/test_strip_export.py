"""The strip network as int8, and the likelihood that its temperature is fitted by."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError
from pipeline.readers.normalise import normalise_strip
from pipeline.readers.runtime import Model
from pipeline.readers.strip import posteriors
from tests.processes import run_python
from training.strip.ctc import negative_log_likelihoods
from training.strip.export import FILES, OUTPUTS, export_strips

# TensorFlow stays out of the test process: its memory, its threads and its warnings.
_COMPARE = """
import sys
import numpy as np
from tests.training.test_strip_training import pool
from training.strip.export import convert_strips
from training.strip.network import LAYOUTS, build_strip_network
network = build_strip_network(LAYOUTS["small"])
strips = pool(40)
converted = convert_strips(network, "small", strips, strips)
rng = np.random.default_rng(1)
for columns in (96, 192, 512):
    batch = np.zeros((5, 32, columns, 1), np.uint8)
    for row in range(5):
        strip = strips.strip(row)[:, :columns]
        for start in range(0, columns - strip.shape[1] + 1, strip.shape[1]):
            batch[row, :, start : start + strip.shape[1], 0] = strip
    exact = np.asarray(network(batch.astype(np.float32) / 255, training=False))
    small = converted.model.run(batch)
    assert small.shape == exact.shape == (5, 1, columns // 4, 12)
    print(np.abs(small - exact).mean() / exact.std())
"""


@pytest.mark.slow
def test_int8_reads_any_width_as_float_does() -> None:
    done = run_python(_COMPARE, how="-c")
    assert done.returncode == 0, done.stderr
    differences = [float(line) for line in done.stdout.split()]
    assert len(differences) == 3
    assert max(differences) < 0.05


@settings(max_examples=60, deadline=None)
@given(steps=st.integers(1, 4), seed=st.integers(0, 999))
def test_the_likelihood_is_the_sum_over_all_alignments(steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (steps, 3)).astype(np.float32)
    chances = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(axis=1, keepdims=True)
    texts = [text for size in range(3) for text in itertools.product((1, 2), repeat=size)]
    summed = dict.fromkeys(texts, 0.0)
    for path in itertools.product(range(3), repeat=steps):
        said = tuple(label for label, _ in itertools.groupby(path) if label)
        if said in summed:
            summed[said] += float(np.prod(chances[np.arange(steps), path]))
    found = negative_log_likelihoods([logits] * len(texts), texts)
    np.testing.assert_allclose(np.exp(-found), list(summed.values()), atol=1e-9)


def test_strips_of_different_lengths_do_not_change_each_other() -> None:
    rng = np.random.default_rng(5)
    logits = [rng.normal(0, 2, (steps, 12)).astype(np.float32) for steps in (3, 9, 5)]
    texts = [[1], [2, 2, 3], []]
    together = negative_log_likelihoods(logits, texts, 1.3)
    alone = [
        negative_log_likelihoods([own], [text], 1.3)[0]
        for own, text in zip(logits, texts, strict=True)
    ]
    np.testing.assert_allclose(together, alone)
    assert negative_log_likelihoods(logits[:1], [[4, 4, 4]])[0] == np.inf  # it needs five steps


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no training run"):
        export_strips(tmp_path, tmp_path)


@pytest.mark.slow
def test_a_run_becomes_weights_that_their_card_describes(data_dir: Path, tmp_path: Path) -> None:
    folders = ["--data", str(data_dir)]
    options = ["--strips", "32", "--validation", "24", "--epochs", "1", "--layout", "small"]
    for command in (
        ["training.strip.train", *folders, "--out", str(tmp_path), *options],
        ["training.strip.export", *folders, "--run", str(tmp_path)],
    ):
        done = run_python(*command)
        assert done.returncode == 0, done.stderr
    assert all((tmp_path / name).is_file() for name in FILES)
    card = (tmp_path / "strip.json").read_text(encoding="utf-8")
    about = json.loads(card)
    assert about["classes"] == OUTPUTS
    assert about["layout"] == "small"
    assert about["scores"]["validation"]["count"] == 24
    assert {"mnist", "femnist", "nsysu", "pen"} == {each["name"] for each in about["trained_on"]}
    assert str(data_dir) not in card
    model = Model.from_files((tmp_path / "strip.tflite").read_bytes(), card)
    found = posteriors(
        [normalise_strip(np.full((40, width), 230, np.uint8)) for width in (30, 300)], model
    )
    assert all(own.shape[1] == 12 for own in found)
