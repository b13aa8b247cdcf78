"""What the parts of the uplink share: who the device is, what is in force, what it remembers, how it stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from schoolkeeper_agent.clock import Moment, TimeFloor, believed_ms
from schoolkeeper_agent.spool.contract import Settlement
from schoolkeeper_agent.uplink import witness
from schoolkeeper_agent.uplink.cutting import DeviceIdentity
from schoolkeeper_agent.uplink.messages import Effect, OpenEpoch, Settle
from schoolkeeper_agent.uplink.witness import Witness
from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.policy import KeyStatement

NOTE_EVERY_MS = 10 * 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What the device tells in its hello: filled anew by the runtime when policy or trust changes."""

    bundle_hash: bytes = b""
    bundle_version: int = 0
    key_statement_hash: bytes = b""
    root_version: int = 0
    agent_version: str = ""
    platform: str = ""
    capabilities: tuple[str, ...] = ()
    boot_id: bytes = b""
    machine_hash: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What survives a restart, as notes in the spool."""

    witness: Witness = Witness()  # noqa: RUF009 - frozen
    floor: TimeFloor = TimeFloor()  # noqa: RUF009 - frozen
    obeyed: tuple[bytes, ...] = ()
    unproven_because: str = ""
    """Why the last batch was not proved to be in the ledger; only a batch that is clears it."""

    def notes(self) -> dict[str, bytes]:
        return {
            "checkpoint": self.witness.note.encode(),
            "previous-checkpoint": self.witness.previous_note.encode(),
            "proof-failure": self.witness.failure.encode(),
            "unproven": self.unproven_because.encode(),
            "time": self.floor.encode(),
            "obeyed": json.dumps([item.hex() for item in self.obeyed]).encode(),
        }

    @classmethod
    def from_notes(cls, note: Callable[[str], bytes]) -> Memory:
        try:
            obeyed = tuple(bytes.fromhex(item) for item in json.loads(note("obeyed") or b"[]"))
        except (ValueError, TypeError):
            obeyed = ()
        return cls(
            witness=Witness(
                note=witness.readable(note("checkpoint")),
                previous_note=witness.readable(note("previous-checkpoint")),
                failure=note("proof-failure").decode(errors="replace"),
            ),
            floor=TimeFloor.decode(note("time")),
            obeyed=obeyed,
            unproven_because=note("unproven").decode(errors="replace"),
        )


@dataclass(slots=True)
class Standing:
    """``welcomed``: the collector answered this stream's greeting. ``epoch`` is the spool's current one.

    A heartbeat is *wanted* until nothing is under way, and *out* until it is answered: it and a batch never cross.
    """

    identity: DeviceIdentity
    keys: KeyStatement
    group: str
    in_force: InForce
    memory: Memory
    last_problem: str = ""
    welcomed: bool = False
    epoch: bytes = b""
    noted_ms: int = 0
    epoch_asked: bool = False
    beat_wanted: bool = False
    beat_out: bool = False

    @property
    def checkpoint_hash(self) -> bytes:
        """SHA-256 of the last believed checkpoint's note; empty before the first."""
        note = self.memory.witness.note
        return hashlib.sha256(note.encode()).digest() if note else b""

    def believed_ms(self, now: Moment) -> int:
        return believed_ms(self.memory.floor, now, self.in_force.boot_id)

    def learn_time(self, signed: wire.SignedTime | None, now: Moment) -> None:
        """Signed time raises the floor; time that does not verify is no time, and changes nothing."""
        if signed is None:
            return
        keys = {key.key_id: key.public_key for key in self.keys.command_keys}
        try:
            at = statements.verify_time(signed, self.identity.school_id, keys)
        except ValueError as error:
            self.last_problem = f"the collector's time is not believed: {error}"
            return
        floor = self.memory.floor.raised(at, now, self.in_force.boot_id)
        self.memory = replace(self.memory, floor=floor)

    def carry_time(self, now: Moment) -> list[Effect]:
        """Writes the floor of time down now and then, also offline: a power cut then costs minutes of it, not weeks."""
        floor = self.memory.floor.carried(now, self.in_force.boot_id)
        if floor.at_monotonic_ms - self.memory.floor.at_monotonic_ms < NOTE_EVERY_MS:
            return []
        self.memory = replace(self.memory, floor=floor)
        self.noted_ms = now.monotonic_ms
        return [self.note()]

    def note(self) -> Settle:
        """Keeps what is remembered."""
        return Settle(settlement=Settlement(notes=self.memory.notes()))

    def ask_epoch(self, because: str) -> list[Effect]:
        """At most once per stream: no collector can make a device burn through epochs."""
        if self.epoch_asked:
            return []
        self.epoch_asked = True
        return [OpenEpoch(because=because)]
