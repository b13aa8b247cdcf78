"""Fills a spool in the virtual laptop; each thing that the spool has promised becomes a mark in the write log.

Usage: write_spool.py PATH PUBLIC_KEY_HEX ROUNDS. After 72 rounds the disk has seen evictions, settled frames, a WAL
that was copied back, and a spool that was closed and opened again.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool.contract import IngestTarget, Owner, Settlement, Spool, Wanted
from schoolkeeper_agent.spool.opening import open_spool
from schoolkeeper_proto.wire import LANES, Lane

OWNER = Owner(school_id="school.example", device_id=b"d" * 16, machine_hash=b"m" * 32)
ROOM = 128 * 1024
REOPEN_AT = 40
SETTLE_EVERY = 7
EVENT_BYTES = 1200


def event(lane: Lane, sequence: int) -> bytes:
    """Bytes that belong to one place in one lane, and that nothing compresses."""
    seed = f"{lane.value} {sequence} ".encode()
    return (seed + hashlib.shake_128(seed).digest(EVENT_BYTES))[:EVENT_BYTES]


def open_it(path: Path, public_key: bytes) -> Spool:
    target = IngestTarget(key_id=b"k" * 8, public_key=public_key)
    return open_spool(path, OWNER, target, Moment(wall_ms=1, monotonic_ms=1), room_bytes=ROOM)


def main() -> None:
    path, public_key = Path(sys.argv[1]), bytes.fromhex(sys.argv[2])
    rounds = int(sys.argv[3])
    spool = open_it(path, public_key)
    promise("opened", spool.epoch.hex())
    heads = dict.fromkeys(LANES, 0)
    for number in range(rounds):
        if number == REOPEN_AT:
            spool.close()
            spool = open_it(path, public_key)
        append(spool, LANES[number % len(LANES)], 1 + number % 4, heads)
        if number % SETTLE_EVERY == SETTLE_EVERY - 1:
            settle(spool)


def append(spool: Spool, lane: Lane, count: int, heads: dict[Lane, int]) -> None:
    first = heads[lane]
    spool.append(lane, [event(lane, first + i) for i in range(count)], Moment(wall_ms=2, monotonic_ms=2))
    heads[lane] = first + count
    promise("kept", lane.value, first, count)


def settle(spool: Spool) -> None:
    reading = spool.read(Wanted(max_bytes=1 << 20, max_frames=2))
    assert reading is not None
    for frame in reading.frames:
        promise("settling", frame.lane.value, frame.first_sequence, frame.count)
    numbers = tuple(frame.number for frame in reading.frames)
    spool.settle(Settlement(delivered=numbers), Moment(wall_ms=3, monotonic_ms=3))
    for frame in reading.frames:
        promise("settled", frame.lane.value, frame.first_sequence, frame.count)


def promise(*parts: object) -> None:
    subprocess.run(["/usr/local/bin/lab-mark", ":".join(str(part) for part in parts)], check=True)


if __name__ == "__main__":
    main()
