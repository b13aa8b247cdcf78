"""Changes on their way to the officers: a folder with the new targets, unsigned, and every file they name."""

from __future__ import annotations

import shutil
from pathlib import Path

from schoolkeeper_collector.school import pack_in_force, roots
from schoolkeeper_collector.school.files import SchoolPaths, write_file
from schoolkeeper_collector.school.keys import ServiceKeys
from schoolkeeper_collector.school.repository import Published, Repository, RepositoryError
from schoolkeeper_proto import trust


def stage(
    state_dir: Path,
    keys: ServiceKeys,
    changed: dict[str, bytes],
    now_ms: int,
    *,
    new_root: bytes | None = None,
    pack: str | Path | None = None,
) -> Path:
    """Writes ``trust/staged`` anew: the targets in force with ``changed`` (name -> bytes) in place; returns it.

    ``pack``: where bundles in ``changed`` come from; publishing makes it the one in force here, too.
    """
    if pack is not None:
        pack_in_force.checked_files(pack)
    repository = Repository(state_dir)
    folder = SchoolPaths(state_dir).staged
    now = repository.current()
    in_force = repository.read_file(f"metadata/{now.targets_version}.targets.json")
    root_bytes = repository.root_chain()[-1]
    view = trust.read_targets(in_force, trust.read_root(root_bytes))
    files = {}
    for name, entry in view.targets.items():
        files[name] = repository.read_file(f"targets/{trust.target_file_name(name, entry.sha256)}")
    files |= changed
    data = roots.make_targets(
        version=now.targets_version + 1,
        files=files,
        online_key=keys.online.public_key().public_bytes_raw(),
        now_ms=now_ms,
    )
    shutil.rmtree(folder, ignore_errors=True)
    new = trust.unchecked_targets(data)
    for name, content in files.items():
        path = folder / "targets" / trust.target_file_name(name, new.targets[name].sha256)
        write_file(path, content)
    if pack is not None:
        pack_in_force.stage_pack(folder, pack)
    write_file(folder / "root.json", new_root or root_bytes)
    if new_root is not None:
        write_file(folder / "root-in-force.json", root_bytes)
    write_file(folder / "in-force.json", in_force)
    write_file(folder / "targets.json", data)
    return folder


def publish_staged(state_dir: Path, keys: ServiceKeys, now_ms: int) -> Published:
    """Publishes what two officers signed. Raises ``TrustRefused`` or ``RepositoryError``; then nothing changed."""
    folder = SchoolPaths(state_dir).staged
    try:
        data = (folder / "targets.json").read_bytes()
    except FileNotFoundError as error:
        raise RepositoryError(
            f"{folder} holds nothing: `schoolkeeper-collector stage` comes first"
        ) from error
    view = trust.unchecked_targets(data)
    files = {}
    for name, entry in view.targets.items():
        path = folder / "targets" / trust.target_file_name(name, entry.sha256)
        try:
            files[name] = path.read_bytes()
        except FileNotFoundError as error:
            raise RepositoryError(f"{path} is missing: stage anew") from error
    new_root = (folder / "root.json").read_bytes() if (folder / "root-in-force.json").exists() else None
    pack = pack_in_force.staged_pack(folder)
    # Copied first: what may fail comes before the publication, and only one rename after it.
    kept = pack_in_force.keep(state_dir, pack) if pack is not None else None
    published = Repository(state_dir).publish_targets(data, files, keys.online, now_ms, new_root=new_root)
    if kept is not None:
        pack_in_force.name_current(state_dir, kept)
    shutil.rmtree(folder)
    return published
