"""Alerts, incidents and their case files as the console reads them: frozen values, no rows.

Times are Unix milliseconds. Text here is already in plain words (``wording.py``) and holds what the viewer's role
may see and nothing else. Severities are ``model.Severity``; audiences say for whom an item waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schoolkeeper_proto.model import Severity


class Audience(StrEnum):
    """Who an item waits for. Items about staff wait for the head and not for the DSL."""

    DSL = "dsl"
    HEAD = "head"
    CHAIR = "chair"
    """The chair of governors: items that no head may read, because they are about the only one."""
    TECHNICIAN = "technician"


class ItemState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class ObjectType(StrEnum):
    """What a case entry, a notice or an access is about."""

    ALERT = "alert"
    INCIDENT = "incident"


class Verdict(StrEnum):
    """A person's answer to an alert; RAISE makes an incident of it. The last is given by the machine only."""

    FALSE_POSITIVE = "false-positive"
    NO_CONCERN = "no-concern"
    WATCH = "watch"
    RAISE = "raised"
    RECOVERED = "recovered"


class Outcome(StrEnum):
    """How a person closed an incident: no substance, or one of the routes that a concern with substance takes."""

    FALSE_POSITIVE = "false-positive"
    NO_CONCERN = "no-concern"
    WATCH = "watch"
    INTERNAL = "internal"
    """Dealt with in school."""
    OUTSIDE = "outside"
    """Handed to the local authority, social care or another organisation."""
    POLICE = "police"


WITH_ACTIONS = (Outcome.INTERNAL, Outcome.OUTSIDE, Outcome.POLICE)
"""What was done must be said with these."""
PERSONS_VERDICTS = (Verdict.FALSE_POSITIVE, Verdict.NO_CONCERN, Verdict.WATCH, Verdict.RAISE)
UNDO_MS = 10_000
"""For so long after a verdict its giver may take it back (in milliseconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Who looks: the account and the audience its role stands for. The console has signed it in."""

    school_id: str
    account_id: str
    audience: Audience


class SubjectKind(StrEnum):
    """What an item is about. A shared account is never one child."""

    PUPIL = "pupil"
    STAFF = "staff"
    GUEST = "guest"
    SHARED = "shared"
    UNKNOWN_PERSON = "unknown"
    DEVICE = "device"
    SCHOOL = "school"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom or what an item is about. ``label`` is what may be shown: a name only if the role may know it."""

    key: str
    """"user:<hex>", "device:<hex>", "report:<hex>" or "school"."""
    kind: SubjectKind
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLabel:
    """The device an item comes from."""

    device_no: int
    device_id: bytes
    hostname: str
    group: str
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSummary:
    """One line of the queue."""

    alert_id: bytes
    audience: Audience
    severity: Severity
    state: ItemState
    title: str
    subject: Subject
    device: DeviceLabel | None
    first_ms: int
    last_ms: int
    findings: int
    late: bool
    """Part of it came in long after it happened."""
    created_ms: int
    updated_ms: int
    touched_ms: int | None
    touched_by: str
    verdict: Verdict | None
    verdict_by: str
    verdict_ms: int | None
    incident_id: bytes | None
    rule_id: str


class ProofState(StrEnum):
    """What can be said about an event's place in the log. Unknown is never shown as proved."""

    IN_LOG = "in-log"
    """Its statement is in the ledger and a published checkpoint covers it."""
    WAITING = "waiting"
    """Stored, but no published checkpoint covers it yet."""
    COLLECTOR_ONLY = "collector-only"
    """A fact that the collector itself noted: no device signed it."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceItem:
    """One event or collector fact that the alert rests on, told in one plain sentence."""

    event_no: int | None
    fact_no: int | None
    at_ms: int
    received_ms: int
    text: str
    place: str
    """"on-site", "off-site" or "unknown"."""
    proof: ProofState
    leaf_index: int | None
    details: tuple[tuple[str, str], ...] = ()
    """(label, value) pairs for whoever wants the exact fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyItFired:
    rule_id: str
    rule_version: str
    title: str
    explanation: str
    """In plain words, from the rule's description."""
    source: tuple[str, ...]
    """Rows of the school's policy it stands on, for example "T-17"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedWords:
    """What a person wrote. ``text`` is None when it cannot be shown here, and ``because`` says why.

    ``who``: who they say they are, which nobody checked; empty when they say nothing of it.
    """

    event_no: int
    recipient: str
    category: str
    urgent: bool
    reference: str
    text: str | None
    because: str = ""
    who: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseEntry:
    """One entry of an append-only case file; an edit is a new entry."""

    entry_no: int
    object_type: ObjectType
    object_id: bytes
    number: int
    at_ms: int
    actor: str
    """An account id, or "schoolkeeper" for what the machine wrote."""
    action: str
    text: str | None
    """None: its key is gone, the text was erased and only the commitment stays."""
    commitment: bytes
    in_ledger: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """An incident about the same, by the same rule, that was closed before."""

    incident_id: bytes
    number: int
    closed_ms: int
    outcome: Outcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDetail:
    """One page: what happened, why it fired, what is not known, proof, and the work so far."""

    summary: AlertSummary
    what_happened: tuple[EvidenceItem, ...]
    more_evidence: int
    """So many further findings are not listed; ``summary.findings`` counts all."""
    why: WhyItFired
    not_known: tuple[str, ...]
    proof: str
    """One sentence about all of the evidence."""
    reported: tuple[ReportedWords, ...]
    entries: tuple[CaseEntry, ...]
    undo_until_ms: int | None
    earlier: tuple[Earlier, ...] = ()
    """The latest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentSummary:
    incident_id: bytes
    number: int
    category: str
    severity: Severity
    state: ItemState
    title: str
    subject: Subject
    audience: Audience
    raised_by: str
    """"rule", or the account id of the person who raised it."""
    raised_ms: int
    alert_id: bytes | None
    closed_ms: int | None = None
    closed_by: str = ""
    """An account id; empty while open, and of one that was withdrawn within ten seconds."""
    outcome: Outcome | None = None


class HeldBy(StrEnum):
    """What keeps an incident's evidence from being deleted for its age."""

    OPEN = "open"
    CLOSED = "closed"
    """Its own period after its closing still runs."""
    HOLD = "hold"
    DEVICE = "device"
    """A legal hold on the device that it came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One reason. ``until_ms`` None: until somebody ends it. ``number``, ``by`` and ``reason``: of a legal hold."""

    held_by: HeldBy
    since_ms: int
    until_ms: int | None = None
    number: int = 0
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentDetail:
    summary: IncidentSummary
    alert: AlertDetail | None
    entries: tuple[CaseEntry, ...]
    held: tuple[Held, ...] = ()
    """Empty: what it rests on is kept like everything else."""
