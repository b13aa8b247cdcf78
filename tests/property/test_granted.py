"""What grants make of any policy: a block only tightens, an exception only loosens what it names, order is nothing."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from schoolkeeper_proto import policy
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.granted import InForce, rules_of, with_grants
from schoolkeeper_proto.matching import STRICTNESS, compile_applications
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import RuleMode
from schoolkeeper_proto.wire import GrantKind
from support.granting import START, app_rule, opened

PATHS = tuple(f"/usr/bin/p{number}" for number in range(4))
IDS = ("a", "b", "c", "d")
WHENS = (
    None,
    policy.Applicability(times=(policy.TimeWindow(weekdays=127, from_minute=0, to_minute=1),)),
    policy.Applicability(user_groups=("staff",)),
)
DECISIONS = (DecisionKind.ALLOW, DecisionKind.WARN, DecisionKind.BLOCK, DecisionKind.BLOCK_AND_RAISE)
LOOSE = (GrantKind.OBSERVE, GrantKind.LESSON, GrantKind.EXCEPTION)


@st.composite
def rules(draw: st.DrawFn) -> tuple[policy.ApplicationRule, ...]:
    made = []
    for rule_id in draw(st.lists(st.sampled_from(IDS), unique=True)):
        rule = app_rule(rule_id, draw(st.sampled_from(PATHS)), draw(st.sampled_from(DECISIONS)))
        mode = draw(st.sampled_from((RuleMode.OBSERVE, RuleMode.WARN, RuleMode.ENFORCE)))
        text = policy.RuleText(rule_id=rule_id, mode=mode)
        made.append(
            policy.ApplicationRule(
                text=text, decision=rule.decision, matches=rule.matches, when=draw(st.sampled_from(WHENS))
            )
        )
    return tuple(made)


@st.composite
def loosening(draw: st.DrawFn) -> InForce:
    named = draw(st.none() | st.lists(st.sampled_from(IDS), min_size=1, unique=True).map(tuple))
    kind = draw(st.sampled_from(LOOSE))
    return InForce(
        grant_id=draw(st.binary(min_size=16, max_size=16)),
        kind=kind,
        until_unix_ms=START,
        rule_ids=named if kind is GrantKind.OBSERVE else named or ("a",),
        spared=frozenset(draw(st.sets(st.sampled_from(IDS)))),
        mode=draw(st.sampled_from((RuleMode.OBSERVE, RuleMode.WARN))),
    )


@st.composite
def block(draw: st.DrawFn) -> InForce:
    section = policy.ApplicationsSection(
        rules=(app_rule("x", draw(st.sampled_from(PATHS)), draw(st.sampled_from(DECISIONS[2:]))),)
    )
    return InForce(
        grant_id=draw(st.binary(min_size=16, max_size=16)),
        kind=GrantKind.EMERGENCY_BLOCK,
        until_unix_ms=START,
        applications=section,
    )


def decisions(
    held: tuple[policy.ApplicationRule, ...], grants: tuple[InForce, ...], otherwise: DecisionKind
) -> list[int]:
    bundle = opened(held)
    bundle = replace(bundle, applications=replace(bundle.applications, otherwise=otherwise))
    table = compile_applications(with_grants(bundle, grants).applications)
    here = Circumstances(now_ms=START, place="on-site", groups=frozenset({"pupils"}))
    return [STRICTNESS[table.decide(path, here).decision] for path in PATHS]


OTHERWISE = st.sampled_from((DecisionKind.ALLOW, DecisionKind.BLOCK))


@given(rules(), st.lists(block(), min_size=1, max_size=3), OTHERWISE)
def test_a_block_never_makes_anything_weaker(
    held: tuple[policy.ApplicationRule, ...], blocks: list[InForce], otherwise: DecisionKind
) -> None:
    before, after = decisions(held, (), otherwise), decisions(held, tuple(blocks), otherwise)
    assert all(new >= old for old, new in zip(before, after, strict=True))


@settings(max_examples=1500)
@given(rules(), st.lists(loosening(), min_size=1, max_size=3), OTHERWISE)
def test_what_loosens_never_tightens(
    held: tuple[policy.ApplicationRule, ...], grants: list[InForce], otherwise: DecisionKind
) -> None:
    before, after = decisions(held, (), otherwise), decisions(held, tuple(grants), otherwise)
    assert all(new <= old for old, new in zip(before, after, strict=True))


@given(rules(), st.lists(loosening(), min_size=1, max_size=3))
def test_a_rule_that_no_grant_concerns_stays_as_it_is(
    held: tuple[policy.ApplicationRule, ...], grants: list[InForce]
) -> None:
    after = {rule.text.rule_id: rule for rule in rules_of(with_grants(opened(held), tuple(grants)))}
    for rule in held:
        if not any(grant.concerns(rule.text.rule_id) for grant in grants):
            assert after[rule.text.rule_id] == rule


@given(rules(), st.lists(loosening() | block(), max_size=4, unique_by=lambda one: one.grant_id), st.randoms())
def test_the_order_of_grants_is_nothing(
    held: tuple[policy.ApplicationRule, ...], grants: list[InForce], chance: random.Random
) -> None:
    shuffled = list(grants)
    chance.shuffle(shuffled)
    assert with_grants(opened(held), tuple(grants)) == with_grants(opened(held), tuple(shuffled))
