"""From what the registry says to pass, fail or unknown. Pure: a reader of the registry is given (T-43).

A value is what administrators or a management wrote down, not what Windows was seen to do: each evidence says so. The
names are those of Microsoft's administrative templates and policy references, as the exports write them.
"""

from __future__ import annotations

from schoolkeeper_agent.sensors.linux.posture_parsers import Finding, unknown
from schoolkeeper_agent.sensors.windows.registry import MACHINE, PEOPLE, Registry
from schoolkeeper_proto.model import PostureResult
from schoolkeeper_proto.policy import MediaAccess, MediaRule

_SYSTEM = r"SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System"
_MANAGED_LOCK = r"SOFTWARE\Microsoft\PolicyManager\current\device\DeviceLock"
_DESKTOP = r"Software\Policies\Microsoft\Windows\Control Panel\Desktop"
_FVE = (r"SYSTEM\CurrentControlSet\Policies\Microsoft\FVE", r"SOFTWARE\Policies\Microsoft\FVE")
_STORAGE = r"SOFTWARE\Policies\Microsoft\Windows\RemovableStorageDevices"
_DISKS = _STORAGE + r"\{53f5630d-b6bf-11d0-94f2-00a0c91efb8b}"
_FIREWALL = r"SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy"
_FIREWALL_POLICY = r"SOFTWARE\Policies\Microsoft\WindowsFirewall"
_SECURE_BOOT = r"SYSTEM\CurrentControlSet\Control\SecureBoot\State"
_WINLOGON = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon"
_SETTINGS = "by the settings in the registry, not seen to act"


def lock(registry: Registry, *, within_seconds: int) -> Finding:
    """Whether settings lock every screen after ``within_seconds`` at the latest (0: any time will do)."""
    found = [
        one
        for one in (
            _seconds(registry.value(MACHINE, _SYSTEM, "InactivityTimeoutSecs")),
            60 * _seconds(registry.value(MACHINE, _MANAGED_LOCK, "MaxInactivityTimeDeviceLock")),
        )
        if one
    ]
    where = "the machine"
    if not found:
        people = [sid for sid in registry.keys(PEOPLE, "") if sid.startswith("S-1-5-21-") and "_" not in sid]
        savers = [_saver(registry, sid) for sid in people]
        if not savers or not all(savers):
            return Finding(
                result=PostureResult.FAIL,
                evidence=f"neither InactivityTimeoutSecs nor a secure screen saver locks every screen, {_SETTINGS}",
            )
        found, where = [max(savers)], f"the screen saver of {len(savers)} signed in"
    evidence = f"{where} locks after {min(found)} s, {_SETTINGS}"
    good = not within_seconds or min(found) <= within_seconds
    return Finding(
        result=PostureResult.PASS if good else PostureResult.FAIL,
        evidence=evidence if good else f"{evidence}; {within_seconds} s are wanted",
    )


def _saver(registry: Registry, sid: str) -> int:
    """Seconds after which a policy's screen saver locks this person's screen; 0 when none does."""
    key = f"{sid}\\{_DESKTOP}"
    on = (registry.value(PEOPLE, key, name) for name in ("ScreenSaveActive", "ScreenSaverIsSecure"))
    if any(str(value) != "1" for value in on):
        return 0
    return _seconds(registry.value(PEOPLE, key, "ScreenSaveTimeOut"))


def media(registry: Registry, rule: MediaRule) -> Finding:
    """Whether the settings for removable media are as strict as the rule. BitLocker denies only writing."""
    denied = _is_on(registry, _STORAGE, "Deny_All")
    unwritable = denied or _is_on(registry, _DISKS, "Deny_Write")
    encrypted = unwritable or any(_is_on(registry, key, "RDVDenyWriteAccess") for key in _FVE)
    match rule.access:
        case MediaAccess.ALLOW:
            good, wanted = True, "nothing is wanted"
        case MediaAccess.READ_ONLY:
            good, wanted = unwritable, "Deny_Write is wanted"
        case MediaAccess.BLOCK:
            good, wanted = denied, "Deny_All is wanted"
        case _:
            good, wanted = encrypted, "RDVDenyWriteAccess is wanted"
    said = (
        "all removable media are denied" if denied
        else "writing to removable disks is denied" if unwritable
        else "writing needs BitLocker To Go; reading does not" if encrypted
        else "nothing limits removable media"
    )  # fmt: skip
    evidence = f"{said}, {_SETTINGS}" if good else f"{said}, {_SETTINGS}; {wanted} ({rule.text.rule_id})"
    return Finding(result=PostureResult.PASS if good else PostureResult.FAIL, evidence=evidence)


def firewall(registry: Registry) -> Finding:
    """All three profiles are on; a policy's word counts before the local one."""
    off, untold = [], []
    for profile, local in (("Domain", "Domain"), ("Private", "Standard"), ("Public", "Public")):
        said = registry.value(MACHINE, f"{_FIREWALL_POLICY}\\{local}Profile", "EnableFirewall")
        if said is None:
            said = registry.value(MACHINE, f"{_FIREWALL}\\{local}Profile", "EnableFirewall")
        if said is None:
            untold.append(profile)
        elif said != 1:
            off.append(profile)
    if off:
        return Finding(result=PostureResult.FAIL, evidence=f"off for: {', '.join(off)}, {_SETTINGS}")
    if untold:
        return unknown(f"the registry does not say for: {', '.join(untold)}")
    return Finding(result=PostureResult.PASS, evidence=f"on for every kind of network, {_SETTINGS}")


def secure_boot(registry: Registry) -> Finding:
    said = registry.value(MACHINE, _SECURE_BOOT, "UEFISecureBootEnabled")
    if said is None:
        return unknown("the registry does not say: an older firmware, or no Windows")
    good = said == 1
    return Finding(
        result=PostureResult.PASS if good else PostureResult.FAIL,
        evidence=f"secure boot is {'on' if good else 'off'}",
    )


def auto_login(registry: Registry) -> Finding:
    said = registry.value(MACHINE, _WINLOGON, "AutoAdminLogon")
    if str(said) == "1":
        return Finding(result=PostureResult.FAIL, evidence="signs somebody in by itself: AutoAdminLogon is 1")
    return Finding(result=PostureResult.PASS, evidence=f"nobody is signed in without a password, {_SETTINGS}")


def _is_on(registry: Registry, key: str, name: str) -> bool:
    return registry.value(MACHINE, key, name) == 1


def _seconds(value: int | str | None) -> int:
    """A number above 0, also where Windows keeps it as a text; 0 for anything else."""
    said = str(value)
    return int(said) if said.isdecimal() else 0
