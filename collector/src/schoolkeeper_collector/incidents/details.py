"""One alert's page: what happened, why it fired, what is not known, how it is proved, what was done."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from sqlalchemy import Connection, func, select

from schoolkeeper_collector.detection.source import EventReader
from schoolkeeper_collector.incidents.closing import closed_before
from schoolkeeper_collector.incidents.doubts import doubts
from schoolkeeper_collector.incidents.evidence import Evidence, evidence_of, proof_sentence
from schoolkeeper_collector.incidents.listing import person_label
from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.incidents.model import (
    UNDO_MS,
    AlertDetail,
    AlertSummary,
    Audience,
    EvidenceItem,
    ObjectType,
    ReportedWords,
    Viewer,
    WhyItFired,
)
from schoolkeeper_collector.incidents.words import OpensWords, reported_words
from schoolkeeper_collector.store.tables import gaps
from schoolkeeper_policies.detection.ruleset import DetectionRule


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a page is made from besides the database."""

    read: EventReader
    rules: Mapping[str, DetectionRule]
    opener: OpensWords | None


def alert_detail(
    connection: Connection, viewer: Viewer, summary: AlertSummary, log: CaseLog, sources: Sources
) -> AlertDetail:
    evidence = evidence_of(connection, viewer.school_id, summary.alert_id, sources.read)
    rule = sources.rules.get(summary.rule_id)
    undo = None
    entries = log.entries(connection, ObjectType.ALERT, summary.alert_id)
    with_incident = bool(entries) and entries[-1].action == "closed"
    if not with_incident and summary.verdict_ms is not None and summary.verdict_by == viewer.account_id:
        undo = summary.verdict_ms + UNDO_MS
    return AlertDetail(
        summary=summary,
        what_happened=_named(connection, viewer, evidence),
        more_evidence=evidence.more,
        why=_why(summary, rule, evidence),
        not_known=doubts(
            summary, evidence, rule.meta.not_known if rule else (), _open_gaps(connection, summary)
        ),
        proof=proof_sentence(evidence),
        reported=_reported(viewer, summary, evidence, sources.opener),
        entries=entries,
        undo_until_ms=undo,
        earlier=()
        if viewer.audience is Audience.TECHNICIAN
        else closed_before(
            connection, viewer.school_id, summary.rule_id, summary.subject.key, but=summary.incident_id
        ),
    )


def _why(summary: AlertSummary, rule: DetectionRule | None, evidence: Evidence) -> WhyItFired:
    if rule is None:
        said = "The rule that fired is no longer in the school's policy."
        return WhyItFired(
            rule_id=summary.rule_id,
            rule_version=evidence.rule_version,
            title=summary.rule_id,
            explanation=said,
            source=(),
        )
    return WhyItFired(
        rule_id=rule.rule_id,
        rule_version=evidence.rule_version or rule.version,
        title=rule.title,
        explanation=rule.meta.explanation,
        source=rule.meta.source,
    )


def _named(connection: Connection, viewer: Viewer, evidence: Evidence) -> tuple[EvidenceItem, ...]:
    """Adds whose account was in use; a technician is not told."""
    if viewer.audience is Audience.TECHNICIAN:
        return evidence.items
    users = {one.event_no: one.event.user.pseudonym for one in evidence.events if one.event.user.pseudonym}
    names = {user: person_label(connection, viewer, user) for user in set(users.values())}
    return tuple(
        dataclasses.replace(item, details=(("account", names[users[item.event_no]]), *item.details))
        if item.event_no in users
        else item
        for item in evidence.items
    )


def _reported(
    viewer: Viewer, summary: AlertSummary, evidence: Evidence, opener: OpensWords | None
) -> tuple[ReportedWords, ...]:
    if viewer.audience is Audience.TECHNICIAN:
        return ()
    device_id = summary.device.device_id if summary.device else b""
    found = (reported_words(one, viewer.school_id, device_id, opener) for one in evidence.events)
    return tuple(words for words in found if words is not None)


def _open_gaps(connection: Connection, summary: AlertSummary) -> int:
    if summary.device is None:
        return 0
    query = select(func.count()).select_from(gaps)
    where = (gaps.c.device_no == summary.device.device_no, gaps.c.closed_ms.is_(None))
    return int(connection.execute(query.where(*where)).scalar_one())
