"""``schoolkeeper-agent enrol HOST:PORT --token ...``: what a technician sees."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from schoolkeeper_agent.enrol import CLOCK_OFF_MS, EnrolError, EnrolOptions, enrol
from schoolkeeper_agent.net import AddressError, parse_proxy
from schoolkeeper_agent.system import here


def enrol_main(args: argparse.Namespace) -> int:
    """Enrols; 0 when done, 1 with a message that names place and remedy. The arguments are declared in ``cli.py``."""
    try:
        options = EnrolOptions(
            state_dir=Path(args.state_dir),
            address=args.address,
            token=args.token or args.token_file.read_text(),
            proxy=parse_proxy(args.proxy),
            again=args.again,
            accept_clock=args.accept_clock,
        )
        if not options.state_dir.exists():
            here.make_folder(options.state_dir, everyone_reads=False)
        result = asyncio.run(enrol(options, now_ms=time.time_ns() // 1_000_000))
    except EnrolError as error:
        print(f"error ({error.reason}): {error}", file=sys.stderr)
        return 1
    except (AddressError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found = result.identity
    print(f"Enrolled in {found.school_id} as {found.device_id.hex()}, group {found.group}.")
    if abs(result.clock_off_ms) > CLOCK_OFF_MS:
        print("This machine's clock is wrong; the agent keeps the school's time by itself.", file=sys.stderr)
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(found.not_after_ms // 1000))
    print(f"Certificate until {until}; the agent renews it.")
    return 0
