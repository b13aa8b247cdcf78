"""What a device says about itself when it enrols: nothing personal."""

from __future__ import annotations

import hashlib
import socket
import sys

from schoolkeeper_agent.system import here
from schoolkeeper_proto import wire
from schoolkeeper_proto.installed import version_of


def describe_device(key_storage: str) -> wire.DeviceDescription:
    """Fields that cannot be read stay empty; the serial is readable by root only."""
    machine = here.machine()
    return wire.DeviceDescription(
        hostname=socket.gethostname(),
        serial=machine.serial,
        vendor=machine.vendor,
        model=machine.model,
        operating_system=machine.operating_system,
        platform=sys.platform,
        agent_version=agent_version(),
        machine_hash=machine_hash(),
        key_storage=key_storage,
    )


def machine_hash() -> bytes:
    """A commitment to this installation, so that an image restored elsewhere is noticed; 32 bytes, or none."""
    found = here.installation()
    return hashlib.sha256(b"schoolkeeper/machine/v1\x00" + found.encode()).digest() if found else b""


def agent_version() -> str:
    return version_of("schoolkeeper-agent")
