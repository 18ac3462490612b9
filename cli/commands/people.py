"""The options of `counterfoil sign-in`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands.options import AsJson, ServerHome, examples
from core.roles import Role

app = typer.Typer()


@app.command(
    "sign-in",
    epilog=examples("counterfoil sign-in", 'counterfoil sign-in "Ada Lovelace" --role verifier'),
)
def sign_in(
    name: Annotated[
        str | None,
        typer.Argument(help="Who signs in; your own name on this computer unless given."),
    ] = None,
    role: Annotated[
        Role, typer.Option(help="What the person may do, if the name is new.")
    ] = Role.ADMIN,
    tenant: Annotated[str, typer.Option(help="The organisation of the person.")] = "default",
    url: Annotated[
        str | None, typer.Option(help="Address of the server as the person's browser reaches it.")
    ] = None,
    data: ServerHome = None,
    as_json: AsJson = False,
) -> None:
    """Print an address that signs a person in, once. Run this on the server."""
    from cli import people

    raise typer.Exit(
        people.sign_in(name, role=role, tenant=tenant, url=url, home=data, as_json=as_json)
    )
