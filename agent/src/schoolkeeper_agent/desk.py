"""The service's side of asking for an exception: who may ask for what and how often, and what became of it.

Whoever asks is who the kernel says. A request is an event like any other: sealed, spooled, delivered when there is a
network. Nothing here changes a rule: officers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from concurrent.futures import Future
from dataclasses import dataclass, field

from schoolkeeper_agent import requests
from schoolkeeper_agent.desk_words import (
    kept_words,
    lately_words,
    not_kept_words,
    often_words,
    unknown_rule_words,
)
from schoolkeeper_agent.observations import AskedBefore, ExceptionAsked, RequestDeclined
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.places import Place, last_place
from schoolkeeper_agent.seams import Record
from schoolkeeper_agent.session.lines import Ask, AskLately, Outcome, Reply
from schoolkeeper_agent.spool.contract import FrameState, Settlement, SpoolError
from schoolkeeper_proto import model, wire
from schoolkeeper_proto.decide import texts_of
from schoolkeeper_proto.policy import RuleText

PER_HOUR = 5
"""Of one account: nobody's requests fill the school's page or the spool."""
PER_DEVICE_HOUR = 40
MOST_PEOPLE = 64
MOST_STRANGERS = 16
MOST_DECLINED = 4
"""A list is one line on the socket."""
HOUR_MS = 3_600_000
REMEMBER_SECONDS, LOOKS = 30.0, 15
KEPT_SECONDS, DELIVERED_SECONDS, LOOK_SECONDS = 3.0, 2.0, 0.2
SAVE_SECONDS = 60.0
NOTE = "exceptions-asked"


class NotTold(Exception):
    """A "no" reached the device, and nobody there can be told of it for sure; says why, to the school."""


class No(Exception):
    """Nothing was asked; in words for the person."""


@dataclass(slots=True, kw_only=True)
class Sent:
    """A request of the last hours; ``place`` None: it is not known to be durable."""

    ask: Ask
    reference: str
    at_ms: int
    place: Place | None = None


@dataclass(slots=True)
class AskingDesk:
    """All methods are called in the event loop. Times are monotonic milliseconds."""

    parts: Parts
    _sent: dict[int, list[Sent]] = field(default_factory=dict)
    _written: dict[str, asyncio.Future[Future[Place]]] = field(default_factory=dict)
    _saved: tuple[requests.OpenRequest, ...] = ()
    _strangers: list[int] = field(default_factory=list)
    _remembered: asyncio.Event = field(default_factory=asyncio.Event)

    async def asked(self, user_id: int, request: Ask | AskLately) -> Reply:
        """Fulfils ``session.server.Desk``."""
        try:
            match request:
                case AskLately():
                    return await self._lately(user_id)
                case Ask():
                    return await self._ask(user_id, request)
        except No as no:
            return Reply(outcome=Outcome.REFUSED, text=str(no))

    def recorded(self, event: Record) -> None:
        """The heart handed an event to the spool's writer: for a request of ours, its place is asked for next."""
        if isinstance(event.body, model.ExceptionRequested):
            waiting = self._written.pop(event.body.reference, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(self.parts.writer.call(lambda spool: last_place(spool, event.lane)))

    async def run(self) -> None:
        """Remembers over a restart who waits for an answer: rule, account and number, nothing that they wrote; and
        a "no" with what was written for them, for 14 days."""
        before = await self._note()
        if before:
            self.parts.heart.emit(AskedBefore(requests=before))
        self._remembered.set()
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await self.save()

    async def declined(self, order: wire.RequestDeclined) -> str:
        """Durable before the school hears that it arrived; the account that asked is told when it is here.

        Raises ``NotTold``.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REMEMBER_SECONDS):  # those of an earlier run come first
                await self._remembered.wait()
        for _ in range(LOOKS):  # what was asked or remembered just now may still be on its way to the core
            if requests.waits(self._open(), order.reference, order.rule_id):
                break
            await asyncio.sleep(LOOK_SECONDS)
        else:
            raise NotTold("no request with this number waits on this device (any more): nobody was told")
        self.parts.heart.emit(
            RequestDeclined(
                reference=order.reference,
                rule_id=order.rule_id,
                by=order.decided_by,
                words=order.words,
                at_unix_ms=order.decided_unix_ms,
            )
        )
        for _ in range(LOOKS):
            if not requests.waits(self._open(), order.reference, order.rule_id):
                break
            await asyncio.sleep(LOOK_SECONDS)
        else:
            raise NotTold("the agent is too busy to take it: nobody was told")
        await self.save()
        if self._saved != self._open().waiting:
            raise NotTold("it could not be kept: the person is told unless the agent starts anew before")
        return "kept for the account that asked, which is told when it is there"

    def _open(self) -> requests.Requests:
        return self.parts.heart.state.requests

    async def save(self) -> None:
        waiting = self.parts.heart.state.requests.waiting
        if waiting == self._saved:
            return
        kept = Settlement(notes={NOTE: requests.encode(waiting)})
        with contextlib.suppress(SpoolError):  # in memory it holds on
            now = self.parts.clock.now()
            await asyncio.wrap_future(self.parts.writer.call(lambda spool: spool.settle(kept, now)))
            self._saved = waiting

    # ---- asking ---------------------------------------------------------------------------------------

    async def _ask(self, user_id: int, ask: Ask) -> Reply:
        now_ms = self._now_ms()
        text = self._texts().get(ask.rule_id)
        if text is None:
            raise No(unknown_rule_words(ask.rule_id, self._refused(user_id)))
        account = ""
        for _ in range(
            2
        ):  # while the account was looked up, others may have asked, or the same person, the same
            again = next((one for one in self._recent(user_id, now_ms) if one.ask == ask), None)
            if again is not None:
                return await self._reply(again)
            self._may_ask(user_id, now_ms)
            account = account or await self.account(user_id, now_ms)
        sent = Sent(ask=ask, reference=secrets.token_hex(3).upper(), at_ms=now_ms)
        self._count(user_id, sent)
        await self._emit(user_id, account, sent, text)
        await self.save()
        return await self._reply(sent)

    async def _emit(self, user_id: int, account: str, sent: Sent, text: RuleText) -> None:
        written: asyncio.Future[Future[Place]] = asyncio.get_running_loop().create_future()
        self._written[sent.reference] = written
        observed = ExceptionAsked(
            account=account,
            user_id=user_id,
            rule_id=sent.ask.rule_id,
            reason=sent.ask.because.value,
            words=sent.ask.words.strip(),
            wanted=text.description[:200],
            reference=sent.reference,
        )
        self.parts.heart.emit(observed)
        try:
            async with asyncio.timeout(KEPT_SECONDS):
                place = await asyncio.wrap_future(await written)
        except (TimeoutError, SpoolError):
            return
        finally:
            self._written.pop(sent.reference, None)
        if not self.parts.writer.state().failing_because:
            sent.place = place

    async def _reply(self, sent: Sent) -> Reply:
        """What is known of it, after a moment in which it may arrive."""
        if sent.place is None:
            because = self.parts.writer.state().failing_because
            return Reply(outcome=Outcome.TAKEN, text=not_kept_words(sent.reference, because))
        end = self._now_ms() + DELIVERED_SECONDS * 1000
        fate = await self._fate(sent)
        while fate is FrameState.PENDING and self._now_ms() < end:
            await asyncio.sleep(LOOK_SECONDS)
            fate = await self._fate(sent)
        outcome = Outcome.DELIVERED if fate is FrameState.DELIVERED else Outcome.KEPT
        return Reply(outcome=outcome, text=kept_words(sent.reference, fate))

    async def _fate(self, sent: Sent) -> FrameState | None:
        """Pending, too, while the spool cannot say."""
        place = sent.place
        if place is None:
            return FrameState.PENDING
        looking = self.parts.writer.call(lambda spool: spool.fate(place.epoch, place.lane, place.sequence))
        try:
            return await asyncio.wrap_future(looking)
        except SpoolError:
            return FrameState.PENDING

    # ---- limits ---------------------------------------------------------------------------------------

    def _may_ask(self, user_id: int, now_ms: int) -> None:
        recent = self._recent(user_id, now_ms)
        if len(recent) >= PER_HOUR:
            raise No(often_words(PER_HOUR, HOUR_MS - (now_ms - recent[0].at_ms)))
        of_all = [one for who in self._sent for one in self._recent(who, now_ms)]
        if len(of_all) >= PER_DEVICE_HOUR:
            raise No(
                f"On this device {PER_DEVICE_HOUR} exceptions were asked for within an hour; it takes more later."
                " Until then, go to your teacher or the technician."
            )

    async def account(self, user_id: int, now_ms: int) -> str:
        """Whoever is signed in is known. Others are looked up, and not without end: one person may own user ids that
        are no accounts (subuid(5)) by the ten thousand. Raises ``No``."""
        for session in self.parts.heart.state.sessions.values():
            if session.user_id == user_id:
                return session.account
        self._strangers = [at for at in self._strangers if now_ms - at < HOUR_MS]
        if len(self._strangers) >= MOST_STRANGERS:
            raise No("Too many accounts that nobody knows have asked: sign in to this device, and ask then.")
        self._strangers.append(now_ms)
        account = await looked_up(user_id)
        if account is None:
            raise No("This account is not known on this device: nothing was asked.")
        with contextlib.suppress(ValueError):
            self._strangers.remove(now_ms)
        return account

    async def known_account(self, user_id: int, now_ms: int) -> str | None:
        """As ``account``; None where it raises."""
        try:
            return await self.account(user_id, now_ms)
        except No:
            return None

    def _count(self, user_id: int, sent: Sent) -> None:
        self._sent[user_id] = [*self._recent(user_id, sent.at_ms), sent]
        while len(self._sent) > MOST_PEOPLE:
            oldest = min(self._sent, key=lambda who: self._sent[who][-1].at_ms)
            del self._sent[oldest]

    def _recent(self, user_id: int, now_ms: int) -> list[Sent]:
        return [one for one in self._sent.get(user_id, ()) if now_ms - one.at_ms < HOUR_MS]

    # ---- what there is --------------------------------------------------------------------------------

    async def _lately(self, user_id: int) -> Reply:
        sent = [(one, await self._fate(one)) for one in self._recent(user_id, self._now_ms())]
        lines = [(one.reference, one.ask.rule_id, one.place is not None, fate) for one, fate in sent]
        now = self.parts.clock.now().wall_ms
        declined = self._open().declined(user_id, now)[:MOST_DECLINED]
        text = lately_words(self._refused(user_id), lines, now, declined)
        return Reply(outcome=Outcome.LISTED, text=text)

    def _refused(self, user_id: int) -> tuple[requests.Refusal, ...]:
        return self.parts.heart.state.requests.lately(user_id, self.parts.clock.now().wall_ms)

    def _texts(self) -> dict[str, RuleText]:
        """Of the bundle in force: as it was signed, and as grants leave it (an emergency block adds rules)."""
        state = self.parts.heart.state
        return texts_of(state.signed) | state.texts

    def _now_ms(self) -> int:
        return self.parts.clock.now().monotonic_ms

    async def _note(self) -> tuple[requests.OpenRequest, ...]:
        while True:
            with contextlib.suppress(SpoolError):
                noted = await asyncio.wrap_future(self.parts.writer.call(lambda spool: spool.note(NOTE)))
                self._saved = requests.decode(noted)
                return self._saved
            await asyncio.sleep(SAVE_SECONDS)


async def looked_up(user_id: int) -> str | None:
    """The account's name; in a thread, since a directory may have to be asked. None: there is no such account."""
    import pwd  # people ask on POSIX alone

    try:
        async with asyncio.timeout(KEPT_SECONDS):
            return (await asyncio.to_thread(pwd.getpwuid, user_id)).pw_name
    except (KeyError, TimeoutError):
        return None
