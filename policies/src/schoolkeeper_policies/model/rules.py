"""Rules: what may be done on a device, when, where, by whom, and what the refused person reads."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from schoolkeeper_policies.model.base import GroupRef, Hours, PeopleName, RuleId, Strict, Text
from schoolkeeper_policies.model.testing import PolicyTest
from schoolkeeper_proto.model import DecisionKind, Place, Severity
from schoolkeeper_proto.policy import (
    MatchBy,
    MediaAccess,
    NetworkUse,
    PeripheralKind,
    RuleMode,
    SafeSearch,
    Switch,
)
from schoolkeeper_proto.site_matching import SITE

Decision = Literal[
    DecisionKind.ALLOW,
    DecisionKind.OBSERVE,
    DecisionKind.WARN,
    DecisionKind.BLOCK,
    DecisionKind.BLOCK_AND_RAISE,
]
SitePattern = Annotated[str, StringConstraints(pattern=f"^{SITE}$", max_length=512)]
"""``example.org`` with everything below it, ``example.org/path`` with every path that begins so, ``*`` for all."""


VendorProduct = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")]
LEAST_BEFORE_END = 300
"""Seconds that a person has at least before a session that does not lock is ended."""
ProxySetting = Annotated[
    str,
    StringConstraints(
        pattern=r"^(|direct|system|https?://[!-~]+|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?:[0-9]{1,5})$",
        max_length=512,
    ),
]
"""``direct``, ``system``, ``proxy.example.org:3128``, or the address of a configuration script (PAC)."""


class When(Strict):
    """When and where a rule holds; nothing given means always and everywhere."""

    school_hours: bool = False
    """In the school's hours, on days of school."""
    periods: tuple[PeopleName, ...] = ()
    """In these periods of the timetable, by name; ``lessons`` and ``breaks`` mean all of the kind."""
    times: tuple[Hours, ...] = ()
    """In these windows, on every day of the year."""
    places: tuple[Place, ...] = ()
    """on-site, off-site."""
    user_groups: tuple[Text, ...] = ()
    """For members of these groups of the operating system; for people of the school use ``audience``."""


class RuleException(Strict):
    """For whom a rule does not hold for a while. It takes away from its one rule and from nothing else."""

    id: RuleId
    """A name of its own."""
    people: tuple[Text, ...] = ()
    """Groups of people, or ``person:`` with an id of the register; without any, everybody on ``groups``."""
    groups: tuple[GroupRef, ...] = ()
    """Groups of devices; without any, all devices that the rule is for."""
    reason: Text
    """Why; do not write here what only the safeguarding lead should know (see ``overrides``)."""
    approved_by: Text
    """The role or officer who approved it."""
    from_: date | None = Field(default=None, alias="from")
    """Its first day."""
    until: date | None = None
    """Its last day. An exception without one is a mistake."""


class Rule(Strict):
    """What every rule says about itself."""

    id: RuleId
    """A name of its own: small letters, digits, '.' and '-'."""
    description: Text
    """What it does, in one sentence."""
    why: Text
    """Why the school has it."""
    resolution: Text
    """What the person refused can do; that person reads it."""
    source: tuple[Text, ...] = ()
    """Rows of the school's policy that it carries out."""
    mode: RuleMode = RuleMode.ENFORCE
    """observe: only written down; warn: the person is told; enforce."""
    severity: Severity = Severity.LOW
    """How much a refusal matters."""
    safeguarding: bool = False
    """It protects children: weakening it needs risk assessments and the leadership's consent."""
    groups: tuple[GroupRef, ...] = ()
    """Groups of devices it is for; without any, all."""
    audience: tuple[PeopleName, ...] = ()
    """Groups of people it is for; without any, everybody."""
    when: When | None = None
    """When and where it holds; without it, always and everywhere."""
    exceptions: tuple[RuleException, ...] = ()
    """For whom it does not hold for a while."""
    tests: tuple[PolicyTest, ...] = ()
    """What it must decide, and what it must leave alone; ``schoolkeeper-policy test`` runs them."""


class Match(Strict):
    """How a program is recognised: exactly one of these."""

    path: Text | None = None
    """Absolute path, exactly."""
    path_pattern: Text | None = Field(default=None, alias="path-pattern")
    """Pattern over the absolute path; '*' does not cross '/', '**' does."""
    file_name: Text | None = Field(default=None, alias="file-name")
    """Last part of the path, exactly."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the file."""
    package: Text | None = None
    """Name of the package that owns the file."""
    flatpak: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2,}$")] | None = (
        None
    )
    """Every program of a Flatpak, by its application id."""
    snap: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")] | None = None
    """Every program of a snap."""
    category: PeopleName | None = None
    """Every program of a category."""
    origin: Literal["system", "personal"] | None = None
    """system: only an administrator could have put it there; personal: everything else, as from a home or a stick."""

    @field_validator("path", "path_pattern")
    @classmethod
    def _absolute(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("/"):
            raise ValueError("must begin with '/'")
        return value

    @field_validator("file_name")
    @classmethod
    def _one_part(cls, value: str | None) -> str | None:
        if value is not None and "/" in value:
            raise ValueError("is the last part of a path: write it without '/'")
        return value

    def chosen(self) -> list[tuple[MatchBy, str]]:
        """What is given, as (how, text) of which any may match; a category is not among it."""
        by = {
            MatchBy.PATH: self.path,
            MatchBy.PATH_PATTERN: self.path_pattern,
            MatchBy.FILE_NAME: self.file_name,
            MatchBy.SHA256: self.sha256,
            MatchBy.PACKAGE: self.package,
            MatchBy.ORIGIN: self.origin,
        }
        found = [(how, text) for how, text in by.items() if text is not None]
        if self.flatpak is not None:
            places = ("/var/lib/flatpak/app", "/home/*/.local/share/flatpak/app")
            found += [(MatchBy.PATH_PATTERN, f"{place}/{self.flatpak}/**") for place in places]
        if self.snap is not None:
            found.append((MatchBy.PATH_PATTERN, f"/snap/{self.snap}/**"))
        return found

    def ways(self) -> int:
        """How many ways are given: it must be one."""
        return len(self.model_dump(exclude_none=True))


class ApplicationRule(Rule):
    """Whether programs start."""

    decision: Decision
    """allow, observe, warn, block, block-and-raise."""
    match: tuple[Match, ...] = Field(min_length=1)
    """Which programs: any of these."""
    unless: tuple[Match, ...] = ()
    """Programs that the rule is not about, though they match: what starts under ``origin: personal`` all the same."""
    identity: str = ""
    """What people call it."""


Bus = Literal["usb", "mmc", "optical", "firewire", "thunderbolt"]
"""What an agent calls the buses that media come by: another word would name none, silently."""


class MediaRule(Rule):
    """What a stick or disk may be used for."""

    access: MediaAccess
    """allow, read-only, block, encrypted-only."""
    plain: Literal[MediaAccess.BLOCK, MediaAccess.READ_ONLY] = MediaAccess.BLOCK
    """Under encrypted-only: what a medium without encryption gets."""
    unknown: Literal[MediaAccess.BLOCK, MediaAccess.READ_ONLY] = MediaAccess.BLOCK
    """Under encrypted-only: what a medium gets of which it cannot be told."""
    serials: tuple[Text, ...] = ()
    """Only media with these serial numbers."""
    vendor_products: tuple[Text, ...] = Field(default=(), alias="vendor-products")
    """Only these products, as 0951:1666 or 0951:*."""
    buses: tuple[Bus, ...] = ()
    """Only media on these buses. mmc: SD cards; optical: discs in a drive that does not hang on USB; thunderbolt: disks
    behind any port of PCI that faces outward, USB4 among them."""


class Token(Strict):
    """A security key, or a reader of smart cards, as ``lsusb`` shows it."""

    vendor_product: VendorProduct
    """Which product, as "1050:0407"."""
    serial: str = Field(default="", max_length=200)
    """Only the one with this serial number; empty: each of the product."""


class Screen(Rule):
    """When the screen locks."""

    idle_lock_seconds: int = Field(ge=30, le=86_400)
    """After so long without use."""
    warn_seconds: int = Field(default=0, ge=0, le=600)
    """The person is told so long before."""
    lock_on_lid: bool = True
    """When the lid is shut, also where the machine does not sleep then (docked)."""
    tokens: tuple[Token, ...] = ()
    """Security keys: when one of these is pulled out, the screen locks. A password opens it again."""
    end_unlocked_seconds: int = Field(default=0, ge=0, le=86_400)
    """A session that should be locked and does not lock is ended after so long, with words before; unsaved work is
    lost then. 0: it is tried again and reported, and never ended. A text console has no lock: it is ended."""
    hold_media: bool = False
    """Removable media that are plugged in while the screen is locked wait until somebody unlocks it."""

    @field_validator("end_unlocked_seconds")
    @classmethod
    def _time_to_save(cls, value: int) -> int:
        if 0 < value < LEAST_BEFORE_END:
            raise ValueError(f"must be 0 (never) or at least {LEAST_BEFORE_END}: people need time to save")
        return value


class SiteRule(Rule):
    """Which sites a browser may open."""

    decision: Decision
    """allow, observe, warn, block, block-and-raise."""
    categories: tuple[PeopleName, ...] = ()
    """Every site of these categories."""
    sites: tuple[SitePattern, ...] = ()
    """These sites."""
    allowed: tuple[SitePattern, ...] = ()
    """Sites that the rule is not about: with ``sites: ["*"]``, what is left open."""
    allowed_categories: tuple[PeopleName, ...] = ()
    """Categories whose listed sites the rule is not about."""


class BrowserRule(Rule):
    """How browsers are set. What is not given stays as the browser has it."""

    safe_search: SafeSearch = SafeSearch.UNSPECIFIED
    """off, moderate, strict."""
    search_engine: str = ""
    """Address with %s for the words searched for."""
    home_page: str = ""
    """Address of the first page."""
    private_windows: Switch = Switch.UNSPECIFIED
    """Windows that keep no history."""
    guest_profiles: Switch = Switch.UNSPECIFIED
    """Using the browser without a profile."""
    developer_tools: Switch = Switch.UNSPECIFIED
    """Tools that change a page or the browser's behaviour."""
    own_name_servers: Switch = Switch.UNSPECIFIED
    """Name servers of the browser's own (DNS over HTTPS), past the school's filter."""
    synchronisation: Switch = Switch.UNSPECIFIED
    """Copying what the browser keeps to an account elsewhere."""
    password_saving: Switch = Switch.UNSPECIFIED
    """Keeping passwords in the browser."""
    downloads: Switch = Switch.UNSPECIFIED
    """Saving files."""
    extensions: Switch = Switch.UNSPECIFIED
    """Installing extensions."""
    allowed_extensions: tuple[Text, ...] = ()
    """Extensions that stay allowed while others are blocked."""
    proxy: ProxySetting = ""
    """The browser's proxy, which people cannot change then: direct, system, host:port, or the address of a script."""


class NetworkRule(Rule):
    """Which ways into a network are open."""

    use: NetworkUse
    """What is used."""
    decision: Decision
    """allow, observe, warn, block, block-and-raise."""
    allowed: tuple[Text, ...] = ()
    """Names or addresses that stay allowed."""


class PeripheralRule(Rule):
    """Whether a camera, a phone, Bluetooth, ... can be used."""

    kind: PeripheralKind
    """What it is about."""
    decision: Decision
    """allow, observe, warn, block, block-and-raise."""
    allowed: tuple[Text, ...] = ()
    """Products that stay allowed, as 046d:0825."""
