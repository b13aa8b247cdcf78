"""One reading says the mistakes of form and those of meaning, and none that only follows from another."""

from __future__ import annotations

from pathlib import Path

import pytest

from schoolkeeper_policies import model
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.source import read
from schoolkeeper_policies.validate import valid_parts

BROKEN = """\
pack: {format: 1, name: p, descripton: d}
school:
  time_zone: Europe/Londn
  hours: [{days: [monday], from: "08:30", to: "15:10"}]
groups: [{name: a, description: x, profle: ks1}]
applications:
  - {id: a.a, descripton: d, why: w, resolution: r, decision: block, groups: [bb], match: [{file-name: y}]}
  - id: a.b
    description: d
    why: w
    resolution: r
    decision: block
    match: [{file-name: x}]
    exceptions: [{id: e, reason: r, approved_by: head, people: [nobody-knows]}]
media:
  - {id: m.a, description: d, why: w, resolution: r, access: blok}
collection: {collected: [{kinds: [heart], notice: n, purpose: p, retention_days: 1, readers: [dsl]}]}
notice: {title: t, introduction: i, not_watched: [x], sign_in_notice: s}
"""


def mistakes(folder: Path) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        load_pack(folder)
    return sorted(str(problem).partition("/")[2] for problem in caught.value.problems)


def test_form_and_meaning_are_read_at_once(tmp_path: Path) -> None:
    (tmp_path / "pack.yaml").write_text(BROKEN, encoding="utf-8")
    found = mistakes(tmp_path)
    for said in (
        "pack.yaml:1:28: unknown key 'descripton'",
        "pack.yaml:3:14: there is no time zone 'Europe/Londn'",
        "pack.yaml:5:36: unknown key 'profle'",
        "pack.yaml:7:5: the key 'description' is missing",
        "pack.yaml:14:18: the exception 'e' has no end",
        "pack.yaml:16:62: 'access': 'blok' is not one of them",
        "pack.yaml:17:35: there is no kind of event 'heart'",
    ):
        assert [one for one in found if one.startswith(said)], (said, found)
    assert not [one for one in found if "no group" in one], "names may stand in what could not be read"


def test_a_broken_file_does_not_make_the_names_in_it_unknown(tmp_path: Path) -> None:
    base = BROKEN.partition("applications:")[0]
    (tmp_path / "base.yaml").write_text(base, encoding="utf-8")
    (tmp_path / "rules.yaml").write_text(
        "applications:\n  - {id: a.a, description: d, why: w, resolution: r, decision: block, groups: [a], "
        "audience: [club], match: [{category: ours}], when: {periods: [lunch]}}\n",
        encoding="utf-8",
    )
    assert not [one for one in mistakes(tmp_path) if one.startswith("rules.yaml")]


def test_what_is_left_keeps_its_place() -> None:
    source = read(BROKEN, file="f.yaml")
    left = valid_parts(model.PackFile, source)
    assert left is not None
    shown, file = left
    assert [rule.id for rule in file.applications] == ["a.b"]
    assert shown.at(("applications", 0, "id")) == source.at(("applications", 1, "id"))
    assert file.media == ()
    assert file.pack is None


@pytest.mark.parametrize("text", ["[1, 2]", "", "applications: 3", "pack: {}"])
def test_of_a_file_without_anything_valid_nothing_is_left(text: str) -> None:
    assert valid_parts(model.PackFile, read(text, file="f.yaml")) is None
