"""What grants and the believed time do to the core's decisions."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from schoolkeeper_agent import core, observations
from schoolkeeper_agent.enforcers.actions import ApplyBrowsers, GuardApplications, RefreshApplications
from schoolkeeper_agent.enforcers.linux.exec_responder.judge import Judge
from schoolkeeper_agent.enforcers.linux.exec_responder.origin import Origin
from schoolkeeper_agent.enforcers.linux.exec_responder.settled import Settled
from schoolkeeper_agent.seams import Effect, Enforce, Record, Tell
from schoolkeeper_agent.state import Believed, CoreState
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.granted import InForce
from schoolkeeper_proto.matching import compile_applications
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.wire import GrantKind
from support.core_playbook import bundle_of
from support.granting import DAY, HOUR, START, app_rule

NIGHT = policy.Applicability(times=(policy.TimeWindow(weekdays=127, from_minute=0, to_minute=360),))
GAME = app_rule("games", "/usr/games/chess")
MIDNIGHT = START - START % DAY


def state_of(*rules: policy.ApplicationRule, guarding: bool = False) -> CoreState:
    bundle = bundle_of(policy.ApplicationsSection(rules=rules))
    state = core.initial(bundle, run_id=b"r" * 16, able=frozenset({"applications"}))
    return replace(state, guarding=guarding)


def in_force(kind: GrantKind, **fields: object) -> InForce:
    return InForce(grant_id=b"g" * 16, kind=kind, until_unix_ms=START + HOUR, **fields)  # type: ignore[arg-type]


def changed(
    state: CoreState, *grants: InForce, tell: tuple[str, ...] = ()
) -> tuple[CoreState, tuple[Effect, ...]]:
    return core.handle(state, observations.GrantsChanged(in_force=grants, tell=tell), START)


def asked(state: CoreState, path: str, now: int = START) -> str:
    seen = observations.ProcessStarted(process_id=1, path=path)
    return state.applications.decide(path, state.circumstances(seen, now)).decision


def test_an_exception_opens_its_rule_for_the_guard_too_and_its_end_closes_it() -> None:
    state = state_of(GAME)
    assert asked(state, "/usr/games/chess") == "block"
    state, effects = changed(state, in_force(GrantKind.EXCEPTION, rule_ids=("games",)), tell=("Chess club.",))
    assert asked(state, "/usr/games/chess") == "allow"
    (guard,) = [effect.action for effect in effects if isinstance(effect, Enforce)]
    assert isinstance(guard, GuardApplications)
    assert guard.section.rules == ()
    assert [effect.text for effect in effects if isinstance(effect, Tell)] == ["Chess club."]
    state, effects = changed(state)
    assert asked(state, "/usr/games/chess") == "block"
    (guard,) = [effect.action for effect in effects if isinstance(effect, Enforce)]
    assert isinstance(guard, GuardApplications)
    assert guard.section.rules == (GAME,)


def test_grants_stay_in_force_when_the_policy_is_swapped() -> None:
    state, _ = changed(state_of(GAME), in_force(GrantKind.OBSERVE))
    assert asked(state, "/usr/games/chess") == "observe"
    newer = bundle_of(policy.ApplicationsSection(rules=(GAME, app_rule("more", "/usr/games/go"))))
    state, _ = core.handle(state, observations.PolicySwapped(bundle=newer), START)
    assert asked(state, "/usr/games/go") == "observe"
    state, _ = changed(state)
    assert asked(state, "/usr/games/go") == "block"


def test_an_emergency_block_of_an_address_is_asked_of_the_browsers_at_once_and_ends_with_the_grant() -> None:
    rule = policy.SiteRule(
        text=policy.RuleText(rule_id="grant-67-site"), decision=DecisionKind.BLOCK, sites=("bad.example",)
    )
    state = core.initial(bundle_of(), run_id=b"r" * 16, able=frozenset({"browser"}))
    state, _ = changed(state)
    block = in_force(GrantKind.EMERGENCY_BLOCK, browser=policy.BrowserSection(rules=(rule,)))
    state, effects = changed(state, block)
    (asked_for,) = [effect.action for effect in effects if isinstance(effect, Enforce)]
    assert isinstance(asked_for, ApplyBrowsers)
    assert [one.sites for one in asked_for.section.rules] == [("bad.example",)]
    _, effects = changed(state)
    (asked_for,) = [effect.action for effect in effects if isinstance(effect, Enforce)]
    assert isinstance(asked_for, ApplyBrowsers)
    assert asked_for.section.rules == ()


def test_an_emergency_block_is_refused_under_its_own_name() -> None:
    block = policy.ApplicationsSection(rules=(app_rule("grant-67-vpn", "/usr/bin/vpn"),))
    state, _ = changed(state_of(GAME), in_force(GrantKind.EMERGENCY_BLOCK, applications=block))
    judged = observations.ExecutionJudged(
        path="/usr/bin/vpn", decision=DecisionKind.BLOCK, asked=DecisionKind.BLOCK, rule_id="grant-67-vpn"
    )
    _, effects = core.handle(state, judged, START)
    (refused,) = [effect.body for effect in effects if isinstance(effect, Record)]
    assert isinstance(refused, model.ApplicationRefused)
    assert refused.rule is not None
    assert refused.rule.rule_id == "grant-67-vpn"


def test_rules_with_times_follow_the_believed_time_and_not_the_wall_clock() -> None:
    state = state_of(app_rule("night", "/usr/games/chess", when=NIGHT))
    at_noon = MIDNIGHT + 12 * HOUR
    assert asked(state, "/usr/games/chess", at_noon) == "allow"
    # Somebody set the clock to noon; it is three in the morning.
    behind = replace(state, time=Believed(ahead_ms=-9 * HOUR, base_ms=0))
    assert asked(behind, "/usr/games/chess", at_noon) == "block"


def test_the_guard_hears_of_the_believed_time_only_when_it_moved() -> None:
    state = state_of(GAME, guarding=True)

    def told(state: CoreState, base_ms: int) -> tuple[CoreState, list[int | None]]:
        state = replace(state, time=Believed(ahead_ms=0, base_ms=base_ms))
        state, effects = core.handle(state, observations.Tick(), START)
        actions = [effect.action for effect in effects if isinstance(effect, Enforce)]
        return state, [action.base_ms for action in actions if isinstance(action, RefreshApplications)]

    state, first = told(state, START)
    assert first == [START]
    state, again = told(state, START + core.DRIFT_MS)
    assert again == []
    state, moved = told(state, START + core.DRIFT_MS + 1)
    assert moved == [START + core.DRIFT_MS + 1]


def test_the_exec_responder_judges_by_running_time_and_not_by_the_wall_clock() -> None:
    table = compile_applications(
        policy.ApplicationsSection(rules=(app_rule("night", "/usr/games/chess", when=NIGHT),))
    )
    found = Path("/bin/true").stat()
    since_boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    for hour, expected in ((3, "block"), (12, "allow")):
        judge = Judge(
            table,
            Settled(),
            Origin(),
            place="unknown",
            groups={},
            limit_ms=100,
            base_ms=MIDNIGHT + hour * HOUR - since_boot,
        )
        assert judge.decide_without_hash("/usr/games/chess", found, 0).decision == expected
