"""Requests for an exception: who decides, and what officers sign then. What a person wrote stays in the sealed event.

A decision here changes nothing on a device: it says yes and names the grant that officers sign. The console cannot.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, and_, select, update

from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.events import read_events
from schoolkeeper_collector.store.tables import devices, events, exception_requests
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import kind_number

KEPT_MS = 30 * 86_400_000
_KIND = kind_number(model.ExceptionRequested.KIND)


class RequestState(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One event of a request that was decided: the number its person got, and the device that knows who it is."""

    device_id: bytes
    rule_id: str
    reference: str


class RequestError(Exception):
    """What was asked cannot be done with this request; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; ``device_name`` and never a person's. ``words`` is empty when the event cannot be read any more.

    Whoever asks again for the same, on the same device, before anybody decided, has one request still: ``asks`` says
    how often, ``request_id`` and ``asked_ms`` are the first one's, words and numbers are all of theirs in order.
    """

    request_id: bytes
    device_id: bytes
    device_name: str
    group: str
    asked_ms: int
    rule_id: str
    reason: str
    wanted: str
    reference: str
    words: str
    state: RequestState
    decided_ms: int | None
    decided_by: str
    decided_because: str
    asks: int = 1

    @property
    def grant_command(self) -> str:
        """What a technical officer runs; it asks for the second signature where the policy wants one."""
        return (
            f"schoolkeeper-officer grant new --kind exception --device {self.device_id.hex()} --rule {self.rule_id} "
            f'--for 24h --reason "request {self.reference or self.request_id.hex()[:8]}" '
            "--key YOUR-KEY-FILE --out exception.skgrant"
        )


def requests(store: Store, school_id: str, now_ms: int) -> tuple[Request, ...]:
    """Those that wait, and what was decided in the last 30 days; the newest first."""
    table = exception_requests.c
    with store.read() as connection:
        rows = connection.execute(
            select(exception_requests, devices.c.device_id, devices.c.hostname, devices.c.device_group)
            .join(devices, devices.c.device_no == table.device_no)
            .where(
                table.school_id == school_id,
                (table.state == RequestState.WAITING) | (table.asked_ms >= now_ms - KEPT_MS),
            )
            .order_by(table.asked_ms.desc())
            .limit(200)
        ).all()
        made = [
            Request(
                request_id=bytes(row.request_id),
                device_id=bytes(row.device_id),
                device_name=row.hostname or bytes(row.device_id).hex()[:8],
                group=row.device_group,
                asked_ms=row.asked_ms,
                rule_id=row.rule_id,
                reason=row.reason,
                wanted=row.wanted,
                reference=row.reference,
                words=_words(
                    store, connection, school_id, row.device_no, bytes(row.request_id), row.asked_ms
                ),
                state=RequestState(row.state),
                decided_ms=row.decided_ms,
                decided_by=row.decided_by,
                decided_because=row.decided_because,
            )
            for row in rows
        ]
    return _folded([(_same(row), request) for row, request in zip(rows, made, strict=True)])


def waiting(connection: Connection, school_id: str) -> int:
    """How many wait."""
    table = exception_requests.c
    query = select(
        table.request_id, table.device_no, table.rule_id, table.asked_by, table.state, table.decided_ms
    ).where(table.school_id == school_id, table.state == RequestState.WAITING)
    return len({_same(row) for row in connection.execute(query)})


def decide(
    connection: Connection,
    school_id: str,
    request_id: bytes,
    to: RequestState,
    *,
    actor: str,
    because: str,
    now_ms: int,
) -> tuple[Decided, ...]:
    """With it, every request of the same person for the same that waits. Raises ``RequestError``: it waits no more."""
    table = exception_requests.c
    waits = (table.school_id == school_id, table.state == RequestState.WAITING)
    found = connection.execute(
        select(table.device_no, table.rule_id, table.asked_by).where(*waits, table.request_id == request_id)
    ).first()
    if found is None:
        raise RequestError("somebody has decided this request already: load the page again")
    same = table.request_id == request_id
    if found.asked_by:
        again = (table.device_no == found.device_no, table.rule_id == found.rule_id)
        same |= and_(*again, table.asked_by == found.asked_by)
    decided = connection.execute(
        select(devices.c.device_id, table.rule_id, table.reference)
        .join(devices, devices.c.device_no == table.device_no)
        .where(*waits, same)
    ).all()
    connection.execute(
        update(exception_requests)
        .where(*waits, same)
        .values(state=to.value, decided_ms=now_ms, decided_by=actor, decided_because=because)
    )
    return tuple(
        Decided(device_id=bytes(row.device_id), rule_id=row.rule_id, reference=row.reference)
        for row in decided
    )


def _same(row: Row[*tuple[Any, ...]]) -> Hashable:
    """What requests have in common that are one; a request of nobody known stands alone."""
    if not row.asked_by:
        return bytes(row.request_id)
    return row.device_no, row.rule_id, bytes(row.asked_by), row.state, row.decided_ms


def _folded(found: list[tuple[Hashable, Request]]) -> tuple[Request, ...]:
    """The newest first; each in the place of its newest part."""
    whole: dict[Hashable, Request] = {}
    for key, older in found:
        newer = whole.get(key)
        whole[key] = older if newer is None else _joined(older, newer)
    return tuple(whole.values())


def _joined(older: Request, newer: Request) -> Request:
    words = dict.fromkeys(text for text in (older.words, newer.words) if text)
    references = dict.fromkeys(text for text in (older.reference, newer.reference) if text)
    return replace(
        older, words=" / ".join(words), reference=", ".join(references), asks=older.asks + newer.asks
    )


def _words(
    store: Store, connection: Connection, school_id: str, device_no: int, request_id: bytes, asked_ms: int
) -> str:
    """Read from the event itself, around the time it was asked."""
    near = connection.execute(
        select(events.c.event_no).where(
            events.c.school_id == school_id,
            events.c.device_no == device_no,
            events.c.event_ms.between(asked_ms - 1_000, asked_ms + 1_000),
            events.c.kind == _KIND,
        )
    ).scalars()
    for stored in read_events(connection, store.keystore, school_id, list(near)):
        if stored.event.id == request_id and isinstance(stored.event.body, model.ExceptionRequested):
            return stored.event.body.words[:300]
    return ""
