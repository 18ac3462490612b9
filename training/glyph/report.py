"""The report of a training run, as one HTML file with everything in it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ConfigError
from training.glyph.scores import Evaluation

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff;
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } td, th { padding: .25rem .9rem .25rem 0; text-align: left;
       border-bottom: 1px solid #dde3ea; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; } code { font-size: .85rem; overflow-wrap: anywhere; }
p.note { color: #53606e; }
"""
_BLUE, _ORANGE, _GREY = "#20639b", "#d1772b", "#8896a5"


def write_report(
    path: Path,
    card: dict[str, Any],
    history: Sequence[dict[str, float]],
    evaluations: Sequence[Evaluation],
) -> None:
    """Write the report of a model: its card, its history and its evaluations.

    The first evaluation must be that of MNIST's test set. Raises ConfigError if matplotlib is
    missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise ConfigError(
            "matplotlib is not installed; the report's pictures need it.",
            hint="Install the extra `train`: pip install 'counterfoil[train]'",
        ) from exc

    def figure(width: float, height: float) -> Any:
        return Figure(figsize=(width, height), layout="constrained")

    main = evaluations[0]
    parts = [
        f"<h1>Training report: {html.escape(str(card['name']))}</h1>",
        f"<p>{card['parameters']:,} parameters, {html.escape(card['precision'])}. "
        f"Trained with <code>{html.escape(card['command'])}</code> "
        f"({html.escape(card['keras'])}).</p>",
        "<h2>Scores of the int8 weights</h2>",
        _scores(card, evaluations),
        *(f'<p class="note">{html.escape(note)}</p>' for note in card["notes"]),
        "<h2>Trained on</h2>",
        _origins(card),
        "<h2>Training and validation</h2>",
        _picture(_draw_history(figure(9, 3.6), history), "accuracy and loss by epoch"),
        '<p class="note">Validation digits come from writers who trained nothing. Training '
        "digits are augmented and pass through dropout, so they score lower.</p>",
        f"<h2>Accuracy by digit ({main.name} test)</h2>",
        _picture(_draw_classes(figure(9, 3.2), main), "accuracy by digit"),
        f"<h2>Accuracy by number of digits in the string ({main.name} test)</h2>",
        _picture(_draw_lengths(figure(9, 3.2), main), "accuracy by length of string"),
        '<p class="note">10,000 strings of each length, drawn from the test digits; a string is '
        "right if every digit is right. The digits count as perfectly segmented.</p>",
        f"<h2>Confusion matrix ({main.name} test)</h2>",
        _picture(_draw_confusion(figure(6, 5.4), main), "confusion matrix"),
    ]
    for evaluation in evaluations:
        if not evaluation.worst:
            continue
        height = 1.45 * ((len(evaluation.worst) + 9) // 10) + 0.1
        parts += [
            f"<h2>Worst mistakes: {html.escape(evaluation.name)}</h2>",
            _picture(_draw_worst(figure(9, height), evaluation), "the worst mistakes"),
        ]
    parts.append('<p class="note">Under each: truth → read, and how sure the model was.</p>')
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Training report: {html.escape(str(card['name']))}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    path.write_text(page, encoding="utf-8")


def _scores(card: dict[str, Any], evaluations: Sequence[Evaluation]) -> str:
    rows = []
    for evaluation in evaluations:
        score = evaluation.score
        low, high = score.interval()
        error = card["calibration_error"][evaluation.name]
        rows.append(
            f"<tr><td>{html.escape(evaluation.name)}</td>"
            f'<td class="n">{score.count:,}</td><td class="n">{score.count - score.right:,}</td>'
            f'<td class="n">{score.error_percent:.2f} %</td>'
            f'<td class="n">{low:.2f} to {high:.2f} %</td><td class="n">{100 * error:.2f} %</td>'
            "</tr>"
        )
    floating = card["scores_float"]["mnist"]["error_percent"]
    return (
        "<table><tr><th>set</th><th>digits</th><th>wrong</th><th>error</th>"
        "<th>95 % interval</th><th>calibration error</th></tr>" + "".join(rows) + "</table>"
        f"<p>The float weights: {floating:.2f} % on mnist. "
        f"Temperature: {card['temperature']}.</p>"
    )


def _origins(card: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(origin['name'])}</td><td class='n'>{origin['digits']:,}</td>"
        f"<td>{html.escape(origin['source'])}</td><td>{html.escape(origin['licence'])}</td></tr>"
        for origin in card["trained_on"]
    )
    held = card["validation"]
    return (
        f"<table><tr><th>set</th><th>digits</th><th>from</th><th>terms</th></tr>{rows}</table>"
        f"<p>Validation: {held['digits']:,} digits of {held['writers']} other writers.</p>"
    )


def _draw_history(figure: Any, history: Sequence[dict[str, float]]) -> Any:
    epochs = range(1, len(history) + 1)
    marker = "o" if len(history) < 15 else None
    for place, (key, title) in enumerate((("accuracy", "accuracy"), ("loss", "loss")), start=1):
        axes = figure.add_subplot(1, 2, place)
        for name, colour, words in (
            (key, _GREY, "training"),
            (f"val_{key}", _BLUE, "validation"),
        ):
            axes.plot(
                epochs, [row[name] for row in history], color=colour, label=words, marker=marker
            )
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if key == "loss":
            axes.set_yscale("log")
        axes.legend(frameon=False)
        axes.grid(alpha=0.25)
    return figure


def _bars(axes: Any, places: Sequence[int], evaluation_scores: Sequence[Any]) -> None:
    values = [100 * score.accuracy for score in evaluation_scores]
    intervals = [score.interval() for score in evaluation_scores]
    below = [v - (100 - high) for v, (_, high) in zip(values, intervals, strict=True)]
    above = [(100 - low) - v for v, (low, _) in zip(values, intervals, strict=True)]
    errors = np.clip([below, above], 0, None)
    axes.bar(places, values, color=_BLUE, width=0.6)
    axes.errorbar(places, values, yerr=errors, fmt="none", ecolor=_ORANGE, capsize=3)
    floor = min(v - b for v, b in zip(values, below, strict=True))
    axes.set_ylim(max(0.0, floor - 0.25 * (100 - floor) - 0.05), 100)
    axes.set_ylabel("% right")
    axes.set_xticks(list(places))
    for place, value in zip(places, values, strict=True):
        axes.annotate(
            f"{value:.2f}",
            (place, axes.get_ylim()[0]),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            color="white",
            fontsize=8,
        )


def _draw_classes(figure: Any, evaluation: Evaluation) -> Any:
    axes = figure.add_subplot()
    _bars(axes, range(10), evaluation.by_class)
    axes.set_xlabel("digit (with 95 % intervals)")
    return figure


def _draw_lengths(figure: Any, evaluation: Evaluation) -> Any:
    axes = figure.add_subplot()
    _bars(axes, list(evaluation.by_length), list(evaluation.by_length.values()))
    axes.set_xlabel("digits in the string (with 95 % intervals)")
    return figure


def _draw_confusion(figure: Any, evaluation: Evaluation) -> Any:
    axes = figure.add_subplot()
    confusion = evaluation.confusion
    mistakes = confusion.copy()
    np.fill_diagonal(mistakes, 0)
    axes.imshow(mistakes, cmap="Oranges", vmax=max(1, int(mistakes.max() * 1.4)))
    for truth in range(10):
        for read in range(10):
            if confusion[truth, read]:
                own = truth == read
                axes.text(
                    read,
                    truth,
                    str(confusion[truth, read]),
                    ha="center",
                    va="center",
                    color=_GREY if own else "black",
                    fontsize=8,
                )
    axes.set(xticks=range(10), yticks=range(10), xlabel="read as", ylabel="truth")
    return figure


def _draw_worst(figure: Any, evaluation: Evaluation) -> Any:
    rows = (len(evaluation.worst) + 9) // 10
    grid = figure.subplots(rows, 10, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, mistake in zip(grid, evaluation.worst, strict=False):
        axes.imshow(255 - mistake.image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(
            f"{mistake.label} → {mistake.read}\n{100 * mistake.probability:.1f} %",
            fontsize=8,
            y=-0.45,
        )
    return figure


def _picture(figure: Any, words: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<p><img alt="{html.escape(words)}" src="data:image/png;base64,{data}"></p>'
