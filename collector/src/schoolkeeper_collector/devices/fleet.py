"""Devices and their certificates in the store: every change is one transaction with its line in the ledger.

All functions are synchronous and run inside the caller's write transaction.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection, insert, select, update

from schoolkeeper_collector.devices import tokens
from schoolkeeper_collector.devices.authority import (
    Authority,
    CertificateRefused,
    DeviceCertificate,
    read_request,
)
from schoolkeeper_collector.devices.ledger_note import note
from schoolkeeper_collector.devices.refusals import Reason, Refused
from schoolkeeper_collector.store.tables import certificates, devices, enrolments
from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.names import RENEWAL_DAYS

_DAY_MS = 86_400_000
_JUST_MS = 3_600_000
SIMULATED = "simulated"
"""As ``platform``: the device is simulated and is marked so everywhere."""
_NO_SERIAL = frozenset(
    {
        "",
        "0",
        "none",
        "unknown",
        "default string",
        "to be filled by o.e.m.",
        "not specified",
        "system serial number",
    }
)


class DeviceError(Exception):
    """A device that a technician named and that cannot be changed so; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    device_id: bytes
    group: str
    certificate: DeviceCertificate
    repeated: bool
    was_in: str = ""
    """The group of the newest device before it with this serial number, active or ended; empty for none."""


def enrol(
    connection: Connection, authority: Authority, school_id: str, request: wire.EnrolRequest, now_ms: int
) -> Enrolled:
    """A new device, or the same one again for the same nonce and key. Raises ``Refused``; then nothing changed."""
    key = _requested_key(request.csr)
    if not 16 <= len(request.request_nonce) <= 64:
        raise Refused(Reason.BAD_REQUEST, "the request's nonce has fewer than 16 or more than 64 bytes")
    token = tokens.check_secret(connection, school_id, request.token_id, request.token_secret)
    key_hash = statements.key_id_of(key)
    before = connection.execute(
        select(enrolments).where(
            enrolments.c.school_id == school_id, enrolments.c.public_key_hash == key_hash
        )
    ).first()
    if before is not None:
        return _again(connection, authority, school_id, request, key, before.device_id, now_ms)
    tokens.spend(connection, school_id, token, now_ms)
    device_id = os.urandom(16)
    was_in = _group_before(connection, school_id, _clean(request.device.serial))
    _insert_device(connection, school_id, device_id, token, request, now_ms)
    connection.execute(
        insert(enrolments).values(
            school_id=school_id,
            request_nonce=request.request_nonce,
            public_key_hash=key_hash,
            token_id=token.token_id,
            device_id=device_id,
            at_ms=now_ms,
        )
    )
    certificate = _issue(connection, authority, school_id, key, device_id, now_ms)
    note(connection, school_id, f"token:{token.token_id}", "device.enrolled", _about(device_id), now_ms)
    return Enrolled(
        device_id=device_id, group=token.group, certificate=certificate, repeated=False, was_in=was_in
    )


def renew(
    connection: Connection, authority: Authority, school_id: str, request: wire.RenewRequest, now_ms: int
) -> DeviceCertificate:
    """The next certificate for an unrevoked one, expired up to 400 days, with proof of its key. Raises ``Refused``."""
    try:
        old = authority.read_der(request.certificate)
    except CertificateRefused as error:
        raise Refused(Reason.UNKNOWN_CERTIFICATE, f"{error}: enrol this device with a token") from error
    key = _requested_key(request.csr)
    proof = wire.RenewProof(
        certificate_hash=old.hash,
        csr_hash=hashlib.sha256(request.csr).digest(),
        nonce=request.nonce,
        signed_at_unix_ms=request.signed_at_unix_ms,
    )
    try:
        statements.verify(statements.RENEWAL, encode(proof), request.signature, old.public_key)
    except statements.StatementError as error:
        raise Refused(
            Reason.UNKNOWN_CERTIFICATE, f"renewal without the certificate's key: {error}"
        ) from error
    _check_renewable(connection, school_id, old, now_ms)
    held = _just_issued(connection, authority, school_id, old.device_id, key, now_ms)
    return held or _issue(connection, authority, school_id, key, old.device_id, now_ms)


def revoke(
    connection: Connection, *, school_id: str, device_id: bytes, actor: str, reason: str, now_ms: int
) -> None:
    """Ends a device: its open streams close within seconds, it gets no other certificate. Raises ``DeviceError``."""
    _set_status(connection, school_id, device_id, "revoked", now_ms, reason)
    note(connection, school_id, actor, "device.revoked", _about(device_id), now_ms, reason)


def join(connection: Connection, *, school_id: str, old: bytes, new: bytes, actor: str, now_ms: int) -> None:
    """States that ``new`` is the machine that ``old`` was: the old one's certificates end. Raises ``DeviceError``."""
    if old == new:
        raise DeviceError("a device cannot be joined into itself: name the old and the new one")
    if _status(connection, school_id, new) != "active":
        raise DeviceError(
            f"the device {new.hex()} is not active: only an active device takes over from another"
        )
    _set_status(connection, school_id, old, "joined", now_ms, "joined into another device")
    connection.execute(
        update(devices)
        .where(devices.c.school_id == school_id, devices.c.device_id == old)
        .values(joined_into=new)
    )
    connection.execute(
        update(devices)
        .where(devices.c.school_id == school_id, devices.c.device_id == new)
        .values(same_serial_as=None)
    )
    note(connection, school_id, actor, "device.joined", f"{_about(old)} into {_about(new)}", now_ms)


def move(
    connection: Connection, *, school_id: str, device_id: bytes, group: str, actor: str, now_ms: int
) -> None:
    """Puts an active device into another group; the device itself asks whether officers signed that.

    Raises ``DeviceError``.
    """
    if _status(connection, school_id, device_id) != "active":
        raise DeviceError(f"the device {device_id.hex()} is not active: only an active device can be moved")
    connection.execute(
        update(devices)
        .where(devices.c.school_id == school_id, devices.c.device_id == device_id)
        .values(device_group=group)
    )
    note(connection, school_id, actor, "device.moved", _about(device_id), now_ms, f"to the group {group}")


def group_of(connection: Connection, school_id: str, device_id: bytes) -> str:
    """The group that the collector has a device in. Raises ``DeviceError``."""
    found = connection.execute(
        select(devices.c.device_group).where(
            devices.c.school_id == school_id, devices.c.device_id == device_id
        )
    ).scalar()
    if found is None:
        raise DeviceError(f"no device {device_id.hex()}: see `schoolkeeper-collector device list`")
    return str(found)


def number_of(connection: Connection, school_id: str, device_id: bytes) -> int | None:
    """The device's row number, which facts name; None for one that is not there."""
    found = connection.execute(
        select(devices.c.device_no).where(devices.c.school_id == school_id, devices.c.device_id == device_id)
    ).scalar()
    return None if found is None else int(found)


def active_groups(connection: Connection, school_id: str) -> dict[bytes, str]:
    """Device -> group of every active device: what the signed group map says."""
    rows = connection.execute(
        select(devices.c.device_id, devices.c.device_group).where(
            devices.c.school_id == school_id, devices.c.status == "active"
        )
    )
    return {bytes(row.device_id): row.device_group for row in rows}


def find_device(connection: Connection, school_id: str, text: str) -> bytes:
    """The one device whose id begins with, or whose host name or serial is, ``text``. Raises ``DeviceError``."""
    rows = connection.execute(
        select(devices.c.device_id, devices.c.hostname, devices.c.serial).where(
            devices.c.school_id == school_id
        )
    ).all()
    wanted = text.strip().lower()
    found = {
        bytes(row.device_id)
        for row in rows
        if (len(wanted) >= 4 and bytes(row.device_id).hex().startswith(wanted))
        or wanted in (row.hostname.lower(), row.serial.lower())
    }
    if len(found) != 1:
        kind = "no device" if not found else f"{len(found)} devices"
        raise DeviceError(f"{kind} match {text!r}: give more of the id that `device list` shows")
    return found.pop()


def _again(
    connection: Connection,
    authority: Authority,
    school_id: str,
    request: wire.EnrolRequest,
    key: ec.EllipticCurvePublicKey,
    device_id: bytes,
    now_ms: int,
) -> Enrolled:
    same = connection.execute(
        select(enrolments.c.token_id).where(
            enrolments.c.school_id == school_id,
            enrolments.c.request_nonce == request.request_nonce,
            enrolments.c.public_key_hash == statements.key_id_of(key),
        )
    ).scalar()
    row = connection.execute(
        select(devices.c.device_group, devices.c.status, devices.c.serial, devices.c.machine_hash).where(
            devices.c.school_id == school_id, devices.c.device_id == device_id
        )
    ).one()
    said = request.device
    # An image made in the middle of an enrolment carries key and nonce to other machines.
    moved = row.serial != _clean(said.serial) or bytes(row.machine_hash) != said.machine_hash[:64]
    if same != request.token_id or moved:
        raise Refused(
            Reason.KEY_IN_USE,
            "this key is enrolled already, perhaps on another machine made from the same image: "
            "run `schoolkeeper-agent enrol --again`, which makes a new key",
        )
    if row.status != "active":
        raise Refused(
            Reason.REVOKED, "this device was revoked: enrol it again with a new token and a new key"
        )
    certificate = _issue(connection, authority, school_id, key, device_id, now_ms)
    return Enrolled(device_id=device_id, group=row.device_group, certificate=certificate, repeated=True)


def _insert_device(
    connection: Connection,
    school_id: str,
    device_id: bytes,
    token: tokens.TokenRow,
    request: wire.EnrolRequest,
    now_ms: int,
) -> None:
    said = request.device
    serial = _clean(said.serial)
    row = {
        "school_id": school_id,
        "device_id": device_id,
        "device_group": token.group,
        "status": "active",
        "same_serial_as": _same_serial(connection, school_id, serial),
        "simulated": said.platform == SIMULATED,
        "hostname": _clean(said.hostname),
        "serial": serial,
        "vendor": _clean(said.vendor),
        "model": _clean(said.model),
        "operating_system": _clean(said.operating_system),
        "platform": _clean(said.platform, 32),
        "agent_version": _clean(said.agent_version, 64),
        "machine_hash": said.machine_hash[:64],
        "key_storage": _clean(said.key_storage, 16),
        "token_id": token.token_id,
        "enrolled_ms": now_ms,
        "epoch": request.epoch[:16],
    }
    connection.execute(insert(devices).values(row))


def _same_serial(connection: Connection, school_id: str, serial: str) -> bytes | None:
    """The newest active device with this serial; a technician decides whether the two are one."""
    if serial.lower() in _NO_SERIAL:
        return None
    found = connection.execute(
        select(devices.c.device_id)
        .where(devices.c.school_id == school_id, devices.c.serial == serial, devices.c.status == "active")
        .order_by(devices.c.device_no.desc())
        .limit(1)
    ).scalar()
    return None if found is None else bytes(found)


def _requested_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return read_request(csr)
    except CertificateRefused as error:
        raise Refused(Reason.BAD_REQUEST, f"{error}: update the agent") from error


def _group_before(connection: Connection, school_id: str, serial: str) -> str:
    """Where a machine of this serial number was last, also one that was revoked before it came again."""
    if serial.lower() in _NO_SERIAL:
        return ""
    found = connection.execute(
        select(devices.c.device_group)
        .where(devices.c.school_id == school_id, devices.c.serial == serial)
        .order_by(devices.c.device_no.desc())
        .limit(1)
    ).scalar()
    return str(found or "")


def _issue(
    connection: Connection,
    authority: Authority,
    school_id: str,
    key: ec.EllipticCurvePublicKey,
    device_id: bytes,
    now_ms: int,
) -> DeviceCertificate:
    made = authority.issue(key, device_id, now_ms)
    connection.execute(
        insert(certificates).values(
            school_id=school_id,
            certificate_hash=made.hash,
            device_id=device_id,
            serial_number=f"{made.certificate.serial_number:x}",
            der=made.der,
            not_before_ms=made.not_before_ms,
            not_after_ms=made.not_after_ms,
        )
    )
    return made


def _check_renewable(connection: Connection, school_id: str, old: DeviceCertificate, now_ms: int) -> None:
    row = connection.execute(
        select(certificates.c.revoked_ms).where(
            certificates.c.school_id == school_id, certificates.c.certificate_hash == old.hash
        )
    ).first()
    if row is None:
        raise Refused(
            Reason.UNKNOWN_CERTIFICATE,
            "this collector has no record of the certificate (was it restored from an older backup?): "
            "enrol this device with a token",
        )
    if row.revoked_ms is not None or _status(connection, school_id, old.device_id) != "active":
        raise Refused(Reason.REVOKED, "the technician revoked this device: enrol it again with a new token")
    if now_ms > old.not_after_ms + RENEWAL_DAYS * _DAY_MS:
        raise Refused(
            Reason.TOO_OLD,
            f"the certificate ended more than {RENEWAL_DAYS} days ago: enrol this device with a new token",
        )


def _just_issued(
    connection: Connection,
    authority: Authority,
    school_id: str,
    device_id: bytes,
    key: ec.EllipticCurvePublicKey,
    now_ms: int,
) -> DeviceCertificate | None:
    """This key's certificate of the last hour: asking again, or in a loop, makes no other."""
    der = connection.execute(
        select(certificates.c.der)
        .where(
            certificates.c.school_id == school_id,
            certificates.c.device_id == device_id,
            certificates.c.not_before_ms > now_ms - _JUST_MS,
            certificates.c.revoked_ms.is_(None),
        )
        .order_by(certificates.c.not_before_ms.desc())
        .limit(1)
    ).scalar()
    if der is None:
        return None
    found = authority.read_der(bytes(der))
    if not authority.issued(found):
        # Of the authority before this one: it would not fit the chain that goes with it.
        return None
    return found if statements.key_id_of(found.public_key) == statements.key_id_of(key) else None


def _status(connection: Connection, school_id: str, device_id: bytes) -> str:
    found = connection.execute(
        select(devices.c.status).where(devices.c.school_id == school_id, devices.c.device_id == device_id)
    ).scalar()
    if found is None:
        raise DeviceError(f"no device {device_id.hex()}: see `schoolkeeper-collector device list`")
    return str(found)


def _set_status(
    connection: Connection, school_id: str, device_id: bytes, status: str, now_ms: int, reason: str
) -> None:
    if _status(connection, school_id, device_id) != "active":
        raise DeviceError(f"the device {device_id.hex()} is not active any more: nothing was changed")
    connection.execute(
        update(devices)
        .where(devices.c.school_id == school_id, devices.c.device_id == device_id)
        .values(status=status)
    )
    connection.execute(
        update(certificates)
        .where(
            certificates.c.school_id == school_id,
            certificates.c.device_id == device_id,
            certificates.c.revoked_ms.is_(None),
        )
        .values(revoked_ms=now_ms, revoked_because=reason)
    )


def _clean(text: str, length: int = 128) -> str:
    return "".join(c for c in text if c.isprintable())[:length].strip()


def _about(device_id: bytes) -> str:
    return f"device:{device_id.hex()}"
