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
    """Signs ``folder/targets.json`` in place; the files it names must be there and be what it says."""
    staged_path = folder / "targets.json"
    try:
        staged = staged_path.read_bytes()
        root = trust.read_root((folder / "root.json").read_bytes())
    except OSError as error:
        raise SigningError(
            f"{error.filename} cannot be read: name the folder that `schoolkeeper-collector stage` printed"
        ) from error
    for name, entry in _targets(staged).items():
        path = folder / "targets" / trust.target_file_name(name, str(entry["hashes"]["sha256"]))
        if not path.is_file():
            raise SigningError(f"{path} is missing: an officer signs only what is there to be looked at")
    in_force = folder / "in-force.json"
    found = changes(staged, in_force.read_bytes() if in_force.is_file() else None)
    signed = sign_metadata(staged, keys, root)
    temporary = staged_path.with_suffix(".new")
    temporary.write_bytes(signed)
    temporary.replace(staged_path)
    return found


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
