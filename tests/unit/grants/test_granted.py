"""What each kind of grant makes of one rule of each sort: in its section, beside others, for those it spares."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.granted import InForce, rules_of, with_grants
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import MediaAccess, RuleMode, RuleText
from schoolkeeper_proto.site_matching import SiteTable
from schoolkeeper_proto.wire import GrantKind
from support.granting import START, app_rule, opened

LESSON_TIME = policy.Applicability(
    times=(policy.TimeWindow(weekdays=31, from_minute=540, to_minute=900),),
    days=(policy.DayRange(first_day=20_000),),
    user_groups=("staff",),
    time_zone="Europe/London",
    exceptions=(policy.RuleException(exception_id="e"),),
)
KINDS = (GrantKind.OBSERVE, GrantKind.LESSON, GrantKind.EXCEPTION)


def grant(kind: GrantKind, *rule_ids: str, **more: object) -> InForce:
    values: dict[str, object] = {"grant_id": b"g" * 16, "until_unix_ms": START}
    return InForce(kind=kind, rule_ids=rule_ids or None, **(values | more))  # type: ignore[arg-type]


def program(decision: DecisionKind, mode: RuleMode = RuleMode.ENFORCE) -> policy.ApplicationRule:
    made = app_rule("r", "/bin/r", decision, when=LESSON_TIME)
    return replace(made, text=RuleText(rule_id="r", mode=mode))


def medium(access: MediaAccess, rule_id: str = "m") -> policy.MediaRule:
    return policy.MediaRule(text=RuleText(rule_id=rule_id), access=access)


def of_programs(
    rule: policy.ApplicationRule, *grants: InForce, otherwise: DecisionKind = DecisionKind.ALLOW
) -> policy.ApplicationRule | None:
    """What is left of the only rule; None when it is gone."""
    bundle = replace(opened(), applications=policy.ApplicationsSection(rules=(rule,), otherwise=otherwise))
    left = with_grants(bundle, grants).applications.rules
    return left[0] if left else None


def of_media(
    rule: policy.MediaRule, *grants: InForce, otherwise: DecisionKind = DecisionKind.ALLOW
) -> policy.MediaRule | None:
    bundle = replace(opened(), media=policy.MediaSection(rules=(rule,), otherwise=otherwise))
    left = with_grants(bundle, grants).media.rules
    return left[0] if left else None


@pytest.mark.parametrize(
    ("own", "given", "left"),
    [
        (RuleMode.ENFORCE, RuleMode.OBSERVE, RuleMode.OBSERVE),
        (RuleMode.ENFORCE, RuleMode.WARN, RuleMode.WARN),
        (RuleMode.WARN, RuleMode.OBSERVE, RuleMode.OBSERVE),
        (RuleMode.OBSERVE, RuleMode.WARN, RuleMode.OBSERVE),
        # A mode that is not known counts as in force.
        (RuleMode.UNSPECIFIED, RuleMode.WARN, RuleMode.WARN),
    ],
)
def test_an_observed_rule_has_the_milder_mode(own: RuleMode, given: RuleMode, left: RuleMode) -> None:
    rule = program(DecisionKind.BLOCK, own)
    found = of_programs(rule, grant(GrantKind.OBSERVE, "r", mode=given))
    assert found == replace(rule, text=replace(rule.text, mode=left))


def test_what_opens_goes_on_to_open_while_it_is_observed() -> None:
    closed = DecisionKind.BLOCK
    for decision in (DecisionKind.ALLOW, DecisionKind.OBSERVE, DecisionKind.WARN):
        found = of_programs(
            program(decision), grant(GrantKind.OBSERVE, "r", mode=RuleMode.WARN), otherwise=closed
        )
        assert found == program(decision)
    observed = grant(GrantKind.OBSERVE, "r")
    milder = of_programs(program(DecisionKind.WARN), observed, otherwise=closed)
    assert milder == program(DecisionKind.OBSERVE)
    assert of_programs(program(DecisionKind.ALLOW), observed) == program(DecisionKind.ALLOW)
    # Where everything is allowed, a warning opens nothing: it is put on trial like a refusal.
    tried = of_programs(program(DecisionKind.WARN), observed)
    assert tried == program(DecisionKind.WARN, RuleMode.OBSERVE)
    # As strict as what holds without it, it opens nothing either.
    same = of_programs(program(DecisionKind.BLOCK), observed, otherwise=closed)
    assert same == program(DecisionKind.BLOCK, RuleMode.OBSERVE)


@pytest.mark.parametrize("otherwise", [DecisionKind.BLOCK, DecisionKind.BLOCK_AND_RAISE, DecisionKind.WARN])
@pytest.mark.parametrize("mode", [RuleMode.OBSERVE, RuleMode.WARN])
def test_while_everything_is_observed_nothing_stays_closed(otherwise: DecisionKind, mode: RuleMode) -> None:
    bundle = replace(
        opened(),
        applications=policy.ApplicationsSection(otherwise=otherwise),
        media=policy.MediaSection(otherwise=DecisionKind.ALLOW),
    )
    found = with_grants(bundle, (grant(GrantKind.OBSERVE, mode=mode),))
    assert str(found.applications.otherwise) == str(mode)
    assert found.media.otherwise is DecisionKind.ALLOW
    for one in (
        grant(GrantKind.OBSERVE, "r", mode=mode),
        grant(GrantKind.LESSON, mode=mode),
        grant(GrantKind.EXCEPTION, mode=mode),
    ):
        assert with_grants(bundle, (one,)).applications.otherwise is otherwise


def test_what_is_milder_than_the_trial_is_left_as_it_is() -> None:
    bundle = replace(opened(), applications=policy.ApplicationsSection(otherwise=DecisionKind.OBSERVE))
    found = with_grants(bundle, (grant(GrantKind.OBSERVE, mode=RuleMode.WARN),))
    assert found.applications.otherwise is DecisionKind.OBSERVE


@pytest.mark.parametrize("kind", [GrantKind.LESSON, GrantKind.EXCEPTION])
def test_a_rule_that_refuses_is_lifted(kind: GrantKind) -> None:
    for decision in (DecisionKind.BLOCK, DecisionKind.BLOCK_AND_RAISE, DecisionKind.WARN):
        assert of_programs(program(decision), grant(kind, "r")) is None
    assert of_media(medium(MediaAccess.BLOCK), grant(kind, "m")) is None
    assert of_media(medium(MediaAccess.READ_ONLY), grant(kind, "m")) is None
    # As strict as everything else: it opens nothing, so it goes.
    assert of_programs(program(DecisionKind.BLOCK), grant(kind, "r"), otherwise=DecisionKind.BLOCK) is None
    assert of_media(medium(MediaAccess.BLOCK), grant(kind, "m"), otherwise=DecisionKind.BLOCK) is None


def test_a_lesson_opens_at_any_time_to_anybody_what_opens_for_some() -> None:
    opens = program(DecisionKind.WARN)
    found = of_programs(opens, grant(GrantKind.LESSON, "r"), otherwise=DecisionKind.BLOCK)
    assert found is not None
    assert found.decision is DecisionKind.ALLOW
    assert found.when == replace(LESSON_TIME, times=(), days=(), user_groups=())
    always = of_programs(
        app_rule("r", "/bin/r", DecisionKind.ALLOW),
        grant(GrantKind.LESSON, "r"),
        otherwise=DecisionKind.BLOCK,
    )
    assert always == app_rule("r", "/bin/r", DecisionKind.ALLOW)


def test_an_exception_opens_without_any_condition() -> None:
    found = of_programs(
        program(DecisionKind.WARN), grant(GrantKind.EXCEPTION, "r"), otherwise=DecisionKind.BLOCK
    )
    assert found == replace(program(DecisionKind.ALLOW), when=None)


@pytest.mark.parametrize(
    ("otherwise", "access", "opens"),
    [
        (DecisionKind.ALLOW, MediaAccess.ALLOW, True),
        (DecisionKind.ALLOW, MediaAccess.READ_ONLY, False),
        (DecisionKind.ALLOW, MediaAccess.ENCRYPTED_ONLY, False),
        (DecisionKind.WARN, MediaAccess.READ_ONLY, False),
        (DecisionKind.READ_ONLY, MediaAccess.READ_ONLY, True),
        (DecisionKind.READ_ONLY, MediaAccess.ENCRYPTED_ONLY, True),
        (DecisionKind.READ_ONLY, MediaAccess.BLOCK, False),
        (DecisionKind.BLOCK, MediaAccess.READ_ONLY, True),
        (DecisionKind.BLOCK, MediaAccess.BLOCK, False),
    ],
)
def test_a_rule_for_media_opens_where_it_is_milder(
    otherwise: DecisionKind, access: MediaAccess, opens: bool
) -> None:
    expected = medium(MediaAccess.ALLOW) if opens else None
    assert of_media(medium(access), grant(GrantKind.EXCEPTION, "m"), otherwise=otherwise) == expected
    kept = of_media(medium(access), grant(GrantKind.OBSERVE, "m"), otherwise=otherwise)
    assert kept is not None
    assert kept.access is access
    assert kept.text.mode is (RuleMode.ENFORCE if opens else RuleMode.OBSERVE)


def whole() -> OpenBundle:
    """A rule or a setting in every section that has some."""
    return replace(
        opened((app_rule("program", "/bin/r"),)),
        media=policy.MediaSection(rules=(medium(MediaAccess.BLOCK, "medium"),)),
        screen=policy.ScreenSection(text=RuleText(rule_id="screen"), idle_lock_seconds=300),
        browser=policy.BrowserSection(
            rules=(policy.SiteRule(text=RuleText(rule_id="site"), decision=DecisionKind.BLOCK),),
            settings=(policy.BrowserRule(text=RuleText(rule_id="setting")),),
            categories=(policy.SiteCategory(name="games", sites=("play.example",)),),
        ),
        posture=policy.PostureSection(checks=(policy.PostureCheck(check="clock", every_seconds=60),)),
    )


def test_every_rule_of_every_section_is_named_once_and_nothing_else_is() -> None:
    ids = [rule.text.rule_id for rule in rules_of(whole())]
    assert sorted(ids) == ["medium", "program", "screen", "setting", "site"]


def test_a_grant_changes_the_rules_it_concerns_and_nothing_else() -> None:
    before = whole()
    for named in ("program", "medium", "screen", "site", "setting"):
        after = with_grants(before, (grant(GrantKind.OBSERVE, named),))
        modes = {rule.text.rule_id: rule.text.mode for rule in rules_of(after)}
        assert [one for one, mode in modes.items() if mode is not RuleMode.ENFORCE] == [named]
        spared = grant(GrantKind.OBSERVE, named, spared=frozenset({named}))
        assert with_grants(before, (spared,)) == before
    all_but = with_grants(before, (grant(GrantKind.OBSERVE, spared=frozenset({"screen", "site"})),))
    modes = {rule.text.rule_id: rule.text.mode for rule in rules_of(all_but)}
    assert {one for one, mode in modes.items() if mode is RuleMode.ENFORCE} == {"screen", "site"}
    assert all_but.posture == before.posture


def test_a_grant_is_quiet_only_if_it_says_so() -> None:
    assert not grant(GrantKind.ISOLATE).quiet


def test_a_whole_section_that_is_a_rule_is_lifted_with_it() -> None:
    found = with_grants(whole(), (grant(GrantKind.EXCEPTION, "screen"),))
    assert found.screen is None
    assert found.applications == whole().applications
    # A setting has neither decision nor access: there is nothing in it that could open.
    assert with_grants(whole(), (grant(GrantKind.EXCEPTION, "setting"),)).browser.settings == ()


def test_an_emergency_block_adds_its_rules_in_force_and_at_all_times() -> None:
    mild = replace(
        app_rule("vpn", "/bin/vpn", when=LESSON_TIME), text=RuleText(rule_id="vpn", mode=RuleMode.OBSERVE)
    )
    section = policy.ApplicationsSection(rules=(mild,))
    bundle = opened((app_rule("program", "/bin/r"),))
    found = with_grants(bundle, (grant(GrantKind.EMERGENCY_BLOCK, applications=section),))
    assert found.applications.rules == (app_rule("program", "/bin/r"), app_rule("vpn", "/bin/vpn"))
    # Nobody lifts it with what is older: an exception for everything goes first, whatever the order.
    both = (
        grant(GrantKind.EMERGENCY_BLOCK, applications=section),
        grant(GrantKind.EXCEPTION, "vpn", "program"),
    )
    assert with_grants(bundle, both).applications.rules == (app_rule("vpn", "/bin/vpn"),)
    assert with_grants(bundle, (grant(GrantKind.EMERGENCY_BLOCK),)) == bundle
    assert with_grants(bundle, (grant(GrantKind.ISOLATE, applications=section),)) == bundle


def test_an_emergency_block_of_a_site_holds_beside_what_allows_it() -> None:
    """Stricter wins: the policy's own allowance of the site is no way round."""
    allowed = policy.SiteRule(
        text=RuleText(rule_id="own"), decision=DecisionKind.ALLOW, sites=("example.org",)
    )
    mild = policy.SiteRule(
        text=RuleText(rule_id="new", mode=RuleMode.OBSERVE), decision=DecisionKind.BLOCK, sites=("example.org/bad",),
        when=LESSON_TIME,
    )  # fmt: skip
    bundle = replace(opened(), browser=policy.BrowserSection(rules=(allowed,)))
    found = with_grants(
        bundle, (grant(GrantKind.EMERGENCY_BLOCK, browser=policy.BrowserSection(rules=(mild,))),)
    )
    table = SiteTable(found.browser)
    here = Circumstances(now_ms=0)
    assert table.decide("example.org/bad/page", here).decision == DecisionKind.BLOCK
    assert table.decide("example.org/good", here).decision == DecisionKind.ALLOW
    assert found.applications == bundle.applications


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_does_its_own(kind: GrantKind) -> None:
    found = of_programs(program(DecisionKind.WARN), grant(kind, "r"), otherwise=DecisionKind.BLOCK)
    assert found is not None
    assert (found.decision, found.when) == {
        GrantKind.OBSERVE: (DecisionKind.OBSERVE, LESSON_TIME),
        GrantKind.LESSON: (DecisionKind.ALLOW, replace(LESSON_TIME, times=(), days=(), user_groups=())),
        GrantKind.EXCEPTION: (DecisionKind.ALLOW, None),
    }[kind]
