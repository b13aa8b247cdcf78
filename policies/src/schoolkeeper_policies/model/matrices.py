"""The school's tables of what is acceptable, as source: each row says for each audience what holds."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from schoolkeeper_policies.model.base import PeopleName, RuleId, Strict, Text, WordsByReader
from schoolkeeper_policies.model.rules import Match, SitePattern, When
from schoolkeeper_proto.model import Severity
from schoolkeeper_proto.policy import RuleMode

RowId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+([.-][A-Za-z0-9]+)*$", max_length=32)]


class Answer(StrEnum):
    """What a row says for one audience, from the weakest to the strictest."""

    ACCEPTABLE = "acceptable"
    AT_CERTAIN_TIMES = "at-certain-times"
    NOMINATED_USERS = "nominated-users"
    WITH_STAFF_PERMISSION = "with-staff-permission"
    UNACCEPTABLE = "unacceptable"
    UNACCEPTABLE_AND_ILLEGAL = "unacceptable-and-illegal"


class Permission(Strict):
    """With whose permission, for how long at a time: an opened lesson."""

    max_minutes: int = Field(default=60, ge=1, le=1_440)
    """So long at most."""
    duties: tuple[Text, ...] = ("staff",)
    """Who may give it."""


class RowException(Strict):
    """What the leadership allowed although the row forbids it, for a while: a record, for no device sees it (W-51)."""

    id: RuleId
    """A name of its own."""
    who: Text
    """For whom: a class, a club, an id of the register."""
    reason: Text
    """What it is for."""
    approved_by: Literal["head", "slt"]
    """The role of the leadership that approved it."""
    from_: date = Field(alias="from")
    """Its first day."""
    until: date
    """Its last day."""

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.until < self.from_:
            raise ValueError(f"the exception {self.id!r} ends before it begins: swap the days")
        return self


class Row(Strict):
    """One activity. Without ``applications``, ``sites`` and ``rules`` no device can see it: people report it."""

    id: RowId
    """The row's id, as rules cite it."""
    activity: Text
    """What is done, in words."""
    answers: dict[PeopleName, Answer] = Field(min_length=1)
    """For each audience: acceptable, at-certain-times, nominated-users, with-staff-permission, unacceptable,
    unacceptable-and-illegal. ``everybody`` is an audience, too."""
    applications: tuple[PeopleName, ...] = ()
    """Categories of programs that this activity is done with."""
    sites: tuple[PeopleName, ...] = ()
    """Categories of sites that it is done on."""
    rules: tuple[RuleId, ...] = ()
    """Rules of the pack that carry it out otherwise."""
    when: When | None = None
    """When it is acceptable, where the answer is at-certain-times."""
    nominated: tuple[PeopleName, ...] = ()
    """Groups of people for whom it is acceptable, where the answer is nominated-users."""
    permission: Permission | None = None
    """How permission is given, where the answer is with-staff-permission, or at-certain-times that staff set."""
    safeguarding: bool = False
    """It protects children."""
    severity: Severity | None = None
    """How much it matters; without it, by the answer."""
    mode: RuleMode | None = None
    """observe, warn or enforce, where it differs from the matrix."""
    why: Text | None = None
    """Why the school has it."""
    resolution: Text | None = None
    """What the person refused can do."""
    incident_category: PeopleName | None = None
    """Category of the incident that a person reports."""
    statute: str = ""
    """The law that the school's table names."""
    exceptions: tuple[RowException, ...] = ()
    """Where no device sees it: what the leadership allowed, from which day to which."""


class Matrix(Strict):
    """A table of the school's policy."""

    id: RuleId
    """A name of its own; it begins the ids of the rules made from it."""
    title: Text
    """What the school calls it."""
    source: tuple[Text, ...] = ()
    """Requirements that the whole table carries out."""
    mode: RuleMode = RuleMode.ENFORCE
    """For every row that says nothing else."""
    rows: tuple[Row, ...] = Field(min_length=1)
    """Its rows."""


class Category(Strict):
    """Programs and sites of one kind. One that the product has, too, is added to that."""

    name: PeopleName
    """How rows and rules name it."""
    description: Text
    """What is in it."""
    words: WordsByReader = Field(default_factory=dict)
    """What people read in its place, as a thing: by language, then ``plain``, ``junior`` (8 to 11) or ``early`` (4 to
    7); what is missing is taken from the next. A category of the school's own needs plain words in the notice's
    language."""
    reviewed: date | None = None
    """When somebody last looked whether it is still right."""
    applications: tuple[Match, ...] = ()
    """Programs."""
    sites: tuple[SitePattern, ...] = ()
    """Sites."""
    filter_knows_more: bool = False
    """The school's web filter knows many more of these sites."""
    without: tuple[Text, ...] = ()
    """Sites and file names of the product's list that do not count here."""


class OpenDecision(Strict):
    """What the school has not decided, or said in two ways; the stricter holds until it is decided."""

    id: RowId
    """As D-03."""
    about: Text
    """What is to be decided."""
    text: Text
    """What the school's papers say, and why that is no decision."""
    in_force: Text
    """What holds until then."""
    rows: tuple[Text, ...] = ()
    """Rows and rules it is about."""
