"""Rules about where a program comes from, and what they are not about all the same."""

from __future__ import annotations

import json

import pytest

from schoolkeeper_proto import policy
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.matching import (
    ApplicationTable,
    TableMistake,
    Verdict,
    compile_applications,
    guessed_origin,
)
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import MatchBy, RuleMode

NOW = Circumstances(now_ms=1_795_428_000_000)


def match(by: MatchBy, text: str) -> policy.ApplicationMatch:
    return policy.ApplicationMatch(by=by, text=text)


def table(
    *matches: policy.ApplicationMatch, unless: tuple[policy.ApplicationMatch, ...] = ()
) -> ApplicationTable:
    rule = policy.ApplicationRule(
        text=policy.RuleText(rule_id="r", mode=RuleMode.ENFORCE),
        decision=DecisionKind.BLOCK,
        matches=matches,
        unless=unless,
    )
    return compiled(rule)


def compiled(*rules: policy.ApplicationRule) -> ApplicationTable:
    """Every test decides with what went through JSON, as in the exec responder."""
    held = compile_applications(policy.ApplicationsSection(rules=rules, otherwise=DecisionKind.ALLOW))
    return ApplicationTable.from_json(json.loads(json.dumps(held.to_json())))


PERSONAL = match(MatchBy.ORIGIN, "personal")


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/usr/bin/x", "system"),
        ("/opt/x/y", "system"),
        ("/snap/bin/x", "system"),
        ("/var/lib/flatpak/app/x", "system"),
        ("/usrlocal/x", "personal"),
        ("/home/usr/bin/x", "personal"),
        ("/media/stick/x", "personal"),
        ("/var/lib/other/x", "personal"),
    ],
)
def test_the_path_alone_says_where_a_program_seems_to_come_from(path: str, origin: str) -> None:
    assert guessed_origin(path) == origin
    decided = table(PERSONAL).decide(path, NOW)
    assert decided.refuses is (origin == "personal")


def test_what_a_driver_found_out_counts_more_than_the_path() -> None:
    held = table(PERSONAL)
    assert held.decide("/usr/bin/x", NOW, origin="personal").refuses
    assert not held.decide("/home/a/x", NOW, origin="system").refuses
    assert not held.decide("/usr/bin/x", NOW).refuses, "remembered for each origin by itself"
    assert (held.needs_origin, table(match(MatchBy.PATH, "/x")).needs_origin) == (True, False)
    assert [one.rule_id for one in held.concerning("/home/a/x", NOW)] == ["r"]
    assert held.concerning("/home/a/x", NOW, origin="system") == ()
    assert held.concerning("/usr/bin/x", NOW) == ()


def test_what_a_rule_is_not_about_is_left_to_the_others() -> None:
    held = table(PERSONAL, unless=(match(MatchBy.FILE_NAME, "scratch"), match(MatchBy.SHA256, "ab" * 32)))
    assert held.decide("/home/a/game", NOW).refuses
    assert not held.decide("/home/a/scratch", NOW).refuses
    assert not held.decide("/home/a/game", NOW, sha256="ab" * 32).refuses
    assert (held.needs_sha256, held.needs_package) == (True, False)
    by_package = table(PERSONAL, unless=(match(MatchBy.PACKAGE, "scratch"),))
    assert by_package.packages == frozenset({"scratch"})
    assert by_package.needs_package
    assert table(PERSONAL).packages == frozenset()
    named = table(match(MatchBy.PACKAGE, "nmap"), match(MatchBy.PATH, "/opt/x"), unless=(PERSONAL,))
    assert named.packages == frozenset({"nmap"})


def test_an_unless_takes_out_of_its_own_rule_only() -> None:
    text = policy.RuleText(rule_id="other", mode=RuleMode.ENFORCE)
    other = policy.ApplicationRule(
        text=text, decision=DecisionKind.WARN, matches=(match(MatchBy.FILE_NAME, "scratch"),)
    )
    first = policy.ApplicationRule(
        text=policy.RuleText(rule_id="r", mode=RuleMode.ENFORCE),
        decision=DecisionKind.BLOCK,
        matches=(PERSONAL,),
        unless=(match(MatchBy.FILE_NAME, "scratch"),),
    )
    held = compiled(first, other)
    verdict = held.decide("/home/a/scratch", NOW)
    assert (verdict.decision, verdict.rule_id) == ("warn", "other")
    assert held.decide("/home/a/x", NOW).rule_id == "r"


def test_a_second_name_that_is_left_out_does_not_take_the_first_one_out() -> None:
    held = table(PERSONAL, unless=(match(MatchBy.FILE_NAME, "scratch"),))
    assert held.decide("/home/a/game", NOW, alias="/home/a/scratch").refuses
    assert held.decide("/home/a/scratch", NOW, alias="/home/a/game").refuses
    assert not held.decide("/home/a/scratch", NOW, alias="/home/a/scratch").refuses


@pytest.mark.parametrize("where", ["matches", "unless"])
def test_an_origin_that_there_is_not_refuses_the_table(where: str) -> None:
    wrong = match(MatchBy.ORIGIN, "stick")
    with pytest.raises(TableMistake, match="r"):
        table(wrong) if where == "matches" else table(PERSONAL, unless=(wrong,))


def test_a_verdict_for_one_person_is_what_another_could_change_and_the_same_otherwise() -> None:
    steady = Verdict("block", "block", "r", steady=True)
    told = steady.for_this_user()
    assert (told.decision, told.asked, told.rule_id, told.steady) == ("block", "block", "r", False)
    assert steady.steady, "verdicts are shared, and nobody changes one"
    assert told.for_this_user() is told
