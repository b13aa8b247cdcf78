"""What is checked and collected, how it is sealed, and in which words people are told so."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from schoolkeeper_policies.model.base import GroupName, Strict, Text, WordsByReader
from schoolkeeper_proto.model import (
    BODY_CLASSES,
    AcceptableUseAccepted,
    AcceptableUseDeferred,
    AcceptableUseShown,
    ApplicationUsage,
    SealingScheme,
    SiteUsage,
)
from schoolkeeper_proto.posture import THRESHOLDS, Check

KINDS = frozenset(cls.KIND for cls in BODY_CLASSES)
COUNTS_OF_USE = frozenset({ApplicationUsage.KIND, SiteUsage.KIND})
"""What people do where no rule is about it: off away from school and out of its hours, unless the school decides."""

AGREEMENT_KINDS = frozenset({AcceptableUseShown.KIND, AcceptableUseAccepted.KIND, AcceptableUseDeferred.KIND})
"""By which it is known who was shown the rules, and who agreed."""

Address = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+[^\s]*$", max_length=500)]


class FilterTest(Strict):
    """How a device tries whether the school's web filter works, and what its provider says of it."""

    blocked_page: Address
    """An address that the filter must refuse: the provider's own test page, never a page of that kind itself."""
    control_page: Address
    """An address that always answers, so that no network is not taken for a filter."""
    refusal_says: Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)] = ""
    """Words that only the filter's refusal page carries; leave it out where the filter shows no page."""
    provider: Text = "the school"
    """Who runs the filter."""
    declares: Text | None = None
    """What the provider declares of it, as "member of the IWF; blocks the CTIRU list". Shown as a declaration."""
    declared_on: date | None = None
    """When the provider last said so."""

    @field_validator("control_page")
    @classmethod
    def _another(cls, control: str, info: ValidationInfo) -> str:
        if control == info.data.get("blocked_page"):
            raise ValueError("must be another address than 'blocked_page': one is refused, the other answers")
        return control


class PostureCheck(Strict):
    """One check of the device's own state."""

    check: Check
    """Which one."""
    every_seconds: int = Field(ge=60, le=604_800)
    """How often."""
    threshold: int = Field(default=0, ge=0)
    """In the check's own unit, mostly days; 0 for its default."""
    fix: Text
    """What to do where it fails."""
    filter_test: FilterTest | None = None
    """Only for ``content-filter``: what to try. Without it the answer stays 'unknown'."""

    @field_validator("threshold")
    @classmethod
    def _heeded(cls, threshold: int, info: ValidationInfo) -> int:
        check = info.data.get("check")
        if threshold and check is not None and check not in THRESHOLDS:
            raise ValueError(f"{check.value} heeds no threshold; leave it out")
        return threshold

    @field_validator("filter_test")
    @classmethod
    def _of_the_filter(cls, test: FilterTest | None, info: ValidationInfo) -> FilterTest | None:
        check = info.data.get("check")
        if test is not None and check is not None and check is not Check.CONTENT_FILTER:
            raise ValueError(f"belongs to the check {Check.CONTENT_FILTER.value}, not to {check.value}")
        return test


class Collected(Strict):
    """Kinds that are collected for one purpose, with the words in which people are told so."""

    kinds: tuple[str, ...] = Field(min_length=1)
    """Kinds of event."""
    notice: Text
    """What people read about it. Without it nothing is collected."""
    purpose: Text
    """What it is for."""
    retention_days: int = Field(ge=1, le=36_500)
    """How long it is kept."""
    readers: tuple[Literal["dsl", "head", "chair", "trusted-adult", "technician", "pupil", "staff"], ...] = (
        Field(min_length=1)
    )
    """Who can look. Of ``person.report``: whom a person can choose to tell (a trusted adult is told by the DSL)."""
    off_site: bool | None = None
    """Also away from school; without it everything but counts of use."""
    out_of_hours: bool | None = None
    """Also out of school hours; without it everything but counts of use."""
    seal: Literal[SealingScheme.COLLECTOR, SealingScheme.ANY_ONE, SealingScheme.ANY_TWO] | None = None
    """Who opens personal words in it: the collector, any one named officer, any two; without it as the kind does."""


class Collection(Strict):
    """Everything that is collected. Nothing else is."""

    heartbeat_seconds: int = Field(default=300, ge=30, le=3_600)
    """How often a device says that it is well."""
    shared_accounts: tuple[Text, ...] = ()
    """Accounts that several people use; ``people`` can name them with their key stage."""
    collected: tuple[Collected, ...] = ()
    """What, why, how long, who."""


class NoticeLine(Strict):
    """A rule of the school that no device checks, as people are told of it."""

    text: Text
    """One sentence."""
    audience: tuple[Literal["pupils", "staff", "guests"], ...] = ()
    """Who is told; without any, everybody. Parents are told what pupils are."""
    source: tuple[Text, ...] = ()
    """Rows of the school's policy that it carries out."""
    words: WordsByReader = Field(default_factory=dict)
    """The same for other readers: by language, then ``junior`` (8 to 11), ``early`` (4 to 7) or ``plain``."""


class Notice(Strict):
    """What people read about the device."""

    title: Text
    """Its heading."""
    introduction: Text
    """Its first words."""
    not_watched: tuple[Text, ...] = Field(min_length=1)
    """What is not watched."""
    contacts: tuple[Text, ...] = ()
    """Whom to ask."""
    sign_in_notice: Text
    """One sentence at sign-in."""
    language: Literal["en", "cy"] = "en"
    """Of these words."""
    also: tuple[NoticeLine, ...] = ()
    """Rules of the school that no device checks."""

    @field_validator("also")
    @classmethod
    def _said_once(cls, also: tuple[NoticeLine, ...], info: ValidationInfo) -> tuple[NoticeLine, ...]:
        language = info.data.get("language")
        for number, line in enumerate(also, 1):
            if any(given == language and "plain" in said for given, said in line.words.items()):
                raise ValueError(
                    f"line {number}: 'text' is already the plain one in {language!r}; leave 'plain' out there"
                )
        return also


AgreementBand = Literal["eyfs", "ks1", "ks2", "ks3+", "staff", "guest"]


class Agreement(Strict):
    """The acceptable-use agreement. Its text is made from the rules; here stands who is asked, and how often."""

    document: GroupName = "acceptable-use"
    """Its name in records."""
    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=40)]
    """The school's own, as 2026-09; a new one asks everybody again, as does a change of the rules."""
    asked: tuple[AgreementBand, ...] = Field(min_length=1)
    """Who is asked on a device: pupils by key stage, ``staff``, ``guest``."""
    adult_accepts: tuple[Literal["eyfs", "ks1", "ks2"], ...] = ("eyfs", "ks1")
    """Who of them is shown it without having to answer: an adult accepts for them."""
    again_after_days: int = Field(default=366, ge=0, le=1_000)
    """Asked again after so many days; 0 for never."""

    @field_validator("asked")
    @classmethod
    def _each_once(cls, asked: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(asked)) != len(asked):
            raise ValueError("names somebody twice; name each once")
        return asked
