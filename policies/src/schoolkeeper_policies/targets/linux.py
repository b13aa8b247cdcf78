"""Linux without our agent: dconf keys with locks, USBGuard rules, and the browsers' policy files.

Sources: the dconf administrator's manual, usbguard-rules.conf(5), the browsers' policy lists.
"""

from __future__ import annotations

from schoolkeeper_policies.targets import browsers, devices
from schoolkeeper_policies.targets.common import (
    Export,
    File,
    Notes,
    Platform,
    Policy,
    as_json,
    why_not,
)
from schoolkeeper_proto import policy
from schoolkeeper_proto.policy import MediaAccess, PeripheralKind

Keys = dict[str, dict[str, str]]


def export(held: Policy) -> Export:
    notes = Notes()
    keys: Keys = {}
    guard = _media(held, notes, keys)
    section = devices.screen(held, notes)
    if section is not None:
        keys["org/gnome/desktop/session"] = {"idle-delay": f"uint32 {section.idle_lock_seconds}"}
        keys["org/gnome/desktop/screensaver"] = {"lock-delay": "uint32 0", "lock-enabled": "true"}
        notes.exported(section.text.rule_id, "keys of GNOME that the person cannot change")
        notes.not_possible(section.text.rule_id, "other desktops, and console sessions")
    for rule in devices.peripherals(held, notes):
        if rule.kind is PeripheralKind.PHONE:
            guard.append("block with-interface one-of { 06:*:* }")
            notes.exported(
                rule.text.rule_id, "USBGuard blocks picture transfer; a phone that shows a disk is a medium"
            )
            devices.exceptions_missing(rule, notes)
        elif rule.kind is PeripheralKind.CAMERA:
            keys.setdefault("org/gnome/desktop/privacy", {})["disable-camera"] = "true"
            notes.exported(rule.text.rule_id, "keys of GNOME, which only sandboxed programs ask")
            devices.exceptions_missing(rule, notes)
        elif rule.kind is PeripheralKind.MICROPHONE:
            keys.setdefault("org/gnome/desktop/privacy", {})["disable-microphone"] = "true"
            notes.exported(rule.text.rule_id, "keys of GNOME, which only sandboxed programs ask")
            devices.exceptions_missing(rule, notes)
        else:
            devices.nothing_for(rule, notes, "an export for Linux")
    for way in devices.network(held, notes):
        devices.nothing_for(way, notes, "an export for Linux")
    devices.no_applications(held, notes, "only our agent refuses programs on Linux")
    chrome = browsers.chromium(held, notes)
    browsers.note_firefox(held, notes)
    files = _dconf(keys)
    if guard:
        files.append(
            File(name="usbguard/rules.conf", data=("\n".join([*guard, "allow id *:*"]) + "\n").encode())
        )
    files += [
        File(name="chromium/policies/managed/schoolkeeper.json", data=as_json(chrome)),
        File(name="firefox/policies/policies.json", data=as_json({"policies": browsers.firefox(held)})),
    ]
    return Export(platform=Platform.LINUX, files=tuple(files), coverage=notes.lines())


def _dconf(keys: Keys) -> list[File]:
    """A key file and the locks of every key in it."""
    if not keys:
        return []
    text, locks = "", ""
    for path, values in sorted(keys.items()):
        text += f"[{path}]\n" + "".join(f"{name}={value}\n" for name, value in sorted(values.items())) + "\n"
        locks += "".join(f"/{path}/{name}\n" for name in sorted(values))
    return [
        File(name="dconf/db/schoolkeeper.d/00-schoolkeeper", data=text.encode()),
        File(name="dconf/db/schoolkeeper.d/locks/schoolkeeper", data=locks.encode()),
        File(name="dconf/profile/user", data=b"user-db:user\nsystem-db:schoolkeeper\n"),
    ]


def _media(held: Policy, notes: Notes, keys: Keys) -> list[str]:
    """Lines for USBGuard, first match wins; sticks that a rule of the school names come first."""
    section = held.section(policy.MediaSection)
    guard = [line for rule in section.rules for line in _named(rule, notes)] if section is not None else []
    rule = devices.medium_rule(held, notes, single=True)
    if rule is None:
        return guard
    automount = keys.setdefault("org/gnome/desktop/media-handling", {})
    if rule.access is MediaAccess.ALLOW:
        automount["automount"] = "true"
        notes.exported(rule.text.rule_id, "media are mounted")
        return guard
    if rule.access is MediaAccess.BLOCK:
        guard.append("block with-interface one-of { 08:*:* }")
        automount |= {"automount": "false", "automount-open": "false"}
        notes.exported(rule.text.rule_id, "USBGuard blocks storage; media in card readers are not told apart")
        return guard
    automount |= {"automount": "false", "automount-open": "false"}
    keys["org/gnome/desktop/lockdown"] = {"mount-removable-storage-devices-as-read-only": "true"}
    notes.exported(rule.text.rule_id, "GNOME mounts removable storage read-only")
    if rule.access is MediaAccess.ENCRYPTED_ONLY:
        notes.not_possible(
            rule.text.rule_id, "telling encrypted media: only our agent looks at their content"
        )
    return guard


def _named(rule: policy.MediaRule, notes: Notes) -> list[str]:
    """Single sticks that stay allowed. A stick's serial is a text in quotes (usbguard-rules.conf(5))."""
    if not (rule.serials or rule.vendor_products or rule.buses) or why_not(rule.text, rule.when):
        return []
    if rule.access is not MediaAccess.ALLOW or rule.buses:
        notes.not_possible(
            rule.text.rule_id, "of single media only those that stay allowed are listed, by USB"
        )
        return []
    serials = [f"serial {_quoted(serial)}" for serial in rule.serials] or [""]
    products = [f"id {product}" for product in rule.vendor_products] or ["id *:*"]
    notes.exported(rule.text.rule_id, f"USBGuard allows {len(serials) * len(products)} kinds of stick")
    return [
        " ".join(part for part in ("allow", product, serial, "with-interface one-of { 08:*:* }") if part)
        for product in products
        for serial in serials
    ]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
