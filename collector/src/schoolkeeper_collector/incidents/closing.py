"""A person closes an incident, or opens it again. Both are entries of its file, and incident statements in the ledger.

Closing also closes the alert that it came from: from then on nothing open holds the evidence, and what the rule finds
next about the same subject is a new alert, whose file names this incident. The words lie in the file, encrypted; the
row holds the outcome, by whom and when.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from schoolkeeper_collector.incidents.cases import CaseFileError
from schoolkeeper_collector.incidents.listing import AnyRow
from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.incidents.model import (
    WITH_ACTIONS,
    Earlier,
    ItemState,
    ObjectType,
    Outcome,
    Verdict,
    Viewer,
)
from schoolkeeper_collector.incidents.rerouting import reroute_alert, reroute_incident
from schoolkeeper_collector.store.tables import alerts, incidents

_VERDICTS = {Outcome.FALSE_POSITIVE: Verdict.FALSE_POSITIVE, Outcome.NO_CONCERN: Verdict.NO_CONCERN}
"""What the outcome says of the alert; any other outcome stands on it."""
_WORDS = {
    Outcome.FALSE_POSITIVE: "false positive",
    Outcome.NO_CONCERN: "no concern",
    Outcome.WATCH: "watch",
    Outcome.INTERNAL: "dealt with in school",
    Outcome.OUTSIDE: "handed to another organisation",
    Outcome.POLICE: "handed to the police",
}
_LISTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What a person says when they close an incident."""

    outcome: Outcome
    actions: str
    """What was done; may be empty where nothing was to be done."""
    reason: str


def close(
    connection: Connection, log: CaseLog, viewer: Viewer, row: AnyRow, closing: Closing, now_ms: int
) -> None:
    """Closes the incident of ``row``, and its alert. Raises ``CaseFileError``."""
    if row.state != ItemState.OPEN.value:
        raise CaseFileError("This incident is closed already. Load the page again to see how.")
    if closing.outcome in WITH_ACTIONS and not closing.actions:
        raise CaseFileError("Say what was done: it is part of this outcome.")
    _update(
        connection,
        row,
        state=ItemState.CLOSED.value,
        closed_ms=now_ms,
        closed_by=viewer.account_id,
        outcome=closing.outcome.value,
        changed_ms=now_ms,
    )
    _close_alert(connection, log, viewer, row, closing.outcome, now_ms)
    lines = [f"Outcome: {_WORDS[closing.outcome]}."]
    if closing.actions:
        lines.append(f"What was done: {closing.actions}")
    lines.append(f"Why: {closing.reason}")
    _append(connection, log, viewer, row, "closed", "\n".join(lines), now_ms)


def reopen(
    connection: Connection, log: CaseLog, viewer: Viewer, row: AnyRow, reason: str, now_ms: int
) -> None:
    """Opens a closed incident again; its alert stays closed. Raises ``CaseFileError``.

    Whom it waits for is asked of the register again: what was closed was not moved when the register changed.
    """
    if row.state != ItemState.CLOSED.value:
        raise CaseFileError("This incident is open.")
    if not row.outcome:
        raise CaseFileError("This incident was withdrawn when it was raised. Raise it again from its alert.")
    _update(
        connection,
        row,
        state=ItemState.OPEN.value,
        closed_ms=None,
        closed_by="",
        outcome="",
        changed_ms=now_ms,
    )
    _append(connection, log, viewer, row, "reopened", reason, now_ms)
    if row.alert_id is not None:
        source = (alerts.c.school_id == row.school_id, alerts.c.alert_id == row.alert_id)
        alert = connection.execute(select(alerts).where(*source)).one()
        reroute_alert(connection, log, alert, viewer.account_id, now_ms)
    this = (incidents.c.school_id == row.school_id, incidents.c.incident_id == row.incident_id)
    again = connection.execute(select(incidents).where(*this)).one()
    reroute_incident(connection, log, again, viewer.account_id, now_ms)


def closed_before(
    connection: Connection, school_id: str, rule_id: str, subject: str, *, but: bytes | None = None
) -> tuple[Earlier, ...]:
    """Incidents by this rule about this subject that are closed, the latest first. ``but``: one not to list."""
    query = (
        select(incidents)
        .join(
            alerts,
            (alerts.c.school_id == incidents.c.school_id) & (alerts.c.alert_id == incidents.c.alert_id),
        )
        .where(
            incidents.c.school_id == school_id,
            incidents.c.subject == subject,
            incidents.c.state == ItemState.CLOSED.value,
            incidents.c.outcome != "",
            alerts.c.rule_id == rule_id,
        )
        .order_by(incidents.c.closed_ms.desc())
        .limit(_LISTED + 1)
    )
    found = (
        Earlier(
            incident_id=bytes(row.incident_id),
            number=row.number,
            closed_ms=row.closed_ms,
            outcome=Outcome(row.outcome),
        )
        for row in connection.execute(query)
        if but is None or bytes(row.incident_id) != but
    )
    return tuple(found)[:_LISTED]


def _close_alert(
    connection: Connection, log: CaseLog, viewer: Viewer, row: AnyRow, outcome: Outcome, now_ms: int
) -> None:
    """An alert that a rule made an incident of is open until then; one that a person raised is closed already."""
    if row.alert_id is None:
        return
    where = (alerts.c.school_id == row.school_id, alerts.c.alert_id == row.alert_id)
    if connection.execute(select(alerts.c.state).where(*where)).scalar() != ItemState.OPEN.value:
        return
    values = {
        "state": ItemState.CLOSED.value,
        "verdict": _VERDICTS.get(outcome, Verdict.RAISE).value,
        "verdict_by": viewer.account_id,
        "verdict_ms": now_ms,
        "updated_ms": now_ms,
    }
    connection.execute(update(alerts).where(*where).values(values))
    log.append(
        connection,
        ObjectType.ALERT,
        bytes(row.alert_id),
        actor=viewer.account_id,
        action="closed",
        text=f"Closed with incident {row.number}: {_WORDS[outcome]}.",
        now_ms=now_ms,
    )


def _update(connection: Connection, row: AnyRow, **values: object) -> None:
    where = (incidents.c.school_id == row.school_id, incidents.c.incident_id == row.incident_id)
    connection.execute(update(incidents).where(*where).values(**values))


def _append(
    connection: Connection, log: CaseLog, viewer: Viewer, row: AnyRow, action: str, text: str, now_ms: int
) -> None:
    log.append(
        connection,
        ObjectType.INCIDENT,
        bytes(row.incident_id),
        actor=viewer.account_id,
        action=action,
        text=text,
        now_ms=now_ms,
    )
