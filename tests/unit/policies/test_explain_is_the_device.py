"""``explain`` says what the agent does: the same bundle, put to both, in every combination of a small school."""

from __future__ import annotations

import itertools
import json

import pytest

from schoolkeeper_agent import core
from schoolkeeper_agent.enforcers.actions import LimitMedium
from schoolkeeper_agent.observations import ActionDone, ExecutionJudged, MediumArrived
from schoolkeeper_agent.seams import Effect, Enforce, Outcome, Tell
from schoolkeeper_policies.explain import Program, Question, explain
from schoolkeeper_policies.subject import Subject, open_subject
from schoolkeeper_proto import model
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.matching import ApplicationTable, compile_applications

MONDAY = 1_795_392_000_000  # 2026-11-23T00:00Z
HOUR_MS = 3_600_000
PATHS = [
    "/usr/games/steam",
    "/opt/tor-browser/Browser/firefox",
    "/usr/bin/tor",
    "/usr/bin/gedit",
    "/usr/bin/nordvpn",
]
WHENS = [MONDAY + hour * HOUR_MS for hour in (7, 10, 16, 24 * 5 + 10)]
PLACES = [model.Place.ON_SITE, model.Place.OFF_SITE, model.Place.UNKNOWN]
GROUPS = [None, frozenset({"people:known", "people:staff"}), frozenset({"people:known", "people:pupils"})]


PACKS = ("default", "tai-education-centre", "westgate-primary")


@pytest.fixture(
    scope="module", params=list(itertools.product(PACKS, ("ks2-laptops", "staff-laptops"))), ids="-".join
)
def subject(request: pytest.FixtureRequest) -> Subject:
    pack, group = request.param
    return open_subject(pack, group=group, now_ms=MONDAY)


def told(effects: tuple[Effect, ...]) -> tuple[str, str] | None:
    """Title and text; what is offered beside a refusal, in a notice of its own with a window behind it, included."""
    words = [effect for effect in effects if isinstance(effect, Tell)]
    assert [bool(one.opens) for one in words] in ([], [False], [False, True])
    return (words[0].title, "\n".join(one.text for one in words)) if words else None


def test_a_program_is_refused_by_the_guard_in_just_these_words(subject: Subject) -> None:
    # The exec responder reads the table as JSON.
    written = json.loads(json.dumps(compile_applications(subject.bundle.applications).to_json()))
    guard = ApplicationTable.from_json(written)
    seen = set()
    for path, at_ms, place, groups in itertools.product(PATHS, WHENS, PLACES, GROUPS):
        verdict = guard.decide(path, Circumstances(now_ms=at_ms, place=str(place), groups=groups))
        answer = explain(
            subject, Question(what=Program(path=path), at_ms=at_ms, place=str(place), groups=groups)
        )
        rule = answer.text.rule_id if answer.text is not None else ""
        assert (answer.decision, answer.asked, rule) == (verdict.decision, verdict.asked, verdict.rule_id)
        seen.add(answer.decision)
        if not verdict.rule_id:
            assert answer.words is None
            continue
        state = core.initial(subject.bundle, run_id=b"r", able=frozenset({"applications"}), place=place)
        judged = ExecutionJudged(
            path=path,
            decision=model.DecisionKind(verdict.decision),
            asked=model.DecisionKind(verdict.asked),
            rule_id=verdict.rule_id,
        )
        _, effects = core.handle(state, judged, at_ms)
        words = answer.words
        assert told(effects) == ((words.title, words.text) if words is not None else None)
    assert {"allow", "block"} <= seen


def test_a_medium_gets_what_explain_says_in_just_these_words(subject: Subject) -> None:
    for encryption, at_ms, place in itertools.product(model.MediumEncryption, WHENS, PLACES):
        medium = model.Medium(kernel_name="sda", serial="S", bus="usb", encryption=encryption)
        answer = explain(subject, Question(what=medium, at_ms=at_ms, place=str(place)))
        state = core.initial(subject.bundle, run_id=b"r", able=frozenset({"media"}), place=place)
        state, effects = core.handle(state, MediumArrived(medium=medium), at_ms)
        actions = [e.action for e in effects if isinstance(e, Enforce) and isinstance(e.action, LimitMedium)]
        assert [str(action.access) for action in actions] == (
            [] if answer.decision == "allow" else [answer.decision]
        )
        for action in actions:
            outcome = Outcome(enforcer="media", action=action, succeeded=True)
            _, effects = core.handle(state, ActionDone(outcome=outcome), at_ms)
            assert answer.words is not None
            assert told(effects) == (answer.words.title, answer.words.text)
