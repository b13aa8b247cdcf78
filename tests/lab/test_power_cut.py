"""The power-cut test tells a program that flushes from one that does not."""

from pathlib import Path

import pytest

from support.lab.power_cut import Cause, PowerCut, replay_to_every_flush
from support.lab.virtual_laptop import VirtualLaptop
from support.lab.write_recording import MARK, RECORDED, Recording, record_writes

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(240)]

LINES = 12
PROGRAM = """
import os, subprocess
with open("{folder}/journal", "ab") as journal:
    flush = {flush}
    folder = os.open("{folder}", os.O_RDONLY)
    for number in range({lines}):
        journal.write(b"line %d\\n" % number)
        journal.flush()
        if flush:
            os.fsync(journal.fileno())
            os.fsync(folder)
        subprocess.run(["{mark}", str(number)], check=True)
"""


def record(laptop: VirtualLaptop, folder: Path, *, flush: bool) -> Recording:
    program = PROGRAM.format(folder=RECORDED, flush=flush, lines=LINES, mark=MARK)
    laptop.put("/run/program.py", program.encode())
    with record_writes(laptop, folder) as recording:
        laptop.sh("python3 /run/program.py").check()
    return recording


def every_promised_line_is_there(moment: PowerCut, mounted: Path) -> None:
    journal = mounted / "journal"
    found = journal.read_text().splitlines() if journal.exists() else []
    promised = [f"line {number}" for number in moment.promised if number.isdigit()]
    assert found[: len(promised)] == promised


def test_program_that_flushes_keeps_its_promises(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    recording = record(virtual_laptop, tmp_path, flush=True)
    causes: set[Cause] = set()
    most_promised = 0

    def check(moment: PowerCut, mounted: Path) -> None:
        nonlocal most_promised
        causes.add(moment.cause)
        most_promised = max(most_promised, len(moment.promised))
        every_promised_line_is_there(moment, mounted)

    assert replay_to_every_flush(recording, check) > 3 * LINES
    assert causes == set(Cause)
    assert most_promised > LINES  # the target adds a mark of its own at the end


def test_program_that_does_not_flush_is_caught(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    recording = record(virtual_laptop, tmp_path, flush=False)
    with pytest.raises(AssertionError) as caught:
        replay_to_every_flush(recording, every_promised_line_is_there)
    assert "power cut after a mark" in str(caught.value.__notes__)
