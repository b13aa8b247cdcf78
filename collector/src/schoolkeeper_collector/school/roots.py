"""The signed metadata of a school (The Update Framework, by python-tuf): what is made at `init` and on every change.

``root``: two of three offline keys. ``targets``: two officers, and a device also asks for both duties. ``groups``
(delegated), ``snapshot``, ``timestamp``: the collector's online key. Pure: keys and values in, bytes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from schoolkeeper_proto import trust

_DELEGATED = {trust.GROUPS_ROLE: trust.GROUPS_TARGET, trust.ROLLOUT_ROLE: trust.STAGE_TARGET}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficerPublic:
    officer: str
    duty: trust.Duty
    signing_key: bytes
    """Raw Ed25519 public key."""


def make_root(
    *,
    version: int,
    root_keys: list[bytes],
    officers: list[OfficerPublic],
    online_key: bytes,
    now_ms: int,
) -> bytes:
    """Unsigned root metadata over raw Ed25519 public keys."""
    root = Root(version=version, expires=_until(now_ms, trust.ROOT_DAYS), consistent_snapshot=True)
    for raw in root_keys:
        root.add_key(_public(raw), "root")
    root.roles["root"].threshold = 2
    duties = {}
    for officer in officers:
        key = _public(officer.signing_key)
        root.add_key(key, "targets")
        duties[key.keyid] = {"officer": officer.officer, "duty": officer.duty.value}
    root.roles["targets"].threshold = 2
    for role in ("snapshot", "timestamp"):
        root.add_key(_public(online_key), role)
    root.unrecognized_fields[trust.DUTIES_FIELD] = duties
    return Metadata(root).to_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class RootChange:
    """Who and what leaves and comes with the next root. Keys are raw Ed25519 public keys; names are officers'."""

    officers_gone: tuple[str, ...] = ()
    officers_new: tuple[OfficerPublic, ...] = ()
    root_key_gone: bytes | None = None
    root_key_new: bytes | None = None
    online_key_new: bytes | None = None


def next_root(current: bytes, change: RootChange, now_ms: int) -> bytes:
    """The next root, unsigned. Raises ``LookupError`` for somebody or something that the root does not know."""
    metadata: Metadata[Root] = Metadata.from_bytes(current)
    root = metadata.signed
    duties = dict(root.unrecognized_fields[trust.DUTIES_FIELD])
    for gone in change.officers_gone:
        held = [key_id for key_id, said in duties.items() if said["officer"] == gone]
        if not held:
            raise LookupError(
                f"the root knows no officer {gone!r}; it knows {', '.join(officers_of(current))}"
            )
        for key_id in held:
            root.revoke_key(key_id, "targets")
            del duties[key_id]
    for new in change.officers_new:
        if any(said["officer"] == new.officer for said in duties.values()):
            raise LookupError(f"the root knows an officer {new.officer!r} already: choose another short name")
        key = _public(new.signing_key)
        root.add_key(key, "targets")
        duties[key.keyid] = {"officer": new.officer, "duty": new.duty.value}
    root.unrecognized_fields[trust.DUTIES_FIELD] = duties
    _change_keys(root, change)
    root.version += 1
    root.expires = _until(now_ms, trust.ROOT_DAYS)
    return Metadata(root).to_bytes()


def _change_keys(root: Root, change: RootChange) -> None:
    if change.root_key_gone is not None and change.root_key_new is not None:
        gone = trust.tuf_key_id(change.root_key_gone)
        if gone not in root.roles["root"].keyids:
            raise LookupError(f"no root key has the public key {change.root_key_gone.hex()}")
        root.revoke_key(gone, "root")
        root.add_key(_public(change.root_key_new), "root")
    if change.online_key_new is not None:
        for role in ("snapshot", "timestamp"):
            for key_id in list(root.roles[role].keyids):
                root.revoke_key(key_id, role)
            root.add_key(_public(change.online_key_new), role)


def officers_of(root: bytes) -> list[str]:
    return sorted(duty.officer for duty in trust.read_root(root).duties.values())


def make_targets(*, version: int, files: dict[str, bytes], online_key: bytes, now_ms: int) -> bytes:
    """Unsigned targets over ``files`` (name -> bytes).

    To the online key they delegate the assignment of devices to groups, and how far each rollout is.
    """
    key = _public(online_key)
    roles = {
        name: DelegatedRole(name, [key.keyid], threshold=1, terminating=True, paths=[target])
        for name, target in _DELEGATED.items()
    }
    targets = Targets(
        version=version,
        expires=_until(now_ms, trust.TARGETS_DAYS),
        targets=_targets(files),
        delegations=Delegations({key.keyid: key}, roles),
    )
    return Metadata(targets).to_bytes()


def make_groups(*, version: int, group_map: bytes, online: Ed25519PrivateKey, now_ms: int) -> bytes:
    return _delegated({trust.GROUPS_TARGET: group_map}, version, online, now_ms)


def make_rollout(*, version: int, stage: bytes, online: Ed25519PrivateKey, now_ms: int) -> bytes:
    return _delegated({trust.STAGE_TARGET: stage}, version, online, now_ms)


def _delegated(files: dict[str, bytes], version: int, online: Ed25519PrivateKey, now_ms: int) -> bytes:
    expires = _until(now_ms, trust.TARGETS_DAYS)
    targets = Targets(version=version, expires=expires, targets=_targets(files))
    return sign(Metadata(targets).to_bytes(), online)


def make_snapshot(*, version: int, parts: dict[str, bytes], online: Ed25519PrivateKey, now_ms: int) -> bytes:
    """``parts``: role name -> metadata bytes that this snapshot fixes."""
    snapshot = Snapshot(version=version, expires=_until(now_ms, trust.TIMESTAMP_DAYS))
    snapshot.meta = {f"{name}.json": _meta(data) for name, data in parts.items()}
    return sign(Metadata(snapshot).to_bytes(), online)


def make_timestamp(*, version: int, snapshot: bytes, online: Ed25519PrivateKey, now_ms: int) -> bytes:
    timestamp = Timestamp(version=version, expires=_until(now_ms, trust.TIMESTAMP_DAYS))
    timestamp.snapshot_meta = _meta(snapshot)
    return sign(Metadata(timestamp).to_bytes(), online)


def sign(data: bytes, *keys: Ed25519PrivateKey) -> bytes:
    """Adds one signature per key."""
    metadata: Metadata[Root] = Metadata.from_bytes(data)
    for key in keys:
        metadata.sign(CryptoSigner(key), append=True)
    return metadata.to_bytes()


def version_of(data: bytes) -> int:
    metadata: Metadata[Root] = Metadata.from_bytes(data)
    return metadata.signed.version


def _public(raw: bytes) -> SSlibKey:
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(raw))


def _targets(files: dict[str, bytes]) -> dict[str, TargetFile]:
    return {name: TargetFile.from_data(name, data, ["sha256"]) for name, data in files.items()}


def _meta(data: bytes) -> MetaFile:
    return MetaFile.from_data(version_of(data), data, ["sha256"])


def _until(now_ms: int, days: int) -> datetime:
    start = datetime.fromtimestamp(now_ms // 1000, tz=UTC)
    return start + timedelta(days=days)
