"""Signing staged metadata after it was reviewed. Pure but for the folder that is read and written back."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from schoolkeeper_policies.officer import record
from schoolkeeper_policies.officer.keyfile import OfficerKeys
from schoolkeeper_policies.officer.memory import Memory
from schoolkeeper_policies.officer.review import Review, review
from schoolkeeper_policies.officer.staged import (
    Answer,
    Staged,
    StagedError,
    read_folder,
    signed_part_sha256,
    write_signed,
)
from schoolkeeper_proto import trust

tuf_key_id = trust.tuf_key_id


class SigningError(ValueError):
    """Nothing was signed; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """``staged`` with the new signature in it; ``answer`` is what goes back; ``memory`` is to be kept."""

    staged: Staged
    answer: Answer
    memory: Memory


def sign_reviewed(staged: Staged, seen: Review, keys: OfficerKeys) -> Signed:
    """Signs what was reviewed. Raises ``SigningError``: not this school's key, or something is lacking.

    A root key signs a staged root and nothing else; an officer's key signs the targets.
    """
    if _is_root_key(keys, staged):
        if not staged.has_new_root:
            raise SigningError(
                "no new root is staged: a root key has nothing to sign; put it back in its envelope"
            )
        signed = staged.signed(root=sign_metadata(staged.root, keys, None))
        return Signed(staged=signed, answer=answer_of(signed, seen.school_id), memory=seen.seen)
    if seen.lacks:
        raise SigningError(
            "this change weakens a safeguarding rule and may not be signed, because it lacks:\n  - "
            + "\n  - ".join(seen.lacks)
        )
    signed = staged.signed(targets=sign_metadata(staged.targets, keys, seen.root))
    memory = replace(
        seen.seen, signed=seen.seen.signed | {str(seen.version): signed_part_sha256(staged.targets)}
    )
    return Signed(staged=signed, answer=answer_of(signed, seen.school_id), memory=memory)


def answer_of(staged: Staged, school_id: str) -> Answer:
    """All signatures that a staged change bears now."""
    return Answer(
        school_id=school_id,
        version=trust.unchecked_targets(staged.targets).version,
        targets_sha256=signed_part_sha256(staged.targets),
        root_sha256=signed_part_sha256(staged.root),
        targets_signatures=_signatures(staged.targets),
        root_signatures=_signatures(staged.root) if staged.has_new_root else (),
    )


def with_answer(staged: Staged, answer: Answer, root_in_force: trust.RootView) -> Staged:
    """The staged change with an answer's good signatures added. Raises ``SigningError``; then nothing is added.

    A signature is taken only if it verifies: under the root to come for targets, under either root for a root.
    """
    if answer.targets_sha256 != signed_part_sha256(staged.targets) or (
        answer.root_signatures and answer.root_sha256 != signed_part_sha256(staged.root)
    ):
        raise SigningError(
            "these signatures are over another change than the one that waits: it was staged anew since; "
            "download it again and sign that"
        )
    root = trust.read_root(staged.root)
    targets = _merged(staged.targets, answer.targets_signatures, [(root, "targets")])
    new_root = None
    if staged.has_new_root:
        new_root = _merged(staged.root, answer.root_signatures, [(root, "root"), (root_in_force, "root")])
    return staged.signed(targets=targets, root=new_root)


def sign_metadata(data: bytes, keys: OfficerKeys, root: trust.RootView | None) -> bytes:
    """The metadata with this officer's signature added or renewed. Raises ``SigningError``.

    With a ``root``, a key that the root does not know for targets is refused before it signs in vain.
    """
    document = json.loads(data)
    raw = keys.signing.public_key().public_bytes_raw()
    key_id = trust.tuf_key_id(raw)
    if root is not None:
        key_id = _known_as(raw, root)
    message = trust.canonical_json(document["signed"])
    others = [entry for entry in document["signatures"] if entry.get("keyid") != key_id]
    others.append({"keyid": key_id, "sig": keys.signing.sign(message).hex()})
    document["signatures"] = others
    return json.dumps(document, sort_keys=True).encode()


def sign_staged(folder: Path, keys: OfficerKeys) -> Review:
    """Reviews and signs a staged folder in place, for a script without a memory: pinned to the key's or folder's root.

    Raises ``SigningError``, ``TrustRefused`` or ``RecordError``. People use ``schoolkeeper-officer sign``.
    """
    try:
        staged = read_folder(folder)
    except StagedError as error:
        raise SigningError(str(error)) from error
    pinned = keys.root_sha256 or trust.sha256(staged.roots[0])
    seen = review(staged, Memory(root_sha256=pinned), time.time_ns() // 1_000_000)
    write_signed(folder, sign_reviewed(staged, seen, keys).staged)
    return seen


def _is_root_key(keys: OfficerKeys, staged: Staged) -> bool:
    raw = keys.signing.public_key().public_bytes_raw()
    views = [trust.read_root(data) for data in {staged.root, staged.roots[-1]}]
    return any(view.keys[key_id] == raw for view in views for key_id in view.roles["root"].key_ids)


def _known_as(raw: bytes, root: trust.RootView) -> str:
    for key_id in root.roles["targets"].key_ids:
        if root.keys[key_id] == raw:
            return key_id
    raise SigningError(
        "the school's root does not list this key for policy: it was replaced, or it is the file of another school"
    )


def _signatures(metadata: bytes) -> tuple[dict[str, str], ...]:
    document: dict[str, Any] = json.loads(metadata)
    return tuple({"keyid": entry["keyid"], "sig": entry["sig"]} for entry in document["signatures"])


def _merged(
    metadata: bytes, offered: tuple[dict[str, str], ...], roles: list[tuple[trust.RootView, str]]
) -> bytes:
    document: dict[str, Any] = json.loads(metadata)
    held = {entry["keyid"]: entry for entry in document["signatures"]}
    for entry in offered:
        alone = json.dumps({"signed": document["signed"], "signatures": [entry]}).encode()
        if any(trust.signers(alone, root.keys, root.roles[role]) for root, role in roles):
            held[entry["keyid"]] = entry
        else:
            raise SigningError(
                f"the signature of key {entry['keyid'][:16]} is not valid for this change, or not of this school"
            )
    document["signatures"] = list(held.values())
    return json.dumps(document, sort_keys=True).encode()


def require_signed_record(seen: Review) -> None:
    """Before a publication: what a weakening change names must have signed. Raises ``RecordError``."""
    record.require(seen.record, seen.changes, seen.root, seen.statement, seen.signed_by)
