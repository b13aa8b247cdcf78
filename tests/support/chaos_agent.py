"""The real service, fed with numbered events: ``python chaos_agent.py CONFIG JOURNAL [RATE]``.

The journal says ``try N`` before an event is handed over and ``kept N`` once the spool has it durably; a test that
kills this program at any point knows from it what must arrive.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from schoolkeeper_agent import bootstrap
from schoolkeeper_agent.config import load_settings
from schoolkeeper_agent.seams import Record
from schoolkeeper_agent.service import Service
from schoolkeeper_agent.service_manager import ServiceManager
from schoolkeeper_proto import model
from schoolkeeper_proto.wire import Lane


def first_free(journal: Path) -> int:
    numbers = [int(line.split()[1]) for line in journal.read_text().splitlines() if line.startswith("try ")]
    return max(numbers, default=0) + 1


LANES = (Lane.CRITICAL, Lane.BULK, Lane.NORMAL, Lane.NORMAL, Lane.NORMAL)


def record_of(number: int) -> Record:
    """All three lanes; a kind that the policy never leaves out."""
    body = model.CommandResult(command_id=number.to_bytes(16, "big"))
    return Record(body=body, lane=LANES[number % len(LANES)])


async def feed(service: Service, journal: Path, most: int) -> None:
    number = first_free(journal)
    with journal.open("a", buffering=1) as said:
        while True:
            numbers = range(number, number + random.randint(1, most))
            number = numbers.stop
            said.write("".join(f"try {n}\n" for n in numbers))
            for n in numbers:
                service.heart._record(record_of(n))
            await asyncio.wrap_future(service.writer.call(lambda _: None))
            if not service.writer.state().failing_because:
                said.write("".join(f"kept {n}\n" for n in numbers))
                os.fsync(said.fileno())
            await asyncio.sleep(random.random() * 0.02)


async def main(config: Path, journal: Path, most: int) -> None:
    journal.touch()
    settings = load_settings(config)
    bootstrap.prepare_folders(settings)
    service = await bootstrap._make(settings, ServiceManager({}))
    running = asyncio.create_task(service.run())
    while not hasattr(service, "transport"):  # noqa: ASYNC110 - a few turns of the loop
        await asyncio.sleep(0.01)
    feeding = asyncio.create_task(feed(service, journal, most))
    asyncio.get_running_loop().add_signal_handler(15, service.stop, "asked to stop")
    asyncio.get_running_loop().add_signal_handler(10, feeding.cancel)  # SIGUSR1: enough
    server = await bootstrap.serve(settings.run_dir, service.report)
    await running
    server.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 40))
