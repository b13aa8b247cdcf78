"""By what a device knows that it is on a site of the school, hashed so that a bundle names no network (T-29)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from schoolkeeper_proto.policy import MarkKind, SitesSection

HASH_BYTES = 16
_WORD = {MarkKind.GATEWAY_MAC: b"gateway", MarkKind.SSID: b"ssid", MarkKind.DNS_SUFFIX: b"dns-suffix"}


def mark_hash(key: bytes, kind: MarkKind, value: str) -> bytes:
    """16 bytes that only the school can tell a network by; ``value`` as the system says it, ``kind`` a known one."""
    text = value if kind is MarkKind.SSID else value.strip().lower().rstrip(".")
    return hmac.new(key, _WORD[kind] + b":" + text.encode(), hashlib.sha256).digest()[:HASH_BYTES]


def site_of(section: SitesSection, seen: Mapping[MarkKind, AbstractSet[bytes]]) -> str | None:
    """The name of the first site whose marks agree with the hashes seen; None when the device is on no site."""
    for site in section.sites:
        agreeing = {mark.kind for mark in site.marks if mark.hash in seen.get(mark.kind, frozenset())}
        if len(agreeing) >= max(1, site.kinds_needed):
            return site.name
    return None
