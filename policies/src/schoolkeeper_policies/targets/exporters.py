"""All platforms by name, and a group's policy out of a pack."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from schoolkeeper_policies.compile import register_of, sections
from schoolkeeper_policies.parse import load_pack, pack_folder
from schoolkeeper_policies.replacing import replace_file
from schoolkeeper_policies.targets import android, chromeos, ipados, linux, macos, windows
from schoolkeeper_policies.targets.common import Export, Exporter, Platform, Policy

EXPORTERS: dict[Platform, Exporter] = {
    Platform.WINDOWS: windows.export,
    Platform.MACOS: macos.export,
    Platform.IPADOS: ipados.export,
    Platform.CHROMEOS: chromeos.export,
    Platform.ANDROID: android.export,
    Platform.LINUX: linux.export,
}
_NO_KEY = bytes(32)
"""Exported files hold no pseudonym, so that the key of the compiler's sections is not needed."""


class ExportError(ValueError):
    """Nothing was written; says why and what to do."""


def group_policy(name_or_path: str | Path, *, school: str, group: str) -> Policy:
    """What the compiler makes of a pack for one group. Raises ``PolicyError``."""
    pack = load_pack(name_or_path)
    register = register_of(pack, pack_folder(name_or_path))
    return Policy(school=school, group=group, sections=sections(pack, group, _NO_KEY, register=register))


def export(held: Policy, platforms: Iterable[Platform]) -> tuple[Export, ...]:
    return tuple(EXPORTERS[platform](held) for platform in platforms)


def write(exports: Iterable[Export], folder: Path) -> list[Path]:
    """Writes ``folder/<platform>/<file>``; an existing file is replaced whole. Raises ``ExportError``."""
    written = []
    for found in exports:
        for file in found.files:
            path = folder / found.platform.value / file.name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, file.data)
            except OSError as error:
                raise ExportError(
                    f"{path} cannot be written: {error.strerror}; choose another folder"
                ) from error
            written.append(path)
    return written
