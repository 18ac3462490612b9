"""The options of `counterfoil template`: new, check, add, list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import AsJson, ServerHome, examples

app = typer.Typer(
    help="Start, check and store templates. A template says where the fields of a page are.",
    no_args_is_help=True,
)


@app.command(
    epilog=examples(
        "counterfoil template new empty-form.png",
        "counterfoil template new scan.jpg --name travel-claim --out templates/travel.yaml",
        "counterfoil template new handbook.pdf --page 3 --json",
    )
)
def new(
    image: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A scan of the page, best an empty one: an image or a PDF."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The template to write. Default: NAME.yaml."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG", help="Where to draw the fields. Default: next to the template."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The template's name. Default: the name of the image.")
    ] = None,
    page: Annotated[int, typer.Option(metavar="N", min=1, help="The page of a PDF or a TIFF.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was found as one JSON object.")
    ] = False,
) -> None:
    """Start a template: find the boxes and blanks printed on a page and number them."""
    from cli.template_new import new_template

    print(new_template(image, out, picture, name, as_json=as_json, number=page))


@app.command(
    epilog=examples(
        "counterfoil template check my-form.yaml",
        "counterfoil template check templates/",
        "counterfoil template check my-form.yaml --image scan.png --out placed.png",
    )
)
def check(
    templates: Annotated[
        list[str],
        typer.Argument(
            metavar="TEMPLATE",
            help="A YAML file, a folder of them, or the name of a bundled or stored one. Of "
            "several it is also checked that their pages can be told apart.",
        ),
    ],
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A scan (image or PDF) on which to place the template."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Where to draw the placed fields. Default: placed.png."),
    ] = None,
) -> None:
    """Check templates and list their fields. With --image, draw the fields on a scan."""
    from cli.template_check import check_templates

    if out is not None and image is None:
        raise typer.BadParameter("--out needs --image: a scan to draw on.")
    print(check_templates(templates, image, out or Path("placed.png")))


@app.command(
    epilog=examples(
        "counterfoil template add travel-claim.yaml",
        "counterfoil template add claims/*.yaml invoice.yaml --set office",
        "counterfoil submit --template office pile.pdf",
    )
)
def add(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="YAML files, or folders of them.")
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--set",
            metavar="NAME",
            help="The name to use them by. Default: the name of the template, if it is one.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace what is stored under that name.")
    ] = False,
    data: ServerHome = None,
) -> None:
    """Store templates under a name on this computer, for --template NAME.

    A server uses those of its own data folder.
    """
    from cli.template_store import add_templates

    print(add_templates(files, name, data, replace=replace))


@app.command("list", epilog=examples("counterfoil template list"))
def list_all(data: ServerHome = None, as_json: AsJson = False) -> None:
    """List the bundled and the stored templates of this computer by name."""
    from cli.template_store import list_templates

    print(list_templates(data, as_json=as_json))
