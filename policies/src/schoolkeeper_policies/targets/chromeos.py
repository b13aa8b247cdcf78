"""ChromeOS: policies by the names of the Chrome Enterprise policy list, for the administrator's console or its API."""

from __future__ import annotations

from schoolkeeper_policies.targets import browsers, devices
from schoolkeeper_policies.targets.common import (
    Export,
    File,
    Notes,
    Platform,
    Policy,
    as_json,
)
from schoolkeeper_proto import policy
from schoolkeeper_proto.policy import MediaAccess, NetworkUse, PeripheralKind

_PERIPHERALS: dict[PeripheralKind, tuple[str, bool | int]] = {
    PeripheralKind.CAMERA: ("VideoCaptureAllowed", False),
    PeripheralKind.MICROPHONE: ("AudioCaptureAllowed", False),
    PeripheralKind.BLUETOOTH: ("DeviceAllowBluetooth", False),
    PeripheralKind.PRINTER: ("PrintingEnabled", False),
}
_NETWORK: dict[NetworkUse, tuple[str, bool | int]] = {
    NetworkUse.TUNNEL: ("VpnConfigAllowed", False),
    NetworkUse.SHARED_FOLDERS: ("NetworkFileSharesAllowed", False),
}


def export(held: Policy) -> Export:
    notes = Notes()
    settings = browsers.chromium(held, notes)
    rule = devices.medium_rule(held, notes)
    if rule is not None:
        settings |= _media(rule, notes)
    section = devices.screen(held, notes)
    if section is not None:
        delay = section.idle_lock_seconds * 1000
        settings["ScreenLockDelays"] = {"AC": delay, "Battery": delay}
        settings["AllowScreenLock"] = True
        notes.exported(section.text.rule_id, f"the screen locks after {section.idle_lock_seconds} s")
    for entry in devices.closed(held, notes):
        found = (
            _PERIPHERALS.get(entry.kind)
            if isinstance(entry, policy.PeripheralRule)
            else _NETWORK.get(entry.use)
        )
        if found is None:
            devices.nothing_for(entry, notes, "ChromeOS")
            continue
        settings[found[0]] = found[1]
        notes.exported(entry.text.rule_id, f"the policy {found[0]}")
        devices.exceptions_missing(entry, notes)
    devices.no_applications(
        held, notes, "programs of other platforms: ChromeOS runs none of them outside of Linux"
    )
    data = as_json(settings)
    return Export(
        platform=Platform.CHROMEOS, files=(File(name="chromeos.json", data=data),), coverage=notes.lines()
    )


def _media(rule: policy.MediaRule, notes: Notes) -> browsers.Settings:
    if rule.access is MediaAccess.ALLOW:
        notes.exported(rule.text.rule_id, "nothing is set: ChromeOS allows external storage")
        return {}
    read_only = rule.access is MediaAccess.READ_ONLY or (
        rule.access is MediaAccess.ENCRYPTED_ONLY and rule.plain is rule.unknown is MediaAccess.READ_ONLY
    )
    if rule.access is MediaAccess.ENCRYPTED_ONLY:
        notes.not_possible(
            rule.text.rule_id, "encrypted media stay as closed as plain ones: ChromeOS opens none"
        )
    if read_only:
        notes.exported(rule.text.rule_id, "external storage is read-only")
        return {"ExternalStorageReadOnly": True}
    notes.exported(rule.text.rule_id, "external storage is disabled")
    return {"ExternalStorageDisabled": True}
