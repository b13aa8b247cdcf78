"""Alerts and incidents that rest on given events, straight into the tables: for tests of what is held."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from support.device import NOW_MS

SCHOOL = "westgate.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An alert and its incident; ``number`` 0: there is none yet."""

    alert_id: bytes
    incident_id: bytes
    number: int


def add_case(
    store: Store,
    events: Iterable[int],
    *,
    case: Case | None = None,
    incident: bool = False,
    state: str = "open",
) -> Case:
    """An alert that rests on these events, or more evidence of ``case``; ``incident``: raised from it."""
    with store.write() as connection:
        if case is None:
            case = Case(alert_id=os.urandom(16), incident_id=os.urandom(16), number=0)
            connection.execute(insert(tables.alerts).values(_alert(case.alert_id)))
        where = tables.alerts.c.alert_id == case.alert_id
        connection.execute(update(tables.alerts).where(where).values(state=state))
        for number in events:
            row = {"school_id": SCHOOL, "event_no": number, "alert_id": case.alert_id}
            connection.execute(insert(tables.evidence).values(row))
        if incident:
            case = _raise(connection, store, case)
            connection.execute(update(tables.alerts).where(where).values(incident_id=case.incident_id))
    return case


def close_case(store: Store, case: Case, now_ms: int) -> None:
    """The alert and, if there is one, its incident."""
    with store.write() as connection:
        alert = tables.alerts.c.alert_id == case.alert_id
        connection.execute(update(tables.alerts).where(alert).values(state="closed"))
        incident = tables.incidents.c.incident_id == case.incident_id
        connection.execute(update(tables.incidents).where(incident).values(state="closed", closed_ms=now_ms))


def reopen_case(store: Store, case: Case) -> None:
    with store.write() as connection:
        incident = tables.incidents.c.incident_id == case.incident_id
        connection.execute(update(tables.incidents).where(incident).values(state="open", closed_ms=None))


def add_account(connection: Connection, login: str) -> None:
    connection.execute(
        insert(tables.accounts).values(
            account_id=f"acc-{login}",
            school_id=SCHOOL,
            login=login,
            display_name=login,
            role="dsl",
            email="",
            password_hash="",
            totp_secret=b"",
            created_ms=NOW_MS,
        )
    )


def _raise(connection: Connection, store: Store, case: Case) -> Case:
    highest = connection.execute(select(func.max(tables.incidents.c.number))).scalar() or 0
    case = Case(alert_id=case.alert_id, incident_id=case.incident_id, number=highest + 1)
    row = {
        "school_id": SCHOOL,
        "incident_id": case.incident_id,
        "number": case.number,
        "category": "conduct",
        "severity": 4,
        "subject": "school",
        "subject_kind": "school",
        "audience": "dsl",
        "state": "open",
        "title": "Something happened",
        "raised_by": "rule",
        "raised_ms": NOW_MS,
        "alert_id": case.alert_id,
        "key_id": CaseLog(SCHOOL, store.keystore).new_key(NOW_MS),
    }
    connection.execute(insert(tables.incidents).values(row))
    return case


def _alert(alert_id: bytes) -> dict[str, object]:
    return {
        "school_id": SCHOOL,
        "alert_id": alert_id,
        "rule_id": "rule",
        "subject": f"device:{alert_id.hex()}",
        "subject_kind": "device",
        "audience": "dsl",
        "severity": 4,
        "state": "open",
        "title": "Something happened",
        "first_ms": NOW_MS,
        "last_ms": NOW_MS,
        "findings": 1,
        "late": False,
        "created_ms": NOW_MS,
        "updated_ms": NOW_MS,
    }
