"""One reading says the mistakes of form and those of meaning, and none that only follows from another."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from schoolkeeper_policies import model
from schoolkeeper_policies.checking.advice import advise
from schoolkeeper_policies.detection.load import load_rules
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


def load_fails(folder: Path) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        load_pack(folder)
    return caught.value


def mistakes(folder: Path) -> list[str]:
    return sorted(str(problem).partition("/")[2] for problem in load_fails(folder).problems)


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


def test_a_broken_file_does_not_make_the_names_in_it_unknown(tmp_path: Path) -> None:
    base = BROKEN.partition("applications:")[0].replace("name: a,", "").replace('to: "15:10"', "to: 3")
    base += "people: {grups: []}\ncategories: [{description: d}]\n"
    (tmp_path / "base.yaml").write_text(base, encoding="utf-8")
    (tmp_path / "rules.yaml").write_text(
        "applications:\n  - {id: a.a, description: d, why: w, resolution: r, decision: block, groups: [a], "
        "audience: [club], match: [{category: ours}], when: {periods: [lunch]}}\n",
        encoding="utf-8",
    )
    assert not [one for one in mistakes(tmp_path) if one.startswith("rules.yaml")]


def test_an_unrelated_mistake_hides_no_name_that_leads_nowhere(tmp_path: Path) -> None:
    text = BROKEN.replace(
        "descripton: d, why: w, resolution: r, decision: block, groups: [bb], match: [{file-name: y}]",
        "description: d, why: w, resolution: r, decision: block, groups: [bb], match: [{category: ours}], "
        "audience: [club], when: {periods: [lunch]}",
    )
    (tmp_path / "pack.yaml").write_text(text, encoding="utf-8")
    found = mistakes(tmp_path)
    for said in (
        "no group 'bb'",
        "no group of people 'club'",
        "no group of people 'nobody-knows'",
        "no category 'ours'",
        "the timetable has no 'lunch'",
    ):
        assert [one for one in found if said in one], (said, found)


def test_what_is_required_and_missing_is_said_beside_other_mistakes(tmp_path: Path) -> None:
    (tmp_path / "pack.yaml").write_text(BROKEN.partition("notice:")[0], encoding="utf-8")
    assert "no file of the pack says 'notice'" in str(load_fails(tmp_path))
    (tmp_path / "other.yaml").write_text("notice: [unclosed\n", encoding="utf-8")
    assert "no file of the pack says" not in str(load_fails(tmp_path)), "it is in a file that cannot be read"


SOUND = """\
pack: {format: 1, name: p, description: d}
school:
  time_zone: Europe/London
  hours: [{days: [monday], from: "08:30", to: "15:10"}]
groups: [{name: a, description: x, profile: ks1}]
categories: [{name: ours, description: d, words: {en: {plain: ours}}, applications: [{file-name: o}]}]
collection: {}
notice: {title: t, introduction: i, not_watched: [x], sign_in_notice: s}
"""


def rule(name: str, more: str = "", *, match: str = "file-name: x", decision: str = "block") -> str:
    said = f"id: {name}, description: d, why: w, resolution: r, decision: {decision}, match: [{{{match}}}]"
    return f"  - {{{said}{more}}}\n"


DEAD = "the rule 'weak' can never decide: 'strong' in"


@pytest.mark.parametrize(
    "mistake",
    [
        "media:\n  - {id: m, description: d, why: w, resolution: r, access: blok}\n",
        "media:\n  - {id: m, description: d, why: w, resolution: r, access: block, groups: [nowhere]}\n",
        "tests: 3\n",
        "open_decisions:\n  - {nonsense: 3}\n",
        "screen:\n  {idle_lock_secnds: 3}\n",
    ],
)
def test_dead_rules_are_said_beside_other_mistakes(tmp_path: Path, mistake: str) -> None:
    weak = rule("weak", ", groups: [a], when: {school_hours: true}", decision="warn")
    rules = "applications:\n" + rule("strong", ", groups: [a]") + weak
    (tmp_path / "pack.yaml").write_text(SOUND + rules + mistake, encoding="utf-8")
    found = mistakes(tmp_path)
    assert [one for one in found if DEAD in one], found
    assert len(found) >= 2, "the other mistake is said, too"


def test_rules_that_say_the_same_are_said_beside_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    rules = "applications:\n" + rule("a.a") + rule("a.b")
    (tmp_path / "pack.yaml").write_text(SOUND + rules, encoding="utf-8")
    (tmp_path / "tests.yaml").write_text("tests:\n  - [unclosed\n", encoding="utf-8")
    found = mistakes(tmp_path)
    assert [one for one in found if "the rule 'a.b' says what 'a.a' in" in one], found
    assert [one for one in found if one.startswith("tests.yaml:")]


@pytest.mark.parametrize(
    ("strong", "weak", "base", "mistake"),
    [
        pytest.param(", wen: {school_hours: true}", "", SOUND, "", id="it is wrong itself"),
        pytest.param(
            ", when: {school_hours: true}",
            ', when: {times: [{days: [monday], from: "09:00", to: "10:00"}]}',
            SOUND.replace('"15:10"', "3"),
            "",
            id="hours are not known",
        ),
        pytest.param(
            ", audience: [pupils]", "", SOUND, "people: {register: {fil: x}}\n", id="people are not known"
        ),
        pytest.param(", groups: [a]", "", SOUND, "groups: [{name: b}]\n", id="another group is not known"),
        pytest.param(", groups: [b]", "", SOUND, "", id="its group is not there"),
        pytest.param("", "", SOUND, "overrides:\n  - {id: o}\n", id="an override may lift it"),
        pytest.param("", "", SOUND, "overrides: [\n", id="no YAML, and an override may stand in it"),
    ],
)
def test_no_dead_rule_is_said_that_rests_on_what_is_wrong(
    tmp_path: Path, strong: str, weak: str, base: str, mistake: str
) -> None:
    rules = "applications:\n" + rule("strong", strong) + rule("weak", weak, decision="warn")
    (tmp_path / "pack.yaml").write_text(base + rules, encoding="utf-8")
    (tmp_path / "more.yaml").write_text(mistake or "tests: []\n", encoding="utf-8")
    found = mistakes(tmp_path)
    assert found
    assert not [one for one in found if "can never decide" in one], found


def test_a_category_with_a_mistake_makes_no_rule_of_it_dead(tmp_path: Path) -> None:
    base = SOUND.replace("{file-name: o}", "{file-name: o}, {file-name: p, path: /x}")
    rules = "applications:\n" + rule("strong", match="file-name: o") + rule("weak", match="category: ours")
    (tmp_path / "pack.yaml").write_text(base + rules, encoding="utf-8")
    found = mistakes(tmp_path)
    assert len(found) == 1, found


def test_a_group_that_the_pack_does_not_name_keeps_a_weaker_rule_alive(tmp_path: Path) -> None:
    rules = "applications:\n" + rule("strong", ", groups: [a]") + rule("weak", decision="warn")
    (tmp_path / "pack.yaml").write_text(SOUND + rules, encoding="utf-8")
    assert [one for one in mistakes(tmp_path) if DEAD in one]
    other = SOUND.replace("description: d}", "description: d, other_groups: rules-for-all}", 1)
    (tmp_path / "pack.yaml").write_text(other + rules, encoding="utf-8")
    load_pack(tmp_path)


def test_a_file_that_nobody_would_read_is_a_mistake_and_its_names_are_not_unknown(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(SOUND, encoding="utf-8")
    rules = "applications:\n" + rule("a.a", ", groups: [b]")
    (tmp_path / "rules.yaml").write_text(rules, encoding="utf-8")
    (tmp_path / "groups.yml").write_text("groups: [{name: b, description: x}]\n", encoding="utf-8")
    (tmp_path / "detection").mkdir()
    (tmp_path / "detection" / "late.YAML").write_text("title: x\n", encoding="utf-8")
    assert mistakes(tmp_path) == [
        "detection/late.YAML: a file whose name ends in '.YAML' is not read; call it late.yaml, or put it elsewhere",
        "groups.yml: a file whose name ends in '.yml' is not read; call it groups.yaml, or put it elsewhere",
    ]


def test_a_file_in_a_folder_of_the_pack_is_worth_a_look(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(SOUND, encoding="utf-8")
    for name in ("rules/more.yaml", "detection/deep/more.yml", ".ci/flow.yml", "detection/good.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    notes = [str(note.position).partition("/")[2] for note in advise(tmp_path, date(2026, 11, 23))]
    assert [note for note in notes if "/" in note] == ["detection/deep/more.yml", "rules/more.yaml"]


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


DETECTION = """\
title: {title}
name: {name}
logsource: {{product: schoolkeeper, category: {kind}}}
detection: {{found: {{{field}: x}}, condition: found}}
level: low
schoolkeeper: {{audience: safeguarding, subject: device, category: c, headline: h, explanation: e}}
"""


def detection(
    name: str, kind: str = "application.refused", field: str = "rule.rule_id", title: str = "t"
) -> str:
    return DETECTION.format(name=name, kind=kind, field=field, title=title)


def test_a_detection_rule_that_cannot_be_read_hides_no_mistake_of_the_others(tmp_path: Path) -> None:
    """Nor is a rule called missing that may be the one which could not be read."""
    (tmp_path / "base.yaml").write_text(SOUND, encoding="utf-8")
    folder = tmp_path / "detection"
    folder.mkdir()
    waits = detection("w.w").replace("explanation: e", "explanation: e, recovered_by: [b.b]")
    rules = [
        detection("a.a", field="nothing"),
        detection("b.b", field="'rule.rule_id|base64'"),
        detection("c.c", kind="no.kind"),
    ]
    (folder / "rules.yaml").write_text("---\n".join([*rules, waits, waits]), encoding="utf-8")
    (folder / "latin.yaml").write_bytes(b"title: \xe9\n")
    with pytest.raises(PolicyError) as caught:
        load_rules(tmp_path)
    found = [str(problem) for problem in caught.value.problems]
    for said in (
        "latin.yaml: not UTF-8 at byte 7; save it",
        "application.refused has no field 'nothing'",
        "the modifier 'base64' is not in the subset",
        "there is no kind 'no.kind'",
        "the rule 'w.w' is already there",
    ):
        assert [one for one in found if said in one], (said, found)
    assert not [one for one in found if "recovered_by" in one], found
    (folder / "latin.yaml").unlink()
    (folder / "rules.yaml").write_text("---\n".join([rules[0], waits]), encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load_rules(tmp_path)
    assert sorted(problem.reason for problem in caught.value.problems) == [
        "'recovered_by' names 'b.b', which is no plain rule",
        "application.refused has no field 'nothing'",
    ]
