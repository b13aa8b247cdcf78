"""Rules about what people brought along, and what a rule leaves out: an allow list without a weaker rule that wins."""

from __future__ import annotations

import json

import pytest

from schoolkeeper_proto import policy
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.matching import ApplicationTable, TableMistake, compile_applications, guessed_origin
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import MatchBy

NOW = Circumstances(now_ms=1_795_428_000_000, place="on-site", groups=frozenset({"pupils"}))
DIGEST = "ab" * 32
Pairs = tuple[tuple[MatchBy, str], ...]


def rule(
    rule_id: str, matches: Pairs, unless: Pairs = (), decision: DecisionKind = DecisionKind.BLOCK
) -> policy.ApplicationRule:
    made = [tuple(policy.ApplicationMatch(by=by, text=text) for by, text in one) for one in (matches, unless)]
    return policy.ApplicationRule(
        text=policy.RuleText(rule_id=rule_id), decision=decision, matches=made[0], unless=made[1]
    )


def table(*rules: policy.ApplicationRule) -> ApplicationTable:
    compiled = compile_applications(policy.ApplicationsSection(rules=rules))
    return ApplicationTable.from_json(json.loads(json.dumps(compiled.to_json())))


PERSONAL: Pairs = ((MatchBy.ORIGIN, "personal"),)


def test_the_origin_decides_and_not_the_path() -> None:
    listed = table(rule("list", PERSONAL))
    assert listed.needs_origin
    assert listed.decide("/usr/bin/game", NOW, origin="personal").rule_id == "list"
    assert not listed.decide("/home/ann/game", NOW, origin="system").refuses
    # The same path again, with the other origin: nothing remembered answers for it.
    assert not listed.decide("/usr/bin/game", NOW, origin="system").refuses
    assert listed.decide("/home/ann/game", NOW, origin="personal").refuses
    assert listed.decide("/home/ann/game", NOW, origin="personal").steady


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/usr/bin/gedit", "system"),
        ("/bin/sh", "system"),
        ("/sbin/init", "system"),
        ("/lib/systemd/systemd", "system"),
        ("/lib64/ld-linux-x86-64.so.2", "system"),
        ("/opt/maker/app", "system"),
        ("/snap/maths/1/bin/maths", "system"),
        ("/var/lib/flatpak/app/org.x.App/bin/app", "system"),
        ("/nix/store/x/bin/x", "system"),
        ("/usrlocal/game", "personal"),
        ("/home/ann/usr/bin/game", "personal"),
        ("/var/lib/other/game", "personal"),
        ("/tmp/game", "personal"),
        ("/memfd:game", "personal"),
        ("", "personal"),
    ],
)
def test_without_a_look_at_the_file_the_origin_is_guessed_by_its_path(path: str, origin: str) -> None:
    assert guessed_origin(path) == origin
    listed = table(rule("list", PERSONAL))
    assert listed.decide(path, NOW).refuses is (origin == "personal")
    assert bool(listed.concerning(path, NOW)) is (origin == "personal")
    assert not listed.concerning(path, NOW, origin="system")


def test_what_a_rule_leaves_out_it_is_not_about() -> None:
    unless: Pairs = (
        (MatchBy.PATH, "/home/ann/essay"),
        (MatchBy.FILE_NAME, "approved"),
        (MatchBy.SHA256, DIGEST),
        (MatchBy.PACKAGE, "maths"),
        (MatchBy.PATH_PATTERN, "/home/*/lessons/**"),
    )
    listed = table(rule("list", PERSONAL, unless))
    assert listed.needs_sha256
    assert listed.needs_package
    assert listed.packages == {"maths"}
    assert listed.decide("/home/ann/game", NOW, origin="personal").rule_id == "list"
    for path, more in (
        ("/home/ann/essay", {}),
        ("/tmp/approved", {}),
        ("/tmp/x", {"sha256": DIGEST}),
        ("/tmp/x", {"package": "maths"}),
        ("/home/bob/lessons/1/hello", {}),
    ):
        assert not listed.decide(path, NOW, origin="personal", **more).refuses, path
        assert not listed.concerning(path, NOW, origin="personal", **more)
    assert listed.decide("/tmp/x", NOW, origin="personal", sha256="cd" * 32).refuses


def test_it_leaves_it_out_of_itself_and_of_no_other_rule() -> None:
    both = table(
        rule("list", PERSONAL, ((MatchBy.FILE_NAME, "game"),)), rule("games", ((MatchBy.FILE_NAME, "game"),))
    )
    assert both.decide("/home/ann/game", NOW, origin="personal").rule_id == "games"
    assert both.decide("/usr/bin/game", NOW, origin="system").rule_id == "games"
    assert both.decide("/home/ann/other", NOW, origin="personal").rule_id == "list"


def test_a_file_of_two_names_is_left_out_by_neither_alone() -> None:
    listed = table(rule("list", PERSONAL, ((MatchBy.PATH, "/home/ann/essay"),)))
    assert listed.decide("/bound/x", NOW, alias="/home/ann/essay", origin="personal").refuses
    assert not listed.decide("/bound/x", NOW, alias="/home/ann/essay", origin="system").refuses


def test_tables_without_any_of_it_ask_nobody_for_it() -> None:
    plain = table(rule("r", ((MatchBy.FILE_NAME, "game"),)))
    assert not plain.needs_origin
    assert not plain.needs_package
    assert plain.packages == frozenset()
    assert plain.decide("/home/ann/game", NOW).refuses
    assert not plain.decide("/home/ann/other", NOW).refuses


def test_a_verdict_for_one_person_is_not_steady() -> None:
    verdict = table(rule("list", PERSONAL)).decide("/tmp/x", NOW)
    alone = verdict.for_this_user()
    assert verdict.steady
    assert not alone.steady
    assert (alone.decision, alone.asked, alone.rule_id) == ("block", "block", "list")
    assert alone.for_this_user() is alone


@pytest.mark.parametrize("text", ["", "home", "System"])
def test_an_origin_that_there_is_not_is_refused(text: str) -> None:
    for made in (
        rule("r", ((MatchBy.ORIGIN, text),)),
        rule("r", PERSONAL, ((MatchBy.ORIGIN, text),)),
    ):
        with pytest.raises(TableMistake, match=r"rule 'r': .* is no origin: give one of system, personal"):
            table(made)


def test_what_is_left_out_is_checked_like_what_is_meant() -> None:
    with pytest.raises(TableMistake, match="not an absolute path"):
        table(rule("r", PERSONAL, ((MatchBy.PATH, "essay"),)))
    with pytest.raises(TableMistake, match="names no application"):
        table(rule("r", (), ((MatchBy.FILE_NAME, "essay"),)))
