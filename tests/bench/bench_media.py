"""A refused stick: how long after the kernel's word of it nobody can reach it any more.

    python tests/bench/bench_media.py [--rounds 5]

In the virtual laptop (`make lab`), whose processor is emulated and many times slower than a real one: real USB, udev
and the agent's media sensor, core and enforcer, without any network. Counted by the laptop's own clock, from the
kernel's line about the new USB device to the agent's word that the stick is gone. Half of it is the second that the
kernel's driver waits before it asks the device for its disk; udev holds the disk for the rest.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

import harness
from harness import Report, Row

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.lab.commands import run_tool
from support.lab.golden_state import golden_state
from support.lab.media import MIB, install_rule, start, until
from support.lab.virtual_laptop import VirtualLaptop

WITHIN = 2.0
_FOUND = re.compile(r"\[ *([0-9.]+)\] usb [0-9.-]+: SerialNumber: (\S+)")
_DISK = re.compile(r"\[ *([0-9.]+)\] sd .*Attached SCSI removable disk")


def measure(report: Report, arguments: argparse.Namespace) -> None:
    if not golden_state().is_built:
        report.add(
            Row(
                goal="",
                what="a refused stick",
                ours="not measured",
                note="the virtual laptop is not built: make lab",
            )
        )
        return
    plugged, shown = [], []
    with tempfile.TemporaryDirectory() as name, VirtualLaptop() as laptop:
        folder = Path(name)
        install_rule(laptop)
        start(laptop, folder, "block")
        for number in range(arguments.rounds):
            image, serial = folder / f"{number}.img", f"ROUND{number}"
            with image.open("wb") as blank:
                blank.truncate(32 * MIB)
            run_tool(["mkfs.vfat", image])
            laptop.plug_without_waiting(image, serial=serial)
            gone = until(laptop, f"media.refused {serial}")
            log = laptop.sh("dmesg").check().splitlines()
            plugged.append(
                gone - next(float(m[1]) for line in log if (m := _FOUND.match(line)) and m[2] == serial)
            )
            shown.append(gone - [float(m[1]) for line in log if (m := _DISK.match(line))][-1])
    slowest = max(plugged)
    report.add(
        Row(
            goal="",
            what="a refused stick: from the kernel's word of the device until it is gone, the slowest",
            ours=f"{slowest:.2f} s",
            target=f"< {WITHIN:.0f} s",
            reached=slowest < WITHIN,
            note=(
                f"{len(plugged)} sticks, median {harness.median(plugged):.2f} s; from the moment the kernel had the "
                f"disk itself, median {harness.median(shown):.2f} s; emulated processor, no network"
            ),
        )
    )
    report.detail = {"from_device": plugged, "from_disk": shown}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    harness.main("media", measure, parser)
