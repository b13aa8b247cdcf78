"""The offline verifier: a true proof holds, and whoever alters any part of it is told which link breaks."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from schoolkeeper_proto import checkpoint, merkle, model, proof, statements, verify, wire
from schoolkeeper_proto.codec import encode

LEDGER = Ed25519PrivateKey.generate()
PUBLIC = LEDGER.public_key().public_bytes_raw()
ORIGIN = checkpoint.origin_of("westgate.example", 1)


def certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + dt.timedelta(days=7))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def made(position: int = 2, count: int = 5) -> proof.EventProof:
    key = ec.generate_private_key(ec.SECP256R1())
    der = certificate(key)
    events = [
        encode(
            model.Event(
                id=model.EventId(bytes([n]) * 16),
                wall_unix_ms=n,
                monotonic_ms=n,
                boot_id=bytes(16),
                body=model.Canary(canary_id=b"c"),
            )
        )
        for n in range(count)
    ]
    leaves = [statements.event_leaf(b"s" * 16, event) for event in events]
    run = wire.LaneRun(
        lane=wire.Lane.NORMAL,
        first_sequence=90,
        counts=(10, count),
        roots=(b"o" * 32, merkle.tree_root(leaves)),
        chain_before=wire.CHAIN_START,
        chain_after=b"c" * 32,
    )
    statement = encode(
        wire.BatchStatement(
            school_id="westgate.example",
            device_id=b"d" * 16,
            epoch=b"e" * 16,
            certificate_hash=hashlib.sha256(der).digest(),
            runs=(run,),
        )
    )
    signature = statements.sign(statements.BATCH, statement, statements.P256Signer(key))
    entry = statements.leaf_bytes(statements.batch_entry(statement, signature))
    ledger = [merkle.leaf_hash(b"before"), merkle.leaf_hash(entry), merkle.leaf_hash(b"after")]
    point = checkpoint.Checkpoint(origin=ORIGIN, size=3, root=merkle.tree_root(ledger))
    return proof.EventProof(
        event=events[position],
        salt=b"s" * 16,
        lane="normal",
        sequence=100 + position,
        first_sequence=100,
        count=count,
        frame_path=tuple(merkle.inclusion_path(position, count, merkle.tree_nodes(leaves))),
        entry=entry,
        leaf_index=1,
        tree_size=3,
        path=tuple(merkle.inclusion_path(1, 3, merkle.tree_nodes(ledger))),
        note=checkpoint.sign(point, LEDGER),
        certificate=der,
    )


@pytest.mark.parametrize("position", range(5))
def test_a_true_proof_holds_and_survives_its_file(position: int) -> None:
    found = proof.EventProof.from_json(made(position).to_json())
    assert proof.holds(proof.check(found, [PUBLIC]))


@pytest.mark.parametrize(
    ("change", "link"),
    [
        ({"event": b"other"}, 0),
        ({"salt": b"t" * 16}, 0),
        ({"sequence": 103}, 0),
        ({"first_sequence": 99}, 0),
        ({"lane": "critical"}, 0),
        ({"frame_path": ()}, 0),
        ({"entry": b"\xff"}, 0),
        ({"certificate": made().certificate}, 1),
        ({"note": made().note}, 3),
        ({"leaf_index": 0}, 3),
        ({"tree_size": 4}, 3),
        ({"path": ()}, 3),
    ],
)
def test_whatever_is_altered_breaks_its_own_link(change: dict[str, object], link: int) -> None:
    steps = proof.check(dataclasses.replace(made(), **change), [PUBLIC])  # type: ignore[arg-type]
    assert not proof.holds(steps)
    assert [step.holds for step in steps] == [True] * link + [False]


def test_a_ledger_key_of_someone_else_is_not_enough() -> None:
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    steps = proof.check(made(), [stranger])
    assert [step.holds for step in steps] == [True, True, False]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "schoolkeeper event proof 1"}', '{"format": "other"}', "{" * 50]
)
def test_what_is_no_proof_is_named_so(text: str) -> None:
    with pytest.raises(proof.ProofError, match=r"proof file|field"):
        proof.EventProof.from_json(text)


def test_the_command_says_what_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "proof.json"
    file.write_text(made().to_json())
    key = checkpoint.verifier_key(ORIGIN, PUBLIC)
    assert verify.main([str(file), "--ledger-key", key]) == 0
    assert "The event is in the log: canary" in capsys.readouterr().out
    file.write_text(dataclasses.replace(made(), event=b"other").to_json())
    assert verify.main([str(file), "--ledger-key", key]) == 1
    assert "FAILS  the event is in a frame" in capsys.readouterr().out
    assert verify.main([str(tmp_path / "none.json"), "--ledger-key", key]) == 2
    assert verify.main([str(file), "--ledger-key", "nonsense"]) == 2
    assert "it looks like" in capsys.readouterr().err
