"""``CaseFile``: alerts, incidents and their logs for the console, every read logged and every act in the ledger.

Reads of safeguarding items write to the access log, so they are write transactions. An item that is not the viewer's
looks exactly like one that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import IntegrityError

from schoolkeeper_collector.detection.reading import store_reader
from schoolkeeper_collector.detection.source import EventReader
from schoolkeeper_collector.incidents.cases import CaseFileError, NoSuchItem
from schoolkeeper_collector.incidents.closing import Closing, close, reopen
from schoolkeeper_collector.incidents.details import Sources, alert_detail
from schoolkeeper_collector.incidents.holds import HoldBook
from schoolkeeper_collector.incidents.listing import (
    AnyRow,
    Labels,
    alert_summary,
    incident_summary,
    visible,
)
from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.incidents.model import (
    AlertDetail,
    AlertSummary,
    Audience,
    CaseEntry,
    IncidentDetail,
    IncidentSummary,
    ItemState,
    ObjectType,
    Outcome,
    SubjectKind,
    Verdict,
    Viewer,
)
from schoolkeeper_collector.incidents.raising import NewIncident, raise_incident
from schoolkeeper_collector.incidents.routing import audience_of, person_kind
from schoolkeeper_collector.incidents.verdicts import give, take_back
from schoolkeeper_collector.incidents.words import OpensWords
from schoolkeeper_collector.ledger.audit import record_access
from schoolkeeper_collector.ledger.proofs import NotProvable, event_proof
from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.retention import INCIDENT_DAYS
from schoolkeeper_collector.store.tables import alerts, evidence, incidents
from schoolkeeper_policies.detection.ruleset import RuleSet
from schoolkeeper_proto.model import Severity

MAX_TEXT: Final = 20_000
MAX_TITLE: Final = 200


class CaseFile:
    """Implements ``cases.Cases`` on the store. ``opener`` opens persons' reports; without it they stay sealed."""

    def __init__(
        self,
        store: Store,
        rules: RuleSet,
        *,
        opener: OpensWords | None = None,
        read_events: EventReader | None = None,
        incident_days: int = INCIDENT_DAYS,
    ) -> None:
        self._store = store
        self._incident_days = incident_days
        reader = read_events or store_reader(store.keystore)
        self._sources = Sources(read=reader, rules=rules.rules, opener=opener)

    # ---- reading ----------------------------------------------------------------------------------------

    def alerts(
        self, viewer: Viewer, *, state: ItemState | None = ItemState.OPEN, limit: int = 100, now_ms: int
    ) -> list[AlertSummary]:
        with self._store.write() as connection:
            query = select(alerts).where(visible(connection, viewer, alerts))
            if state is not None:
                query = query.where(alerts.c.state == state.value)
            query = query.order_by(alerts.c.severity.desc(), alerts.c.last_ms.desc(), alerts.c.alert_id)
            rows = connection.execute(query.limit(limit)).all()
            self._note_read(connection, viewer, "alerts.listed", ObjectType.ALERT, b"", "", now_ms)
            labels = Labels(connection, viewer, rows)
            return [alert_summary(row, labels) for row in rows]

    def alert(self, viewer: Viewer, alert_id: bytes, *, reason: str = "", now_ms: int) -> AlertDetail:
        with self._store.write() as connection:
            self._touch(connection, viewer, self._alert(connection, viewer, alert_id), now_ms)
            row = self._alert(connection, viewer, alert_id)
            self._note_read(connection, viewer, "alert.read", ObjectType.ALERT, alert_id, reason, now_ms)
            return self._detail(connection, viewer, row)

    def incidents(
        self, viewer: Viewer, *, state: ItemState | None = None, limit: int = 100, now_ms: int
    ) -> list[IncidentSummary]:
        with self._store.write() as connection:
            query = select(incidents).where(visible(connection, viewer, incidents))
            if state is not None:
                query = query.where(incidents.c.state == state.value)
            rows = connection.execute(query.order_by(incidents.c.number.desc()).limit(limit)).all()
            self._note_read(connection, viewer, "incidents.listed", ObjectType.INCIDENT, b"", "", now_ms)
            sources = self._sources_of(connection, viewer, rows)
            labels = Labels(connection, viewer, [*rows, *sources.values()])
            return [incident_summary(row, labels, _device_no(row, sources)) for row in rows]

    def incident(
        self, viewer: Viewer, incident_id: bytes, *, reason: str = "", now_ms: int
    ) -> IncidentDetail:
        with self._store.write() as connection:
            row = self._incident(connection, viewer, incident_id)
            self._note_read(
                connection, viewer, "incident.read", ObjectType.INCIDENT, incident_id, reason, now_ms
            )
            alert_rows = self._sources_of(connection, viewer, [row])
            for alert_row in alert_rows.values():
                self._touch(connection, viewer, alert_row, now_ms)
            labels = Labels(connection, viewer, [row, *alert_rows.values()])
            summary = incident_summary(row, labels, _device_no(row, alert_rows))
            device = labels.device(_device_no(row, alert_rows))
            return IncidentDetail(
                summary=summary,
                alert=next((self._detail(connection, viewer, alert) for alert in alert_rows.values()), None),
                entries=self._log(viewer).entries(connection, ObjectType.INCIDENT, incident_id),
                held=HoldBook(viewer.school_id, self._log(viewer)).why_held(
                    connection,
                    row,
                    device.device_id if device else None,
                    incident_days=self._incident_days,
                    now_ms=now_ms,
                ),
            )

    def event_proof(self, viewer: Viewer, alert_id: bytes, event_no: int, *, now_ms: int) -> str:
        with self._store.write() as connection:
            self._alert(connection, viewer, alert_id)
            rests = (
                evidence.c.school_id == viewer.school_id,
                evidence.c.alert_id == alert_id,
                evidence.c.event_no == event_no,
            )
            known = connection.execute(select(evidence.c.event_no).where(*rests)).first() is not None
            if viewer.audience is Audience.TECHNICIAN or not known:
                raise NoSuchItem("There is no such event in this alert. Go back to its page.")
            self._note_read(
                connection, viewer, "proof.read", ObjectType.ALERT, alert_id, f"event {event_no}", now_ms
            )
            try:
                found = event_proof(connection, self._store.keystore, viewer.school_id, event_no)
            except NotProvable as error:
                raise CaseFileError(f"The proof cannot be made: {error}.") from error
            return found.to_json()

    def change_mark(self, viewer: Viewer) -> int:
        with self._store.read() as connection:
            newest = [
                connection.execute(
                    select(func.max(column)).where(visible(connection, viewer, table))
                ).scalar()
                for table, column in (
                    (alerts, alerts.c.updated_ms),
                    (incidents, incidents.c.raised_ms),
                    (incidents, incidents.c.changed_ms),
                )
            ]
        return max((mark for mark in newest if mark is not None), default=0)

    # ---- acting -----------------------------------------------------------------------------------------

    def add_note(
        self, viewer: Viewer, object_type: ObjectType, object_id: bytes, text: str, *, now_ms: int
    ) -> CaseEntry:
        text = _checked(text, "note", MAX_TEXT)
        with self._store.write() as connection:
            match object_type:
                case ObjectType.ALERT:
                    row = self._alert(connection, viewer, object_id)
                    self._touch(connection, viewer, row, now_ms)
                case ObjectType.INCIDENT:
                    self._incident(connection, viewer, object_id)
            log = self._log(viewer)
            number = log.append(
                connection,
                object_type,
                object_id,
                actor=viewer.account_id,
                action="note",
                text=text,
                now_ms=now_ms,
            )
            return log.entries(connection, object_type, object_id)[number - 1]

    def give_verdict(
        self, viewer: Viewer, alert_id: bytes, verdict: Verdict, *, note: str = "", now_ms: int
    ) -> AlertSummary:
        if len(note) > MAX_TEXT:
            raise CaseFileError(f"The note has {len(note)} characters; {MAX_TEXT} are possible. Shorten it.")
        with self._store.write() as connection:
            row = self._alert(connection, viewer, alert_id)
            self._touch(connection, viewer, row, now_ms)
            rule = self._sources.rules.get(row.rule_id)
            category = rule.meta.category if rule else "other"
            give(connection, self._log(viewer), viewer, row, verdict, note.strip(), category, now_ms)
            return self._summary(connection, viewer, alert_id)

    def undo_verdict(self, viewer: Viewer, alert_id: bytes, *, now_ms: int) -> AlertSummary:
        try:
            with self._store.write() as connection:
                row = self._alert(connection, viewer, alert_id)
                take_back(connection, self._log(viewer), viewer, row, now_ms)
                return self._summary(connection, viewer, alert_id)
        except IntegrityError as error:
            said = "A newer alert about the same is open already; work on that one instead."
            raise CaseFileError(said) from error

    def raise_by_hand(
        self,
        viewer: Viewer,
        *,
        title: str,
        category: str,
        severity: Severity,
        text: str,
        subject_pseudonym: bytes | None = None,
        subject_kind: SubjectKind | None = None,
        audience: Audience | None = None,
        now_ms: int,
    ) -> IncidentSummary:
        title, text = _checked(title, "headline", MAX_TITLE), _checked(text, "text", MAX_TEXT)
        with self._store.write() as connection:
            kind = subject_kind or SubjectKind.SCHOOL
            subject = f"user:{subject_pseudonym.hex()}" if subject_pseudonym is not None else "school"
            if subject_pseudonym is not None:
                kind = person_kind(connection, viewer.school_id, subject_pseudonym)
            if audience is None:
                audience = viewer.audience
                told_whom = subject_pseudonym is not None or subject_kind is not None
                if told_whom or audience is Audience.TECHNICIAN:
                    audience = audience_of(connection, viewer.school_id, kind, subject)
            new = NewIncident(
                category=category,
                severity=severity,
                subject=subject,
                subject_kind=kind,
                audience=audience,
                title=title,
                raised_by=viewer.account_id,
                actor=viewer.account_id,
                text=text,
                exclude_pseudonym=subject_pseudonym,
            )
            incident_id = raise_incident(connection, self._log(viewer), viewer.school_id, new, now_ms)
            row = connection.execute(
                select(incidents).where(
                    incidents.c.school_id == viewer.school_id, incidents.c.incident_id == incident_id
                )
            ).one()
            return incident_summary(row, Labels(connection, viewer, [row]))

    def close_incident(
        self,
        viewer: Viewer,
        incident_id: bytes,
        outcome: Outcome,
        *,
        actions: str = "",
        reason: str,
        now_ms: int,
    ) -> IncidentSummary:
        reason = _checked(reason, "reason", MAX_TEXT)
        actions = _checked(actions, "account of what was done", MAX_TEXT) if actions.strip() else ""
        closing = Closing(outcome=outcome, actions=actions, reason=reason)
        with self._store.write() as connection:
            row = self._to_judge(connection, viewer, incident_id)
            close(connection, self._log(viewer), viewer, row, closing, now_ms)
            row = self._incident(connection, viewer, incident_id)
            return incident_summary(row, Labels(connection, viewer, [row]))

    def reopen_incident(self, viewer: Viewer, incident_id: bytes, *, reason: str, now_ms: int) -> bool:
        reason = _checked(reason, "reason", MAX_TEXT)
        with self._store.write() as connection:
            row = self._to_judge(connection, viewer, incident_id)
            reopen(connection, self._log(viewer), viewer, row, reason, now_ms)
            where = visible(connection, viewer, incidents) & (incidents.c.incident_id == incident_id)
            return connection.execute(select(incidents.c.number).where(where)).first() is not None

    # ---- helpers ----------------------------------------------------------------------------------------

    def _log(self, viewer: Viewer) -> CaseLog:
        return CaseLog(viewer.school_id, self._store.keystore)

    def _alert(self, connection: Connection, viewer: Viewer, alert_id: bytes) -> AnyRow:
        where = visible(connection, viewer, alerts) & (alerts.c.alert_id == alert_id)
        row = connection.execute(select(alerts).where(where)).first()
        if row is None:
            raise NoSuchItem("There is no such alert. It may have been handed on; go back to the list.")
        return row

    def _incident(self, connection: Connection, viewer: Viewer, incident_id: bytes) -> AnyRow:
        where = visible(connection, viewer, incidents) & (incidents.c.incident_id == incident_id)
        row = connection.execute(select(incidents).where(where)).first()
        if row is None:
            raise NoSuchItem("There is no such incident. It may have been handed on; go back to the list.")
        return row

    def _to_judge(self, connection: Connection, viewer: Viewer, incident_id: bytes) -> AnyRow:
        """An incident that the viewer may close or open: to a technician there is none."""
        if viewer.audience is Audience.TECHNICIAN:
            raise NoSuchItem("Incidents are closed by the DSL or the head.")
        return self._incident(connection, viewer, incident_id)

    def _sources_of(
        self, connection: Connection, viewer: Viewer, rows: Sequence[AnyRow]
    ) -> dict[bytes, AnyRow]:
        """The alerts that these incidents came from, by their ids."""
        wanted = [row.alert_id for row in rows if row.alert_id is not None]
        if not wanted:
            return {}
        where = visible(connection, viewer, alerts) & alerts.c.alert_id.in_(wanted)
        return {bytes(row.alert_id): row for row in connection.execute(select(alerts).where(where))}

    def _summary(self, connection: Connection, viewer: Viewer, alert_id: bytes) -> AlertSummary:
        row = self._alert(connection, viewer, alert_id)
        return alert_summary(row, Labels(connection, viewer, [row]))

    def _detail(self, connection: Connection, viewer: Viewer, row: AnyRow) -> AlertDetail:
        summary = alert_summary(row, Labels(connection, viewer, [row]))
        return alert_detail(connection, viewer, summary, self._log(viewer), self._sources)

    @staticmethod
    def _touch(connection: Connection, viewer: Viewer, row: AnyRow, now_ms: int) -> None:
        """From the first look on, an alert never closes by itself."""
        if row.touched_ms is None:
            connection.execute(
                update(alerts)
                .where(alerts.c.school_id == viewer.school_id, alerts.c.alert_id == row.alert_id)
                .values(touched_ms=now_ms, touched_by=viewer.account_id, updated_ms=now_ms)
            )

    @staticmethod
    def _note_read(
        connection: Connection,
        viewer: Viewer,
        action: str,
        object_type: ObjectType,
        object_id: bytes,
        reason: str,
        now_ms: int,
    ) -> None:
        if viewer.audience is Audience.TECHNICIAN:
            return  # devices' troubles; nothing of it is safeguarding data
        record_access(
            connection,
            school_id=viewer.school_id,
            account_id=viewer.account_id,
            action=action,
            object_type=object_type.value,
            object_id=object_id,
            reason=reason,
            now_ms=now_ms,
        )


def _device_no(row: AnyRow, sources: dict[bytes, AnyRow]) -> int | None:
    source = sources.get(bytes(row.alert_id)) if row.alert_id is not None else None
    return source.device_no if source is not None else None


def _checked(text: str, what: str, longest: int) -> str:
    text = text.strip()
    if not text:
        raise CaseFileError(f"The {what} is empty. Write it, or leave the page.")
    if len(text) > longest:
        raise CaseFileError(f"The {what} has {len(text)} characters; {longest} are possible. Shorten it.")
    return text
