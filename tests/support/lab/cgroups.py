"""Control groups for a container that no systemd of this machine manages."""

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self

_MOUNT = Path("/sys/fs/cgroup")


class LaptopCgroups:
    """A group of its own for one laptop in every hierarchy that systemd needs: the unified one and, where the
    machine still has it, the named ``systemd`` one."""

    def __init__(self, name: str) -> None:
        hierarchies = [_MOUNT / part for part in ("systemd", "unified") if (_MOUNT / part).is_dir()] or [
            _MOUNT
        ]
        self._groups = [hierarchy / name for hierarchy in hierarchies]

    def __enter__(self) -> Self:
        for group in self._groups:
            group.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for group in self._groups:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):  # a process that is just ending still holds it
                    Path(folder).rmdir()

    def enter(self) -> None:
        """Move the calling process in (between fork and exec)."""
        for group in self._groups:
            (group / "cgroup.procs").write_text(str(os.getpid()))
