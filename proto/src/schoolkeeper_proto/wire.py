"""The messages of both services as plain frozen values, and the statements that are signed and logged.

Field names equal those of ``v1/uplink.proto`` and ``v1/enrolment.proto``, where each is explained. Bytes that a
signature or a hash binds (statements, frame headers) stay bytes here and are decoded on their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

WIRE_MAJOR = 1
WIRE_MINOR = 0
CHAIN_START = bytes(32)
"""Chain value of a lane before its first frame."""


class Lane(StrEnum):
    """Own sequence and own chain each, so that evicting one never breaks another."""

    UNSPECIFIED = "unspecified"
    CRITICAL = "critical"
    NORMAL = "normal"
    BULK = "bulk"


LANES = (Lane.CRITICAL, Lane.NORMAL, Lane.BULK)
"""In the order they are sent; the reverse is the order in which they are evicted."""


class Compression(StrEnum):
    UNSPECIFIED = "unspecified"
    NONE = "none"
    ZSTD = "zstd"


class StatementType(StrEnum):
    UNSPECIFIED = "unspecified"
    BATCH = "batch"
    AUDIT = "audit"
    INCIDENT = "incident"
    POLICY = "policy"
    KEY = "key"
    TOMBSTONE = "tombstone"
    RECOVERY = "recovery"


class Disposition(StrEnum):
    """What became of a frame; see uplink.proto for what a device does with each."""

    UNSPECIFIED = "unspecified"
    STORED = "stored"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    CONFLICT = "conflict"
    RETRY = "retry"


class GrantKind(StrEnum):
    UNSPECIFIED = "unspecified"
    OBSERVE = "observe"
    EXCEPTION = "exception"
    LESSON = "lesson"
    EMERGENCY_BLOCK = "emergency-block"
    ISOLATE = "isolate"
    RELEASE = "release"
    LOST = "lost"
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True, kw_only=True)
class WireVersion:
    major: int = WIRE_MAJOR
    minor: int = WIRE_MINOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    segment_id: bytes
    epoch: bytes
    ingest_key_id: bytes
    wrapped_key: bytes
    created_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    lane: Lane
    first_sequence: int
    count: int
    root: bytes
    previous: bytes
    segment_id: bytes
    segment_counter: int
    compression: Compression
    plain_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    header: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SaltedEvent:
    """``event`` is the serialised Event; ``salt`` 16 random bytes, so that a commitment gives nothing away."""

    salt: bytes
    event: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePayload:
    events: tuple[SaltedEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRun:
    lane: Lane
    first_sequence: int
    counts: tuple[int, ...]
    roots: tuple[bytes, ...]
    chain_before: bytes
    chain_after: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictionRecord:
    lane: Lane
    first_sequence: int
    events: int
    frames: int
    chain_before: bytes
    chain_after: bytes
    reason: str
    evicted_at_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatement:
    school_id: str
    device_id: bytes
    epoch: bytes
    certificate_hash: bytes
    runs: tuple[LaneRun, ...] = ()
    evictions: tuple[EvictionRecord, ...] = ()
    cut_at_unix_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """``key_id`` is the SHA-256 of the signer's SubjectPublicKeyInfo."""

    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """A ledger leaf: its serialised bytes are the RFC 6962 leaf data."""

    type: StatementType
    statement: bytes
    signatures: tuple[Signature, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditStatement:
    school_id: str
    at_unix_ms: int
    actor: str
    action: str
    object: str = ""
    reason: str = ""
    detail_commitment: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentStatement:
    school_id: str
    incident_id: bytes
    entry_number: int
    at_unix_ms: int
    actor: str
    action: str
    entry_commitment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStatement:
    school_id: str
    name: str
    version: int
    sha256: bytes
    at_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatementEntry:
    school_id: str
    key_statement_hash: bytes
    at_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedEvents:
    """``spans``: pairs of a position in the leaf's statement and how many events from it on."""

    leaf_index: int
    spans: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TombstoneStatement:
    """Either ``leaf_index`` and ``positions``, or ``erased`` for many leaves at once."""

    school_id: str
    leaf_index: int = 0
    positions: tuple[int, ...] = ()
    actor: str
    ground: str
    at_unix_ms: int
    erased: tuple[ErasedEvents, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStatement:
    school_id: str
    old_generation: int
    new_generation: int
    restored_size: int
    restored_root: bytes
    highest_known_checkpoint: str
    reason: str
    at_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    statement: bytes
    signature: bytes
    segments: tuple[Segment, ...]
    frames: tuple[Frame, ...]
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneCursor:
    epoch: bytes
    lane: Lane
    oldest_sequence: int
    next_sequence: int
    chain: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    version: WireVersion
    epoch: bytes
    cursors: tuple[LaneCursor, ...] = ()
    checkpoint: str = ""
    previous_generation_checkpoint: str = ""
    bundle_hash: bytes = b""
    bundle_version: int = 0
    key_statement_hash: bytes = b""
    root_version: int = 0
    agent_version: str = ""
    platform: str = ""
    capabilities: tuple[str, ...] = ()
    boot_id: bytes = b""
    machine_hash: bytes = b""
    wall_unix_ms: int = 0
    spool_pending_events: int = 0
    evicted_events: int = 0
    set_aside_events: int = 0
    proof_failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHeartbeat:
    checkpoint: str = ""
    wall_unix_ms: int = 0
    spool_pending_events: int = 0
    proof_failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAcknowledged:
    command_id: bytes
    succeeded: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMessage:
    body: Hello | Batch | StreamHeartbeat | CommandAcknowledged | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeDisposition:
    epoch: bytes
    lane: Lane
    first_sequence: int
    count: int
    disposition: Disposition
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    leaf_index: int
    tree_size: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    old_size: int
    new_size: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTime:
    statement: bytes
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeStatement:
    school_id: str
    unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    batch_number: int
    ranges: tuple[RangeDisposition, ...]
    checkpoint: str = ""
    inclusion: InclusionProof | None = None
    time: SignedTime | None = None
    consistency: ConsistencyProof | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRange:
    """Sequences ``first_sequence`` up to, not including, ``end_sequence``."""

    epoch: bytes
    lane: Lane
    first_sequence: int
    end_sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyAvailable:
    bundle_hash: bytes
    bundle_version: int
    timestamp_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    version: WireVersion
    checkpoint: str = ""
    consistency: ConsistencyProof | None = None
    time: SignedTime | None = None
    held: tuple[HeldRange, ...] = ()
    max_batch_bytes: int = 1 << 20
    max_frames: int = 512
    window_batches: int = 4
    heartbeat_seconds: int = 60
    new_epoch_because: str = ""
    policy: PolicyAvailable | None = None
    recovery_entry: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatReply:
    checkpoint: str = ""
    consistency: ConsistencyProof | None = None
    time: SignedTime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushback:
    """``credit_bytes`` the device may send until the next one; no ``lanes`` means all."""

    retry_after_ms: int
    credit_bytes: int = 0
    reason: str = ""
    lanes: tuple[Lane, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    statement: bytes
    signatures: tuple[Signature, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantStatement:
    school_id: str
    grant_id: bytes
    kind: GrantKind
    not_before_unix_ms: int
    expires_unix_ms: int
    device_ids: tuple[bytes, ...] = ()
    groups: tuple[str, ...] = ()
    rule_ids: tuple[str, ...] = ()
    powered_on_seconds: int = 0
    reason_commitment: bytes = b""
    notice: str = ""
    payload: bytes = b""
    allowed_mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshPolicy:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewCertificate:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class SendCanary:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPosture:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEpoch:
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveCollector:
    uplink_addresses: tuple[str, ...] = ()
    enrolment_addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDeclined:
    """Said to the account that asked, which only the device knows. ``words``: written for it; may be empty."""

    reference: str
    rule_id: str
    decided_by: str
    words: str = ""
    decided_unix_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRead:
    """Somebody opened the report of that number; nothing more is said of it."""

    reference: str
    read_unix_ms: int = 0


Order = (
    RefreshPolicy
    | RenewCertificate
    | SendCanary
    | ReportPosture
    | MoveCollector
    | NewEpoch
    | RequestDeclined
    | ReportRead
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandStatement:
    school_id: str
    command_id: bytes
    device_id: bytes
    expires_unix_ms: int
    order: Order | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    statement: bytes
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    reason: str
    remedy: str = ""
    retry_after_ms: int = 0


CollectorBody = Welcome | Ack | HeartbeatReply | Pushback | PolicyAvailable | Grant | Command | Goodbye


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorMessage:
    body: CollectorBody | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """``offset``: bytes of a package that the device has already."""

    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchChunk:
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceDescription:
    hostname: str = ""
    serial: str = ""
    vendor: str = ""
    model: str = ""
    operating_system: str = ""
    platform: str = ""
    agent_version: str = ""
    machine_hash: bytes = b""
    key_storage: str = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolRequest:
    token_id: str
    token_secret: bytes
    csr: bytes
    device: DeviceDescription
    epoch: bytes = b""
    request_nonce: bytes = b""
    wire_major: int = WIRE_MAJOR
    wire_minor: int = WIRE_MINOR


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFile:
    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolResponse:
    school_id: str
    device_id: bytes
    group: str
    certificate_chain: tuple[bytes, ...]
    root_metadata: tuple[bytes, ...]
    metadata: tuple[NamedFile, ...]
    targets: tuple[NamedFile, ...]
    server_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewRequest:
    certificate: bytes
    csr: bytes
    signed_at_unix_ms: int
    nonce: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewProof:
    certificate_hash: bytes
    csr_hash: bytes
    nonce: bytes
    signed_at_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewResponse:
    certificate_chain: tuple[bytes, ...]
    server_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachRequest:
    nonce: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachResponse:
    school_id: str
    server_unix_ms: int
    time_statement: bytes
    time_key_id: bytes
    time_signature: bytes
