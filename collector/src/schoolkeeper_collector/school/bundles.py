"""The compiled bundle of a group, from the policy language, under this school's own pseudonym key."""

from __future__ import annotations

from pathlib import Path

from schoolkeeper_collector.school.files import SchoolPaths
from schoolkeeper_collector.school.keys import ServiceKeys
from schoolkeeper_policies.compile import compile_pack, register_of
from schoolkeeper_policies.parse import load_pack, pack_folder
from schoolkeeper_policies.registers import Register


def register_for(state_dir: Path, pack: str | Path, given: Path | None = None) -> Register | None:
    """The pack's register: the file given, the file beside the pack, or what was imported here.

    It is read where it lies and is never laid among what is published. Raises ``PolicyError``.
    """
    return register_of(
        load_pack(pack), pack_folder(pack), given=given, imported=SchoolPaths(state_dir).register
    )


def compile_bundle(
    pack: str | Path,
    keys: ServiceKeys,
    *,
    group: str,
    version: int,
    now_ms: int,
    register: Register | None = None,
) -> bytes:
    """The serialised bundle of a pack (a name in ``packs/`` or a folder) for one group; raises ``PolicyError``."""
    return compile_pack(
        pack,
        school_id=keys.school_id,
        group=group,
        version=version,
        compiled_at_unix_ms=now_ms,
        pseudonym_key=keys.pseudonym_key,
        register=register,
    )
