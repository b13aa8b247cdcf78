"""Hello and heartbeat within the writer's transaction: who this is, what it holds, what we hold, what it must do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from sqlalchemy import Connection, Row, insert, select, update

from schoolkeeper_collector.ingest.changes import Changes
from schoolkeeper_collector.ingest.device_words import bounded, clean
from schoolkeeper_collector.ingest.identity import public_key_bytes
from schoolkeeper_collector.ingest.jobs import BeatJob, CloneJob, HelloJob, Peer
from schoolkeeper_collector.ingest.lanes import LaneCache
from schoolkeeper_collector.ledger.recovery import newest_recovery
from schoolkeeper_collector.ledger.sequencer import Sequencer
from schoolkeeper_collector.store.tables import certificates, clone_sightings, conflicts, devices
from schoolkeeper_proto import checkpoint, wire

_MAX_HELD = 4_096
_OTHER_CERTIFICATES = 4
_RETRY_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What every welcome says."""

    max_batch_bytes: int = 1 << 20
    max_frames: int = 512
    window_batches: int = 4
    heartbeat_seconds: int = 60


class HistoryLost(Exception):
    """A device holds a checkpoint that we signed and our ledger does not lead to: restored from an older backup."""

    def __init__(self, note: str, size: int) -> None:
        super().__init__(f"a device holds a checkpoint of {size} entries that this ledger does not lead to")
        self.note = note
        self.size = size


class Greeter:
    """``policy_of`` tells what is published for a device of a group; it must not block."""

    def __init__(
        self,
        school_id: str,
        sequencer: Sequencer,
        ledger_keys: tuple[bytes, ...],
        lanes: LaneCache,
        terms: Terms,
        policy_of: Callable[[str, bytes], wire.PolicyAvailable | None],
    ) -> None:
        self._school_id = school_id
        self._sequencer = sequencer
        self._ledger_keys = ledger_keys
        self._lanes = lanes
        self._terms = terms
        self._policy_of = policy_of

    def greet(
        self, connection: Connection, changes: Changes, job: HelloJob, now_ms: int
    ) -> wire.Welcome | wire.Goodbye:
        """Registers the contact; the welcome lacks checkpoint and time, which ``complete`` adds before the commit.

        Raises ``HistoryLost``.
        """
        peer, hello = job.peer, job.hello
        row = self._device(connection, peer.identity.device_id)
        if row is None or row.status != "active":
            status = "not known here" if row is None else row.status
            return wire.Goodbye(
                reason="revoked",
                remedy=f"this device is {status}: enrol it again with a new token",
                retry_after_ms=60 * _RETRY_MS,
            )
        peer.device_no, peer.group = row.device_no, row.device_group
        peer.certificate_keys = self._certificate_keys(connection, peer)
        self._learn_checkpoint(connection, peer, hello.checkpoint)
        because = self._new_epoch_because(connection, changes, row, job, now_ms)
        self._register(connection, changes, row, peer, hello, now_ms)
        return wire.Welcome(
            version=wire.WireVersion(),
            held=self._held(connection, row.device_no, hello),
            max_batch_bytes=self._terms.max_batch_bytes,
            max_frames=self._terms.max_frames,
            window_batches=self._terms.window_batches,
            heartbeat_seconds=self._terms.heartbeat_seconds,
            new_epoch_because=because,
            policy=self._policy_of(row.device_group, peer.identity.device_id),
            recovery_entry=self._recovery(connection, hello),
        )

    def beat(self, connection: Connection, changes: Changes, job: BeatJob, now_ms: int) -> None:
        """Notes the contact. Raises ``HistoryLost``."""
        self._learn_checkpoint(connection, job.peer, job.beat.checkpoint)
        self._note_proof_failure(connection, changes, job.peer.device_no, job.beat.proof_failure, now_ms)
        values = {
            "last_contact_ms": now_ms,
            "spool_pending_events": bounded(job.beat.spool_pending_events),
            "skew_ms": bounded(job.beat.wall_unix_ms) - now_ms if job.beat.wall_unix_ms else None,
        }
        connection.execute(update(devices).where(devices.c.device_no == job.peer.device_no).values(**values))

    def clone(
        self, connection: Connection, changes: Changes, job: CloneJob | HelloJob, because: str, now_ms: int
    ) -> None:
        """Two machines speak as one device: a sighting for the technician, a fact for the detection."""
        device_id, device_no = job.peer.identity.device_id, job.peer.device_no
        row = {"school_id": self._school_id, "device_id": device_id, "at_ms": now_ms, "what": because}
        connection.execute(insert(clone_sightings).values(row))
        changes.fact("clone.seen", device_no, now_ms, what=because)

    def proofs(self, connection: Connection, peer: Peer) -> tuple[str, wire.ConsistencyProof | None]:
        """(checkpoint, proof from the one the device holds); afterwards the device holds this one."""
        head = self._sequencer.upcoming
        if head is None:
            return "", None
        proof = None
        if peer.known_generation == head.generation:
            proof = self._sequencer.consistency(connection, peer.known_size)
        peer.known_generation, peer.known_size = head.generation, head.size
        return head.note, proof

    # ---- inside -------------------------------------------------------------------------------------------

    def _device(self, connection: Connection, device_id: bytes) -> Row[Any] | None:
        where = (devices.c.school_id == self._school_id, devices.c.device_id == device_id)
        return connection.execute(select(devices).where(*where)).first()

    def _certificate_keys(self, connection: Connection, peer: Peer) -> dict[bytes, bytes]:
        """Of this stream, and the device's last few others: a batch may have been cut before a renewal."""
        identity = peer.identity
        found = {identity.certificate_hash: identity.public_key}
        rows = connection.execute(
            select(certificates.c.certificate_hash, certificates.c.der)
            .where(
                certificates.c.school_id == self._school_id,
                certificates.c.device_id == identity.device_id,
                certificates.c.certificate_hash != identity.certificate_hash,
                certificates.c.revoked_ms.is_(None),
            )
            .order_by(certificates.c.not_before_ms.desc())
            .limit(_OTHER_CERTIFICATES)
        )
        for row in rows:
            key = x509.load_der_x509_certificate(row.der).public_key()
            if isinstance(key, EllipticCurvePublicKey):
                found[bytes(row.certificate_hash)] = public_key_bytes(key)
        return found

    def _learn_checkpoint(self, connection: Connection, peer: Peer, note: str) -> None:
        """From here on proofs start at what the device says it holds, if we ever signed it."""
        if not note:
            peer.known_generation = peer.known_size = 0
            return
        head = self._sequencer.upcoming
        if head is not None and note == head.note:
            peer.known_generation, peer.known_size = head.generation, head.size
            return
        try:
            point = checkpoint.verify(note, self._ledger_keys)
            generation = checkpoint.generation_of(point.origin)
        except checkpoint.CheckpointError:
            peer.known_generation = peer.known_size = 0
            return
        ours = self._sequencer.generation
        if point.origin == checkpoint.origin_of(self._school_id, ours):
            lost = point.size > self._sequencer.size
            if lost or self._sequencer.root_at(connection, point.size) != point.root:
                raise HistoryLost(note, point.size)
        peer.known_generation, peer.known_size = generation, point.size

    def _new_epoch_because(
        self, connection: Connection, changes: Changes, row: Row[Any], job: HelloJob, now_ms: int
    ) -> str:
        hello = job.hello
        if job.clone_because:
            return job.clone_because
        known_epoch = self._lanes.lanes(connection, row.device_no, hello.epoch)
        if hello.machine_hash and row.machine_hash and hello.machine_hash != row.machine_hash:
            because = "another machine speaks as this device"
            self.clone(connection, changes, job, because, now_ms)
            if row.epoch == hello.epoch or any(state.held for state in known_epoch.values()):
                return because
        where = (
            conflicts.c.school_id == self._school_id,
            conflicts.c.device_no == row.device_no,
            conflicts.c.epoch == hello.epoch,
        )
        if connection.execute(select(conflicts.c.conflict_no).where(*where).limit(1)).first():
            return "this epoch holds a conflict: the same place was used for two different frames"
        for cursor in hello.cursors:
            state = known_epoch.get(cursor.lane)
            if cursor.epoch == hello.epoch and state is not None and state.held.end > cursor.next_sequence:
                return (
                    f"the collector holds the {cursor.lane} lane up to {state.held.end}, the spool goes on at "
                    f"{cursor.next_sequence}: it was set back"
                )
        return ""

    def _register(
        self,
        connection: Connection,
        changes: Changes,
        row: Row[Any],
        peer: Peer,
        hello: wire.Hello,
        now_ms: int,
    ) -> None:
        self._note_proof_failure(connection, changes, row.device_no, hello.proof_failure, now_ms)
        values: dict[str, object] = {
            "last_contact_ms": now_ms,
            "last_address": clean(peer.address, 128),
            "agent_version": clean(hello.agent_version, 64),
            "platform": clean(hello.platform, 32) or row.platform,
            "epoch": hello.epoch,
            "spool_pending_events": bounded(hello.spool_pending_events),
            "skew_ms": bounded(hello.wall_unix_ms) - now_ms if hello.wall_unix_ms else None,
        }
        if hello.machine_hash:
            values["machine_hash"] = hello.machine_hash[:64]
        if hello.bundle_hash != row.bundle_hash:
            values |= {
                "bundle_hash": hello.bundle_hash[:64],
                "bundle_version": bounded(hello.bundle_version),
                "bundle_since_ms": now_ms,
            }
        connection.execute(update(devices).where(devices.c.device_no == row.device_no).values(**values))

    def _note_proof_failure(
        self, connection: Connection, changes: Changes, device_no: int, failure: str, now_ms: int
    ) -> None:
        failure = clean(failure, 500)
        column = devices.c.proof_failure
        result = connection.execute(
            update(devices)
            .where(devices.c.device_no == device_no, column != failure)
            .values(proof_failure=failure)
        )
        if result.rowcount:
            kind = "proof.failing" if failure else "proof.recovered"
            changes.fact(kind, device_no, now_ms, why=failure)

    def _held(self, connection: Connection, device_no: int, hello: wire.Hello) -> tuple[wire.HeldRange, ...]:
        """Of every epoch that the device still has frames of."""
        epochs = [hello.epoch, *(cursor.epoch for cursor in hello.cursors)]
        found: list[wire.HeldRange] = []
        for epoch in dict.fromkeys(epochs[:64]):
            for lane, state in self._lanes.lanes(connection, device_no, epoch).items():
                for first, end in state.held:
                    found.append(
                        wire.HeldRange(epoch=epoch, lane=lane, first_sequence=first, end_sequence=end)
                    )
        return tuple(found[-_MAX_HELD:])

    def _recovery(self, connection: Connection, hello: wire.Hello) -> bytes:
        """For a device that still holds a checkpoint of an earlier generation."""
        ours = self._sequencer.generation
        if ours <= 1:
            return b""
        try:
            if (
                hello.checkpoint
                and checkpoint.generation_of(checkpoint.parse(hello.checkpoint).origin) == ours
            ):
                return b""
        except checkpoint.CheckpointError:
            pass
        return newest_recovery(connection, self._school_id) or b""


def lost_fact(lost: HistoryLost) -> str:
    """The fields of the fact that names the highest checkpoint a device has shown us."""
    return json.dumps({"size": lost.size, "note": lost.note}, sort_keys=True)
