"""Enforcers act. ``load`` builds those of a platform. This module stays light: the exec responder passes through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schoolkeeper_agent.context import Context
    from schoolkeeper_agent.seams import Emit, Enforcer


def load(platform: str, context: Context, emit: Emit) -> list[Enforcer]:
    """Every enforcer of ``platform`` (as ``sys.platform``), able or not: ask each for its ``ability()``.

    ``emit`` takes what an enforcer reports by itself: refusals, its own death, its return.
    """
    if platform == "linux":
        from schoolkeeper_agent.enforcers.linux.load import enforcers

        return enforcers(context, emit)
    if platform == "win32":
        from schoolkeeper_agent.enforcers.windows.load import enforcers

        return enforcers(context, emit)
    return []
