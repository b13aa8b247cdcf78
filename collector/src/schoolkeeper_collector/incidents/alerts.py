"""Findings into alerts, inside detection's transaction.

One open alert per (rule, subject); its severity only rises; it closes by itself only while no person has touched it.
A critical finding, or a rule that says so, raises an incident and interrupts at once, also when it came in late.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Row, insert, select, text, update

from schoolkeeper_collector.detection.source import DeviceInfo
from schoolkeeper_collector.incidents.closing import closed_before
from schoolkeeper_collector.incidents.log import MACHINE, CaseLog
from schoolkeeper_collector.incidents.model import Audience, ObjectType, SubjectKind, Verdict
from schoolkeeper_collector.incidents.outbox import queue_notices
from schoolkeeper_collector.incidents.raising import NewIncident, raise_incident
from schoolkeeper_collector.incidents.rerouting import reroute_alert
from schoolkeeper_collector.incidents.routing import Route, route
from schoolkeeper_collector.incidents.severity import severity_number, severity_of
from schoolkeeper_collector.store.keystore import Keystore
from schoolkeeper_collector.store.tables import alerts, findings
from schoolkeeper_policies.detection.ruleset import Found, Recovered, as_text
from schoolkeeper_policies.sigma.compile import Record
from schoolkeeper_proto import model

_PLACEHOLDER: Final = re.compile(r"\{([a-z_.0-9]+)(?:\|([^{}]*))?\}")
_SHOWN: Final = 80
_HOLD: Final = text(
    "INSERT INTO evidence (school_id, event_no, alert_id) VALUES (:school, :event, :alert) ON CONFLICT DO NOTHING"
)
"""What an alert rests on is not deleted for its age while the alert is open or its incident is kept."""
_RAISED_BY_RULE: Final = "rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """The event or fact that completed a finding."""

    record: Record
    device: DeviceInfo | None
    user: model.UserRef | None
    body: model.Body | None
    late: bool


class AlertBook:
    """Writes one school's findings, alerts and the incidents that follow from them."""

    def __init__(self, school_id: str, keystore: Keystore) -> None:
        self._school_id = school_id
        self._log = CaseLog(school_id, keystore)

    def found(self, connection: Connection, found: Found, trigger: Trigger, now_ms: int) -> bool:
        """Takes a finding in; False if it was there already."""
        finding_id = found.finding_id
        known = select(findings.c.alert_id).where(
            findings.c.school_id == self._school_id, findings.c.finding_id == finding_id
        )
        if connection.execute(known).first() is not None:
            return False
        held = connection.execute(
            select(alerts).where(
                alerts.c.school_id == self._school_id,
                alerts.c.rule_id == found.rule.rule_id,
                alerts.c.subject == found.subject,
                alerts.c.state == "open",
            )
        ).first()
        if held is None:
            alert_id = self._open(connection, found, trigger, finding_id, now_ms)
        else:
            alert_id = self._grow(connection, held, found, trigger, now_ms)
        self._write_finding(connection, found, trigger, finding_id, alert_id, now_ms)
        self._interrupt(connection, alert_id, found, now_ms)
        return True

    def recovered(self, connection: Connection, outcome: Recovered, now_ms: int) -> None:
        """Closes what is over, where nobody has looked yet."""
        connection.execute(
            update(alerts)
            .where(
                alerts.c.school_id == self._school_id,
                alerts.c.rule_id.in_(outcome.rule_ids),
                alerts.c.subject.in_(outcome.subjects),
                alerts.c.state == "open",
                alerts.c.touched_ms.is_(None),
                alerts.c.incident_id.is_(None),
            )
            .values(
                state="closed",
                verdict=Verdict.RECOVERED.value,
                verdict_by=MACHINE,
                verdict_ms=now_ms,
                updated_ms=now_ms,
            )
        )

    def _open(
        self, connection: Connection, found: Found, trigger: Trigger, finding_id: bytes, now_ms: int
    ) -> bytes:
        meta = found.rule.meta
        to: Route = route(connection, self._school_id, meta, found.subject, trigger.user, trigger.body)
        origin = b"alert|" + self._school_id.encode() + b"|" + finding_id
        alert_id = hashlib.sha256(origin).digest()[:16]
        times = [entry.at_ms for entry in found.entries]
        row = {
            "school_id": self._school_id,
            "alert_id": alert_id,
            "rule_id": found.rule.rule_id,
            "subject": found.subject,
            "subject_kind": to.subject_kind.value,
            "audience": to.audience.value,
            "severity": severity_number(found.rule.level),
            "state": "open",
            "title": headline(meta.headline, trigger.record),
            "first_ms": min(times),
            "last_ms": max(times),
            "findings": 1,
            "late": trigger.late,
            "device_no": trigger.device.device_no if trigger.device else None,
            "created_ms": now_ms,
            "updated_ms": now_ms,
        }
        connection.execute(insert(alerts).values(row))
        self._say_again(connection, alert_id, found, now_ms)
        return alert_id

    def _say_again(self, connection: Connection, alert_id: bytes, found: Found, now_ms: int) -> None:
        """What comes after an incident was closed is new, and its file says after which."""
        before = closed_before(connection, self._school_id, found.rule.rule_id, found.subject)
        if not before:
            return
        self._log.append(
            connection,
            ObjectType.ALERT,
            alert_id,
            actor=MACHINE,
            action="again",
            text=f"The same rule found something about the same after incident {before[0].number} was closed.",
            now_ms=now_ms,
        )

    def _grow(
        self,
        connection: Connection,
        held: Row[tuple[object, ...]],
        found: Found,
        trigger: Trigger,
        now_ms: int,
    ) -> bytes:
        times = [entry.at_ms for entry in found.entries]
        newest = max(times) >= held.last_ms
        values = {
            "severity": max(held.severity, severity_number(found.rule.level)),
            "first_ms": min(held.first_ms, *times),
            "last_ms": max(held.last_ms, *times),
            "findings": held.findings + 1,
            "late": held.late or trigger.late,
            "updated_ms": now_ms,
        }
        if newest:
            values["title"] = headline(found.rule.meta.headline, trigger.record)
            values["device_no"] = trigger.device.device_no if trigger.device else held.device_no
        alert_id = bytes(held.alert_id)
        connection.execute(
            update(alerts)
            .where(alerts.c.school_id == self._school_id, alerts.c.alert_id == alert_id)
            .values(values)
        )
        # The register may know by now whom it is about.
        reroute_alert(connection, self._log, held, MACHINE, now_ms)
        return alert_id

    def _write_finding(
        self,
        connection: Connection,
        found: Found,
        trigger: Trigger,
        finding_id: bytes,
        alert_id: bytes,
        now_ms: int,
    ) -> None:
        times = [entry.at_ms for entry in found.entries]
        row = {
            "school_id": self._school_id,
            "finding_id": finding_id,
            "rule_id": found.rule.rule_id,
            "rule_version": found.rule.version,
            "subject": found.subject,
            "device_no": trigger.device.device_no if trigger.device else None,
            "severity": severity_number(found.rule.level),
            "first_ms": min(times),
            "last_ms": max(times),
            "late": trigger.late,
            "alert_id": alert_id,
            "created_ms": now_ms,
            "evidence": evidence_json(found),
        }
        connection.execute(insert(findings).values(row))
        named = [
            {"school": self._school_id, "event": number, "alert": alert_id}
            for number in evidence_numbers(found)["events"]
        ]
        if named:
            connection.execute(_HOLD, named)

    def _interrupt(self, connection: Connection, alert_id: bytes, found: Found, now_ms: int) -> None:
        meta = found.rule.meta
        raises = meta.incident or found.rule.level is model.Severity.CRITICAL
        if not raises and not meta.interrupt:
            return
        alert = connection.execute(
            select(alerts).where(alerts.c.school_id == self._school_id, alerts.c.alert_id == alert_id)
        ).one()
        about = _pseudonym(alert.subject)
        if not raises:
            queue_notices(
                connection,
                self._school_id,
                Audience(alert.audience),
                ObjectType.ALERT,
                alert_id,
                subject_pseudonym=about,
                now_ms=now_ms,
            )
            return
        if alert.incident_id is not None:
            return
        new = NewIncident(
            category=meta.category,
            severity=severity_of(alert.severity),
            subject=alert.subject,
            subject_kind=SubjectKind(alert.subject_kind),
            audience=Audience(alert.audience),
            title=alert.title,
            raised_by=_RAISED_BY_RULE,
            actor=MACHINE,
            text=f"Raised by the rule '{found.rule.title}' ({found.rule.rule_id}). {meta.explanation}"
            + self._after(connection, found),
            alert_id=alert_id,
            exclude_pseudonym=about,
        )
        incident_id = raise_incident(connection, self._log, self._school_id, new, now_ms)
        connection.execute(
            update(alerts)
            .where(alerts.c.school_id == self._school_id, alerts.c.alert_id == alert_id)
            .values(incident_id=incident_id)
        )

    def _after(self, connection: Connection, found: Found) -> str:
        before = closed_before(connection, self._school_id, found.rule.rule_id, found.subject)
        return f" It comes after incident {before[0].number} about the same was closed." if before else ""


def headline(template: str, record: Record) -> str:
    """The template with the record's values in it; '{field|words}' says 'words' where there is no value."""

    def fill(found: re.Match[str]) -> str:
        text = as_text(record.get(found[1]))
        text = "".join(character for character in text if character.isprintable())[:_SHOWN].strip()
        return text or found[2] or "something"

    return _PLACEHOLDER.sub(fill, template)


def evidence_json(found: Found) -> str:
    """Event numbers and fact numbers that a finding rests on."""
    return json.dumps(evidence_numbers(found))


def evidence_numbers(found: Found) -> dict[str, list[int]]:
    """By "events" and "facts"."""
    numbers: dict[str, set[int]] = {"events": set(), "facts": set()}
    for entry in found.entries:
        name, _, number = entry.reference.partition("#")
        numbers["facts" if name.startswith("f:") else "events"].add(int(number))
    return {key: sorted(value) for key, value in numbers.items()}


def _pseudonym(subject: str) -> bytes | None:
    scheme, _, name = subject.partition(":")
    return bytes.fromhex(name) if scheme == "user" else None
