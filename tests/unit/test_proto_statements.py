"""Signatures hold for their own kind of statement and their own bytes."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schoolkeeper_proto import statements as s

P256 = s.P256Signer(ec.generate_private_key(ec.SECP256R1()))
ED = s.Ed25519Signer(Ed25519PrivateKey.generate())


@pytest.mark.parametrize("signer", [P256, ED], ids=["p256", "ed25519"])
def test_a_signature_is_of_one_kind_and_one_text(signer: s.Signer) -> None:
    signed = s.sign(s.BATCH, b"statement", signer)
    assert signed.key_id == signer.key_id == s.key_id_of(signer.public_key)
    s.verify(s.BATCH, b"statement", signed.signature, signer.public_key)
    for domain, text in ((s.GRANT, b"statement"), (s.BATCH, b"Statement")):
        with pytest.raises(s.StatementError, match=domain):
            s.verify(domain, text, signed.signature, signer.public_key)


def test_signed_time_is_of_this_school_and_of_a_known_key() -> None:
    raw = ED.public_key.public_bytes_raw()
    time = s.sign_time("westgate.example", 1_800_000_000_000, ED)
    assert s.verify_time(time, "westgate.example", {ED.key_id: raw}) == 1_800_000_000_000
    assert s.ed25519_key_id(raw) == ED.key_id
    with pytest.raises(s.StatementError, match="another school"):
        s.verify_time(time, "other.example", {ED.key_id: raw})
    with pytest.raises(s.StatementError, match="known command key"):
        s.verify_time(time, "westgate.example", {})


def test_the_chain_follows_the_header() -> None:
    assert s.chain_value(b"a") != s.chain_value(b"b")
    assert len(s.chain_value(b"a")) == 32
