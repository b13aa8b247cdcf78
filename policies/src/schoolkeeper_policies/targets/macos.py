"""macOS: a configuration profile, and a declaration for removable media (macOS 15 and later)."""

from __future__ import annotations

from schoolkeeper_policies.targets import apple, browsers, devices
from schoolkeeper_policies.targets.common import (
    FORBIDS,
    Export,
    File,
    Notes,
    Platform,
    Policy,
    as_json,
    portable,
)
from schoolkeeper_proto import policy
from schoolkeeper_proto.policy import MatchBy, MediaAccess, NetworkUse, PeripheralKind

_STORAGE = {MediaAccess.BLOCK: "Disallowed", MediaAccess.READ_ONLY: "ReadOnly", MediaAccess.ALLOW: "Allowed"}


def export(held: Policy) -> Export:
    notes = Notes()
    payloads = [
        *_screen(held, notes),
        *_restrictions(held, notes),
        *_browsers(held, notes),
        *_santa(held, notes),
    ]
    files = [apple.profile(held, "macos", payloads, "schoolkeeper.mobileconfig")]
    files += _storage(held, notes)
    return Export(platform=Platform.MACOS, files=tuple(files), coverage=notes.lines())


def _screen(held: Policy, notes: Notes) -> list[apple.Payload]:
    section = devices.screen(held, notes)
    if section is None:
        return []
    seconds = section.idle_lock_seconds
    notes.exported(section.text.rule_id, f"the screen saver comes after {seconds} s and asks at once")
    # Apple's schema has idleTime for a user's profile only; a device's profile says it in minutes, up to 15.
    code = {"maxInactivity": min(15, max(1, seconds // 60)), "maxGracePeriod": 0}
    saver = {
        "idleTime": seconds,
        "loginWindowIdleTime": seconds,
        "askForPassword": True,
        "askForPasswordDelay": 0,
    }
    return [
        apple.payload(held, "com.apple.mobiledevice.passwordpolicy", "Auto-lock", code),
        apple.payload(held, "com.apple.screensaver", "Screen lock", saver),
    ]


def _restrictions(held: Policy, notes: Notes) -> list[apple.Payload]:
    restrictions: dict[str, object] = {}
    found: list[apple.Payload] = []
    for rule in devices.peripherals(held, notes):
        if rule.kind is PeripheralKind.CAMERA:
            restrictions["allowCamera"] = False
        elif rule.kind is PeripheralKind.BLUETOOTH:
            off = {"DisableBluetooth": True}
            found.append(apple.payload(held, "com.apple.MCXBluetooth", "Bluetooth", off))
        else:
            devices.nothing_for(rule, notes, "macOS")
            continue
        notes.exported(rule.text.rule_id, "a restriction of the profile")
        devices.exceptions_missing(rule, notes)
    for way in devices.network(held, notes):
        if way.use is NetworkUse.HOTSPOT:
            off = {"forceInternetSharingOff": True}
            found.append(apple.payload(held, "com.apple.MCX", "Internet sharing", off))
            notes.exported(way.text.rule_id, "a restriction of the profile")
            devices.exceptions_missing(way, notes)
        else:
            devices.nothing_for(way, notes, "macOS")
    if restrictions:
        found.append(apple.payload(held, "com.apple.applicationaccess", "Restrictions", restrictions))
    return found


def _browsers(held: Policy, notes: Notes) -> list[apple.Payload]:
    chrome = browsers.chromium(held, notes)
    browsers.note_firefox(held, notes)
    firefox = browsers.firefox(held)
    found = []
    for kind, name, settings in (
        ("com.google.Chrome", "Google Chrome", chrome),
        ("com.microsoft.Edge", "Microsoft Edge", browsers.edge(chrome)),
        ("org.mozilla.firefox", "Firefox", {"EnterprisePoliciesEnabled": True, **firefox} if firefox else {}),
    ):
        if settings:
            found.append(apple.payload(held, kind, name, settings))
    if chrome:
        for rule in (*browsers.settings(held, Notes()),):
            notes.not_possible(rule.text.rule_id, "Safari")
    return found


def _santa(held: Policy, notes: Notes) -> list[apple.Payload]:
    """Programs known by their SHA-256, for Santa; other ways of recognising are Linux's."""
    section = held.section(policy.ApplicationsSection)
    rules: list[dict[str, str]] = []
    for rule in portable(section.rules, notes) if section is not None else ():
        spared = set(rule.unless)
        hashes = [m.text for m in rule.matches if m.by is MatchBy.SHA256 and m not in spared]
        if rule.decision not in FORBIDS or not hashes:
            notes.not_possible(
                rule.text.rule_id, "macOS refuses programs by hash or signature only, by Santa"
            )
            continue
        rules += [
            {
                "rule_type": "BINARY",
                "policy": "BLOCKLIST",
                "identifier": text,
                "custom_msg": rule.text.resolution,
            }
            for text in hashes
        ]
        notes.exported(rule.text.rule_id, f"{len(hashes)} hashes for Santa, which must be installed")
        if len(hashes) < len(rule.matches):
            notes.not_possible(
                rule.text.rule_id, f"{len(rule.matches) - len(hashes)} matches that are no hash"
            )
    if not rules:
        return []
    return [apple.payload(held, "com.northpolesec.santa", "Santa", {"ClientMode": 1, "StaticRules": rules})]


def _storage(held: Policy, notes: Notes) -> list[File]:
    rule = devices.medium_rule(held, notes)
    if rule is None:
        return []
    access = rule.access
    if access is MediaAccess.ENCRYPTED_ONLY:
        # The nearest that macOS has is the stricter of what plain media get.
        access = (
            MediaAccess.BLOCK if MediaAccess.BLOCK in (rule.plain, rule.unknown) else MediaAccess.READ_ONLY
        )
        notes.not_possible(
            rule.text.rule_id, "encrypted media stay as closed as plain ones: macOS cannot tell them"
        )
    notes.exported(rule.text.rule_id, f"external storage is {_STORAGE[access]} (macOS 15 and later)")
    declaration = {
        "Type": "com.apple.configuration.diskmanagement.settings",
        "Identifier": f"schoolkeeper.{held.school}.{held.group}.storage",
        "Payload": {"Restrictions": {"ExternalStorage": _STORAGE[access]}},
    }
    data = as_json(declaration)
    return [File(name="storage.declaration.json", data=data)]
