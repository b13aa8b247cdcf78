"""A ``Teller`` of a machine at which nobody sits."""

from __future__ import annotations

from schoolkeeper_agent.seams import Tell


class SilentTeller:
    async def tell(self, effect: Tell) -> None:
        """Nobody reads it."""
