"""BitLocker and BitLocker To Go, told from the volume's header and every copy of its metadata (T-45).

Encrypted is only what every copy calls encrypted to the end, by a cipher, under keys none of which lies there in the
clear. Suspended protection ('clear key') and a volume that is being encrypted or decrypted are plain: whoever finds
the stick reads it. Used-space-only encryption counts: what is written from now on is encrypted.

Sources: libbde, 'BitLocker Drive Encryption (BDE) format'; cryptsetup's and dislocker's names of the states; checked
against the images of cryptsetup's own tests, which Windows made.
"""

from __future__ import annotations

import struct

from schoolkeeper_agent.sensors.linux.volume import Content, Read
from schoolkeeper_proto.model import MediumEncryption

SIGNATURE = b"-FVE-FS-"
_TO_GO = b"MSWIN4.1"
_GUIDS = (
    bytes.fromhex("3bd66749292ed84a8399f6a339e3d001"),
    bytes.fromhex("3b4da89280dd0e4d9e4eb1e3284eaed8"),  # begun as used-space-only, or encrypted on writing
)
_GUID_AT, _TO_GO_GUID_AT = 160, 424
_BLOCK, _HEADER = 64, 48
"""Bytes of a copy's own header and of the header of the metadata after it."""
_MOST = 64 << 10
_DECRYPTED, _ENCRYPTED = 1, 4
_CIPHERS = range(0x8000, 0x8006)
"""AES-CBC with and without diffuser, XTS-AES; 0 is none."""
_KEY_ENTRY, _CLEAR_KEY = 2, 0
_PROTECTION_AT = 34
"""In an entry of a master key: its head (8), identifier (16), time (8), 2 bytes, then what protects it."""

_PLAIN, _UNKNOWN = MediumEncryption.NONE, MediumEncryption.UNKNOWN


def is_to_go(head: bytes) -> bool:
    """A FAT in front with a reader for old systems in it; all else on the medium is BitLocker's."""
    return head[3:11] == _TO_GO and head[_TO_GO_GUID_AT : _TO_GO_GUID_AT + 16] in _GUIDS


def bitlocker(head: bytes, read: Read, start: int, length: int) -> Content | None:
    """A label alone proves nothing: the metadata must be where the header says."""
    if is_to_go(head):
        name, at = "bitlocker-to-go", _TO_GO_GUID_AT
    elif head[3:11] == SIGNATURE and head[_GUID_AT : _GUID_AT + 16] in _GUIDS:
        name, at = "bitlocker", _GUID_AT
    else:
        return None
    offsets = struct.unpack_from("<3Q", head, at + 16)
    copies = [
        _copy(read, start + offset, min(_MOST, length - offset)) for offset in offsets if 0 < offset < length
    ]
    found = [copy for copy in copies if copy is not None]
    if not found:
        return Content(encryption=_UNKNOWN, file_system=name)
    # Which copy a system goes by hangs on checksums: the worst counts.
    kind, said = min(found, key=lambda one: (_PLAIN, _UNKNOWN, MediumEncryption.BITLOCKER).index(one[0]))
    return Content(encryption=kind, file_system=f"{name}{said}")


def _copy(read: Read, at: int, most: int) -> tuple[MediumEncryption, str] | None:
    """(what it says of the volume, what is added to its name); None where there is no copy."""
    head = read(at, _BLOCK + _HEADER)
    if head[:8] != SIGNATURE or len(head) < _BLOCK + _HEADER:
        return None
    version, now, then = struct.unpack_from("<HHH", head, 10)
    size, _, width = struct.unpack_from("<III", head, _BLOCK)
    (method,) = struct.unpack_from("<H", head, _BLOCK + 36)
    if version != 2 or width != _HEADER or not width <= size <= most - _BLOCK:
        return _UNKNOWN, ""
    if now == then == _DECRYPTED or method == 0:
        return _PLAIN, "-decrypted"
    if (now, then) != (_ENCRYPTED, _ENCRYPTED):
        return _PLAIN, "-unfinished"
    protections = _protections(read(at + _BLOCK + _HEADER, size - width), size - width)
    if protections is None or not protections or method not in _CIPHERS:
        return _UNKNOWN, ""
    if _CLEAR_KEY in protections:
        return _PLAIN, "-suspended"
    return MediumEncryption.BITLOCKER, ""


def _protections(entries: bytes, length: int) -> list[int] | None:
    """What protects each copy of the master key; None where the entries do not add up."""
    if len(entries) != length:
        return None
    found: list[int] = []
    at = 0
    while at + 8 <= length:
        size, kind = struct.unpack_from("<HH", entries, at)
        if size == 0 and not any(entries[at:]):
            break
        if size < 8 or at + size > length:
            return None
        if kind == _KEY_ENTRY:
            if size < _PROTECTION_AT + 2:
                return None
            found += struct.unpack_from("<H", entries, at + _PROTECTION_AT)
        at += size
    return found
