"""What the core makes of the screen rule for desktops' own settings: held while it applies to somebody here (pure)."""

from __future__ import annotations

from dataclasses import replace

from schoolkeeper_agent.browsers import people
from schoolkeeper_agent.decisions import Effects, held_or_not, locks_screens
from schoolkeeper_agent.enforcers.actions import HoldDesktops
from schoolkeeper_agent.seams import Enforce, Outcome
from schoolkeeper_agent.state import CoreState
from schoolkeeper_proto.conditions import ZoneClock, compile_condition, holds

ENFORCER = "desktop"


def decide(state: CoreState, now: int) -> tuple[CoreState, Effects]:
    """Asks anew when another idle time holds than the one that was asked for last."""
    if ENFORCER not in state.able:
        return state, ()
    seconds = _seconds(state, now)
    if seconds == state.desktop_asked:
        return state, ()
    action = HoldDesktops(idle_lock_seconds=seconds)
    return replace(state, desktop_asked=seconds), (Enforce(enforcer=ENFORCER, action=action),)


def _seconds(state: CoreState, now: int) -> int:
    """0: no rule. The settings are the machine's: one person to whom it applies is enough; unknown counts as that."""
    section = state.policy.screen
    if not locks_screens(section):
        return 0
    condition, clock = compile_condition(section.when), ZoneClock()
    applies = any(holds(condition, who, clock) is not False for who in people(state, now))
    return section.idle_lock_seconds if applies else 0


def done(state: CoreState, outcome: Outcome) -> tuple[CoreState, Effects]:
    """A failure is tried again with each minute."""
    told = held_or_not(outcome, failing=state.desktop_failing)
    if outcome.succeeded:
        return replace(state, desktop_failing=False), told
    return replace(state, desktop_asked=None, desktop_failing=True), told
