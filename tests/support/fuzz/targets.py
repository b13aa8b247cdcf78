"""The parsers that read what another party wrote, each with the errors it may raise. Anything else is a defect."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_proto import (
    bundle,
    checkpoint,
    granting,
    model,
    policy,
    proof,
    sealing,
    statements,
    trust,
    wire,
)
from schoolkeeper_proto.codec import WireFormatError, decode, encode, split_payload, summarise

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "vectors.json"
KEY = X25519PrivateKey.from_private_bytes(b"golden ingest key, 32 bytes long")
BINDING = sealing.Binding(
    school_id="golden.example", device_id=b"golden device id", epoch=b"golden epoch id."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``run`` takes any bytes; ``errors`` are what it may raise; ``seeds`` are good inputs to start from."""

    name: str
    run: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]

    def survives(self, data: bytes) -> None:
        """Raises whatever the parser raised that it should not have."""
        try:
            self.run(data)
        except self.errors:
            return


def _frame(data: bytes) -> None:
    frame = decode(wire.Frame, data)
    header = sealing.read_header(frame)
    segment = decode(wire.Segment, _vector("segment"))
    sealing.SegmentOpener(segment, BINDING, KEY).open(frame, header)


def _segment(data: bytes) -> None:
    sealing.SegmentOpener(decode(wire.Segment, data), BINDING, KEY)


def _payload(data: bytes) -> None:
    header = sealing.read_header(decode(wire.Frame, _vector("frame")))
    sealing._split(sealing._decompress(data, header))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _vector(name: str) -> bytes:
    return bytes.fromhex(json.loads(GOLDEN.read_text())["sealed"][name])


def _bundle(data: bytes) -> None:
    bundle.open_bundle(data, school_id="golden.example", group="golden-group", capabilities=frozenset())


def _device_message(data: bytes) -> None:
    message = decode(wire.DeviceMessage, data)
    if isinstance(message.body, wire.Batch):
        decode(wire.BatchStatement, message.body.statement)


def _time(data: bytes) -> None:
    statements.verify_time(decode(wire.SignedTime, data), "golden.example", {b"": bytes(32)})


def _grant(data: bytes) -> None:
    """Beside any signatures: what two officers could be made to sign, or a collector make up."""
    statement = decode(wire.GrantStatement, data)
    officers = tuple(
        granting.Officer(officer_id=str(duty), key=bytes([number]) * 32, duty=duty)
        for number, duty in enumerate(trust.Duty)
    )
    grant = wire.Grant(statement=data, signatures=(wire.Signature(key_id=b"", signature=data),))
    granting.signers_of(grant, officers)
    granting.check(statement, officers, granting.Ground(rules={"r": granting.RuleFacts(opens=True)}))


def _grants() -> tuple[bytes, ...]:
    """Good statements of two kinds."""
    rule = policy.ApplicationRule(
        text=policy.RuleText(rule_id="vpn"),
        decision=model.DecisionKind.BLOCK,
        matches=(policy.ApplicationMatch(by=policy.MatchBy.PATH_PATTERN, text="/opt/**/vpn*"),),
    )
    block = encode(policy.GrantPayload(applications=policy.ApplicationsSection(rules=(rule,))))
    kinds = ((wire.GrantKind.EMERGENCY_BLOCK, block), (wire.GrantKind.LESSON, b""))
    return tuple(
        encode(
            wire.GrantStatement(
                school_id="golden.example",
                grant_id=b"g" * 16,
                kind=kind,
                not_before_unix_ms=0,
                expires_unix_ms=3_600_000,
                groups=("g",),
                rule_ids=("r",),
                payload=payload,
            )
        )
        for kind, payload in kinds
    )


def proto_targets() -> tuple[Target, ...]:
    """Parsers of the wire, both ways."""
    vectors = json.loads(GOLDEN.read_text())
    events = tuple(bytes.fromhex(text) for text in vectors["events"].values())
    entry = decode(wire.LedgerEntry, _vector("entry"))
    batch = wire.Batch(
        statement=entry.statement,
        signature=entry.signatures[0].signature,
        segments=(decode(wire.Segment, _vector("segment")),),
        frames=(decode(wire.Frame, _vector("frame")),),
        number=1,
    )
    hello = wire.Hello(
        version=wire.WireVersion(), epoch=b"e" * 16, checkpoint=vectors["sealed"]["checkpoint"]
    )
    up = tuple(encode(wire.DeviceMessage(body=body)) for body in (batch, hello))
    ack = wire.Ack(
        batch_number=1,
        ranges=(),
        checkpoint="x",
        inclusion=wire.InclusionProof(leaf_index=0, tree_size=1, path=()),
    )
    down = (
        encode(wire.CollectorMessage(body=ack)),
        encode(wire.CollectorMessage(body=wire.Goodbye(reason="expired"))),
    )
    wrong = (WireFormatError,)
    return (
        Target(name="event", run=lambda data: decode(model.Event, data), errors=wrong, seeds=events),
        Target(name="summary", run=summarise, errors=wrong, seeds=events),
        Target(name="device-message", run=_device_message, errors=wrong, seeds=up),
        Target(
            name="collector-message",
            run=lambda data: decode(wire.CollectorMessage, data),
            errors=wrong,
            seeds=down,
        ),
        Target(
            name="enrol-request", run=lambda data: decode(wire.EnrolRequest, data), errors=wrong, seeds=(b"",)
        ),
        Target(
            name="key-statement",
            run=lambda d: decode(policy.KeyStatement, d),
            errors=wrong,
            seeds=(_vector("keys"),),
        ),
        Target(name="payload", run=split_payload, errors=wrong, seeds=(b"",)),
        Target(name="decompress", run=_payload, errors=(sealing.SealingError,), seeds=(b"\x28\xb5\x2f\xfd",)),
        Target(
            name="frame",
            run=_frame,
            errors=(WireFormatError, sealing.SealingError),
            seeds=(_vector("frame"),),
        ),
        Target(
            name="segment",
            run=_segment,
            errors=(WireFormatError, sealing.SealingError),
            seeds=(_vector("segment"),),
        ),
        Target(name="bundle", run=_bundle, errors=(bundle.BundleRefused,), seeds=(_vector("bundle"),)),
        Target(name="grant", run=_grant, errors=wrong, seeds=_grants()),
        Target(
            name="signed-time", run=_time, errors=(WireFormatError, statements.StatementError), seeds=(b"",)
        ),
        Target(
            name="checkpoint",
            run=lambda data: checkpoint.parse(_text(data)),
            errors=(checkpoint.CheckpointError,),
            seeds=(vectors["sealed"]["checkpoint"].encode(),),
        ),
        Target(
            name="proof",
            run=lambda data: proof.check(proof.EventProof.from_json(_text(data)), []),
            errors=(proof.ProofError,),
            seeds=(b'{"format": "schoolkeeper event proof 1"}',),
        ),
    )
