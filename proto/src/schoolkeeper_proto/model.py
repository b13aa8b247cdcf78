"""What a device reports, as plain frozen values: one class per kind of event, no protobuf.

Times named ``*_unix_ms`` are Unix time in milliseconds; ``monotonic_ms`` counts milliseconds since boot,
suspend included. Each kind's ``KIND`` is its stable name: rules, retention and notices use it, and it never
changes once devices are out. ``codec.py`` turns these classes into bytes and back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, NewType, get_args

SchoolId = NewType("SchoolId", str)
DeviceId = NewType("DeviceId", bytes)
"""16 random bytes, given at enrolment."""
Epoch = NewType("Epoch", bytes)
"""16 random bytes: one life of a spool."""
EventId = NewType("EventId", bytes)
"""16 bytes, a UUID version 7 (RFC 9562)."""


class PostureResult(StrEnum):
    """The tri-state of everything that is checked. Unknown is never shown as pass."""

    UNSPECIFIED = "unspecified"
    PASS = "pass"  # noqa: S105 - a result, not a password
    FAIL = "fail"
    UNKNOWN = "unknown"


class Place(StrEnum):
    """Where the device was, as far as it can tell (T-29)."""

    UNSPECIFIED = "unspecified"
    ON_SITE = "on-site"
    OFF_SITE = "off-site"
    UNKNOWN = "unknown"


class UserKind(StrEnum):
    """Whose account was in use. A shared account is never one child."""

    UNSPECIFIED = "unspecified"
    NONE = "none"
    PERSON = "person"
    SHARED = "shared"
    LOCAL = "local"
    UNKNOWN = "unknown"


class DecisionKind(StrEnum):
    """What the policy answered."""

    UNSPECIFIED = "unspecified"
    ALLOW = "allow"
    OBSERVE = "observe"
    WARN = "warn"
    BLOCK = "block"
    READ_ONLY = "read-only"
    BLOCK_AND_RAISE = "block-and-raise"


class Severity(StrEnum):
    """How much an event matters; severities of alerts only rise."""

    UNSPECIFIED = "unspecified"
    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class MediumEncryption(StrEnum):
    """How a medium's content is encrypted, told from its bytes."""

    UNSPECIFIED = "unspecified"
    NONE = "none"
    LUKS1 = "luks1"
    LUKS2 = "luks2"
    BITLOCKER = "bitlocker"
    APFS = "apfs"
    FILEVAULT = "filevault"
    VERACRYPT = "veracrypt"
    UNKNOWN = "unknown"


class SizeClass(StrEnum):
    """Sizes are reported in classes: enough for a question, too little to recognise a file by."""

    UNSPECIFIED = "unspecified"
    EMPTY = "empty"
    UNDER_1_MIB = "under-1-mib"
    UNDER_100_MIB = "under-100-mib"
    UNDER_1_GIB = "under-1-gib"
    OVER_1_GIB = "over-1-gib"


class SealingScheme(StrEnum):
    """Who can open a sealed field; see sealing.py."""

    UNSPECIFIED = "unspecified"
    COLLECTOR = "collector"
    ANY_ONE = "any-one"
    ANY_TWO = "any-two"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRef:
    """A person or account, pseudonymous: 16 bytes of HMAC-SHA-256 under the school's pseudonym key."""

    pseudonym: bytes = b""
    kind: UserKind = UserKind.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRef:
    """The rule that decided, as the bundle in force names it."""

    rule_id: str
    source: str = ""
    decision: DecisionKind = DecisionKind.UNSPECIFIED
    enforced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A program: ``sha256`` is empty when it was not computed, ``package`` when none owns the file."""

    path: str
    sha256: bytes = b""
    name: str = ""
    package: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """A removable medium as the kernel and its own bytes describe it; ``size_bytes`` is in bytes."""

    kernel_name: str
    vendor_id: str = ""
    product_id: str = ""
    serial: str = ""
    bus: str = ""
    size_bytes: int = 0
    encryption: MediumEncryption = MediumEncryption.UNKNOWN
    file_system: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWrap:
    """A content key wrapped to one recipient, or nested to an ordered (approver, viewer) pair."""

    key_ids: tuple[bytes, ...]
    wrapped: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedField:
    """A ciphertext that the collector may be unable to read; ``withheld`` means nothing was collected."""

    scheme: SealingScheme
    officer_set_hash: bytes = b""
    recipients: tuple[str, ...] = ()
    wraps: tuple[KeyWrap, ...] = ()
    nonce: bytes = b""
    ciphertext: bytes = b""
    key_commitment: bytes = b""
    withheld: bool = False
    category: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    KIND: ClassVar[str] = "heartbeat"
    uptime_seconds: int = 0
    spool_pending_frames: int = 0
    spool_pending_bytes: int = 0
    spool_oldest_seconds: int = 0
    evicted_events: int = 0
    set_aside_events: int = 0
    resident_bytes: int = 0
    cpu_milliseconds: int = 0
    bundle_hash: bytes = b""
    last_checkpoint_hash: bytes = b""
    proof_failing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    KIND: ClassVar[str] = "session.signed_in"
    session_id: str
    session_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOut:
    KIND: ClassVar[str] = "session.signed_out"
    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLocked:
    KIND: ClassVar[str] = "session.locked"
    session_id: str
    cause: str = ""
    verified: bool = False
    rule: RuleRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUnlocked:
    KIND: ClassVar[str] = "session.unlocked"
    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionIdle:
    KIND: ClassVar[str] = "session.idle"
    session_id: str
    idle_seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFailed:
    KIND: ClassVar[str] = "session.lock_failed"
    session_id: str
    detail: str = ""
    rule: RuleRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationStarted:
    KIND: ClassVar[str] = "application.started"
    application: Application
    process_id: int = 0
    parent_process_id: int = 0
    rule: RuleRef | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationRefused:
    KIND: ClassVar[str] = "application.refused"
    application: Application
    process_id: int = 0
    rule: RuleRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationUsage:
    """Cumulative within the hour: a later one with the same ``aggregate_id`` replaces an earlier one."""

    KIND: ClassVar[str] = "application.usage"
    aggregate_id: bytes
    application: Application
    hour_start_unix_ms: int
    starts: int = 0
    running_seconds: int = 0
    first_start_unix_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumAttached:
    KIND: ClassVar[str] = "media.attached"
    medium: Medium


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumMounted:
    KIND: ClassVar[str] = "media.mounted"
    medium: Medium
    read_only: bool = False
    rule: RuleRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumRefused:
    KIND: ClassVar[str] = "media.refused"
    medium: Medium
    rule: RuleRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumMadeReadOnly:
    KIND: ClassVar[str] = "media.made_read_only"
    medium: Medium
    rule: RuleRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumWriteRefused:
    KIND: ClassVar[str] = "media.write_refused"
    medium: Medium
    count: int = 1
    rule: RuleRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumEjected:
    KIND: ClassVar[str] = "media.ejected"
    medium: Medium


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumCopy:
    """Writes to a medium; no file name unless an open case asks for it, and then sealed (T-45)."""

    KIND: ClassVar[str] = "media.copy"
    medium: Medium
    files: int = 0
    size_class: SizeClass = SizeClass.UNSPECIFIED
    file_names: SealedField | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumEncrypted:
    """``state``: "begun" (the key is kept, nothing is overwritten yet), "done", "failed". ``reference`` names the key.

    ``recovery_key`` is sealed to the school's technicians alone, and comes with "begun".
    """

    KIND: ClassVar[str] = "media.encrypted"
    medium: Medium
    state: str = ""
    recovery_key: SealedField | None = None
    reference: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteUsage:
    """Visits in an hour by site category; no address."""

    KIND: ClassVar[str] = "site.usage"
    aggregate_id: bytes
    browser: str = ""
    site_category: str = ""
    hour_start_unix_ms: int = 0
    visits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRefused:
    KIND: ClassVar[str] = "site.refused"
    aggregate_id: bytes
    browser: str = ""
    site_category: str = ""
    hour_start_unix_ms: int = 0
    refusals: int = 0
    addresses: SealedField | None = None
    rule: RuleRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChanged:
    KIND: ClassVar[str] = "network.changed"
    medium: str = ""
    network_hash: bytes = b""
    place: Place = Place.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterBypass:
    KIND: ClassVar[str] = "network.filter_bypass"
    technique: str
    evidence: str = ""
    rule: RuleRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationChanged:
    KIND: ClassVar[str] = "network.isolation_changed"
    isolated: bool
    ground: str = ""
    detail: str = ""
    grant_id: bytes = b""
    what: str = ""
    state: str = ""
    until_unix_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Posture:
    KIND: ClassVar[str] = "posture"
    check: str
    result: PostureResult
    since_unix_ms: int = 0
    evaluated_at_unix_ms: int = 0
    evidence: str = ""
    unknown_because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyApplied:
    KIND: ClassVar[str] = "policy.applied"
    bundle_hash: bytes
    bundle_version: int = 0
    not_enforceable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRefused:
    KIND: ClassVar[str] = "policy.refused"
    bundle_hash: bytes = b""
    bundle_version: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantApplied:
    KIND: ClassVar[str] = "grant.applied"
    grant_id: bytes
    rule_id: str = ""
    until_unix_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantEnded:
    KIND: ClassVar[str] = "grant.ended"
    grant_id: bytes
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionRequested:
    """A refused person asks for an exception; ``words`` are at most 300 characters of their own."""

    KIND: ClassVar[str] = "exception.requested"
    rule_id: str
    reason: str = "other"
    words: str = ""
    wanted: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptableUseShown:
    KIND: ClassVar[str] = "aup.shown"
    document: str
    document_version: str = ""
    age_band: str = ""
    language: str = ""
    text_sha256: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptableUseAccepted:
    """``accepted_by``: ``self``, ``staff`` or ``parent``, as was said at the device."""

    KIND: ClassVar[str] = "aup.accepted"
    document: str
    document_version: str = ""
    accepted_by: str = ""
    age_band: str = ""
    language: str = ""
    text_sha256: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptableUseDeferred:
    """It was put off for the ``times``-th time; more than ``allowed`` is something to be talked about, no lock."""

    KIND: ClassVar[str] = "aup.deferred"
    document: str
    document_version: str = ""
    age_band: str = ""
    times: int = 0
    allowed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonReport:
    """A person asks for help (T-28); ``recipient`` was chosen before sealing."""

    KIND: ClassVar[str] = "person.report"
    recipient: str
    category: str = ""
    urgent: bool = False
    words: SealedField | None = None
    reference: str = ""
    from_staff: bool = False
    who: SealedField | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStarted:
    KIND: ClassVar[str] = "agent.started"
    version: str
    operating_system: str = ""
    mode: str = ""
    not_enforceable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStopped:
    KIND: ClassVar[str] = "agent.stopped"
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentKilled:
    """Found at the next start: the previous run ended without saying why."""

    KIND: ClassVar[str] = "agent.killed"
    last_seen_unix_ms: int = 0
    down_seconds: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTampered:
    KIND: ClassVar[str] = "agent.tampered"
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRemoval:
    """Said before the agent's package goes. ``state``: "begun" or "failed"; ``by``: "command" or "package manager"."""

    KIND: ClassVar[str] = "agent.removal"
    state: str
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentUpdate:
    """``state``: "started", "installed", "succeeded", "rolled-back", "refused", "put-off" (tried again), "stuck"."""

    KIND: ClassVar[str] = "agent.update"
    state: str
    from_version: str = ""
    to_version: str = ""
    package_sha256: bytes = b""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockChanged:
    KIND: ClassVar[str] = "clock.changed"
    step_milliseconds: int
    direction: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The device knows that it missed something; ``count`` is a figure only if ``count_known``."""

    KIND: ClassVar[str] = "agent.gap"
    what: str
    from_unix_ms: int = 0
    to_unix_ms: int = 0
    count: int = 0
    count_known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evicted:
    """The spool dropped frames for want of room; the signed record is in the batch statement."""

    KIND: ClassVar[str] = "spool.evicted"
    lane: str
    first_sequence: int = 0
    events: int = 0
    frames: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A frame that the collector refused for good."""

    KIND: ClassVar[str] = "spool.set_aside"
    lane: str
    first_sequence: int = 0
    events: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorFailed:
    KIND: ClassVar[str] = "sensor.failed"
    sensor: str
    error: str = ""
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorRecovered:
    KIND: ClassVar[str] = "sensor.recovered"
    sensor: str
    down_milliseconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExceeded:
    KIND: ClassVar[str] = "agent.budget_exceeded"
    resource: str
    used: int = 0
    limit: int = 0
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    KIND: ClassVar[str] = "command.result"
    command_id: bytes
    succeeded: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    KIND: ClassVar[str] = "canary"
    canary_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedAlert:
    """Made at the collector from what a filter or monitoring provider saw."""

    KIND: ClassVar[str] = "imported.alert"
    provider: str
    provider_id: str = ""
    category: str = ""
    severity: Severity = Severity.UNSPECIFIED
    summary: str = ""
    seen_at_unix_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecognised:
    """An event of a newer kind than this side knows: stored and proved as bytes, matched by no rule."""

    KIND: ClassVar[str] = "unrecognised"


Body = (
    Heartbeat
    | SignedIn
    | SignedOut
    | SessionLocked
    | SessionUnlocked
    | SessionIdle
    | LockFailed
    | ApplicationStarted
    | ApplicationRefused
    | ApplicationUsage
    | MediumAttached
    | MediumMounted
    | MediumRefused
    | MediumMadeReadOnly
    | MediumWriteRefused
    | MediumEjected
    | MediumCopy
    | MediumEncrypted
    | SiteUsage
    | SiteRefused
    | NetworkChanged
    | FilterBypass
    | IsolationChanged
    | Posture
    | PolicyApplied
    | PolicyRefused
    | GrantApplied
    | GrantEnded
    | ExceptionRequested
    | AcceptableUseShown
    | AcceptableUseAccepted
    | AcceptableUseDeferred
    | PersonReport
    | AgentStarted
    | AgentStopped
    | AgentKilled
    | AgentTampered
    | ClockChanged
    | Gap
    | Evicted
    | SetAside
    | SensorFailed
    | SensorRecovered
    | BudgetExceeded
    | AgentRemoval
    | AgentUpdate
    | CommandResult
    | Canary
    | ImportedAlert
    | Unrecognised
)

BODY_CLASSES: tuple[type[Body], ...] = get_args(Body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact. Device, epoch, lane and sequence come from the certificate and the frame, never from here."""

    id: EventId
    wall_unix_ms: int
    monotonic_ms: int
    boot_id: bytes
    body: Body
    skew_ms: int | None = None
    place: Place = Place.UNKNOWN
    user: UserRef = field(default_factory=UserRef)
    severity: Severity = Severity.INFORMATIONAL
