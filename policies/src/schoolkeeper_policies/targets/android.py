"""Android Enterprise: a policy of the Android Management API, for fully managed devices."""

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

Policies = dict[str, object]


def export(held: Policy) -> Export:
    notes = Notes()
    found: Policies = {"name": f"schoolkeeper-{held.group}"}
    connectivity: Policies = {}
    _media(held, notes, found, connectivity)
    section = devices.screen(held, notes)
    if section is not None:
        found["maximumTimeToLock"] = str(section.idle_lock_seconds * 1000)
        notes.exported(section.text.rule_id, f"the screen locks after {section.idle_lock_seconds} s")
    for rule in devices.peripherals(held, notes):
        _peripheral(rule, notes, found, connectivity)
    for way in devices.network(held, notes):
        _network(way, notes, found, connectivity)
    devices.no_applications(
        held, notes, "programs of other platforms: Android knows apps by their package name"
    )
    chrome = browsers.chromium(held, notes)
    if chrome:
        found["applications"] = [
            {"packageName": "com.android.chrome", "installType": "AVAILABLE", "managedConfiguration": chrome}
        ]
        for setting in browsers.settings(held, Notes()):
            notes.not_possible(setting.text.rule_id, "other browsers than Chrome")
    if connectivity:
        found["deviceConnectivityManagement"] = connectivity
    data = as_json(found)
    return Export(
        platform=Platform.ANDROID, files=(File(name="policy.json", data=data),), coverage=notes.lines()
    )


def _media(held: Policy, notes: Notes, found: Policies, connectivity: Policies) -> None:
    rule = devices.medium_rule(held, notes)
    if rule is None:
        return
    if rule.access is MediaAccess.ALLOW:
        notes.exported(rule.text.rule_id, "nothing is set: Android mounts what is plugged in")
        return
    found["mountPhysicalMediaDisabled"] = True
    connectivity["usbDataAccess"] = "DISALLOW_USB_FILE_TRANSFER"
    notes.exported(rule.text.rule_id, "no physical media, no transfer of files by USB")
    if rule.access is not MediaAccess.BLOCK:
        notes.not_possible(rule.text.rule_id, "reading, or encrypted media: Android opens or closes them")


def _peripheral(rule: policy.PeripheralRule, notes: Notes, found: Policies, connectivity: Policies) -> None:
    match rule.kind:
        case PeripheralKind.CAMERA:
            found["cameraAccess"] = "CAMERA_ACCESS_DISABLED"
        case PeripheralKind.MICROPHONE:
            found["microphoneAccess"] = "MICROPHONE_ACCESS_DISABLED"
        case PeripheralKind.BLUETOOTH:
            found["bluetoothDisabled"] = True
        case PeripheralKind.BLUETOOTH_DISCOVERABLE:
            found["bluetoothConfigDisabled"] = True
        case PeripheralKind.PHONE:
            connectivity["usbDataAccess"] = "DISALLOW_USB_FILE_TRANSFER"
        case _:
            devices.nothing_for(rule, notes, "Android")
            return
    notes.exported(rule.text.rule_id, "a restriction of the device")
    devices.exceptions_missing(rule, notes)


def _network(rule: policy.NetworkRule, notes: Notes, found: Policies, connectivity: Policies) -> None:
    match rule.use:
        case NetworkUse.OTHER_WIRELESS:
            connectivity["configureWifi"] = "DISALLOW_CONFIGURING_WIFI"
        case NetworkUse.HOTSPOT | NetworkUse.TETHERING:
            connectivity["tetheringSettings"] = "DISALLOW_ALL_TETHERING"
        case NetworkUse.TUNNEL:
            found["vpnConfigDisabled"] = True
        case NetworkUse.OTHER_NAME_SERVERS:
            connectivity["privateDnsSettings"] = {"privateDnsMode": "PRIVATE_DNS_AUTOMATIC"}
        case _:
            devices.nothing_for(rule, notes, "Android")
            return
    notes.exported(rule.text.rule_id, "a restriction of the device")
    devices.exceptions_missing(rule, notes)
