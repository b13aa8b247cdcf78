"""The compiled bundle of a group, from the policy language, under this school's own pseudonym key."""

from __future__ import annotations

from pathlib import Path

from schoolkeeper_collector.school.keys import ServiceKeys
from schoolkeeper_policies.compile import compile_pack


def compile_bundle(pack: str | Path, keys: ServiceKeys, *, group: str, version: int, now_ms: int) -> bytes:
    """The serialised bundle of a pack (a name in ``packs/`` or a folder) for one group; raises ``PolicyError``."""
    return compile_pack(
        pack,
        school_id=keys.school_id,
        group=group,
        version=version,
        compiled_at_unix_ms=now_ms,
        pseudonym_key=keys.pseudonym_key,
    )
