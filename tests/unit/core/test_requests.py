"""Whoever asked for an exception is told when a grant answers it: they alone, when they are there, and once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schoolkeeper_agent import observations, requests
from schoolkeeper_agent.enforcers.actions import LimitMedium
from schoolkeeper_agent.observations import (
    ActionDone,
    AskedBefore,
    ExceptionAsked,
    GrantsChanged,
    RequestDeclined,
    SessionSeen,
    Tick,
)
from schoolkeeper_agent.requests import MOST_OPEN, MOST_PEOPLE, MOST_REFUSED, OpenRequest, Refusal, Requests
from schoolkeeper_agent.seams import Outcome, Tell
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.granted import InForce
from schoolkeeper_proto.model import DecisionKind, UserKind
from schoolkeeper_proto.wire import GrantKind, Lane
from support.core_playbook import MONDAY_10, Playbook, bundle_of
from support.granting import HOUR, app_rule

ALI, BEN = 1001, 1002
GAMES = app_rule("games", "/usr/games/chess")
GRANT = InForce(
    grant_id=b"g" * 16, kind=GrantKind.EXCEPTION, until_unix_ms=MONDAY_10 + HOUR, rule_ids=("games",)
)


def asks(user_id: int = ALI, rule_id: str = "games") -> ExceptionAsked:
    return ExceptionAsked(
        account="ali", user_id=user_id, rule_id=rule_id, reason="lesson", words="for Mr Lee", wanted="Games.",
        reference="A1B2C3",
    )  # fmt: skip


def signs_in(user_id: int) -> SessionSeen:
    return SessionSeen(session_id=f"c{user_id}", account=f"pupil{user_id}", user_id=user_id)


def school(*users: int) -> Playbook:
    play = Playbook(bundle_of(policy.ApplicationsSection(rules=(GAMES,))))
    for user in users:
        play.sees(signs_in(user)).records("session.signed_in")
    return play


def told(play: Playbook) -> list[int]:
    """The accounts that are told of a grant by what the core does now."""
    effects, play.effects = play.effects, []
    tells = [one for one in effects if isinstance(one, Tell)]
    assert all("A1B2C3" in one.text and not one.askable for one in tells)
    return [one.user_id for one in tells]


def test_a_request_is_written_down_as_the_account_s_and_on_the_normal_lane() -> None:
    play = school(ALI).sees(asks())
    (event,) = play.effects
    assert getattr(event, "user").kind is UserKind.PERSON  # noqa: B009
    play.records(
        "exception.requested", rule_id="games", reason="lesson", words="for Mr Lee", wanted="Games.",
        lane=Lane.NORMAL, severity=model.Severity.LOW,
    )  # fmt: skip


def test_whoever_asked_is_told_and_nobody_else() -> None:
    play = school(ALI, BEN).sees(asks()).records("exception.requested")
    play.sees(GrantsChanged(in_force=(GRANT,)))
    assert told(play) == [ALI]
    play.later(60).sees(GrantsChanged(in_force=()))
    play.sees(GrantsChanged(in_force=(GRANT,)))
    assert told(play) == [], "once"


def test_whoever_is_away_hears_it_at_sign_in_unless_it_is_over_or_was_revoked() -> None:
    for change, expected in (("none", [ALI]), ("over", []), ("revoked", [])):
        play = school(BEN).sees(asks()).records("exception.requested")
        play.sees(GrantsChanged(in_force=(GRANT,)))
        assert told(play) == []
        if change == "revoked":
            play.sees(GrantsChanged(in_force=()))
            assert told(play) == []
        play.later(2 * HOUR / 1000 if change == "over" else 1)
        play.sees(signs_in(ALI)).records("session.signed_in")
        assert told(play) == expected, change


@pytest.mark.parametrize(
    ("kind", "rules", "answers"),
    [
        (GrantKind.LESSON, ("games",), True),
        (GrantKind.OBSERVE, None, True),
        (GrantKind.EXCEPTION, ("chat",), False),
        (GrantKind.EMERGENCY_BLOCK, None, False),
    ],
)
def test_only_a_grant_that_eases_the_rule_answers(
    kind: GrantKind, rules: tuple[str, ...] | None, *, answers: bool
) -> None:
    play = school(ALI).sees(asks()).records("exception.requested")
    play.sees(GrantsChanged(in_force=(replace(GRANT, kind=kind, rule_ids=rules),)))
    assert told(play) == ([ALI] if answers else [])


def test_a_rule_that_the_grant_cannot_touch_is_not_said_to_be_eased() -> None:
    play = school(ALI).sees(asks()).records("exception.requested")
    play.sees(GrantsChanged(in_force=(replace(GRANT, rule_ids=None, spared=frozenset({"games"})),)))
    assert told(play) == []


def test_after_a_restart_it_is_still_told_and_what_was_kept_comes_back_as_it_was() -> None:
    play = school(ALI).sees(asks()).records("exception.requested")
    kept = requests.encode(play.state.requests.waiting)
    assert b"Mr Lee" not in kept
    after = school(ALI).sees(GrantsChanged(in_force=(GRANT,)))
    assert told(after) == []
    after.sees(AskedBefore(requests=requests.decode(kept)))
    assert told(after) == [ALI]
    for damaged in (b"{", b"7", b"[1]", b'[{"user_id": "x"}]', b"\xff"):
        assert requests.decode(damaged) == ()


def no(reference: str = "A1B2C3", words: str = "Use the library's.") -> RequestDeclined:
    return RequestDeclined(reference=reference, rule_id="games", by="dsl", words=words, at_unix_ms=MONDAY_10)


def test_whoever_asked_is_told_of_a_no_once_and_can_read_it_for_14_days_and_nobody_else() -> None:
    play = school(ALI, BEN).sees(asks()).records("exception.requested")
    play.sees(no(reference="FFFFFF"))
    assert told(play) == [], "no request of this device has that number"
    play.sees(no())
    (tell,) = play.effects
    assert isinstance(tell, Tell)
    assert "declined on Monday" in tell.text
    assert "by the safeguarding lead (DSL). They wrote for you: Use the library's." in tell.text
    assert told(play) == [ALI]
    play.sees(no(words="another"))
    play.later(60).sees(Tick())
    assert told(play) == []
    held = play.state.requests
    assert [one.words for one in held.declined(ALI, play.now)] == ["Use the library's."]
    assert held.declined(BEN, play.now) == ()
    assert requests.decode(requests.encode(held.waiting)) == held.waiting
    play.sees(GrantsChanged(in_force=(GRANT,)))
    assert told(play) == [], "a lesson for everybody is no answer to what was declined"
    assert held.declined(ALI, MONDAY_10 + requests.WAITS_MS) == ()
    play.later(requests.WAITS_MS / 1000).sees(Tick())
    assert play.state.requests.waiting == ()


def test_whoever_is_away_hears_a_no_at_sign_in_also_after_a_restart() -> None:
    play = school(BEN).sees(asks()).records("exception.requested").sees(no(words=""))
    assert told(play) == []
    kept = requests.encode(play.state.requests.waiting)
    after = school(BEN).sees(AskedBefore(requests=requests.decode(kept)))
    assert told(after) == []
    after.sees(signs_in(ALI)).records("session.signed_in")
    assert "They wrote nothing for you: ask them why." in next(
        one.text for one in after.effects if isinstance(one, Tell)
    )
    assert told(after) == [ALI]


def test_after_14_days_without_an_answer_whoever_asked_is_told_so_once() -> None:
    play = school(ALI).sees(asks()).records("exception.requested")
    play.later(requests.WAITS_MS / 1000 - 60).sees(Tick())
    assert told(play) == []
    play.later(60).sees(Tick())
    assert "nobody decided your request" in next(one.text for one in play.effects if isinstance(one, Tell))
    assert told(play) == [ALI]
    play.later(60).sees(Tick())
    assert told(play) == []


def test_refusals_are_remembered_and_warnings_and_times_out_are_not() -> None:
    play = school(ALI)
    refusal = observations.ExecutionJudged(
        path="/usr/games/chess",
        decision=DecisionKind.BLOCK,
        asked=DecisionKind.BLOCK,
        rule_id="games",
        user_id=ALI,
    )
    for seen in (
        replace(refusal, decision=DecisionKind.WARN, asked=DecisionKind.WARN),
        replace(refusal, reason="too-slow"),
        replace(refusal, rule_id=""),
    ):
        play.sees(seen)
        assert not any(one.askable for one in play.effects if isinstance(one, Tell))
        play.effects = []
    assert play.state.requests.lately(ALI, play.now) == ()
    play.sees(refusal)
    assert [(one.askable, one.rule_id) for one in play.effects if isinstance(one, Tell)] == [(True, "games")]
    held = (Refusal(rule_id="games", what="chess", at_unix_ms=MONDAY_10),)
    assert play.state.requests.lately(ALI, play.now) == held
    assert play.state.requests.lately(BEN, play.now) == ()
    assert play.state.requests.lately(ALI, play.now + requests.LATELY_MS) == ()


def test_a_medium_of_nobody_known_is_on_everybody_s_list() -> None:
    play = school(ALI)
    limit = LimitMedium(kernel_name="sdz1", access=policy.MediaAccess.BLOCK, rule_id="sticks")
    play.sees(ActionDone(outcome=Outcome(enforcer="media", action=limit, succeeded=True)))
    assert [one.rule_id for one in play.state.requests.lately(BEN, play.now)] == ["sticks"]


def test_all_of_it_is_bounded() -> None:
    kept = Requests()
    for user in range(2 * MOST_PEOPLE):
        for n in range(2 * MOST_REFUSED):
            kept = requests.refused(kept, user, Refusal(rule_id=f"r{n}", what="x", at_unix_ms=n))
        kept = requests.asked(
            kept, OpenRequest(user_id=user, rule_id="r", reference=str(user), asked_unix_ms=0)
        )
    assert len(kept.refused) == MOST_PEOPLE
    assert {len(held) for held in kept.refused.values()} == {MOST_REFUSED}
    assert [one.user_id for one in kept.waiting] == list(range(2 * MOST_PEOPLE - MOST_OPEN, 2 * MOST_PEOPLE))
    assert len(requests.remembered(kept, kept.waiting).waiting) == MOST_OPEN
