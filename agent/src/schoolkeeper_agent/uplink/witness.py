"""The device as a witness of the ledger: it believes a checkpoint only if it extends the last one it believed.

Pure. Checks: the note's signature by a ledger key of the key statement, the origin's school and generation, an RFC
9162 consistency proof, and for a batch the inclusion of our own statement's leaf. A new generation needs a recovery
statement that two different officers signed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schoolkeeper_proto import checkpoint, merkle, statements, wire
from schoolkeeper_proto.checkpoint import Checkpoint, CheckpointError
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.policy import KeyStatement


class ProofFailure(Exception):
    """Something the collector should have proved and did not; the message says what, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """``note`` is the last believed checkpoint, ``previous_note`` the last one of the generation before.

    ``failure`` is why proofs cannot be verified now; empty while they can.
    """

    note: str = ""
    previous_note: str = ""
    failure: str = ""

    @property
    def last(self) -> Checkpoint | None:
        return checkpoint.parse(self.note) if self.note else None


def advance(witness: Witness, keys: KeyStatement, note: str, proof: wire.ConsistencyProof | None) -> Witness:
    """The witness after believing ``note``; raises ``ProofFailure`` and leaves the one it had."""
    new = read(keys, note)
    last = witness.last
    if last is None:
        return replace(witness, note=note, failure="")
    generation, before = checkpoint.generation_of(new.origin), checkpoint.generation_of(last.origin)
    if generation != before:
        raise ProofFailure(
            f"the ledger's generation is {generation}, this device knows {before}, and no recovery statement signed by"
            " two officers says why"
        )
    if new.size == last.size:
        if new.root != last.root:
            raise ProofFailure(f"two different ledgers of {new.size} entries were shown: a forked history")
        return replace(witness, note=note, failure="")
    if new.size < last.size:
        raise ProofFailure(
            f"the ledger shrank from {last.size} to {new.size} entries in generation {generation}"
        )
    if proof is None or (proof.old_size, proof.new_size) != (last.size, new.size):
        raise ProofFailure(
            f"no proof was given that the ledger of {new.size} entries extends that of {last.size}"
        )
    if not merkle.verify_consistency(last.size, last.root, new.size, new.root, list(proof.path)):
        raise ProofFailure(f"the ledger of {new.size} entries does not extend that of {last.size}")
    return replace(witness, note=note, failure="")


def prove_batch(keys: KeyStatement, ack: wire.Ack, statement: bytes, signature: wire.Signature) -> None:
    """Raises ``ProofFailure`` unless the ack proves that this signed statement is a leaf of its checkpoint."""
    if not ack.checkpoint or ack.inclusion is None:
        raise ProofFailure("the acknowledgement came without a checkpoint or a proof of inclusion")
    point = read(keys, ack.checkpoint)
    proof = ack.inclusion
    if proof.tree_size != point.size:
        raise ProofFailure(f"the proof is for {proof.tree_size} entries, the checkpoint for {point.size}")
    leaf = merkle.leaf_hash(statements.leaf_bytes(statements.batch_entry(statement, signature)))
    if not merkle.verify_inclusion(leaf, proof.leaf_index, proof.tree_size, list(proof.path), point.root):
        raise ProofFailure("the batch is not in the ledger at the place that the acknowledgement names")


def recover(witness: Witness, keys: KeyStatement, note: str, entry: bytes) -> Witness:
    """The witness after a restore that two officers signed: it keeps the old history's last checkpoint to report."""
    new, last = read(keys, note), witness.last
    generation = checkpoint.generation_of(new.origin)
    statement = _recovery(keys, entry)
    if statement.school_id != keys.school_id or statement.new_generation != generation:
        raise ProofFailure("the recovery statement is of another school or generation than the checkpoint")
    before = checkpoint.generation_of(last.origin) if last else 0
    if statement.old_generation < before or generation <= before:
        raise ProofFailure(
            f"the recovery statement leads from generation {statement.old_generation}, this device knows {before}"
        )
    return Witness(note=note, previous_note=witness.note)


def readable(kept: bytes) -> str:
    """A note from the spool; empty when the disk has damaged it: then this is as a first contact."""
    try:
        note = kept.decode()
        checkpoint.generation_of(checkpoint.parse(note).origin)
    except (UnicodeDecodeError, CheckpointError):
        return ""
    return note


def is_new_generation(witness: Witness, note: str) -> bool:
    """Whether the note claims a later generation than the one this device knows; False when it is unreadable."""
    last = witness.last
    try:
        origin = checkpoint.parse(note).origin
        return last is not None and checkpoint.generation_of(origin) > checkpoint.generation_of(last.origin)
    except CheckpointError:
        return False


def read(keys: KeyStatement, note: str) -> Checkpoint:
    """The note's checkpoint, signed by a ledger key and of this school; raises ``ProofFailure``."""
    try:
        point = checkpoint.verify(note, [key.public_key for key in keys.ledger_keys])
        generation = checkpoint.generation_of(point.origin)
    except CheckpointError as error:
        raise ProofFailure(str(error)) from error
    if point.origin != checkpoint.origin_of(keys.school_id, generation):
        raise ProofFailure(f"the checkpoint is of another ledger: {point.origin!r}")
    return point


def _recovery(keys: KeyStatement, entry: bytes) -> wire.RecoveryStatement:
    try:
        opened = decode(wire.LedgerEntry, entry)
        statement = decode(wire.RecoveryStatement, opened.statement)
    except WireFormatError as error:
        raise ProofFailure(f"the recovery statement cannot be read: {error}") from error
    if opened.type is not wire.StatementType.RECOVERY:
        raise ProofFailure("the recovery statement is of another type")
    signers = signing_officers(keys, statements.RECOVERY, opened.statement, opened.signatures)
    if len(signers) < 2:
        raise ProofFailure(
            f"the recovery statement is signed by {len(signers)} of the school's officers, two are needed"
        )
    return statement


def signing_officers(
    keys: KeyStatement, domain: str, statement: bytes, signatures: tuple[wire.Signature, ...]
) -> tuple[str, ...]:
    """Officers whose signature over the statement is valid. Counted by key value and by person, once each."""
    message = statements.signed_bytes(domain, statement)
    found: dict[bytes, str] = {}
    for officer in keys.officers:
        if officer.signing_key in found or officer.officer_id in found.values():
            continue
        key_id = statements.ed25519_key_id(officer.signing_key)
        for signature in signatures:
            if signature.key_id in (key_id, officer.key_id) and _valid(
                officer.signing_key, signature, message
            ):
                found[officer.signing_key] = officer.officer_id
                break
    return tuple(found.values())


def _valid(raw: bytes, signature: wire.Signature, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature.signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
