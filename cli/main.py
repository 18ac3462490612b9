"""The command `counterfoil`. A command loads what it needs when it runs, so that help is quick.

The options of each command are in `cli/commands/`, what it does in the modules beside this one.
"""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.commands import batches, keys, people, reading, template, train
from cli.commands.options import ServerHome, examples
from core.errors import CounterfoilError


class _Commands(TyperGroup):
    """Prints a CounterfoilError as a sentence on stderr and exits with the error's status."""

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
    help="Counterfoil reads handwritten numbers from scanned cheques and forms, in bulk.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with [bold]counterfoil up[/], then [bold]counterfoil submit --wait FOLDER[/]. "
    "Without a server: [bold]counterfoil read FILE[/].",
)


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
    debug: Annotated[
        bool, typer.Option("--debug", help="On an error, show where in the program it arose.")
    ] = False,
) -> None:
    """See `app` for the help; `show_version` acts in its callback, `debug` in `_Commands`."""


@app.command(
    epilog=examples("counterfoil up", "counterfoil up --data /srv/scans --port 9000 --workers 4")
)
def up(
    data: ServerHome = None,
    host: Annotated[str | None, typer.Option(help="Network address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes any free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Number of processes that read pages.")
    ] = None,
) -> None:
    """Run the whole of Counterfoil on this computer until Ctrl-C."""
    from cli.local.up import run_stack
    from core.settings import load_settings

    run_stack(load_settings(home=data, host=host, port=port, workers=workers))


@app.command(epilog=examples("counterfoil serve migrate", "counterfoil serve worker"))
def serve(
    role: Annotated[
        str, typer.Argument(metavar="ROLE", help="migrate, api, worker, intake or dispatcher.")
    ],
) -> None:
    """Run one process of an installation on several servers, until SIGTERM."""
    from cli.local.roles import serve

    serve(role)


app.add_typer(batches.app)
app.add_typer(reading.app)


@app.command(epilog=examples("counterfoil playground", "counterfoil playground --port 7861"))
def playground(
    host: Annotated[str, typer.Option(help="Network address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any free one.")] = 7860,
) -> None:
    """Open a web page to upload or draw digits and watch how they are read."""
    from cli.playground import serve

    serve(host, port)


app.add_typer(people.app)
app.add_typer(keys.app, name="keys")
app.add_typer(template.app, name="template")
app.add_typer(train.app, name="train")


if __name__ == "__main__":
    app()
