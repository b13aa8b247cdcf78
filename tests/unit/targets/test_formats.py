"""What is exported, read back by the form's own rules: a file that the platform cannot read is worth nothing."""

from __future__ import annotations

import json
import plistlib
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from schoolkeeper_policies.targets.common import Platform, Policy
from schoolkeeper_policies.targets.exporters import ExportError, export, write
from schoolkeeper_proto.policy import MediaAccess
from support.exports import HASH, media, rich_policy


def files(platform: Platform, held: Policy | None = None) -> dict[str, bytes]:
    (found,) = export(held or rich_policy(), [platform])
    return {file.name: file.data for file in found.files}


def read_pol(data: bytes) -> Iterator[tuple[str, str, int | str]]:
    """[MS-GPREG] 2.2.1, read by position and length alone."""
    assert data[:8] == b"PReg\x01\0\0\0"
    at = 8

    def sign(expected: str) -> None:
        nonlocal at
        assert data[at : at + 2].decode("utf-16-le") == expected
        at += 2

    def text() -> str:
        nonlocal at
        end = at
        while data[end : end + 2] != b"\0\0":
            end += 2
        found, at = data[at:end].decode("utf-16-le"), end + 2
        return found

    def number() -> int:
        nonlocal at
        at += 4
        return int(struct.unpack_from("<I", data, at - 4)[0])

    while at < len(data):
        sign("[")
        key = text()
        sign(";")
        name = text()
        sign(";")
        kind = number()
        sign(";")
        size = number()
        sign(";")
        raw = data[at : at + size]
        at += size
        sign("]")
        assert kind in (1, 4)
        value = struct.unpack("<I", raw)[0] if kind == 4 else raw.decode("utf-16-le").removesuffix("\0")
        yield key, name, value


def test_registry_policy_reads_back() -> None:
    found = {(key, name): value for key, name, value in read_pol(files(Platform.WINDOWS)["Registry.pol"])}
    assert found[(r"System\CurrentControlSet\Policies\Microsoft\FVE", "RDVDenyWriteAccess")] == 1
    system = r"Software\Microsoft\Windows\CurrentVersion\Policies\System"
    assert found[(system, "InactivityTimeoutSecs")] == 450
    assert found[(r"Software\Policies\Google\Chrome\URLBlocklist", "1")] == "games.example"
    assert found[(r"Software\Policies\Microsoft\Edge", "InPrivateModeAvailability")] == 1
    assert found[(r"Software\Policies\Microsoft\Edge", "ForceBingSafeSearch")] == 2
    assert found[(r"Software\Policies\Google\Chrome", "DnsOverHttpsMode")] == "off"


@pytest.mark.parametrize(
    ("access", "name"), [(MediaAccess.BLOCK, "Deny_All"), (MediaAccess.READ_ONLY, "Deny_Write")]
)
def test_windows_media_rules(access: MediaAccess, name: str) -> None:
    found = list(read_pol(files(Platform.WINDOWS, rich_policy(media(access)))["Registry.pol"]))
    assert next(value for key, known, value in found if known == name and "RemovableStorage" in key) == 1
    assert not [known for _, known, _ in found if known == "RDVDenyWriteAccess"]


def test_app_locker_denies_by_name_and_allows_the_rest() -> None:
    root = ET.fromstring(files(Platform.WINDOWS)["AppLocker.xml"])
    assert root.tag == "AppLockerPolicy"
    (collection,) = root
    assert collection.attrib == {"Type": "Exe", "EnforcementMode": "Enabled"}
    rules = [
        (rule.attrib["Action"], rule.find("./Conditions/FilePathCondition").attrib["Path"])  # type: ignore[union-attr]
        for rule in collection
    ]
    assert rules == [("Deny", "*\\tor.exe"), ("Allow", "*")]
    identifiers = [uuid.UUID(rule.attrib["Id"]) for rule in collection]
    assert len(set(identifiers)) == len(identifiers)


def test_app_locker_is_left_out_where_nothing_is_denied() -> None:
    """A collection without rules, or one with an allow rule alone, would change what the school never spoke of."""
    from schoolkeeper_proto.policy import ApplicationsSection

    held = files(Platform.WINDOWS, rich_policy(ApplicationsSection()))
    assert "AppLocker.xml" not in held
    assert b"AppLocker" not in held["oma-uri.json"]


def test_oma_uris_have_the_type_of_their_value() -> None:
    for entry in json.loads(files(Platform.WINDOWS)["oma-uri.json"]):
        assert entry["omaUri"].startswith("./")
        assert isinstance(entry["value"], int if entry["dataType"] == "Integer" else str)


@pytest.mark.parametrize("platform", [Platform.MACOS, Platform.IPADOS])
def test_profiles_are_property_lists_with_the_keys_that_every_payload_needs(platform: Platform) -> None:
    profile = plistlib.loads(files(platform)["schoolkeeper.mobileconfig"])
    assert profile["PayloadType"] == "Configuration"
    assert profile["PayloadRemovalDisallowed"] is True
    seen = [profile, *profile["PayloadContent"]]
    for payload in seen:
        assert payload["PayloadVersion"] == 1
        assert uuid.UUID(payload["PayloadUUID"]).version == 5
    assert len({payload["PayloadUUID"] for payload in seen}) == len(seen)
    assert len({payload["PayloadIdentifier"] for payload in seen}) == len(seen)


def test_macos_refuses_by_hash_only() -> None:
    profile = plistlib.loads(files(Platform.MACOS)["schoolkeeper.mobileconfig"])
    santa = next(p for p in profile["PayloadContent"] if p["PayloadType"] == "com.northpolesec.santa")
    assert [rule["identifier"] for rule in santa["StaticRules"]] == [HASH]


@pytest.mark.parametrize(
    ("access", "said"),
    [
        (MediaAccess.BLOCK, "Disallowed"),
        (MediaAccess.READ_ONLY, "ReadOnly"),
        (MediaAccess.ENCRYPTED_ONLY, "Disallowed"),
    ],
)
def test_macos_storage_is_never_wider_than_the_rule(access: MediaAccess, said: str) -> None:
    declaration = json.loads(files(Platform.MACOS, rich_policy(media(access)))["storage.declaration.json"])
    assert declaration["Payload"] == {"Restrictions": {"ExternalStorage": said}}


@pytest.mark.parametrize(("seconds", "minutes"), [(30, 1), (60, 1), (299, 4), (450, 5), (3_600, 15)])
def test_an_ipad_never_locks_later_than_the_rule_says_where_it_can(seconds: int, minutes: int) -> None:
    from dataclasses import replace

    from support.exports import SCREEN

    held = rich_policy(replace(SCREEN, idle_lock_seconds=seconds))
    profile = plistlib.loads(files(Platform.IPADOS, held)["schoolkeeper.mobileconfig"])
    code = next(p for p in profile["PayloadContent"] if p["PayloadType"].endswith("passwordpolicy"))
    assert code["maxInactivity"] == minutes


def test_an_export_is_the_same_every_time_and_of_its_school_alone() -> None:
    first, second = export(rich_policy(), Platform), export(rich_policy(), Platform)
    assert first == second
    held = rich_policy()
    other = Policy(school="other.example", group=held.group, sections=held.sections)
    mine = plistlib.loads(files(Platform.MACOS)["schoolkeeper.mobileconfig"])
    theirs = plistlib.loads(files(Platform.MACOS, other)["schoolkeeper.mobileconfig"])
    assert mine["PayloadUUID"] != theirs["PayloadUUID"]


def test_an_unwritable_folder_is_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "windows").write_text("a file where a folder should be")
    with pytest.raises(ExportError, match=r"windows.* cannot be written: .*choose another folder"):
        write(export(rich_policy(), [Platform.WINDOWS]), tmp_path)
