"""How a device is named in its certificate: a SPIFFE id (https://spiffe.io), ``spiffe://<school>/device/<32 hex>``."""

from __future__ import annotations

import re

_SCHOOL = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
_GROUP = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_URI = re.compile(r"spiffe://([a-z0-9.-]{1,63})/device/([0-9a-f]{32})")
RENEWAL_DAYS = 400
"""For so long after its end a certificate still earns the next one."""


class NameRefused(ValueError):
    """A name that cannot stand where it should; says why."""


def device_uri(school_id: str, device_id: bytes) -> str:
    return f"spiffe://{check_school_id(school_id)}/device/{device_id.hex()}"


def parse_device_uri(uri: str) -> tuple[str, bytes]:
    """(school id, device id); raises ``NameRefused``."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise NameRefused(f"not a device's name: {uri[:120]!r}")
    return match[1], bytes.fromhex(match[2])


def check_school_id(text: str) -> str:
    if not _SCHOOL.fullmatch(text):
        raise NameRefused(
            f"school id {text!r}: 1 to 63 small letters, digits, '-' and '.', for example westgate.example"
        )
    return text


def check_group(text: str) -> str:
    if not _GROUP.fullmatch(text):
        raise NameRefused(f"group {text!r}: 1 to 63 small letters, digits and '-', for example ks2-laptops")
    return text
