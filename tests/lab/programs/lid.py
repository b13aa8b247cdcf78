"""Runs inside a virtual laptop: a lid by the kernel's uinput, which logind takes for the machine's own.

python3 lid.py FIFO   (a line "1" in it shuts the lid, "0" opens it)
"""

import fcntl
import os
import struct
import sys
from pathlib import Path

SET_EVENT, SET_SWITCH, SETUP, CREATE = 0x40045564, 0x4004556D, 0x405C5503, 0x5501
EV_SYN, EV_SW, SW_LID, BUS_HOST = 0, 5, 0, 0x19


def send(device: int, kind: int, code: int, value: int) -> None:
    os.write(device, struct.pack("llHHi", 0, 0, kind, code, value))


os.mkfifo(sys.argv[1])
lid = os.open("/dev/uinput", os.O_WRONLY)
fcntl.ioctl(lid, SET_EVENT, EV_SW)
fcntl.ioctl(lid, SET_SWITCH, SW_LID)
fcntl.ioctl(lid, SETUP, struct.pack("HHHH80sI", BUS_HOST, 1, 1, 1, b"Lid Switch", 0))
fcntl.ioctl(lid, CREATE)
while True:
    with Path(sys.argv[1]).open() as said:
        for line in said:
            send(lid, EV_SW, SW_LID, int(line))
            send(lid, EV_SYN, 0, 0)
