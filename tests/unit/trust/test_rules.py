"""The rules of trust that both sides share, without any network."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical

from schoolkeeper_collector.school import roots
from schoolkeeper_proto import enrolment_token, trust
from schoolkeeper_proto.names import NameRefused, check_group, check_school_id, device_uri, parse_device_uri

NOW_MS = 1_780_000_000_000
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


class Roots:
    """Keys of a small school, and its roots."""

    def __init__(self) -> None:
        self.offline = [Ed25519PrivateKey.generate() for _ in range(3)]
        self.online = Ed25519PrivateKey.generate()
        self.technical = Ed25519PrivateKey.generate()
        self.safeguarding = Ed25519PrivateKey.generate()

    def root(self, version: int = 1, *, person: str = "dsl") -> bytes:
        officers = [
            roots.OfficerPublic(officer="it", duty=trust.Duty.TECHNICAL, signing_key=raw(self.technical)),
            roots.OfficerPublic(
                officer=person, duty=trust.Duty.SAFEGUARDING, signing_key=raw(self.safeguarding)
            ),
        ]
        return roots.make_root(
            version=version,
            root_keys=[raw(key) for key in self.offline],
            officers=officers,
            online_key=raw(self.online),
            now_ms=NOW_MS,
        )


@given(_JSON)
def test_canonical_json_is_that_of_the_update_framework(value: object) -> None:
    assert trust.canonical_json({"v": value}).decode() == encode_canonical({"v": value})


@given(st.binary(max_size=300))
def test_no_bytes_upset_the_readers(data: bytes) -> None:
    for read in (trust.read_root, trust.unchecked_targets, trust.expiry_of):
        with pytest.raises(trust.TrustRefused):
            read(data)


@given(st.dictionaries(st.text(), _JSON, max_size=3), st.sampled_from(["root", "targets"]))
def test_no_document_upsets_the_readers(body: dict[str, object], kind: str) -> None:
    data = json.dumps({"signed": {**body, "_type": kind}, "signatures": []}).encode()
    for read in (trust.read_root, trust.unchecked_targets):
        with pytest.raises(trust.TrustRefused):
            read(data)


@pytest.mark.parametrize(
    "field",
    [
        '"version": Infinity, "expires": "2030-01-01T00:00:00Z"',
        '"version": 1, "expires": "0001-01-01T00:00:00"',
        '"version": 1, "expires": ' + "[" * 950 + "]" * 950,
        '"version": 1, "x": "\\ud800", "expires": "2030-01-01T00:00:00Z"',
        '"version": 1, "x": ' + "[" * 950 + "]" * 950 + ', "expires": "2030-01-01T00:00:00Z"',
    ],
)
def test_odd_numbers_dates_and_depths_are_refused_and_nothing_else(field: str) -> None:
    school = Roots()
    view = trust.read_root(school.root())
    data = ('{"signed": {"_type": "targets", "targets": {}, ' + field + '}, "signatures": []}').encode()
    with pytest.raises(trust.TrustRefused):
        trust.read_targets(data, view)


def test_a_chain_of_roots_is_followed_from_the_pin() -> None:
    school = Roots()
    first = roots.sign(school.root(1), *school.offline[:2])
    second = roots.sign(school.root(2), *school.offline[1:])
    pin = trust.sha256(first)
    assert trust.check_root_chain([first, second], pin).version == 2
    third = roots.sign(school.root(4), *school.offline)
    with pytest.raises(trust.TrustRefused, match="does not follow"):
        trust.check_root_chain([first, second, third], pin)
    with pytest.raises(trust.TrustRefused, match="1 of 2 distinct keys"):
        trust.check_root_chain([first, roots.sign(school.root(2), school.offline[0])], pin)
    with pytest.raises(trust.TrustRefused) as caught:
        trust.check_root_chain([second], pin)
    assert caught.value.reason == "wrong-school"


def test_one_key_signing_twice_is_one_signature() -> None:
    school = Roots()
    document = json.loads(roots.sign(school.root(1), school.offline[0]))
    document["signatures"] *= 2
    view = trust.read_root(json.dumps(document).encode())
    with pytest.raises(trust.TrustRefused, match="1 of 2 distinct keys"):
        trust.check_root_signatures(json.dumps(document).encode(), view)


def test_one_person_under_two_duties_is_one_person() -> None:
    school = Roots()
    data = roots.make_targets(version=1, files={"keys": b"k"}, online_key=raw(school.online), now_ms=NOW_MS)
    signed = roots.sign(data, school.technical, school.safeguarding)
    assert trust.read_targets(signed, trust.read_root(school.root())).version == 1
    with pytest.raises(trust.TrustRefused) as caught:
        trust.read_targets(signed, trust.read_root(school.root(person="it")))
    assert caught.value.reason == "one-person"


@given(
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=20, max_size=20),
    st.binary(min_size=64, max_size=64),
)
def test_a_token_survives_being_pasted_and_no_slip_goes_unnoticed(a: bytes, b: bytes, c: bytes) -> None:
    token = enrolment_token.EnrolmentToken(token_id=a.hex(), secret=b, root_sha256=c[:32], ca_sha256=c[32:])
    text = token.text()
    assert enrolment_token.parse(f"  {text[:40]}\n{text[40:]} ") == token
    assert b.hex() not in repr(token)
    place = 4 + a[0] % (len(text) - 5)
    other = "A" if text[place] != "A" else "B"
    for slip in (
        text[:place] + other + text[place + 1 :],
        text[:place] + text[place + 1 :],
        text[:-3],
        "x" + text,
    ):
        with pytest.raises(enrolment_token.TokenTextError):
            enrolment_token.parse(slip)


def test_a_device_has_one_name_and_odd_names_are_refused() -> None:
    uri = device_uri("westgate.example", bytes(range(16)))
    assert uri == "spiffe://westgate.example/device/000102030405060708090a0b0c0d0e0f"
    assert parse_device_uri(uri) == ("westgate.example", bytes(range(16)))
    for odd in (uri + "/x", uri[:-1], uri.upper(), "spiffe://a/b/device/" + "0" * 32, uri + "\n"):
        with pytest.raises(NameRefused):
            parse_device_uri(odd)
    for odd in ("", "Westgate", "a/b", "-a", "a" * 64, "a\n"):
        with pytest.raises(NameRefused):
            check_school_id(odd)
        with pytest.raises(NameRefused):
            check_group(odd)
