"""A report that is sealed to officers alone is opened by whom the person chose, from the proof of its event."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from schoolkeeper_policies.officer import keyfile
from schoolkeeper_policies.officer.cli import app
from schoolkeeper_policies.officer.recovery_cli import recovery_key
from schoolkeeper_policies.officer.report_cli import opened_report
from schoolkeeper_policies.reasons import ReasonError
from schoolkeeper_proto import merkle, model, sealing, statements, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.proof import EventProof
from schoolkeeper_proto.trust import Duty

EPOCH, DEVICE, SCHOOL, EVENT = b"e" * 16, b"d" * 16, "tests.example", b"\x07" * 16
WORDS = "Mae ofn arna i."
HEAD = keyfile.new_keys("head", Duty.SAFEGUARDING)
DSL = keyfile.new_keys("dsl", Duty.SAFEGUARDING)


def report() -> model.PersonReport:
    binding = sealing.Binding(school_id=SCHOOL, device_id=DEVICE, epoch=EPOCH)
    to = [sealing.Recipient(name="head", public_key=HEAD.sealing.public_key())]

    def sealed(text: str, category: str) -> model.SealedField:
        context = sealing.FieldContext(binding=binding, event_id=EVENT, category=category)
        return sealing.seal_field(text.encode(), model.SealingScheme.ANY_ONE, to, context)

    return model.PersonReport(
        recipient="head", urgent=True, reference="4F2A1C77", words=sealed(WORDS, "person.report"),
        who=sealed("Efa, 4B", "person.report.who"),
    )  # fmt: skip


def proof(body: model.Body) -> EventProof:
    """As the console saves it, up to what the device signed; the ledger's part is for `schoolkeeper-verify`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + dt.timedelta(days=7))
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    event = encode(
        model.Event(id=model.EventId(EVENT), wall_unix_ms=1, monotonic_ms=1, boot_id=bytes(16), body=body)
    )
    leaf = statements.event_leaf(b"s" * 16, event)
    run = wire.LaneRun(
        lane=wire.Lane.CRITICAL, first_sequence=0, counts=(1,), roots=(merkle.tree_root([leaf]),),
        chain_before=wire.CHAIN_START, chain_after=b"c" * 32,
    )  # fmt: skip
    statement = encode(
        wire.BatchStatement(
            school_id=SCHOOL, device_id=DEVICE, epoch=EPOCH, certificate_hash=hashlib.sha256(der).digest(), runs=(run,)
        )
    )  # fmt: skip
    signature = statements.sign(statements.BATCH, statement, statements.P256Signer(key))
    return EventProof(
        event=event, salt=b"s" * 16, lane="critical", sequence=0, first_sequence=0, count=1, frame_path=(),
        entry=statements.leaf_bytes(statements.batch_entry(statement, signature)), leaf_index=0, tree_size=1, path=(),
        note="", certificate=der,
    )  # fmt: skip


def test_whom_the_person_chose_reads_it_and_nobody_else(tmp_path: Path) -> None:
    text = proof(report()).to_json()
    opened = opened_report(text, HEAD.sealing)
    assert (opened.number, opened.urgent, opened.words, opened.who) == ("4F2A1C77", True, WORDS, "Efa, 4B")
    with pytest.raises(ReasonError, match=r"does not open with this key: .*; it is sealed to: head"):
        opened_report(text, DSL.sealing)
    key, file = tmp_path / "head.key", tmp_path / "proof-7.json"
    keyfile.save_keys(key, HEAD, None)
    file.write_text(text)
    said = CliRunner().invoke(app, ["open-report", str(file), "--key", str(key)])
    assert said.exit_code == 0, said.output
    assert said.stdout.splitlines() == [
        "Number 4F2A1C77, marked as urgent", "They say that they are: Efa, 4B. Nobody checked it.", "", WORDS
    ]  # fmt: skip


def test_a_technician_opens_the_recovery_key_of_a_stick_and_nobody_else_does(tmp_path: Path) -> None:
    technician = keyfile.new_keys("technician", Duty.TECHNICAL)
    binding = sealing.Binding(school_id=SCHOOL, device_id=DEVICE, epoch=EPOCH)
    context = sealing.FieldContext(binding=binding, event_id=EVENT, category="media.recovery-key")
    to = [sealing.Recipient(name="technician", public_key=technician.sealing.public_key())]
    field = sealing.seal_field(b"abacus-badger", model.SealingScheme.ANY_ONE, to, context)
    medium = model.Medium(kernel_name="sdb")
    text = proof(
        model.MediumEncrypted(medium=medium, state="begun", recovery_key=field, reference="1A2B3C4D")
    ).to_json()
    with pytest.raises(ReasonError, match=r"does not open with this key: .*; it is sealed to: technician"):
        recovery_key(text, DSL.sealing)
    with pytest.raises(
        ReasonError, match="another event: write it again with `schoolkeeper-collector recovery-key"
    ):
        recovery_key(proof(model.MediumEncrypted(medium=medium, state="done")).to_json(), technician.sealing)
    key, file = tmp_path / "technician.key", tmp_path / "recovery-1A2B3C4D.json"
    keyfile.save_keys(key, technician, None)
    file.write_text(text)
    said = CliRunner().invoke(app, ["open-recovery-key", str(file), "--key", str(key)])
    assert said.exit_code == 0, said.output
    assert "number 1A2B3C4D" in said.stdout
    assert said.stdout.rstrip().endswith("    abacus-badger")


def test_what_the_device_did_not_sign_is_not_shown() -> None:
    true = proof(report())
    with pytest.raises(ReasonError, match="this is not what the device signed"):
        opened_report(replace(true, salt=b"t" * 16).to_json(), HEAD.sealing)
    with pytest.raises(ReasonError, match="this is not what the device signed"):
        opened_report(replace(true, certificate=proof(report()).certificate).to_json(), HEAD.sealing)
    with pytest.raises(ReasonError, match="proof is of another event"):
        opened_report(proof(model.Canary(canary_id=b"c")).to_json(), HEAD.sealing)
    with pytest.raises(ReasonError, match="save the proof of the report's event again"):
        opened_report("{}", HEAD.sealing)
