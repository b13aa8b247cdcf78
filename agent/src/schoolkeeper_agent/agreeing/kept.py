"""What the spool remembers of agreements, as its note: pseudonyms, versions and times; no name and no text."""

from __future__ import annotations

import json
from collections.abc import Iterable

from schoolkeeper_agent.agreeing.deciding import Kept

NOTE = "agreements"
MOST_KEPT = 1_000
"""People of one device; of more, whoever was shown it longest ago is asked once more."""


def encode(kept: Iterable[Kept]) -> bytes:
    latest = sorted(kept, key=lambda one: max(one.shown_ms, one.agreed_ms))[-MOST_KEPT:]
    return json.dumps(
        [
            [
                one.person.hex(),
                one.document,
                one.version,
                one.shown_ms,
                one.put_off,
                one.put_off_ms,
                one.agreed_ms,
            ]
            for one in latest
        ]
    ).encode()


def decode(noted: bytes) -> dict[bytes, Kept]:
    """By person. What cannot be read is nothing: people are asked once more, and the school has their answers."""
    try:
        return {
            bytes.fromhex(person): Kept(
                person=bytes.fromhex(person),
                document=str(document),
                version=str(version),
                shown_ms=int(shown_ms),
                put_off=int(put_off),
                put_off_ms=int(put_off_ms),
                agreed_ms=int(agreed_ms),
            )
            for person, document, version, shown_ms, put_off, put_off_ms, agreed_ms in json.loads(
                noted or b"[]"
            )
        }
    except (ValueError, TypeError):
        return {}
