"""What is decided for one person alone: why, sealed to those who protect children, and what the pack says of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from schoolkeeper_policies.cli.shared import Pack, RegisterFile, fail, wrong_use
from schoolkeeper_policies.compile import register_of
from schoolkeeper_policies.officer import memory, staged
from schoolkeeper_policies.officer.memory import Memory, MemoryFault
from schoolkeeper_policies.officer.school import School, read_school
from schoolkeeper_policies.parse import load_pack, pack_folder
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.reasons import ReasonError, pseudonym_of, readers_of, seal_reason
from schoolkeeper_proto.trust import TrustRefused

app = typer.Typer(help="Overrides for one person.", no_args_is_help=True)
_FAULTS = (ReasonError, MemoryFault, TrustRefused, staged.StagedError, OSError)


@app.callback()
def _group() -> None:
    """Overrides for one person."""


@app.command("seal")
def seal(
    pack: Pack,
    override: Annotated[str, typer.Option("--id", help="The override's id in the pack.")],
    person: Annotated[str, typer.Option(help="The person's id in the register; it goes into no file.")],
    school: Annotated[
        Path, typer.Option(help="The school's .skschool file: who may read the reason stands in it, signed.")
    ],
    root_hash: Annotated[str, typer.Option(help="The root hash on paper, as `init` printed it.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where the sealed reason goes; keep it outside the pack.")
    ],
    words: Annotated[
        Path | None,
        typer.Option(help="File with the reason; asked for without it, so that no history keeps it."),
    ] = None,
    register: RegisterFile = None,
) -> None:
    """Seal the reason of an override to the DSL, deputy and SENCO, and print what to write into the pack.

    Neither the pack nor the sealed file says who it is about; nobody without one of their keys can read why.
    """
    if out.exists():
        wrong_use(f"{out} exists already and is not overwritten: choose another name")
    try:
        held = _school(school, root_hash)
        people = register_of(load_pack(pack), pack_folder(pack), given=register)
        if people is None:
            wrong_use(
                "the pack names no register, so that no person can be told by an id: people, register, file"
            )
        pseudonym = pseudonym_of(people, person, _pseudonym_key(held))
        said = (
            words.read_text(encoding="utf-8") if words is not None else typer.prompt("Why", hide_input=True)
        )
        sealed = seal_reason(
            said, override_id=override, school_id=held.school_id, recipients=readers_of(held.statement)
        )
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(sealed.file)
    except PolicyError as error:
        fail(error)
    except UnicodeDecodeError as error:
        wrong_use(f"{words} is not UTF-8 at byte {error.start}: save it as UTF-8")
    except _FAULTS as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    names = ", ".join(sorted(one.name for one in readers_of(held.statement)))
    typer.echo(f"# {out}: opens for {names}. In the pack's overrides:", err=True)
    typer.echo(f"- id: {override}\n  pseudonym: {pseudonym}\n  reason_hash: {sealed.hash}")


def _school(path: Path, root_hash: str) -> School:
    """Verified from the root on paper: a false file would let somebody else read the reason."""
    return read_school(staged.read_staged(path), Memory(root_sha256=memory.parse_root_hash(root_hash)))


def _pseudonym_key(school: School) -> bytes:
    """The school's own; every bundle carries it, since devices make the pseudonyms."""
    for bundle in school.bundles.values():
        return bundle.collection.pseudonym_key
    raise ReasonError(
        "nothing is published yet, so that the school has no pseudonyms: publish a policy first"
    )
