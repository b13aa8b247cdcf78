"""The school's roots of trust, checked without python-tuf: what a device, an officer and the collector all ask.

The format is that of The Update Framework (https://theupdateframework.github.io/specification/latest/): JSON whose
``signed`` part is signed in canonical form by Ed25519 keys. python-tuf counts key *ids*; this module counts distinct
public *values*, refuses a root that lists one value twice, and knows which officer's duty a key has, so that a policy
needs one technical and one safeguarding signature. Versions, snapshots and expiry in an update are python-tuf's part.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

DUTIES_FIELD = "x-schoolkeeper-duties"
"""Unrecognised, signed field of the root: key id -> {"officer": ..., "duty": "technical" | "safeguarding"}."""
ROLES = ("root", "targets", "snapshot", "timestamp")
GROUPS_ROLE = "groups"
KEYS_TARGET = "keys"
GROUPS_TARGET = "groups/map"
MOVES_TARGET = "moves"
ROLLOUT_ROLE = "rollout"
STAGE_TARGET = "stage/rollout"
TIMESTAMP_DAYS = 14
TARGETS_DAYS = 400
ROOT_DAYS = 5 * 366
MAX_METADATA_BYTES = 1 << 21


class Duty(StrEnum):
    TECHNICAL = "technical"
    SAFEGUARDING = "safeguarding"


class TrustRefused(ValueError):
    """Signed metadata that must not be believed; ``reason`` is a stable word, the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyOfKey:
    officer: str
    duty: Duty


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    key_ids: tuple[str, ...]
    threshold: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RootView:
    """A root that passed ``read_root``: ``keys`` maps key id to raw Ed25519 public key."""

    version: int
    expires_unix_ms: int
    keys: dict[str, bytes]
    roles: dict[str, Role]
    duties: dict[str, DutyOfKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    length: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsView:
    """``delegated_keys`` and ``delegated`` are what this metadata says about roles below it."""

    version: int
    expires_unix_ms: int
    targets: dict[str, TargetView]
    delegated_keys: dict[str, bytes] = field(default_factory=dict)
    delegated: dict[str, Role] = field(default_factory=dict)


def bundle_target(group: str) -> str:
    return f"bundles/{group}"


def target_file_name(name: str, sha256: str) -> str:
    """Where a target lies with consistent snapshots: its hash before the last part of its name."""
    folder, separator, last = name.rpartition("/")
    return f"{folder}{separator}{sha256}.{last}"


def canonical_json(value: object) -> bytes:
    """OLPC canonical JSON, as The Update Framework signs it: sorted keys, no spaces, no floats."""
    try:
        return _canonical(value).encode()
    except (RecursionError, UnicodeEncodeError) as error:
        raise TrustRefused("malformed", f"the signed metadata cannot be written out: {error!r}") from error


def read_root(data: bytes) -> RootView:
    """The root in ``data``, its *own* rules checked and not its signatures. Raises ``TrustRefused``."""
    signed = _document(data, "root")["signed"]
    try:
        keys = {str(key_id): _raw_key(key) for key_id, key in signed["keys"].items()}
        roles = {name: _role(signed["roles"][name]) for name in ROLES}
        duties = {str(k): _duty(v) for k, v in signed.get(DUTIES_FIELD, {}).items()}
        view = RootView(
            version=int(signed["version"]),
            expires_unix_ms=_unix_ms(signed["expires"]),
            keys=keys,
            roles=roles,
            duties=duties,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TrustRefused("malformed", f"the root metadata cannot be read: {error!r}") from error
    _check_root(view)
    return view


def check_root_signatures(data: bytes, by: RootView) -> None:
    """Raises ``TrustRefused`` unless enough distinct root keys of ``by`` signed this root."""
    _require("root", signers(data, by.keys, by.roles["root"]), by.roles["root"])


def check_root_chain(roots: list[bytes], pinned_sha256: bytes) -> RootView:
    """The newest of roots 1, 2, 3 ..., each signed by its forerunner and itself; the first has the pinned hash."""
    if not roots or hashlib.sha256(roots[0]).digest() != pinned_sha256:
        raise TrustRefused("wrong-school", "the first root metadata is not the one that the token pins")
    current = read_root(roots[0])
    check_root_signatures(roots[0], current)
    for data in roots[1:]:
        following = read_root(data)
        if following.version != current.version + 1:
            raise TrustRefused("rollback", f"root {following.version} does not follow root {current.version}")
        check_root_signatures(data, current)
        check_root_signatures(data, following)
        current = following
    return current


def read_targets(data: bytes, root: RootView) -> TargetsView:
    """The top-level targets, signed by enough officers and by both duties. Raises ``TrustRefused``."""
    view = _targets_view(data)
    role = root.roles["targets"]
    found = signers(data, root.keys, role)
    if not found:
        raise TrustRefused("signature", "no officer's key of the root signed the targets")
    check_duties(root, found)
    _require("targets", found, role)
    return view


def unchecked_targets(data: bytes) -> TargetsView:
    """What targets metadata says, its signatures not looked at: for staging, never for use."""
    return _targets_view(data)


def tuf_key_id(raw: bytes) -> str:
    """The key id The Update Framework computes for an Ed25519 key: SHA-256 of its canonical JSON."""
    value = {"keytype": "ed25519", "keyval": {"public": raw.hex()}, "scheme": "ed25519"}
    return hashlib.sha256(canonical_json(value)).hexdigest()


def signed_part(data: bytes) -> dict[str, Any]:
    """What signatures of this metadata cover, unverified: for comparing and showing. Raises ``TrustRefused``."""
    signed = _document(data, None)["signed"]
    if not isinstance(signed, dict):
        raise TrustRefused("malformed", "the signed part of the metadata is no object")
    return signed


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def read_groups(data: bytes, parent: TargetsView) -> TargetsView:
    """The delegated role that assigns devices to groups. Raises ``TrustRefused``."""
    return _read_delegated(data, parent, GROUPS_ROLE, GROUPS_TARGET)


def read_rollout(data: bytes, parent: TargetsView) -> TargetsView:
    """The delegated role that says how far each rollout is. Raises ``TrustRefused``."""
    return _read_delegated(data, parent, ROLLOUT_ROLE, STAGE_TARGET)


def _read_delegated(data: bytes, parent: TargetsView, name: str, only: str) -> TargetsView:
    role = parent.delegated.get(name)
    if role is None:
        raise TrustRefused("malformed", f"the targets delegate no role named {name}")
    _require(name, signers(data, parent.delegated_keys, role), role)
    view = _targets_view(data)
    outside = [target for target in view.targets if target != only]
    if outside:
        raise TrustRefused("outside-role", f"the {name} role may not sign {outside[0]!r}")
    return view


def expiry_of(data: bytes) -> int:
    """When any signed metadata expires, Unix milliseconds; its signatures are not looked at."""
    try:
        return _unix_ms(str(_document(data, None)["signed"]["expires"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TrustRefused("malformed", f"the metadata names no expiry: {error!r}") from error


def check_target(view: TargetsView, name: str, data: bytes) -> None:
    """Raises ``TrustRefused`` unless ``data`` is the target that the metadata promises."""
    entry = view.targets.get(name)
    if entry is None:
        raise TrustRefused("no-target", f"the signed targets hold no {name!r}")
    if len(data) != entry.length or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise TrustRefused("altered-target", f"the file {name!r} differs from what the officers signed")


def check_duties(root: RootView, key_ids: frozenset[str]) -> None:
    """Raises ``TrustRefused`` unless one technical and one safeguarding officer are among the signers."""
    held = {root.duties[k].duty for k in key_ids if k in root.duties}
    for duty in Duty:
        if duty not in held:
            raise TrustRefused(
                f"no-{duty}-signature",
                f"no {duty} officer signed: a policy needs one technical and one safeguarding signature",
            )
    if len({root.duties[k].officer for k in key_ids if k in root.duties}) < 2:
        raise TrustRefused("one-person", "one person signed under two duties: two people are needed")


def signers(data: bytes, keys: dict[str, bytes], role: Role) -> frozenset[str]:
    """Key ids of the role whose signature over ``data`` verifies."""
    document = _document(data, None)
    message = canonical_json(document["signed"])
    found = set()
    for entry in document["signatures"]:
        if not isinstance(entry, dict):
            raise TrustRefused("malformed", "a signature is no object")
        key_id = entry.get("keyid")
        if key_id in role.key_ids and key_id in keys and _valid(keys[key_id], entry.get("sig"), message):
            found.add(key_id)
    return _one_each(found, keys)


def _one_each(found: set[str], keys: dict[str, bytes]) -> frozenset[str]:
    """One key id per public value: the same key twice is one signature."""
    return frozenset({keys[key_id]: key_id for key_id in sorted(found)}.values())


def _require(what: str, found: frozenset[str], role: Role) -> None:
    if len(found) < role.threshold:
        raise TrustRefused(
            "too-few-signatures", f"{what}: {len(found)} of {role.threshold} distinct keys signed it"
        )


def _check_root(root: RootView) -> None:
    seen: dict[bytes, str] = {}
    for key_id, raw in root.keys.items():
        if raw in seen:
            raise TrustRefused("key-twice", f"the root lists one key twice, as {seen[raw]} and {key_id}")
        seen[raw] = key_id
    for name, least in (("root", 2), ("targets", 2), ("snapshot", 1), ("timestamp", 1)):
        role = root.roles[name]
        if role.threshold < least or len(set(role.key_ids)) < role.threshold:
            raise TrustRefused("threshold", f"the root's role {name} asks for fewer than {least} keys")
        if not set(role.key_ids) <= set(root.keys):
            raise TrustRefused("malformed", f"the root's role {name} names a key that is not listed")
    held = {root.duties[k].duty for k in root.roles["targets"].key_ids if k in root.duties}
    if held != set(Duty):
        raise TrustRefused("duties", "the root must name technical and safeguarding officers' keys")


def _document(data: bytes, kind: str | None) -> dict[str, Any]:
    if len(data) > MAX_METADATA_BYTES:
        raise TrustRefused("too-long", f"metadata of {len(data)} bytes, {MAX_METADATA_BYTES} are allowed")
    try:
        document = json.loads(data, object_pairs_hook=_each_once)
        found = document["signed"]["_type"]
        if not isinstance(document["signatures"], list):
            raise TypeError("signatures is no list")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrustRefused("malformed", f"signed metadata cannot be read: {error!r}") from error
    if kind is not None and found != kind:
        raise TrustRefused("malformed", f"this is {found!r} metadata, not {kind!r}")
    return dict(document)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different: of two, one program could believe the first, another the last."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:80]!r} stands twice in one object")
    return made


def _targets_view(data: bytes) -> TargetsView:
    signed = _document(data, "targets")["signed"]
    try:
        delegations = signed.get("delegations") or {"keys": {}, "roles": []}
        return TargetsView(
            version=int(signed["version"]),
            expires_unix_ms=_unix_ms(signed["expires"]),
            targets={
                str(name): TargetView(length=int(entry["length"]), sha256=str(entry["hashes"]["sha256"]))
                for name, entry in signed["targets"].items()
            },
            delegated_keys={str(k): _raw_key(v) for k, v in delegations["keys"].items()},
            delegated={str(r["name"]): _role(r) for r in delegations["roles"]},
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TrustRefused("malformed", f"the targets metadata cannot be read: {error!r}") from error


def _raw_key(key: Any) -> bytes:
    if key["keytype"] != "ed25519" or key["scheme"] != "ed25519":
        raise ValueError(f"a key of type {key['keytype']!r}; only ed25519 is used here")
    raw = bytes.fromhex(key["keyval"]["public"])
    if len(raw) != 32:
        raise ValueError(f"a public key of {len(raw)} bytes")
    return raw


def _role(value: Any) -> Role:
    return Role(key_ids=tuple(str(k) for k in value["keyids"]), threshold=int(value["threshold"]))


def _duty(value: Any) -> DutyOfKey:
    return DutyOfKey(officer=str(value["officer"]), duty=Duty(value["duty"]))


def _unix_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def _valid(raw: bytes, signature: object, message: bytes) -> bool:
    if not isinstance(signature, str):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _canonical(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is True or value is False or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(_canonical(item) for item in value) + "]"
    if isinstance(value, dict):
        items = (f"{_canonical(k)}:{_canonical(v)}" for k, v in sorted(value.items()))
        return "{" + ",".join(items) + "}"
    raise TrustRefused("malformed", f"signed metadata may not hold a {type(value).__name__}")
