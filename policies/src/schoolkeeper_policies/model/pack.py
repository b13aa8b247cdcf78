"""A pack: its files, and the whole."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from schoolkeeper_policies.model.assessments import Assessment
from schoolkeeper_policies.model.base import GroupName, Hours, Strict, Text
from schoolkeeper_policies.model.collect import Agreement, Collection, Notice, PostureCheck
from schoolkeeper_policies.model.matrices import Category, Matrix, OpenDecision
from schoolkeeper_policies.model.people import Group, Override, People
from schoolkeeper_policies.model.rules import (
    ApplicationRule,
    BrowserRule,
    MediaRule,
    NetworkRule,
    PeripheralRule,
    Rule,
    Screen,
    SiteRule,
)
from schoolkeeper_policies.model.school import School
from schoolkeeper_policies.model.testing import PolicyTest

RulePattern = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9]+([.-][a-z0-9]+)*[.-]?\*?|\*)$", max_length=64)
]


class GrantBound(Strict):
    """What may be granted beside the rules, by whom, for how long."""

    kind: Literal["observe", "exception", "lesson", "emergency-block", "isolate", "release", "lost", "revoke"]
    """Which kind of grant."""
    rules: tuple[RulePattern, ...] = ()
    """Rule ids; a last '*' stands for every end. Without any: every rule that is not safeguarding."""
    max_minutes: int = Field(ge=1, le=43_200)
    """So long at most; 30 days are 43200."""
    duties: tuple[Text, ...] = Field(min_length=1)
    """Any one of these may grant it."""
    two_persons: bool = False
    """It needs two signatures, one technical and one safeguarding."""
    console: tuple[Hours, ...] = ()
    """Of a lesson: in these hours any member of staff with an account opens it on the console, within this bound."""


class EarlyReview(Strict):
    """A review of the whole policy before its day, because something happened (T-01)."""

    opened: date
    """The day on which it was opened."""
    because: Literal["new-technology", "new-threat", "serious-incident", "other"]
    """Why it does not wait."""
    about: Text
    """What happened, without anybody's name."""
    by: date
    """By when it is done: until then it takes the place of ``review`` where it is earlier."""
    done: date | None = None
    """The day on which it was; the entry stays as the record."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name, day in (("by", self.by), ("done", self.done)):
            if day is not None and day < self.opened:
                raise ValueError(f"{name!r} is before it was opened: give a later day")
        return self


class About(Strict):
    """The pack itself."""

    format: Literal[1]
    """Of the language."""
    name: GroupName
    """The pack's name."""
    description: Text
    """What it is."""
    other_groups: Literal["rules-for-all", "refuse"] = "refuse"
    """Whether a group of devices that it does not name gets the rules for all."""
    detection_from: GroupName | None = None
    """Detection rules of another pack that hold here, too."""
    limits: dict[str, Annotated[int, Field(ge=0, le=200)]] = Field(default_factory=dict)
    """How often is too often: detection rule -> number within the rule's time; 0 switches the rule off. Only rules that
    leave it to the school, as use.repeated."""
    review: date | None = None
    """By when the school looks at the whole policy again (T-01); ``check`` says when that day is over."""
    early_reviews: tuple[EarlyReview, ...] = ()
    """Reviews that were opened before that day."""

    def review_by(self) -> date | None:
        """The day by which the next review is due: that of an open early one where it comes first."""
        days = [early.by for early in self.early_reviews if early.done is None]
        return min((*days, *((self.review,) if self.review is not None else ())), default=None)


class PackFile(Strict):
    """One file of a pack; any file may hold any of these, each single one stands in one file only."""

    pack: About | None = None
    """The pack itself."""
    school: School | None = None
    """When and where school is."""
    people: People | None = None
    """Who uses the devices."""
    groups: tuple[Group, ...] = ()
    """Groups of devices."""
    applications: tuple[ApplicationRule, ...] = ()
    """Whether programs start."""
    media: tuple[MediaRule, ...] = ()
    """What sticks and disks may be used for."""
    screen: Screen | None = None
    """When the screen locks."""
    sites: tuple[SiteRule, ...] = ()
    """Which sites a browser may open."""
    browser: tuple[BrowserRule, ...] = ()
    """How browsers are set."""
    network: tuple[NetworkRule, ...] = ()
    """Which ways into a network are open."""
    peripherals: tuple[PeripheralRule, ...] = ()
    """Cameras, phones, Bluetooth."""
    matrices: tuple[Matrix, ...] = ()
    """The school's tables of what is acceptable; rules are made from them."""
    categories: tuple[Category, ...] = ()
    """Categories of programs and sites of the school's own, or added to the product's."""
    overrides: tuple[Override, ...] = ()
    """What is decided for one person."""
    grants: tuple[GrantBound, ...] = ()
    """What may be granted beside the rules."""
    posture: tuple[PostureCheck, ...] = ()
    """Checks of the device's own state."""
    assessments: tuple[Assessment, ...] = ()
    """The register of technology that the school assessed before it was used; it is in no bundle."""
    collection: Collection | None = None
    """What is collected."""
    notice: Notice | None = None
    """What people read."""
    agreement: Agreement | None = None
    """Who is asked to agree to the rules."""
    open_decisions: tuple[OpenDecision, ...] = ()
    """What the school has still to decide."""
    tests: tuple[PolicyTest, ...] = ()
    """What the whole policy must decide, the rules from the matrices among it."""


class Pack(Strict):
    """A whole pack without its detection rules, every name in it resolved."""

    about: About
    school: School
    people: People | None
    groups: tuple[Group, ...]
    applications: tuple[ApplicationRule, ...]
    media: tuple[MediaRule, ...]
    screen: Screen | None
    sites: tuple[SiteRule, ...]
    browser: tuple[BrowserRule, ...]
    network: tuple[NetworkRule, ...]
    peripherals: tuple[PeripheralRule, ...]
    matrices: tuple[Matrix, ...]
    categories: tuple[Category, ...]
    overrides: tuple[Override, ...]
    grants: tuple[GrantBound, ...]
    posture: tuple[PostureCheck, ...]
    assessments: tuple[Assessment, ...]
    collection: Collection
    notice: Notice
    agreement: Agreement | None
    open_decisions: tuple[OpenDecision, ...]
    tests: tuple[PolicyTest, ...]
    source_hash: bytes

    def rules(self) -> tuple[Rule, ...]:
        """Every rule that stands in the pack itself, not those made from its matrices."""
        screen = (self.screen,) if self.screen is not None else ()
        return (
            *self.applications,
            *self.media,
            *screen,
            *self.sites,
            *self.browser,
            *self.network,
            *self.peripherals,
        )
