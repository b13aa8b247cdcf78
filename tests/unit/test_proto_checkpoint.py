"""Signed checkpoints: the format of C2SP, and nothing believed that a known key did not sign."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from schoolkeeper_proto import checkpoint as cp

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes_raw()
POINT = cp.Checkpoint(origin=cp.origin_of("westgate.example", 3), size=70, root=b"r" * 32)


def test_a_signed_checkpoint_verifies_and_names_its_generation() -> None:
    note = cp.sign(POINT, KEY)
    assert cp.verify(note, [PUBLIC]) == POINT
    assert cp.generation_of(POINT.origin) == 3
    assert note.splitlines()[:2] == ["westgate.example/ledger/3", "70"]


def test_a_witness_line_changes_nothing() -> None:
    note = cp.sign(POINT, KEY)
    witness = "\N{EM DASH} witness.example AAAAAAAAAAAA\n"
    assert cp.verify(note + witness, [PUBLIC]) == POINT


def test_another_key_another_size_another_origin_are_refused() -> None:
    note = cp.sign(POINT, KEY)
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    for changed, keys in (
        (note, [stranger]),
        (note, []),
        (note.replace("\n70\n", "\n71\n"), [PUBLIC]),
        (note.replace("westgate", "eastgate"), [PUBLIC]),
    ):
        with pytest.raises(cp.CheckpointError, match="not signed by a known ledger key"):
            cp.verify(changed, keys)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "a\n1\nAAAA\n",
        "a\n01\n" + "A" * 43 + "=\n\n\N{EM DASH} a AAAA\n",
        "\n\n\n",
        "x" * 20_000,
        "a\n-1\nAA==\n\n- a b\n",
    ],
)
def test_what_is_no_checkpoint_is_named_so(note: str) -> None:
    with pytest.raises(cp.CheckpointError):
        cp.parse(note)


@given(st.text(max_size=300))
def test_any_text_gives_a_checkpoint_or_a_named_error(text: str) -> None:
    try:
        cp.verify(text, [PUBLIC])
    except cp.CheckpointError:
        return
    raise AssertionError("a made-up note was believed")


def test_verifier_keys_are_read_back_even_with_a_plus_in_their_base64() -> None:
    for _ in range(50):
        public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        assert cp.parse_verifier_key(cp.verifier_key("a.example", public)) == ("a.example", public)
    with pytest.raises(cp.CheckpointError):
        cp.parse_verifier_key("a.example+00000000+" + "A" * 44)


def test_base64_with_a_letter_outside_ascii_is_a_named_error() -> None:
    """Found by the fuzzer: the standard library raises another error for it than for other bad base64."""
    note = cp.sign(POINT, KEY)
    body, _, tail = note.rpartition(" ")
    with pytest.raises(cp.CheckpointError, match="not a note signature"):
        cp.verify(f"{body} é{tail}", [PUBLIC])
    with pytest.raises(cp.CheckpointError, match="root is not base64"):
        cp.parse(note.replace("\n70\n", "\n70\né", 1))
