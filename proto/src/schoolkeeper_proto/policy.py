"""The compiled policy as plain frozen values, as a device reads it: container, sections, working keys.

The container is final: a manifest that names every section with version, length and SHA-256, and the
capabilities a device must have. A required section or capability a device does not know refuses the whole
bundle. ``codec.py`` turns these into bytes and back; ``bundle.py`` checks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schoolkeeper_proto.model import DecisionKind, Place, SealingScheme, Severity


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
    ORIGIN = "origin"


class MarkKind(StrEnum):
    """By what a network of the school is known; see ``marks.py``."""

    UNSPECIFIED = "unspecified"
    GATEWAY_MAC = "gateway-mac"
    SSID = "ssid"
    DNS_SUFFIX = "dns-suffix"


class SafeSearch(StrEnum):
    UNSPECIFIED = "unspecified"
    OFF = "off"
    MODERATE = "moderate"
    STRICT = "strict"


class Switch(StrEnum):
    """Unspecified leaves a thing as the browser has it."""

    UNSPECIFIED = "unspecified"
    ALLOWED = "allowed"
    BLOCKED = "blocked"


class NetworkUse(StrEnum):
    UNSPECIFIED = "unspecified"
    OTHER_WIRELESS = "other-wireless"
    HOTSPOT = "hotspot"
    TETHERING = "tethering"
    OTHER_NAME_SERVERS = "other-name-servers"
    TUNNEL = "tunnel"
    OTHER_PROXY = "other-proxy"
    REMOTE_ACCESS = "remote-access"
    SHARED_FOLDERS = "shared-folders"


class PeripheralKind(StrEnum):
    UNSPECIFIED = "unspecified"
    CAMERA = "camera"
    MICROPHONE = "microphone"
    BLUETOOTH = "bluetooth"
    BLUETOOTH_DISCOVERABLE = "bluetooth-discoverable"
    PHONE = "phone"
    EXTERNAL_CAMERA = "external-camera"
    PRINTER = "printer"


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
    safeguarding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeWindow:
    """Bit 0 of ``weekdays`` is Monday; minutes since midnight, ``to_minute`` excluded."""

    weekdays: int
    from_minute: int
    to_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRange:
    """Days since 1 January 1970 in the school's time, both included; ``last_day`` 0 is without end."""

    first_day: int
    last_day: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleException:
    """Where it holds, its rule does not. ``expires_unix_ms`` is 0 only for users whom the rule itself nominates."""

    exception_id: str
    user_groups: tuple[str, ...] = ()
    not_before_unix_ms: int = 0
    expires_unix_ms: int = 0
    reason_commitment: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicability:
    """When and where a rule holds; empty means always and everywhere. ``days`` bounds ``times``."""

    times: tuple[TimeWindow, ...] = ()
    places: tuple[Place, ...] = ()
    user_groups: tuple[str, ...] = ()
    time_zone: str = ""
    exceptions: tuple[RuleException, ...] = ()
    days: tuple[DayRange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationMatch:
    by: MatchBy
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationRule:
    """``of_categories``: their names, where everything it matches is of categories; for notices."""

    text: RuleText
    decision: DecisionKind
    matches: tuple[ApplicationMatch, ...]
    identity: str = ""
    when: Applicability | None = None
    unless: tuple[ApplicationMatch, ...] = ()
    of_categories: tuple[str, ...] = ()


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
class SecurityToken:
    """A security key or a reader of smart cards; ``vendor_product`` as "1050:0407", ``serial`` empty for each."""

    vendor_product: str
    serial: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenSection:
    """``tokens``: what locks every screen when it is pulled out. ``end_unlocked_seconds``: a session that should be
    locked for so long and is not is ended; 0: never. ``hold_media``: what is plugged in while the screen is locked
    waits until somebody unlocks it.
    """

    text: RuleText
    idle_lock_seconds: int
    warn_seconds: int = 0
    when: Applicability | None = None
    lock_on_lid: bool = False
    tokens: tuple[SecurityToken, ...] = ()
    end_unlocked_seconds: int = 0
    hold_media: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterTest:
    """Two addresses to try (http or https), and the provider's declaration (``declared_on`` as YYYY-MM-DD)."""

    blocked_url: str
    control_url: str
    refusal_says: str = ""
    provider: str = ""
    declares: str = ""
    declared_on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostureCheck:
    """``threshold`` is in the check's own unit (``posture.THRESHOLDS``), 0 for its default."""

    check: str
    every_seconds: int
    threshold: int = 0
    fix: str = ""
    filter_test: FilterTest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostureSection:
    checks: tuple[PostureCheck, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedKind:
    """One kind that is collected; without a ``notice`` its sensor does not start (T-41). ``when``: times and days."""

    kind: str
    notice: str
    purpose: str = ""
    retention_days: int = 30
    readers: tuple[str, ...] = ()
    off_site: bool = True
    sealing: SealingScheme = SealingScheme.UNSPECIFIED
    when: Applicability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSection:
    kinds: tuple[CollectedKind, ...] = ()
    heartbeat_seconds: int = 300
    pseudonym_key: bytes = b""
    shared_accounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewording:
    """A line in other words. ``level``: early, junior or plain; ``language``: en or cy."""

    level: str
    language: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeLine:
    """A rule of the school that no device checks. ``audiences``: pupils, staff, guests; empty for everybody."""

    said: str
    audiences: tuple[str, ...] = ()
    rewordings: tuple[Rewording, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryWords:
    """What people read instead of the category ``name``."""

    name: str
    rewordings: tuple[Rewording, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeSection:
    """``someone_looks``: when somebody at school looks at what people tell; only its times and days count.

    ``categories``: what categories of the school's own are called.
    """

    title: str = ""
    introduction: str = ""
    not_watched: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()
    sign_in_notice: str = ""
    language: str = "en"
    also: tuple[NoticeLine, ...] = ()
    someone_looks: Applicability | None = None
    categories: tuple[CategoryWords, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementSection:
    """Who is asked to agree to the rules, and how often; the text is ``notices.agreement``'s (T-27, W-114).

    ``bands`` and ``adult_accepts`` hold values of ``notices.agreement.Band``; 0 days: when version or rules change.
    """

    document: str
    version: str = ""
    bands: tuple[str, ...] = ()
    adult_accepts: tuple[str, ...] = ()
    again_after_days: int = 0
    band_of_group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkMark:
    """``hash`` is 16 bytes, made by ``marks.mark_hash``."""

    kind: MarkKind
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A device is on it when marks of ``kinds_needed`` different kinds agree (0 counts as 1)."""

    name: str
    marks: tuple[NetworkMark, ...] = ()
    kinds_needed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SitesSection:
    sites: tuple[Site, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleSet:
    """Accounts that are in exactly these groups; ``members`` are pseudonyms' first bytes, rising, joined."""

    groups: tuple[str, ...]
    members: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleSection:
    """Account to groups, as ``people.PeopleTable`` reads it."""

    member_bytes: int = 8
    sets: tuple[PeopleSet, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRule:
    """``sites``: "example.org" with everything below, "example.org/path" with paths that begin so (there and on
    www.example.org), "*" for all.

    ``allowed`` are sites, written so, that the rule is not about.
    """

    text: RuleText
    decision: DecisionKind
    categories: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    when: Applicability | None = None
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCategory:
    name: str
    sites: tuple[str, ...] = ()
    filter_knows_more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserRule:
    """What is unspecified or empty is left as the browser has it.

    ``proxy``: "direct", "system", "host:port", or the address of a configuration script; people cannot change it then.
    """

    text: RuleText
    safe_search: SafeSearch = SafeSearch.UNSPECIFIED
    search_engine: str = ""
    home_page: str = ""
    private_windows: Switch = Switch.UNSPECIFIED
    guest_profiles: Switch = Switch.UNSPECIFIED
    developer_tools: Switch = Switch.UNSPECIFIED
    own_name_servers: Switch = Switch.UNSPECIFIED
    synchronisation: Switch = Switch.UNSPECIFIED
    password_saving: Switch = Switch.UNSPECIFIED
    downloads: Switch = Switch.UNSPECIFIED
    extensions: Switch = Switch.UNSPECIFIED
    allowed_extensions: tuple[str, ...] = ()
    when: Applicability | None = None
    proxy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserSection:
    rules: tuple[SiteRule, ...] = ()
    otherwise: DecisionKind = DecisionKind.ALLOW
    categories: tuple[SiteCategory, ...] = ()
    settings: tuple[BrowserRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRule:
    """``allowed`` names what stays allowed."""

    text: RuleText
    use: NetworkUse
    decision: DecisionKind
    allowed: tuple[str, ...] = ()
    when: Applicability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSection:
    rules: tuple[NetworkRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeripheralRule:
    """``allowed``: "vendor:product" pairs that stay allowed."""

    text: RuleText
    kind: PeripheralKind
    decision: DecisionKind
    allowed: tuple[str, ...] = ()
    when: Applicability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeripheralsSection:
    rules: tuple[PeripheralRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantBound:
    """What may be granted beside the rules. ``rule_ids``: a last '*' is any end; empty: what is not safeguarding."""

    kind: str
    rule_ids: tuple[str, ...] = ()
    max_seconds: int = 0
    duties: tuple[str, ...] = ()
    two_person: bool = False
    console: tuple[TimeWindow, ...] = ()
    """Of a lesson: in these windows the collector's command key may sign it, for staff who ask on the console."""
    time_zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantsSection:
    bounds: tuple[GrantBound, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationTerms:
    """``quiet``: nothing is said at the device, for a case about staff. ``ground_by``: "head" or "chair", who recorded
    the ground; ``ground_reference``: where, never its words (W-104)."""

    quiet: bool = False
    ground_by: str = ""
    ground_reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantPayload:
    """What a grant carries: rules of an emergency block, the grants that end, or how a device is isolated."""

    applications: ApplicationsSection | None = None
    grant_ids: tuple[bytes, ...] = ()
    isolation: IsolationTerms | None = None
    browser: BrowserSection | None = None


Section = (
    ApplicationsSection
    | MediaSection
    | ScreenSection
    | PostureSection
    | CollectionSection
    | NoticeSection
    | SitesSection
    | PeopleSection
    | BrowserSection
    | NetworkSection
    | PeripheralsSection
    | GrantsSection
    | AgreementSection
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
class FreeMoves:
    """Groups whose devices may come to ``to_group`` by the collector's word alone."""

    to_group: str
    from_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedMove:
    """One device that may come to a group whose safeguarding rules are weaker, until then."""

    device_id: bytes
    to_group: str
    until_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMoves:
    """Into which groups a device may be moved; signed by officers together with the bundles."""

    school_id: str
    free: tuple[FreeMoves, ...] = ()
    signed: tuple[SignedMove, ...] = ()


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
class AgentRelease:
    """A newer agent that the officers signed; see ``release.py``. ``per_mille``: of 1000 devices, who takes it."""

    school_id: str
    version: str
    platform: str
    architecture: str
    package_sha256: bytes
    package_length: int
    files_sha256: bytes
    salt: bytes
    per_mille: int


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
