"""Before ``desk.py``: loads it when somebody signed in may have to be asked, or asks. Always there, so small."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schoolkeeper_agent.seams import Tell

if TYPE_CHECKING:
    from schoolkeeper_agent.agreeing.desk import Account, AgreeingDesk, Say
    from schoolkeeper_agent.parts import Parts
    from schoolkeeper_agent.session.agreeing_lines import Answer, Request

OPENS = "agreement"
QUIET_MS, TRY_AGAIN_MS = 3_600_000, 600_000
"""Between two looks at somebody of whom nothing is due; and between two tries to show it, until it was shown."""


@dataclass(slots=True)
class AgreeingDoor:
    """All methods are called in the event loop. Times are monotonic milliseconds."""

    parts: Parts
    account: Account
    say: Say
    _desk: AgreeingDesk | None = None
    _policy: bytes = b""
    _not_before: dict[int, int] = field(default_factory=dict)

    async def answer(self, user_id: int, request: Request) -> Answer:
        """Fulfils ``session.server.Agreeing``."""
        return await self._behind().answer(user_id, request)

    def each_minute(self) -> None:
        """Whoever is here for the second time in a row is looked at: a desktop needs a moment to come up."""
        state, now_ms = self.parts.heart.state, self.parts.clock.now().monotonic_ms
        if state.signed.hash != self._policy:
            self._policy = state.signed.hash
            self._not_before.clear()
        here = {held.user_id for held in state.sessions.values()}
        if state.signed.agreement is None:
            here.clear()
        look = [user_id for user_id in here if now_ms >= self._not_before.get(user_id, now_ms + 1)]
        self._not_before = {user_id: self._not_before.get(user_id, now_ms) for user_id in here}
        for user_id in look:
            self._not_before[user_id] = now_ms + TRY_AGAIN_MS
            self.parts.spawn(self._look(user_id))

    async def _look(self, user_id: int) -> None:
        due = await self._behind().due(user_id)
        if due:
            await self.say(words(user_id))
        elif due is False:
            self._not_before[user_id] = self.parts.clock.now().monotonic_ms + QUIET_MS

    def _behind(self) -> AgreeingDesk:
        if self._desk is None:
            from schoolkeeper_agent.agreeing.desk import AgreeingDesk

            self._desk = AgreeingDesk(self.parts, self.account, self.say)
        return self._desk


def words(user_id: int) -> Tell:
    """Opens the window where there is a desktop; else these words, with the way to read it."""
    return Tell(
        title="The school's rules for using this device",
        text="Please read them, and say whether you agree: schoolkeeper-agent agreement\n"
        "Nothing waits for it. In danger now? Call 999. Childline: 0800 1111.",
        user_id=user_id,
        opens=OPENS,
    )
