"""Changes of people and keys, as `stage` prepares them: the next root and the next key statement, unsigned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_collector.school import certificates, roots, rotation
from schoolkeeper_collector.school.escrow import put_in_escrow
from schoolkeeper_collector.school.keys import ServiceKeys, add_ingest_key, ingest_key_id
from schoolkeeper_collector.school.repository import Repository, RepositoryError
from schoolkeeper_collector.school.statement import (
    ingest_entry,
    with_authorities,
    with_ingest_key,
    with_ledger_keys,
    with_officers,
)
from schoolkeeper_policies.officer.keyfile import read_public, read_public_root
from schoolkeeper_proto import policy, trust
from schoolkeeper_proto.codec import decode

LEAST_OFFICERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWish:
    """What `stage` was asked for. ``officer_files``: what new officers handed in; names are of officers who leave."""

    leaving: tuple[str, ...] = ()
    officer_files: tuple[Path, ...] = ()
    root_key_gone: str = ""
    root_key_file: Path | None = None
    new_online_key: bool = False
    new_ledger_key: bool = False
    retire_ledger_key: bool = False
    new_ca: bool = False
    retire_ca: bool = False
    new_ingest_key: bool = False

    @property
    def needs_root(self) -> bool:
        return bool(self.leaving or self.officer_files or self.root_key_gone or self.new_online_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChanges:
    """``root`` and ``online_key`` None: as they are. ``said``: what the person at the keyboard must know."""

    statement: policy.KeyStatement
    root: bytes | None = None
    online_key: bytes | None = None
    said: tuple[str, ...] = ()


def prepare(state_dir: Path, keys: ServiceKeys, wish: KeyWish, now_ms: int) -> KeyChanges:
    """Raises ``RepositoryError`` or ``KeyFileError`` for what cannot be; a next key that was made waits for its use."""
    repository = Repository(state_dir)
    statement = decode(policy.KeyStatement, repository.current().key_statement)
    handed_in = [read_public(path) for path in wish.officer_files]
    if wish.leaving or handed_in:
        statement = with_officers(statement, wish.leaving, [key for key, _ in handed_in], now_ms)
    said: list[str] = []
    if wish.new_ledger_key or wish.retire_ledger_key:
        statement = with_ledger_keys(statement, _ledger_keys(state_dir, keys, wish), now_ms)
        said.append(_AFTER_LEDGER if wish.new_ledger_key else "Devices believe the old ledger key no longer.")
    if wish.new_ca or wish.retire_ca:
        statement = with_authorities(statement, _authorities(state_dir, keys, wish), now_ms)
        said.append(_AFTER_CA if wish.new_ca else "Devices believe the old authority no longer.")
    if wish.new_ingest_key:
        key = add_ingest_key(state_dir)
        entry = ingest_entry(ingest_key_id(key), key.public_key().public_bytes_raw(), now_ms)
        statement = with_ingest_key(statement, entry, now_ms)
        path = put_in_escrow(state_dir / "escrow", statement.school_id, key, statement.officers)
        said.append(f"In escrow: {path}; keep a copy with the backup.\n{_AFTER_INGEST}")
    online = rotation.next_signing_key(state_dir, rotation.ONLINE) if wish.new_online_key else None
    if online is not None:
        said.append(
            "After `publish` restart the collector at once: it signs with the new online key from then on."
        )
    raw = online.public_key().public_bytes_raw() if online else None
    root = _next_root(repository, wish, handed_in, raw, now_ms) if wish.needs_root else None
    return KeyChanges(statement=statement, root=root, online_key=raw, said=tuple(said))


_AFTER_INGEST = (
    "Restart the collector BEFORE you publish: devices seal to the new key from then on, and a running collector does "
    "not hold it yet."
)
_AFTER_LEDGER = (
    "After `publish`, when the devices have it (`device list`): `schoolkeeper-collector switch ledger`, restart, then "
    "`stage-keys --retire-ledger-key`."
)
_AFTER_CA = (
    "After `publish`, when the devices have it (`device list`): `schoolkeeper-collector switch ca`, restart, then "
    "`stage-keys --retire-ca`. A device that was away meanwhile must enrol again."
)


def _next_root(
    repository: Repository,
    wish: KeyWish,
    handed_in: list[tuple[policy.OfficerKey, trust.Duty]],
    online: bytes | None,
    now_ms: int,
) -> bytes:
    current = repository.root_chain()[-1]
    if bool(wish.root_key_gone) is not bool(wish.root_key_file):
        raise RepositoryError(
            "--replace-root-key needs --root-key-by: the file of the new root key, and the other way"
        )
    change = roots.RootChange(
        officers_gone=wish.leaving,
        officers_new=tuple(
            roots.OfficerPublic(officer=key.officer_id, duty=duty, signing_key=key.signing_key)
            for key, duty in handed_in
        ),
        root_key_gone=_root_key(current, wish.root_key_gone) if wish.root_key_gone else None,
        root_key_new=read_public_root(wish.root_key_file) if wish.root_key_file else None,
        online_key_new=online,
    )
    try:
        made = roots.next_root(current, change, now_ms)
    except LookupError as error:
        raise RepositoryError(str(error)) from error
    view = trust.read_root(made)
    if len({duty.officer for duty in view.duties.values()}) < LEAST_OFFICERS:
        raise RepositoryError(
            f"fewer than {LEAST_OFFICERS} officers would be left, so that one who is ill stops every change: "
            "replace the one who leaves with --replace-officer NAME --by FILE"
        )
    return made


def _root_key(root: bytes, begins: str) -> bytes:
    view = trust.read_root(root)
    found = [
        view.keys[k] for k in view.roles["root"].key_ids if view.keys[k].hex().startswith(begins.lower())
    ]
    if len(found) != 1:
        known = ", ".join(sorted(view.keys[k].hex()[:16] for k in view.roles["root"].key_ids))
        raise RepositoryError(f"{begins!r} names no single root key; the root lists {known}")
    return found[0]


def _ledger_keys(state_dir: Path, keys: ServiceKeys, wish: KeyWish) -> list[bytes]:
    current = keys.ledger.public_key().public_bytes_raw()
    if wish.new_ledger_key:
        new = rotation.next_signing_key(state_dir, rotation.LEDGER).public_key().public_bytes_raw()
        return [current, new]
    if not keys.ledger_retired:
        raise RepositoryError("no ledger key was switched away from: `switch ledger` comes first")
    return [current]


def _authorities(state_dir: Path, keys: ServiceKeys, wish: KeyWish) -> list[bytes]:
    current = certificates.der(keys.ca_certificate)
    if wish.new_ca:
        return [current, certificates.der(rotation.next_authority(state_dir, keys.school_id))]
    if not keys.ca_retired:
        raise RepositoryError("no authority was switched away from: `switch ca` comes first")
    return [current]
