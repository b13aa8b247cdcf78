"""What several commands need: arguments, failing, now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto.notices import page

Pack = Annotated[str, typer.Argument(help="A folder, or the name of a pack that comes with the product.")]
Subject = Annotated[str, typer.Argument(help="A pack's folder or name, or the file of a compiled bundle.")]
Group = Annotated[str, typer.Option(help="The group of devices; a pack's first one by default.")]
RegisterFile = Annotated[
    Path | None,
    typer.Option("--register", help="The pack's register of people, if it does not lie where the pack says."),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON object, its form is stable.")]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def fail(error: PolicyError, code: int = 1) -> NoReturn:
    """Says every mistake and ends with ``code``."""
    for problem in error.problems:
        typer.echo(str(problem), err=True)
    mistakes = len(error.problems)
    typer.echo(f"{mistakes} mistake{'s' if mistakes != 1 else ''}", err=True)
    raise typer.Exit(code)


def wrong_use(reason: str) -> NoReturn:
    """The command was called in a way that makes no sense: exit 2."""
    typer.echo(reason, err=True)
    raise typer.Exit(2)


def write_documents(folder: Path, documents: Iterator[tuple[str, page.Document]]) -> None:
    """Each document under its name, as text and as a page to be printed; says how many files there are."""
    files = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, document in documents:
            (folder / f"{name}.txt").write_text(page.as_text(document), encoding="utf-8")
            (folder / f"{name}.html").write_text(page.as_page(document), encoding="utf-8")
            files += 2
    except OSError as error:
        wrong_use(f"{error.filename} cannot be written: {error.strerror}; choose another folder")
    typer.echo(f"{files} files in {folder}")
