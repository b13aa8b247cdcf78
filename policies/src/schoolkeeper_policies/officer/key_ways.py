"""Adding and removing the ways that open a key file, in its place.

The passphrase stays as the way to recover: a passkey is added and removed with it, and a forgotten passphrase is
replaced with a passkey. Only the copy that is changed knows of it: an officer's second copy keeps its own ways.
"""

from __future__ import annotations

from pathlib import Path

from schoolkeeper_policies.officer import keyfile, ways
from schoolkeeper_policies.officer.keyfile import KeyFileError, OfficerKeys
from schoolkeeper_policies.officer.passkey import Passkey
from schoolkeeper_policies.officer.ways import PasskeyWay, PassphraseWay, Way


def passkeys(path: Path) -> tuple[PasskeyWay, ...]:
    """The passkeys that open the file, in the order in which they were added. Raises ``KeyFileError``."""
    return tuple(way for way in keyfile.ways_of(path) if isinstance(way, PasskeyWay))


def described(path: Path) -> list[str]:
    """A line for each way that opens the file. Raises ``KeyFileError``."""
    if not keyfile.is_protected(path):
        return ["opens without a passphrase: it belongs to a demonstration"]
    return ["passphrase"] + [
        f"passkey     {way.passkey.way_id}  {way.passkey.name}, added {way.added}" for way in passkeys(path)
    ]


def add_passkey(path: Path, passphrase: str, held: Passkey, secret: bytes, *, today: str) -> None:
    """Raises ``KeyFileError``; then the file is as it was."""
    keys, file_key, found = _opened(path, passphrase)
    if any(isinstance(way, PasskeyWay) and way.passkey.way_id == held.way_id for way in found):
        raise KeyFileError(f"{path} opens with this passkey already")
    if len(found) >= ways.MAX_WAYS:
        raise KeyFileError(f"{path} opens in {len(found)} ways already: remove a passkey first")
    owner = keyfile.owner_of(keys)
    _save(path, keys, file_key, (*found, ways.by_passkey(owner, file_key, held, secret, today)))


def remove_passkey(path: Path, passphrase: str, way_id: str) -> str:
    """Returns the passkey's name. Raises ``KeyFileError``; then the file is as it was."""
    keys, file_key, found = _opened(path, passphrase)
    gone = [way for way in found if isinstance(way, PasskeyWay) and way.passkey.way_id == way_id]
    if not gone:
        raise KeyFileError(f"{path} has no passkey {way_id!r}: `schoolkeeper-officer keys ways` lists them")
    _save(path, keys, file_key, tuple(way for way in found if way not in gone))
    return gone[0].passkey.name


def replace_passphrase(path: Path, way_id: str, secret: bytes, passphrase: str) -> None:
    """A new passphrase for one that was forgotten, by a passkey. Raises ``KeyFileError``."""
    keyfile.check_passphrase(passphrase)
    keys, file_key = keyfile.opened_by_passkey(path, way_id, secret)
    fresh = ways.by_passphrase(keyfile.owner_of(keys), file_key, passphrase)
    kept = (way for way in keyfile.ways_of(path) if not isinstance(way, PassphraseWay))
    _save(path, keys, file_key, (fresh, *kept))


def _opened(path: Path, passphrase: str) -> tuple[OfficerKeys, bytes, tuple[Way, ...]]:
    if not keyfile.is_protected(path):
        raise KeyFileError(
            f"{path} belongs to a demonstration and has no passphrase, so that a passkey would guard nothing: "
            f"`schoolkeeper-officer keys passphrase {path} --to NEW`"
        )
    keys, file_key = keyfile.opened(path, passphrase)
    if file_key:
        return keys, file_key, keyfile.ways_of(path)
    file_key = ways.new_file_key()
    return keys, file_key, (ways.by_passphrase(keyfile.owner_of(keys), file_key, passphrase),)


def _save(path: Path, keys: OfficerKeys, file_key: bytes, held: tuple[Way, ...]) -> None:
    keyfile.replace(path, keyfile.locked(keys, file_key, held))
