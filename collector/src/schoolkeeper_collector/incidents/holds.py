"""Legal holds: what a court, the police or the school's own inquiry needs is not deleted until a person says so.

A hold names an incident (its evidence, and that of its alerts) or a device (everything it reported). Placing and
releasing are audit statements in the ledger; the words of the reason are committed to with a salt and lie beside it,
erasable. On an incident both are entries of its file as well.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.incidents.model import Held, HeldBy, ObjectType
from schoolkeeper_collector.ledger import queue
from schoolkeeper_collector.store.holding import DEVICE, INCIDENT, RELEASING
from schoolkeeper_collector.store.retention import DAY_MS
from schoolkeeper_collector.store.tables import (
    accounts,
    alerts,
    devices,
    events,
    evidence,
    holds,
    incidents,
    trims,
)
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import encode

MAX_REASON: Final = 2_000


class HoldError(Exception):
    """A hold that cannot be placed or released; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """``released_ms`` None: it holds. ``what`` names the incident or the device for people."""

    number: int
    object_type: str
    object_id: bytes
    what: str
    reason: str
    placed_by: str
    placed_ms: int
    released_ms: int | None
    released_by: str
    released_because: str


class HoldBook:
    """One school's holds; every call inside the caller's transaction."""

    def __init__(self, school_id: str, log: CaseLog) -> None:
        self._school_id = school_id
        self._log = log

    def on_incident(self, connection: Connection, number: int, *, reason: str, by: str, now_ms: int) -> Hold:
        """``by``: an account's login. Raises ``HoldError``."""
        query = select(incidents.c.incident_id).where(
            incidents.c.school_id == self._school_id, incidents.c.number == number
        )
        incident_id = connection.execute(query).scalar()
        if incident_id is None:
            raise HoldError(f"there is no incident {number}: its page in the console shows the number")
        return self._place(connection, INCIDENT, bytes(incident_id), reason, by, now_ms)

    def on_device(
        self, connection: Connection, device_id: bytes, *, reason: str, by: str, now_ms: int
    ) -> Hold:
        """Also holds devices that were joined into this one. Raises ``HoldError``."""
        return self._place(connection, DEVICE, device_id, reason, by, now_ms)

    def release(self, connection: Connection, number: int, *, reason: str, by: str, now_ms: int) -> Hold:
        """From the next run of expiry on, what nothing else holds goes. Raises ``HoldError``."""
        actor, reason = self._account(connection, by), _checked(reason)
        row = self._row(connection, number)
        if row.released_ms is not None:
            raise HoldError(f"hold {number} was released already, by {row.released_by}")
        values = {"released_ms": now_ms, "released_by": actor, "released_because": reason}
        where = (holds.c.school_id == self._school_id, holds.c.number == number)
        connection.execute(update(holds).where(*where).values(values))
        self._state(connection, row, "hold.released", actor, reason, now_ms)
        if row.object_type == DEVICE:
            # Kinds that go before the rest of their class are searched for anew.
            connection.execute(delete(trims).where(trims.c.school_id == self._school_id))
        return self._hold(connection, self._row(connection, number))

    def listed(self, connection: Connection, *, released: bool = False) -> list[Hold]:
        """Those that hold, or all that ever did, in the order in which they were placed."""
        query = select(holds).where(holds.c.school_id == self._school_id).order_by(holds.c.number)
        if not released:
            query = query.where(holds.c.released_ms.is_(None))
        return [self._hold(connection, row) for row in connection.execute(query).all()]

    def on(self, connection: Connection, incident_id: bytes, device_id: bytes | None) -> list[Hold]:
        """What holds an incident: a hold on itself or on its device."""
        found = self.listed(connection)
        wanted = {(INCIDENT, incident_id), (DEVICE, device_id or b"")}
        return [hold for hold in found if (hold.object_type, hold.object_id) in wanted]

    def why_held(
        self,
        connection: Connection,
        incident: Row[Any],
        device_id: bytes | None,
        *,
        incident_days: int,
        now_ms: int,
    ) -> tuple[Held, ...]:
        """Every reason why what a row of ``incidents`` rests on is not deleted for its age."""
        found: list[Held] = []
        if incident.closed_ms is None:
            found.append(Held(held_by=HeldBy.OPEN, since_ms=incident.raised_ms))
        elif incident.outcome not in RELEASING and incident.closed_ms + incident_days * DAY_MS > now_ms:
            until_ms = incident.closed_ms + incident_days * DAY_MS
            found.append(Held(held_by=HeldBy.CLOSED, since_ms=incident.closed_ms, until_ms=until_ms))
        for hold in self.on(connection, bytes(incident.incident_id), device_id):
            held_by = HeldBy.HOLD if hold.object_type == INCIDENT else HeldBy.DEVICE
            found.append(
                Held(
                    held_by=held_by,
                    since_ms=hold.placed_ms,
                    number=hold.number,
                    by=hold.placed_by,
                    reason=hold.reason,
                )
            )
        return tuple(found)

    def held_events(self, connection: Connection, hold: Hold) -> int:
        """How many events are there for it to hold."""
        if hold.object_type == DEVICE:
            query = select(func.count()).select_from(
                events.join(devices, devices.c.device_no == events.c.device_no)
            )
            where = (devices.c.device_id == hold.object_id) | (devices.c.joined_into == hold.object_id)
            return int(
                connection.execute(query.where(devices.c.school_id == self._school_id, where)).scalar_one()
            )
        query = select(func.count(evidence.c.event_no.distinct())).select_from(
            evidence.join(alerts, alerts.c.alert_id == evidence.c.alert_id).join(
                events, events.c.event_no == evidence.c.event_no
            )
        )
        where = (evidence.c.school_id == self._school_id) & (alerts.c.incident_id == hold.object_id)
        return int(connection.execute(query.where(where)).scalar_one())

    # ---- inside -----------------------------------------------------------------------------------------

    def _place(
        self, connection: Connection, object_type: str, object_id: bytes, reason: str, by: str, now_ms: int
    ) -> Hold:
        actor, reason = self._account(connection, by), _checked(reason)
        query = select(func.max(holds.c.number)).where(holds.c.school_id == self._school_id)
        number = (connection.execute(query).scalar() or 0) + 1
        row = {
            "school_id": self._school_id,
            "number": number,
            "object_type": object_type,
            "object_id": object_id,
            "reason": reason,
            "salt": os.urandom(16),
            "placed_by": actor,
            "placed_ms": now_ms,
        }
        connection.execute(insert(holds).values(row))
        placed = self._row(connection, number)
        self._state(connection, placed, "hold.placed", actor, reason, now_ms)
        return self._hold(connection, placed)

    def _state(
        self, connection: Connection, row: Row[Any], action: str, actor: str, reason: str, now_ms: int
    ) -> None:
        object_id = bytes(row.object_id)
        statement = wire.AuditStatement(
            school_id=self._school_id,
            at_unix_ms=now_ms,
            actor=actor,
            action=action,
            object=f"{row.object_type}:{object_id.hex()}",
            detail_commitment=hashlib.sha256(bytes(row.salt) + reason.encode()).digest(),
        )
        entry = wire.LedgerEntry(type=wire.StatementType.AUDIT, statement=encode(statement))
        queue.submit(connection, self._school_id, entry, now_ms)
        if row.object_type == INCIDENT:
            self._log.append(
                connection,
                ObjectType.INCIDENT,
                object_id,
                actor=actor,
                action=action,
                text=f"Hold {row.number}: {reason}",
                now_ms=now_ms,
            )

    def _account(self, connection: Connection, by: str) -> str:
        query = select(accounts.c.account_id).where(
            accounts.c.school_id == self._school_id,
            accounts.c.login == by.strip().lower(),
            accounts.c.disabled_ms.is_(None),
        )
        found = connection.execute(query).scalar()
        if found is None:
            raise HoldError(
                f"--by {by!r} is no account in use: a hold has a person who answers for it (`account list`)"
            )
        return str(found)

    def _row(self, connection: Connection, number: int) -> Row[Any]:
        query = select(holds).where(holds.c.school_id == self._school_id, holds.c.number == number)
        row = connection.execute(query).first()
        if row is None:
            raise HoldError(f"there is no hold {number}: `hold list` shows them")
        return row

    def _hold(self, connection: Connection, row: Row[Any]) -> Hold:
        return Hold(
            number=row.number,
            object_type=row.object_type,
            object_id=bytes(row.object_id),
            what=self._what(connection, row.object_type, bytes(row.object_id)),
            reason=row.reason,
            placed_by=row.placed_by,
            placed_ms=row.placed_ms,
            released_ms=row.released_ms,
            released_by=row.released_by,
            released_because=row.released_because,
        )

    def _what(self, connection: Connection, object_type: str, object_id: bytes) -> str:
        if object_type == INCIDENT:
            number = connection.execute(
                select(incidents.c.number).where(
                    incidents.c.school_id == self._school_id, incidents.c.incident_id == object_id
                )
            ).scalar()
            return f"incident {number}"
        name = connection.execute(
            select(devices.c.hostname).where(
                devices.c.school_id == self._school_id, devices.c.device_id == object_id
            )
        ).scalar()
        return f"device {object_id.hex()[:8]} ({name or 'no name'})"


def _checked(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise HoldError("--reason is empty: say who needs it and why; whoever opens the incident reads it")
    if len(reason) > MAX_REASON:
        raise HoldError(f"--reason has {len(reason)} characters; {MAX_REASON} are possible")
    return reason
