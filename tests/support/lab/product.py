"""Brings the agent of this checkout, with what it needs, to a laptop as a disk: no package, no network, no pip.

For tests of the agent's parts. Tests of installing it use the real package in the nspawn laptop.
"""

import importlib.metadata
import shutil
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from support.lab.cache import REPOSITORY
from support.lab.commands import run_tool
from support.lab.virtual_laptop import VirtualLaptop

PYTHON = "PYTHONPATH=/opt/agent /usr/bin/python3"
"""How to run Python with the agent in a laptop that ``bring_agent`` brought it to."""

_DISTRIBUTION = "schoolkeeper-agent"
_OWN = {"schoolkeeper-agent": "agent/src", "schoolkeeper-proto": "proto/src"}
_IMAGE_SIZE = "256M"


def bring_agent(laptop: VirtualLaptop, folder: Path) -> None:
    """Mount a disk with the agent at /opt/agent; ``folder`` is for its image."""
    image = write_agent_image(folder)
    disk = laptop.attach_disk(image, serial="AGENT", read_only=True)
    laptop.sh(f"mkdir -p /opt/agent && mount -o ro {disk.device} /opt/agent").check()


def write_agent_image(folder: Path) -> Path:
    """An ext4 image with the agent and all it depends on, as one folder for Python's path."""
    packages, image = folder / "agent", folder / "agent.img"
    write_agent_folder(packages)
    run_tool(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-d", packages, image, _IMAGE_SIZE])
    shutil.rmtree(packages)
    return image


def write_agent_folder(packages: Path) -> None:
    """The agent and all it depends on below one new folder."""
    packages.mkdir()
    for name in _with_dependencies(_DISTRIBUTION):
        if name in _OWN:
            shutil.copytree(REPOSITORY / _OWN[name], packages, dirs_exist_ok=True, ignore=_CACHES)
        else:
            _copy_files(importlib.metadata.distribution(name), packages)


_CACHES = shutil.ignore_patterns("__pycache__")


def _with_dependencies(name: str) -> Iterator[str]:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        yield current
        for text in importlib.metadata.requires(current) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)


def _copy_files(distribution: importlib.metadata.Distribution, target: Path) -> None:
    for file in distribution.files or ():
        if ".." in file.parts or "__pycache__" in file.parts:
            continue  # scripts, and what Python compiles itself
        place = target / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(file.locate()), place)
