"""A real, tiny training run, from digits to weights, card and report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import ConfigError
from pipeline.readers.runtime import Model
from tests.processes import run_python
from tests.samples import ROOT
from training.datasets import load_mnist
from training.glyph.network import PARAMETERS
from training.glyph.train import GlyphRun, read_run


@pytest.fixture(scope="module")
def finished(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    options = ["--data", data_dir, "--out", out, "--limit", "300", "--batch-size", "64"]
    done = run_python("training.glyph.train", *options, "--epochs", "1", "--finish", "0")
    assert done.returncode == 0, done.stderr
    done = run_python(
        "training.glyph.train", *options, "--epochs", "2", "--finish", "1", "--resume"
    )
    assert done.returncode == 0, done.stderr
    done = run_python("training.glyph.export", "--run", out, "--data", data_dir)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_a_run_ends_in_weights_that_their_card_describes(finished: Path, data_dir: Path) -> None:
    card = (finished / "glyph.json").read_text(encoding="utf-8")
    model = Model.from_files((finished / "glyph.tflite").read_bytes(), card)
    about = json.loads(card)
    assert about["parameters"] == PARAMETERS == 867_434
    assert [origin["name"] for origin in about["trained_on"]] == ["mnist", "femnist", "nsysu"]
    assert all(origin["may_train"] and origin["licence"] for origin in about["trained_on"])
    assert {"mnist", "usps", "dida", "nsysu", "validation"} <= set(about["scores"])
    mnist = about["scores"]["mnist"]
    low, high = mnist["interval_95_percent"]
    assert mnist["count"] == 10_000
    assert low < mnist["error_percent"] < high
    assert "--limit 300" in about["command"]
    assert str(data_dir) not in card
    digits = load_mnist(data_dir, "test").images[:200]
    assert model.probabilities(digits).shape == (200, 10)


@pytest.mark.slow
def test_a_resumed_run_goes_on_where_it_stopped(finished: Path) -> None:
    history = json.loads((finished / "history.json").read_text(encoding="utf-8"))
    assert [row.get("finish", 0) for row in history] == [0, 0, 1]  # the last two were resumed
    assert history[1]["learning_rate"] > history[2]["learning_rate"]
    assert {"accuracy", "loss", "val_accuracy", "val_loss", "learning_rate"} <= set(history[0])


@pytest.mark.slow
def test_int8_reads_as_float_does(finished: Path, data_dir: Path) -> None:
    card = json.loads((finished / "glyph.json").read_text(encoding="utf-8"))
    whole = Model((finished / "glyph-float.tflite").read_bytes(), Model.bundled().card)
    small = Model.from_files((finished / "glyph.tflite").read_bytes(), json.dumps(card))
    digits = load_mnist(data_dir, "test").images[:1000]
    a, b = whole.logits(digits), small.logits(digits)
    assert np.abs(a - b).mean() < 0.1 * a.std()


@pytest.mark.slow
def test_the_report_needs_nothing_beside_it(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 5
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.slow
def test_the_network_has_the_published_number_of_parameters() -> None:
    code = "from training.glyph.network import build_network as b; print(b().count_params())"
    done = run_python(code, how="-c")
    assert done.stdout.strip() == "867434", done.stderr


@pytest.mark.slow
def test_a_run_may_begin_from_the_weights_that_ship(data_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from training.datasets import load_mnist; from training.glyph.network import *\n"
        "weights = Path('pipeline/readers/weights/glyph.tflite')\n"
        "digits = load_mnist(Path(sys.argv[1]), 'train')\n"
        "first = digits.images[:600, ..., None] / np.float32(255)\n"
        "network = build_network(); begin_from(network, weights, first)\n"
        "said = np.asarray(network(first, training=False))\n"
        "print((said.argmax(axis=1) == digits.labels[:600]).sum())"
    )
    done = run_python(code, data_dir, how="-c")
    assert int(done.stdout) > 590, done.stderr


@pytest.mark.slow
def test_weights_to_begin_from_that_are_none_are_named(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "no.tflite").write_bytes(b"none")
    strip = ROOT / "pipeline/readers/weights/strip.weights.h5"
    cases = (tmp_path / "no.tflite", tmp_path / "missing.h5", strip)
    for number, weights in enumerate(cases):
        options = ["--data", data_dir, "--out", tmp_path / str(number), "--limit", "50"]
        done = run_python("training.glyph.train", *options, "--start", weights)
        assert done.returncode != 0
        assert f"{weights} " in done.stderr
        assert "Traceback" not in done.stderr


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no finished training run"):
        read_run(tmp_path, tmp_path)


def test_missing_tensorflow_is_said_in_plain_words(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = None; sys.modules['keras'] = None\n"
        "from cli.commands.train import app; from core.errors import ConfigError\n"
        "try: app(['glyphs', '--data', sys.argv[1], '--out', sys.argv[1]], standalone_mode=False)\n"
        "except ConfigError as exc: print(exc)"
    )
    done = run_python(code, tmp_path, how="-c")
    assert "TensorFlow is not installed" in done.stdout, done.stderr
    assert "train" in done.stdout


def test_a_run_without_its_sets_says_which(tmp_path: Path) -> None:
    from training.glyph.train import load_sets

    with pytest.raises(ConfigError, match=r"mnist\.npz is not in"):
        load_sets(GlyphRun(data=tmp_path, out=tmp_path))
