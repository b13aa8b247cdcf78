"""The school as it is in force, verified from the pin: what an officer's program knows when it makes or signs a grant.

It comes as one file (``.skschool``, from the console or `schoolkeeper-collector school-file`) and is kept beside the
memory, so that an emergency block does not need the collector's word at nine in the morning.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from schoolkeeper_policies.officer import memory, staged
from schoolkeeper_policies.officer.keyfile import KeyHead
from schoolkeeper_policies.officer.memory import Memory, MemoryFault
from schoolkeeper_policies.officer.staged import Staged
from schoolkeeper_policies.officer.verifying import open_whole, root_in_force
from schoolkeeper_policies.replacing import replace_file
from schoolkeeper_proto import granting, policy, trust
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.codec import decode

SUFFIX = ".skschool"
OLD_AFTER_MS = 30 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class School:
    """``bundles``: by group, as in force. ``officers``: everybody who may sign a grant."""

    school_id: str
    school_name: str
    targets_version: int
    root: trust.RootView
    statement: policy.KeyStatement
    bundles: dict[str, OpenBundle]
    seen: Memory

    @property
    def officers(self) -> tuple[granting.Officer, ...]:
        return granting.officers_of(self.root, self.statement)


def read_school(found: Staged, held: Memory) -> School:
    """What is in force; a staged change is passed over. Raises ``TrustRefused``: other or older than the pin knows."""
    root = root_in_force(found, held)
    view = trust.read_targets(found.in_force, root)
    if view.version < held.targets_version:
        raise trust.TrustRefused(
            "rollback",
            f"the file shows version {view.version} in force; this officer saw {held.targets_version} before",
        )
    files = {}
    for name, entry in view.targets.items():
        data = found.before(name, entry.sha256)
        if data is None:
            raise trust.TrustRefused(
                "missing-file", f"the file in force of {name!r} is missing: get it again"
            )
        trust.check_target(view, name, data)
        files[name] = data
    statement = decode(policy.KeyStatement, files[trust.KEYS_TARGET])
    if held.school_id and held.school_id != statement.school_id:
        raise trust.TrustRefused("wrong-school", f"the file is of the school {statement.school_id!r}")
    groups = {name.split("/")[1] for name in files if name.startswith("bundles/")}
    return School(
        school_id=statement.school_id,
        school_name=statement.school_name,
        targets_version=view.version,
        root=root,
        statement=statement,
        bundles={
            group: open_whole(files[trust.bundle_target(group)], statement.school_id, group)
            for group in groups
        },
        seen=replace(
            held,
            school_id=statement.school_id,
            root_version=root.version,
            newest_root_sha256=trust.sha256(found.roots[-1]).hex(),
            targets_version=view.version,
        ),
    )


def keep(head: KeyHead, path: Path) -> School:
    """Verifies a file and keeps it as this officer's newest knowledge of the school."""
    return _keep(head, staged.read_staged(path))


def keep_bytes(head: KeyHead, name: str, data: bytes) -> School:
    """As ``keep``, of a file that came over the page."""
    return _keep(head, staged.unpack(data, name))


def _keep(head: KeyHead, found: Staged) -> School:
    school = read_school(found, memory.load(memory.home(), head.key_id, head.root_sha256))
    memory.save(memory.home(), head.key_id, school.seen)
    replace_file(_path(head), staged.pack(found))
    return school


def known(head: KeyHead) -> School:
    """What was kept last, verified again. Raises ``MemoryFault`` where nothing was."""
    path = _path(head)
    if not path.is_file():
        raise MemoryFault(
            f"this officer's program knows nothing of what is in force: save the school's {SUFFIX} file from the "
            "console (or `schoolkeeper-collector school-file`) and name it with --school"
        )
    held = memory.load(memory.home(), head.key_id, head.root_sha256)
    # What was kept may be older than what was seen since in a change: still true of officers that the root names.
    return read_school(staged.read_staged(path), replace(held, targets_version=0))


def age_ms(head: KeyHead) -> int:
    """How long ago the kept file was got."""
    return time.time_ns() // 1_000_000 - int(_path(head).stat().st_mtime * 1000)


def _path(head: KeyHead) -> Path:
    return memory.home() / f"{head.key_id.hex()[:32]}{SUFFIX}"
