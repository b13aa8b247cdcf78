"""CPU of the sending side an event, as an agent does it: serialise, seal, spool with its sync, cut, sign, send, settle.

    python tests/bench/agent_cost.py EVENTS

The real writer and spool; batches are cut and signed as the uplink does and are not sent. Events come 10,000 a second,
the rate of goal 9. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import harness
from bench_spool import Run, build
from cryptography.hazmat.primitives.asymmetric import ec

from schoolkeeper_agent.spool.contract import Settlement, Wanted
from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import Lane

RATE = 10_000


def main() -> None:
    count = int(sys.argv[1])
    signer = statements.P256Signer(ec.generate_private_key(ec.SECP256R1()))
    with harness.scratch("agent") as folder:
        run = Run(folder)
        events = [build(number) for number in range(count)]  # what happened, not what it costs to report it
        encode(events[0])
        began, cpu = time.monotonic(), time.process_time()
        for number, event in enumerate(events):
            if number % 10 == 0 and (wait := began + number / RATE - time.monotonic()) > 0:
                time.sleep(wait)
            run.writer.record(Lane.NORMAL, encode(event))
        time.sleep(0.3)
        sent = batches = 0
        while (
            reading := run.writer.call(lambda s: s.read(Wanted(max_bytes=1 << 20, max_frames=512))).result()
        ) and (reading.frames):
            send(reading, signer, batches)
            numbers = tuple(frame.number for frame in reading.frames)
            now = run.clock.now()
            run.writer.call(lambda s, n=numbers, w=now: s.settle(Settlement(delivered=n), w)).result()  # type: ignore[misc]
            sent += sum(frame.count for frame in reading.frames)
            batches += 1
        cpu = time.process_time() - cpu
        run.writer.stop(10)
    what = f"serialise, seal, spool, sign and settle at {RATE:,}/s; {batches} batches; TLS not included"
    print(json.dumps({"events": sent, "cpu_us": cpu / sent * 1e6, "batches": batches, "what": what}))


def send(reading, signer: statements.Signer, number: int) -> bytes:  # type: ignore[no-untyped-def]
    """The bytes of the batch, as the uplink cuts it."""
    run = wire.LaneRun(
        lane=Lane.NORMAL,
        first_sequence=reading.frames[0].first_sequence,
        counts=tuple(frame.count for frame in reading.frames),
        roots=tuple(frame.root for frame in reading.frames),
        chain_before=reading.frames[0].previous,
        chain_after=reading.frames[-1].chain,
    )
    statement = encode(
        wire.BatchStatement(
            school_id=reading.school_id,
            device_id=reading.device_id,
            epoch=reading.epoch,
            certificate_hash=bytes(32),
            runs=(run,),
        )
    )
    batch = wire.Batch(
        statement=statement,
        signature=statements.sign(statements.BATCH, statement, signer).signature,
        segments=reading.segments,
        frames=tuple(frame.frame for frame in reading.frames),
        number=number,
    )
    return encode(wire.DeviceMessage(body=batch))


if __name__ == "__main__":
    main()
