"""Rules on applications: stricter wins, trials never loosen, what cannot be told counts for the stricter rule."""

import itertools
import json
from datetime import UTC, datetime

import pytest

from schoolkeeper_proto import policy
from schoolkeeper_proto.conditions import Circumstances, ZoneClock, compile_condition, holds
from schoolkeeper_proto.matching import ApplicationTable, TableMistake, compile_applications
from schoolkeeper_proto.model import DecisionKind, Place
from schoolkeeper_proto.patterns import PatternMistake, PatternTree, matches_part
from schoolkeeper_proto.policy import MatchBy, RuleMode
from support.work import lines_of

NOW = Circumstances(now_ms=1_795_428_000_000, place="on-site", groups=frozenset({"pupils"}))


def rule(
    rule_id: str,
    text: str,
    decision: DecisionKind = DecisionKind.BLOCK,
    *,
    by: MatchBy = MatchBy.PATH,
    mode: RuleMode = RuleMode.ENFORCE,
    when: policy.Applicability | None = None,
) -> policy.ApplicationRule:
    return policy.ApplicationRule(
        text=policy.RuleText(rule_id=rule_id, mode=mode),
        decision=decision,
        matches=(policy.ApplicationMatch(by=by, text=text),),
        when=when,
    )


def table(*rules: policy.ApplicationRule, otherwise: DecisionKind = DecisionKind.ALLOW) -> ApplicationTable:
    compiled = compile_applications(policy.ApplicationsSection(rules=rules, otherwise=otherwise))
    # Every test decides with what went through JSON, as in the exec responder.
    return ApplicationTable.from_json(json.loads(json.dumps(compiled.to_json())))


def test_each_way_of_matching() -> None:
    digest = "ab" * 32
    compiled = table(
        rule("path", "/opt/a"),
        rule("name", "tor", by=MatchBy.FILE_NAME),
        rule("hash", digest, by=MatchBy.SHA256),
        rule("pattern", "/home/*/Downloads/**", by=MatchBy.PATH_PATTERN),
        rule("package", "nmap", by=MatchBy.PACKAGE),
    )
    assert compiled.decide("/opt/a", NOW).rule_id == "path"
    assert compiled.decide("/elsewhere/tor", NOW).rule_id == "name"
    assert compiled.decide("/renamed", NOW, sha256=digest).rule_id == "hash"
    assert compiled.decide("/home/ann/Downloads/x/y", NOW).rule_id == "pattern"
    assert compiled.decide("/usr/bin/nmap", NOW, package="nmap").rule_id == "package"
    assert compiled.decide("/bound/elsewhere", NOW, alias="/opt/a").rule_id == "path"
    assert not compiled.decide("/usr/bin/true", NOW).refuses
    assert compiled.needs_sha256
    assert not compiled.needs_user


def test_the_strictest_decides_in_every_order() -> None:
    rules = [
        rule("a", "/x", DecisionKind.ALLOW),
        rule("b", "/x", DecisionKind.WARN),
        rule("c", "/x", DecisionKind.BLOCK_AND_RAISE),
        rule("d", "x", DecisionKind.BLOCK, by=MatchBy.FILE_NAME),
    ]
    verdicts = {repr(table(*order).decide("/x", NOW)) for order in itertools.permutations(rules)}
    assert len(verdicts) == 1
    assert "'c'" in verdicts.pop()


def test_a_default_of_block_is_opened_by_a_rule_in_force_only() -> None:
    closed = DecisionKind.BLOCK
    assert table(otherwise=closed).decide("/x", NOW).refuses
    assert not table(rule("a", "/x", DecisionKind.ALLOW), otherwise=closed).decide("/x", NOW).refuses
    for mode in (RuleMode.OBSERVE, RuleMode.WARN):
        on_trial = table(rule("a", "/x", DecisionKind.ALLOW, mode=mode), otherwise=closed)
        assert on_trial.decide("/x", NOW).refuses
        strict_on_trial = table(rule("a", "/x", DecisionKind.BLOCK, mode=mode), otherwise=closed)
        assert strict_on_trial.decide("/x", NOW).refuses


def test_a_rule_on_trial_says_what_it_would_do() -> None:
    verdict = table(rule("a", "/x", mode=RuleMode.OBSERVE)).decide("/x", NOW)
    assert (verdict.decision, verdict.asked, verdict.rule_id) == ("observe", "block", "a")
    both = table(rule("a", "/x", mode=RuleMode.WARN), rule("b", "/x", DecisionKind.ALLOW)).decide("/x", NOW)
    assert (both.decision, both.asked) == ("warn", "block")


def test_what_cannot_be_told_counts_for_the_stricter_side() -> None:
    nobody = Circumstances(now_ms=NOW.now_ms, place="unknown", groups=None)
    pupils = policy.Applicability(user_groups=("pupils",))
    away = policy.Applicability(places=(Place.OFF_SITE,))
    assert table(rule("a", "/x", when=pupils)).decide("/x", nobody).refuses
    assert table(rule("a", "/x", when=away)).decide("/x", nobody).refuses
    opened = table(rule("a", "/x", DecisionKind.ALLOW, when=pupils), otherwise=DecisionKind.BLOCK)
    assert opened.decide("/x", nobody).refuses
    assert not opened.decide("/x", NOW).refuses


def test_only_a_verdict_that_nothing_could_change_is_steady() -> None:
    compiled = table(rule("a", "/x", when=policy.Applicability(user_groups=("staff",))))
    assert not compiled.decide("/x", NOW).refuses
    assert not compiled.decide("/x", NOW).steady
    assert compiled.decide("/y", NOW).steady


def at(text: str) -> Circumstances:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return Circumstances(now_ms=round(moment.timestamp() * 1000), place="on-site", groups=frozenset())


def test_times_follow_the_schools_clock_through_summer_and_past_midnight() -> None:
    lessons = policy.TimeWindow(weekdays=0b11111, from_minute=9 * 60, to_minute=15 * 60)
    night = policy.TimeWindow(weekdays=0b0010000, from_minute=22 * 60, to_minute=6 * 60)
    condition = compile_condition(policy.Applicability(times=(lessons, night), time_zone="Europe/London"))
    clock = ZoneClock()

    def asked(text: str) -> bool | None:
        return holds(condition, at(text), clock)

    assert asked("2026-11-23T09:00:00") is True
    assert asked("2026-11-23T08:59:59") is False
    assert asked("2026-11-23T15:00:00") is False
    assert asked("2026-07-06T08:00:00") is True  # 09:00 in summer
    assert asked("2026-07-06T14:00:00") is False
    assert asked("2026-11-22T10:00:00") is False  # a Sunday
    assert asked("2026-11-27T23:00:00") is True  # Friday night
    assert asked("2026-11-28T05:59:00") is True  # still Friday's
    assert asked("2026-11-29T05:00:00") is False


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        (rule("", "/x"), "needs an id"),
        (rule("r", "/x", DecisionKind.UNSPECIFIED), "decision"),
        (rule("r", "x"), "absolute path"),
        (rule("r", "a/b", by=MatchBy.FILE_NAME), "file's name"),
        (rule("r", "AB" * 32, by=MatchBy.SHA256), "lower-case"),
        (rule("r", "/a/b**", by=MatchBy.PATH_PATTERN), "whole folders"),
        (rule("r", "/x", by=MatchBy.UNSPECIFIED), "update the agent"),
        (policy.ApplicationRule(text=policy.RuleText(rule_id="r"), decision=DecisionKind.BLOCK, matches=()),
         "names no"),
        (rule("r", "/x", when=policy.Applicability(times=(policy.TimeWindow(weekdays=0, from_minute=0, to_minute=1),))),
         "never applies"),
        (rule("r", "/x", when=policy.Applicability(
            times=(policy.TimeWindow(weekdays=1, from_minute=0, to_minute=1),), time_zone="Mars/North")),
         "Europe/London"),
    ],
)  # fmt: skip
def test_a_wrong_rule_refuses_the_whole_table_and_says_why(wrong: policy.ApplicationRule, names: str) -> None:
    with pytest.raises(TableMistake, match=names):
        compile_applications(policy.ApplicationsSection(rules=(rule("fine", "/fine"), wrong)))


@pytest.mark.parametrize("broken", [{}, {"format": 2}, {"format": 1, "rules": [[1]], "otherwise": "allow"},
                                    {"format": 1, "rules": [], "otherwise": "perhaps"}])  # fmt: skip
def test_a_table_that_is_none_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(TableMistake):
        ApplicationTable.from_json(broken)


PATTERNS = [
    ("/opt/*", {"/opt/a": True, "/opt/a/b": False, "/opt": False}),
    ("/opt/**", {"/opt/a": True, "/opt/a/b": True, "/opt": False, "/optional/a": False}),
    ("/**/tor", {"/tor": True, "/a/b/tor": True, "/a/torx": False}),
    ("/home/*/bin/ga?e*", {"/home/ann/bin/game-2": True, "/home/ann/x/bin/game": False}),
    ("/a/**/b/**", {"/a/b/c": True, "/a/x/y/b/c": True, "/a/b": False}),
]


@pytest.mark.parametrize(("pattern", "paths"), PATTERNS)
def test_patterns(pattern: str, paths: dict[str, bool]) -> None:
    tree = PatternTree([(pattern, 1)])
    assert {path: bool(tree.find(path)) for path in paths} == paths


def test_a_pattern_that_would_take_for_ever_elsewhere_is_quick() -> None:
    wild, part = "a*" * 30 + "b", "a" * 250
    assert not matches_part(wild, part)
    assert lines_of(lambda: matches_part(wild, part)) < 10 * len(wild) * len(part)
    with pytest.raises(PatternMistake, match="at most"):
        PatternTree([("/" + "a" * 2000, 1)])


def test_a_decision_does_not_depend_on_the_number_of_rules_that_do_not_concern_it() -> None:
    def many(count: int) -> ApplicationTable:
        exact = [rule(f"e{number}", f"/opt/app{number}/bin") for number in range(count)]
        wild = [
            rule(f"w{number}", f"/srv/tool{number}*/**", by=MatchBy.PATH_PATTERN, decision=DecisionKind.WARN)
            for number in range(count)
        ]
        return table(*exact, *wild)

    def work(compiled: ApplicationTable) -> int:
        return lines_of(lambda: [compiled.decide(f"/usr/bin/program{n}", NOW) for n in range(100)])

    assert work(many(2000)) == work(many(10))
