"""Writes vectors.json: `python tests/golden/make_vectors.py`. Values and keys are fixed; seals are new each time.

Existing vectors are kept as they are: only kinds that have none yet are added.
"""

from __future__ import annotations

import dataclasses
import json
import types
from enum import StrEnum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_proto import bundle, checkpoint, model, policy, sealing, statements, wire
from schoolkeeper_proto.codec import encode

FILE = Path(__file__).with_name("vectors.json")
INGEST_KEY = X25519PrivateKey.from_private_bytes(b"golden ingest key, 32 bytes long")
LEDGER_KEY = Ed25519PrivateKey.from_private_bytes(b"golden ledger key, 32 bytes long")
DEVICE_KEY = ec.derive_private_key(0x601DE2, ec.SECP256R1())
BINDING = sealing.Binding(
    school_id="golden.example", device_id=b"golden device id", epoch=b"golden epoch id."
)


def sample(cls: type, depth: int = 0) -> Any:
    """A value with every field set to something that differs from its default."""
    hints = get_type_hints(cls)
    return cls(**{f.name: _field(f.name, hints[f.name], depth) for f in dataclasses.fields(cls)})


def _field(name: str, hint: Any, depth: int) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(member for member in get_args(hint) if member is not type(None))
    if get_origin(hint) is tuple:
        return (_field(name, get_args(hint)[0], depth),) * 2
    origin = getattr(hint, "__supertype__", hint)
    if dataclasses.is_dataclass(origin):
        return sample(origin, depth + 1)  # type: ignore[arg-type]
    if issubclass(origin, StrEnum):
        return list(origin)[-1]
    if origin is bool:
        return True
    if origin is int:
        return 1_700_000_000_000 + depth if name.endswith("_ms") else 7 + depth
    if origin is bytes:
        return name.encode()
    return f"{name} é ŵ"


def event(body: model.Body) -> model.Event:
    return model.Event(
        id=model.EventId(b"golden event id."),
        wall_unix_ms=1_795_000_000_123,
        monotonic_ms=456_789,
        boot_id=b"golden boot id..",
        skew_ms=-1_500,
        place=model.Place.OFF_SITE,
        user=model.UserRef(pseudonym=b"golden pseudonym", kind=model.UserKind.SHARED),
        severity=model.Severity.HIGH,
        body=body,
    )


def events() -> dict[str, str]:
    kinds = [cls for cls in model.BODY_CLASSES if cls is not model.Unrecognised]
    return {cls.KIND: encode(event(sample(cls))).hex() for cls in kinds}


def sealed() -> dict[str, str]:
    sealer = sealing.SegmentSealer(BINDING, INGEST_KEY.public_key(), b"golden ingest id", 1_795_000_000_000)
    messages = [encode(event(model.Canary(canary_id=bytes([n]) * 16))) for n in range(20)]
    frame = sealer.seal(wire.Lane.CRITICAL, 41, wire.CHAIN_START, messages)
    signer = statements.P256Signer(DEVICE_KEY)
    statement = encode(
        wire.BatchStatement(
            school_id=BINDING.school_id,
            device_id=BINDING.device_id,
            epoch=BINDING.epoch,
            certificate_hash=b"golden certificate hash, 32 byte",
            runs=(
                wire.LaneRun(
                    lane=wire.Lane.CRITICAL,
                    first_sequence=41,
                    counts=(20,),
                    roots=(frame.header.root,),
                    chain_before=wire.CHAIN_START,
                    chain_after=frame.chain,
                ),
            ),
            cut_at_unix_ms=1_795_000_001_000,
        )
    )
    signature = statements.sign(statements.BATCH, statement, signer)
    entry = statements.batch_entry(statement, signature)
    point = checkpoint.Checkpoint(
        origin="golden.example/ledger/1", size=1, root=b"golden root hash, 32 bytes long."
    )
    return {
        "segment": encode(sealer.segment).hex(),
        "frame": encode(frame.frame).hex(),
        "chain": frame.chain.hex(),
        "entry": encode(entry).hex(),
        "checkpoint": checkpoint.sign(point, LEDGER_KEY),
        "bundle": bundle.build(
            school_id="golden.example",
            group="golden-group",
            version=1,
            compiled_at_unix_ms=1_795_000_000_000,
            sections=tuple(sample(cls) for cls in bundle.SECTION_CLASSES.values()),
        ).hex(),
        "keys": encode(sample(policy.KeyStatement)).hex(),
    }


def main() -> None:
    kept = json.loads(FILE.read_text()) if FILE.exists() else {"events": {}, "sealed": {}}
    vectors = {
        "events": {**events(), **kept["events"]},
        "sealed": {**sealed(), **kept["sealed"]},
    }
    FILE.write_text(json.dumps(vectors, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
