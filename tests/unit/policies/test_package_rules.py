"""Rules by package, and an allow list: what ``explain`` says of them, and what changes when its exceptions do."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_policies.cli import app as cli
from schoolkeeper_policies.comparing.regions import Extent, applications_extent
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import ApplicationMatch, ApplicationRule, MatchBy, RuleText
from support.language import pack

RULE = """\
applications:
  - {{id: a.b, description: d, why: w, resolution: r, decision: block, {rest}}}
"""
LISTED = "match: [{origin: personal}], unless: [{file-name: approved}, {path-pattern: /home/*/lessons/**}]"


def explained(folder: Path, *asked: str) -> str:
    return CliRunner().invoke(cli, ["explain", str(folder), "--group", "ks2", *asked]).output


def test_a_rule_by_package_is_a_rule_like_any_other(tmp_path: Path) -> None:
    folder = pack(tmp_path, RULE.format(rest="match: [{package: supertux}]"))
    said = explained(folder, "--app", "/usr/games/supertux2", "--package", "supertux")
    assert "decision: block" in said
    assert "guessed" not in said


@pytest.mark.parametrize(
    ("path", "decision"),
    [
        ("/usr/bin/gedit", "allow"),
        ("/var/lib/flatpak/app/org.gnome.Maps/current/active/files/bin/maps", "allow"),
        ("/home/ann/Downloads/Game.AppImage", "block"),
        ("/home/ann/.local/share/flatpak/app/org.x.Game/bin/game", "block"),
        ("/media/ann/STICK/game", "block"),
        ("/tmp/game", "block"),
        ("/home/ann/Downloads/approved", "allow"),
        ("/home/ann/lessons/hello", "allow"),
    ],
)
def test_an_allow_list_is_about_what_people_bring(tmp_path: Path, path: str, decision: str) -> None:
    said = explained(pack(tmp_path, RULE.format(rest=LISTED)), "--app", path)
    assert f"decision: {decision}" in said
    assert "guessed by its path" in said


def test_an_exception_more_is_a_rule_about_less() -> None:
    def listed(*names: str) -> ApplicationRule:
        return ApplicationRule(
            text=RuleText(rule_id="a"),
            decision=DecisionKind.BLOCK,
            matches=(ApplicationMatch(by=MatchBy.ORIGIN, text="personal"),),
            unless=tuple(ApplicationMatch(by=MatchBy.FILE_NAME, text=name) for name in names),
        )

    assert applications_extent(listed("a"), listed("a")) is Extent.SAME
    assert applications_extent(listed("a"), listed("a", "b")) is Extent.NARROWER
    assert applications_extent(listed("a", "b"), listed("a")) is Extent.WIDER
    assert applications_extent(listed("a"), listed("b")) is Extent.UNCLEAR
