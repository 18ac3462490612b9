"""`counterfoil template`: start a template, check it, and look at where it falls on a scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import InputError, TemplateError

if TYPE_CHECKING:
    from pipeline.placing.template import Template
    from pipeline.types import Box

app = typer.Typer(
    help="Start and check templates: where the fields of a page are.", no_args_is_help=True
)


@app.command(
    epilog="[bold]Examples[/]\n\n  $ counterfoil template new empty-form.png\n\n"
    "  $ counterfoil template new scan.jpg --name travel-claim --out templates/travel.yaml\n\n"
    "  $ counterfoil template new scan.jpg --json"
)
def new(
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="A JPEG or PNG of a page, best an empty one.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The template to write. Default: NAME.yaml."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Where to draw the boxes. Default: beside the template."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The template's name. Default: the image's.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Tell what was found as one JSON object.")
    ] = False,
) -> None:
    """Start a template: propose the boxes, combs and blanks found on a page, numbered."""
    from cli.template_new import new_template

    print(new_template(image, out, picture, name, as_json=as_json))


@app.command(
    epilog="[bold]Examples[/]\n\n  $ counterfoil template check my-form.yaml\n\n"
    "  $ counterfoil template check my-form.yaml --image scan.png --out placed.png"
)
def check(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A YAML file, or a bundled name.")],
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A JPEG or PNG scan to place it on.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Where to draw the placed boxes. Default: placed.png."),
    ] = None,
) -> None:
    """Check a template and list its fields; with --image, draw them on a scan."""
    if out is not None and image is None:
        raise typer.BadParameter("--out needs --image: a scan to draw on.")
    print(check_template(path, image, out or Path("placed.png")))


def check_template(path: str, image: Path | None, out: Path) -> str:
    """Return what there is to say about a good template; with `image`, write a picture to `out`.

    Raises TemplateError with the line and field of a mistake, or where the scan does not fit;
    InputError where a file cannot be read or written.
    """
    template = load_template(path)
    lines = [f"{template.name}: {template.title}, {len(template.fields)} fields, no mistakes."]
    width = max(len(f.name) for f in template.fields)
    lines += [
        f"  {f.name:<{width}}  {f.grammar.name}{'' if f.required else '  (may be empty)'}"
        for f in template.fields
    ]
    if image is not None:
        score = draw_fields(template, image, out)
        lines.append(f"It fits {image} with a score of {score:.2f}; drawn in {out}.")
    return "\n".join(lines)


def load_template(path: str) -> Template:
    """Return the template of a YAML file or of a bundled name; a file wins."""
    from pipeline.placing.template import bundled_names, bundled_template, parse_template
    from pipeline.placing.yaml_nodes import MAX_CHARACTERS

    file = Path(path)
    if not file.exists():
        if path in bundled_names():
            return bundled_template(path)
        raise InputError(
            f"there is no file {path}.", hint=f"Bundled are: {', '.join(bundled_names())}."
        )
    try:
        with file.open("rb") as stream:
            data = stream.read(4 * MAX_CHARACTERS + 1)
        return parse_template(data)
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}.") from exc
    except TemplateError as exc:
        raise TemplateError(f"{path}: {exc.message}", hint=exc.hint, code=exc.code) from exc


def draw_fields(template: Template, image: Path, out: Path) -> float:
    """Write `image` with the fields drawn on it to `out`, and return the placement's score."""
    import cv2
    import numpy as np

    from pipeline.files.page import decode_page
    from pipeline.geometry import corners, transform_points
    from pipeline.placing.register import register, righted

    try:
        page = decode_page(image.read_bytes())
    except OSError as exc:
        raise InputError(f"{image} cannot be read: {exc.strerror}.") from exc
    placement = register(page, template)
    picture = cv2.cvtColor(righted(page, placement.turn).grey, cv2.COLOR_GRAY2BGR)
    size = max(1, round(max(page.grey.shape) / 1200))
    names: dict[Box, list[str]] = {}  # the parts of an E-13B line share its place
    for field in template.fields:
        names.setdefault(placement.box(field), []).append(field.name)
    for box, name in names.items():
        quad = np.rint(transform_points(placement.matrix, corners(box)) - 0.5)
        cv2.polylines(picture, [quad.astype(np.int32)], True, (40, 40, 220), size)
        at = (int(quad[0, 0]), int(quad[0, 1]) - 3 * size)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(picture, ", ".join(name), at, font, 0.45 * size, (200, 80, 0), size)
    try:
        out.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    except OSError as exc:
        raise InputError(f"{out} cannot be written: {exc.strerror}.") from exc
    return placement.score
