"""Changes on their way to the officers: a folder with the new targets, unsigned, and all that an officer needs.

Beside the targets and their files lie the chain of roots, the files in force that the change replaces, and the
change's own entry for the change log, which the officers sign with it. Publishing reviews it as they did.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from schoolkeeper_collector.school import pack_in_force, roots, rotation
from schoolkeeper_collector.school.files import SchoolPaths, write_file
from schoolkeeper_collector.school.keys import ServiceKeys
from schoolkeeper_collector.school.repository import NotPublished, Published, Repository, RepositoryError
from schoolkeeper_policies.officer import record, signing
from schoolkeeper_policies.officer.group_moves import moves_for
from schoolkeeper_policies.officer.memory import Memory
from schoolkeeper_policies.officer.record import Assessment, ChangeRecord
from schoolkeeper_policies.officer.review import Review, review
from schoolkeeper_policies.officer.staged import (
    Answer,
    Staged,
    StagedError,
    pack,
    read_answer,
    read_folder,
    unpack,
    write_signed,
)
from schoolkeeper_policies.officer.verifying import open_whole
from schoolkeeper_proto import policy, trust
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.codec import decode, encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """What a person says about a change; it goes into the change log. ``staged_by``: who ran the command."""

    why: str = ""
    staged_by: str = ""
    technical: Assessment | None = None
    educational: Assessment | None = None
    consent: Assessment | None = None


def stage(
    state_dir: Path,
    keys: ServiceKeys,
    changed: dict[str, bytes],
    now_ms: int,
    *,
    new_root: bytes | None = None,
    pack: str | Path | None = None,
    reasons: Reasons | None = None,
    online_key: bytes | None = None,
    removed: frozenset[str] = frozenset(),
    allowed_moves: tuple[policy.SignedMove, ...] = (),
) -> Path:
    """Writes ``trust/staged`` anew: the targets in force with ``changed`` (name -> bytes) in place; returns it.

    ``pack``: where bundles in ``changed`` come from; publishing makes it the one in force here, too. ``online_key``:
    the raw public key of the next online key, where that changes. Raises ``RecordError`` for a weakening without what
    it needs, ``TrustRefused`` for what an officer's program would refuse; what was staged before then stays.
    ``removed``: targets in force that go. ``allowed_moves``: single devices that may come to a weaker group.
    """
    if pack is not None:
        pack_in_force.checked_files(pack)
    repository = Repository(state_dir)
    now = repository.current()
    chain = repository.root_chain()
    in_force = repository.read_file(f"metadata/{now.targets_version}.targets.json")
    held = trust.read_targets(in_force, trust.read_root(chain[-1]))
    old = {
        name: repository.read_file(f"targets/{trust.target_file_name(name, entry.sha256)}")
        for name, entry in held.targets.items()
    }
    wanted = {name: data for name, data in old.items() if name not in removed} | changed
    wanted[trust.MOVES_TARGET] = moves_target(wanted, keys.school_id, now_ms, allowed_moves)
    online = online_key or keys.online.public_key().public_bytes_raw()

    def build(files: dict[str, bytes]) -> Staged:
        data = roots.make_targets(
            version=now.targets_version + 1, files=files, online_key=online, now_ms=now_ms
        )
        return _staged(data, files, in_force, held, old, chain, new_root)

    # First without an entry of the change log: the review tells what the entry must say.
    log = held.targets.get(record.TARGET)
    entry = ChangeRecord(
        school_id=keys.school_id,
        number=now.targets_version + 1,
        previous_sha256=log.sha256 if log else "",
        staged_unix_ms=now_ms,
        staged_by=(reasons or Reasons()).staged_by,
        why=(reasons or Reasons()).why,
        technical=reasons.technical if reasons else None,
        educational=reasons.educational if reasons else None,
        consent=reasons.consent if reasons else None,
    )
    entry = _filled(entry, build, wanted, chain[0], now_ms)
    staged = build(wanted | {record.TARGET: record.write(entry)})
    seen = _reviewed(staged, chain[0], now_ms)
    record.require(seen.record, seen.changes, seen.root, seen.statement)
    folder = SchoolPaths(state_dir).staged
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in staged.files.items():
        write_file(folder / name, content)
    if pack is not None:
        pack_in_force.stage_pack(folder, pack)
    return folder


def moves_target(
    files: dict[str, bytes], school_id: str, now_ms: int, allowed: tuple[policy.SignedMove, ...] = ()
) -> bytes:
    """The list of moves that goes with the bundles in ``files``; what officers let single devices do is kept."""
    bundles: dict[str, list[OpenBundle]] = {}
    for name in sorted(files):
        if name.startswith("bundles/"):
            group = name.split("/")[1]
            bundles.setdefault(group, []).append(open_whole(files[name], school_id, group))
    held = files.get(trust.MOVES_TARGET)
    signed = decode(policy.GroupMoves, held).signed if held else ()
    renewed = {(move.device_id, move.to_group) for move in allowed}
    kept = [move for move in signed if (move.device_id, move.to_group) not in renewed]
    return encode(moves_for(bundles, school_id, now_ms, (*kept, *allowed)))


def read_waiting(state_dir: Path, now_ms: int) -> tuple[Staged, Review] | None:
    """The staged change and what an officer would see of it; None when nothing waits."""
    folder = SchoolPaths(state_dir).staged
    if not (folder / "targets.json").is_file():
        return None
    staged = read_folder(folder)
    return staged, _reviewed(staged, Repository(state_dir).root_chain()[0], now_ms)


def take_signatures(state_dir: Path, data: bytes, place: str, now_ms: int) -> Review:
    """Adds the signatures of an officer's file to the staged change, the good ones of this very change only.

    Raises ``StagedError`` or ``SigningError`` naming ``place``; then nothing changed.
    """
    folder = SchoolPaths(state_dir).staged
    waiting = read_waiting(state_dir, now_ms)
    if waiting is None:
        raise RepositoryError("no change waits for signatures: `schoolkeeper-collector stage` comes first")
    staged, seen = waiting
    answer = _answer(data, place)
    if answer.school_id != seen.school_id:
        raise StagedError(f"{place} is of the school {answer.school_id!r}: take the file of this school")
    signed = signing.with_answer(staged, answer, trust.read_root(staged.roots[-1]))
    write_signed(folder, signed)
    return _reviewed(signed, staged.roots[0], now_ms)


def _answer(data: bytes, place: str) -> Answer:
    """A ``.sksigned`` file, or the signatures out of a whole ``.skchange``."""
    if not data.startswith(b"PK"):
        return read_answer(data, place)
    staged = unpack(data, place)
    entry = staged.target(
        record.TARGET, trust.unchecked_targets(staged.targets).targets[record.TARGET].sha256
    )
    if entry is None:
        raise StagedError(f"{place} lacks its change-log entry: download the change again and sign that")
    return signing.answer_of(staged, record.read(entry).school_id)


def _staged(
    targets: bytes,
    files: dict[str, bytes],
    in_force: bytes,
    held: trust.TargetsView,
    old: dict[str, bytes],
    chain: list[bytes],
    new_root: bytes | None,
) -> Staged:
    found = {"targets.json": targets, "in-force.json": in_force, "root.json": new_root or chain[-1]}
    if new_root is not None:
        found["root-in-force.json"] = chain[-1]
    found |= {f"roots/{number}.root.json": data for number, data in enumerate(chain, 1)}
    view = trust.unchecked_targets(targets)
    for name, content in files.items():
        found[f"targets/{trust.target_file_name(name, view.targets[name].sha256)}"] = content
    for name, content in old.items():
        if view.targets.get(name) != held.targets[name]:
            found[f"before/{trust.target_file_name(name, held.targets[name].sha256)}"] = content
    return Staged(files=found)


def _filled(
    entry: ChangeRecord,
    build: Callable[[dict[str, bytes]], Staged],
    files: dict[str, bytes],
    first_root: bytes,
    now_ms: int,
) -> ChangeRecord:
    """The entry with what the review of the change finds."""
    held = {name: data for name, data in files.items() if name != record.TARGET}
    draft = build(held | {record.TARGET: record.write(entry)})
    seen = _reviewed(draft, first_root, now_ms, draft=True)
    return replace(
        entry,
        bundles=tuple(bundle.step for bundle in seen.bundles),
        changes=record.lines(seen.changes),
        other=seen.other,
    )


def _reviewed(staged: Staged, first_root: bytes, now_ms: int, *, draft: bool = False) -> Review:
    return review(staged, Memory(root_sha256=trust.sha256(first_root)), now_ms, draft=draft)


def publish_staged(state_dir: Path, keys: ServiceKeys, now_ms: int) -> Published:
    """Publishes what two officers signed. Raises ``TrustRefused``, ``RecordError`` or ``RepositoryError``.

    Then nothing changed. A change that weakens a safeguarding rule needs the signatures of those whom it names.
    """
    folder = SchoolPaths(state_dir).staged
    if not (folder / "targets.json").is_file():
        raise RepositoryError(f"{folder} holds nothing: `schoolkeeper-collector stage` comes first")
    try:
        staged = read_folder(folder)
    except StagedError as error:
        raise RepositoryError(str(error)) from error
    # Signatures first: whoever lacks some is told which, before anything else.
    root = trust.read_root(staged.root)
    if not trust.signers(staged.targets, root.keys, root.roles["targets"]):
        raise RepositoryError(
            "no officer signed yet: a policy needs one technical and one safeguarding signature; "
            "`schoolkeeper-collector waiting` says who can"
        )
    trust.read_targets(staged.targets, root)
    signing.require_signed_record(_reviewed(staged, Repository(state_dir).root_chain()[0], now_ms))
    view = trust.unchecked_targets(staged.targets)
    files = {name: staged.target(name, entry.sha256) for name, entry in view.targets.items()}
    missing = [name for name, data in files.items() if data is None]
    if missing:
        raise RepositoryError(f"the file of {missing[0]} is missing in {folder}: stage anew")
    pack = pack_in_force.staged_pack(folder)
    # Copied first: what may fail comes before the publication, and only one rename after it.
    kept = pack_in_force.keep(state_dir, pack) if pack is not None else None
    published = Repository(state_dir).publish_targets(
        staged.targets,
        {name: data for name, data in files.items() if data is not None},
        rotation.online_key_for(state_dir, keys, trust.read_root(staged.root)),
        now_ms,
        new_root=staged.root if staged.has_new_root else None,
    )
    rotation.settle_online_key(state_dir)
    if kept is not None:
        pack_in_force.name_current(state_dir, kept)
    shutil.rmtree(folder)
    return published


def change_log(state_dir: Path) -> list[ChangeRecord]:
    """Every entry of the change log, the oldest first, each by the hash that the next one or the officers signed.

    Raises ``RecordError`` where a link of the chain is altered or missing.
    """
    repository = Repository(state_dir)
    now = repository.current()
    view = trust.unchecked_targets(repository.read_file(f"metadata/{now.targets_version}.targets.json"))
    entry = view.targets.get(record.TARGET)
    wanted = entry.sha256 if entry else ""
    found: list[ChangeRecord] = []
    while wanted:
        name = f"targets/{trust.target_file_name(record.TARGET, wanted)}"
        try:
            data = repository.read_file(name)
        except NotPublished:
            data = b""
        if trust.sha256(data).hex() != wanted:
            raise record.RecordError(
                f"the change log's entry {name} is altered or missing: restore it from the backup"
            )
        found.insert(0, record.read(data))
        wanted = found[0].previous_sha256
    return found


def school_file(state_dir: Path) -> bytes:
    """What is in force, as one file for an officer's program: it makes and checks grants against it."""
    repository = Repository(state_dir)
    chain = repository.root_chain()
    in_force = repository.read_file(f"metadata/{repository.current().targets_version}.targets.json")
    held = trust.read_targets(in_force, trust.read_root(chain[-1]))
    files = {
        name: repository.read_file(f"targets/{trust.target_file_name(name, entry.sha256)}")
        for name, entry in held.targets.items()
    }
    return pack(_staged(in_force, files, in_force, held, files, chain, None))
