"""A staged change held against the officer's pin and memory and against what is in force: may it be looked at?

Each function raises ``TrustRefused`` with the reason; what passes is as signed as signatures and hashes can say. What
the change would do is ``review.py``'s.
"""

from __future__ import annotations

from typing import Any

from schoolkeeper_policies.officer.memory import Memory
from schoolkeeper_policies.officer.staged import Staged
from schoolkeeper_proto import policy, trust
from schoolkeeper_proto.bundle import BundleRefused, OpenBundle, open_bundle
from schoolkeeper_proto.codec import WireFormatError, decode

_DAY_MS = 86_400_000
_DELEGATED = {trust.GROUPS_ROLE: trust.GROUPS_TARGET, trust.ROLLOUT_ROLE: trust.STAGE_TARGET}


def root_in_force(staged: Staged, memory: Memory) -> trust.RootView:
    """The root at the end of the chain; raises ``TrustRefused`` for a chain that the pin or the memory contradicts."""
    root = trust.check_root_chain(staged.roots, memory.root_sha256)
    if root.version < memory.root_version:
        raise trust.TrustRefused(
            "rollback",
            f"the change shows root {root.version}; this officer saw root {memory.root_version} before",
        )
    if memory.root_version:
        seen = staged.roots[memory.root_version - 1]
        if trust.sha256(seen).hex() != memory.newest_root_sha256:
            raise trust.TrustRefused(
                "altered-root", f"root {memory.root_version} is not the one that this officer saw before"
            )
    return root


def root_to_come(staged: Staged, in_force: trust.RootView) -> trust.RootView:
    root = trust.read_root(staged.root)
    if not staged.has_new_root:
        if trust.sha256(staged.root) != trust.sha256(staged.roots[-1]):
            raise trust.TrustRefused(
                "altered-root", "the root beside the change is not the newest of the chain"
            )
        return root
    if staged.files["root-in-force.json"] != staged.roots[-1]:
        raise trust.TrustRefused(
            "altered-root", "the root called the one in force is not the newest of the chain"
        )
    if root.version != in_force.version + 1:
        raise trust.TrustRefused("rollback", f"root {root.version} does not follow root {in_force.version}")
    return root


def check_follows(view: trust.TargetsView, held: trust.TargetsView, memory: Memory, now_ms: int) -> None:
    if held.version < memory.targets_version:
        raise trust.TrustRefused(
            "rollback",
            f"the collector says that version {held.version} is in force; this officer saw version "
            f"{memory.targets_version} in force before: it was restored from a backup, or it lies",
        )
    if view.version != held.version + 1:
        raise trust.TrustRefused(
            "rollback",
            f"the change is version {view.version}, which does not follow {held.version}: stage anew",
        )
    if not now_ms < view.expires_unix_ms <= now_ms + (trust.TARGETS_DAYS + 1) * _DAY_MS:
        raise trust.TrustRefused(
            "expired",
            "the change ends before now or later than policy may live: stage anew, and check both clocks",
        )


def check_delegations(targets: bytes, root: trust.RootView) -> None:
    """The collector's online key may place devices and open rings; a delegation of more would be the whole policy."""
    delegations: dict[str, Any] = trust.signed_part(targets).get("delegations") or {"keys": {}, "roles": []}
    online = {root.keys[key_id] for key_id in root.roles["snapshot"].key_ids}
    keys = trust.unchecked_targets(targets).delegated_keys
    if not set(keys.values()) <= online:
        raise trust.TrustRefused(
            "outside-role", "the change delegates to a key that is not the root's online key"
        )
    for role in delegations["roles"]:
        if role.get("paths") != [_DELEGATED.get(role.get("name"))] or role.get("path_hash_prefixes"):
            raise trust.TrustRefused(
                "outside-role",
                f"the change lets the collector itself sign {role.get('paths') or role.get('name')}",
            )


def files_of(staged: Staged, view: trust.TargetsView) -> dict[str, bytes]:
    files = {}
    for name, entry in view.targets.items():
        data = staged.target(name, entry.sha256)
        if data is None:
            raise trust.TrustRefused(
                "missing-file",
                f"the file of {name!r} is missing: an officer signs only what can be looked at",
            )
        trust.check_target(view, name, data)
        files[name] = data
    return files


def statements_of(
    staged: Staged, files: dict[str, bytes], held: trust.TargetsView, root: trust.RootView
) -> tuple[policy.KeyStatement, policy.KeyStatement | None]:
    if trust.KEYS_TARGET not in files:
        raise trust.TrustRefused("no-target", "the change leaves out the key statement")
    statement = decode(policy.KeyStatement, files[trust.KEYS_TARGET])
    old = held_file(staged, held, trust.KEYS_TARGET)
    before = decode(policy.KeyStatement, old) if old else None
    if before and (statement.school_id != before.school_id or statement.version < before.version):
        raise trust.TrustRefused(
            "rollback", "the key statement is older than the one in force, or of another school"
        )
    if before and statement != before and statement.version <= before.version:
        raise trust.TrustRefused("rollback", "the key statement changed and its version did not go up")
    listed = {(officer.officer_id, officer.signing_key) for officer in statement.officers}
    rooted = {(duty.officer, root.keys[key_id]) for key_id, duty in root.duties.items()}
    for name, _ in sorted(listed - rooted):
        raise trust.TrustRefused(
            "foreign-officer", f"the key statement names a key of {name!r} that the root does not"
        )
    return statement, before


def held_file(staged: Staged, held: trust.TargetsView, name: str) -> bytes | None:
    """The file in force, checked; None when there is none of this name. Raises ``TrustRefused`` if it was left out."""
    entry = held.targets.get(name)
    if entry is None:
        return None
    data = staged.before(name, entry.sha256)
    if data is None:
        raise trust.TrustRefused(
            "missing-file", f"the file in force of {name!r} is missing: no plan can be made"
        )
    trust.check_target(held, name, data)
    return data


def open_whole(data: bytes, school_id: str, group: str) -> OpenBundle:
    """A bundle with every section checked, whatever it requires of a device. Raises ``TrustRefused``."""
    try:
        needed = decode(
            policy.BundleManifest, decode(policy.PolicyBundle, data).manifest
        ).required_capabilities
        return open_bundle(data, school_id=school_id, group=group, capabilities=frozenset(needed))
    except (BundleRefused, WireFormatError) as error:
        raise trust.TrustRefused(
            "bad-bundle", f"the bundle of {group!r} would be refused: {error}"
        ) from error
