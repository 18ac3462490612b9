"""Options and arguments that several commands share, and the examples below a help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Address of the server. Default: COUNTERFOIL_URL, else this computer."
    ),
]
ClientHome = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Data folder of a running `counterfoil up`, to use its key."
    ),
]
ServerHome = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data folder that `counterfoil up` uses."),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--template",
        "-t",
        metavar="NAME|FILE",
        help="Says where the fields are: the name of a bundled or stored template, or a YAML file.",
    ),
]
TemplatesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        "-t",
        metavar="NAME|FILE|DIR",
        help="Says where the fields are: the name of a bundled or stored template or set, a YAML "
        "file, or a folder of them. Repeatable: each page is read with the one that fits it.",
    ),
]
ReleaseAt = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        metavar="P",
        help="Accept a field whose confidence is at least P, from 0 to 1. Without this option, "
        "a person reviews every field.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object per page.")]
BatchId = Annotated[
    str, typer.Argument(metavar="BATCH", help="The batch id that `counterfoil submit` printed.")
]
Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE", help='Files, folders, or patterns such as "scans/*.tif".'),
]


def examples(*lines: str) -> str:
    """Return the examples as the epilog of a command's help."""
    return "[bold]Examples[/]\n\n" + "\n\n".join(f"  $ {line}" for line in lines)
