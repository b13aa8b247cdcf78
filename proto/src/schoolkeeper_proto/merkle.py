"""RFC 6962 / RFC 9162 Merkle trees as pure functions over stored nodes. Imports hashlib and nothing else.

A node is addressed as ``(level, index)``: level 0 holds leaf hashes, and node ``(l, i)`` covers leaves
``i * 2**l`` up to ``(i + 1) * 2**l``. Only complete nodes are stored; what a proof needs of the ragged right edge
is put together from them. Ask ``*_nodes`` which nodes a proof needs, read those, then hand them in.
All hashes are SHA-256, 32 bytes.
"""

from __future__ import annotations

import hashlib

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """RFC 6962 section 2.1: the hash of one leaf's data."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 section 2.1: the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def new_nodes(size: int, leaf: bytes, nodes: dict[tuple[int, int], bytes]) -> list[tuple[int, int, bytes]]:
    """The complete nodes ``(level, index, hash)`` that a leaf hash appended to a tree of ``size`` leaves adds.

    ``nodes`` must hold the peaks of the tree (``peaks(size)``).
    """
    added = [(0, size, leaf)]
    level, index, value = 0, size, leaf
    while index & 1:
        value = node_hash(nodes[level, index - 1], value)
        level, index = level + 1, index >> 1
        added.append((level, index, value))
    return added


def peaks(size: int) -> list[tuple[int, int]]:
    """Addresses of the largest complete nodes that cover a tree of ``size`` leaves, left to right."""
    found = []
    start = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            found.append((level, start >> level))
            start += 1 << level
    return found


def root(size: int, nodes: dict[tuple[int, int], bytes]) -> bytes:
    """The root of a tree of ``size`` leaves from its peaks."""
    return _range_hash(0, size, nodes) if size else EMPTY_ROOT


def tree_nodes(leaves: list[bytes]) -> dict[tuple[int, int], bytes]:
    """Every complete node of a small tree over the given leaf hashes."""
    nodes: dict[tuple[int, int], bytes] = {}
    for size, leaf in enumerate(leaves):
        for level, index, value in new_nodes(size, leaf, nodes):
            nodes[level, index] = value
    return nodes


def tree_root(leaves: list[bytes]) -> bytes:
    """The root over the given leaf hashes, computed level by level."""
    if not leaves:
        return EMPTY_ROOT
    sha256 = hashlib.sha256
    row = leaves
    while len(row) > 1:
        paired = [sha256(b"\x01" + row[i] + row[i + 1]).digest() for i in range(0, len(row) - 1, 2)]
        if len(row) & 1:
            paired.append(row[-1])
        row = paired
    return row[0]


def inclusion_nodes(index: int, size: int) -> list[tuple[int, int]]:
    """Stored nodes that ``inclusion_path`` needs."""
    _check_index(index, size)
    return [node for begin, end in _inclusion_ranges(index, 0, size) for node in _cover(begin, end)]


def inclusion_path(index: int, size: int, nodes: dict[tuple[int, int], bytes]) -> list[bytes]:
    """RFC 9162 section 2.1.3.1: the proof that leaf ``index`` is in the tree of ``size`` leaves.

    Raises ``IndexError`` for a leaf outside the tree and ``KeyError`` for a node that was not handed in.
    """
    _check_index(index, size)
    return [_range_hash(begin, end, nodes) for begin, end in _inclusion_ranges(index, 0, size)]


def consistency_nodes(old: int, new: int) -> list[tuple[int, int]]:
    """Stored nodes that ``consistency_path`` needs."""
    _check_sizes(old, new)
    return [node for begin, end in _consistency_ranges(old, new) for node in _cover(begin, end)]


def consistency_path(old: int, new: int, nodes: dict[tuple[int, int], bytes]) -> list[bytes]:
    """RFC 9162 section 2.1.4.1: the proof that the tree of ``new`` leaves extends that of ``old``.

    Empty for equal sizes and for an empty old tree. Raises ``IndexError`` when ``old`` is the larger.
    """
    _check_sizes(old, new)
    return [_range_hash(begin, end, nodes) for begin, end in _consistency_ranges(old, new)]


def verify_inclusion(leaf: bytes, index: int, size: int, path: list[bytes], expected_root: bytes) -> bool:
    """RFC 9162 section 2.1.3.2: whether ``path`` proves the leaf hash at ``index`` under ``expected_root``."""
    if not 0 <= index < size:
        return False
    position, last = index, size - 1
    value = leaf
    for sibling in path:
        if last == 0 or len(sibling) != HASH_SIZE:
            return False
        if position & 1 or position == last:
            value = node_hash(sibling, value)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and value == expected_root


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, path: list[bytes]) -> bool:
    """RFC 9162 section 2.1.4.2: whether ``path`` proves that the new tree extends the old one.

    An empty old tree is extended by every tree, but only its true root is accepted.
    """
    if old < 0 or old > new or any(len(item) != HASH_SIZE for item in path):
        return False
    if old == new:
        return old_root == new_root and not path
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    if not path:
        return False
    hashes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_value = new_value = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old_value = node_hash(sibling, old_value)
            new_value = node_hash(sibling, new_value)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new_value = node_hash(new_value, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old_value == old_root and new_value == new_root


def _split(count: int) -> int:
    """The largest power of two smaller than ``count`` (count > 1)."""
    return 1 << ((count - 1).bit_length() - 1)


def _cover(begin: int, end: int) -> list[tuple[int, int]]:
    """Addresses of the complete nodes that make up leaves ``begin`` to ``end``, left to right."""
    found = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        found.append((level, begin >> level))
        begin += 1 << level
    return found


def _range_hash(begin: int, end: int, nodes: dict[tuple[int, int], bytes]) -> bytes:
    """The subtree hash of leaves ``begin`` to ``end``; ranges come from RFC splits, so covers fold from the right."""
    hashes = [nodes[address] for address in _cover(begin, end)]
    value = hashes.pop()
    while hashes:
        value = node_hash(hashes.pop(), value)
    return value


def _inclusion_ranges(index: int, begin: int, end: int) -> list[tuple[int, int]]:
    """Leaf ranges of the siblings on the way from the leaf to the root, nearest first."""
    found = []
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((begin, middle))
            begin = middle
    return found[::-1]


def _consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    if old in (0, new):
        return []
    found = []
    begin, end, whole = 0, new, True
    while old != end:
        middle = begin + _split(end - begin)
        if old <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((begin, middle))
            begin, whole = middle, False
    if not whole:
        found.append((begin, end))
    return found[::-1]


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise IndexError(f"leaf {index} is not in a tree of {size}")


def _check_sizes(old: int, new: int) -> None:
    if not 0 <= old <= new:
        raise IndexError(f"a tree of {new} does not extend one of {old}")
