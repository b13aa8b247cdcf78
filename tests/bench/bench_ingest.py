"""Durable events a second through ingest, stage by stage, without gRPC: `python tests/bench/bench_ingest.py`.

Full frames (512 events in batches of 2,048) and frames of one event; SQLite on a real disk. Prints a table. What
gRPC and TLS cost is measured by the bench of the whole path.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from schoolkeeper_collector.ingest.jobs import BatchJob, Job
from schoolkeeper_collector.store.database import Store
from support.collector import Collector, TestSchool, sqlite_store
from support.device import SimulatedDevice, started


def measure(store: Store, *, devices: int, frames: int, events: int, batches: int) -> dict[str, float]:
    """Seconds of CPU and of the clock for `devices * batches` batches of `frames` frames of `events` events."""
    school = TestSchool()
    collector = Collector(store, school)
    peers = []
    for _ in range(devices):
        device = collector.device()
        peers.append((device, collector.greet(device)))
    rounds = [[prepare_batch(device, frames, events) for device, _peer in peers] for _ in range(batches)]
    prepared = 0.0
    began, cpu = time.perf_counter(), cpu_seconds()
    for batch_round in rounds:
        at = time.perf_counter()
        work: list[tuple[SimulatedDevice, Job]] = [
            (device, collector.job(peer, batch))
            for (device, peer), batch in zip(peers, batch_round, strict=True)
        ]
        prepared += time.perf_counter() - at
        assert all(isinstance(job, BatchJob) for _device, job in work)
        collector.writer.work([job for _device, job in work])
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    total = devices * batches * frames * events
    counts = collector.writer.counts
    assert counts.events == total, (counts.events, total)
    findings = collector.fsck()
    assert findings == [], findings[:3]
    collector.close()
    return {
        "events": total,
        "events/s": total / seconds,
        "CPU us/event": cpu / total * 1e6,
        "prepare us": prepared / total * 1e6,
        "place us": counts.place_seconds / total * 1e6,
        "flush us": counts.flush_seconds / total * 1e6,
        "prove us": counts.prove_seconds / total * 1e6,
        "commit us": counts.commit_seconds / total * 1e6,
    }


def prepare_batch(device: SimulatedDevice, frames: int, events: int):  # type: ignore[no-untyped-def]
    for _ in range(frames):
        device.record([started() for _ in range(events)])
    return device.cut()


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=None, help="where the database lies (a real disk)")
    arguments = parser.parse_args()
    cases = {
        "full frames, 8 devices": {"devices": 8, "frames": 4, "events": 512, "batches": 4},
        "frames of 64, 8 devices": {"devices": 8, "frames": 8, "events": 64, "batches": 8},
        "frames of one, 8 devices": {"devices": 8, "frames": 256, "events": 1, "batches": 4},
        "one frame of one, 64 devices": {"devices": 64, "frames": 1, "events": 1, "batches": 10},
    }
    rows = {}
    for name, case in cases.items():
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            store = sqlite_store(Path(folder))
            rows[name] = measure(store, **case)
            store.close()
    columns = list(next(iter(rows.values())))
    sys.stdout.write(f"{'':30}" + "".join(f"{column:>14}" for column in columns) + "\n")
    for name, row in rows.items():
        sys.stdout.write(f"{name:30}" + "".join(f"{row[column]:14,.1f}" for column in columns) + "\n")


if __name__ == "__main__":
    main()
