"""A collector in memory that speaks the real wire: real keys, a real ledger, and faults on order."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from schoolkeeper_proto import checkpoint, merkle, statements, wire
from schoolkeeper_proto.codec import decode, encode
from schoolkeeper_proto.policy import KeyStatement, OfficerKey, VerificationKey
from schoolkeeper_proto.sealing import Binding, SegmentOpener, read_header
from schoolkeeper_proto.statements import Ed25519Signer, P256Signer
from schoolkeeper_proto.wire import Disposition, Lane
from support.spools import INGEST, OWNER

LEDGER = ed25519.Ed25519PrivateKey.from_private_bytes(b"L" * 32)
COMMAND = Ed25519Signer(ed25519.Ed25519PrivateKey.from_private_bytes(b"C" * 32))
OFFICERS = tuple(
    Ed25519Signer(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([65 + n]) * 32)) for n in range(4)
)
DEVICE = P256Signer(ec.derive_private_key(7, ec.SECP256R1()))

KEYS = KeyStatement(
    school_id=OWNER.school_id,
    school_name="Tests",
    version=1,
    issued_unix_ms=0,
    ledger_keys=(
        VerificationKey(
            key_id=statements.key_id_of(LEDGER.public_key()),
            public_key=LEDGER.public_key().public_bytes_raw(),
        ),
    ),
    command_keys=(VerificationKey(key_id=COMMAND.key_id, public_key=COMMAND.public_key.public_bytes_raw()),),
    officers=tuple(
        OfficerKey(
            key_id=signer.key_id,
            officer_id=f"officer-{n}",
            duties=("technical",),
            sealing_key=bytes(32),
            signing_key=signer.public_key.public_bytes_raw(),
        )
        for n, signer in enumerate(OFFICERS)
    ),
)

Place = tuple[bytes, Lane, int]


@dataclass
class FakeCollector:
    """Answers one device. ``poison`` are frame roots it refuses; ``refuse_all`` names a reason it refuses all with."""

    chance: random.Random = field(default_factory=lambda: random.Random(1))
    generation: int = 1
    leaves: list[bytes] = field(default_factory=list)
    frames: dict[Place, tuple[int, bytes]] = field(default_factory=dict)
    events: dict[Place, bytes] = field(default_factory=dict)
    evicted: dict[Place, wire.EvictionRecord] = field(default_factory=dict)
    poison: set[bytes] = field(default_factory=set)
    refuse_all: str = ""
    whole_batch: bool = False
    retry: bool = False
    no_proofs: bool = False
    forge_proofs: bool = False
    hello: wire.Hello | None = None
    recovery: bytes = b""
    known_size: int = 0
    batches: int = 0
    stored_twice: int = 0

    def note(self) -> str:
        root = merkle.tree_root(self.leaves)
        origin = checkpoint.origin_of(OWNER.school_id, self.generation)
        return checkpoint.sign(checkpoint.Checkpoint(origin=origin, size=len(self.leaves), root=root), LEDGER)

    def consistency(self, note: str) -> wire.ConsistencyProof | None:
        """From what the device holds to now."""
        size = self.known_size
        if note:
            point = checkpoint.parse(note)
            if checkpoint.generation_of(point.origin) != self.generation:
                self.known_size = len(self.leaves)
                return None
            size = point.size
        self.known_size = len(self.leaves)
        if size > len(self.leaves):
            return None
        nodes = merkle.tree_nodes(self.leaves)
        path = merkle.consistency_path(size, len(self.leaves), nodes)
        return wire.ConsistencyProof(old_size=size, new_size=len(self.leaves), path=tuple(path))

    def answer(self, message: wire.DeviceMessage, now_ms: int) -> list[wire.CollectorBody]:
        match message.body:
            case wire.Hello() as hello:
                self.hello = hello
                return [self._welcome(hello, now_ms)]
            case wire.Batch() as batch:
                return [self._ack(batch, now_ms)]
            case wire.StreamHeartbeat() as beat:
                return [
                    wire.HeartbeatReply(
                        checkpoint=self.note(),
                        consistency=self.consistency(beat.checkpoint),
                        time=self._time(now_ms),
                    )
                ]
            case _:
                return []

    def restore(self, leaves: int, *, signers: int = 2) -> None:
        """As after a restore from a backup of so many leaves; frames of later leaves are gone."""
        old = self.note()
        self.leaves = self.leaves[:leaves]
        self.generation += 1
        self.frames.clear()
        self.events.clear()
        statement = wire.RecoveryStatement(
            school_id=OWNER.school_id,
            old_generation=self.generation - 1,
            new_generation=self.generation,
            restored_size=leaves,
            restored_root=merkle.tree_root(self.leaves),
            highest_known_checkpoint=old,
            reason="tests",
            at_unix_ms=0,
        )
        clear = encode(statement)
        self.recovery = encode(
            wire.LedgerEntry(
                type=wire.StatementType.RECOVERY,
                statement=clear,
                signatures=tuple(
                    statements.sign(statements.RECOVERY, clear, signer) for signer in OFFICERS[:signers]
                ),
            )
        )

    # ---- inside ----

    def _time(self, now_ms: int) -> wire.SignedTime:
        return statements.sign_time(OWNER.school_id, now_ms, COMMAND)

    def _welcome(self, hello: wire.Hello, now_ms: int) -> wire.Welcome:
        held = tuple(
            wire.HeldRange(epoch=epoch, lane=lane, first_sequence=first, end_sequence=first + count)
            for (epoch, lane, first), (count, _) in self.frames.items()
        )
        ahead = any(
            h.epoch == c.epoch and h.lane is c.lane and h.end_sequence > c.next_sequence
            for h in held
            for c in hello.cursors
        )
        self.known_size = 0
        return wire.Welcome(
            version=wire.WireVersion(),
            checkpoint=self.note(),
            consistency=self.consistency(hello.checkpoint) if hello.checkpoint else None,
            time=self._time(now_ms),
            held=held,
            window_batches=3,
            new_epoch_because="the collector holds more" if ahead else "",
            recovery_entry=self.recovery,
        )

    def _ack(self, batch: wire.Batch, now_ms: int) -> wire.Ack:
        self.batches += 1
        statement = decode(wire.BatchStatement, batch.statement)
        statements.verify(statements.BATCH, batch.statement, batch.signature, DEVICE.public_key)
        if self.retry:
            return wire.Ack(batch_number=batch.number, ranges=self._all(statement, Disposition.RETRY))
        refused = self.refuse_all or (
            "a poison frame" if self.whole_batch and self._poisoned(statement) else ""
        )
        if refused:
            return wire.Ack(
                batch_number=batch.number, ranges=self._all(statement, Disposition.REFUSED, refused)
            )
        ranges = self._place(batch, statement)
        signature = wire.Signature(key_id=DEVICE.key_id, signature=batch.signature)
        leaf = merkle.leaf_hash(statements.leaf_bytes(statements.batch_entry(batch.statement, signature)))
        self.leaves.append(leaf)
        if self.no_proofs:
            return wire.Ack(batch_number=batch.number, ranges=ranges)
        nodes = merkle.tree_nodes(self.leaves)
        size = len(self.leaves)
        path = tuple(merkle.inclusion_path(size - 1, size, nodes))
        if self.forge_proofs:
            path = (bytes(32), *path[1:]) if path else (bytes(32),)
        return wire.Ack(
            batch_number=batch.number,
            ranges=ranges,
            checkpoint=self.note(),
            inclusion=wire.InclusionProof(leaf_index=size - 1, tree_size=size, path=path),
            time=self._time(now_ms),
            consistency=self.consistency(""),
        )

    def _poisoned(self, statement: wire.BatchStatement) -> bool:
        return any(root in self.poison for run in statement.runs for root in run.roots)

    @staticmethod
    def _all(
        statement: wire.BatchStatement, disposition: Disposition, reason: str = ""
    ) -> tuple[wire.RangeDisposition, ...]:
        return tuple(
            wire.RangeDisposition(
                epoch=statement.epoch,
                lane=run.lane,
                first_sequence=run.first_sequence,
                count=sum(run.counts),
                disposition=disposition,
                reason=reason,
            )
            for run in statement.runs
        )

    def _place(self, batch: wire.Batch, statement: wire.BatchStatement) -> tuple[wire.RangeDisposition, ...]:
        binding = Binding(school_id=statement.school_id, device_id=statement.device_id, epoch=statement.epoch)
        openers = {s.segment_id: SegmentOpener(s, binding, INGEST) for s in batch.segments}
        ranges, position = [], 0
        for run in statement.runs:
            first = run.first_sequence
            for count, root in zip(run.counts, run.roots, strict=True):
                frame = batch.frames[position]
                header = read_header(frame)
                assert (header.first_sequence, header.count, header.root) == (first, count, root)
                opened = openers[header.segment_id].open(frame, header)
                place = (statement.epoch, run.lane, first)
                disposition = self._disposition(place, count, root)
                if disposition is Disposition.STORED:
                    self.frames[place] = (count, root)
                    for offset, (_, event) in enumerate(opened.events):
                        self.stored_twice += event in self.events.values()
                        self.events[statement.epoch, run.lane, first + offset] = event
                ranges.append(
                    wire.RangeDisposition(
                        epoch=statement.epoch,
                        lane=run.lane,
                        first_sequence=first,
                        count=count,
                        disposition=disposition,
                        reason="tests" if disposition is Disposition.REFUSED else "",
                    )
                )
                first += count
                position += 1
        for record in statement.evictions:
            self.evicted[statement.epoch, record.lane, record.first_sequence] = record
        return tuple(ranges)

    def _disposition(self, place: Place, count: int, root: bytes) -> Disposition:
        if root in self.poison:
            return Disposition.REFUSED
        held = self.frames.get(place)
        if held is None:
            return Disposition.STORED
        return Disposition.DUPLICATE if held == (count, root) else Disposition.CONFLICT
