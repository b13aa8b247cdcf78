"""Why one person has an override: readable by those who protect children, and by nobody else."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_policies import model
from schoolkeeper_policies.reasons import (
    ReasonError,
    open_reason,
    pseudonym_of,
    readers_of,
    seal_reason,
)
from schoolkeeper_policies.registers import parse_register
from schoolkeeper_proto import policy
from schoolkeeper_proto.people import person_group
from support.language import KEY, REGISTER

DSL, SENCO, TECHNICIAN = (X25519PrivateKey.generate() for _ in range(3))
WORDS = "Needs the reading program in every lesson."


def officer(name: str, duty: str, key: X25519PrivateKey) -> policy.OfficerKey:
    raw = key.public_key().public_bytes_raw()
    return policy.OfficerKey(key_id=b"k", officer_id=name, duties=(duty,), sealing_key=raw, signing_key=raw)


KEYS = policy.KeyStatement(
    school_id="s",
    school_name="S",
    version=1,
    issued_unix_ms=1,
    officers=(
        officer("ann", "dsl", DSL),
        officer("bob", "senco", SENCO),
        officer("cy", "technician", TECHNICIAN),
    ),
)


def test_those_who_protect_children_read_it_and_the_technician_does_not() -> None:
    sealed = seal_reason(WORDS, override_id="o1", school_id="s", recipients=readers_of(KEYS))
    assert WORDS not in sealed.file
    for key in (DSL, SENCO):
        assert open_reason(sealed.file, reason_hash=sealed.hash, private_key=key) == WORDS
    with pytest.raises(ReasonError, match="does not open"):
        open_reason(sealed.file, reason_hash=sealed.hash, private_key=TECHNICIAN)


def test_the_same_words_have_another_hash_each_time() -> None:
    one, two = (seal_reason(WORDS, override_id="o", school_id="s", recipients=readers_of(KEYS)) for _ in "ab")
    assert one.hash != two.hash
    with pytest.raises(ReasonError, match="not those"):
        open_reason(one.file, reason_hash=two.hash, private_key=DSL)


def test_the_file_of_one_override_is_not_that_of_another() -> None:
    sealed = seal_reason(WORDS, override_id="o1", school_id="s", recipients=readers_of(KEYS))
    moved = json.dumps({**json.loads(sealed.file), "override": "o2"})
    with pytest.raises(ReasonError, match="does not open"):
        open_reason(moved, reason_hash=sealed.hash, private_key=DSL)


@pytest.mark.parametrize(
    "file", ["", "{}", "[]", '{"format": 1, "sealed": "!", "override": "o", "school": "s"}']
)
def test_what_is_no_sealed_reason(file: str) -> None:
    with pytest.raises(ReasonError, match=r"not a sealed reason|a sealed reason, and damaged"):
        open_reason(file, reason_hash="", private_key=DSL)


def test_a_reason_needs_words_and_a_reader() -> None:
    with pytest.raises(ReasonError, match="empty"):
        seal_reason(" ", override_id="o", school_id="s", recipients=readers_of(KEYS))
    with pytest.raises(ReasonError, match="no officer"):
        seal_reason(WORDS, override_id="o", school_id="s", recipients=())


def test_the_pseudonym_of_an_override_is_the_persons_on_a_device() -> None:
    register = parse_register(REGISTER, model.Register(file="r.csv"), file="r.csv")
    pseudonym = pseudonym_of(register, "P1", KEY)
    assert person_group(bytes.fromhex(pseudonym)) == f"person:{pseudonym}"
    assert pseudonym != pseudonym_of(register, "P2", KEY)
    with pytest.raises(ReasonError, match="nobody with the id 'P9'"):
        pseudonym_of(register, "P9", KEY)
