"""What every part of the language is made of: texts, names, times of day, and models that refuse unknown keys."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

Text = Annotated[str, StringConstraints(min_length=1, max_length=2_000, strip_whitespace=True)]
RuleId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$", max_length=64)]
GroupName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
GroupRef = Annotated[str, StringConstraints(pattern=r"^(profile:|tag:)?[a-z0-9][a-z0-9+-]{0,62}$")]
"""A group of devices by its name, all of a profile (``profile:ks2``), or all with a tag (``tag:library``)."""
PeopleName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+-]{0,62}$")]
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ClockTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
EndTime = Annotated[str, StringConstraints(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]


WordsByReader = dict[Literal["en", "cy"], dict[Literal["plain", "junior", "early"], Text]]
"""By language, then for whom: ``junior`` (8 to 11), ``early`` (4 to 7), or ``plain`` for everybody."""


class Strict(BaseModel):
    """Frozen; an unknown key is a mistake; the text under a field is its description in the reference."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=False, use_attribute_docstrings=True
    )


class Weekday(StrEnum):
    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


WEEKDAYS = tuple(Weekday)


class Hours(Strict):
    """A window on some days of the week, in the school's own time."""

    days: tuple[Weekday, ...] = Field(min_length=1)
    """On which days of the week."""
    from_: ClockTime = Field(alias="from")
    """First minute, as "08:30"."""
    to: EndTime
    """The minute after the last one, as "15:45"; "24:00" is the end of the day."""

    @field_validator("to")
    @classmethod
    def _forward(cls, to: str, info: object) -> str:
        start = getattr(info, "data", {}).get("from_")
        if start is not None and to <= start:
            raise ValueError(f"must be later than 'from' ({start}); write a night as two windows")
        return to


def minute_of(clock: str) -> int:
    """Minutes since midnight of "08:30"."""
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)
