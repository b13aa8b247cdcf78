"""Windows: AppLocker rules, registry policy (``Registry.pol``) and the same settings as Intune OMA-URIs.

Sources: [MS-GPREG] 2.2.1 for Registry.pol, the AppLocker XML schema, the Policy CSP and AppLocker CSP references.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from schoolkeeper_policies.targets import browsers, devices
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
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import MatchBy, MediaAccess, NetworkUse, PeripheralKind

_REG_SZ, _REG_DWORD = 1, 4
_EVERYBODY = "S-1-1-0"
_FVE = r"System\CurrentControlSet\Policies\Microsoft\FVE"
_STORAGE = r"Software\Policies\Microsoft\Windows\RemovableStorageDevices"
_DISKS = _STORAGE + r"\{53f5630d-b6bf-11d0-94f2-00a0c91efb8b}"
_SYSTEM = r"Software\Microsoft\Windows\CurrentVersion\Policies\System"
_POLICY = "./Device/Vendor/MSFT/Policy/Config/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One value below HKEY_LOCAL_MACHINE: a number (REG_DWORD) or a text (REG_SZ)."""

    key: str
    name: str
    value: int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Uri:
    """One setting of a mobile device management, as Intune's custom profile takes it."""

    uri: str
    value: int | str

    def said(self) -> dict[str, object]:
        kind = "Integer" if isinstance(self.value, int) else "String"
        return {"omaUri": self.uri, "dataType": kind, "value": self.value}


def export(held: Policy) -> Export:
    notes = Notes()
    entries: list[Entry] = []
    uris: list[Uri] = []
    for more_entries, more_uris in (_media(held, notes), _screen(held, notes), _rest(held, notes)):
        entries += more_entries
        uris += more_uris
    chrome = browsers.chromium(held, notes)
    browsers.note_firefox(held, notes)
    entries += _browser(r"Software\Policies\Google\Chrome", chrome)
    entries += _browser(r"Software\Policies\Microsoft\Edge", browsers.edge(chrome))
    app_locker = _app_locker(held, notes)
    if app_locker:
        grouping = held.identifier("applocker")
        uris.append(
            Uri(
                uri=f"./Vendor/MSFT/AppLocker/ApplicationLaunchRestrictions/{grouping}/EXE/Policy",
                value=_collection(app_locker),
            )
        )
    firefox = {"policies": browsers.firefox(held)}
    files = [
        File(name="Registry.pol", data=registry_pol(entries)),
        File(name="oma-uri.json", data=as_json([uri.said() for uri in uris])),
        File(name="firefox/policies.json", data=as_json(firefox)),
    ]
    if app_locker:
        files.insert(0, File(name="AppLocker.xml", data=_app_locker_xml(app_locker)))
    return Export(platform=Platform.WINDOWS, files=tuple(files), coverage=notes.lines())


# ---- registry ---------------------------------------------------------------------------------------------------


def registry_pol(entries: list[Entry]) -> bytes:
    """``Registry.pol`` in the form of [MS-GPREG] 2.2.1: UTF-16LE, each entry ``[key;value;type;size;data]``."""
    found = b"PReg" + struct.pack("<I", 1)
    for entry in entries:
        if isinstance(entry.value, int):
            kind, data = _REG_DWORD, struct.pack("<I", entry.value)
        else:
            kind, data = _REG_SZ, _wide(entry.value)
        found += _mark("[") + _wide(entry.key) + _mark(";") + _wide(entry.name) + _mark(";")
        found += (
            struct.pack("<I", kind)
            + _mark(";")
            + struct.pack("<I", len(data))
            + _mark(";")
            + data
            + _mark("]")
        )
    return found


def _wide(text: str) -> bytes:
    return (text + "\0").encode("utf-16-le")


def _mark(sign: str) -> bytes:
    return sign.encode("utf-16-le")


def _browser(key: str, settings: browsers.Settings) -> list[Entry]:
    """Lists are numbered values below a key of their own, as the makers' templates write them."""
    found: list[Entry] = []
    for name, value in settings.items():
        if isinstance(value, list):
            found += [
                Entry(key=rf"{key}\{name}", name=str(number), value=text)
                for number, text in enumerate(value, 1)
            ]
        elif isinstance(value, dict):
            found.append(Entry(key=key, name=name, value=json.dumps(value, sort_keys=True)))
        else:
            found.append(
                Entry(key=key, name=name, value=int(value) if isinstance(value, bool | int) else value)
            )
    return found


# ---- media, screen, peripherals, network ---------------------------------------------------------------------------

Both = tuple[list[Entry], list[Uri]]


def _media(held: Policy, notes: Notes) -> Both:
    rule = devices.medium_rule(held, notes)
    if rule is None:
        return [], []
    rule_id = rule.text.rule_id
    if rule.access is MediaAccess.ALLOW:
        notes.exported(rule_id, "nothing is set: Windows allows removable media")
        return [], []
    if rule.access is MediaAccess.BLOCK:
        notes.exported(rule_id, "all classes of removable storage are denied")
        return [Entry(key=_STORAGE, name="Deny_All", value=1)], []
    if rule.access is MediaAccess.READ_ONLY:
        notes.exported(rule_id, "writing to removable disks is denied")
        return (
            [Entry(key=_DISKS, name="Deny_Write", value=1)],
            [Uri(uri=_POLICY + "Storage/RemovableDiskDenyWriteAccess", value=1)],
        )
    notes.exported(rule_id, "writing needs BitLocker To Go")
    if MediaAccess.BLOCK in (rule.plain, rule.unknown):
        notes.not_possible(
            rule_id, "a medium that is not encrypted can still be read: BitLocker denies only writing"
        )
    return (
        [
            Entry(key=_FVE, name="RDVDenyWriteAccess", value=1),
            Entry(key=_FVE, name="RDVDenyCrossOrg", value=0),
        ],
        [
            Uri(
                uri="./Device/Vendor/MSFT/BitLocker/RemovableDrivesRequireEncryption",
                value='<enabled/><data id="RDVCrossOrg" value="false"/>',
            )
        ],
    )


def _screen(held: Policy, notes: Notes) -> Both:
    section = devices.screen(held, notes)
    if section is None:
        return [], []
    notes.exported(
        section.text.rule_id, f"the machine locks after {section.idle_lock_seconds} s without input"
    )
    minutes = max(1, section.idle_lock_seconds // 60)  # rounded down: never later than the rule says
    if section.idle_lock_seconds % 60:
        notes.not_possible(section.text.rule_id, f"seconds in Intune, which locks after {minutes} min")
    return (
        [Entry(key=_SYSTEM, name="InactivityTimeoutSecs", value=section.idle_lock_seconds)],
        [
            Uri(uri=_POLICY + "DeviceLock/DevicePasswordEnabled", value=0),  # 0 is 'enabled' there
            Uri(uri=_POLICY + "DeviceLock/MaxInactivityTimeDeviceLock", value=minutes),
        ],
    )


_PERIPHERALS: dict[PeripheralKind, Both] = {
    PeripheralKind.CAMERA: (
        [Entry(key=r"Software\Policies\Microsoft\Camera", name="AllowCamera", value=0)],
        [Uri(uri=_POLICY + "Camera/AllowCamera", value=0)],
    ),
    PeripheralKind.MICROPHONE: (
        [
            Entry(
                key=r"Software\Policies\Microsoft\Windows\AppPrivacy", name="LetAppsAccessMicrophone", value=2
            )
        ],
        [Uri(uri=_POLICY + "Privacy/LetAppsAccessMicrophone", value=2)],
    ),
    PeripheralKind.BLUETOOTH: ([], [Uri(uri=_POLICY + "Connectivity/AllowBluetooth", value=0)]),
    PeripheralKind.BLUETOOTH_DISCOVERABLE: (
        [],
        [Uri(uri=_POLICY + "Bluetooth/AllowDiscoverableMode", value=0)],
    ),
    PeripheralKind.PHONE: (
        [
            Entry(key=rf"{_STORAGE}\{{6AC27878-A6FA-4155-BA85-F98F491D4F33}}", name="Deny_Read", value=1),
            Entry(key=rf"{_STORAGE}\{{6AC27878-A6FA-4155-BA85-F98F491D4F33}}", name="Deny_Write", value=1),
        ],
        [
            Uri(uri=_POLICY + "Storage/WPDDevicesDenyReadAccessPerDevice", value="<enabled/>"),
            Uri(uri=_POLICY + "Storage/WPDDevicesDenyWriteAccessPerDevice", value="<enabled/>"),
        ],
    ),
}
_NETWORK: dict[NetworkUse, Both] = {
    NetworkUse.OTHER_WIRELESS: ([], [Uri(uri=_POLICY + "Wifi/AllowManualWiFiConfiguration", value=0)]),
    NetworkUse.HOTSPOT: ([], [Uri(uri=_POLICY + "Wifi/AllowInternetSharing", value=0)]),
    NetworkUse.TUNNEL: ([], [Uri(uri=_POLICY + "Settings/AllowVPN", value=0)]),
    NetworkUse.REMOTE_ACCESS: (
        [
            Entry(
                key=r"Software\Policies\Microsoft\Windows NT\Terminal Services",
                name="fDenyTSConnections",
                value=1,
            )
        ],
        [Uri(uri=_POLICY + "RemoteDesktopServices/AllowUsersToConnectRemotely", value="<disabled/>")],
    ),
}


def _rest(held: Policy, notes: Notes) -> Both:
    entries: list[Entry] = []
    uris: list[Uri] = []
    for rule in devices.closed(held, notes):
        both = (
            _PERIPHERALS.get(rule.kind) if isinstance(rule, policy.PeripheralRule) else _NETWORK.get(rule.use)
        )
        if both is None:
            devices.nothing_for(rule, notes, "Windows")
            continue
        entries += both[0]
        uris += both[1]
        notes.exported(rule.text.rule_id, "registry policy and Intune" if both[0] else "Intune only")
        devices.exceptions_missing(rule, notes)
    return entries, uris


# ---- AppLocker ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _PathRule:
    identifier: str
    name: str
    description: str
    action: str
    path: str

    def xml(self) -> str:
        return (
            f"    <FilePathRule Id={quoteattr(self.identifier.lower())} Name={quoteattr(self.name)}"
            f" Description={quoteattr(self.description)} UserOrGroupSid={quoteattr(_EVERYBODY)}"
            f" Action={quoteattr(self.action)}>\n"
            f"      <Conditions><FilePathCondition Path={quoteattr(self.path)} /></Conditions>\n"
            "    </FilePathRule>\n"
        )


def _app_locker(held: Policy, notes: Notes) -> list[_PathRule]:
    """Deny rules by file name, and one that allows the rest: a collection with rules refuses what none allows."""
    section = held.section(policy.ApplicationsSection)
    if section is None:
        return []
    found: list[_PathRule] = []
    for rule in portable(section.rules, notes):
        rule_id = rule.text.rule_id
        if rule.decision not in FORBIDS:
            why = (
                "AppLocker's deny comes before its allow"
                if rule.decision is DecisionKind.ALLOW
                else (f"AppLocker has no {rule.decision.value!r} for a single rule")
            )
            notes.not_possible(rule_id, why)
            continue
        spared = set(rule.unless)
        names = [m.text for m in rule.matches if m.by is MatchBy.FILE_NAME and m not in spared]
        for name in names:
            program = name if name.lower().endswith(".exe") else f"{name}.exe"
            found.append(
                _PathRule(
                    identifier=held.identifier("applocker", rule_id, name),
                    name=rule_id,
                    description=rule.text.description,
                    action="Deny",
                    path=f"*\\{program}",
                )
            )
        if names:
            notes.exported(
                rule_id, f"AppLocker denies {len(names)} file names; a renamed program is not recognised"
            )
        if others := len(rule.matches) - len(names):
            notes.not_possible(
                rule_id,
                f"{others} matches by path, package or hash (paths are Linux's; AppLocker has another hash)",
            )
    if found:
        found.append(
            _PathRule(
                identifier=held.identifier("applocker", "all"),
                name="everything else",
                description="What no rule of the school forbids may start.",
                action="Allow",
                path="*",
            )
        )
    return found


def _collection(rules: list[_PathRule]) -> str:
    inner = "".join(rule.xml() for rule in rules)
    return f'  <RuleCollection Type="Exe" EnforcementMode="Enabled">\n{inner}  </RuleCollection>\n'


def _app_locker_xml(rules: list[_PathRule]) -> bytes:
    return f'<AppLockerPolicy Version="1">\n{_collection(rules)}</AppLockerPolicy>\n'.encode()
