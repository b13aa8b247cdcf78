"""What this process, or its guard, may do here, with the reason in words when it may not."""

from __future__ import annotations

from schoolkeeper_agent.enforcers.linux.exec_responder.fanotify import why_not
from schoolkeeper_agent.guard.door import Guard
from schoolkeeper_agent.seams import Ability

START_S = 30.0
"""At a slow start of a machine: what is found out here holds for the whole run."""


def fanotify_ability(guard: Guard | None) -> Ability:
    """Asks the kernel by making a group and closing it again: here, or in the guard."""
    if guard is None:
        because = why_not()
    else:
        from schoolkeeper_agent.guard.requests import MayDecide

        because = guard.ask(MayDecide(), START_S).error
    return Ability(able=not because, because=because)
