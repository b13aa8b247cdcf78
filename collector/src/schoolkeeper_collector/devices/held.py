"""Devices that officers took off the network or hold as lost: what was asked, and what the device itself says of it.

What was asked is never shown as done (rule 5): only the device's own word makes it so, and a release counts as asked
until the device says that it let go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, select

from schoolkeeper_collector.store.tables import devices, grant_states, grants, posture
from schoolkeeper_proto import granting, wire
from schoolkeeper_proto.codec import decode
from schoolkeeper_proto.wire import GrantKind

ENCRYPTION = "disk-encryption"
_KINDS = tuple(
    kind.value for kind in (GrantKind.ISOLATE, GrantKind.LOST, GrantKind.RELEASE, GrantKind.REVOKE)
)
_HOLDS = frozenset({"in-place", "on", "not-confirmed"})
_GONE = frozenset({"off", "ended"})


class HeldState(StrEnum):
    """What may be said of it to a person."""

    ASKED = "asked"
    TAKEN = "taken"
    """The device has the grant, and has not said yet that it did it."""
    IN_PLACE = "in-place"
    ON = "on"
    NOT_CONFIRMED = "not-confirmed"
    ROLLED_BACK = "rolled-back"
    FAILED = "failed"
    REFUSED = "refused"
    RELEASE_ASKED = "release-asked"
    """Released or over by its time, and the device has not said that it let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One device under one grant. ``by``: officers whose signature is valid now; ``said_ms`` 0: it said nothing yet."""

    grant_id: bytes
    kind: GrantKind
    device_id: bytes
    hostname: str
    serial: str
    asked_ms: int
    until_ms: int
    by: tuple[str, ...]
    state: HeldState
    detail: str
    said_ms: int
    last_contact_ms: int | None
    last_address: str
    quiet_by: str = ""
    """Whose ground a quiet isolation stands on; empty when anybody may see it."""
    ground: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """The last answer of the check of disk encryption. ``result`` is empty when there was none."""

    result: str = ""
    evaluated_ms: int = 0
    since_ms: int = 0
    words: str = ""


def held_devices(
    connection: Connection, school_id: str, officers: Iterable[granting.Officer], now_ms: int
) -> tuple[Held, ...]:
    """Everything asked and not known to be over, the newest first."""
    officers = tuple(officers)
    rows = connection.execute(
        select(grants.c.grant_id, grants.c.grant_bytes, grants.c.created_ms)
        .where(grants.c.school_id == school_id, grants.c.kind.in_(_KINDS))
        .order_by(grants.c.created_ms.desc())
    ).all()
    read = [(row, decode(wire.Grant, bytes(row.grant_bytes))) for row in rows]
    statements = {bytes(row.grant_id): decode(wire.GrantStatement, grant.statement) for row, grant in read}
    ended = {
        grant_id
        for said in statements.values()
        if said.kind in (GrantKind.RELEASE, GrantKind.REVOKE)
        for grant_id in granting.payload_of(said).grant_ids
    }
    found: list[Held] = []
    for row, grant in read:
        said = statements[bytes(row.grant_id)]
        if said.kind in granting.CONFINING:
            by = tuple(one.officer_id for one in granting.signers_of(grant, officers))
            over = said.grant_id in ended or now_ms >= said.expires_unix_ms
            found += _of_grant(connection, school_id, said, row.created_ms, by, over=over)
    return tuple(found)


def encryption_of(connection: Connection, school_id: str, device_id: bytes) -> Encryption:
    """What the device last said of its disk."""
    row = connection.execute(
        select(posture)
        .join(devices, devices.c.device_no == posture.c.device_no)
        .where(
            posture.c.school_id == school_id,
            posture.c.check_name == ENCRYPTION,
            devices.c.device_id == device_id,
        )
    ).first()
    if row is None:
        return Encryption()
    return Encryption(
        result=row.result,
        evaluated_ms=row.evaluated_ms,
        since_ms=row.since_ms,
        words=row.unknown_because or row.evidence,
    )


def _of_grant(
    connection: Connection,
    school_id: str,
    said: wire.GrantStatement,
    created_ms: int,
    by: tuple[str, ...],
    *,
    over: bool,
) -> list[Held]:
    whom = devices.c.device_id.in_(said.device_ids) | devices.c.device_group.in_(said.groups)
    own = (grant_states.c.device_no == devices.c.device_no) & (grant_states.c.grant_id == said.grant_id)
    rows = connection.execute(
        select(devices, grant_states.c.state, grant_states.c.reason, grant_states.c.at_ms)
        .join(grant_states, own, isouter=True)
        .where(devices.c.school_id == school_id, devices.c.status == "active", whom)
        .order_by(devices.c.hostname, devices.c.device_no)
    ).all()
    terms = granting.payload_of(said).isolation
    found = []
    for row in rows:
        state = _state(row.state or "", over=over)
        if state is None:
            continue
        found.append(
            Held(
                grant_id=said.grant_id,
                kind=said.kind,
                device_id=bytes(row.device_id),
                hostname=row.hostname,
                serial=row.serial,
                asked_ms=created_ms,
                until_ms=said.expires_unix_ms,
                by=by,
                state=state,
                detail=row.reason or "",
                said_ms=row.at_ms or 0,
                last_contact_ms=row.last_contact_ms,
                last_address=row.last_address,
                quiet_by=terms.ground_by if terms is not None and terms.quiet else "",
                ground=terms.ground_reference if terms is not None else "",
            )
        )
    return found


def _state(word: str, *, over: bool) -> HeldState | None:
    """None when nothing of it is in place, asked or owed any more."""
    if over:
        # "ended" is the grant's own end; the device says "off" when it let go of what was in place.
        return HeldState.RELEASE_ASKED if word in _HOLDS | {"applied", "failed"} else None
    if word in _GONE:
        return None
    if not word:
        return HeldState.ASKED
    return HeldState.TAKEN if word == "applied" else HeldState(word)
