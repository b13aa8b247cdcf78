"""Programs: refused, warned of, watched, and judged afterwards where nobody guarded."""

from dataclasses import replace

import pytest

from schoolkeeper_agent.enforcers.actions import EndProgram
from schoolkeeper_agent.observations import (
    ActionDone,
    ExecutionJudged,
    GuardDown,
    GuardUp,
    PlaceSeen,
    PolicySwapped,
    ProcessEnded,
    ProcessStarted,
    SessionSeen,
    Tick,
)
from schoolkeeper_agent.seams import Enforce, Outcome
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.wire import Lane
from support.core_playbook import MONDAY_10, Playbook, bundle_of

GAME = "/opt/game"
TEXT = policy.RuleText(
    rule_id="no-games",
    description="Games are closed on school laptops.",
    why="Lessons come first.",
    resolution="Ask Mr Lee for the games club.",
    severity=model.Severity.LOW,
    source=("T-24",),
)


def games(
    decision: model.DecisionKind, mode: policy.RuleMode = policy.RuleMode.ENFORCE
) -> policy.ApplicationsSection:
    text = policy.RuleText(**{name: getattr(TEXT, name) for name in TEXT.__slots__} | {"mode": mode})
    match = policy.ApplicationMatch(by=policy.MatchBy.PATH, text=GAME)
    return policy.ApplicationsSection(
        rules=(policy.ApplicationRule(text=text, decision=decision, matches=(match,)),)
    )


def refusal(decision: model.DecisionKind = model.DecisionKind.BLOCK) -> ExecutionJudged:
    return ExecutionJudged(
        path=GAME,
        decision=decision,
        asked=decision,
        rule_id="no-games",
        process_id=7,
        account="ann",
        user_id=1001,
    )


def started(path: str = GAME, **more: object) -> ProcessStarted:
    return ProcessStarted(process_id=7, path=path, account="ann", user_id=1001, **more)  # type: ignore[arg-type]


def test_a_refusal_is_written_down_and_said_in_the_rules_words() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK)), able={"applications"})
    script.sees(GuardUp(enforcer="applications")).nothing()
    script.sees(refusal())
    rule = model.RuleRef(rule_id="no-games", source="T-24", decision=model.DecisionKind.BLOCK, enforced=True)
    script.records("application.refused", rule=rule, lane=Lane.NORMAL, severity=model.Severity.LOW)
    script.tells(
        "game is not allowed here", "Lessons come first.", "Ask Mr Lee for the games club."
    ).nothing()


def test_block_and_raise_travels_on_the_critical_lane_and_is_at_least_high() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK_AND_RAISE)), able={"applications"})
    script.sees(refusal(model.DecisionKind.BLOCK_AND_RAISE))
    script.records("application.refused", lane=Lane.CRITICAL, severity=model.Severity.HIGH).tells(
        "not allowed"
    ).nothing()


def test_without_a_guard_a_program_is_judged_afterwards_and_marked_as_not_enforced() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK)))
    script.sees(started())
    rule = model.RuleRef(rule_id="no-games", source="T-24", decision=model.DecisionKind.BLOCK, enforced=False)
    script.records("application.started", rule=rule, severity=model.Severity.LOW).nothing()


def test_what_ran_while_the_guard_was_dead_is_judged_and_the_gap_is_said() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK)), able={"applications"})
    script.sees(GuardUp(enforcer="applications")).nothing()
    script.sees(started("/usr/bin/true")).nothing()
    script.sees(GuardDown(enforcer="applications", reason="killed")).records(
        "sensor.failed", error="killed"
    ).nothing()
    script.later(1).sees(started())
    carried_out(script).records("application.started", ended=True).tells("game is not allowed here").nothing()
    script.later(1).sees(GuardUp(enforcer="applications", down_milliseconds=2000))
    script.records(
        "agent.gap", what="executions undecided", from_unix_ms=MONDAY_10, to_unix_ms=MONDAY_10 + 2000
    )
    script.records("sensor.recovered", down_milliseconds=2000).nothing()


def test_what_runs_although_the_guard_should_have_refused_it_went_around_it_and_is_said() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK)), able={"applications"})
    script.sees(GuardUp(enforcer="applications")).nothing()
    script.sees(started())
    carried_out(script, "process 7 is not there").records(
        "application.started", severity=model.Severity.LOW, ended=False
    ).nothing()


def carried_out(script: Playbook, failed: str = "") -> Playbook:
    """The enforcer did, or could not do, what it was asked for: end the program that went round the guard."""
    (asked,) = script.effects
    assert isinstance(asked, Enforce)
    assert isinstance(asked.action, EndProgram)
    assert (asked.action.process_id, asked.action.path) == (7, GAME)
    rule = asked.action.started.body.rule  # type: ignore[union-attr]
    assert rule.enforced is False
    script.effects.clear()
    done = Outcome(enforcer="applications", action=asked.action, succeeded=not failed, detail=failed)
    return script.sees(ActionDone(outcome=done))


def test_what_ran_before_and_what_the_system_runs_is_never_ended() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK)), able={"applications"})
    script.sees(GuardUp(enforcer="applications")).nothing()
    for one in (replace(started(), already_running=True), replace(started(), user_id=0, account="root")):
        script.sees(one).records("application.started", ended=False).nothing()


def test_a_script_given_to_its_interpreter_is_the_programs_business() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK)), able={"applications"})
    script.sees(GuardUp(enforcer="applications")).nothing()
    script.sees(replace(started("/usr/bin/dash"), script="/home/ann/notes.sh")).nothing()
    script.sees(replace(started("/usr/bin/dash"), script=GAME))
    (asked,) = script.effects
    assert isinstance(asked, Enforce)
    assert isinstance(asked.action, EndProgram)
    assert asked.action.path == "/usr/bin/dash"
    body = asked.action.started.body
    assert isinstance(body, model.ApplicationStarted)
    assert (body.application.path, body.application.name) == (GAME, "game")


def test_the_guard_and_the_process_sensor_do_not_tell_the_same_twice() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK, policy.RuleMode.WARN)), able={"applications"})
    script.sees(GuardUp(enforcer="applications")).nothing()
    warned = ExecutionJudged(
        path=GAME,
        decision=model.DecisionKind.WARN,
        asked=model.DecisionKind.BLOCK,
        rule_id="no-games",
        process_id=7,
    )
    script.sees(warned).records("application.started").tells("Please do not use game").nothing()
    script.sees(started()).nothing()


def test_a_warned_program_runs_and_the_person_is_told() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK, policy.RuleMode.WARN)))
    script.sees(started()).records("application.started").tells("Please do not use game").nothing()


def test_the_screen_of_the_person_refused_is_told_and_no_other() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK)))
    script.sees(SessionSeen(session_id="c2", account="ann", user_id=1001)).records(
        "session.signed_in"
    ).nothing()
    script.sees(refusal()).records("application.refused")
    assert script.effects[0].session_id == "c2"  # type: ignore[union-attr]
    script.tells("not allowed")


def test_running_programs_are_found_at_the_start_only_if_a_rule_has_a_word_on_them() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK)))
    script.sees(started("/usr/bin/true", already_running=True)).nothing()
    script.sees(started(already_running=True)).records("application.started").nothing()


@pytest.mark.requirement("T-51")
def test_people_are_pseudonyms_and_a_shared_account_is_never_one_child() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK)))
    script.sees(started())
    ann = script.effects[0].user  # type: ignore[union-attr]
    assert ann is not None
    assert (ann.kind, len(ann.pseudonym)) == (model.UserKind.PERSON, 16)
    assert b"ann" not in ann.pseudonym
    script.records("application.started")
    script.sees(ProcessStarted(process_id=8, path=GAME, account="reception", user_id=1002))
    assert script.effects[0].user.kind is model.UserKind.SHARED  # type: ignore[union-attr]
    script.records("application.started")
    script.sees(ProcessStarted(process_id=9, path=GAME, account="root", user_id=0))
    script.records("application.started", user=model.UserRef(kind=model.UserKind.NONE))


def test_programs_that_no_rule_has_a_word_on_are_not_written_down_one_by_one() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK)))
    script.sees(started("/usr/bin/gimp")).nothing()
    closed = policy.ApplicationsSection(otherwise=model.DecisionKind.BLOCK)
    script = Playbook(bundle_of(closed))
    script.sees(started("/usr/bin/gimp"))
    assert script.effects[0].body.rule.source == "default"  # type: ignore[union-attr]
    script.records("application.started").nothing()


@pytest.mark.requirement("T-41")
def test_a_kind_that_nobody_was_told_of_is_not_written_down() -> None:
    bundle = bundle_of(games(model.DecisionKind.BLOCK), kinds=("application.refused",))
    script = Playbook(bundle)
    script.sees(started()).nothing()
    script.sees(refusal()).records("application.refused").tells("not allowed").nothing()


def test_a_kind_kept_for_the_schools_own_network_is_not_written_down_elsewhere() -> None:
    script = Playbook(bundle_of(games(model.DecisionKind.BLOCK), off_site=False))
    script.sees(started()).records("application.started").nothing()
    script.sees(PlaceSeen(place=model.Place.UNKNOWN)).nothing()
    script.sees(started()).nothing()


def test_a_new_policy_reaches_the_guard_whole() -> None:
    script = Playbook(bundle_of(), able={"applications"})
    new = bundle_of(games(model.DecisionKind.BLOCK))
    script.sees(PolicySwapped(bundle=new)).records("policy.applied", bundle_hash=new.hash, bundle_version=7)
    script.enforces("applications").nothing()
    assert script.state.applications.exact_paths == (GAME,)


def test_usage_is_cumulative_within_the_hour_and_begins_anew_in_the_next() -> None:
    script = Playbook(bundle_of(kinds=("application.usage",)))
    script.sees(started("/usr/bin/gimp")).nothing()
    script.later(60).sees(Tick()).records(
        "application.usage", starts=1, running_seconds=60, lane=Lane.BULK
    ).nothing()
    script.later(60).sees(Tick())
    first = script.effects[0].body  # type: ignore[union-attr]
    script.records("application.usage", starts=1, running_seconds=120)
    script.sees(Tick()).nothing()
    script.later(30).sees(ProcessEnded(process_id=7)).nothing()
    script.sees(Tick()).records(
        "application.usage", running_seconds=150, aggregate_id=first.aggregate_id
    ).nothing()  # type: ignore[union-attr]
    script.later(3600).sees(Tick()).nothing()
    script.sees(started("/usr/bin/gimp")).nothing()
    script.later(10).sees(Tick())
    assert script.effects[0].body.aggregate_id != first.aggregate_id  # type: ignore[union-attr]
    script.records("application.usage", starts=1, running_seconds=10)
