"""The technical audit (T-33, W-67): every device of the school as of one moment, as canonical JSON.

Of each device: policy in force, last contact, each posture check. Names of devices, evidence, descriptions and whom a
device is assigned to are left out, because people's names stand in them. The same rows and the same moment give the
same bytes: keys are sorted, no blank is left, times are UTC, and no device's place depends on anything but itself.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from schoolkeeper_collector.console.fleet import Check, Contact, Device, load_fleet
from schoolkeeper_collector.devices.inventory import Tale
from schoolkeeper_proto.model import PostureResult

FORMAT = "schoolkeeper posture snapshot 1"
_KNOWN = (PostureResult.PASS, PostureResult.FAIL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def snapshot_bytes(connection: Connection, school_id: str, at_ms: int, stale_days: int) -> tuple[bytes, int]:
    """The snapshot as of ``at_ms`` (Unix ms), and of how many devices it tells.

    ``stale_days``: after how many days what another system told is old.
    """
    fleet = load_fleet(connection, school_id, at_ms, stale_days)
    lines = sorted((_device(device) for device in fleet.devices), key=_canonical)
    told = {
        "format": FORMAT,
        "school": school_id,
        "as_of": _time(at_ms),
        "asset_register": "held" if fleet.registered else "none: devices without an agent cannot be counted",
        "devices": lines,
        "counts": _counts(fleet.devices),
    }
    return _canonical(told) + b"\n", len(lines)


def _device(device: Device) -> dict[str, object]:
    return {
        "known_by": _known_by(device),
        "device_id": device.device_id.hex() if device.device_id else None,
        "asset_tag": device.asset.tag if device.asset else None,
        "serial": device.serial or None,
        "group": device.group or None,
        "operating_system": device.operating_system or None,
        "agent_version": device.agent_version or None,
        "simulated": device.simulated,
        "contact": device.contact.value,
        "last_seen": _time(device.last_contact_ms),
        "policy": _policy(device),
        "posture": device.posture.value,
        "checks": [_check(check) for check in device.checks],
        "told": sorted((_tale(tale) for tale in device.told), key=_canonical),
    }


def _known_by(device: Device) -> str:
    match device.contact:
        case Contact.NO_AGENT:
            return "asset register only: no agent"
        case Contact.TOLD:
            return "told by another system: no agent, not looked at by us"
        case Contact.REVOKED:
            return "enrolled before, revoked"
        case _:
            return "enrolled"


def _policy(device: Device) -> dict[str, object] | None:
    """None where no agent is; version 0 is said to be none."""
    if device.device_id is None:
        return None
    return {
        "version": device.bundle_version or "none reported",
        "since": _time(device.bundle_since_ms),
        "behind": device.behind,
    }


def _check(check: Check) -> dict[str, object]:
    """``state`` is what may be said of that moment; ``result`` is what was last reported."""
    return {
        "check": check.name,
        "state": _state(check),
        "result": check.result.value,
        "since": _time(check.since_ms),
        "evaluated_at": _time(check.evaluated_ms),
    }


def _state(check: Check) -> str:
    if check.stale:
        return "stale"
    return check.result.value if check.result in _KNOWN else PostureResult.UNKNOWN.value


def _tale(tale: Tale) -> dict[str, object]:
    return {
        "source": tale.source,
        "told_at": _time(tale.told_ms),
        "last_contact_there": _time(tale.device.last_sync_ms),
        "stale": tale.stale,
        "encryption_as_told": tale.device.encryption.value,
    }


def _counts(devices: tuple[Device, ...]) -> dict[str, object]:
    found = [device for device in devices if device.contact is not Contact.REVOKED]
    return {
        "contact": {one.value: sum(device.contact is one for device in devices) for one in Contact},
        "posture": {
            one.value: sum(device.posture is one for device in found)
            for one in (*_KNOWN, PostureResult.UNKNOWN)
        },
    }


def _time(unix_ms: int | None) -> str | None:
    """In UTC to the millisecond; None for what is not known."""
    if unix_ms is None:
        return None
    return (_EPOCH + timedelta(milliseconds=unix_ms)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _canonical(told: object) -> bytes:
    """As RFC 8785 writes texts, truth values and small whole numbers, which is all that is used here."""
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
