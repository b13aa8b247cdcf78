"""What each stage costs, us an event: on the device and in the collector, at full frames and at frames of one.

    python tests/bench/bench_stages.py

The device's stages are measured one by one on the product's own functions; the collector's come from its own counters
while `bench_ingest.measure` sends batches through preparer and writer without gRPC (by the clock, its total by CPU).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bench_ingest
import harness
from bench_spool import OWNER, build
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from harness import Report, Row

from schoolkeeper_agent.clock import SystemClock
from schoolkeeper_agent.spool.contract import IngestTarget, Settlement, Wanted
from schoolkeeper_agent.spool.opening import open_spool
from schoolkeeper_proto import sealing, statements, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import Lane
from support.collector import sqlite_store

CASES = {
    "full frames (512)": {"devices": 8, "frames": 4, "events": 512, "batches": 4},
    "frames of one": {"devices": 8, "frames": 256, "events": 1, "batches": 4},
    "one frame of one a batch": {"devices": 64, "frames": 1, "events": 1, "batches": 10},
}


def measure(report: Report, _arguments: argparse.Namespace) -> None:
    for name, per_frame, frames in (("full frames (512)", 512, 16), ("frames of one", 1, 400)):
        found = device_stages(per_frame, frames)
        report.detail[f"device, {name}"] = found
        note = ", ".join(f"{stage} {value:.1f}" for stage, value in found.items())
        what = f"device, us an event, {name}"
        report.add(Row(goal="", what=what, ours=f"{sum(found.values()):.1f} us", note=note))
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            store = sqlite_store(Path(folder))
            found = bench_ingest.measure(store, **case)
            store.close()
        report.detail[f"collector, {name}"] = found
        note = ", ".join(
            f"{stage.removesuffix(' us')} {value:.1f}" for stage, value in found.items() if " us" in stage
        )
        note += f"; {found['events/s']:,.0f}/s"
        what = f"collector, CPU us an event, {name}"
        report.add(Row(goal="", what=what, ours=f"{found['CPU us/event']:.1f} us", note=note))


def device_stages(per_frame: int, frames: int) -> dict[str, float]:
    """CPU microseconds an event, stage by stage; `spool` is the append without its sealing, sync waits not counted."""
    events = [build(number) for number in range(per_frame * frames)]
    key = X25519PrivateKey.generate().public_key()
    binding = sealing.Binding(school_id=OWNER.school_id, device_id=OWNER.device_id, epoch=b"e" * 16)
    signer = statements.P256Signer(ec.generate_private_key(ec.SECP256R1()))
    found: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], object]) -> None:
        cpu = time.process_time()
        work()
        found[stage] = (time.process_time() - cpu) / len(events) * 1e6

    encoded: list[bytes] = []
    timed("serialise", lambda: encoded.extend(encode(event) for event in events))
    sealer = sealing.SegmentSealer(binding, key, b"k" * 32, 1)
    parts = [encoded[n : n + per_frame] for n in range(0, len(encoded), per_frame)]
    timed("seal", lambda: [sealer.seal(Lane.NORMAL, 0, wire.CHAIN_START, part) for part in parts])
    with harness.scratch("stages") as folder:
        clock = SystemClock()
        target = IngestTarget(key_id=b"k" * 32, public_key=key.public_bytes_raw())
        spool = open_spool(folder / "spool.db", OWNER, target, clock.now())
        timed("spool", lambda: [spool.append(Lane.NORMAL, part, clock.now()) for part in parts])
        found["spool"] -= found["seal"]
        readings = []
        wanted = Wanted(max_bytes=1 << 20, max_frames=512)

        def read() -> None:
            while (reading := spool.read(wanted)) is not None and reading.frames:
                readings.append(reading)
                numbers = tuple(frame.number for frame in reading.frames)
                spool.settle(Settlement(delivered=numbers), clock.now())

        timed("read and settle", read)
        spool.close()
    timed("sign", lambda: [signer.sign(bytes(1_000)) for _ in readings])
    return found


if __name__ == "__main__":
    harness.main("stages", measure)
