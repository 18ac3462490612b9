"""The options of `counterfoil train`: glyphs, adapt, back, models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import AsJson, ServerHome, TemplateOption, examples

app = typer.Typer(
    help="Train the networks that read, and adapt them to this site's handwriting.",
    no_args_is_help=True,
)


@app.callback()
def _train() -> None:
    """The group; each task has its own command."""


@app.command(
    epilog=examples(
        "counterfoil train glyphs --data digits/ --out runs/glyphs",
        "counterfoil train glyphs --data digits/ --emnist emnist/ --out runs/with-emnist",
        "counterfoil train glyphs --data digits/ --out runs/glyphs --resume",
        "counterfoil train glyphs --data digits/ --out runs/trial --epochs 2 --limit 5000",
    )
)
def glyphs(
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder of the digit sets: mnist.npz, usps.npz, …"),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the run into.")],
    emnist: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of EMNIST's published .gz files: train on it too."
        ),
    ] = None,
    emnist_split: Annotated[
        str, typer.Option(metavar="SPLIT", help="The split of EMNIST to use: digits or byclass.")
    ] = "digits",
    epochs: Annotated[
        int, typer.Option(min=1, help="Most epochs, without the final ones (--finish).")
    ] = 100,
    batch_size: Annotated[int, typer.Option(min=1, help="Digits per training step.")] = 256,
    learning_rate: Annotated[
        float, typer.Option(min=1e-6, max=1.0, help="Initial learning rate of Adam.")
    ] = 1e-3,
    finish: Annotated[
        int,
        typer.Option(
            min=0, help="Final epochs: less augmentation, and the learning rate falls to zero."
        ),
    ] = 8,
    seed: Annotated[
        int, typer.Option(help="Seed of everything random, also of which writers are held out.")
    ] = 1,
    workers: Annotated[
        int, typer.Option(min=0, help="Threads that augment the digits; 0: one per core.")
    ] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Digits to use of each set, for a quick trial.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")
    ] = False,
    only_export: Annotated[
        bool,
        typer.Option(
            "--only-export", help="Do not train; convert and measure the finished run in --out."
        ),
    ] = False,
) -> None:
    """Train the network of the glyph reader; write its weights, their card and a report.

    Digits of held-out writers decide when the learning rate falls and when training stops. The
    weights are then converted to int8 LiteRT, calibrated on the same writers, and measured on
    data sets that took no part in training.
    """
    _set_up_tensorflow()
    from training.glyph.export import export_run
    from training.glyph.train import GlyphRun, train_glyphs
    from training.litert import require_tensorflow
    from training.runs import command_of

    require_tensorflow()  # say so now, not after hours of training
    if not only_export:
        run = GlyphRun(
            data=data,
            out=out,
            emnist=emnist,
            emnist_split=emnist_split,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            finish=finish,
            seed=seed,
            workers=workers,
            limit=limit,
        )
        train_glyphs(run, resume=resume, command=command_of(run, "counterfoil train glyphs"))
    exported = export_run(out, data, emnist=emnist)
    typer.echo(exported.summary())
    typer.echo(f"Weights: {exported.weights}\nCard:    {exported.card}\nReport:  {exported.report}")


@app.command(
    epilog=examples(
        "counterfoil train adapt --corrections verified/",
        "counterfoil train adapt --corrections may.csv --corrections june.csv -t our-cheque.yaml",
        "counterfoil train adapt --corrections amounts/ --field 'amount(INR)' --dry-run",
    )
)
def adapt(
    corrections: Annotated[
        list[Path],
        typer.Option(
            metavar="SET",
            help="Fields that people verified, in any form that `evaluate` reads: a folder with "
            "labels, a CSV file, or an export next to the scans. Repeatable.",
        ),
    ],
    field: Annotated[
        str, typer.Option(metavar="GRAMMAR", help="What the fields may hold, as in a template.")
    ] = "digits",
    template: TemplateOption = None,
    held_out: Annotated[
        float,
        typer.Option(min=0.1, max=0.6, help="Share of the fields to compare on. Files stay whole."),
    ] = 0.3,
    passes: Annotated[
        int, typer.Option(min=1, max=500, help="How often to go through the verified fields.")
    ] = 40,
    seed: Annotated[
        int, typer.Option(help="Seed of everything random, also of which fields are held out.")
    ] = 1,
    data: ServerHome = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train and compare, but change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Adapt the strip reader to this site's handwriting. It is used only if it reads better.

    This takes a few minutes. Part of the fields is held out for the comparison. The adapted
    reader wins if it reads significantly more of these fields exactly, does not make more
    mistakes where it is sure, and still reads other handwriting as well as before
    (docs/adaptation.md). Ctrl-C leaves everything as it was.
    """
    _set_up_tensorflow()
    from cli.adapt import adapt
    from training.adaptation.fine_tune import Tuning

    adapt(
        corrections,
        field=field,
        template=template,
        tuning=Tuning(held_out=held_out, passes=passes, seed=seed),
        home=data,
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command(epilog=examples("counterfoil train back", "counterfoil train back --json"))
def back(data: ServerHome = None, as_json: AsJson = False) -> None:
    """Go back one step, to the strip reader that the current one was adapted from."""
    from cli.adapt import back

    back(data, as_json=as_json)


@app.command(epilog=examples("counterfoil train models", "counterfoil train models --json"))
def models(data: ServerHome = None, as_json: AsJson = False) -> None:
    """List this site's strip readers with their scores, and show which one is in use."""
    from cli.adapt import models

    models(data, as_json=as_json)


def _set_up_tensorflow() -> None:
    """Choose the backend of Keras and silence TensorFlow. Call it before either is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
