"""The school: when it is open, where it is, what happens when, who has which role."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schoolkeeper_policies.model.base import Hours, PeopleName, Strict, Text

Language = Literal["en", "cy"]
MacAddress = Annotated[str, StringConstraints(pattern=r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$")]
RoleName = Literal[
    "technician",
    "coordinator",
    "dsl",
    "deputy-dsl",
    "head",
    "slt",
    "senco",
    "dpo",
    "governor",
    "staff",
    "auditor",
]


class Term(Strict):
    """First and last day of school, both included."""

    name: Text
    """What the term is called."""
    first: date
    """Its first day of school."""
    last: date
    """Its last day of school."""


class Period(Hours):
    """A part of the school's day that rules can name; the same name may stand several times."""

    name: PeopleName
    """How rules name it: lesson-1, break, lunch."""
    kind: Literal["lesson", "registration", "assembly", "break", "lunch", "club"] = "lesson"
    """What it is; ``lessons`` and ``breaks`` in a rule mean all of these kinds."""


class Marks(Strict):
    """By what a device knows that it is there; the bundle carries only hashes of them."""

    gateway_mac: tuple[MacAddress, ...] = ()
    """Hardware addresses of the site's gateways."""
    ssid: tuple[Text, ...] = ()
    """Names of its wireless networks; anyone can imitate one, so let a second kind of mark agree."""
    dns_suffix: tuple[Text, ...] = ()
    """Domains that the site's network hands out."""


class Site(Strict):
    """A place of the school. A device on none of them is off site; without any site its place is unknown."""

    name: PeopleName
    """How reports name it."""
    marks: Marks
    """By what a device knows that it is there."""
    kinds_needed: int = Field(default=1, ge=1, le=3)
    """So many kinds of mark must agree."""


class Role(Strict):
    """A role of the school, so that notices and procedures can name its title and never a person."""

    role: RoleName
    """Which role."""
    title: Text
    """What the school calls it."""


class School(Strict):
    """When and where school is: what 'in school time' and 'on site' mean everywhere."""

    time_zone: Text
    """IANA name, as Europe/London."""
    language: Language = "en"
    """Of what people read by default."""
    languages: tuple[Language, ...] = ()
    """Others in which it can be read."""
    hours: tuple[Hours, ...] = Field(min_length=1)
    """When school is open."""
    timetable: tuple[Period, ...] = ()
    """Named lessons and breaks."""
    terms: tuple[Term, ...] = ()
    """The terms; without any, every weekday of ``hours`` counts as a day of school."""
    closed: tuple[date, ...] = ()
    """Days within a term on which school is closed."""
    sites: tuple[Site, ...] = ()
    """The school's places."""
    roles: tuple[Role, ...] = ()
    """Titles of the roles."""
    silent_after_minutes: int = Field(default=240, ge=5, le=10_000)
    """After so much school time without a word from it, a device is called silent."""
