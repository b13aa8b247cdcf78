"""A fleet in a process of its own, told what to do over its standard input, one JSON object a line.

    {"do": "enrol", "address": ..., "token": ..., "first": 0, "devices": 8}
    {"do": "fill", "events": 500, "per_frame": 1, "sign": true, "lane": "normal"}     seals events for every device
    {"do": "connect"}                                                                 returns when all are welcomed
    {"do": "go", "within": 120}               sends everything; returns when it is acknowledged, with the latencies
    {"do": "play", "speed": 1.0, "seconds": 30}                                       the model week, live
    {"do": "trickle", "rate": 40, "until": FILE}      so many events a second of each device, until the file is there
    {"do": "one", "kind": "network.filter_bypass"}                     one event now, of the first device
    {"do": "offers", "after": 12.5}      when each device heard of a policy after this moment (monotonic clock)
    {"do": "leave"}

Each answer is one JSON object on a line. A failure answers {"failed": ...} and ends the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from schoolkeeper_proto import model
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import Lane
from support.fleet import school_week, shapes
from support.fleet.fleet import Fleet, report

POOL = 4_096


class Load:
    """The fleet of this process."""

    def __init__(self) -> None:
        self.fleet = Fleet([])
        self._pool: list[bytes] = []
        self._number = 0

    async def enrol(self, order: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        first = order.get("first", 0)
        self.fleet = await Fleet.enrolled(
            order["address"],
            order["token"],
            range(first, first + order["devices"]),
            uplink=order.get("uplink", ""),
            verify_every=order.get("verify_every", 0),
        )
        return {"enrolled": len(self.fleet.devices), "seconds": time.monotonic() - began}

    async def fill(self, order: dict[str, Any]) -> dict[str, Any]:
        """Seal so many events for every device; with ``sign``, cut and sign the batches too."""
        began, cpu = time.monotonic(), time.process_time()
        per_frame, lane = order["per_frame"], Lane(order.get("lane", "normal"))
        if not self._pool:
            self._pool = [process_event(number) for number in range(POOL)]
        for device in self.fleet.devices:
            left, place = order["events"], random.randrange(POOL)
            while left > 0:
                count = min(left, per_frame)
                chosen = [self._pool[(place + n) % POOL] for n in range(count)]
                device.outbox.put(lane, chosen)
                left, place = left - count, place + count
            device.drained.clear()
            device.hold()
            if order.get("sign", True):
                device.load(
                    max_frames=order.get("max_frames", 512), max_bytes=order.get("max_bytes", 1 << 20)
                )
            await asyncio.sleep(0)
        return {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}

    async def connect(self, _order: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        await self.fleet.connect()
        return {"connected": len(self.fleet.devices), "seconds": time.monotonic() - began}

    async def go(self, order: dict[str, Any]) -> dict[str, Any]:
        before = sum(device.figures.acknowledged for device in self.fleet.devices)
        for device in self.fleet.devices:
            device.figures.latencies.clear()
        began, cpu = time.monotonic(), time.process_time()
        for device in self.fleet.devices:
            device.release()
        if not any(device.connected.is_set() for device in self.fleet.devices):
            await self.fleet.connect()
        done = await self.fleet.drained(order.get("within", 120))
        latencies = [value for device in self.fleet.devices for value in device.figures.latencies]
        return {
            "drained": done,
            "began": began,
            "ended": time.monotonic(),
            "seconds": time.monotonic() - began,
            "cpu": time.process_time() - cpu,
            "acknowledged": sum(device.figures.acknowledged for device in self.fleet.devices) - before,
            "pushbacks": sum(device.figures.pushbacks for device in self.fleet.devices),
            "lost_streams": sum(device.figures.lost_streams for device in self.fleet.devices),
            "proofs": sum(device.figures.proofs for device in self.fleet.devices),
            "latencies": sorted(latencies)[:: max(1, len(latencies) // 2_000)],
        }

    async def play(self, order: dict[str, Any]) -> dict[str, Any]:
        for device in self.fleet.devices:
            device.figures.latencies.clear()
        reported = await self.fleet.live(
            speed=order["speed"], seconds=order["seconds"], seed=order.get("seed", 1)
        )
        await self.fleet.drained(20)
        latencies = [value for device in self.fleet.devices for value in device.figures.latencies]
        return {"reported": reported, "latencies": latencies, "lost_streams": self._lost()}

    async def trickle(self, order: dict[str, Any]) -> dict[str, Any]:
        """Whatever happens to the streams; afterwards everything must be acknowledged within 30 seconds."""
        number, until = 0, Path(order["until"])
        began = time.monotonic()
        while not until.exists():
            due = int((time.monotonic() - began) * order["rate"])
            while number < due:
                number += 1
                for device in self.fleet.devices:
                    device.outbox.put(Lane.NORMAL, [process_event(device.number * 1_000_000 + number)])
                    device.wake()
            await asyncio.sleep(0.02)
        drained = await self.fleet.drained(30)
        pending = sum(device.outbox.pending_events for device in self.fleet.devices)
        reported = number * len(self.fleet.devices)
        return {"reported": reported, "drained": drained, "pending": pending, "lost_streams": self._lost()}

    async def offers(self, order: dict[str, Any]) -> dict[str, Any]:
        """Of each device that heard, the first moment after the one asked for."""
        found = []
        for device in self.fleet.devices:
            heard = [at for at, _ in device.offers if at > order["after"]]
            found += heard[:1]
        return {"heard": found, "devices": len(self.fleet.devices)}

    async def one(self, order: dict[str, Any]) -> dict[str, Any]:
        """Report one event of this kind at once; the time (monotonic clock, shared by processes) it happened."""
        device = self.fleet.devices[order.get("device", 0)]
        self._number += 1
        body, severity = shapes.body_of(
            order["kind"], random.Random(self._number), device=device.number, at_ms=0
        )
        planned = school_week.Planned(
            at_ms=0,
            lane=school_week.lane_of(body),
            body=body,
            user=shapes.user(10_000 + device.number * 100 + self._number),
            place=model.Place.ON_SITE,
            severity=severity,
        )
        at, at_unix = time.monotonic(), time.time()
        report(device, planned, 1_000_000 + self._number)
        done = asyncio.create_task(device.drained.wait())
        await asyncio.wait({done}, timeout=30)
        return {
            "at": at,
            "at_unix": at_unix,
            "acknowledged": time.monotonic(),
            "pending": device.outbox.pending_events,
        }

    async def memory(self, _order: dict[str, Any]) -> dict[str, Any]:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {"rss_mib": pages * os.sysconf("SC_PAGE_SIZE") / 2**20}

    def _lost(self) -> int:
        return sum(device.figures.lost_streams for device in self.fleet.devices)


def process_event(number: int) -> bytes:
    planned = school_week.Planned(
        at_ms=0,
        lane=Lane.NORMAL,
        body=shapes.process_event(number),
        user=shapes.user(number % 500),
        place=model.Place.ON_SITE,
        severity=model.Severity.INFORMATIONAL,
    )
    now = time.time_ns() // 1_000_000
    event = school_week.as_event(planned, number=number, device=os.getpid(), wall_ms=now, monotonic_ms=number)
    return encode(event)


async def main() -> None:
    load = Load()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if order["do"] == "leave":
            break
        try:
            answer = await getattr(load, order["do"])(order)
        except Exception as error:  # noqa: BLE001 - told to the bench, which ends
            first: BaseException = error
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            print(json.dumps({"failed": f"{type(first).__name__}: {first}"}), flush=True)
            break
        print(json.dumps(answer), flush=True)
    await load.fleet.close()


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)  # gRPC's threads need not be waited for
