"""What each system calls its columns and answers, as their exports have it.

Sources: the CSV of *Devices, All devices, Export* in Intune and the names of Microsoft Graph's ``managedDevice``;
display fields of Jamf Pro's inventory and advanced searches; the device list of Google's Admin console and the names
of the Directory API's ``chromeosdevices``. Columns are compared by letters and digits alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schoolkeeper_collector.devices.inventory import Told


class Format(StrEnum):
    """Whose export it is."""

    INTUNE = "intune"
    JAMF = "jamf"
    GOOGLE = "google"
    GENERIC = "generic"


NAMES = {Format.INTUNE: "Intune", Format.JAMF: "Jamf", Format.GOOGLE: "Google Admin"}
"""How a source is called unless somebody calls it otherwise."""
_HINTS = {
    Format.INTUNE: ("intune", "endpoint manager"),
    Format.JAMF: ("jamf",),
    Format.GOOGLE: ("google", "chrome"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """For each thing that is taken, the names of its column, the best first. ``utc``: a time without a zone is UTC."""

    identity: tuple[str, ...]
    serial: tuple[str, ...]
    name: tuple[str, ...]
    system: tuple[str, ...]
    version: tuple[str, ...]
    last_sync: tuple[str, ...]
    encryption: tuple[str, ...]
    compliance: tuple[str, ...]
    always: str = ""
    """The operating system where the file has no column for it: the system carries only this one."""
    utc: bool = False


COLUMNS = {
    Format.INTUNE: Columns(
        identity=("Device ID", "id"),
        serial=("Serial number",),
        name=("Device name",),
        system=("OS", "operatingSystem"),
        version=("OS version",),
        last_sync=("Last check-in", "lastSyncDateTime"),
        encryption=("Encrypted", "isEncrypted"),
        compliance=("Compliance", "complianceState"),
        utc=True,
    ),
    Format.JAMF: Columns(
        identity=("JSS Computer ID", "JSS Mobile Device ID", "Jamf Pro Computer ID", "UDID"),
        serial=("Serial Number",),
        name=("Computer Name", "Display Name", "Device Name"),
        system=("Operating System", "Operating System Name", "OS Type"),
        version=("Operating System Version", "OS Version"),
        last_sync=("Last Check-in", "Last Inventory Update"),
        encryption=("FileVault 2 Status", "FileVault Status"),
        compliance=("Compliance Status",),
    ),
    Format.GOOGLE: Columns(
        identity=("Device ID", "deviceId"),
        serial=("Serial number",),
        name=("Asset ID", "annotatedAssetId", "Device name"),
        system=(),
        version=("OS version", "Chrome version"),
        last_sync=("Last sync", "Most recent activity", "Last policy sync"),
        encryption=(),
        compliance=("Status",),
        always="ChromeOS",
    ),
    Format.GENERIC: Columns(
        identity=("id",),
        serial=("serial", "serial_number"),
        name=("name", "hostname"),
        system=("os", "operating_system"),
        version=("os_version",),
        last_sync=("last_sync", "last_seen"),
        encryption=("encryption", "encrypted"),
        compliance=("compliance",),
    ),
}

_YES = frozenset(
    {"true", "yes", "y", "1", "on", "enabled", "encrypted", "fullyencrypted"}
    | {"allpartitionsencrypted", "bootpartitionsencrypted"}
)
_NO = frozenset(
    {"false", "no", "n", "0", "off", "disabled", "notencrypted", "unencrypted"}
    | {"nopartitionsencrypted", "somepartitionsencrypted"}
)
_NO_ANSWER = frozenset({"", "unknown", "na", "notapplicable", "notreported", "notavailable", "null", "none"})
_NO_SERIAL = frozenset(
    {"", "0", "na", "none", "null", "unknown", "notspecified", "defaultstring", "systemserialnumber"}
    | {"tobefilledbyoem", "notapplicable", "notavailable"}
)
"""What firmware and exports write where there is no serial number: two such devices are not the same one."""


def letters(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def format_of(source: str) -> Format:
    """Which format a name suggests."""
    said = source.casefold()
    return next((kind for kind, hints in _HINTS.items() if any(h in said for h in hints)), Format.GENERIC)


def encryption_of(text: str) -> tuple[Told, bool]:
    """The answer, and whether the word is known: one that is not is no yes."""
    said = letters(text)
    if said in _YES:
        return Told.YES, True
    return (Told.NO, True) if said in _NO else (Told.UNKNOWN, said in _NO_ANSWER)


def serial_of(text: str) -> str:
    return "" if letters(text) in _NO_SERIAL else text
