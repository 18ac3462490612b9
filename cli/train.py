"""`counterfoil train`: train the weights of a reader, measure them, and write them with a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Train the weights that read digits (needs the extra `train`).", no_args_is_help=True
)

Data = Annotated[
    Path,
    typer.Option(metavar="DIR", help="Folder of the digit sets: mnist.npz and its companions."),
]
Emnist = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of EMNIST's published .gz files, to train on too."),
]


def _examples(*lines: str) -> str:
    return "[bold]Examples[/]\n\n" + "\n\n".join(f"  $ {line}" for line in lines)


@app.callback()
def _train() -> None:
    """The group; each reader has its own command."""


@app.command(
    epilog=_examples(
        "counterfoil train glyphs --data digits/ --out runs/glyphs",
        "counterfoil train glyphs --data digits/ --emnist emnist/ --out runs/with-emnist",
        "counterfoil train glyphs --data digits/ --out runs/glyphs --resume",
        "counterfoil train glyphs --data digits/ --out runs/trial --epochs 2 --limit 5000",
    )
)
def glyphs(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the run into.")],
    emnist: Emnist = None,
    emnist_split: Annotated[
        str, typer.Option(metavar="SPLIT", help="Which of EMNIST's splits: digits or byclass.")
    ] = "digits",
    epochs: Annotated[int, typer.Option(min=1, help="Before the finish, at most.")] = 100,
    batch_size: Annotated[int, typer.Option(min=1, help="Digits a step.")] = 256,
    learning_rate: Annotated[float, typer.Option(min=1e-6, max=1.0, help="Of Adam, at first.")] = (
        1e-3
    ),
    finish: Annotated[
        int, typer.Option(min=0, help="Last epochs: images changed less, the rate falls to none.")
    ] = 8,
    seed: Annotated[int, typer.Option(help="Of all that is random, writers held out too.")] = 1,
    workers: Annotated[
        int, typer.Option(min=0, help="Threads that vary the digits; 0: as the machine has cores.")
    ] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Digits of each set, for a quick trial.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    only_export: Annotated[
        bool,
        typer.Option("--only-export", help="Do not train: convert and measure the run in --out."),
    ] = False,
) -> None:
    """Train the CNN of the glyph reader; write weights, a card and a report with pictures.

    Digits of held-out writers decide when the rate falls and when to stop. The weights are
    converted to int8 LiteRT, calibrated on the same writers, and measured on sets they never saw.
    """
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    from training.export import export_run
    from training.glyphs import GlyphRun, train_glyphs
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
