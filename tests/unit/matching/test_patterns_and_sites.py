"""Patterns of paths and addresses of sites, each rule of writing them by an example."""

from __future__ import annotations

import pytest

from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.decide import Engine, asking_words
from schoolkeeper_proto.matching import TableMistake
from schoolkeeper_proto.model import DecisionKind, Place
from schoolkeeper_proto.patterns import MAX_PATTERN, PatternMistake, PatternTree, check_pattern, matches_part
from schoolkeeper_proto.site_matching import SiteTable

NOW = Circumstances(now_ms=1_795_428_000_000, place="on-site", groups=frozenset({"pupils"}))
UNKNOWN = Circumstances(now_ms=1_795_428_000_000)
HERE = policy.Applicability(places=(Place.ON_SITE,))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("x", "starts with '/'"),
        ("/" + "a" * MAX_PATTERN, "at most 1024"),
        ("/a//b", "''"),
        ("/", "''"),
        ("/a/./b", "'.'"),
        ("/a/../b", "'..'"),
        ("/a/b**", "whole folders"),
        ("/***", "whole folders"),
        *((f"/a{wrong}", "is not known") for wrong in "[]{}\\"),
    ],
)
def test_a_pattern_that_matches_nothing_real_is_refused_for_its_reason(pattern: str, names: str) -> None:
    with pytest.raises(PatternMistake) as caught:
        check_pattern(pattern)
    assert names in str(caught.value)
    assert len(str(caught.value)) < 200, "of a long pattern the beginning is repeated"


@pytest.mark.parametrize("wrong", ["a" * 2000, "a" * 100 + "/..", "a" * 100 + "/b**", "a" * 100 + "["])
def test_of_a_long_pattern_eighty_characters_are_repeated(wrong: str) -> None:
    with pytest.raises(PatternMistake) as caught:
        check_pattern(f"/{wrong}")
    assert str(caught.value).startswith(f"'/{'a' * 79}':")


def test_a_pattern_may_have_as_many_characters_as_are_allowed() -> None:
    longest = "/" + "a" * (MAX_PATTERN - 1)
    assert check_pattern(longest) == ["a" * 1023]
    assert check_pattern("/a/**/b?") == ["a", "**", "b?"]


@pytest.mark.parametrize(
    ("wild", "part", "matches"),
    [
        ("*", "", True),
        ("?", "", False),
        ("", "", True),
        ("", "a", False),
        ("a", "", False),
        ("a*", "a", True),
        ("*a", "ba", True),
        ("*a", "ab", False),
        ("a*b*c", "axxbyyc", True),
        ("a*b*c", "abcbc", True),
        ("a*b*c", "acb", False),
        ("?b", "ab", True),
        ("?b", "b", False),
        ("*?", "a", True),
        ("a?", "a", False),
        ("ab", "a", False),
        ("*ab", "aab", True),
        ("a**", "a", True),
    ],
)
def test_one_part_of_a_path(wild: str, part: str, matches: bool) -> None:
    assert matches_part(wild, part) is matches


@pytest.mark.parametrize(
    ("patterns", "path", "found"),
    [
        (("/a/**/b",), "/a/b", {0}),
        (("/a/**/b",), "/a/x/y/b", {0}),
        (("/**/**/b",), "/b", {0}),
        (("/a/**",), "/a", set()),
        (("/a/**",), "/a/x", {0}),
        (("/a/**/**",), "/a/x", {0}),
        # Several that share their beginning, a literal beside a wild one, two of the same text.
        (("/a/ga?e", "/a/ga*", "/a/game", "/a/ga*"), "/a/game", {0, 1, 2, 3}),
        (("/a/ga?e", "/a/ga*", "/a/g*"), "/a/gx", {2}),
        (("/ab*/x", "/a*/x", "/*/x"), "/abc/x", {0, 1, 2}),
        (("/ab*/x", "/a*/x", "/*/x"), "/b/x", {2}),
        (("/*b", "/?b"), "/ab", {0, 1}),
        (("/a/**/b/*", "/a/**"), "/a/b/c/b/d", {0, 1}),
        (("/a/b",), "/a/b/c", set()),
        (("/a/b/c",), "/a/b", set()),
    ],
)
def test_a_tree_finds_the_numbers_of_all_that_match(
    patterns: tuple[str, ...], path: str, found: set[int]
) -> None:
    tree = PatternTree([(text, number) for number, text in enumerate(patterns)])
    assert tree.find(path) == found


# ---- sites ------------------------------------------------------------------------------------------------


def site(
    rule_id: str, *names: str, decision: DecisionKind = DecisionKind.BLOCK, **more: object
) -> policy.SiteRule:
    text = policy.RuleText(rule_id=rule_id)
    return policy.SiteRule(text=text, decision=decision, sites=names, **more)  # type: ignore[arg-type]


def sites(*rules: policy.SiteRule, otherwise: DecisionKind = DecisionKind.ALLOW) -> SiteTable:
    categories = (policy.SiteCategory(name="games", sites=("play.example",)),)
    return SiteTable(policy.BrowserSection(rules=rules, otherwise=otherwise, categories=categories))


def test_a_rule_without_an_id_or_a_decision_is_refused() -> None:
    for wrong in (site("", "a.example"), site("x", "a.example", decision=DecisionKind.UNSPECIFIED)):
        with pytest.raises(TableMistake, match="needs an id and a decision"):
            sites(wrong)


def test_a_section_of_sites_that_does_not_say_what_happens_otherwise_allows() -> None:
    assert sites(otherwise=DecisionKind.UNSPECIFIED).decide("a.example", NOW).decision == "allow"


def test_what_cannot_be_told_counts_for_the_stricter_rule_and_is_not_steady() -> None:
    table = sites(site("here", "a.example", when=HERE), site("always", "a.example", "b.example"))
    assert not table.decide("a.example", NOW).steady
    assert table.decide("b.example", NOW).steady
    assert table.decide("c.example", NOW).steady
    told = {one.rule_id: (one.holds, one.told) for one in table.concerning("a.example", UNKNOWN)}
    assert told == {"here": (True, False), "always": (True, True)}
    away = Circumstances(now_ms=0, place="off-site")
    told = {one.rule_id: (one.holds, one.told) for one in table.concerning("a.example", away)}
    assert told == {"here": (False, True), "always": (True, True)}


def test_a_rule_on_every_site_leaves_its_own_list_open_and_no_other_rule_does() -> None:
    table = sites(
        site("all", "*", allowed=("learn.example", "big.example/kids")),
        site("one", "learn.example"),
        site("games", categories=("games",), allowed=("play.example/safe",)),
    )

    def rules(address: str, *categories: str) -> list[str]:
        found = table.concerning(address, NOW, categories=frozenset(categories))
        return sorted(one.rule_id for one in found)

    assert rules("other.example") == ["all"]
    assert rules("learn.example") == ["one"]
    assert rules("www.learn.example/x") == ["one"]
    assert rules("notlearn.example") == ["all"]
    assert rules("big.example/Kids/1") == []
    assert rules("big.example/news") == ["all"]
    assert rules("www.big.example/kids") == []
    assert rules("m.big.example/kids") == ["all"], "a path is of that very host and its www"
    assert rules("play.example/x") == ["all", "games"]
    assert rules("play.example/safe/x") == ["all"]
    assert rules("other.example", "games") == ["all", "games"]
    assert rules("", "games") == ["all", "games"]
    assert rules("") == ["all"]


# ---- the engine as a whole --------------------------------------------------------------------------------


def test_a_thing_that_a_rule_leaves_out_is_not_its_concern_and_other_kinds_are_not() -> None:
    def peripheral(
        rule_id: str, kind: policy.PeripheralKind, allowed: tuple[str, ...] = ()
    ) -> policy.PeripheralRule:
        text = policy.RuleText(rule_id=rule_id)
        return policy.PeripheralRule(text=text, kind=kind, decision=DecisionKind.BLOCK, allowed=allowed)

    engine = Engine(
        OpenBundle(
            hash=b"",
            manifest=policy.BundleManifest(
                format=1, school_id="s", group="g", version=1, compiled_at_unix_ms=0
            ),
            peripherals=policy.PeripheralsSection(
                rules=(
                    peripheral("one", policy.PeripheralKind.CAMERA, ("a:1",)),
                    peripheral("two", policy.PeripheralKind.CAMERA),
                    peripheral("phone", policy.PeripheralKind.PHONE),
                )
            ),
        )
    )

    def rules(kind: str, what: str = "") -> list[str]:
        return [row[0] for row in engine.peripheral(kind, what)]

    assert rules("camera") == ["one", "two"]
    assert rules("camera", "a:1") == ["two"]
    assert rules("camera", "a:2") == ["one", "two"]
    assert rules("phone", "a:1") == ["phone"]
    assert rules("printer") == []
    assert engine.weigh(engine.peripheral("printer"), NOW).decision == "allow"


def test_how_to_ask_names_the_rule() -> None:
    assert asking_words("games") == "To ask for an exception: schoolkeeper-agent ask games"
