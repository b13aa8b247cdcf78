"""iPadOS: a configuration profile for supervised devices. Source: Apple's Device Management reference."""

from __future__ import annotations

from schoolkeeper_policies.targets import apple, browsers, devices
from schoolkeeper_policies.targets.common import FORBIDS, Export, Notes, Platform, Policy
from schoolkeeper_proto import policy
from schoolkeeper_proto.policy import MediaAccess, NetworkUse, PeripheralKind

_PERIPHERALS = {
    PeripheralKind.CAMERA: "allowCamera",
    PeripheralKind.BLUETOOTH: "allowBluetoothModification",
    PeripheralKind.PRINTER: "allowAirPrint",
}
_NETWORK = {
    NetworkUse.HOTSPOT: "allowPersonalHotspotModification",
    NetworkUse.TUNNEL: "allowVPNCreation",
    NetworkUse.OTHER_WIRELESS: "forceWiFiToAllowedNetworksOnly",
    NetworkUse.SHARED_FOLDERS: "allowFilesNetworkDriveAccess",
}
_MOST_DENIED = 500
"""Apple's schema: no more addresses in DenyListURLs."""
_MINUTES = (1, 2, 3, 4, 5, 10, 15)
"""What the passcode payload takes as maxInactivity on an iPad."""


def export(held: Policy) -> Export:
    notes = Notes()
    restrictions: dict[str, object] = {}
    _media(held, notes, restrictions)
    for rule in devices.closed(held, notes):
        name = (
            _PERIPHERALS.get(rule.kind) if isinstance(rule, policy.PeripheralRule) else _NETWORK.get(rule.use)
        )
        if name is None:
            devices.nothing_for(rule, notes, "iPadOS")
            continue
        restrictions[name] = name.startswith("force")
        notes.exported(rule.text.rule_id, f"the restriction {name} (supervised devices)")
        devices.exceptions_missing(rule, notes)
    devices.no_applications(held, notes, "programs of other platforms: iPadOS knows apps by their bundle id")
    payloads = [*_screen(held, notes), *_filter(held, notes, restrictions)]
    if restrictions:
        payloads.append(
            apple.payload(
                held, "com.apple.applicationaccess", "Restrictions", dict(sorted(restrictions.items()))
            )
        )
    file = apple.profile(held, "ipados", payloads, "schoolkeeper.mobileconfig")
    return Export(platform=Platform.IPADOS, files=(file,), coverage=notes.lines())


def _media(held: Policy, notes: Notes, restrictions: dict[str, object]) -> None:
    rule = devices.medium_rule(held, notes)
    if rule is None:
        return
    if rule.access is MediaAccess.ALLOW:
        notes.exported(rule.text.rule_id, "nothing is set: iPadOS allows USB storage")
        return
    restrictions["allowFilesUSBDriveAccess"] = False
    notes.exported(rule.text.rule_id, "USB storage is closed in Files (supervised devices)")
    if rule.access is not MediaAccess.BLOCK:
        notes.not_possible(
            rule.text.rule_id, "reading, or encrypted media: iPadOS opens or closes USB storage"
        )


def _screen(held: Policy, notes: Notes) -> list[apple.Payload]:
    section = devices.screen(held, notes)
    if section is None:
        return []
    wanted = section.idle_lock_seconds / 60
    minutes = max((step for step in _MINUTES if step <= wanted), default=_MINUTES[0])
    notes.exported(
        section.text.rule_id, f"a passcode, and the screen locks after {minutes} min at the latest"
    )
    code = {"forcePIN": True, "maxInactivity": minutes, "maxGracePeriod": 0}
    return [apple.payload(held, "com.apple.mobiledevice.passwordpolicy", "Passcode and lock", code)]


def _filter(held: Policy, notes: Notes, restrictions: dict[str, object]) -> list[apple.Payload]:
    sites = browsers.lists(held, notes)
    for rule in browsers.settings(held, notes):
        if rule.private_windows is policy.Switch.BLOCKED:
            restrictions["allowSafariPrivateBrowsing"] = False
            notes.exported(rule.text.rule_id, "no private windows in Safari (supervised devices)")
        if rule.password_saving is policy.Switch.BLOCKED:
            restrictions["safariAllowAutoFill"] = False
            notes.exported(rule.text.rule_id, "no filling in of passwords in Safari")
        notes.not_possible(rule.text.rule_id, "the settings of the browser that Safari does not have")
    if not (sites.block or sites.allow):
        return []
    settings: dict[str, object] = {"FilterType": "BuiltIn", "AutoFilterEnabled": True}
    if sites.everything:
        settings["AllowListBookmarks"] = [{"Title": str(s), "URL": f"https://{s}"} for s in sites.allow]
    else:
        settings["DenyListURLs"] = [f"https://{site}" for site in sites.block[:_MOST_DENIED]]
        if (left := len(sites.block) - _MOST_DENIED) > 0:
            _note_cut(held, notes, left)
        settings["PermittedURLs"] = [f"https://{site}" for site in sites.allow]
    return [apple.payload(held, "com.apple.webcontent-filter", "Web content filter", settings)]


def _note_cut(held: Policy, notes: Notes, left: int) -> None:
    section = held.section(policy.BrowserSection)
    for rule in section.rules if section is not None else ():
        if rule.decision in FORBIDS:
            notes.not_possible(
                rule.text.rule_id, f"{left} of all addresses: the filter takes {_MOST_DENIED}, the first ones"
            )
