"""A fleet of simulated devices against a running collector, from the command line.

    python tests/support/fleet/run.py --collector HOST:PORT --token T [--devices 50] [--speed 600] [--minutes 5]

``--collector`` is the enrolment address. The devices speak the real protocol and play the model school week ``--speed``
times faster than real time. They are marked: platform "simulated", serial numbers SIM..., host names simulated-...
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from schoolkeeper_proto.enrolment_token import TokenTextError
from support.fleet.device import SentAway
from support.fleet.enrolling import EnrolmentFailed
from support.fleet.fleet import Fleet


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--collector", required=True, metavar="HOST:PORT", help="enrolment address")
    parser.add_argument("--token", required=True, help="an enrolment token with as many uses as devices")
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--speed", type=float, default=600.0, help="times faster than real time")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--uplink", default="", metavar="HOST:PORT", help="instead of the signed address")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        return asyncio.run(_run(arguments))
    except* (EnrolmentFailed, SentAway, TokenTextError) as failed:
        first: BaseException = failed
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        print(f"fleet: {first}", file=sys.stderr)
    except* KeyboardInterrupt:
        print("fleet: stopped", file=sys.stderr)
    return 1


async def _run(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    fleet = await Fleet.enrolled(
        arguments.collector,
        arguments.token,
        range(arguments.devices),
        uplink=arguments.uplink,
        verify_every=10,
    )
    await fleet.connect()
    print(
        f"fleet: {arguments.devices} simulated devices enrolled in {time.monotonic() - began:.1f} s",
        flush=True,
    )
    said = time.monotonic()

    def told(acknowledged: int) -> None:
        nonlocal said
        if time.monotonic() - said >= 10:
            said = time.monotonic()
            print(f"fleet: {acknowledged} events acknowledged", flush=True)

    try:
        reported = await fleet.live(
            speed=arguments.speed, seconds=arguments.minutes * 60, seed=arguments.seed, told=told
        )
        await fleet.drained(within=10)
    finally:
        await fleet.close()
    held = sum(device.figures.acknowledged for device in fleet.devices)
    proofs = sum(device.figures.proofs for device in fleet.devices)
    print(f"fleet: {reported} events reported, {held} acknowledged, {proofs} proofs checked", flush=True)
    return 0 if held >= reported else 1


if __name__ == "__main__":
    sys.exit(main())
