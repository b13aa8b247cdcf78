"""FileVault on APFS and on CoreStorage, told from what their own headers say of every volume (T-45).

Sources: Apple File System Reference (2020-06-22); for CoreStorage libfvde's 'FileVault Drive Encryption format' and
the layout that cryptsetup reads, checked against the image of its own tests, which macOS made.
"""

from __future__ import annotations

import re
import struct

from schoolkeeper_agent.sensors.linux.volume import Content, Read
from schoolkeeper_proto.model import MediumEncryption

_UNKNOWN, _PLAIN, _FILEVAULT = MediumEncryption.UNKNOWN, MediumEncryption.NONE, MediumEncryption.FILEVAULT

_MOST_CHECKPOINTS, _MOST_VOLUMES = 1024, 100
_BTREE_ROOT, _BTREE_LEAF, _BTREE_FIXED = 1, 2, 4
_NODE_HEAD, _TREE_INFO = 56, 40
_UNENCRYPTED = 0x1
_ROLLING_AT = 976

_CS_BLOCK, _CS_LOOKED_AT, _CS_GAP = 8192, 64, 8
"""Bytes of an encrypted metadata block; how many are looked at; so many that are none in a row are the end."""
_CONTEXT = 0x19
_SAID = re.compile(
    rb"<key>(VolumeKeyIndex|BlockAlgorithm|TargetContext|ConversionStatus|DefaultEncryptionContext"
    rb"|com\.apple\.corestorage\.lvf\.(?:uuid|sequence))</key>"
    rb'<(?:(?:string|integer)[^>]*>([^<]*)<|reference IDREF="(\d+)")'
)
_NAMED = re.compile(rb'<(?:string|integer)[^>]* ID="(\d+)"[^>]*>([^<]*)<')


def apfs(head: bytes, read: Read, start: int, length: int) -> Content | None:
    """The newest superblock, its object map, and in it each volume: encrypted only if all are, to the end."""
    if head[32:36] != b"NXSB":
        return None
    kind = _containers_kind(head, read, start, length)
    return Content(encryption=kind, file_system="apfs")


def _containers_kind(head: bytes, read: Read, start: int, length: int) -> MediumEncryption:
    size = int.from_bytes(head[36:40], "little")
    if size not in (4096, 8192, 16384, 32768, 65536):
        return MediumEncryption.APFS

    def block(number: int, most: int = size) -> bytes:
        return read(start + number * size, most) if 0 < number < length // size else b""

    newest = _newest_superblock(head, block)
    if newest is None:
        return MediumEncryption.APFS
    (object_map,) = struct.unpack_from("<Q", newest, 160)
    volumes = {one for one in struct.unpack_from(f"<{_MOST_VOLUMES}Q", newest, 184) if one}
    mapped = block(object_map, 56)
    places = _leaf(block(int.from_bytes(mapped[48:56], "little"))) if len(mapped) == 56 else None
    if not volumes or places is None or volumes - places.keys():
        return MediumEncryption.APFS
    kinds = [_volumes_kind(block(places[one], _ROLLING_AT + 8)) for one in volumes]
    return next((kind for kind in (_PLAIN, MediumEncryption.APFS) if kind in kinds), _FILEVAULT)


def _newest_superblock(head: bytes, block: Read) -> bytes | None:
    """Of the checkpoints; the one in the first block may be older than they are. ``block`` takes a block's number."""
    count, _, base = struct.unpack_from("<IIQ", head, 104)
    if not 0 < count <= _MOST_CHECKPOINTS:  # the highest bit: scattered, as a tree
        return None
    found = [head[:4096]]
    for number in range(base, base + count):
        one = block(number, 1 << 11)
        if one[32:36] == b"NXSB" and len(one) == 1 << 11:
            found.append(one)
    return max(found, key=lambda one: int.from_bytes(one[16:24], "little"))


def _leaf(node: bytes) -> dict[int, int] | None:
    """Object -> block, of an object map that fits into one node; None for a deeper one."""
    if len(node) < 4096:
        return None
    flags, level, count, table, table_size = struct.unpack_from("<HHIHH", node, 32)
    if level or flags & 7 != _BTREE_ROOT | _BTREE_LEAF | _BTREE_FIXED or count > table_size // 4:
        return None
    newest: dict[int, tuple[int, int]] = {}
    keys, values = _NODE_HEAD + table + table_size, len(node) - _TREE_INFO
    for number in range(count):
        at = _NODE_HEAD + table + 4 * number
        if at + 4 > len(node):
            return None
        key, value = struct.unpack_from("<HH", node, at)
        if keys + key + 16 > len(node) or not 16 <= value <= values:
            return None
        object_id, transaction = struct.unpack_from("<QQ", node, keys + key)
        (place,) = struct.unpack_from("<Q", node, values - value + 8)
        newest[object_id] = max(newest.get(object_id, (0, 0)), (transaction, place))
    return {object_id: place for object_id, (_, place) in newest.items()}


def _volumes_kind(superblock: bytes) -> MediumEncryption:
    if superblock[32:36] != b"APSB" or len(superblock) < _ROLLING_AT + 8:
        return MediumEncryption.APFS
    (flags,) = struct.unpack_from("<Q", superblock, 264)
    (rolling,) = struct.unpack_from("<Q", superblock, _ROLLING_AT)
    return _PLAIN if flags & _UNENCRYPTED or rolling else _FILEVAULT


def core_storage(head: bytes, read: Read, start: int, length: int) -> Content | None:
    """The key of its metadata lies in the header: it is no secret, and only what they say tells of encryption."""
    if head[88:90] != b"CS" or head[8:12] != b"\x01\x00\x10\x00":
        return None
    unknown = Content(encryption=_UNKNOWN, file_system="corestorage")
    size, _, label = struct.unpack_from("<IIQ", head, 96)
    key_size, method = struct.unpack_from("<II", head, 168)
    if size not in (4096, 8192) or (key_size, method) != (16, 2) or not 0 < label < length // size:
        return unknown
    (place,) = struct.unpack_from("<I", read(start + label * size, 224).ljust(224, b"\0"), 220)
    if not 0 < place < 1 << 16:
        return unknown
    described = read(start + label * size + place, 40)
    if len(described) < 40:
        return unknown
    count, at = struct.unpack_from("<Q", described, 8)[0], struct.unpack_from("<Q", described, 32)[0]
    if not 0 < at < length // size:
        return unknown
    contexts = _contexts(head[176:192] + head[304:320], read, start + at * size, count)
    return Content(encryption=_conversion(contexts), file_system="corestorage")


def _contexts(key: bytes, read: Read, at: int, count: int) -> list[bytes] | None:
    """Every record of how a family of volumes is encrypted; None where there are more than are looked at."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    if key[:16] == key[16:]:
        return None  # no key for XTS
    found: list[bytes] = []
    strange = 0
    for number in range(min(count, _CS_LOOKED_AT + 1)):
        if strange >= _CS_GAP:
            return found
        sealed = read(at + number * _CS_BLOCK, _CS_BLOCK)
        if number == _CS_LOOKED_AT or len(sealed) < _CS_BLOCK:
            return None
        cipher = Cipher(algorithms.AES(key), modes.XTS(number.to_bytes(16, "little")))
        block = cipher.decryptor().update(sealed)
        version, kind = struct.unpack_from("<HH", block, 8)
        (own,) = struct.unpack_from("<Q", block, 32)
        strange = 0 if version == 1 and own == number else strange + 1
        if kind == _CONTEXT and not strange:
            found.append(block)
    return found


def _conversion(blocks: list[bytes] | None) -> MediumEncryption:
    """By the newest record of each family: encrypted is a conversion that is complete, to a key that has a cipher."""
    newest: dict[bytes, tuple[int, MediumEncryption]] = {}
    for block in blocks or ():
        ids = dict(_NAMED.findall(block))
        said: dict[bytes, bytes] = {}
        ciphers: dict[bytes, bytes] = {}
        for name, value, reference in _SAID.findall(block):
            said[name] = ids.get(reference, b"") if reference else value
            if name == b"BlockAlgorithm":
                ciphers[said.get(b"VolumeKeyIndex", b"")] = said[name]
        family = said.get(b"com.apple.corestorage.lvf.uuid", b"")
        try:
            sequence = int(said.get(b"com.apple.corestorage.lvf.sequence", b""), 16)
        except ValueError:
            return _UNKNOWN
        newest[family] = max(newest.get(family, (-1, _UNKNOWN)), (sequence, _said(said, ciphers)))
    kinds = [kind for _, kind in newest.values()]
    if not kinds:
        return _UNKNOWN
    return next((kind for kind in (_PLAIN, _UNKNOWN) if kind in kinds), _FILEVAULT)


def _said(said: dict[bytes, bytes], ciphers: dict[bytes, bytes]) -> MediumEncryption:
    target = said.get(b"TargetContext", b"")
    if said.get(b"ConversionStatus") != b"Complete" or said.get(b"DefaultEncryptionContext") != target:
        return _PLAIN if b"ConversionStatus" in said else _UNKNOWN
    known = {b"AES-XTS": _FILEVAULT, b"None": _PLAIN}
    return known.get(ciphers.get(target, b""), _UNKNOWN)
