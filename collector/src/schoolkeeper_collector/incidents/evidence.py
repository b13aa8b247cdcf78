"""What an alert rests on: its events and facts, told in plain words, with what can be said about their proof."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from schoolkeeper_collector.detection.source import EventReader, ReadEvent
from schoolkeeper_collector.incidents import wording
from schoolkeeper_collector.incidents.model import EvidenceItem, ProofState
from schoolkeeper_collector.store.tables import checkpoints, collector_facts, findings, schools
from schoolkeeper_proto import model

LISTED: Final = 50
_READ: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Latest first; ``more`` findings are not listed; ``gone`` events were erased or cannot be read."""

    items: tuple[EvidenceItem, ...]
    events: tuple[ReadEvent, ...]
    fact_kinds: frozenset[str]
    rule_version: str
    more: int
    gone: int


def evidence_of(connection: Connection, school_id: str, alert_id: bytes, read: EventReader) -> Evidence:
    """Of the alert's latest findings."""
    where = (findings.c.school_id == school_id, findings.c.alert_id == alert_id)
    total = connection.execute(select(func.count()).select_from(findings).where(*where)).scalar_one()
    rows = connection.execute(
        select(findings.c.evidence, findings.c.rule_version)
        .where(*where)
        .order_by(findings.c.last_ms.desc(), findings.c.finding_id)
        .limit(LISTED)
    ).all()
    event_nos: set[int] = set()
    fact_nos: set[int] = set()
    for row in rows:
        held = json.loads(row.evidence)
        event_nos.update(held["events"])
        fact_nos.update(held["facts"])
    newest = sorted(event_nos, reverse=True)[:_READ]
    stored = [
        one
        for one in read(connection, school_id, sorted(newest))
        if not isinstance(one.event.body, model.Unrecognised)
    ]
    proved_to = _proved_to(connection, school_id)
    facts = _facts(connection, school_id, sorted(fact_nos, reverse=True)[:_READ])
    items = [_event_item(one, proved_to) for one in stored] + [item for item, _ in facts]
    return Evidence(
        items=tuple(sorted(items, key=lambda item: (item.at_ms, item.event_no or 0), reverse=True)),
        events=tuple(stored),
        fact_kinds=frozenset(kind for _, kind in facts),
        rule_version=rows[0].rule_version if rows else "",
        more=total - len(rows),
        gone=len(newest) - len(stored),
    )


def _proved_to(connection: Connection, school_id: str) -> int:
    """How many leaves the newest published checkpoint of this generation covers."""
    generation = select(schools.c.generation).where(schools.c.school_id == school_id).scalar_subquery()
    size = connection.execute(
        select(func.max(checkpoints.c.size)).where(
            checkpoints.c.school_id == school_id, checkpoints.c.generation == generation
        )
    ).scalar()
    return size or 0


def _event_item(stored: ReadEvent, proved_to: int) -> EvidenceItem:
    event = stored.event
    place = event.place.value if event.place in wording.PLACES else "unknown"
    return EvidenceItem(
        event_no=stored.event_no,
        fact_no=None,
        at_ms=min(stored.event_ms, stored.received_ms),
        received_ms=stored.received_ms,
        text=wording.tell(event.body),
        place=place,
        proof=ProofState.IN_LOG if stored.leaf_index < proved_to else ProofState.WAITING,
        leaf_index=stored.leaf_index,
        details=wording.details_of(event.body),
    )


def _facts(connection: Connection, school_id: str, numbers: list[int]) -> list[tuple[EvidenceItem, str]]:
    if not numbers:
        return []
    query = select(collector_facts).where(
        collector_facts.c.school_id == school_id, collector_facts.c.fact_no.in_(numbers)
    )
    return [
        (
            EvidenceItem(
                event_no=None,
                fact_no=row.fact_no,
                at_ms=row.at_ms,
                received_ms=row.at_ms,
                text=wording.tell_fact(row.kind),
                place="unknown",
                proof=ProofState.COLLECTOR_ONLY,
                leaf_index=None,
                details=wording.fact_details(json.loads(row.fields)),
            ),
            row.kind,
        )
        for row in connection.execute(query)
    ]


def proof_sentence(evidence: Evidence) -> str:
    """One sentence about all of it; what is not proved is not called proved."""
    events = [item for item in evidence.items if item.proof is not ProofState.COLLECTOR_ONLY]
    if not events:
        return "The collector noted this itself; no device signed it, so there is no device proof of it."
    waiting = sum(item.proof is not ProofState.IN_LOG for item in events)
    if not waiting:
        first = min(item.received_ms for item in events)
        since = wording.moment(first)
        return f"All of it is signed by the device and in the log, which took in the first of it {since}."
    if waiting == len(events):
        return "Signed by the device and stored, but no published checkpoint of the log covers it yet."
    return f"{waiting} of {len(events)} events are not covered by a published checkpoint of the log yet."
