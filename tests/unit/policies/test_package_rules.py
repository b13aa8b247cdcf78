"""A rule by package alone is reported and not refused, and ``explain`` says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_policies.cli import app as cli
from support.language import pack

RULE = """\
applications:
  - {{id: a.b, description: d, why: w, resolution: r, decision: block, match: [{matches}]}}
"""


@pytest.mark.parametrize(
    ("matches", "noted"),
    [("{package: supertux}", True), ("{package: supertux}, {file-name: supertux2}", False)],
)
def test_a_rule_by_package_alone_is_said_to_be_reported(tmp_path: Path, matches: str, noted: bool) -> None:
    folder = pack(tmp_path, RULE.format(matches=matches))
    asked = ["--group", "ks2", "--app", "/usr/games/supertux2", "--package", "supertux"]
    said = CliRunner().invoke(cli, ["explain", str(folder), *asked])
    assert "decision: block" in said.output
    assert ("only by its package" in said.output) is noted
