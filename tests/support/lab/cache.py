"""Where the lab keeps what is slow to build: outside the tree, keyed by a hash of its inputs."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = REPOSITORY / "packaging" / "lab"
"""The lab's inputs that are data: package lists, module list, guest scripts."""

_KEPT_SECONDS = 3 * 24 * 3600
"""A folder with another key may belong to another checkout, whose tests may be using it at this moment."""


class LabError(Exception):
    """The lab itself failed (a tool is missing, a machine did not boot): never a fault of what is tested."""


def cache_root() -> Path:
    """The cache folder: ``$SCHOOLKEEPER_CACHE``, else ``~/.cache/schoolkeeper-lab``."""
    named = os.environ.get("SCHOOLKEEPER_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "schoolkeeper-lab"


def read_list(path: Path) -> list[str]:
    """The entries of a list file: one per line, the text after ``#`` is a comment."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def hash_inputs(inputs: Iterable[str | Path]) -> str:
    """A short hash of texts and file contents; the order counts."""
    digest = hashlib.sha256()
    for item in inputs:
        content = item.read_bytes() if isinstance(item, Path) else item.encode()
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedFolder:
    """A folder built once per hash of its inputs; complete if it is there at all."""

    name: str
    key: str

    @property
    def path(self) -> Path:
        return cache_root() / f"{self.name}-{self.key}"

    @property
    def is_built(self) -> bool:
        return self.path.is_dir()

    def build(self, fill: Callable[[Path], None]) -> Path:
        """Have ``fill`` fill a fresh folder and keep it under the key.

        Two builders at once take turns, and the second finds the first one's work. Folders of the same name
        that nobody has built anew for some days are removed: they hold hundreds of megabytes.
        """
        root = cache_root()
        root.mkdir(parents=True, exist_ok=True)
        with (root / f".{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.is_built:
                self._fill_and_rename(root, fill)
        return self.path

    def _fill_and_rename(self, root: Path, fill: Callable[[Path], None]) -> None:
        for unfinished in root.glob(f".{self.name}-building-*"):
            shutil.rmtree(unfinished)
        folder = Path(tempfile.mkdtemp(prefix=f".{self.name}-building-", dir=root))
        folder.chmod(0o755)
        try:
            fill(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        for other in root.glob(f"{self.name}-*"):
            if time.time() - other.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(other)
        folder.rename(self.path)
