"""Signing staged metadata, after saying what it would change. Pure but for the file that is read and replaced."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schoolkeeper_policies.officer.keyfile import OfficerKeys
from schoolkeeper_proto import trust


class SigningError(ValueError):
    """Nothing was signed; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One target of the staged metadata against the one in force."""

    name: str
    what: str


def tuf_key_id(raw: bytes) -> str:
    """The key id The Update Framework computes for an Ed25519 key: SHA-256 of its canonical JSON."""
    value = {"keytype": "ed25519", "keyval": {"public": raw.hex()}, "scheme": "ed25519"}
    return hashlib.sha256(trust.canonical_json(value)).hexdigest()


def changes(staged: bytes, in_force: bytes | None) -> list[Change]:
    """What differs between two targets metadata, in the order of names."""
    new, old = _targets(staged), _targets(in_force) if in_force else {}
    found = []
    for name in sorted(new.keys() | old.keys()):
        if name not in old:
            found.append(Change(name=name, what="new"))
        elif name not in new:
            found.append(Change(name=name, what="removed"))
        elif new[name] != old[name]:
            found.append(Change(name=name, what="changed"))
    return found


def staged_changes(folder: Path) -> list[Change]:
    """What a staged folder changes; with a new root, who comes and who goes."""
    before = folder / "in-force.json"
    found = changes((folder / "targets.json").read_bytes(), before.read_bytes() if before.is_file() else None)
    old_root = folder / "root-in-force.json"
    if old_root.is_file():
        old = {duty.officer for duty in trust.read_root(old_root.read_bytes()).duties.values()}
        new = {duty.officer for duty in trust.read_root((folder / "root.json").read_bytes()).duties.values()}
        found += [Change(name=f"officer {name}", what="leaves") for name in sorted(old - new)]
        found += [Change(name=f"officer {name}", what="comes") for name in sorted(new - old)]
    return found


def sign_metadata(data: bytes, keys: OfficerKeys, root: trust.RootView | None) -> bytes:
    """The metadata with this officer's signature added or renewed. Raises ``SigningError``.

    With a ``root``, a key that the root does not know for targets is refused before it signs in vain.
    """
    document = json.loads(data)
    raw = keys.signing.public_key().public_bytes_raw()
    key_id = tuf_key_id(raw)
    if root is not None:
        key_id = _known_as(raw, root)
    message = trust.canonical_json(document["signed"])
    others = [entry for entry in document["signatures"] if entry.get("keyid") != key_id]
    others.append({"keyid": key_id, "sig": keys.signing.sign(message).hex()})
    document["signatures"] = others
    return json.dumps(document, sort_keys=True).encode()


def sign_staged(folder: Path, keys: OfficerKeys) -> list[Change]:
    """Signs ``folder/targets.json`` in place; the files it names must be there and be what it says.

    A root key signs ``folder/root.json`` instead, where a new root is staged. Raises ``SigningError``.
    """
    staged_path = folder / "targets.json"
    try:
        staged = staged_path.read_bytes()
        root_bytes = (folder / "root.json").read_bytes()
        root = trust.read_root(root_bytes)
    except OSError as error:
        raise SigningError(
            f"{error.filename} cannot be read: name the folder that `schoolkeeper-collector stage` printed"
        ) from error
    if (folder / "root-in-force.json").is_file() and _is_root_key(keys, root):
        _replace(folder / "root.json", sign_metadata(root_bytes, keys, None))
        return staged_changes(folder)
    for name, entry in _targets(staged).items():
        path = folder / "targets" / trust.target_file_name(name, str(entry["hashes"]["sha256"]))
        if not path.is_file():
            raise SigningError(f"{path} is missing: an officer signs only what is there to be looked at")
    signed = sign_metadata(staged, keys, root)
    _replace(staged_path, signed)
    return staged_changes(folder)


def _is_root_key(keys: OfficerKeys, root: trust.RootView) -> bool:
    raw = keys.signing.public_key().public_bytes_raw()
    return any(root.keys[key_id] == raw for key_id in root.roles["root"].key_ids)


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    temporary.replace(path)


def _known_as(raw: bytes, root: trust.RootView) -> str:
    for key_id in root.roles["targets"].key_ids:
        if root.keys[key_id] == raw:
            return key_id
    raise SigningError(
        "the school's root does not list this key for policy: it was replaced, or it is the file of another school"
    )


def _targets(data: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(data)["signed"]["targets"])
    except (ValueError, KeyError, TypeError) as error:
        raise SigningError(f"the staged targets cannot be read: {error!r}") from error
