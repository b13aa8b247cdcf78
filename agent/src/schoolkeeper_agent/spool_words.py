"""What the spool's own thread has to say, brought to the event loop: opened, written, evicted, lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from schoolkeeper_agent import describe, observations
from schoolkeeper_agent.observations import Noted
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.spool.contract import Appended, Doubt, Owner, Settlement, Spool, SpoolError
from schoolkeeper_agent.spool.opening import DAMAGE_NOTE, open_spool, read_damage
from schoolkeeper_agent.spool.writer import Hooks, Lost
from schoolkeeper_agent.uplink import messages
from schoolkeeper_agent.uplink.standing import Memory
from schoolkeeper_proto import model


@dataclass(slots=True)
class SpoolWords:
    """``open`` and the hooks are called on the spool's thread."""

    parts: Parts
    loop: asyncio.AbstractEventLoop
    time_learned: Callable[[], None]

    @property
    def hooks(self) -> Hooks:
        return Hooks(opened=self._opened, appended=self._appended, lost=self._lost)

    def open(self, doubt: Doubt | None = None) -> Spool:
        parts = self.parts
        folder = parts.settings.state_dir / "spool"
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = Owner(
            school_id=parts.identity.school_id,
            device_id=parts.identity.device_id,
            machine_hash=describe.machine_hash(),
        )
        return open_spool(
            folder / "spool.db",
            owner,
            parts.target(),
            parts.clock.now(),
            room_bytes=parts.settings.room_bytes,
            doubt=doubt,
        )

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        """From any thread to the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(call, *arguments)

    def _opened(self, spool: Spool) -> None:
        memory = Memory.from_notes(spool.note)
        damage = read_damage(spool.note(DAMAGE_NOTE))
        epoch_told = spool.note("epoch-told")
        self.parts.usage = spool.usage()
        self.post(self._remember, memory)
        if damage is not None:
            told = f"the spool's database was damaged ({damage.reason}); {damage.salvaged_events} events were saved"
            if damage.also_lost:
                told += f"; also lost: {', '.join(damage.also_lost)}"
            gap = model.Gap(
                what=told[:500],
                count=damage.lost_events,
                count_known=damage.lost_count_known,
            )
            self.post(self._tell_once, gap, DAMAGE_NOTE, b"")
        if epoch_told != spool.epoch and "machine's identity" in spool.epoch_because:
            moved = model.AgentTampered(what="spool", detail=spool.epoch_because)
            self.post(self._tell_once, moved, "epoch-told", spool.epoch)

    def _remember(self, memory: Memory) -> None:
        """At the start. A spool that was rebuilt while we run may have lost its notes; what we know is newer."""
        if not self.parts.uplink.memory.witness.note:
            self.parts.uplink.standing.memory = memory
        self.time_learned()

    def _tell_once(self, body: model.Body, note: str, value: bytes) -> None:
        """Records an event and, once it is written, that it was told."""
        parts = self.parts
        parts.heart.emit(Noted(body=body, severity=model.Severity.HIGH))

        async def note_it() -> None:
            await asyncio.sleep(1)
            with contextlib.suppress(SpoolError):
                settle = Settlement(notes={note: value})
                await asyncio.wrap_future(parts.writer.call(lambda s: s.settle(settle, parts.clock.now())))

        parts.spawn(note_it())

    def _appended(self, done: Appended) -> None:
        self.post(self._frames_written)
        for record in done.evicted:
            evicted = model.Evicted(
                lane=record.lane.value,
                first_sequence=record.first_sequence,
                events=record.events,
                frames=record.frames,
                reason=record.reason,
            )
            self.post(self.parts.heart.emit, Noted(body=evicted, severity=model.Severity.MEDIUM))

    def _frames_written(self) -> None:
        if hasattr(self.parts, "transport"):
            self.parts.transport.give(messages.FramesWritten())

    def _lost(self, lost: Lost) -> None:
        missed = observations.Missed(
            what=f"events that the spool could not take: {lost.because}"[:500],
            from_unix_ms=lost.from_unix_ms,
            to_unix_ms=lost.to_unix_ms,
            count=lost.events,
            count_known=True,
        )
        self.post(self.parts.heart.emit, missed)
