"""The policy language: what a pack's files may say. ``parse.py`` reads files into these, ``compile.py`` compiles them.

Every key here is documented by its type and its comment; unknown keys are refused with a suggestion.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from schoolkeeper_proto.model import BODY_CLASSES, DecisionKind, Place, Severity
from schoolkeeper_proto.policy import MatchBy, MediaAccess, RuleMode

Text = Annotated[str, StringConstraints(min_length=1, max_length=2_000, strip_whitespace=True)]
RuleId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$", max_length=64)]
GroupName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
ClockTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
KINDS = frozenset(cls.KIND for cls in BODY_CLASSES)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class Weekday(StrEnum):
    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


WEEKDAYS = tuple(Weekday)


class Hours(_Strict):
    """A window on some days of the week, in the school's own time; ``to`` is excluded."""

    days: tuple[Weekday, ...] = Field(min_length=1)
    from_: ClockTime = Field(alias="from")
    to: ClockTime

    @field_validator("to")
    @classmethod
    def _forward(cls, to: str, info: object) -> str:
        start = getattr(info, "data", {}).get("from_")
        if start is not None and to <= start:
            raise ValueError(f"must be later than 'from' ({start}); write a night as two windows")
        return to


class Term(_Strict):
    """First and last day of school, both included."""

    name: Text
    first: date
    last: date


class School(_Strict):
    """When school is: what 'in school time' means everywhere."""

    time_zone: Text
    language: Literal["en", "cy"] = "en"
    hours: tuple[Hours, ...] = Field(min_length=1)
    terms: tuple[Term, ...] = ()
    closed: tuple[date, ...] = ()
    # After so much school time without a word from it, a device is called silent.
    silent_after_minutes: int = Field(default=240, ge=5, le=10_000)


class Group(_Strict):
    name: GroupName
    description: Text


class When(_Strict):
    """When and where a rule holds; nothing given means always and everywhere."""

    school_hours: bool = False
    times: tuple[Hours, ...] = ()
    places: tuple[Place, ...] = ()
    user_groups: tuple[Text, ...] = ()


class Rule(_Strict):
    """What every rule says about itself; ``resolution`` is read by the person refused."""

    id: RuleId
    description: Text
    why: Text
    resolution: Text
    source: tuple[Text, ...] = ()
    mode: RuleMode = RuleMode.ENFORCE
    severity: Severity = Severity.LOW
    groups: tuple[GroupName, ...] = ()
    when: When | None = None


class Match(_Strict):
    """How a program is recognised: exactly one of these."""

    path: Text | None = None
    path_pattern: Text | None = Field(default=None, alias="path-pattern")
    file_name: Text | None = Field(default=None, alias="file-name")
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    package: Text | None = None

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
        """What is given, as (how, text)."""
        by = {
            MatchBy.PATH: self.path,
            MatchBy.PATH_PATTERN: self.path_pattern,
            MatchBy.FILE_NAME: self.file_name,
            MatchBy.SHA256: self.sha256,
            MatchBy.PACKAGE: self.package,
        }
        return [(how, text) for how, text in by.items() if text is not None]


class ApplicationRule(Rule):
    decision: Literal[
        DecisionKind.ALLOW,
        DecisionKind.OBSERVE,
        DecisionKind.WARN,
        DecisionKind.BLOCK,
        DecisionKind.BLOCK_AND_RAISE,
    ]
    match: tuple[Match, ...] = Field(min_length=1)
    identity: str = ""


class MediaRule(Rule):
    """``plain`` and ``unknown``: what a medium without, or with untold, encryption gets under encrypted-only."""

    access: MediaAccess
    plain: Literal[MediaAccess.BLOCK, MediaAccess.READ_ONLY] = MediaAccess.BLOCK
    unknown: Literal[MediaAccess.BLOCK, MediaAccess.READ_ONLY] = MediaAccess.BLOCK
    serials: tuple[Text, ...] = ()
    vendor_products: tuple[Text, ...] = Field(default=(), alias="vendor-products")
    buses: tuple[Text, ...] = ()


class Screen(Rule):
    idle_lock_seconds: int = Field(ge=30, le=86_400)
    warn_seconds: int = Field(default=0, ge=0, le=600)


class PostureCheck(_Strict):
    check: Text
    every_seconds: int = Field(ge=60, le=604_800)
    threshold: int = Field(default=0, ge=0)
    fix: Text


class Collected(_Strict):
    """Kinds that are collected for one purpose, with the words in which people are told so."""

    kinds: tuple[str, ...] = Field(min_length=1)
    notice: Text
    purpose: Text
    retention_days: int = Field(ge=1, le=36_500)
    readers: tuple[Literal["dsl", "head", "technician", "pupil", "staff"], ...] = Field(min_length=1)
    off_site: bool = True


class Collection(_Strict):
    heartbeat_seconds: int = Field(default=300, ge=30, le=3_600)
    shared_accounts: tuple[Text, ...] = ()
    collected: tuple[Collected, ...] = ()


class Notice(_Strict):
    title: Text
    introduction: Text
    not_watched: tuple[Text, ...] = Field(min_length=1)
    contacts: tuple[Text, ...] = ()
    sign_in_notice: Text
    language: Literal["en", "cy"] = "en"


class About(_Strict):
    """The pack itself. ``other_groups`` says whether a group that it does not name gets the rules for all."""

    format: Literal[1]
    name: GroupName
    description: Text
    other_groups: Literal["rules-for-all", "refuse"] = "refuse"
    # Detection rules of another pack that hold here, too.
    detection_from: GroupName | None = None


class PackFile(_Strict):
    """One file of a pack; any file may hold any of these, each single one stands in one file only."""

    pack: About | None = None
    school: School | None = None
    groups: tuple[Group, ...] = ()
    applications: tuple[ApplicationRule, ...] = ()
    media: tuple[MediaRule, ...] = ()
    screen: Screen | None = None
    posture: tuple[PostureCheck, ...] = ()
    collection: Collection | None = None
    notice: Notice | None = None


class Pack(_Strict):
    """A whole pack without its detection rules, every name in it resolved."""

    about: About
    school: School
    groups: tuple[Group, ...]
    applications: tuple[ApplicationRule, ...]
    media: tuple[MediaRule, ...]
    screen: Screen | None
    posture: tuple[PostureCheck, ...]
    collection: Collection
    notice: Notice
    source_hash: bytes
