"""The power-cut test tells a program that flushes from one that does not, and sees what is torn in the middle."""

from pathlib import Path

import pytest

from support.lab.power_cut import Cause, PowerCut, replay_to_every_flush
from support.lab.virtual_laptop import VirtualLaptop
from support.lab.write_recording import MARK, RECORDED, Recording, record_writes

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(240)]

TIMES = 12
APPENDS = """
with open("journal", "ab") as journal:
    for number in range(times):
        journal.write(b"line %d\\n" % number)
        journal.flush()
        promise(journal, number)
"""
OVERWRITES = """
with open("record", "w+b") as record:
    for number in range(times):
        record.seek(0)
        record.write(bytes([number]) * 16384)
        record.flush()
        promise(record, number)
"""
PROGRAM = f"""
import os, subprocess
os.chdir("{RECORDED}")
times = {TIMES}
folder = os.open(".", os.O_RDONLY)

def promise(file, number):
    if FLUSH:
        os.fsync(file.fileno())
        os.fsync(folder)
    subprocess.run(["{MARK}", str(number)], check=True)
"""


def record(laptop: VirtualLaptop, folder: Path, program: str, *, flush: bool = True) -> Recording:
    laptop.put("/run/program.py", f"FLUSH = {flush}\n{PROGRAM}{program}".encode())
    with record_writes(laptop, folder) as recording:
        laptop.sh("cd / && python3 /run/program.py").check()
    return recording


def every_promised_line_is_there(moment: PowerCut, mounted: Path) -> None:
    journal = mounted / "journal"
    found = journal.read_text().splitlines() if journal.exists() else []
    promised = [f"line {number}" for number in moment.promised if number.isdigit()]
    assert found[: len(promised)] == promised


def record_is_whole(moment: PowerCut, mounted: Path) -> None:
    whole = mounted / "record"
    assert not whole.exists() or len(set(whole.read_bytes())) < 2


def test_program_that_flushes_keeps_its_promises(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    recording = record(virtual_laptop, tmp_path, APPENDS)
    moments: list[PowerCut] = []

    def check(moment: PowerCut, mounted: Path) -> None:
        moments.append(moment)
        every_promised_line_is_there(moment, mounted)

    assert replay_to_every_flush(recording, check) == len(moments) > 3 * TIMES
    assert {moment.cause for moment in moments} == set(Cause)
    assert set(moments[-1].promised) > {str(number) for number in range(TIMES)}


def test_program_that_does_not_flush_is_caught(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    recording = record(virtual_laptop, tmp_path, APPENDS, flush=False)
    with pytest.raises(AssertionError) as caught:
        replay_to_every_flush(recording, every_promised_line_is_there)
    assert "power cut after a mark" in str(caught.value.__notes__)


def test_program_that_overwrites_in_place_is_caught(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    """It flushes, so only a cut between two flushes can show that old and new are mixed."""
    recording = record(virtual_laptop, tmp_path, OVERWRITES)
    replay_to_every_flush(recording, record_is_whole, torn_seed=None)
    with pytest.raises(AssertionError) as caught:
        replay_to_every_flush(recording, record_is_whole)
    assert "power cut between two flushes" in str(caught.value.__notes__)
