"""``--version`` of a program made with typer."""  # no postponed annotations: typer evaluates them outside this call

from typing import Annotated

import typer

from schoolkeeper_proto.installed import version_of


def add_version(app: typer.Typer, program: str, distribution: str) -> None:
    """The version of the distribution that is installed here."""

    def show(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{program} {version_of(distribution)}")
            raise typer.Exit

    @app.callback()
    def options(
        version: Annotated[
            bool, typer.Option("--version", callback=show, is_eager=True, help="Print the version and end.")
        ] = False,
    ) -> None:
        del version
