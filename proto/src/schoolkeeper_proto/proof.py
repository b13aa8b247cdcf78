"""The proof of one event, as a file that anyone can check offline: event -> frame -> statement -> leaf -> checkpoint.

Pure: no database, no network. ``check`` walks the steps in order and says of each whether it holds; a proof is good
only when all do. What it cannot show by itself is said by whoever prints the result: that the checkpoint is the one
others saw needs a witness.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from schoolkeeper_proto import checkpoint, merkle, statements, wire
from schoolkeeper_proto.codec import WireFormatError, decode

FORMAT = "schoolkeeper event proof 1"


class ProofError(ValueError):
    """A proof file that cannot be read; names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventProof:
    """Everything from an event's bytes to a signed checkpoint. Byte fields are hexadecimal in the file."""

    event: bytes
    salt: bytes
    lane: str
    sequence: int
    # The frame it came in.
    first_sequence: int
    count: int
    frame_path: tuple[bytes, ...]
    # The ledger's leaf that commits to the frame.
    entry: bytes
    leaf_index: int
    tree_size: int
    path: tuple[bytes, ...]
    note: str
    # DER of the device's certificate whose key signed the statement.
    certificate: bytes

    def to_json(self) -> str:
        fields = {"format": FORMAT} | {
            field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)
        }
        return json.dumps(fields, indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> EventProof:
        """Raises ``ProofError`` naming the field that is missing or malformed."""
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise ProofError(f"not a proof file: {error}") from error
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise ProofError(f"not a proof file: 'format' must be {FORMAT!r}")
        return EventProof(
            **{field.name: _read(fields, field.name) for field in dataclasses.fields(EventProof)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One link of the proof: what was checked, whether it holds, and what was seen."""

    name: str
    holds: bool
    detail: str


def check(proof: EventProof, ledger_keys: Iterable[bytes]) -> list[Step]:
    """Each step in order; it stops at the first that fails. ``ledger_keys`` are raw Ed25519 public keys."""
    steps: list[Step] = []
    for step in _steps(proof, tuple(ledger_keys)):
        steps.append(step)
        if not step.holds:
            break
    return steps


def holds(steps: list[Step]) -> bool:
    """Whether a checked proof is good: all four steps were reached and hold."""
    return len(steps) == 4 and all(step.holds for step in steps)


def _steps(proof: EventProof, ledger_keys: tuple[bytes, ...]) -> Iterator[Step]:
    yield _event_in_statement(proof)
    yield _statement_signed(proof)
    yield _checkpoint_signed(proof, ledger_keys)
    yield _leaf_in_checkpoint(proof)


def _event_in_statement(proof: EventProof) -> Step:
    name = "the event is in a frame that the device's statement commits to"
    root = _committed_root(proof)
    if root is None:
        return Step(
            name=name, holds=False, detail="the statement commits to no frame at this lane and sequence"
        )
    position = proof.sequence - proof.first_sequence
    leaf = statements.event_leaf(proof.salt, proof.event)
    if not merkle.verify_inclusion(leaf, position, proof.count, list(proof.frame_path), root):
        return Step(
            name=name, holds=False, detail="the event or its path was altered: they lead to another root"
        )
    return Step(name=name, holds=True, detail=f"lane {proof.lane}, sequence {proof.sequence}")


def _committed_root(proof: EventProof) -> bytes | None:
    try:
        entry = decode(wire.LedgerEntry, proof.entry)
        statement = decode(wire.BatchStatement, entry.statement)
    except WireFormatError:
        return None
    if entry.type is not wire.StatementType.BATCH:
        return None
    for run in statement.runs:
        first = run.first_sequence
        for count, root in zip(run.counts, run.roots, strict=False):
            if (run.lane, first, count) == (proof.lane, proof.first_sequence, proof.count):
                return root
            first += count
    return None


def _statement_signed(proof: EventProof) -> Step:
    from cryptography import x509  # here, because only a verifier needs it
    from cryptography.hazmat.primitives.asymmetric import ec

    name = "the statement is signed by the device's certificate"
    entry = decode(wire.LedgerEntry, proof.entry)
    statement = decode(wire.BatchStatement, entry.statement)
    seen = hashlib.sha256(proof.certificate).digest()
    if seen != statement.certificate_hash or len(entry.signatures) != 1:
        return Step(name=name, holds=False, detail="the statement names another certificate")
    try:
        key = x509.load_der_x509_certificate(proof.certificate).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return Step(name=name, holds=False, detail="the certificate's key is not a device's")
        statements.verify(statements.BATCH, entry.statement, entry.signatures[0].signature, key)
    except ValueError as error:
        return Step(name=name, holds=False, detail=str(error))
    return Step(name=name, holds=True, detail=f"device {statement.device_id.hex()}")


def _checkpoint_signed(proof: EventProof, ledger_keys: tuple[bytes, ...]) -> Step:
    name = "the checkpoint is signed by the school's ledger"
    try:
        point = checkpoint.verify(proof.note, ledger_keys)
    except checkpoint.CheckpointError as error:
        return Step(name=name, holds=False, detail=str(error))
    return Step(name=name, holds=True, detail=f"{point.origin}, {point.size} entries")


def _leaf_in_checkpoint(proof: EventProof) -> Step:
    name = "the statement is in the ledger of that checkpoint"
    point = checkpoint.parse(proof.note)
    leaf = merkle.leaf_hash(proof.entry)
    if point.size != proof.tree_size or not merkle.verify_inclusion(
        leaf, proof.leaf_index, proof.tree_size, list(proof.path), point.root
    ):
        return Step(
            name=name, holds=False, detail="the path does not lead from the entry to the checkpoint's root"
        )
    return Step(name=name, holds=True, detail=f"entry {proof.leaf_index} of {proof.tree_size}")


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _read(fields: dict[str, object], name: str) -> Any:
    value = fields.get(name)
    try:
        if name in ("event", "salt", "entry", "certificate") and isinstance(value, str):
            return bytes.fromhex(value)
        if name in ("frame_path", "path") and isinstance(value, list):
            return tuple(bytes.fromhex(item) for item in value)
    except (TypeError, ValueError) as error:
        raise ProofError(f"the field {name!r} is not hexadecimal") from error
    if name in ("lane", "note"):
        if isinstance(value, str):
            return value
    elif (
        name in ("sequence", "first_sequence", "count", "leaf_index", "tree_size")
        and type(value) is int
        and value >= 0
    ):
        return value
    raise ProofError(f"the field {name!r} is missing or malformed")
