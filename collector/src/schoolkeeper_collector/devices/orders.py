"""Commands to one device: signed by the command key, picked up by the running collector, answered by the device."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from sqlalchemy import Connection, insert, select

from schoolkeeper_collector.devices.fleet import DeviceError
from schoolkeeper_collector.devices.ledger_note import note
from schoolkeeper_collector.store.tables import commands, devices
from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.codec import WireFormatError, decode, encode

LIFETIME_MS = 3_600_000
"""A device that does not come within an hour is not surprised by it later."""
DECLINED_LIFETIME_MS = 14 * 24 * LIFETIME_MS
"""A laptop that is at home for a week still brings the answer; then the request is forgotten on the device, too."""
DECLINED = "request-declined"
REPORT_READ = "report-read"
_COLLECTOR = "collector"


class CommandWord(StrEnum):
    REFRESH_POLICY = "refresh-policy"
    CANARY = "canary"
    REPORT_POSTURE = "report-posture"
    RENEW = "renew"


class CommandState(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    DONE = "done"
    FAILED = "FAILED"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """One command as it is listed. ``detail``: the device's own words."""

    word: str
    state: CommandState
    created_ms: int
    created_by: str
    detail: str


def command_device(
    connection: Connection,
    *,
    school_id: str,
    device_id: bytes,
    word: CommandWord,
    signer: statements.Signer,
    actor: str,
    now_ms: int,
    lifetime_ms: int = LIFETIME_MS,
) -> bytes:
    """A command that people give by name; returns its id. Raises ``DeviceError`` for a device not in use."""
    return send_order(
        connection, school_id=school_id, device_id=device_id, order=_order(word), name=word.value, signer=signer,
        actor=actor, now_ms=now_ms, lifetime_ms=lifetime_ms,
    )  # fmt: skip


def tell_declined(
    connection: Connection,
    *,
    school_id: str,
    device_id: bytes,
    order: wire.RequestDeclined,
    signer: statements.Signer,
    actor: str,
) -> bytes:
    """Tells the device, which tells whoever asked; returns the command's id. Raises ``DeviceError`` as above."""
    return send_order(
        connection, school_id=school_id, device_id=device_id, order=order, name=DECLINED, signer=signer,
        actor=actor, now_ms=order.decided_unix_ms, lifetime_ms=DECLINED_LIFETIME_MS,
    )  # fmt: skip


def report_read_id(device_id: bytes, reference: str) -> bytes:
    """Of the one command that says so: it is sent once, whoever reads it how often."""
    return hashlib.sha256(b"report-read|" + device_id + b"|" + reference.encode()).digest()[:16]


def tell_report_read(
    connection: Connection,
    *,
    school_id: str,
    device_id: bytes,
    reference: str,
    signer: statements.Signer,
    now_ms: int,
) -> None:
    """Tells the device, which tells whoever wrote the report; once. Raises ``DeviceError`` as above.

    Neither the command's line nor the ledger's says who read it, and the ledger's names no device: whoever may look at
    those learns nothing of a child. Who read it stands in the access log.
    """
    command_id = report_read_id(device_id, reference)
    where = (commands.c.school_id == school_id, commands.c.command_id == command_id)
    if connection.execute(select(commands.c.command_id).where(*where)).first() is not None:
        return
    send_order(
        connection, school_id=school_id, device_id=device_id,
        order=wire.ReportRead(reference=reference, read_unix_ms=now_ms), name=REPORT_READ, signer=signer,
        actor=_COLLECTOR, now_ms=now_ms, lifetime_ms=DECLINED_LIFETIME_MS, command_id=command_id,
    )  # fmt: skip


def send_order(
    connection: Connection,
    *,
    school_id: str,
    device_id: bytes,
    order: wire.Order,
    name: str,
    signer: statements.Signer,
    actor: str,
    now_ms: int,
    lifetime_ms: int,
    command_id: bytes = b"",
) -> bytes:
    """Writes a signed command and its line in the ledger; returns its id. Raises ``DeviceError`` for one not in use."""
    where = (devices.c.school_id == school_id, devices.c.device_id == device_id)
    status = connection.execute(select(devices.c.status).where(*where)).scalar_one()
    if status != "active":
        raise DeviceError(f"the device is {status}: it takes no commands")
    command_id = command_id or os.urandom(16)
    statement = encode(
        wire.CommandStatement(
            school_id=school_id,
            command_id=command_id,
            device_id=device_id,
            expires_unix_ms=now_ms + lifetime_ms,
            order=order,
        )
    )
    signed = statements.sign(statements.COMMAND, statement, signer)
    command = wire.Command(statement=statement, key_id=signed.key_id, signature=signed.signature)
    row = {
        "school_id": school_id,
        "command_id": command_id,
        "device_id": device_id,
        "command": encode(command),
        "created_ms": now_ms,
        "created_by": actor,
        "expires_ms": now_ms + lifetime_ms,
    }
    connection.execute(insert(commands).values(row))
    about = "" if isinstance(order, wire.ReportRead) else f"device:{device_id.hex()}"
    note(connection, school_id, actor, f"device.command.{name}", about, now_ms)
    return command_id


def commands_of(
    connection: Connection, school_id: str, device_id: bytes, now_ms: int, limit: int = 20
) -> list[CommandLine]:
    """The device's latest commands, the newest first; not those that answer somebody's report."""
    query = (
        select(commands)
        .where(commands.c.school_id == school_id, commands.c.device_id == device_id)
        .order_by(commands.c.created_ms.desc(), commands.c.command_id)
        .limit(limit)
    )
    return [
        CommandLine(
            word=_word(bytes(row.command)),
            state=_state(row.answered_ms, row.succeeded, row.sent_ms, row.expires_ms, now_ms),
            created_ms=row.created_ms,
            created_by=row.created_by,
            detail=row.detail,
        )
        for row in connection.execute(query)
        if _word(bytes(row.command)) != REPORT_READ
    ]


def _order(word: CommandWord) -> wire.Order:
    match word:
        case CommandWord.REFRESH_POLICY:
            return wire.RefreshPolicy()
        case CommandWord.CANARY:
            return wire.SendCanary()
        case CommandWord.REPORT_POSTURE:
            return wire.ReportPosture()
        case CommandWord.RENEW:
            return wire.RenewCertificate()
        case _:
            assert_never(word)


def _word(command: bytes) -> str:
    try:
        order = decode(wire.CommandStatement, decode(wire.Command, command).statement).order
    except WireFormatError:
        return "unreadable"
    if isinstance(order, wire.RequestDeclined):
        return DECLINED
    if isinstance(order, wire.ReportRead):
        return REPORT_READ
    match = next((word for word in CommandWord if type(_order(word)) is type(order)), None)
    return match.value if match is not None else type(order).__name__


def _state(
    answered_ms: int | None, succeeded: bool | None, sent_ms: int | None, expires_ms: int, now_ms: int
) -> CommandState:
    if answered_ms is not None:
        return CommandState.DONE if succeeded else CommandState.FAILED
    if now_ms >= expires_ms:
        return CommandState.EXPIRED
    return CommandState.WAITING if sent_ms is None else CommandState.SENT
