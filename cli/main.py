"""The command `counterfoil`. Each command loads what it needs when it runs, so help is quick."""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli import template as templates
from cli import train
from core.errors import CounterfoilError


class _Commands(TyperGroup):
    """Turns the errors of the tree into a sentence on stderr and the exit status they state."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CounterfoilError as exc:
            if ctx.params.get("debug"):
                traceback.print_exc()
            print(f"counterfoil: {exc}", file=sys.stderr)
            raise typer.Exit(exc.exit_code) from exc


app = typer.Typer(
    cls=_Commands,
    help="Reads handwritten numbers off scanned cheques and forms, in bulk, into a database.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with [bold]counterfoil up[/], then [bold]counterfoil submit --wait FOLDER[/]. "
    "Without a server: [bold]counterfoil read FILE[/].",
)
keys = typer.Typer(
    help="Make, list and revoke API keys (where the database is).", no_args_is_help=True
)
app.add_typer(keys, name="keys")
app.add_typer(templates.app, name="template")
app.add_typer(train.app, name="train")


def _examples(*lines: str) -> str:
    return "[bold]Examples[/]\n\n" + "\n\n".join(f"  $ {line}" for line in lines)


Url = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The API. Default: COUNTERFOIL_URL, else this machine."),
]
Home = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Data directory of the `counterfoil up` to find the key of."
    ),
]
ServerHome = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data directory that `counterfoil up` uses."),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--template", "-t", metavar="NAME|PATH", help="Where the fields are: a name or YAML file."
    ),
]
ReleaseAt = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        metavar="P",
        help="Accept fields of at least this confidence. Without it, all go to review.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="The id that `submit` printed.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"counterfoil {version('counterfoil')}")
        raise typer.Exit


@app.callback()
def _main(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """See `app` for the help; `show_version` acts in its callback, `debug` in `_Commands`."""


@app.command(
    epilog=_examples("counterfoil up", "counterfoil up --data /srv/scans --port 9000 --workers 4")
)
def up(
    data: ServerHome = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Reading processes.")] = None,
) -> None:
    """Run all of Counterfoil on this machine until Ctrl-C: API, workers, queue, database."""
    from cli.local.up import run_stack
    from core.settings import load_settings

    run_stack(load_settings(home=data, host=host, port=port, workers=workers))


@app.command(epilog=_examples("counterfoil serve migrate", "counterfoil serve worker"))
def serve(
    role: Annotated[
        str, typer.Argument(metavar="ROLE", help="migrate, api, worker, intake or dispatcher.")
    ],
) -> None:
    """Be one process of a system on servers, as containers run it, until SIGTERM."""
    from cli.local.roles import serve

    serve(role)


@app.command(
    epilog=_examples(
        "counterfoil submit --template demo-cheque --wait scans/",
        'counterfoil submit -t nist-hsf "inbox/*.tif" --name "Monday morning"',
        "counterfoil submit --release-at 0.999 -t ./our-form.yaml a.pdf b.zip",
    )
)
def submit(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, folders or patterns.")
    ],
    template: TemplateOption = None,
    name: Annotated[str, typer.Option(help="What people call this batch.")] = "",
    release_at: ReleaseAt = None,
    url: Url = None,
    data: Home = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait; exit with 0 only if every page was read.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Upload files as one batch and print its id."""
    from cli import batches

    status = batches.submit(
        paths,
        template=template,
        name=name,
        release_at=release_at,
        url=url,
        home=data,
        wait=wait,
        as_json=as_json,
    )
    raise typer.Exit(status)


@app.command(epilog=_examples("counterfoil status 0193c2…", "counterfoil status 0193c2… --json"))
def status(batch: BatchId, url: Url = None, data: Home = None, as_json: AsJson = False) -> None:
    """Say how far a batch is."""
    from cli import batches

    raise typer.Exit(batches.status(batch, url=url, home=data, as_json=as_json))


@app.command(epilog=_examples("counterfoil retry 0193c2…", "counterfoil retry 0193c2… --json"))
def retry(batch: BatchId, url: Url = None, data: Home = None, as_json: AsJson = False) -> None:
    """Try again the pages and files of a batch that were set aside."""
    from cli import batches

    raise typer.Exit(batches.retry(batch, url=url, home=data, as_json=as_json))


@app.command(
    epilog=_examples(
        "counterfoil results 0193c2…",
        "counterfoil results 0193c2… --json | jq '.fields[].value'",
        "counterfoil results 0193c2… --csv > monday.csv",
    )
)
def results(
    batch: BatchId,
    url: Url = None,
    data: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a page.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One row a page.")] = False,
) -> None:
    """Print what was read in a batch, page by page."""
    from cli import batches

    raise typer.Exit(batches.results(batch, url=url, home=data, as_json=as_json, as_csv=as_csv))


@app.command(
    epilog=_examples(
        "counterfoil export 0193c2… --out monday.xlsx",
        "counterfoil export 0193c2… --format jsonl > monday.jsonl",
        "counterfoil export 0193c2… --to ledger --table cheques",
    )
)
def export(
    batch: BatchId,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="csv|jsonl|xlsx", help="Default: from --out, else csv."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: standard output.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="TARGET", help="A database that the server knows by this name."),
    ] = None,
    table: Annotated[str | None, typer.Option(metavar="T", help="The table there.")] = None,
    url: Url = None,
    data: Home = None,
) -> None:
    """Write a batch into a file, or into a table of a database."""
    from cli import batches

    raise typer.Exit(
        batches.export(batch, form=form, out=out, to=to, table=table, url=url, home=data)
    )


@app.command(
    epilog=_examples(
        "counterfoil read --template nist-hsf scan.png",
        'counterfoil read --field "digits(1,7)" amount.jpg',
        "counterfoil read notes.jpg scans.pdf --json | jq .",
        "counterfoil read --template demo-form form.png --draw pictures/",
    )
)
def read(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files, folders or patterns.")
    ],
    template: TemplateOption = None,
    field: Annotated[
        str | None,
        typer.Option(
            "--field",
            "-f",
            metavar="GRAMMAR",
            help="Take each image as one field that may hold this, e.g. digits(1,7).",
        ),
    ] = None,
    release_at: ReleaseAt = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a page.")] = False,
    draw: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write each page there, with the readings on it."),
    ] = None,
) -> None:
    """Read files here and now, with no server. Exits with 3 if a page could not be read."""
    from cli.read import read_files

    raise typer.Exit(
        read_files(
            files,
            template=template,
            field=field,
            release_at=release_at,
            as_json=as_json,
            draw=draw,
        )
    )


@app.command(
    epilog=_examples(
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
            metavar="SET", help="A folder with labels.json or labels.csv, or such a file."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the report there: one HTML file with pictures."),
    ] = None,
    template: TemplateOption = None,
    field: Annotated[
        str,
        typer.Option("--field", "-f", metavar="GRAMMAR", help="What may stand in an image."),
    ] = "digits",
    reader: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="May be repeated. Default: all.")
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(metavar="START:STEP", help="Only every STEPth image from START, e.g. 0:2."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Images at most.")] = None,
    ignore: Annotated[
        str,
        typer.Option(
            metavar="CHARS", help='Characters that do not count, e.g. ".,". Default: none.'
        ),
    ] = "",
    ignore_leading_zeros: Annotated[
        bool, typer.Option("--ignore-leading-zeros", help="007 and 7 are the same.")
    ] = False,
    ignore_zero_minor: Annotated[
        bool,
        typer.Option(
            "--ignore-zero-minor", help="A minor unit of nothing does not count: 12.00 is 12."
        ),
    ] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="Do not read with Tesseract and RapidOCR as well.")
    ] = False,
    rapidocr: Annotated[
        Path | None, typer.Option(metavar="PYTHON", help="The interpreter that has RapidOCR.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well a labelled set is read, beside other systems, with a report to look at."""
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


@app.command(epilog=_examples("counterfoil playground", "counterfoil playground --port 7861"))
def playground(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
) -> None:
    """Open a page to upload or draw digits and watch how they are read (extra `playground`)."""
    from cli.playground import serve

    serve(host, port)


Tenant = Annotated[str, typer.Option(help="Whose key: tenants never see each other's batches.")]


@keys.command("create", epilog=_examples('counterfoil keys create "scanner room"'))
def keys_create(
    name: Annotated[str, typer.Argument(help="What people call this key.")],
    tenant: Tenant = "default",
    data: ServerHome = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once."""
    from cli import keys as run

    raise typer.Exit(run.create(name, tenant=tenant, home=data, as_json=as_json))


@keys.command("list", epilog=_examples("counterfoil keys list"))
def keys_list(data: ServerHome = None, as_json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    from cli import keys as run

    raise typer.Exit(run.list_all(home=data, as_json=as_json))


@keys.command("revoke", epilog=_examples("counterfoil keys revoke 0193c2…"))
def keys_revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The id that `keys list` shows.")],
    tenant: Tenant = "default",
    data: ServerHome = None,
) -> None:
    """End a key at once."""
    from cli import keys as run

    raise typer.Exit(run.revoke(key, tenant=tenant, home=data))


if __name__ == "__main__":
    app()
