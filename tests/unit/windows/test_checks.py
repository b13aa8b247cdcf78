"""What the preview for Windows makes of the registry: pass, fail or unknown, and never fine by assumption."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from schoolkeeper_agent.sensors.windows import checks
from schoolkeeper_agent.sensors.windows.registry import MACHINE, PEOPLE
from schoolkeeper_agent.system import sddl
from schoolkeeper_proto.model import PostureResult
from schoolkeeper_proto.policy import MediaAccess, MediaRule, RuleText

PASS, FAIL, UNKNOWN = PostureResult.PASS, PostureResult.FAIL, PostureResult.UNKNOWN
SYSTEM = (MACHINE, r"SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System", "InactivityTimeoutSecs")
MANAGED = (
    MACHINE,
    r"SOFTWARE\Microsoft\PolicyManager\current\device\DeviceLock",
    "MaxInactivityTimeDeviceLock",
)
FVE = (MACHINE, r"SYSTEM\CurrentControlSet\Policies\Microsoft\FVE", "RDVDenyWriteAccess")
STORAGE = r"SOFTWARE\Policies\Microsoft\Windows\RemovableStorageDevices"
DENY_ALL = (MACHINE, STORAGE, "Deny_All")
DENY_WRITE = (MACHINE, STORAGE + r"\{53f5630d-b6bf-11d0-94f2-00a0c91efb8b}", "Deny_Write")
ANN, BEN = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"


@dataclass
class Written:
    """A registry with these values; ``people`` are signed in."""

    values: dict[tuple[str, str, str], int | str] = field(default_factory=dict)
    people: tuple[str, ...] = ()

    def value(self, hive: str, key: str, name: str) -> int | str | None:
        return self.values.get((hive, key, name))

    def keys(self, hive: str, key: str) -> tuple[str, ...]:
        assert (hive, key) == (PEOPLE, "")
        return (".DEFAULT", "S-1-5-18", *self.people, *(f"{sid}_Classes" for sid in self.people))


def saver(sid: str, seconds: str = "600", secure: str = "1") -> dict[tuple[str, str, str], int | str]:
    key = rf"{sid}\Software\Policies\Microsoft\Windows\Control Panel\Desktop"
    named = {"ScreenSaveActive": "1", "ScreenSaverIsSecure": secure, "ScreenSaveTimeOut": seconds}
    return {(PEOPLE, key, name): value for name, value in named.items()}


@pytest.mark.parametrize(
    ("registry", "result"),
    [
        (Written(), FAIL),
        (Written({SYSTEM: 600}), PASS),
        (Written({SYSTEM: 601}), FAIL),
        (Written({SYSTEM: 0}), FAIL),
        (Written({MANAGED: 10}), PASS),
        (Written({MANAGED: 11}), FAIL),
        (Written({SYSTEM: 900, MANAGED: 10}), PASS),
        (Written({SYSTEM: "soon"}), FAIL),
        (Written(saver(ANN), (ANN,)), PASS),
        (Written(saver(ANN, "601"), (ANN,)), FAIL),
        (Written(saver(ANN, secure="0"), (ANN,)), FAIL),
        (Written(saver(ANN), (ANN, BEN)), FAIL),
        (Written(saver(ANN) | saver(BEN, "30"), (ANN, BEN)), PASS),
        (Written(saver(ANN)), FAIL),
    ],
)
def test_a_lock_is_fine_only_when_settings_lock_every_screen_in_time(
    registry: Written, result: PostureResult
) -> None:
    found = checks.lock(registry, within_seconds=600)
    assert found.result is result
    assert "not seen to act" in found.evidence


@pytest.mark.parametrize(
    ("access", "values", "result"),
    [
        (MediaAccess.ALLOW, {}, PASS),
        (MediaAccess.ENCRYPTED_ONLY, {}, FAIL),
        (MediaAccess.ENCRYPTED_ONLY, {FVE: 0}, FAIL),
        (MediaAccess.ENCRYPTED_ONLY, {FVE: 1}, PASS),
        (MediaAccess.ENCRYPTED_ONLY, {DENY_WRITE: 1}, PASS),
        (MediaAccess.READ_ONLY, {FVE: 1}, FAIL),
        (MediaAccess.READ_ONLY, {DENY_WRITE: 1}, PASS),
        (MediaAccess.READ_ONLY, {DENY_ALL: 1}, PASS),
        (MediaAccess.BLOCK, {FVE: 1, DENY_WRITE: 1}, FAIL),
        (MediaAccess.BLOCK, {DENY_ALL: 1}, PASS),
    ],
)
def test_media_are_fine_only_when_settings_are_as_strict_as_the_rule(
    access: MediaAccess, values: dict[tuple[str, str, str], int | str], result: PostureResult
) -> None:
    rule = MediaRule(text=RuleText(rule_id="media.sticks"), access=access)
    found = checks.media(Written(values), rule)
    assert found.result is result
    assert ("media.sticks" in found.evidence) == (result is FAIL), "a failure names its rule"


def test_a_firewall_is_unknown_until_every_profile_is_told_and_a_policy_counts_first() -> None:
    local = r"SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy"
    on: dict[tuple[str, str, str], int | str] = {
        (MACHINE, rf"{local}\{profile}Profile", "EnableFirewall"): 1
        for profile in ("Domain", "Standard", "Public")
    }
    assert checks.firewall(Written()).result is UNKNOWN
    assert (
        checks.firewall(Written(dict(list(on.items())[:2]))).because
        == "the registry does not say for: Public"
    )
    assert checks.firewall(Written(on)).result is PASS
    policy = (MACHINE, r"SOFTWARE\Policies\Microsoft\WindowsFirewall\PublicProfile", "EnableFirewall")
    assert checks.firewall(Written(on | {policy: 0})).result is FAIL


def test_secure_boot_and_automatic_sign_in() -> None:
    boot = (MACHINE, r"SYSTEM\CurrentControlSet\Control\SecureBoot\State", "UEFISecureBootEnabled")
    assert checks.secure_boot(Written()).result is UNKNOWN
    assert checks.secure_boot(Written({boot: 0})).result is FAIL
    assert checks.secure_boot(Written({boot: 1})).result is PASS
    logon = (MACHINE, r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon", "AutoAdminLogon")
    assert checks.auto_login(Written()).result is PASS
    assert checks.auto_login(Written({logon: "1"})).result is FAIL


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", ()),
        ("O:S-1-5-21-0-0-0-1000D:(A;;FA;;;SY)(A;;FA;;;S-1-5-21-0-0-0-1000)(A;;0x1200a9;;;WD)", ("WD",)),
        ("O:BAD:(A;ID;FA;;;BU)(D;;FA;;;WD)", ("BU",)),
        ("O:BAD:(A;;FA;;;S-1-5-21-9-9-9-1003)", ("S-1-5-21-9-9-9-1003",)),
        ("O:BAD:NO_ACCESS_CONTROL", ("WD",)),
        ("O:BA", ("WD",)),
    ],
)
def test_who_else_may_is_read_from_windows_own_words(text: str, others: tuple[str, ...]) -> None:
    assert sddl.others_in(text) == others


def test_rights_that_are_given_leave_nobody_else_in() -> None:
    for owner in ("BA", "S-1-5-21-0-0-0-1000"):
        assert sddl.others_in(f"O:{owner}" + sddl.rights_for(owner, everyone_reads=False)) == ()
        assert sddl.others_in(f"O:{owner}" + sddl.rights_for(owner, everyone_reads=True)) == ("BU",)
