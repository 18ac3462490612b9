"""The options of the commands that talk to a server, submit to export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import (
    AsJson,
    BatchId,
    ClientHome,
    Files,
    JsonLines,
    ReleaseAt,
    TemplatesOption,
    Url,
    examples,
)

app = typer.Typer()


@app.command(
    epilog=examples(
        "counterfoil submit --template demo-cheque --wait scans/",
        "counterfoil submit --template our-templates/ --wait pile.pdf",
        'counterfoil submit -t nist-hsf "inbox/*.tif" --name "Monday morning"',
        "counterfoil submit --release-at 0.999 -t ./our-form.yaml a.pdf b.zip",
        "counterfoil submit -t cheque-in --total 12345.50 --total-field amount pile.pdf",
    )
)
def submit(
    paths: Files,
    template: TemplatesOption = None,
    name: Annotated[str, typer.Option(help="A name for this batch, for people.")] = "",
    release_at: ReleaseAt = None,
    by_policy: Annotated[
        bool,
        typer.Option(
            "--by-policy", help="The release policy of the site decides, not --release-at."
        ),
    ] = False,
    url: Url = None,
    data: ClientHome = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Wait until all is read. Exits with 3 if a page was not read, or something in the "
            "files was passed over.",
        ),
    ] = False,
    as_json: AsJson = False,
    total: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT", help="Control total: what the values of --total-field should come to."
        ),
    ] = None,
    total_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="The field that --total is the sum of.")
    ] = None,
    expect: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="How many pages there should be.")
    ] = None,
    expect_files: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="How many files there should be.")
    ] = None,
) -> None:
    """Upload files as one batch and print the id of the batch."""
    from cli import batches

    status = batches.submit(
        paths,
        templates=template or [],
        name=name,
        release_at="policy" if by_policy else release_at,
        url=url,
        home=data,
        wait=wait,
        as_json=as_json,
        total=total,
        total_field=total_field,
        expect=expect,
        expect_files=expect_files,
    )
    raise typer.Exit(status)


@app.command(epilog=examples("counterfoil status 0193c2…", "counterfoil status 0193c2… --json"))
def status(
    batch: BatchId, url: Url = None, data: ClientHome = None, as_json: AsJson = False
) -> None:
    """Show how much of a batch has been read."""
    from cli import batches

    raise typer.Exit(batches.status(batch, url=url, home=data, as_json=as_json))


@app.command(epilog=examples("counterfoil retry 0193c2…", "counterfoil retry 0193c2… --json"))
def retry(
    batch: BatchId, url: Url = None, data: ClientHome = None, as_json: AsJson = False
) -> None:
    """Try the failed pages and files of a batch again, after their cause is mended."""
    from cli import batches

    raise typer.Exit(batches.retry(batch, url=url, home=data, as_json=as_json))


@app.command(
    epilog=examples(
        "counterfoil results 0193c2…",
        "counterfoil results 0193c2… --json | jq '.fields[].value'",
        "counterfoil results 0193c2… --csv > monday.csv",
    )
)
def results(
    batch: BatchId,
    url: Url = None,
    data: ClientHome = None,
    as_json: JsonLines = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one row per page.")] = False,
) -> None:
    """Print what was read in a batch, page by page."""
    from cli import batches

    raise typer.Exit(batches.results(batch, url=url, home=data, as_json=as_json, as_csv=as_csv))


@app.command(
    epilog=examples(
        "counterfoil verify 01a2… 0042",
        'counterfoil verify 01a2… "₹ 1,234.50" --if-version 2',
        'counterfoil verify 01a2… 42A --force --note "printed so on the form"',
        "counterfoil verify 01a2… --unreadable",
    )
)
def verify(
    field: Annotated[
        str,
        typer.Argument(metavar="FIELD", help="The field's id: column `field_id` of an export."),
    ],
    value: Annotated[
        str | None,
        typer.Argument(
            metavar="VALUE", help='What you read, or "" where nothing is written in the field.'
        ),
    ] = None,
    unreadable: Annotated[
        bool, typer.Option("--unreadable", help="Nobody can read the field.")
    ] = False,
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why; it is kept with the value.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Record a value that the field's grammar does not allow. Needs --note."
        ),
    ] = False,
    if_version: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Only if the field still has this version. Needed to replace what a person said.",
        ),
    ] = None,
    url: Url = None,
    data: ClientHome = None,
    as_json: AsJson = False,
) -> None:
    """Record what you read in a field. The value is checked against the field's grammar."""
    from cli import batches

    raise typer.Exit(
        batches.verify(
            field,
            value,
            unreadable=unreadable,
            note=note,
            force=force,
            version=if_version,
            url=url,
            home=data,
            as_json=as_json,
        )
    )


@app.command(
    epilog=examples(
        "counterfoil export 0193c2… --out monday.xlsx",
        "counterfoil export 0193c2… --format jsonl > monday.jsonl",
        "counterfoil export 0193c2… --to ledger --table cheques",
    )
)
def export(
    batch: BatchId,
    export_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="csv|jsonl|xlsx",
            help="Default: as the name of --out ends, else csv.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file to write. Default: standard output."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            help="Write into a database: its name in the server's setting "
            "COUNTERFOIL_EXPORT_TARGETS.",
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option(metavar="TABLE", help="The table of that database.")
    ] = None,
    url: Url = None,
    data: ClientHome = None,
) -> None:
    """Write a batch into a file, or into a table of a database."""
    from cli import batches

    raise typer.Exit(
        batches.export(
            batch, export_format=export_format, out=out, to=to, table=table, url=url, home=data
        )
    )
