"""``schoolkeeper-policy notice``, ``export`` and ``coverage`` as a technician calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from schoolkeeper_policies.cli import app
from schoolkeeper_policies.targets.common import Platform
from schoolkeeper_proto.notices.render import EDITIONS


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_a_notice_is_printed_for_a_reader() -> None:
    said = call("notice", "default", "--group", "ks2-laptops", "--level", "junior", "--language", "cy")
    assert said.exit_code == 0
    assert said.stdout.startswith("Beth mae'r gliniadur hwn yn sylwi arno\n")
    assert "Tor Browser" in said.stdout
    assert call("notice", "default", "--for", "parent", "--html").stdout.startswith("<!doctype html>")


def test_a_level_that_only_pupils_have_is_refused_with_the_remedy() -> None:
    said = call("notice", "default", "--for", "staff", "--level", "early")
    assert said.exit_code == 2
    assert "leave --level out" in said.stderr


def test_every_edition_is_written(tmp_path: Path) -> None:
    assert call("notice", "default", "--every", str(tmp_path / "out")).exit_code == 0
    assert len(list((tmp_path / "out").iterdir())) == 2 * len(EDITIONS)
    (tmp_path / "file").write_text("")
    said = call("notice", "default", "--every", str(tmp_path / "file"))
    assert said.exit_code == 2
    assert "choose another folder" in said.stderr


def test_the_notice_has_the_name_of_the_school() -> None:
    assert "Lab School" in call("notice", "default", "--school", "Lab School").stdout


def test_an_export_names_its_files_and_what_is_missing(tmp_path: Path) -> None:
    said = call("export", "default", "--school", "lab.example", "--out", str(tmp_path))
    assert said.exit_code == 0
    named = [Path(line) for line in said.stdout.splitlines()]
    assert all(path.is_file() for path in named)
    assert {path.relative_to(tmp_path).parts[0] for path in named} == {str(platform) for platform in Platform}
    assert "schoolkeeper-policy coverage default names them" in said.stderr


def test_one_platform_can_be_chosen(tmp_path: Path) -> None:
    words = ("export", "default", "--school", "s", "--out", str(tmp_path), "--platform", "android")
    assert call(*words).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["android"]


def test_an_unknown_pack_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    said = call("export", "nowhere", "--school", "s", "--out", str(tmp_path))
    assert said.exit_code == 1
    assert "nowhere" in said.stderr
    assert "there is no such pack" in said.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [(), ("--platform", "windows", "--platform", "linux")])
def test_the_coverage_for_programs_has_a_level_and_a_note_for_each_rule(words: tuple[str, ...]) -> None:
    said = json.loads(call("coverage", "default", "--json", *words).stdout)
    assert said["rules"]
    for rule in said["rules"]:
        for platform in rule["platforms"].values():
            assert platform["level"] in (
                "enforced by our agent",
                "reported only",
                "exported, not verified by us",
                "not possible",
            )
            assert platform["note"]
