"""``schoolkeeper-officer open-reason``: why one person has an override, for those to whom it was sealed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from schoolkeeper_policies.filekinds import wrong_kind
from schoolkeeper_policies.officer.asking import guarded, open_keys
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.reasons import ReasonError, open_reason

Key = Annotated[Path, typer.Option(help="The officer's key file.")]


def open_reason_(
    file: Annotated[
        Path, typer.Argument(help="The sealed reason, from `schoolkeeper-policy override seal`.")
    ],
    key: Key,
    pack: Annotated[str, typer.Option(help="The pack whose override it belongs to.")] = "",
    reason_hash: Annotated[
        str, typer.Option("--hash", help="Or the override's reason_hash, as the pack or a plan shows it.")
    ] = "",
) -> None:
    """Read the reason, if it is the one that was decided on. Only the DSL, deputy and SENCO can."""
    if bool(pack) is bool(reason_hash):
        raise typer.BadParameter("give --pack or --hash: words are shown only if they are those decided on")
    keys = open_keys(key)

    def work() -> str:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
        wanted = reason_hash.strip().lower() or _hash_in(pack, text)
        return open_reason(text, reason_hash=wanted, private_key=keys.sealing)

    typer.echo(guarded(work))


def _hash_in(pack: str, file: str) -> str:
    try:
        override = json.loads(file)["override"]
    except (ValueError, KeyError, TypeError) as error:
        remedy = "take the one that `override seal` wrote"
        data = file.encode(errors="surrogateescape")
        raise ReasonError(wrong_kind("the file", "a sealed reason", data, remedy)) from error
    for one in load_pack(pack).overrides:
        if one.id == override:
            return one.reason_hash
    raise ReasonError(f"the pack has no override {override!r}: name the pack that has it, or give --hash")
