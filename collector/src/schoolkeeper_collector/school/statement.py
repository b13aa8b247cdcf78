"""The key statement: the school's working keys and addresses, which officers sign as the target ``keys``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from schoolkeeper_collector.school import certificates
from schoolkeeper_collector.school.keys import ServiceKeys
from schoolkeeper_proto import checkpoint, policy
from schoolkeeper_proto.statements import ed25519_key_id, key_id_of

INGEST_KEY_DAYS = 400
RETIRING_DAYS = 30
_DAY_MS = 86_400_000


def make_statement(
    keys: ServiceKeys,
    *,
    school_name: str,
    officers: Sequence[policy.OfficerKey],
    uplink: Sequence[str],
    enrolment: Sequence[str],
    now_ms: int,
) -> policy.KeyStatement:
    """The first statement of a school; addresses are ``host:port``, tried in this order."""
    ingest = keys.ingest[keys.ingest_newest]
    ledger = keys.ledger.public_key()
    command = keys.command.public_key
    return policy.KeyStatement(
        school_id=keys.school_id,
        school_name=school_name,
        version=1,
        issued_unix_ms=now_ms,
        ca_certificates=(certificates.der(keys.ca_certificate),),
        ingest_keys=(
            policy.IngestKey(
                key_id=keys.ingest_newest,
                kem="X25519",
                public_key=ingest.public_key().public_bytes_raw(),
                not_before_unix_ms=0,
                advertised_until_unix_ms=now_ms + INGEST_KEY_DAYS * _DAY_MS,
            ),
        ),
        ledger_keys=(
            policy.VerificationKey(
                key_id=key_id_of(ledger), public_key=ledger.public_bytes_raw(), generation=1
            ),
        ),
        command_keys=(
            policy.VerificationKey(key_id=keys.command.key_id, public_key=command.public_bytes_raw()),
        ),
        officers=tuple(officers),
        uplink_addresses=tuple(uplink),
        enrolment_addresses=tuple(enrolment),
        ledger_origin=checkpoint.origin_of(keys.school_id, 1),
    )


def with_officers(
    held: policy.KeyStatement, gone: Collection[str], new: Sequence[policy.OfficerKey], now_ms: int
) -> policy.KeyStatement:
    """The next statement, without some officers and with others: evidence is sealed to these from now on."""
    others = tuple(officer for officer in held.officers if officer.officer_id not in gone)
    return replace(held, version=held.version + 1, issued_unix_ms=now_ms, officers=(*others, *new))


def with_ledger_keys(held: policy.KeyStatement, keys: Sequence[bytes], now_ms: int) -> policy.KeyStatement:
    """The next statement, with exactly these ledger keys (raw Ed25519), those known before as they were."""
    known = {key.public_key: key for key in held.ledger_keys}
    generation = max((key.generation for key in held.ledger_keys), default=1)
    listed = tuple(
        known.get(raw)
        or policy.VerificationKey(key_id=ed25519_key_id(raw), public_key=raw, generation=generation)
        for raw in keys
    )
    return replace(held, version=held.version + 1, issued_unix_ms=now_ms, ledger_keys=listed)


def with_authorities(
    held: policy.KeyStatement, certificates_der: Sequence[bytes], now_ms: int
) -> policy.KeyStatement:
    """The next statement, with exactly these certificate authorities (DER)."""
    return replace(
        held, version=held.version + 1, issued_unix_ms=now_ms, ca_certificates=tuple(certificates_der)
    )


def with_ingest_key(held: policy.KeyStatement, new: policy.IngestKey, now_ms: int) -> policy.KeyStatement:
    """The next statement, with one more ingest key; the older ones are advertised for 30 more days at most."""
    older = tuple(
        replace(
            key, advertised_until_unix_ms=min(key.advertised_until_unix_ms, now_ms + RETIRING_DAYS * _DAY_MS)
        )
        for key in held.ingest_keys
    )
    return replace(held, version=held.version + 1, issued_unix_ms=now_ms, ingest_keys=(*older, new))


def ingest_entry(key_id: bytes, public_key: bytes, now_ms: int) -> policy.IngestKey:
    return policy.IngestKey(
        key_id=key_id,
        kem="X25519",
        public_key=public_key,
        not_before_unix_ms=now_ms,
        advertised_until_unix_ms=now_ms + INGEST_KEY_DAYS * _DAY_MS,
    )


def with_addresses(
    held: policy.KeyStatement, uplink: Sequence[str], enrolment: Sequence[str], now_ms: int
) -> policy.KeyStatement:
    """The next statement, with other addresses: a signed move. Keep the old ones in it until all devices came."""
    return replace(
        held,
        version=held.version + 1,
        issued_unix_ms=now_ms,
        uplink_addresses=tuple(uplink),
        enrolment_addresses=tuple(enrolment),
    )
