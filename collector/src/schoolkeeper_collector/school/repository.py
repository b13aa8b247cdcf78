"""The published trust repository: files that every device may fetch, changed only in whole, checked steps.

``metadata/N.root.json``, ``N.targets.json``, ``N.groups.json``, ``N.snapshot.json`` are written once; replacing
``metadata/timestamp.json`` publishes the set. What a device would refuse is refused here first.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schoolkeeper_collector.school import roots
from schoolkeeper_collector.school.files import SchoolPaths, write_file
from schoolkeeper_policies.officer.record import TARGET as CHANGE_LOG
from schoolkeeper_proto import policy, rollout, trust
from schoolkeeper_proto.codec import decode, encode

_NAME = re.compile(r"(?:metadata|targets)/(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_KEPT_VERSIONS = 32
REFRESH_WITHIN_MS = 7 * 86_400_000
"""Snapshot and timestamp live 14 days and are signed anew in the second half."""


class NotPublished(LookupError):
    """No such file in the repository; devices ask for the next root this way and expect it."""


class RepositoryError(Exception):
    """Something that may not be published, or a repository that is not there; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What is in force now. ``bundles``: group -> (SHA-256, version)."""

    root_version: int
    targets_version: int
    timestamp_version: int
    snapshot_version: int
    groups_version: int
    group_map_sha256: bytes
    expires_unix_ms: int
    key_statement: bytes
    bundles: dict[str, tuple[bytes, int]]
    rollout_version: int = 0
    """Of the online-signed stage; 0 while the officers' targets delegate none."""
    stage: policy.RolloutStage | None = None
    stage_sha256: bytes = b""
    plans: dict[str, policy.RolloutPlan] = field(default_factory=dict)
    change_log_sha256: bytes = b""
    """Of the newest entry of the change log; empty before the first change."""

    def bundle_for(self, group: str, device_id: bytes) -> tuple[bytes, int] | None:
        """(SHA-256, version) that a device which holds neither bundle of a rollout takes; None without a bundle."""
        plan = self.plans.get(group)
        if plan is None:
            return self.bundles.get(group)
        # Paused is for the device to know: one that has the new bundle keeps it, and is not told otherwise.
        opened = rollout.stage_of(self.stage, plan).open_rings
        if rollout.ring_of(plan, device_id) < opened:
            return plan.to_bundle_hash, plan.to_version
        return plan.from_bundle_hash, plan.from_version

    @property
    def key_statement_hash(self) -> bytes:
        return hashlib.sha256(self.key_statement).digest()


class Repository:
    """One per state directory; several processes may write, one at a time."""

    def __init__(self, state_dir: Path) -> None:
        self._paths = SchoolPaths(state_dir)
        self._cached: tuple[bytes, Published] | None = None

    def read_file(self, name: str) -> bytes:
        """A published file by its name, for example ``metadata/timestamp.json``. Raises ``NotPublished``."""
        if not _NAME.fullmatch(name) or len(name) > 300:
            raise NotPublished(f"not the name of a published file: {name[:100]!r}")
        try:
            return (self._paths.state_dir / "trust" / name).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise NotPublished(f"{name} is not published") from error

    def root_chain(self) -> list[bytes]:
        """Every root from version 1 on."""
        chain: list[bytes] = []
        while True:
            try:
                chain.append(self.read_file(f"metadata/{len(chain) + 1}.root.json"))
            except NotPublished:
                break
        if not chain:
            raise RepositoryError(
                f"{self._paths.metadata} holds no root: run `schoolkeeper-collector init`, or restore it from backup"
            )
        return chain

    def metadata_files(self) -> dict[str, bytes]:
        """The current non-root metadata by file name, as `EnrolResponse.metadata` carries it."""
        now = self.current()
        names = [
            "metadata/timestamp.json",
            f"metadata/{now.snapshot_version}.snapshot.json",
            f"metadata/{now.targets_version}.targets.json",
            f"metadata/{now.groups_version}.groups.json",
        ]
        if now.rollout_version:
            names.append(f"metadata/{now.rollout_version}.rollout.json")
        return {name: self.read_file(name) for name in names}

    def target_files(self, group: str) -> dict[str, bytes]:
        """Key statement, group map, list of moves, the group's bundle and what belongs to its rollout, by file name.

        Raises ``RepositoryError``: no bundle.
        """
        targets, groups = self._views()
        found = {}
        wanted = [
            (targets, trust.KEYS_TARGET),
            (groups, trust.GROUPS_TARGET),
            (targets, trust.bundle_target(group)),
        ]
        if trust.MOVES_TARGET in targets.targets:
            wanted.append((targets, trust.MOVES_TARGET))
        if rollout.plan_target(group) in targets.targets:
            wanted += [(targets, rollout.plan_target(group)), (targets, rollout.previous_target(group))]
            wanted.append((self._stage_view(targets), trust.STAGE_TARGET))
        for view, name in wanted:
            entry = view.targets.get(name)
            if entry is None:
                raise RepositoryError(
                    f"no signed bundle for the group {group!r}: "
                    f"stage one with `schoolkeeper-collector stage --group {group}`, have two officers sign, publish"
                )
            file_name = f"targets/{trust.target_file_name(name, entry.sha256)}"
            found[file_name] = self.read_file(file_name)
        return found

    def groups(self) -> tuple[str, ...]:
        """Groups that have a signed bundle."""
        return tuple(sorted(self.current().bundles))

    def current(self) -> Published:
        """What is published now; read again only when the timestamp changed."""
        timestamp = self.read_file("metadata/timestamp.json")
        if self._cached is not None and self._cached[0] == timestamp:
            return self._cached[1]
        published = self._read_current(timestamp)
        self._cached = (timestamp, published)
        return published

    def group_map(self) -> policy.GroupMap:
        _, groups = self._views()
        name = trust.target_file_name(trust.GROUPS_TARGET, groups.targets[trust.GROUPS_TARGET].sha256)
        return decode(policy.GroupMap, self.read_file(f"targets/{name}"))

    def moves(self) -> policy.GroupMoves | None:
        """The officers' list of moves between groups; None for targets from before there was one."""
        targets, _ = self._views()
        if trust.MOVES_TARGET not in targets.targets:
            return None
        return decode(policy.GroupMoves, self.read_file(self._target_path(targets, trust.MOVES_TARGET)))

    def publish_root(self, data: bytes) -> None:
        """Adds a root that its forerunner and itself signed; the first needs only itself."""
        with self._locked():
            try:
                chain = self.root_chain()
            except RepositoryError:
                chain = []
            pinned = hashlib.sha256((chain or [data])[0]).digest()
            view = trust.check_root_chain([*chain, data], pinned)
            write_file(self._paths.metadata / f"{view.version}.root.json", data)

    def publish_targets(
        self,
        data: bytes,
        files: dict[str, bytes],
        online: Ed25519PrivateKey,
        now_ms: int,
        *,
        new_root: bytes | None = None,
    ) -> Published:
        """Publishes officers' signed targets with the files they name (name -> bytes).

        ``new_root`` goes with them: officers that it removes must not have been needed for the targets. Raises
        ``TrustRefused`` for what a device would refuse, ``RepositoryError`` for a version that does not follow.
        """
        with self._locked():
            before = self._current_or_none()
            root = (
                self._next_root(new_root) if new_root is not None else trust.read_root(self.root_chain()[-1])
            )
            view = trust.read_targets(data, root)
            if before is not None and view.version != before.targets_version + 1:
                raise RepositoryError(
                    f"these targets are version {view.version}, {before.targets_version} is in force: stage anew"
                )
            for name in view.targets:
                if name in files:
                    trust.check_target(view, name, files[name])
                else:
                    files[name] = self.read_file(self._target_path(view, name))
            check_rollouts(view, files)
            if new_root is not None:
                write_file(self._paths.metadata / f"{root.version}.root.json", new_root)
            for name, content in files.items():
                write_file(self._paths.state_dir / "trust" / self._target_path(view, name), content)
            write_file(self._paths.metadata / f"{view.version}.targets.json", data)
            if before is None:
                school_id = decode(policy.KeyStatement, files[trust.KEYS_TARGET]).school_id
                self._write_groups(policy.GroupMap(school_id=school_id, version=1), 1, online, now_ms)
            groups_version = before.groups_version if before else 1
            rollout_version = before.rollout_version if before else 0
            if before is not None:
                groups_version, rollout_version = self._signed_anew(before, view, online, now_ms)
            if trust.ROLLOUT_ROLE in view.delegated and not rollout_version:
                school_id = decode(policy.KeyStatement, files[trust.KEYS_TARGET]).school_id
                rollout_version = 1
                self._write_stage(policy.RolloutStage(school_id=school_id, version=1), online, now_ms)
            return self._seal(view.version, groups_version, rollout_version, before, online, now_ms)

    def publish_groups(
        self, assignments: dict[bytes, str], school_id: str, online: Ed25519PrivateKey, now_ms: int
    ) -> Published:
        """Publishes device -> group, the same file for every device; nothing is written when nothing changed."""
        with self._locked():
            before = self.current()
            entries = tuple(
                policy.GroupAssignment(device_id=device_id, group=group)
                for device_id, group in sorted(assignments.items())
            )
            held = self.group_map()
            if held.assignments == entries:
                return before
            version = before.groups_version + 1
            made = policy.GroupMap(school_id=school_id, version=version, assignments=entries)
            self._write_groups(made, version, online, now_ms)
            return self._seal(before.targets_version, version, before.rollout_version, before, online, now_ms)

    def publish_stage(
        self, groups: tuple[policy.GroupStage, ...], online: Ed25519PrivateKey, now_ms: int
    ) -> Published:
        """Publishes how far each rollout is; nothing is written when nothing changed."""
        with self._locked():
            before = self.current()
            if before.stage is None:
                raise RepositoryError(
                    "the officers' targets in force know no rollouts: stage and publish once with this version first"
                )
            if before.stage.groups == groups:
                return before
            version = before.rollout_version + 1
            made = policy.RolloutStage(school_id=before.stage.school_id, version=version, groups=groups)
            self._write_stage(made, online, now_ms)
            return self._seal(before.targets_version, before.groups_version, version, before, online, now_ms)

    def refresh(self, online: Ed25519PrivateKey, now_ms: int, *, force: bool = False) -> Published:
        """Signs snapshot and timestamp anew when they are in their second half; call it daily."""
        with self._locked():
            now = self.current()
            if not force and now.expires_unix_ms - now_ms > REFRESH_WITHIN_MS:
                return now
            return self._seal(
                now.targets_version, now.groups_version, now.rollout_version, now, online, now_ms
            )

    def _next_root(self, data: bytes) -> trust.RootView:
        """The view of a root that may follow; the newest one again is fine, after a publication that was cut off."""
        chain = self.root_chain()
        if chain[-1] != data:
            chain.append(data)
        return trust.check_root_chain(chain, hashlib.sha256(chain[0]).digest())

    def _signed_anew(
        self, before: Published, view: trust.TargetsView, online: Ed25519PrivateKey, now_ms: int
    ) -> tuple[int, int]:
        """What the online key said before, in the name of the next online key where the officers changed it.

        Returns the versions of groups and rollout that hold from now on.
        """
        groups, stage = before.groups_version, before.rollout_version
        data = self.read_file(f"metadata/{groups}.groups.json")
        if trust.signers(data, view.delegated_keys, view.delegated[trust.GROUPS_ROLE]):
            return groups, stage
        entry = trust.unchecked_targets(data).targets[trust.GROUPS_TARGET]
        name = trust.target_file_name(trust.GROUPS_TARGET, entry.sha256)
        held = decode(policy.GroupMap, self.read_file(f"targets/{name}"))
        self._write_groups(replace(held, version=groups + 1), groups + 1, online, now_ms)
        if before.stage is not None:
            self._write_stage(replace(before.stage, version=stage + 1), online, now_ms)
            stage += 1
        return groups + 1, stage

    def _seal(
        self,
        targets: int,
        groups: int,
        stage: int,
        before: Published | None,
        online: Ed25519PrivateKey,
        now_ms: int,
    ) -> Published:
        root = trust.read_root(self.root_chain()[-1])
        if online.public_key().public_bytes_raw() not in {
            root.keys[key_id] for key_id in root.roles["timestamp"].key_ids
        }:
            raise RepositoryError(
                "the officers changed the online key since this program started: restart it"
            )
        parts = {
            "targets": self.read_file(f"metadata/{targets}.targets.json"),
            "groups": self.read_file(f"metadata/{groups}.groups.json"),
        }
        if stage:
            parts["rollout"] = self.read_file(f"metadata/{stage}.rollout.json")
        version = before.snapshot_version + 1 if before else 1
        snapshot = roots.make_snapshot(version=version, parts=parts, online=online, now_ms=now_ms)
        write_file(self._paths.metadata / f"{version}.snapshot.json", snapshot)
        stamp = roots.make_timestamp(
            version=before.timestamp_version + 1 if before else 1,
            snapshot=snapshot,
            online=online,
            now_ms=now_ms,
        )
        write_file(self._paths.metadata / "timestamp.json", stamp)
        self._forget_old(version, groups, stage)
        return self.current()

    def _write_stage(self, made: policy.RolloutStage, online: Ed25519PrivateKey, now_ms: int) -> None:
        content = encode(made)
        data = roots.make_rollout(version=made.version, stage=content, online=online, now_ms=now_ms)
        name = trust.target_file_name(trust.STAGE_TARGET, hashlib.sha256(content).hexdigest())
        write_file(self._paths.targets / name, content)
        write_file(self._paths.metadata / f"{made.version}.rollout.json", data)

    def _write_groups(
        self, made: policy.GroupMap, version: int, online: Ed25519PrivateKey, now_ms: int
    ) -> None:
        content = encode(made)
        data = roots.make_groups(version=version, group_map=content, online=online, now_ms=now_ms)
        name = trust.target_file_name(trust.GROUPS_TARGET, hashlib.sha256(content).hexdigest())
        write_file(self._paths.targets / name, content)
        write_file(self._paths.metadata / f"{version}.groups.json", data)

    def _forget_old(self, snapshot: int, groups: int, stage: int) -> None:
        """A device in the middle of an update may still need the last few; older ones never."""
        for kind, newest in (("snapshot", snapshot), ("groups", groups), ("rollout", stage)):
            (self._paths.metadata / f"{newest - _KEPT_VERSIONS}.{kind}.json").unlink(missing_ok=True)
        for folder, pattern in (("groups", "*.map"), ("stage", "*.rollout")):
            held = sorted((self._paths.targets / folder).glob(pattern), key=lambda p: p.stat().st_mtime)
            for path in held[: -2 * _KEPT_VERSIONS]:
                path.unlink(missing_ok=True)

    def _current_or_none(self) -> Published | None:
        try:
            return self.current()
        except NotPublished:
            return None
        except trust.TrustRefused:
            # A root was published and its targets were not: the publication that is repeated now ends that.
            return self._read_current(self.read_file("metadata/timestamp.json"), checked=False)

    def _views(self) -> tuple[trust.TargetsView, trust.TargetsView]:
        now = self.current()
        root = trust.read_root(self.root_chain()[-1])
        targets = trust.read_targets(self.read_file(f"metadata/{now.targets_version}.targets.json"), root)
        groups = trust.read_groups(self.read_file(f"metadata/{now.groups_version}.groups.json"), targets)
        return targets, groups

    def _read_current(self, timestamp: bytes, *, checked: bool = True) -> Published:
        signed = json.loads(timestamp)["signed"]
        snapshot_version = int(signed["meta"]["snapshot.json"]["version"])
        snapshot = json.loads(self.read_file(f"metadata/{snapshot_version}.snapshot.json"))["signed"]
        targets_version = int(snapshot["meta"]["targets.json"]["version"])
        chain = self.root_chain()
        targets = self.read_file(f"metadata/{targets_version}.targets.json")
        view = (
            trust.read_targets(targets, trust.read_root(chain[-1]))
            if checked
            else trust.unchecked_targets(targets)
        )
        bundles, plans = {}, {}
        for name, entry in view.targets.items():
            folder, _, group = name.partition("/")
            if folder == "rollout":
                plans[group] = decode(policy.RolloutPlan, self.read_file(self._target_path(view, name)))
            if folder == "bundles" and not group.endswith("/previous"):
                content = decode(policy.PolicyBundle, self.read_file(self._target_path(view, name)))
                manifest = decode(policy.BundleManifest, content.manifest)
                bundles[group] = (bytes.fromhex(entry.sha256), manifest.version)
        groups_version = int(snapshot["meta"]["groups.json"]["version"])
        groups = trust.unchecked_targets(self.read_file(f"metadata/{groups_version}.groups.json"))
        return Published(
            root_version=len(chain),
            targets_version=targets_version,
            timestamp_version=int(signed["version"]),
            snapshot_version=snapshot_version,
            groups_version=groups_version,
            group_map_sha256=bytes.fromhex(groups.targets[trust.GROUPS_TARGET].sha256),
            expires_unix_ms=trust.expiry_of(timestamp),
            key_statement=self.read_file(self._target_path(view, trust.KEYS_TARGET)),
            bundles=bundles,
            plans=plans,
            change_log_sha256=_hash_in(view, CHANGE_LOG),
            **self._read_stage(snapshot["meta"]),
        )

    def _stage_view(self, targets: trust.TargetsView) -> trust.TargetsView:
        version = self.current().rollout_version
        return trust.read_rollout(self.read_file(f"metadata/{version}.rollout.json"), targets)

    def _read_stage(self, meta: dict[str, Any]) -> dict[str, Any]:
        """What a snapshot's stage says; nothing for a snapshot from before there were rollouts."""
        if "rollout.json" not in meta:
            return {}
        version = int(meta["rollout.json"]["version"])
        view = trust.unchecked_targets(self.read_file(f"metadata/{version}.rollout.json"))
        sha256 = view.targets[trust.STAGE_TARGET].sha256
        name = trust.target_file_name(trust.STAGE_TARGET, sha256)
        stage = decode(policy.RolloutStage, self.read_file(f"targets/{name}"))
        return {"rollout_version": version, "stage": stage, "stage_sha256": bytes.fromhex(sha256)}

    @staticmethod
    def _target_path(view: trust.TargetsView, name: str) -> str:
        return f"targets/{trust.target_file_name(name, view.targets[name].sha256)}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._paths.lock.parent.mkdir(parents=True, exist_ok=True)
        with self._paths.lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _hash_in(view: trust.TargetsView, name: str) -> bytes:
    entry = view.targets.get(name)
    return bytes.fromhex(entry.sha256) if entry else b""


def check_rollouts(view: trust.TargetsView, files: dict[str, bytes]) -> None:
    """Raises ``TrustRefused`` for a rollout plan that a device would refuse, or an old bundle without a plan."""
    school_id = decode(policy.KeyStatement, files[trust.KEYS_TARGET]).school_id
    for name in view.targets:
        folder, _, group = name.partition("/")
        if folder == "rollout":
            rollout.check_plan(decode(policy.RolloutPlan, files[name]), view, school_id, group)
        if folder == "bundles" and group.endswith("/previous"):
            plan = rollout.plan_target(group.removesuffix("/previous"))
            if plan not in view.targets:
                raise trust.TrustRefused("malformed", f"{name!r} is signed without the plan {plan!r}")
