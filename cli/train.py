"""`counterfoil train`: train the weights of a reader, measure them, and write them with a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Train the weights that read, and adapt them to a site (needs the extra `train`).",
    no_args_is_help=True,
)

Data = Annotated[
    Path,
    typer.Option(metavar="DIR", help="Folder of the digit sets: mnist.npz and its companions."),
]
Emnist = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of EMNIST's published .gz files, to train on too."),
]

SiteData = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data directory that `counterfoil up` uses."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


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
    epilog=_examples(
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
            help="Verified fields, in any form that `evaluate` reads: a folder with labels, a CSV "
            "file, or an export beside the scans. May be repeated.",
        ),
    ],
    field: Annotated[
        str, typer.Option(metavar="GRAMMAR", help="What the fields hold, as in a template.")
    ] = "digits",
    template: Annotated[
        str | None,
        typer.Option("--template", "-t", metavar="NAME|PATH", help="What each field holds."),
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0.1, max=0.6, help="Share of the fields to compare on, by file.")
    ] = 0.3,
    passes: Annotated[int, typer.Option(min=1, max=500, help="Over the verified fields.")] = 40,
    seed: Annotated[int, typer.Option(help="Of all that is random, what is held out too.")] = 1,
    data: SiteData = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train and compare, but promote nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Adapt the strip reader to this site's hands; it reads from then on only if it is better.

    A few minutes. A part of the fields is held out; the adapted weights win if they read
    significantly more of these exactly, are not wrong more often where they are sure, and do not
    forget other hands (docs/adaptation.md). Ctrl-C leaves everything as it was.
    """
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    from cli import train_adapt as site
    from training.adaptation.fine_tune import Tuning

    site.adapt(
        corrections,
        field=field,
        template=template,
        tuning=Tuning(held_out=held_out, passes=passes, seed=seed),
        home=data,
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command(epilog=_examples("counterfoil train back", "counterfoil train back --json"))
def back(data: SiteData = None, as_json: AsJson = False) -> None:
    """Go one step back: to the strip reader that the current one was adapted from."""
    from cli import train_adapt as site

    site.back(data, as_json=as_json)


@app.command(epilog=_examples("counterfoil train models", "counterfoil train models --json"))
def models(data: SiteData = None, as_json: AsJson = False) -> None:
    """List the strip readers of this site, with their scores and which one reads."""
    from cli import train_adapt as site

    site.models(data, as_json=as_json)
