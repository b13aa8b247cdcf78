"""``schoolkeeper-policy``: write, check, try, compare and compile policy packs."""

from __future__ import annotations

import typer

from schoolkeeper_policies.cli import (
    agreement,
    asking,
    basic,
    changes,
    export,
    notice,
    override,
    trying,
    writing,
)
from schoolkeeper_policies.version_option import add_version

app = typer.Typer(
    help="Write, check, try, compare and compile the school's policy.\n\n"
    "Exit status: 0 done and well; 1 mistakes, failed tests or what the command looks for; 2 wrong use.",
    no_args_is_help=True,
    add_completion=False,
)
add_version(app, "schoolkeeper-policy", "schoolkeeper-policies")
for command in (
    basic.check,
    trying.test,
    basic.compile_,
    basic.packs,
    asking.explain,
    changes.plan,
    changes.diff,
    trying.match,
    writing.init,
    writing.fmt,
    export.export,
    export.coverage,
    notice.notice,
    agreement.agreement,
):
    app.command(name=command.__name__.rstrip("_"))(command)
app.add_typer(override.app, name="override")


def main() -> None:
    app()
