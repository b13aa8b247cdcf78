"""The service's side of 'Tell someone': a report is sealed here at once, kept, sent first, and its fate told honestly.

Whoever tells is who the kernel says. What they write is sealed before it reaches the core or the disk, to the school's
server or, where the policy says so, to the chosen officers alone. Kept of it is a number, its account and its place in
the spool, for 14 days, so that whoever wrote it can be told that it was read: no word, no recipient, no subject.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from schoolkeeper_agent.desk import NotTold
from schoolkeeper_agent.effects import event_id
from schoolkeeper_agent.observations import PersonTold
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.people import user_of
from schoolkeeper_agent.places import Place, last_place
from schoolkeeper_agent.school_hours import looks
from schoolkeeper_agent.seams import Record, Tell
from schoolkeeper_agent.session.telling_lines import (
    Answer,
    AskOffer,
    AskState,
    Offer,
    Request,
    State,
    Telling,
    To,
    Told,
    Why,
    bounded,
)
from schoolkeeper_agent.spool.contract import FrameState, Settlement, SpoolError
from schoolkeeper_agent.telling_door import AGAIN_SECONDS, NOTE
from schoolkeeper_agent.told import KEPT_MS, MOST_KEPT, Kept, decode, encode
from schoolkeeper_proto import model, sealing, wire
from schoolkeeper_proto.policy import CollectedKind

PER_HOUR, SHARED_PER_HOUR, PER_DEVICE_HOUR = 20, 60, 200
"""So many that no person meets them; fewer would let one program of an account silence the next child."""
HOUR_MS = 3_600_000
KEPT_SECONDS, DELIVERED_SECONDS, LOOK_SECONDS = 5.0, 3.0, 0.2
TRIES = 2
"""The spool may begin a new epoch between sealing and writing, to which the seal is bound."""
WORDS, WHO = "person.report", "person.report.who"
DUTIES = {
    To.DSL: frozenset({"dsl", "deputy-dsl"}),
    To.TRUSTED_ADULT: frozenset({"dsl", "deputy-dsl"}),
    To.HEAD: frozenset({"head"}),
    To.CHAIR: frozenset({"chair"}),
}
Account = Callable[[int, int], Awaitable[str | None]]
"""The account's name of a user id (and now, monotonic milliseconds); None for one that nobody knows here."""
Say = Callable[[Tell], Awaitable[None]]


class _No(Exception):
    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


@dataclass(slots=True)
class TellingDesk:
    """All methods are called in the event loop. ``say`` shows words to an account and to nobody else."""

    parts: Parts
    account: Account
    say: Say
    _kept: list[Kept] = field(default_factory=list)
    _sent: dict[int, list[tuple[int, Telling, str]]] = field(default_factory=dict)
    _written: dict[bytes, asyncio.Future[Future[Place]]] = field(default_factory=dict)
    _saved: bytes = b""
    _loaded: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def told(self, user_id: int, request: Request) -> Answer:
        """Fulfils ``session.server.Listener``."""
        try:
            match request:
                case AskOffer():
                    return await self._offer(user_id)
                case AskState(number=number):
                    return await self._state(user_id, number)
                case Telling():
                    return await self._tell(user_id, request)
        except _No as no:
            return Told(state=State.REFUSED, why=no.why)

    def recorded(self, event: Record) -> None:
        """The heart handed an event to the spool's writer: of a report, its place is asked for next."""
        waiting = self._written.pop(event.event_id, None) if event.event_id else None
        if waiting is not None and not waiting.done():
            waiting.set_result(self.parts.writer.call(lambda spool: last_place(spool, event.lane)))

    async def run(self) -> None:
        """Remembers reports of an earlier run, and tells their writers what became of them, when they are there."""
        await self._load()
        while True:
            self._changed.clear()
            await self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECONDS if any(one.awaited for one in self._kept) else None):
                    await self._changed.wait()

    async def read(self, order: wire.ReportRead) -> str:
        """Somebody opened it. Durable before the school hears that it arrived. Raises ``NotTold``."""
        async with asyncio.timeout(30):
            await self._loaded.wait()
        found = next((one for one in self._kept if one.number == order.reference), None)
        if found is None:
            raise NotTold("no report with this number was written on this device in the last 14 days")
        self._change(found.number, delivered=True, read_unix_ms=max(1, order.read_unix_ms))
        if not await self._save():
            raise NotTold("it could not be kept on this device")
        self._changed.set()
        return "kept for whoever wrote it"

    # ---- what is offered --------------------------------------------------------------------------------

    async def _offer(self, user_id: int) -> Offer:
        bundle = self.parts.policy.bundle
        when, at_ms = looks(bundle.notice.someone_looks, self.parts.believed_ms())
        hours = bundle.notice.someone_looks
        account = await self._account(user_id)
        user = user_of(account, user_id, bundle.collection)
        return Offer(
            recipients=self._recipients(),
            contacts=bounded(bundle.notice.contacts),
            language=bundle.notice.language or "en",
            personal=user.kind is model.UserKind.PERSON,
            looks=when,
            looks_at_unix_ms=at_ms,
            holidays_known=hours is not None and bool(hours.days),
            officers_only=self._scheme() is model.SealingScheme.ANY_ONE,
        )

    def _collected(self) -> CollectedKind | None:
        kinds = self.parts.policy.bundle.collection.kinds
        return next((one for one in kinds if one.kind == model.PersonReport.KIND), None)

    def _scheme(self) -> model.SealingScheme:
        """A report is no evidence that takes two: whoever was chosen reads it alone."""
        found = self._collected()
        sealed = found is not None and found.sealing in (
            model.SealingScheme.ANY_ONE,
            model.SealingScheme.ANY_TWO,
        )
        return model.SealingScheme.ANY_ONE if sealed else model.SealingScheme.COLLECTOR

    def _recipients(self) -> tuple[To, ...]:
        """Whom the school's policy names as readers, as far as what is written could reach them."""
        found = self._collected()
        named = [one for one in To if found is not None and one.value in found.readers]
        return tuple(one for one in named if self._sealed_to(one))

    def _sealed_to(self, to: To) -> list[sealing.Recipient]:
        if self._scheme() is model.SealingScheme.COLLECTOR:
            key = X25519PublicKey.from_public_bytes(self.parts.target().public_key)
            return [sealing.Recipient(name="collector", public_key=key)]
        return [
            sealing.Recipient(
                name=officer.officer_id, public_key=X25519PublicKey.from_public_bytes(officer.sealing_key)
            )
            for officer in self.parts.trust.key_statement.officers
            if DUTIES[to].intersection(officer.duties)
        ]

    # ---- telling ------------------------------------------------------------------------------------------

    async def _tell(self, user_id: int, telling: Telling) -> Told:
        if not telling.words.strip():
            raise _No(Why.EMPTY)
        if telling.to not in self._recipients():
            raise _No(Why.RECIPIENT)
        account = await self._account(user_id)
        user = user_of(account, user_id, self.parts.policy.bundle.collection)
        again = next((number for _, said, number in self._recent(user_id) if said == telling), None)
        if again is not None:  # pressed twice
            return await self._state(user_id, again)
        self._may_tell(user_id, shared=user.kind is model.UserKind.SHARED)
        number = self._number()
        self._sent[user_id] = [*self._recent(user_id), (self._now_ms(), telling, number)]
        place = await self._keep(user_id, account, telling, number)
        kept = Kept(
            number=number,
            user_id=user_id,
            at_unix_ms=self.parts.clock.now().wall_ms,
            personal=user.kind is model.UserKind.PERSON,
            quiet=telling.quiet,
            place=place,
        )
        self._kept = [*self._kept, kept][-MOST_KEPT:]
        await self._save()
        told = await self._reply(kept)
        self._change(kept.number, said=told.state.value)  # shown in the form, and so not once more
        self._changed.set()
        return told

    def _may_tell(self, user_id: int, *, shared: bool) -> None:
        self._sent = {who: left for who in self._sent if (left := self._recent(who))}
        most = SHARED_PER_HOUR if shared else PER_HOUR
        if len(self._recent(user_id)) >= most or sum(map(len, self._sent.values())) >= PER_DEVICE_HOUR:
            raise _No(Why.OFTEN)

    async def _keep(self, user_id: int, account: str, telling: Telling, number: str) -> Place | None:
        """Sealed and written. None: it is not known to be on the disk."""
        for _ in range(TRIES):
            epoch = await self._epoch()
            place = await self._emit(user_id, account, telling, number, epoch)
            if place is None or place.epoch == epoch:
                return place
        return None

    async def _epoch(self) -> bytes:
        try:
            async with asyncio.timeout(KEPT_SECONDS):
                return await asyncio.wrap_future(self.parts.writer.call(lambda spool: spool.epoch))
        except (TimeoutError, SpoolError) as error:
            raise _No(Why.NOT_READY) from error

    async def _emit(
        self, user_id: int, account: str, telling: Telling, number: str, epoch: bytes
    ) -> Place | None:
        new = event_id(self.parts.clock.now().wall_ms)
        written: asyncio.Future[Future[Place]] = asyncio.get_running_loop().create_future()
        self._written[new] = written
        report = model.PersonReport(
            recipient=telling.to.value,
            category=telling.about.value,
            urgent=telling.urgent,
            words=self._sealed(telling.to, telling.words.strip(), WORDS, new, epoch),
            reference=number,
            who=self._sealed(telling.to, telling.who.strip(), WHO, new, epoch)
            if telling.who.strip()
            else None,
        )
        self.parts.heart.emit(PersonTold(account=account, user_id=user_id, event_id=new, report=report))
        try:
            async with asyncio.timeout(KEPT_SECONDS):
                place = await asyncio.wrap_future(await written)
        except (TimeoutError, SpoolError):
            return None
        finally:
            self._written.pop(new, None)
        return None if self.parts.writer.state().failing_because else place

    def _sealed(self, to: To, text: str, category: str, event: bytes, epoch: bytes) -> model.SealedField:
        identity = self.parts.identity
        binding = sealing.Binding(school_id=identity.school_id, device_id=identity.device_id, epoch=epoch)
        context = sealing.FieldContext(binding=binding, event_id=event, category=category)
        return sealing.seal_field(
            text.encode("utf-8", "replace"), self._scheme(), self._sealed_to(to), context
        )

    def _number(self) -> str:
        taken = {one.number for one in self._kept}
        while (number := secrets.token_hex(4).upper()) in taken:
            continue
        return number

    async def _account(self, user_id: int) -> str:
        account = await self.account(user_id, self._now_ms())
        if account is None:
            raise _No(Why.STRANGER)
        return account

    def _recent(self, user_id: int) -> list[tuple[int, Telling, str]]:
        now_ms = self._now_ms()
        return [one for one in self._sent.get(user_id, ()) if now_ms - one[0] < HOUR_MS]

    def _now_ms(self) -> int:
        return self.parts.clock.now().monotonic_ms

    # ---- what became of it --------------------------------------------------------------------------------

    async def _state(self, user_id: int, number: str) -> Told:
        """Of the account's own; another's number is as unknown as none."""
        wanted = number.strip().upper()
        found = next((one for one in self._kept if (one.user_id, one.number) == (user_id, wanted)), None)
        if found is None:
            return Told(state=State.UNKNOWN, number=wanted)
        state = await self._fate(found)
        return Told(state=state, number=wanted, read_unix_ms=found.read_unix_ms)

    async def _reply(self, kept: Kept) -> Told:
        """After a moment in which it may arrive."""
        end = self._now_ms() + DELIVERED_SECONDS * 1000
        state = await self._fate(kept)
        while state is State.KEPT and self._now_ms() < end:
            await asyncio.sleep(LOOK_SECONDS)
            state = await self._fate(kept)
        return Told(state=state, number=kept.number)

    async def _fate(self, kept: Kept) -> State:
        if kept.read_unix_ms:
            return State.READ
        place = kept.place
        if place is None:
            return State.TAKEN
        if kept.delivered:
            return State.DELIVERED
        try:
            looking = self.parts.writer.call(
                lambda spool: spool.fate(place.epoch, place.lane, place.sequence)
            )
            fate = await asyncio.wrap_future(looking)
        except SpoolError:
            return State.KEPT
        match fate:
            case FrameState.PENDING:
                return State.KEPT
            case FrameState.DELIVERED:
                self._change(kept.number, delivered=True)
                return State.DELIVERED
            case FrameState.SET_ASIDE:
                return State.ASIDE
            case None:
                return State.UNKNOWN

    async def _look(self) -> None:
        """Says once that it arrived and once that it was read, to a personal account, in words that tell nothing."""
        now = self.parts.clock.now().wall_ms
        here = {held.user_id for held in self.parts.heart.state.sessions.values()}
        self._kept = [one for one in self._kept if abs(now - one.at_unix_ms) < KEPT_MS]
        for kept in tuple(self._kept):
            state = await self._fate(kept)
            held = next((one for one in self._kept if one.number == kept.number), kept)
            state = State.READ if held.read_unix_ms else state  # it may have been read meanwhile
            words = held.news(state)
            if words is not None and held.user_id in here:
                self._change(held.number, said=state.value)
                await self.say(Tell(title=words[0], text=words[1], user_id=held.user_id))
        await self._save()

    def _change(self, number: str, **values: bool | int | str) -> None:
        self._kept = [replace(one, **values) if one.number == number else one for one in self._kept]  # type: ignore[arg-type]

    # ---- kept over a restart --------------------------------------------------------------------------------

    async def _save(self) -> bool:
        now = encode(tuple(self._kept))
        if now == self._saved:
            return True
        try:
            noted = Settlement(notes={NOTE: now})
            await asyncio.wrap_future(
                self.parts.writer.call(lambda spool: spool.settle(noted, self.parts.clock.now()))
            )
        except SpoolError:
            return False
        self._saved = now
        return True

    async def _load(self) -> None:
        while not self._loaded.is_set():
            try:
                self._saved = await asyncio.wrap_future(
                    self.parts.writer.call(lambda spool: spool.note(NOTE))
                )
            except SpoolError:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            since = {one.number for one in self._kept}
            self._kept = [*(one for one in decode(self._saved) if one.number not in since), *self._kept]
            self._loaded.set()
