"""The service's side of the agreement: who is asked for what, and what they said, kept with its event or not at all.

Whoever answers is who the kernel says. An answer and its event are one write to the disk: after a crash in between
there is either both or neither, so nothing is counted twice and nobody is told that it was kept when it was not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from schoolkeeper_agent.agreeing.deciding import ALLOWED, Asked, Kept, Refused, due, holds, of, said
from schoolkeeper_agent.agreeing.kept import NOTE, decode, encode
from schoolkeeper_agent.agreeing.texts import NoText, read_index
from schoolkeeper_agent.decisions import record
from schoolkeeper_agent.notice_child import FOLDER
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.people import user_of
from schoolkeeper_agent.seams import Tell
from schoolkeeper_agent.session.agreeing_lines import Answer, By, Request, Said, Standing, Why
from schoolkeeper_agent.spool.contract import Settlement, SpoolError
from schoolkeeper_proto import model
from schoolkeeper_proto.notices.bands import asked as band_of

Account = Callable[[int, int], Awaitable[str | None]]
"""The account's name of a user id (and now, monotonic milliseconds); None for one that nobody knows here."""
Say = Callable[[Tell], Awaitable[None]]
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class AgreeingDesk:
    """All methods are called in the event loop. ``say`` shows words to an account and to nobody else."""

    parts: Parts
    account: Account
    say: Say
    _kept: dict[bytes, Kept] | None = None
    _unsure: bool = False
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _policy: bytes = b""
    _index: Mapping[str, Asked] = field(default_factory=dict)

    async def answer(self, user_id: int, request: Request) -> Answer:
        """Fulfils ``session.server.Agreeing``: never raises, and answers when it is durable."""
        async with self._turn:  # pressed twice is one after the other
            try:
                user, asked = await self._asked(user_id)
            except NoText:
                return Answer(standing=Standing.NOT_READY)
            if asked is None:
                return Answer(standing=Standing.NOBODY_ASKS)
            try:
                everybody = await self._everybody()
            except SpoolError:
                return Answer(standing=Standing.NOT_READY)
            kept = of(asked, everybody.get(user.pseudonym), user.pseudonym)
            if request.what is Said.LOOK:
                return self._standing(asked, kept)
            if request.version != asked.version:
                return self._standing(asked, kept, Why.CHANGED)
            try:
                after = said(asked, kept, request.what, request.by, request.language, self._now_ms())
                if after.body is not None:
                    await self._keep(after.kept, after.body, user)
            except Refused as refused:
                return self._standing(asked, kept, refused.why)
            except SpoolError as error:
                _log.warning("what somebody said to the agreement could not be kept: %s", error)
                return self._standing(asked, kept, Why.NOT_KEPT)
            if isinstance(after.body, model.AcceptableUseAccepted):
                self.parts.spawn(self.say(_agreed_words(user_id, asked, request.by)))
            return self._standing(asked, after.kept)

    async def due(self, user_id: int) -> bool | None:
        """Whether it is time to show it to this account; None while that cannot be told."""
        answer = await self.answer(user_id, Request(what=Said.LOOK))
        return None if answer.standing is Standing.NOT_READY else answer.due

    async def _asked(self, user_id: int) -> tuple[model.UserRef, Asked | None]:
        """Of somebody whom the school can tell from others. Raises ``NoText``.

        By the policy as it was signed: what a grant opens for a lesson asks nobody again. Whoever shares an account is
        never asked to agree for the others: an adult does.
        """
        account = await self.account(user_id, self.parts.clock.now().monotonic_ms) or ""
        state = self.parts.heart.state
        user = user_of(account, user_id, state.signed.collection)
        if user.kind not in (model.UserKind.PERSON, model.UserKind.SHARED):
            return user, None
        band = band_of(state.signed, state.people.groups_of(account))
        if band is None:
            return user, None
        asked = self._texts().get(band.value)
        if asked is not None and user.kind is model.UserKind.SHARED:
            asked = replace(asked, by_adult=True)
        return user, asked

    def _texts(self) -> Mapping[str, Asked]:
        signed = self.parts.heart.state.signed
        if self._policy != signed.hash:
            self._index = read_index(self.parts.settings.run_dir / FOLDER, signed)
            self._policy = signed.hash
        return self._index

    def _standing(self, asked: Asked, kept: Kept, why: Why = Why.NONE) -> Answer:
        now_ms = self._now_ms()
        agreed = holds(asked, kept, now_ms)
        return Answer(
            standing=Standing.AGREED if agreed else Standing.OPEN,
            why=why,
            band=asked.band,
            version=asked.version,
            language=self.parts.heart.state.signed.notice.language or "en",
            by_adult=asked.by_adult,
            due=due(asked, kept, now_ms),
            put_off=kept.put_off,
            allowed=ALLOWED,
            agreed_unix_ms=kept.agreed_ms if agreed else 0,
        )

    async def _keep(self, kept: Kept, body: model.Body, user: model.UserRef) -> None:
        """Raises ``SpoolError``: then nothing was kept, and what the disk may hold of it is written over."""
        after = {**await self._everybody(), kept.person: kept}
        try:
            await asyncio.wrap_future(
                self.parts.heart.keep(record(body, user=user), {NOTE: encode(after.values())})
            )
        except SpoolError:
            self._unsure = True
            raise
        self._kept = after

    async def _everybody(self) -> dict[bytes, Kept]:
        """Raises ``SpoolError``."""
        writer = self.parts.writer
        if self._kept is None:
            self._kept = decode(await asyncio.wrap_future(writer.call(lambda spool: spool.note(NOTE))))
        if self._unsure:
            noted = Settlement(notes={NOTE: encode(self._kept.values())})
            now = self.parts.clock.now()
            await asyncio.wrap_future(writer.call(lambda spool: spool.settle(noted, now)))
            self._unsure = False
        return self._kept

    def _now_ms(self) -> int:
        return self.parts.believed_ms()


def _agreed_words(user_id: int, asked: Asked, by: By) -> Tell:
    """Said to the account itself: no program of it agrees unseen."""
    who = {
        By.SELF: "You agreed",
        By.STAFF: "A member of staff agreed",
        By.PARENT: "A parent or carer agreed",
    }[by]
    return Tell(
        title="Rules for using this device",
        text=f"{who} to the rules, version {asked.version}. If that was somebody else, tell a member of staff."
        " To read them again: schoolkeeper-agent agreement",
        user_id=user_id,
    )
