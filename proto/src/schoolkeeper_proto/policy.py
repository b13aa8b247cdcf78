"""The compiled policy as plain frozen values, as a device reads it: container, sections, working keys.

The container is final: a manifest that names every section with version, length and SHA-256, and the
capabilities a device must have. A required section or capability a device does not know refuses the whole
bundle. ``codec.py`` turns these into bytes and back; ``bundle.py`` checks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schoolkeeper_proto.model import DecisionKind, Place, Severity


class RuleMode(StrEnum):
    UNSPECIFIED = "unspecified"
    OBSERVE = "observe"
    WARN = "warn"
    ENFORCE = "enforce"


class MatchBy(StrEnum):
    """How an application is recognised; see policy.proto for each text's form."""

    UNSPECIFIED = "unspecified"
    PATH = "path"
    PATH_PATTERN = "path-pattern"
    FILE_NAME = "file-name"
    SHA256 = "sha256"
    PACKAGE = "package"


class MediaAccess(StrEnum):
    UNSPECIFIED = "unspecified"
    ALLOW = "allow"
    READ_ONLY = "read-only"
    BLOCK = "block"
    ENCRYPTED_ONLY = "encrypted-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionEntry:
    name: str
    version: int
    required: bool
    sha256: bytes
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleManifest:
    format: int
    school_id: str
    group: str
    version: int
    compiled_at_unix_ms: int
    sections: tuple[SectionEntry, ...] = ()
    required_capabilities: tuple[str, ...] = ()
    source_hash: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSection:
    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBundle:
    """``manifest`` is the serialised BundleManifest: hashes bind exactly these bytes."""

    manifest: bytes
    sections: tuple[BundleSection, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleText:
    """What people read about a rule; ``resolution`` is shown to the person refused."""

    rule_id: str
    description: str = ""
    why: str = ""
    resolution: str = ""
    source: tuple[str, ...] = ()
    mode: RuleMode = RuleMode.ENFORCE
    severity: Severity = Severity.LOW


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeWindow:
    """Bit 0 of ``weekdays`` is Monday; minutes since midnight, ``to_minute`` excluded."""

    weekdays: int
    from_minute: int
    to_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicability:
    """When and where a rule holds; empty means always and everywhere."""

    times: tuple[TimeWindow, ...] = ()
    places: tuple[Place, ...] = ()
    user_groups: tuple[str, ...] = ()
    time_zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationMatch:
    by: MatchBy
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationRule:
    text: RuleText
    decision: DecisionKind
    matches: tuple[ApplicationMatch, ...]
    identity: str = ""
    when: Applicability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationsSection:
    rules: tuple[ApplicationRule, ...] = ()
    otherwise: DecisionKind = DecisionKind.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRule:
    """Empty lists match every medium; ``plain`` and ``unknown`` say what those get under encrypted-only."""

    text: RuleText
    access: MediaAccess
    plain: MediaAccess = MediaAccess.BLOCK
    unknown: MediaAccess = MediaAccess.BLOCK
    serials: tuple[str, ...] = ()
    vendor_products: tuple[str, ...] = ()
    buses: tuple[str, ...] = ()
    when: Applicability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSection:
    rules: tuple[MediaRule, ...] = ()
    otherwise: DecisionKind = DecisionKind.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenSection:
    text: RuleText
    idle_lock_seconds: int
    warn_seconds: int = 0
    when: Applicability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostureCheck:
    """``threshold`` is in the check's own unit, 0 for its default."""

    check: str
    every_seconds: int
    threshold: int = 0
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostureSection:
    checks: tuple[PostureCheck, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedKind:
    """One kind that is collected; without a ``notice`` its sensor does not start (T-41)."""

    kind: str
    notice: str
    purpose: str = ""
    retention_days: int = 30
    readers: tuple[str, ...] = ()
    off_site: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSection:
    kinds: tuple[CollectedKind, ...] = ()
    heartbeat_seconds: int = 300
    pseudonym_key: bytes = b""
    shared_accounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeSection:
    title: str = ""
    introduction: str = ""
    not_watched: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()
    sign_in_notice: str = ""
    language: str = "en"


Section = (
    ApplicationsSection | MediaSection | ScreenSection | PostureSection | CollectionSection | NoticeSection
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestKey:
    """A device seals to it until ``advertised_until_unix_ms``; the collector opens for 400 days more."""

    key_id: bytes
    kem: str
    public_key: bytes
    not_before_unix_ms: int
    advertised_until_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """A raw Ed25519 public key and, for ledger keys, the generation it signs."""

    key_id: bytes
    public_key: bytes
    generation: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficerKey:
    key_id: bytes
    officer_id: str
    duties: tuple[str, ...]
    sealing_key: bytes
    signing_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatement:
    """The school's working keys and addresses, signed by officers through the root."""

    school_id: str
    school_name: str
    version: int
    issued_unix_ms: int
    ca_certificates: tuple[bytes, ...] = ()
    ingest_keys: tuple[IngestKey, ...] = ()
    ledger_keys: tuple[VerificationKey, ...] = ()
    command_keys: tuple[VerificationKey, ...] = ()
    officers: tuple[OfficerKey, ...] = ()
    uplink_addresses: tuple[str, ...] = ()
    enrolment_addresses: tuple[str, ...] = ()
    ledger_origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAssignment:
    device_id: bytes
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMap:
    """Device to group, the same file for every device."""

    school_id: str
    version: int
    assignments: tuple[GroupAssignment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRing:
    """Devices that take a new bundle together: those named, and those whose fraction is below ``per_mille``."""

    name: str
    device_ids: tuple[bytes, ...] = ()
    per_mille: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutTerms:
    """What the collector holds itself to before it opens the next ring."""

    soak_seconds: int = 86_400
    refusals_per_1000_device_days: int | None = None
    in_lessons_because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """Who of a group takes the new bundle first; signed by officers together with both bundles."""

    school_id: str
    group: str
    rollout_id: bytes
    from_bundle_hash: bytes
    from_version: int
    to_bundle_hash: bytes
    to_version: int
    rings: tuple[RolloutRing, ...]
    salt: bytes
    planned_unix_ms: int
    terms: RolloutTerms | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStage:
    """How far one rollout is: the first ``open_rings`` rings of its plan are open."""

    group: str
    rollout_id: bytes
    open_rings: int
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStage:
    """How far every rollout is, in the collector's word: the same file for every device."""

    school_id: str
    version: int
    groups: tuple[GroupStage, ...] = ()
