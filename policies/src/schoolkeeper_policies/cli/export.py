"""``export`` and ``coverage``: the policy for devices that run no agent, and what each platform does with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from schoolkeeper_policies.cli.shared import AsJson, Group, Pack, fail, wrong_use
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.targets.common import WITHOUT, Level, Platform, Policy
from schoolkeeper_policies.targets.coverage import as_markdown, table
from schoolkeeper_policies.targets.exporters import ExportError, group_policy, write
from schoolkeeper_policies.targets.exporters import export as make
from schoolkeeper_proto.names import NameRefused, check_school_id

School = Annotated[str, typer.Option(help="The school's id: it is part of the identifiers in the files.")]
Platforms = Annotated[
    list[Platform] | None, typer.Option("--platform", help="A platform; several times; all without it.")
]


def export(
    pack: Pack,
    out: Annotated[Path, typer.Option(help="The folder to write to: one folder per platform.")],
    school: School,
    group: Group = "",
    platform: Platforms = None,
) -> None:
    """Write native settings for a directory or device management. Exported, not verified by us."""
    try:
        held = _policy(pack, check_school_id(school), group)
    except NameRefused as error:
        wrong_use(f"--school: {error}")
    exports = make(held, platform or list(Platform))
    try:
        written = write(exports, out)
    except ExportError as error:
        wrong_use(str(error))
    for path in written:
        typer.echo(path)
    lines = [line for found in exports for line in found.coverage]
    none = sum(line.level is Level.NOT_POSSIBLE for line in lines)
    partly = sum(line.level is Level.EXPORTED and WITHOUT in line.note for line in lines)
    typer.echo(
        f"{len(written)} files. {none} times a rule has no place on a platform, {partly} times a part of it has none;"
        f" schoolkeeper-policy coverage {pack} names them",
        err=True,
    )


def coverage(pack: Pack, group: Group = "", platform: Platforms = None, as_json: AsJson = False) -> None:
    """Say for each rule and platform: enforced by our agent, reported only, exported, or not possible; and why."""
    held = _policy(pack, "school", group)
    exports = make(held, platform or list(Platform))
    rows = table(held, exports)
    if not as_json:
        typer.echo(as_markdown(rows, [found.platform.value for found in exports]), nl=False)
        return
    said = [
        {
            "rule": row.rule_id,
            "description": row.description,
            "platforms": {name: {"level": line.level, "note": line.note} for name, line in row.lines.items()},
        }
        for row in rows
    ]
    typer.echo(json.dumps({"group": held.group, "rules": said}, indent=2))


def _policy(pack: str, school: str, group: str) -> Policy:
    try:
        chosen = group or next(iter(load_pack(pack).groups)).name
        return group_policy(pack, school=school, group=chosen)
    except PolicyError as error:
        fail(error)
    except StopIteration:
        wrong_use(f"{pack} names no group: give --group")
