"""Fuzzes what the Linux sensors read from media, kernel, logind and package tools.

Run by `make fuzz`, or `python tests/fuzz/fuzz_linux_sensors.py -max_total_time=60 CORPUS`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports():
    from schoolkeeper_agent.enforcers.linux.exec_responder import mounts
    from schoolkeeper_agent.sensors.linux import content, network, posture_parsers, proc_connector, uevents

MAX_READ = 8 << 20


def _content(data: bytes) -> None:
    read = 0

    def bounded(offset: int, length: int) -> bytes:
        nonlocal read
        read += length
        assert read < MAX_READ
        return data[offset : offset + length]

    content.recognise(bounded, len(data) * 1000)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


TARGETS = (
    _content,
    uevents.parse,
    proc_connector.parse,
    lambda data: mounts.parse(_text(data)),
    lambda data: network.default_gateway(_text(data)),
    posture_parsers.signature_time,
    lambda data: posture_parsers.pending_security_updates(_text(data)),
)


def one_input(data: bytes) -> None:
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
