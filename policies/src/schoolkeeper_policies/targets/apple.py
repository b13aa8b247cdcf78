"""Configuration profiles of macOS and iPadOS: what both have in common. Source: Apple's Device Management reference."""

from __future__ import annotations

import plistlib
from collections.abc import Mapping

from schoolkeeper_policies.targets.common import File, Policy

Payload = dict[str, object]


def payload(held: Policy, kind: str, name: str, settings: Mapping[str, object]) -> Payload:
    """One payload of a profile, with an identifier that stays when its settings change."""
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"schoolkeeper.{held.school}.{held.group}.{kind}",
        "PayloadUUID": held.identifier(kind),
        "PayloadDisplayName": name,
        **settings,
    }


def profile(held: Policy, platform: str, payloads: list[Payload], file_name: str) -> File:
    """An unsigned ``.mobileconfig`` for a device management to sign; people cannot remove it."""
    body = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"schoolkeeper.{held.school}.{held.group}",
        "PayloadUUID": held.identifier(platform),
        "PayloadDisplayName": held.name,
        "PayloadOrganization": held.school,
        "PayloadScope": "System",
        "PayloadRemovalDisallowed": True,
        "PayloadContent": payloads,
    }
    return File(name=file_name, data=plistlib.dumps(body, sort_keys=True))
