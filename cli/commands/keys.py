"""The options of `counterfoil keys`: create, list, revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands.options import AsJson, ServerHome, examples

app = typer.Typer(
    help="Create, list and revoke API keys. Run this on the server, where the database is.",
    no_args_is_help=True,
)

Tenant = Annotated[
    str,
    typer.Option(help="The organisation that the key is for. One never sees another's batches."),
]


@app.command(epilog=examples('counterfoil keys create "scanner room"'))
def create(
    name: Annotated[str, typer.Argument(help="A name for this key, for people.")],
    tenant: Tenant = "default",
    data: ServerHome = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it. It cannot be shown again."""
    from cli import keys

    raise typer.Exit(keys.create(name, tenant=tenant, home=data, as_json=as_json))


@app.command("list", epilog=examples("counterfoil keys list"))
def list_all(data: ServerHome = None, as_json: AsJson = False) -> None:
    """List the keys, without their secret parts."""
    from cli import keys

    raise typer.Exit(keys.list_all(home=data, as_json=as_json))


@app.command(epilog=examples("counterfoil keys revoke 0193c2…"))
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The id that `keys list` shows.")],
    tenant: Tenant = "default",
    data: ServerHome = None,
) -> None:
    """Revoke a key. It stops working at once."""
    from cli import keys

    raise typer.Exit(keys.revoke(key, tenant=tenant, home=data))
