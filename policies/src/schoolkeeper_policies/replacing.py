"""A file is replaced whole or stays what it was: written beside, then renamed over."""

from __future__ import annotations

from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Puts ``data`` in the place of ``path``, or makes it. Raises ``OSError``; then ``path`` is what it was."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_bytes(data)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
