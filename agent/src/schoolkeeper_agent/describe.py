"""What a device says about itself when it enrols: from /etc and the firmware's tables, nothing personal."""

from __future__ import annotations

import hashlib
import socket
import sys
from pathlib import Path

from schoolkeeper_proto import wire
from schoolkeeper_proto.installed import version_of

_DMI = Path("/sys/class/dmi/id")
_MACHINE_ID = Path("/etc/machine-id")


def describe_device(key_storage: str) -> wire.DeviceDescription:
    """Fields that cannot be read stay empty; the serial is readable by root only."""
    return wire.DeviceDescription(
        hostname=socket.gethostname(),
        serial=_line(_DMI / "product_serial"),
        vendor=_line(_DMI / "sys_vendor"),
        model=_line(_DMI / "product_name"),
        operating_system=_operating_system(),
        platform=sys.platform,
        agent_version=agent_version(),
        machine_hash=machine_hash(),
        key_storage=key_storage,
    )


def machine_hash() -> bytes:
    """A commitment to this installation, so that an image restored elsewhere is noticed; 32 bytes, or none."""
    found = _line(_MACHINE_ID)
    return hashlib.sha256(b"schoolkeeper/machine/v1\x00" + found.encode()).digest() if found else b""


def agent_version() -> str:
    return version_of("schoolkeeper-agent")


def _operating_system() -> str:
    for line in _text(Path("/etc/os-release")).splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip('"')
    return sys.platform


def _line(path: Path) -> str:
    return _text(path).strip()[:128]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
