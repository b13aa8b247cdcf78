"""``init`` and ``fmt``: a new pack, and one form for its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from schoolkeeper_policies.cli.shared import fail, wrong_use
from schoolkeeper_policies.fmt import format_text
from schoolkeeper_policies.init import QUESTIONS, AnswerMistake, Asked, read_answers, write_pack
from schoolkeeper_policies.problems import PolicyError, Position, Problem


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder for the pack.")],
    answers: Annotated[
        Path | None, typer.Option(help="YAML with an answer per question, for scripts; nothing is asked.")
    ] = None,
    questions: Annotated[
        bool, typer.Option("--questions", help="Only print a file of answers to fill in.")
    ] = False,
) -> None:
    """Ask what a school must answer, and write a pack that passes check.

    Exit status: 0 written; 1 an answer cannot be used, and nothing is written; 2 wrong use.
    """
    if questions:
        typer.echo("\n".join(_template()))
        return
    try:
        values = _asked() if answers is None else read_answers(answers.read_text("utf-8"), file=str(answers))
        write_pack(folder, values)
    except PolicyError as error:
        fail(error)
    except OSError as error:
        remedy = "name a file of answers that can be read, and a folder that can be written to"
        wrong_use(f"{error.filename} cannot be used ({error.strerror}); {remedy}")
    except UnicodeDecodeError as error:
        wrong_use(f"{answers} is not UTF-8 at byte {error.start}; save it as UTF-8")
    typer.echo(f"{folder}: written; now: schoolkeeper-policy check {folder}")


def _template() -> Iterator[str]:
    for asked in QUESTIONS:
        yield f"# {asked.question} {asked.help}"
        yield f'{asked.key}: "{asked.default}"'


def _asked() -> dict[str, Any]:
    return {asked.key: _ask(asked) for asked in QUESTIONS}


def _ask(asked: Asked) -> Any:
    typer.echo(f"\n{asked.question}\n  {asked.help}")
    while True:
        given = typer.prompt("  answer", default=asked.default, show_default=bool(asked.default))
        try:
            return asked.read(str(given))
        except AnswerMistake as error:
            typer.echo(f"  that cannot be used; {error}", err=True)


def fmt(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of them.")],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; only say which would change.")
    ] = False,
) -> None:
    """Put a pack's files into one form; comments stay, the meaning too.

    Exit status: 0 done, or nothing to do; 1 with --check: some would change, or a file is refused; 2 wrong use.
    """
    files = [
        path for given in paths for path in (sorted(given.rglob("*.yaml")) if given.is_dir() else [given])
    ]
    if missing := [path for path in files if not path.is_file()]:
        wrong_use(f"there is no file {missing[0]}; name a file of YAML, or a folder of them")
    problems: list[Problem] = []
    changed = 0
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
            formed = format_text(text, file=str(path))
        except PolicyError as error:
            problems += error.problems
            continue
        except UnicodeDecodeError as error:
            at = Position(file=str(path))
            reason = f"not UTF-8 at byte {error.start}"
            problems.append(Problem(position=at, reason=reason, remedy="save it as UTF-8"))
            continue
        if formed != text:
            changed += 1
            typer.echo(f"{path}: {'would change' if check else 'put into form'}")
            if not check:
                path.write_text(formed, encoding="utf-8")
    if problems:
        fail(PolicyError(problems))
    if check and changed:
        raise typer.Exit(1)
