#!/usr/bin/python3
"""Runs the tests' commands inside the virtual laptop; one JSON object a line over a virtio-serial port.

A request is {"id", "op", ...}, its answer {"id", "rc", "out"} with "out" in base64. Operations: "sh" (command,
timeout, stdin in base64), "put" (path, data in base64, mode), "wake" (time in seconds since 1970, seed in base64).
The first line after start is {"id": 0, "rc": 0, "out": ""}.
"""

import base64
import fcntl
import json
import os
import struct
import subprocess
import time
from pathlib import Path

PORT = "/dev/virtio-ports/schoolkeeper.lab.0"
ADD_ENTROPY = 0x40085203
RESEED = 0x5207


def sh(request):
    with subprocess.Popen(
        ["sh", "-c", request["command"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            out, _ = process.communicate(base64.b64decode(request["stdin"]), timeout=request["timeout"])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            out, _ = process.communicate()
            return 124, out + b"\n(not done in time)"
    return process.returncode, out


def put(request):
    path = Path(request["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(request["data"]))
    path.chmod(request["mode"])
    return 0, b""


def wake(request):
    """After a restore: the clock stood still, and every restored laptop has the same random numbers ahead."""
    time.clock_settime(time.CLOCK_REALTIME, request["time"])
    seed = base64.b64decode(request["seed"])
    with Path("/dev/urandom").open("wb") as pool:
        fcntl.ioctl(pool, ADD_ENTROPY, struct.pack("ii", len(seed) * 8, len(seed)) + seed)
        fcntl.ioctl(pool, RESEED)
    return 0, b""


OPERATIONS = {"sh": sh, "put": put, "wake": wake}


def answer(port, number, rc, out):
    line = json.dumps({"id": number, "rc": rc, "out": base64.b64encode(out).decode()}).encode() + b"\n"
    while line:
        line = line[os.write(port, line) :]


def lines(port):
    held = b""
    while True:
        read = os.read(port, 65536)
        if not read:  # the host's end is not open
            time.sleep(0.02)
        held += read
        *whole, held = held.split(b"\n")
        yield from whole


def main():
    port = os.open(PORT, os.O_RDWR)
    answer(port, 0, 0, b"")
    for line in lines(port):
        request = json.loads(line)
        try:
            rc, out = OPERATIONS[request["op"]](request)
        except (OSError, KeyError, ValueError) as error:
            rc, out = 125, repr(error).encode()
        answer(port, request["id"], rc, out)


main()
