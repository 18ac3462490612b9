"""The options of the commands that read on this computer, with no server: read and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import (
    AsJson,
    Files,
    JsonLines,
    ReleaseAt,
    TemplateOption,
    TemplatesOption,
    examples,
)

app = typer.Typer()


@app.command(
    epilog=examples(
        "counterfoil read --template nist-hsf scan.png",
        'counterfoil read --field "digits(1,7)" amount.jpg',
        "counterfoil read --template cheque-in --template our-form.yaml pile.pdf",
        "counterfoil read notes.jpg scans.pdf --json | jq .",
        "counterfoil read --template demo-form form.png --draw pictures/",
    )
)
def read(
    files: Files,
    template: TemplatesOption = None,
    field: Annotated[
        str | None,
        typer.Option(
            "--field",
            "-f",
            metavar="GRAMMAR",
            help="Each image is one field; this says what the field may hold, e.g. digits(1,7).",
        ),
    ] = None,
    release_at: ReleaseAt = None,
    as_json: JsonLines = False,
    draw: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Also write a picture of each page there, with the values on it."
        ),
    ] = None,
) -> None:
    """Read files on this computer, with no server.

    Exits with 3 if a page could not be read, or if something in a file was passed over.
    """
    from cli.read import read_files

    raise typer.Exit(
        read_files(
            files,
            templates=template or [],
            field=field,
            release_at=release_at,
            as_json=as_json,
            draw=draw,
        )
    )


@app.command(
    epilog=examples(
        "counterfoil evaluate labelled/ --out report.html",
        'counterfoil evaluate amounts/ --field "amount(INR)" --ignore ".," --select 0:2',
        "counterfoil evaluate cheques.csv --template our-cheque.yaml --out report.html",
        "counterfoil evaluate labelled/ --alone --json | jq '.systems[].exact'",
    )
)
def evaluate(
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="SET",
            help="Images with their correct values: a folder with labels.json or labels.csv, or "
            "such a file.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a report there: one HTML file with pictures."),
    ] = None,
    template: TemplateOption = None,
    field: Annotated[
        str,
        typer.Option(
            "--field", "-f", metavar="GRAMMAR", help="What the field in each image may hold."
        ),
    ] = "digits",
    reader: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Use only this reader. Repeatable. Default: all."),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            metavar="START:STEP",
            help="Use every STEPth image, from number START (the first is 0); 0:2 is one half.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use at most so many images.")] = None,
    ignore: Annotated[
        str,
        typer.Option(
            metavar="CHARS", help='Characters that are not compared, e.g. ".,". Default: none.'
        ),
    ] = "",
    ignore_leading_zeros: Annotated[
        bool, typer.Option("--ignore-leading-zeros", help="Treat 007 and 7 as equal.")
    ] = False,
    ignore_zero_minor: Annotated[
        bool, typer.Option("--ignore-zero-minor", help="Treat 12.00 and 12 as equal.")
    ] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="Do not compare with Tesseract and RapidOCR.")
    ] = False,
    rapidocr: Annotated[
        Path | None,
        typer.Option(metavar="PYTHON", help="The Python interpreter that has RapidOCR installed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well labelled images are read, side by side with other systems."""
    from cli.evaluate import evaluate
    from training.evaluation.measure import Comparison

    evaluate(
        labels,
        out=out,
        template=template,
        field=field,
        readers=reader or [],
        select=select,
        limit=limit,
        comparison=Comparison(ignore, ignore_leading_zeros, ignore_zero_minor),
        alone=alone,
        rapidocr=rapidocr,
        as_json=as_json,
    )
