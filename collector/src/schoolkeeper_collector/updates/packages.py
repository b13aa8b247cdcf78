"""The packages that devices fetch, by the hash that officers signed, and those that are no longer handed out."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from schoolkeeper_collector.school.files import sync_folder, write_file
from schoolkeeper_collector.school.repository import NotPublished
from schoolkeeper_proto.release import PACKAGES

_NAME = re.compile(rf"{PACKAGES}([0-9a-f]{{64}})")


class Halted(Exception):
    """The package is there and is not handed out now; says why."""


class Packages:
    """Files named by their SHA-256 in ``packages/`` of the state folder; ``HASH.halted`` beside one says why."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "packages"

    def keep(self, source: Path, sha256: bytes) -> None:
        """Before it is staged: what officers sign is there when the first device asks."""
        target = self._folder / sha256.hex()
        if target.is_file() and target.stat().st_size == source.stat().st_size:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(".new")
        shutil.copyfile(source, unfinished)
        unfinished.chmod(0o644)
        owner = self._folder.parent.stat()
        if os.geteuid() == 0:  # the service halts what does harm, and runs as another user
            for path in (self._folder, unfinished):
                os.chown(path, owner.st_uid, owner.st_gid)
        unfinished.replace(target)
        sync_folder(self._folder)

    def path_of(self, name: str) -> Path:
        """Raises ``NotPublished`` or ``Halted``."""
        match = _NAME.fullmatch(name)
        path = self._folder / match[1] if match else None
        if match is None or path is None or not path.is_file():
            raise NotPublished(f"there is no package {name[:100]!r}")
        if why := self.halted(bytes.fromhex(match[1])):
            raise Halted(f"this package is not handed out: {why}")
        return path

    def halted(self, sha256: bytes) -> str:
        """Why it is not handed out; empty when it is."""
        try:
            return self._note(sha256).read_text().strip() or "no reason was given"
        except FileNotFoundError:
            return ""

    def halt(self, sha256: bytes, why: str) -> None:
        write_file(self._note(sha256), f"{why}\n".encode())

    def resume(self, sha256: bytes) -> None:
        self._note(sha256).unlink(missing_ok=True)

    def _note(self, sha256: bytes) -> Path:
        return self._folder / f"{sha256.hex()}.halted"
