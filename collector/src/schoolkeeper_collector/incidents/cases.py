"""The case file: what the console may list, open and write, filtered by audience and by subject.

Nobody sees an item about themselves, by any route: it is as absent to them as one that does not exist. The caller
checks that the account has the role at all; this checks the item.
"""

from __future__ import annotations

from typing import Protocol

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
from schoolkeeper_proto.model import Severity


class CaseFileError(Exception):
    """The person's request cannot be done; the message says why and what to do instead."""


class NoSuchItem(CaseFileError):
    """There is none, or none for this viewer: the two cannot be told apart."""


class Cases(Protocol):
    """What ``CaseFile`` offers. Every read is written to the access log in the same transaction."""

    def alerts(
        self, viewer: Viewer, *, state: ItemState | None = ItemState.OPEN, limit: int = 100, now_ms: int
    ) -> list[AlertSummary]:
        """Most severe first, then latest; at most ``limit``."""

    def alert(self, viewer: Viewer, alert_id: bytes, *, reason: str = "", now_ms: int) -> AlertDetail:
        """Raises ``NoSuchItem``. The first look touches the alert: it no longer closes by itself."""

    def event_proof(self, viewer: Viewer, alert_id: bytes, event_no: int, *, now_ms: int) -> str:
        """The proof file of an event that the alert rests on, as ``schoolkeeper-verify`` reads it; logged as a read.

        Raises ``NoSuchItem``, also for an event that the alert does not rest on and for a technician, and
        ``CaseFileError`` where the event cannot be proved now.
        """

    def add_note(
        self, viewer: Viewer, object_type: ObjectType, object_id: bytes, text: str, *, now_ms: int
    ) -> CaseEntry:
        """Appends a note; raises ``NoSuchItem``, or ``CaseFileError`` for an empty or overlong text."""

    def give_verdict(
        self, viewer: Viewer, alert_id: bytes, verdict: Verdict, *, note: str = "", now_ms: int
    ) -> AlertSummary:
        """RAISE makes an incident (its id is in the answer); WATCH keeps the alert open, the others close it."""

    def undo_verdict(self, viewer: Viewer, alert_id: bytes, *, now_ms: int) -> AlertSummary:
        """Within ``UNDO_MS`` and by the same account only; raises ``CaseFileError`` otherwise."""

    def incidents(
        self, viewer: Viewer, *, state: ItemState | None = None, limit: int = 100, now_ms: int
    ) -> list[IncidentSummary]:
        """Latest first."""

    def incident(
        self, viewer: Viewer, incident_id: bytes, *, reason: str = "", now_ms: int
    ) -> IncidentDetail:
        """Raises ``NoSuchItem``."""

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
        """An incident without an alert; one about staff goes to the head, whoever raised it.

        ``audience``: for whom it is, where the form said so to whoever wrote it (about the head: for the chair).

        ``subject_kind`` says whom it is about where nobody is named; a person is what the register says. With neither
        it waits for the role of whoever raised it.
        """

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
        """By the DSL or the head, never the technician. Raises ``NoSuchItem``, or ``CaseFileError`` without a reason,
        without what was done where the outcome says that something was, and for one that is closed already."""

    def reopen_incident(self, viewer: Viewer, incident_id: bytes, *, reason: str, now_ms: int) -> bool:
        """The same people. False: it was opened, and waits for another role now. Raises as ``close_incident``."""

    def change_mark(self, viewer: Viewer) -> int:
        """A number that grows whenever something of the viewer's lists changed: for live update."""
