"""Check, test, compile, list."""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from schoolkeeper_policies import model
from schoolkeeper_policies.checking.advice import advise
from schoolkeeper_policies.cli.shared import Pack, RegisterFile, fail
from schoolkeeper_policies.compile import compile_pack, register_of
from schoolkeeper_policies.detection.load import load_rules
from schoolkeeper_policies.detection.ruleset import RuleSet
from schoolkeeper_policies.matrices import expand
from schoolkeeper_policies.parse import load_pack, pack_folder, pack_names
from schoolkeeper_policies.problems import PolicyError, Problem


def check(pack: Pack) -> None:
    """Say every mistake in the pack, with file, line and column; then what is no mistake and worth a look."""
    found, detection = _load(pack)
    for one in advise(pack, datetime.now(ZoneInfo(found.school.time_zone)).date(), found):
        typer.echo(f"note: {one}")
    made = expand(found)
    rules = len(found.rules()) + len({rule.id for rule in (*made.applications, *made.sites)})
    by_hand = f", {len(made.incidents)} types of incident that people report" if made.incidents else ""
    typer.echo(
        f"{found.about.name}: {rules} rules, {len(found.groups)} groups, {len(detection.rules)} detection rules"
        f"{by_hand}"
    )


def compile_(
    pack: Pack,
    group: Annotated[str, typer.Option(help="The group of devices to compile for.")],
    school: Annotated[str, typer.Option(help="The school's id.")],
    out: Annotated[Path, typer.Option(help="Where to write the bundle.")],
    version: Annotated[int, typer.Option(help="The bundle's version; devices take only higher ones.", min=1)],
    register: RegisterFile = None,
) -> None:
    """Compile one group's bundle, with a new pseudonym key, to look at it; publishing is not done here."""
    try:
        people = register_of(load_pack(pack), pack_folder(pack), given=register)
        data = compile_pack(
            pack,
            school_id=school,
            group=group,
            version=version,
            compiled_at_unix_ms=time.time_ns() // 1_000_000,
            pseudonym_key=secrets.token_bytes(32),
            register=people,
        )
    except PolicyError as error:
        fail(error)
    out.write_bytes(data)
    typer.echo(f"{out}: {len(data)} bytes")


def packs() -> None:
    """List the packs that come with the product."""
    for name in pack_names():
        typer.echo(name)


def _load(pack: str) -> tuple[model.Pack, RuleSet]:
    """Both halves of a pack, or every mistake of both."""
    problems: set[Problem] = set()
    found: model.Pack | None = None
    detection: RuleSet | None = None
    try:
        found = load_pack(pack)
    except PolicyError as error:
        problems.update(error.problems)
    try:
        detection = load_rules(pack)
    except PolicyError as error:
        problems.update(error.problems)
    if found is None or detection is None:
        fail(PolicyError(list(problems)))
    return found, detection
