"""Nobody reads the name of a category as it stands in a file: the school gives words for its own."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from schoolkeeper_policies.checking.advice import advise
from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_policies.explain import Question, SiteVisit, explain
from schoolkeeper_policies.matrices import expand
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.plan import compare
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.subject import open_subject
from schoolkeeper_proto.bundle import OpenBundle, open_bundle

PACK = """\
pack: {format: 1, name: p, description: d}
school:
  time_zone: Europe/London
  hours: [{days: [monday], from: "08:30", to: "15:10"}]
groups: [{name: a, description: x}]
collection: {}
notice: {title: t, introduction: i, not_watched: [x], sign_in_notice: s, language: LANGUAGE}
categories:
  - name: chess-sites
    description: Where people play chess
    words: WORDS
    applications: [{file-name: chess}]
    sites: [chess.example]
matrices:
  - id: m
    title: Table
    rows:
      - {id: r, activity: Chess, answers: {everybody: unacceptable}, applications: [chess-sites], sites: [chess-sites]}
applications:
  - {id: mixed, description: d, why: w, resolution: r, decision: warn, identity: Mixed,
     match: [{category: chess-sites}, {file-name: draughts}]}
"""
BOTH = "{en: {plain: chess, junior: playing chess}, cy: {plain: gwyddbwyll}}"


def pack(folder: Path, words: str = BOTH, language: str = "en") -> Path:
    folder.mkdir(exist_ok=True)
    text = PACK.replace("WORDS", words).replace("LANGUAGE", language)
    (folder / "pack.yaml").write_text(text, encoding="utf-8")
    return folder


def compiled(folder: Path) -> OpenBundle:
    data = compile_pack(
        folder, school_id="s", group="a", version=1, compiled_at_unix_ms=1, pseudonym_key=b"k" * 32
    )
    return open_bundle(data, school_id="s", group="a", capabilities=frozenset())


@pytest.mark.parametrize(
    ("words", "language"),
    [
        ("{}", "en"),
        ("{cy: {plain: gwyddbwyll}}", "en"),
        ("{en: {junior: chess}}", "en"),
        ("{en: {plain: c}}", "cy"),
    ],
)
def test_a_category_without_words_in_the_notices_language_is_a_mistake(
    tmp_path: Path, words: str, language: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        load_pack(pack(tmp_path, words, language))
    (problem,) = caught.value.problems
    assert "pack.yaml:9:5: people would read the category's name 'chess-sites'" in str(problem)
    assert f"{{{language}: {{plain: " in problem.remedy


def test_one_that_nobody_is_told_of_needs_no_words(tmp_path: Path) -> None:
    allowed = PACK.partition("matrices:")[0].replace("WORDS", "{}").replace("LANGUAGE", "en")
    allowed += (
        "sites: [{id: s, description: d, why: w, resolution: r, decision: block, sites: ['*'], "
        "allowed_categories: [chess-sites]}]\n"
    )
    (tmp_path / "pack.yaml").write_text(allowed, encoding="utf-8")
    load_pack(tmp_path)
    assert not [note for note in advise(tmp_path, date(2026, 11, 23)) if "chess" in note.reason]


def test_another_language_without_words_is_worth_a_look(tmp_path: Path) -> None:
    one = [str(note) for note in advise(pack(tmp_path, "{en: {plain: chess}}"), date(2026, 11, 23))]
    assert [note for note in one if "a notice in Welsh shows the words for 'chess-sites'" in note], one
    assert not [note for note in advise(pack(tmp_path), date(2026, 11, 23)) if "chess" in note.reason]


def test_a_level_or_language_that_is_none_is_refused(tmp_path: Path) -> None:
    for words in ("{fr: {plain: x}}", "{en: {old: x}}", "{en: chess}"):
        with pytest.raises(PolicyError, match=r"pack\.yaml:11"):
            load_pack(pack(tmp_path, words))


def test_the_words_are_in_the_bundle_and_who_is_refused_reads_them(tmp_path: Path) -> None:
    held = compiled(pack(tmp_path))
    (words,) = held.notice.categories
    said = {(one.level, one.language): one.said for one in words.rewordings}
    assert said == {
        ("plain", "en"): "chess",
        ("junior", "en"): "playing chess",
        ("plain", "cy"): "gwyddbwyll",
    }
    rules = {rule.text.rule_id: rule for rule in held.applications.rules}
    assert rules["m.r.everybody"].of_categories == ("chess-sites",)
    assert rules["m.r.everybody"].identity == "chess"
    assert rules["mixed"].of_categories == (), "it is about more than the category"
    welsh = expand(load_pack(pack(tmp_path, language="cy")))
    assert [rule.identity for rule in welsh.applications] == ["gwyddbwyll"]


def test_whoever_reads_a_plan_or_an_explanation_reads_the_words_beside_the_name(tmp_path: Path) -> None:
    held = compiled(pack(tmp_path))
    lines = [change.after for change in compare(None, held) if change.section == "browser"]
    assert "category chess-sites (chess)" in lines[0]
    asked = Question(what=SiteVisit(site="chess.example"), at_ms=1_795_428_000_000)
    answer = explain(open_subject(str(tmp_path), now_ms=1_795_428_000_000), asked)
    assert answer.notes == ("categories: chess-sites (chess)",)


def test_other_words_are_a_change_of_words_alone(tmp_path: Path) -> None:
    before = compiled(pack(tmp_path))
    after = compiled(pack(tmp_path, BOTH.replace("plain: chess", "plain: chess games")))
    found = list(compare(before, after))
    assert {str(change.direction) for change in found} == {"text only"}
    assert any(change.section == "notice" for change in found)
