"""Grants that officers signed: checked here before a device is asked, written down, passed on by ``ingest/``.

The collector carries what was signed and can make none. It refuses what a device would refuse, so that the officer
hears it at once; the device judges again by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, func, insert, select

from schoolkeeper_collector.devices import announcing
from schoolkeeper_collector.ledger import queue
from schoolkeeper_collector.school.repository import Repository
from schoolkeeper_collector.store.tables import devices, grant_states, grants
from schoolkeeper_policies.filekinds import wrong_kind
from schoolkeeper_proto import bundle, granting, policy, rollout, trust, wire
from schoolkeeper_proto.codec import WireFormatError, decode, encode
from schoolkeeper_proto.wire import GrantKind

MAX_BYTES = 1 << 20
_APPLIED = ("applied", "in-place", "on", "not-confirmed", "rolled-back", "failed")
"""States of a device that took a grant and still has it, whatever became of it there."""


class GrantError(Exception):
    """A grant that is not published; says why and what would help. Nothing is stored."""


class GrantState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    REVOKED = "revoked"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantLine:
    """One grant as it is listed; the counts are of devices that said so."""

    grant_id: bytes
    kind: GrantKind
    statement: wire.GrantStatement
    state: GrantState
    created_ms: int
    applied: int
    ended: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLine:
    """What one device last said of a grant."""

    device_id: bytes
    hostname: str
    state: str
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a grant is checked beside: officers of the root, and each group's bundles in force."""

    school_id: str
    officers: tuple[granting.Officer, ...]
    grounds: Mapping[str, tuple[granting.Ground, ...]]


def beside(repository: Repository, school_id: str) -> Beside:
    """As it is published now. While a rollout runs, a group has two bundles, and a grant must suit both."""
    chain = repository.root_chain()
    root = trust.check_root_chain(chain, hashlib.sha256(chain[0]).digest())
    now = repository.current()
    grounds: dict[str, tuple[granting.Ground, ...]] = {}
    for group, (sha256, _) in now.bundles.items():
        names = [(trust.bundle_target(group), sha256)]
        plan = now.plans.get(group)
        if plan is not None:
            names.append((rollout.previous_target(group), plan.from_bundle_hash))
        files = [
            repository.read_file(f"targets/{trust.target_file_name(name, digest.hex())}")
            for name, digest in names
        ]
        grounds[group] = tuple(_ground(data, school_id, group) for data in files)
    keys = decode(policy.KeyStatement, now.key_statement)
    return Beside(school_id=school_id, officers=granting.officers_of(root, keys), grounds=grounds)


def publish(connection: Connection, beside_what: Beside, data: bytes, now_ms: int) -> wire.GrantStatement:
    """Checks a serialised ``Grant``, stores it and its line in the ledger. Publishing it again changes nothing.

    Raises ``GrantError``.
    """
    grant, statement = _read(data)
    school_id = beside_what.school_id
    where = (grants.c.school_id == school_id, grants.c.grant_id == statement.grant_id)
    held = connection.execute(select(grants.c.grant_bytes).where(*where)).scalar()
    if held is not None:
        if bytes(held) == encode(grant):
            return statement
        raise GrantError(
            f"another grant {statement.grant_id.hex()} is published: sign a new one with an id of its own"
        )
    _check(connection, beside_what, grant, statement, now_ms)
    row = {
        "school_id": school_id,
        "grant_id": statement.grant_id,
        "grant_bytes": encode(grant),
        "kind": statement.kind.value,
        "created_ms": now_ms,
        "expires_ms": statement.expires_unix_ms,
    }
    connection.execute(insert(grants).values(row))
    announcing.announce(connection, school_id, statement, now_ms)
    said = wire.PolicyStatement(
        school_id=school_id,
        name=f"grants/{statement.grant_id.hex()}",
        version=1,
        sha256=hashlib.sha256(encode(grant)).digest(),
        at_unix_ms=now_ms,
    )
    entry = wire.LedgerEntry(type=wire.StatementType.POLICY, statement=encode(said))
    queue.submit(connection, school_id, entry, now_ms)
    return statement


def list_grants(connection: Connection, school_id: str, now_ms: int) -> list[GrantLine]:
    """Every grant, the newest first."""
    rows = connection.execute(
        select(grants).where(grants.c.school_id == school_id).order_by(grants.c.created_ms.desc())
    ).all()
    found = [(row, decode(wire.GrantStatement, _grant_in(bytes(row.grant_bytes)))) for row in rows]
    revoked = {
        grant_id
        for _, said in found
        if said.kind is GrantKind.REVOKE
        for grant_id in granting.payload_of(said).grant_ids
    }
    counts = _counts(connection, school_id)
    return [
        GrantLine(
            grant_id=said.grant_id,
            kind=said.kind,
            statement=said,
            state=_state(said, now_ms, revoked=said.grant_id in revoked),
            created_ms=row.created_ms,
            applied=sum(counts.get((said.grant_id, state), 0) for state in _APPLIED),
            ended=sum(counts.get((said.grant_id, state), 0) for state in ("ended", "off")),
            refused=counts.get((said.grant_id, "refused"), 0),
        )
        for row, said in found
    ]


def find_grant(connection: Connection, school_id: str, text: str, now_ms: int) -> GrantLine:
    """The one grant whose id begins so; raises ``GrantError``."""
    found = [
        line
        for line in list_grants(connection, school_id, now_ms)
        if text and line.grant_id.hex().startswith(text.lower())
    ]
    if len(found) != 1:
        raise GrantError(
            f"{'no' if not found else len(found)} grants begin with {text!r}: see `schoolkeeper-collector grant list`"
        )
    return found[0]


def devices_of(connection: Connection, school_id: str, grant_id: bytes) -> list[DeviceLine]:
    """What devices said of it. A device that said nothing is not here: it has not heard, or has not told."""
    query = (
        select(
            devices.c.device_id,
            devices.c.hostname,
            grant_states.c.state,
            grant_states.c.reason,
            grant_states.c.at_ms,
        )
        .join(devices, devices.c.device_no == grant_states.c.device_no)
        .where(grant_states.c.school_id == school_id, grant_states.c.grant_id == grant_id)
        .order_by(devices.c.hostname, devices.c.device_no)
    )
    return [
        DeviceLine(
            device_id=bytes(row.device_id),
            hostname=row.hostname,
            state=row.state,
            reason=row.reason,
            at_ms=row.at_ms,
        )
        for row in connection.execute(query)
    ]


def _read(data: bytes) -> tuple[wire.Grant, wire.GrantStatement]:
    if len(data) > MAX_BYTES:
        raise GrantError(f"the grant has {len(data)} bytes, {MAX_BYTES} are allowed: name fewer devices")
    remedy = "take the file that `schoolkeeper-officer grant` wrote"
    wrong = GrantError(wrong_kind("the file", "a signed grant (.skgrant)", data, remedy))
    try:
        grant = decode(wire.Grant, data)
        statement = decode(wire.GrantStatement, grant.statement)
    except WireFormatError as error:
        raise wrong from error
    if not statement.school_id:
        # Protobuf reads almost anything as an empty message.
        raise wrong
    return grant, statement


def _check(
    connection: Connection,
    beside_what: Beside,
    grant: wire.Grant,
    statement: wire.GrantStatement,
    now_ms: int,
) -> None:
    if statement.school_id != beside_what.school_id:
        raise GrantError(
            f"the grant is of the school {statement.school_id!r}, this is {beside_what.school_id!r}"
        )
    if now_ms >= statement.expires_unix_ms:
        raise GrantError("the grant has expired: sign a new one")
    signers = granting.signers_of(grant, beside_what.officers)
    live = select(grants.c.grant_id, grants.c.kind).where(grants.c.school_id == beside_what.school_id)
    held = {bytes(row.grant_id): GrantKind(row.kind) for row in connection.execute(live)}
    groups = _groups(connection, beside_what, statement)
    for group in groups or [""]:
        for ground in beside_what.grounds.get(group, (granting.Ground(),)):
            found = granting.check(statement, signers, ground, held=held)
            if isinstance(found, granting.Refused):
                where = f" (for the group {group})" if len(groups) > 1 else ""
                raise GrantError(f"not permitted: {found.reason}{where}")


def _groups(connection: Connection, beside_what: Beside, statement: wire.GrantStatement) -> list[str]:
    """The groups whose policy it stands beside."""
    for group in statement.groups:
        if group not in beside_what.grounds:
            raise GrantError(
                f"there is no group {group!r}; groups with a signed bundle: {', '.join(sorted(beside_what.grounds))}"
            )
    found = set(statement.groups)
    for device_id in statement.device_ids:
        where = (devices.c.school_id == beside_what.school_id, devices.c.device_id == device_id)
        row = connection.execute(select(devices.c.device_group, devices.c.status).where(*where)).first()
        if row is None or row.status != "active":
            raise GrantError(f"there is no device {device_id.hex()} in use: see `device list`")
        found.add(row.device_group)
    return sorted(found)


def _ground(data: bytes, school_id: str, group: str) -> granting.Ground:
    manifest = decode(policy.BundleManifest, decode(policy.PolicyBundle, data).manifest)
    opened = bundle.open_bundle(
        data,
        school_id=school_id,
        group=group,
        capabilities=frozenset(manifest.required_capabilities),
    )
    return granting.ground_of(opened)


def _grant_in(data: bytes) -> bytes:
    return decode(wire.Grant, data).statement


def _state(said: wire.GrantStatement, now_ms: int, *, revoked: bool) -> GrantState:
    if now_ms >= said.expires_unix_ms:
        return GrantState.OVER
    if revoked:
        return GrantState.REVOKED
    return GrantState.WAITING if now_ms < said.not_before_unix_ms else GrantState.RUNNING


def _counts(connection: Connection, school_id: str) -> dict[tuple[bytes, str], int]:
    query = (
        select(grant_states.c.grant_id, grant_states.c.state, func.count())
        .where(grant_states.c.school_id == school_id)
        .group_by(grant_states.c.grant_id, grant_states.c.state)
    )
    return {(bytes(grant_id), state): count for grant_id, state, count in connection.execute(query)}
