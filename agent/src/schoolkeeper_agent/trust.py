"""The policy and keys in force, as the school's officers signed them.

Updating needs python-tuf, which the service never loads: a short-lived child process (``trust_child.py``) verifies,
asks its parent for each file, and leaves a complete, verified set in a folder of its own; replacing the file
``current`` puts it in force. What is in force is verified again, without python-tuf, whenever it is loaded. Metadata
that expired makes the policy *stale*, never absent.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schoolkeeper_agent.system import here
from schoolkeeper_proto import granting, policy, release, rollout, trust, wire
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.statements import verify_time

FOLDER = "trust"
RELEASE = "release"
"""In a set: the agent's release for this platform; absent where officers signed none."""
KEPT_GROUP = "kept-group"
"""In a set: the group that a device stays in although the group map says another."""
CHILD_SECONDS = 120.0
Fetch = Callable[[str], Awaitable[bytes | None]]
"""A published file by name, None when there is none; may raise whatever the network raises."""


class FileTooLong(Exception):
    """What ``Fetch`` raises for a file that goes on beyond any length a published file has."""


class TrustDamaged(Exception):
    """The set in force does not verify any more: a damaged disk or a hand on the files. Fetch it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """A verified set. ``bundle`` is the serialised policy bundle of ``group``; times in Unix milliseconds."""

    school_id: str
    group: str
    key_statement: policy.KeyStatement
    key_statement_hash: bytes
    root_version: int
    targets_version: int
    timestamp_version: int
    bundle: bytes
    bundle_hash: bytes
    bundle_version: int
    expires_unix_ms: int
    online_keys: frozenset[bytes] = frozenset()
    """Raw keys that sign timestamps: versions count as long as these are the same."""
    officers: tuple[granting.Officer, ...] = ()
    """Everybody whose signature may count under a grant."""
    rollout: policy.RolloutPlan | None = None
    """The plan by which the group's newest policy reaches its devices; None when everybody takes it at once."""
    release: policy.AgentRelease | None = None
    """The agent that the officers signed for this platform, newer than this one or not."""
    move_refused: str = ""
    """The group that the collector wants this device in and that officers did not sign it for; empty for none."""

    @property
    def waits_for_ring(self) -> bool:
        """A newer policy is signed, and this device's ring is not open yet."""
        return self.rollout is not None and self.bundle_hash != self.rollout.to_bundle_hash

    def stale_since(self, now_ms: int) -> int | None:
        """Since when the metadata is too old, or None. A stale policy stays in force and is shown as stale."""
        return self.expires_unix_ms if now_ms > self.expires_unix_ms else None

    @property
    def command_keys(self) -> dict[bytes, bytes]:
        """Key id -> raw Ed25519 key that signs time and commands."""
        return {key.key_id: key.public_key for key in self.key_statement.command_keys}

    @property
    def ledger_keys(self) -> tuple[bytes, ...]:
        return tuple(key.public_key for key in self.key_statement.ledger_keys)

    def ingest_key(self, now_ms: int) -> policy.IngestKey:
        """The newest key to seal to; when all have run out, the newest still: a sealed event beats none."""
        known = [key for key in self.key_statement.ingest_keys if key.kem == "X25519"]
        if not known:
            raise TrustDamaged(
                "the key statement holds no ingest key of a kind this agent knows: update the agent"
            )
        current = [k for k in known if k.not_before_unix_ms <= now_ms < k.advertised_until_unix_ms]
        return max(current or known, key=lambda k: (k.not_before_unix_ms, k.advertised_until_unix_ms))

    def verified_time(self, time: wire.SignedTime) -> int:
        """Unix milliseconds that the school's command key vouches for. Raises ``StatementError``."""
        return verify_time(time, self.school_id, self.command_keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustUpdate:
    """What came of an update. ``refused`` is a stable word ("rollback", "altered-target", "expired", ...) or empty.

    Both: the policy changed, and a move to another group that came with it was refused ("group-move").
    """

    changed: bool
    refused: str = ""
    message: str = ""

    @property
    def is_stale(self) -> bool:
        """Refused only because it is too old: the collector shows nothing new."""
        return self.refused == "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where this device belongs: fixed at enrolment."""

    school_id: str
    device_id: bytes
    group: str
    root_sha256: bytes


def load_trust(state_dir: Path) -> Trust | None:
    """The set in force, verified again offline; None before the first. Raises ``TrustDamaged``."""
    folder = state_dir / FOLDER
    try:
        name = (folder / "current").read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise TrustDamaged(f"{folder / 'current'} cannot be read: {error}") from error
    try:
        return verify_set(folder / "sets" / Path(name).name, load_place(state_dir))
    except (OSError, ValueError, KeyError, TypeError, WireFormatError) as error:
        raise TrustDamaged(
            f"the policy in {folder} does not verify ({error}): `schoolkeeper-agent doctor` says more"
        ) from error


def verify_set(folder: Path, place: Place) -> Trust:
    """A set's files against the pinned root; expiry is only noted. Raises ``TrustRefused`` and what files raise."""
    count = int((folder / "root-version").read_text())
    root = trust.check_root_chain(
        [(folder / f"{n}.root.json").read_bytes() for n in range(1, count + 1)], place.root_sha256
    )
    timestamp = (folder / "timestamp.json").read_bytes()
    if not trust.signers(timestamp, root.keys, root.roles["timestamp"]):
        raise trust.TrustRefused("signature", "the timestamp is not signed by the school's online key")
    targets_bytes = (folder / "targets.json").read_bytes()
    targets = trust.read_targets(targets_bytes, root)
    groups = trust.read_groups((folder / "groups.json").read_bytes(), targets)
    keys_bytes = (folder / "keys").read_bytes()
    map_bytes = (folder / "map").read_bytes()
    bundle_bytes = (folder / "bundle").read_bytes()
    trust.check_target(targets, trust.KEYS_TARGET, keys_bytes)
    trust.check_target(groups, trust.GROUPS_TARGET, map_bytes)
    wanted = group_of(decode(policy.GroupMap, map_bytes), place)
    group = _kept_group(folder) or wanted
    plan = _check_rollout(folder, targets, place, group)
    if plan is None or trust.sha256(bundle_bytes) == plan.to_bundle_hash:
        trust.check_target(targets, trust.bundle_target(group), bundle_bytes)
    else:
        trust.check_target(targets, rollout.previous_target(group), bundle_bytes)
    manifest = decode(policy.BundleManifest, decode(policy.PolicyBundle, bundle_bytes).manifest)
    statement = decode(policy.KeyStatement, keys_bytes)
    _check_place(statement, manifest, group, place)
    stamped = json.loads(timestamp)["signed"]
    return Trust(
        school_id=place.school_id,
        group=group,
        key_statement=statement,
        key_statement_hash=hashlib.sha256(keys_bytes).digest(),
        root_version=root.version,
        targets_version=targets.version,
        timestamp_version=int(stamped["version"]),
        bundle=bundle_bytes,
        bundle_hash=hashlib.sha256(bundle_bytes).digest(),
        bundle_version=manifest.version,
        expires_unix_ms=min(trust.expiry_of(timestamp), targets.expires_unix_ms, root.expires_unix_ms),
        online_keys=frozenset(root.keys[key_id] for key_id in root.roles["timestamp"].key_ids),
        officers=granting.officers_of(root, statement),
        rollout=plan,
        release=_check_release(folder, targets, place),
        move_refused=wanted if wanted != group else "",
    )


def release_name() -> str:
    """The target that holds this platform's release."""
    machine = os.uname().machine if sys.platform == "linux" else "unknown"
    return release.release_target(sys.platform, release.architecture_of(machine))


def _check_release(folder: Path, targets: trust.TargetsView, place: Place) -> policy.AgentRelease | None:
    """None also for a set that an older agent fetched, which did not ask for it."""
    name, path = release_name(), folder / RELEASE
    if name not in targets.targets or not path.exists():
        return None
    data = path.read_bytes()
    trust.check_target(targets, name, data)
    found = decode(policy.AgentRelease, data)
    release.check_release(found, place.school_id, name)
    return found


def _kept_group(folder: Path) -> str:
    """The group that this device stayed in when the set was fetched, because its move was refused; empty for none."""
    path = folder / KEPT_GROUP
    return path.read_text() if path.exists() else ""


def _check_rollout(
    folder: Path, targets: trust.TargetsView, place: Place, group: str
) -> policy.RolloutPlan | None:
    """The group's rollout plan, if the officers signed one. Which of its two bundles is ours was decided when the set
    was fetched: the stage changes by the hour, and there is no way back from the new one."""
    if rollout.plan_target(group) not in targets.targets:
        return None
    data = (folder / "plan").read_bytes()
    trust.check_target(targets, rollout.plan_target(group), data)
    plan = decode(policy.RolloutPlan, data)
    rollout.check_plan(plan, targets, place.school_id, group)
    return plan


def group_of(groups: policy.GroupMap, place: Place) -> str:
    """The group that the signed map gives this device; until it stands there, the one of the enrolment."""
    if groups.school_id != place.school_id:
        raise trust.TrustRefused("wrong-school", f"the group map is of the school {groups.school_id!r}")
    found = {entry.group for entry in groups.assignments if entry.device_id == place.device_id}
    if len(found) > 1:
        raise trust.TrustRefused("malformed", f"the group map puts this device into {len(found)} groups")
    return found.pop() if found else place.group


def save_place(state_dir: Path, place: Place) -> None:
    """Written once, at enrolment."""
    from schoolkeeper_agent.identity import write_private

    said = {
        "school_id": place.school_id,
        "device_id": place.device_id.hex(),
        "group": place.group,
        "root_sha256": place.root_sha256.hex(),
    }
    write_private(state_dir / FOLDER / "place.json", json.dumps(said, indent=1).encode())


def load_place(state_dir: Path) -> Place:
    said = json.loads((state_dir / FOLDER / "place.json").read_bytes())
    return Place(
        school_id=str(said["school_id"]),
        device_id=bytes.fromhex(said["device_id"]),
        group=str(said["group"]),
        root_sha256=bytes.fromhex(said["root_sha256"]),
    )


async def update_trust(
    state_dir: Path, fetch: Fetch, *, now_ms: int, first_root: bytes | None = None
) -> TrustUpdate:
    """Brings the set in force up to date; what is refused changes nothing.

    ``now_ms`` should be time that someone vouches for (the clock's floor), not the wall clock. ``first_root`` only at
    enrolment. A network error of ``fetch`` is answered as ``refused="unreachable"``; nothing is raised for it.
    """
    request = {"work": "update", "state_dir": str(state_dir), "now_ms": now_ms}
    if first_root is not None:
        request["first_root"] = first_root.decode("latin-1")
    answer = await run_child(request, fetch)
    return TrustUpdate(
        changed=bool(answer.get("changed")),
        refused=str(answer.get("refused", "")),
        message=str(answer.get("message", "")),
    )


async def run_child(request: dict[str, Any], fetch: Fetch | None = None) -> dict[str, Any]:
    """Runs one piece of work in a child process that may load what the service must not; returns its answer."""
    process = await start_child()
    try:
        async with asyncio.timeout(CHILD_SECONDS):
            return await _converse(process, request, fetch)
    except TimeoutError:
        return {"refused": "unreachable", "message": f"the update took longer than {CHILD_SECONDS:.0f} s"}
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def start_child() -> asyncio.subprocess.Process:
    """The verifying process, waiting for its request on standard input."""
    return await asyncio.create_subprocess_exec(
        *here.child_command("schoolkeeper_agent.trust_child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 16,
    )


async def _converse(
    process: asyncio.subprocess.Process, request: dict[str, Any], fetch: Fetch | None
) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    network = ""
    while True:
        line = await process.stdout.readline()
        if not line:
            said = (await process.stderr.read()).decode(errors="replace").strip().rpartition("\n")[2]
            return {"refused": "failed", "message": f"the verifying process ended early: {said[:300]}"}
        answer: dict[str, Any] = json.loads(line)
        if "fetch" not in answer:
            if network and answer.get("refused") == "unreachable":
                answer["message"] = f"{answer.get('message', '')} ({network})"
            return answer
        data: bytes | None = None
        status = b"N"
        try:
            data = await fetch(str(answer["fetch"])) if fetch else None
        except FileTooLong:
            status = b"L"
        except Exception as error:  # noqa: BLE001 - whatever the transport raises is passed on as "unreachable"
            network, status = str(error)[:300], b"E"
        if data is not None:
            status = b"D"
        payload = data or b""
        process.stdin.write(status + len(payload).to_bytes(4, "big") + payload)
        await process.stdin.drain()


def _check_place(
    statement: policy.KeyStatement, manifest: policy.BundleManifest, group: str, place: Place
) -> None:
    for what, school_id in (("key statement", statement.school_id), ("bundle", manifest.school_id)):
        if school_id != place.school_id:
            raise trust.TrustRefused("wrong-school", f"the {what} is of the school {school_id!r}")
    if manifest.group != group:
        raise trust.TrustRefused(
            "wrong-group", f"the bundle is for the group {manifest.group!r}, this device is in {group!r}"
        )
