"""Alerts straight into the tables, for tests of what a console shows. Detection has tests of its own."""

import hashlib
import json
from collections.abc import Iterable

from sqlalchemy import Connection, insert

from schoolkeeper_collector.store import tables
from support.console import SCHOOL

PUPIL = bytes([1]) * 16
STAFF = bytes([2]) * 16
DSL_SELF = bytes([3]) * 16
HEAD_SELF = bytes([4]) * 16
NUMBERS = {"low": 2, "medium": 3, "high": 4, "critical": 5}


def add_person(
    connection: Connection, pseudonym: bytes, kind: str, name: str, account_id: str | None = None
) -> None:
    """A row of the register of people."""
    connection.execute(
        insert(tables.people).values(
            school_id=SCHOOL,
            pseudonym=pseudonym,
            kind=kind,
            display_name=name,
            account_name=name.lower(),
            account_id=account_id,
        )
    )


def add_alert(
    connection: Connection,
    title: str,
    *,
    at_ms: int,
    subject: bytes = PUPIL,
    kind: str = "pupil",
    audience: str = "dsl",
    severity: str = "high",
    rule_id: str = "bypass.refused",
) -> bytes:
    """An open alert that rests on one fact of the collector; returns its id."""
    alert_id = hashlib.sha256(title.encode()).digest()[:16]
    made = connection.execute(
        insert(tables.collector_facts).values(
            school_id=SCHOOL,
            device_no=None,
            kind="device.silent",
            at_ms=at_ms,
            fields=json.dumps({"hours": 30}),
        )
    )
    assert made.inserted_primary_key is not None
    connection.execute(
        insert(tables.alerts).values(
            alert_row(
                alert_id,
                title,
                at_ms=at_ms,
                subject=subject,
                kind=kind,
                audience=audience,
                severity=severity,
                rule_id=rule_id,
            )
        )
    )
    connection.execute(
        insert(tables.findings).values(
            school_id=SCHOOL,
            finding_id=hashlib.sha256(alert_id).digest(),
            rule_id=rule_id,
            rule_version="1",
            subject=f"user:{subject.hex()}",
            severity=NUMBERS[severity],
            first_ms=at_ms,
            last_ms=at_ms,
            late=False,
            alert_id=alert_id,
            created_ms=at_ms,
            evidence=json.dumps({"events": [], "facts": [made.inserted_primary_key[0]]}),
        )
    )
    return alert_id


def alert_row(
    alert_id: bytes,
    title: str,
    *,
    at_ms: int,
    subject: bytes = PUPIL,
    kind: str = "pupil",
    audience: str = "dsl",
    severity: str = "high",
    rule_id: str = "bypass.refused",
    state: str = "open",
) -> dict[str, object]:
    """The row of an alert."""
    return {
        "school_id": SCHOOL,
        "alert_id": alert_id,
        "rule_id": rule_id,
        "subject": f"user:{subject.hex()}",
        "subject_kind": kind,
        "audience": audience,
        "severity": NUMBERS[severity],
        "state": state,
        "title": title,
        "first_ms": at_ms,
        "last_ms": at_ms,
        "findings": 1,
        "late": False,
        "device_no": None,
        "created_ms": at_ms,
        "updated_ms": at_ms,
    }


def add_many(connection: Connection, count: int, *, at_ms: int, open_share: int = 1) -> None:
    """Many alerts without findings, one in ``open_share`` of them open."""

    def rows() -> Iterable[dict[str, object]]:
        severities = list(NUMBERS)
        for number in range(count):
            subject = number.to_bytes(16, "big")
            yield alert_row(
                hashlib.sha256(subject).digest()[:16],
                f"Something happened, number {number}",
                at_ms=at_ms - number * 60_000,
                subject=subject,
                severity=severities[number % 4],
                state="open" if number % open_share == 0 else "closed",
            )

    connection.execute(insert(tables.alerts), list(rows()))
