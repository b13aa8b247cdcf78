"""Exports against their makers' own schemas, where a package carries them; see `policies/docs/coverage.md`."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.targets.common import Platform, Policy
from schoolkeeper_policies.targets.exporters import export, group_policy
from schoolkeeper_proto.policy import MediaAccess
from support import vendor_schemas
from support.exports import media, rich_policy
from support.lab import usbguard
from support.lab.available import need

PACKS = ("default", "tai-education-centre", "westgate-primary")


@cache
def policies() -> tuple[tuple[str, Policy], ...]:
    """The fixed policy, and that of every group of the packs that come along."""
    held: list[tuple[str, Policy]] = [("rich", rich_policy())]
    held += [
        (access.value, rich_policy(media(access)))
        for access in MediaAccess
        if access is not access.UNSPECIFIED
    ]
    held += [
        (f"{pack} {group.name}", group_policy(pack, school="lab.example", group=group.name))
        for pack in PACKS
        for group in load_pack(pack).groups
    ]
    return tuple(held)


def exported(platform: Platform, name: str) -> Iterator[tuple[str, Any]]:
    """The file as it is exported for each policy."""
    for said, policy in policies():
        (found,) = export(policy, [platform])
        yield said, json.loads(next(file.data for file in found.files if file.name == name))


def faults(check: Any, document: Any) -> str:
    try:
        check(document)
    except ValueError as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class Wrong:
    """One thing that the maker would refuse."""

    path: tuple[str, ...]
    value: object

    def in_(self, document: Any) -> Any:
        made = copy.deepcopy(document)
        inner = made
        for name in self.path[:-1]:
            inner = inner.setdefault(name, {})
        inner[self.path[-1]] = self.value
        return made


def test_every_android_policy_fits_googles_schema() -> None:
    schema, gone = vendor_schemas.android()
    check = vendor_schemas.checker(schema)
    for said, document in exported(Platform.ANDROID, "policy.json"):
        assert faults(check, document) == "", said
        assert not {f"Policy.{name}" for name in document} & gone, f"{said}: no longer to be used"
    good = next(document for _, document in exported(Platform.ANDROID, "policy.json"))
    for wrong in (
        Wrong(("cameraAcces",), "CAMERA_ACCESS_DISABLED"),
        Wrong(("cameraAccess",), "OFF"),
        Wrong(("cameraAccess",), "CAMERA_ACCESS_UNSPECIFIED"),
        Wrong(("maximumTimeToLock",), 450_000),
        Wrong(("maximumTimeToLock",), "soon"),
        Wrong(("deviceConnectivityManagement", "usb"), "NO"),
        Wrong(("applications",), {}),
    ):
        assert faults(check, wrong.in_(good)), wrong


@pytest.mark.lab
@pytest.mark.parametrize(
    ("platform", "name"),
    [(Platform.LINUX, "firefox/policies/policies.json"), (Platform.WINDOWS, "firefox/policies.json")],
)
def test_every_firefox_policy_fits_mozillas_schema(platform: Platform, name: str) -> None:
    check = vendor_schemas.checker(vendor_schemas.firefox())
    documents = [document for _, document in exported(platform, name)]
    for document in documents:
        assert list(document) == ["policies"]
        assert faults(check, document["policies"]) == ""
    for wrong in (
        Wrong(("Homepag",), {}),
        Wrong(("Homepage", "StartPage"), "nowhere"),
        Wrong(("Homepage", "URI"), "https://school.example/"),
        Wrong(("WebsiteFilter", "Block"), "everything"),
        Wrong(("DisablePrivateBrowsing",), "yes"),
    ):
        assert faults(check, wrong.in_(documents[0]["policies"])), wrong


@pytest.mark.lab
def test_every_rule_for_usbguard_is_read_by_its_own_parser(tmp_path: Path) -> None:
    need(tools=usbguard.TOOLS, built=lambda: usbguard.usbguard_folder().is_built, what="USBGuard's parser")
    rules = tmp_path / "rules.conf"
    read = 0
    for said, policy in policies():
        (found,) = export(policy, [Platform.LINUX])
        for file in found.files:
            if file.name == "usbguard/rules.conf":
                rules.write_bytes(file.data)
                assert list(usbguard.parse_rules(rules)) == file.data.decode().splitlines(), said
                read += 1
    assert read > 1
    for wrong in (
        'allow id 0781:5581 serail "x"',
        "block with-interface one-of { 8 }",
        'allow serial "x',
        "permit",
    ):
        rules.write_text(wrong + "\n")
        with pytest.raises(ValueError, match="parse error"):
            usbguard.parse_rules(rules)


@pytest.mark.lab
def test_firefoxs_part_of_a_profile_for_macos_fits_too() -> None:
    import plistlib

    check = vendor_schemas.checker(vendor_schemas.firefox())
    (found,) = export(rich_policy(), [Platform.MACOS])
    profile = plistlib.loads(found.files[0].data)
    payload = next(p for p in profile["PayloadContent"] if p["PayloadType"] == "org.mozilla.firefox")
    settings = {name: value for name, value in payload.items() if not name.startswith("Payload")}
    assert settings.pop("EnterprisePoliciesEnabled") is True
    assert faults(check, settings) == ""
