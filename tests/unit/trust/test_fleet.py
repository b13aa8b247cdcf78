"""Devices and tokens in the store, on either database engine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select

from schoolkeeper_agent.identity import FileKey, new_key
from schoolkeeper_collector.devices import fleet, tokens
from schoolkeeper_collector.devices.attempts import FailureLimit, address_of
from schoolkeeper_collector.devices.authority import Authority, CertificateRefused, read_request
from schoolkeeper_collector.devices.identity import RevocationList
from schoolkeeper_collector.devices.refusals import Reason, Refused
from schoolkeeper_collector.school.certificates import make_ca
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_collector.store.tables import certificates, devices, enrolments, ledger_queue
from schoolkeeper_collector.store.tables import tokens as token_table
from schoolkeeper_proto import enrolment_token, statements, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.names import device_uri
from support.stores import ENGINES, StoreUrls, migrated

SCHOOL = "westgate.example"
NOW_MS = 1_780_000_000_000
DAY_MS = 86_400_000


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    urls = StoreUrls.of(request.param, tmp_path, request)
    migrated(urls.store, urls.keystore)
    opened = open_store(urls.store, urls.keystore)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(SCHOOL, *make_ca(SCHOOL))


def token(store: Store, uses: int) -> enrolment_token.EnrolmentToken:
    with store.write() as connection:
        return tokens.create_token(
            connection,
            school_id=SCHOOL,
            group="ks2-laptops",
            uses=uses,
            lifetime_ms=DAY_MS,
            root_sha256=bytes(32),
            ca_sha256=bytes(32),
            created_by="test",
            now_ms=NOW_MS,
        )


def request_of(
    made: enrolment_token.EnrolmentToken, key: FileKey | None = None, serial: str = ""
) -> wire.EnrolRequest:
    return wire.EnrolRequest(
        token_id=made.token_id,
        token_secret=made.secret,
        csr=(key or new_key()).certificate_request(),
        device=wire.DeviceDescription(hostname="laptop\x1b[2J\n", serial=serial, platform="linux"),
        request_nonce=os.urandom(32),
    )


def enrol(
    store: Store, authority: Authority, request: wire.EnrolRequest, now_ms: int = NOW_MS
) -> fleet.Enrolled:
    with store.write() as connection:
        return fleet.enrol(connection, authority, SCHOOL, request, now_ms)


def count(store: Store, table: object) -> int:
    with store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]


def test_a_token_is_never_overspent_by_laptops_at_once(store: Store, authority: Authority) -> None:
    made = token(store, uses=5)
    requests = [request_of(made) for _ in range(12)]

    def one(request: wire.EnrolRequest) -> str:
        try:
            enrol(store, authority, request)
        except Refused as error:
            return error.reason.value
        return "enrolled"

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(one, requests))
    assert sorted(answers) == ["enrolled"] * 5 + ["token-spent"] * 7
    assert [count(store, t) for t in (devices, certificates, enrolments)] == [5, 5, 5]
    assert count(store, ledger_queue) == 1 + 5
    with store.read() as connection:
        assert connection.execute(select(token_table.c.uses)).scalar() == 5


def test_the_same_request_again_is_the_same_device_and_costs_nothing(
    store: Store, authority: Authority
) -> None:
    made = token(store, uses=1)
    request = request_of(made)
    first = enrol(store, authority, request)
    again = enrol(store, authority, request, NOW_MS + 1000)
    assert (again.device_id, again.repeated) == (first.device_id, True)
    assert count(store, devices) == 1
    with store.read() as connection:
        assert connection.execute(select(token_table.c.uses)).scalar() == 1


def test_what_a_device_says_of_itself_is_cleaned_and_its_subject_ignored(
    store: Store, authority: Authority
) -> None:
    found = enrol(store, authority, request_of(token(store, uses=1), serial="PF-1\x00"))
    with store.read() as connection:
        row = connection.execute(select(devices.c.hostname, devices.c.serial)).one()
    assert tuple(row) == ("laptop[2J", "PF-1")
    certificate = found.certificate
    assert certificate.certificate.subject.rfc4514_string() == f"CN={found.device_id.hex()}"
    assert device_uri(SCHOOL, found.device_id) in str(certificate.certificate.extensions)
    assert certificate.not_after_ms - NOW_MS == 7 * DAY_MS


def renewal(key: FileKey, held: fleet.Enrolled, now_ms: int) -> wire.RenewRequest:
    csr, nonce = key.certificate_request(), os.urandom(32)
    proof = wire.RenewProof(
        certificate_hash=held.certificate.hash,
        csr_hash=hashlib.sha256(csr).digest(),
        nonce=nonce,
        signed_at_unix_ms=now_ms,
    )
    signature = statements.sign(statements.RENEWAL, encode(proof), key)
    return wire.RenewRequest(
        certificate=held.certificate.der,
        csr=csr,
        signed_at_unix_ms=now_ms,
        nonce=nonce,
        signature=signature.signature,
    )


def test_renewal_in_a_loop_makes_one_certificate(store: Store, authority: Authority) -> None:
    key = new_key()
    held = enrol(store, authority, request_of(token(store, uses=1), key))
    later = NOW_MS + 5 * DAY_MS
    with store.write() as connection:
        first, again = (
            fleet.renew(connection, authority, SCHOOL, renewal(key, held, later + n), later + n)
            for n in (0, 1000)
        )
        assert first.hash == again.hash != held.certificate.hash
        next_hour = later + 3_700_000
        other = fleet.renew(connection, authority, SCHOOL, renewal(key, held, next_hour), next_hour)
    assert other.hash != first.hash
    assert count(store, certificates) == 3


def test_serials_that_mean_nothing_join_nobody(store: Store, authority: Authority) -> None:
    made = token(store, uses=4)
    for serial in ("To be filled by O.E.M.", "To be filled by O.E.M.", "PF-1", "PF-1"):
        enrol(store, authority, request_of(made, serial=serial))
    with store.read() as connection:
        same = (
            connection.execute(select(devices.c.same_serial_as).order_by(devices.c.device_no)).scalars().all()
        )
    assert [s is not None for s in same] == [False, False, False, True]


def test_the_revocation_list_holds_devices_and_certificates(store: Store, authority: Authority) -> None:
    made = token(store, uses=2)
    stays, goes = (enrol(store, authority, request_of(made)) for _ in range(2))
    revocations = RevocationList(SCHOOL)
    with store.write() as connection:
        fleet.revoke(
            connection, school_id=SCHOOL, device_id=goes.device_id, actor="test", reason="lost", now_ms=NOW_MS
        )
        revocations.load(connection)
    assert not revocations.is_revoked(stays.certificate.hash, stays.device_id)
    assert revocations.is_revoked(goes.certificate.hash, bytes(16))
    assert revocations.is_revoked(bytes(32), goes.device_id)
    with store.write() as connection, pytest.raises(fleet.DeviceError, match="not active any more"):
        fleet.revoke(
            connection, school_id=SCHOOL, device_id=goes.device_id, actor="test", reason="x", now_ms=NOW_MS
        )


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda r: {"csr": b"nonsense"}, Reason.BAD_REQUEST),
        (lambda r: {"csr": r.csr[:-1] + bytes([r.csr[-1] ^ 1])}, Reason.BAD_REQUEST),
        (lambda r: {"request_nonce": b"short"}, Reason.BAD_REQUEST),
        (lambda r: {"token_secret": bytes(20)}, Reason.TOKEN_UNKNOWN),
        (lambda r: {"token_id": "ffffffffffffffff"}, Reason.TOKEN_UNKNOWN),
    ],
)
def test_a_bad_request_changes_nothing(
    tmp_path: Path, authority: Authority, break_it: object, reason: Reason
) -> None:
    from dataclasses import replace

    url = f"sqlite:///{tmp_path}/c.db", f"sqlite:///{tmp_path}/k.db"
    migrated(*url)
    opened = open_store(*url)
    good = request_of(token(opened, uses=1))
    assert callable(break_it)
    with pytest.raises(Refused) as caught:
        enrol(opened, authority, replace(good, **break_it(good)))
    assert caught.value.reason is reason
    assert count(opened, devices) == 0
    opened.close()


def test_only_p256_keys_of_our_own_authority_are_devices(authority: Authority) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    big = ec.generate_private_key(ec.SECP384R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(big, hashes.SHA256())
    with pytest.raises(CertificateRefused, match="P-256"):
        read_request(csr.public_bytes(serialization.Encoding.DER))
    other = Authority(SCHOOL, *make_ca(SCHOOL))
    public = read_request(new_key().certificate_request())
    foreign = other.issue(public, bytes(16), NOW_MS)
    with pytest.raises(CertificateRefused, match="not of this school's authority"):
        authority.read_der(foreign.der)
    with pytest.raises(CertificateRefused, match="names no device"):
        other.read(other.certificate)


def test_failures_are_counted_per_address_and_forgotten() -> None:
    limit = FailureLimit(allowed=2, window_ms=1000)
    here = address_of("ipv4:10.0.0.1:4711")
    assert here == "ipv4:10.0.0.1"
    limit.failed(here, 0)
    assert limit.wait_ms(here, 10) == 0
    limit.failed(here, 10)
    assert limit.wait_ms(here, 20) == 980
    assert limit.wait_ms(address_of("ipv6:[::1]:99"), 20) == 0
    assert limit.wait_ms(here, 1001) == 0
