"""The tree against the textbook: recursive definitions of RFC 9162, and every proof both ways."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from schoolkeeper_proto import merkle


def textbook_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return merkle.EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(textbook_root(leaves[:split]), textbook_root(leaves[split:]))


def leaves_of(count: int) -> list[bytes]:
    return [merkle.leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


# RFC 6962 test inputs of the Certificate Transparency reference implementation.
REFERENCE_INPUTS = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
REFERENCE_ROOT_OF_8 = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_the_reference_tree_of_certificate_transparency() -> None:
    leaves = [merkle.leaf_hash(bytes.fromhex(text)) for text in REFERENCE_INPUTS]
    assert merkle.tree_root(leaves).hex() == REFERENCE_ROOT_OF_8


@settings(deadline=None)
@given(st.integers(0, 300))
def test_roots_agree_with_the_textbook(count: int) -> None:
    leaves = leaves_of(count)
    assert merkle.tree_root(leaves) == textbook_root(leaves)
    assert merkle.root(count, merkle.tree_nodes(leaves)) == textbook_root(leaves)


@settings(deadline=None)
@given(st.data())
def test_inclusion_holds_for_the_leaf_and_for_nothing_else(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 200))
    index = data.draw(st.integers(0, count - 1))
    leaves = leaves_of(count)
    nodes = merkle.tree_nodes(leaves)
    root = merkle.tree_root(leaves)
    needed = {address: nodes[address] for address in merkle.inclusion_nodes(index, count)}
    path = merkle.inclusion_path(index, count, needed)
    assert merkle.verify_inclusion(leaves[index], index, count, path, root)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"other"), index, count, path, root)
    assert not merkle.verify_inclusion(leaves[index], index, count, path, merkle.leaf_hash(b"root"))
    assert not merkle.verify_inclusion(leaves[index], index, count, [*path, root], root)
    if path:
        assert not merkle.verify_inclusion(leaves[index], index, count, path[:-1], root)
        flipped = bytes([path[0][0] ^ 1]) + path[0][1:]
        assert not merkle.verify_inclusion(leaves[index], index, count, [flipped, *path[1:]], root)
    other = data.draw(st.integers(0, count - 1))
    if other != index:
        assert not merkle.verify_inclusion(leaves[index], other, count, path, root)


@settings(deadline=None)
@given(st.data())
def test_consistency_holds_for_a_true_prefix_only(data: st.DataObject) -> None:
    new = data.draw(st.integers(0, 200))
    old = data.draw(st.integers(0, new))
    leaves = leaves_of(new)
    nodes = merkle.tree_nodes(leaves)
    old_root, new_root = merkle.tree_root(leaves[:old]), merkle.tree_root(leaves)
    needed = {address: nodes[address] for address in merkle.consistency_nodes(old, new)}
    path = merkle.consistency_path(old, new, needed)
    assert merkle.verify_consistency(old, old_root, new, new_root, path)
    lie = merkle.leaf_hash(b"rewritten")
    assert not merkle.verify_consistency(old, lie, new, new_root, path)
    if old not in (0, new):
        assert not merkle.verify_consistency(old, old_root, new, lie, path)
        assert not merkle.verify_consistency(old, old_root, new, new_root, path[:-1])
    rewritten = [*leaves[: max(old - 1, 0)], lie, *leaves[old:]]
    if old:
        forked = merkle.tree_root(rewritten)
        forked_path = merkle.consistency_path(old, new, merkle.tree_nodes(rewritten))
        assert not merkle.verify_consistency(old, old_root, new, forked, forked_path) or forked == new_root


@settings(deadline=None, max_examples=200)
@given(
    st.integers(-3, 40),
    st.integers(-3, 40),
    st.lists(st.binary(min_size=30, max_size=33), max_size=8),
    st.binary(min_size=32, max_size=32),
)
def test_no_made_up_proof_is_believed(first: int, second: int, path: list[bytes], root: bytes) -> None:
    leaf = merkle.leaf_hash(b"x")
    if second != 1:
        assert not merkle.verify_inclusion(leaf, first, second, path, root)
    if first != second:
        assert not merkle.verify_consistency(first, leaf, second, root, path)
