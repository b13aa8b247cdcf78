"""What a rule of ours says beyond Sigma, under the key ``schoolkeeper``: for whom, about what, in which words."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

Text = Annotated[str, StringConstraints(min_length=1, max_length=1_000, strip_whitespace=True)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=64)]


class RuleAudience(StrEnum):
    """SAFEGUARDING goes to the DSL, or to the head where the subject is staff; a TECHNICIAN's item is about devices."""

    SAFEGUARDING = "safeguarding"
    TECHNICIAN = "technician"


class RuleSubject(StrEnum):
    """What the alert is about. A REPORT is one of its own each time, never grouped with another."""

    USER = "user"
    DEVICE = "device"
    SCHOOL = "school"
    REPORT = "report"


class RuleMeta(BaseModel):
    """``headline`` is the alert's title; ``{field|words if there is none}`` takes a field of the latest event."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    audience: RuleAudience
    subject: RuleSubject
    category: Name
    headline: Text
    explanation: Text
    not_known: tuple[Text, ...] = ()
    source: tuple[Text, ...] = ()
    # Raises an incident at once; critical rules always do.
    incident: bool = False
    # E-mails at once though it is not critical.
    interrupt: bool = False
    # Rules whose match for the same subject says that it is over: an untouched alert then closes.
    recovered_by: tuple[Name, ...] = ()
    # This rule only ever says that something is over, or feeds a correlation: it finds nothing by itself.
    silent: bool = Field(default=False)
    # The school says in its pack (``pack: limits:``) how often is too often; the number here is the suggestion.
    school_sets_limit: bool = False

    @field_validator("headline")
    @classmethod
    def _braces(cls, value: str) -> str:
        if value.count("{") != value.count("}"):
            raise ValueError("a '{' without '}'; write {field|other words}")
        return value
