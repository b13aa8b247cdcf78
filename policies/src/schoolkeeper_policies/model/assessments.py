"""The register of assessed technology: what the school looked at before it was used (W-55).

Kept for people and for the console. It makes no rule: what is refused here is refused by a rule or a table.
"""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

from pydantic import model_validator

from schoolkeeper_policies.model.base import Strict, Text
from schoolkeeper_policies.model.rules import SitePattern


class Assessment(Strict):
    """One technology and what the school decided about it, before it was used."""

    application: Text | None = None
    """The application's identity, as the console's page shows it: never the hash of a file, so that an update stays."""
    site: SitePattern | None = None
    """Or else a service on the web: its site."""
    assessed_by: Text
    """The role or officer who assessed it."""
    assessed_on: date
    """The day of the assessment."""
    outcome: Literal["allowed", "limited", "refused"]
    """What was decided."""
    limits: Text | None = None
    """With ``limited``: for whom, for what."""
    review: date
    """By when it is assessed again."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.application is None) == (self.site is None):
            raise ValueError("an assessment is of one technology: give either 'application' or 'site'")
        if (self.outcome == "limited") != (self.limits is not None):
            raise ValueError(
                "'limits' belongs to the outcome 'limited' and to no other: say what the limits are"
            )
        if self.review <= self.assessed_on:
            raise ValueError("the review must be after the assessment: give a later day")
        return self

    @property
    def about(self) -> str:
        """What was assessed, as it is written in the pack."""
        return self.application or self.site or ""

    @property
    def key(self) -> str:
        """What it is found by: the same without regard to capitals."""
        return f"{'application' if self.application else 'site'} {self.about.casefold()}"
