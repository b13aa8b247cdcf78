"""The few kinds of event whose latest value the technician's page shows, and the answers to commands."""

from __future__ import annotations

from sqlalchemy import Connection, select, text, update

from schoolkeeper_collector.ingest.changes import Changes
from schoolkeeper_collector.ingest.device_words import bounded, clean
from schoolkeeper_collector.store.tables import commands as commands_table
from schoolkeeper_collector.store.tables import devices
from schoolkeeper_proto import model, wire

GRANT_ID_BYTES = 16
_LATE_MS = 5 * 60_000
_HELD = frozenset({"in-place", "on", "not-confirmed", "rolled-back", "failed", "off"})
"""States of an isolation or a lost device, as event.proto names them."""


def tell(connection: Connection, changes: Changes, device_no: int, event: model.Event, now_ms: int) -> None:
    """The few kinds whose latest value the technician's page shows."""
    match event.body:
        case model.Posture() as posture:
            changes.posture.append(
                {
                    "school_id": changes.school_id,
                    "device_no": device_no,
                    "check_name": clean(posture.check, 64),
                    "result": posture.result.value,
                    "since_ms": bounded(posture.since_unix_ms),
                    "evaluated_ms": bounded(posture.evaluated_at_unix_ms or event.wall_unix_ms),
                    "evidence": clean(posture.evidence),
                    "unknown_because": clean(posture.unknown_because),
                }
            )
        case model.Heartbeat() as beat:
            values = {"spool_oldest_seconds": bounded(beat.spool_oldest_seconds)}
            connection.execute(update(devices).where(devices.c.device_no == device_no).values(**values))
        case model.PolicyApplied() as policy:
            connection.execute(
                update(devices)
                .where(devices.c.device_no == device_no, devices.c.bundle_hash != policy.bundle_hash)
                .values(
                    bundle_hash=policy.bundle_hash,
                    bundle_version=bounded(policy.bundle_version),
                    bundle_since_ms=_moment(event, now_ms),
                )
            )
        case model.GrantApplied() as applied:
            _grant(changes, device_no, applied.grant_id, "applied", "", event)
        case model.GrantEnded() as ended:
            state = "refused" if ended.reason.startswith("refused") else "ended"
            _grant(changes, device_no, ended.grant_id, state, ended.reason, event)
        case model.IsolationChanged() as held:
            state = held.state if held.state in _HELD else "failed"
            _grant(changes, device_no, held.grant_id, state, held.detail, event)
        case model.ExceptionRequested() as asked:
            _requested(connection, changes.school_id, device_no, event, asked, now_ms)
        case model.CommandResult() as result:
            answer_command(connection, changes.school_id, device_no, result, now_ms)
        case _:
            pass


_REQUESTED = text(
    "INSERT INTO exception_requests (school_id, request_id, device_no, asked_ms, received_ms, rule_id, reason, wanted,"
    " reference, asked_by, state, decided_by, decided_because) VALUES (:school_id, :request_id, :device_no, :asked_ms,"
    " :received_ms, :rule_id, :reason, :wanted, :reference, :asked_by, 'waiting', '', '') ON CONFLICT DO NOTHING"
)


def _requested(
    connection: Connection,
    school_id: str,
    device_no: int,
    event: model.Event,
    asked: model.ExceptionRequested,
    now_ms: int,
) -> None:
    """The request without its words, which stay sealed at rest in the event. Sent twice, it is one request."""
    connection.execute(
        _REQUESTED,
        {
            "school_id": school_id,
            "request_id": event.id,
            "device_no": device_no,
            "asked_ms": min(now_ms, bounded(event.wall_unix_ms - (event.skew_ms or 0))),
            "received_ms": now_ms,
            "rule_id": clean(asked.rule_id, 128),
            "reason": clean(asked.reason, 32),
            "wanted": clean(asked.wanted, 200),
            "reference": clean(asked.reference, 64),
            "asked_by": event.user.pseudonym,
        },
    )


def _moment(event: model.Event, now_ms: int) -> int:
    """When it happened by the device's own word, where that is of the last minutes: what the new policy refused at
    once, before its report came, is then after it. A wrong clock moves it no further."""
    said = event.wall_unix_ms - (event.skew_ms or 0)
    return max(now_ms - _LATE_MS, min(now_ms, said))


def _grant(
    changes: Changes, device_no: int, grant_id: bytes, state: str, reason: str, event: model.Event
) -> None:
    if len(grant_id) != GRANT_ID_BYTES:
        return
    changes.grant_states.append(
        {
            "school_id": changes.school_id,
            "grant_id": grant_id,
            "device_no": device_no,
            "state": state,
            "reason": clean(reason),
            "at_ms": bounded(event.wall_unix_ms),
        }
    )


def answer_command(
    connection: Connection,
    school_id: str,
    device_no: int,
    result: model.CommandResult | wire.CommandAcknowledged,
    now_ms: int,
) -> None:
    """Notes a command's outcome, if the command was this device's."""
    own = select(devices.c.device_id).where(devices.c.device_no == device_no).scalar_subquery()
    connection.execute(
        update(commands_table)
        .where(
            commands_table.c.school_id == school_id,
            commands_table.c.command_id == result.command_id,
            commands_table.c.device_id == own,
        )
        .values(
            answered_ms=now_ms,
            succeeded=result.succeeded,
            detail=clean(result.detail),
        )
    )
