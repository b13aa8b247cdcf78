"""What the core makes of browser rules: which hold now, for whoever is signed in, and what became of them (pure)."""

from __future__ import annotations

from dataclasses import replace

from schoolkeeper_agent.decisions import Effects, held_or_not
from schoolkeeper_agent.enforcers.actions import ApplyBrowsers
from schoolkeeper_agent.people import FIRST_PERSON_UID
from schoolkeeper_agent.seams import Enforce, Outcome
from schoolkeeper_agent.state import CoreState
from schoolkeeper_proto.conditions import Circumstances

ENFORCER = "browser"


def decide(state: CoreState, now: int) -> tuple[CoreState, Effects]:
    """Asks for the settings anew when other rules hold than those that were asked for last."""
    if ENFORCER not in state.able:
        return state, ()
    section = state.browsers.holding(people(state, now))
    if section == state.browser_asked:
        return state, ()
    action = ApplyBrowsers(section=section)
    return replace(state, browser_asked=section), (Enforce(enforcer=ENFORCER, action=action),)


def people(state: CoreState, now: int) -> tuple[Circumstances, ...]:
    """Everybody who is signed in. With nobody (a sign-in screen is nobody): one of whom nothing can be told."""
    found = {
        held.user_id: state.circumstances(held, now)
        for held in state.sessions.values()
        if held.user_id >= FIRST_PERSON_UID
    }
    if found:
        return tuple(found.values())
    return (Circumstances(now_ms=now + state.time.ahead_ms, place=str(state.place)),)


def done(state: CoreState, outcome: Outcome) -> tuple[CoreState, Effects]:
    """A failure is tried again with each minute."""
    told = held_or_not(outcome, failing=state.browser_failing)
    if outcome.succeeded:
        return replace(state, browser_failing=False), told
    return replace(state, browser_asked=None, browser_failing=True), told
