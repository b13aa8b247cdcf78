"""Devices in groups, people in groups, and what is decided for one person alone."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from schoolkeeper_policies.model.base import GroupName, Hex32, PeopleName, RuleId, Strict, Text


class Profile(StrEnum):
    """For whom a device is."""

    EYFS = "eyfs"
    KS1 = "ks1"
    KS2 = "ks2"
    KS3_UP = "ks3+"
    STAFF = "staff"
    GUEST = "guest"
    DESIGNATED = "designated"


class KeyStage(StrEnum):
    EYFS = "eyfs"
    KS1 = "ks1"
    KS2 = "ks2"
    KS3_UP = "ks3+"


EVERYBODY = "everybody"
BUILT_IN = {
    "pupils": "Everybody whom the register calls a pupil.",
    "staff": "Everybody whom the register calls staff.",
    "guests": "Everybody whom the register calls a guest.",
    "eyfs": "Pupils in the early years.",
    "ks1": "Pupils of key stage 1 (years 1 and 2).",
    "ks2": "Pupils of key stage 2 (years 3 to 6).",
    "ks3+": "Pupils of key stage 3 and older (from year 7).",
}
"""Groups of people that every school has."""
AUDIENCES_OF: dict[Profile, frozenset[str]] = {
    Profile.EYFS: frozenset({"pupils", "eyfs"}),
    Profile.KS1: frozenset({"pupils", "ks1"}),
    Profile.KS2: frozenset({"pupils", "ks2"}),
    Profile.KS3_UP: frozenset({"pupils", "ks3+"}),
    Profile.STAFF: frozenset({"staff"}),
    Profile.GUEST: frozenset({"guests"}),
    Profile.DESIGNATED: frozenset({"staff"}),
}
"""Who uses a device of a profile, where the school has no register to tell it by the account."""


class Group(Strict):
    """A group of devices; each has a bundle of its own."""

    name: GroupName
    """How enrolment and rules name it."""
    description: Text
    """Which devices these are."""
    profile: Profile | None = None
    """For whom they are; ``designated`` is the one device on which evidence is opened."""
    tags: tuple[GroupName, ...] = ()
    """Rules can name all groups with a tag, as ``tag:library``."""


class Register(Strict):
    """Where the register of people comes from. The file stays outside the pack's repository."""

    file: Text
    """Path, from the pack's folder, of the export; no bundle holds a name out of it."""
    format: Literal["auto", "mis", "entra", "google"] = "auto"
    """A school's management system, Microsoft Entra or Google Workspace; ``auto`` tells it by the columns."""
    columns: dict[Literal["id", "account", "kind", "year", "class", "joined", "left", "status"], Text] = (
        Field(default_factory=dict)
    )
    """The file's own name of a column, where it is not recognised."""
    local_part: bool = True
    """The account on a device is what stands before the '@'."""


class PeopleGroup(Strict):
    """People whom rules can name: a class, a club, the staff who were nominated for something."""

    name: PeopleName
    """How rules name it."""
    description: Text
    """Who they are."""
    members: tuple[Text, ...] = ()
    """Persons by their id in the register."""
    classes: tuple[Text, ...] = ()
    """Everybody of these classes."""
    years: tuple[Text, ...] = ()
    """Everybody of these years, as the register writes them."""
    empty_on_purpose: bool = False
    """Nobody is nominated yet, and that is meant."""


class SharedAccount(Strict):
    """An account that several children use: what happens under it is never put down to one of them."""

    account: Text
    """Its name on the devices."""
    key_stage: KeyStage | None = None
    """Of those who use it."""


class ChildAccount(Strict):
    """An account that the school made for a child who is younger than its provider allows (W-46).

    None is made without the leadership's record: an entry that lacks who approved it, when and why is a mistake.
    """

    provider: Text
    """With whom the account is."""
    age_limit: int = Field(ge=1, le=21)
    """How old, in years, the provider wants its users to be."""
    person: Text
    """The child's id in the register, never a name."""
    reason: Text
    """What it is needed for."""
    approved_by: Literal["head", "slt"]
    """The role of the leadership that approved it."""
    approved_on: date
    """The day of the approval."""
    review: date
    """By when it is decided again, or the account goes."""

    @model_validator(mode="after")
    def _decided_again(self) -> Self:
        if self.review <= self.approved_on:
            raise ValueError("the review must be after the approval: give a later day")
        return self


class People(Strict):
    """Who uses the devices."""

    register_: Register | None = Field(default=None, alias="register")
    """The school's register; without one, rules for people hold by the profile of the group of devices."""
    groups: tuple[PeopleGroup, ...] = ()
    """Groups beside the built-in ones: pupils, staff, guests, eyfs, ks1, ks2, ks3+."""
    shared: tuple[SharedAccount, ...] = ()
    """Accounts of a whole class."""
    child_accounts: tuple[ChildAccount, ...] = ()
    """Accounts elsewhere, made by the school for children below the provider's age; kept here, in no bundle."""


class Override(Strict):
    """What is decided for one person. The reason is with the safeguarding lead; here stands only its hash."""

    id: RuleId
    """A name of its own."""
    person: Text | None = None
    """The person's id in the register; or else ``pseudonym``, so that the pack does not say who."""
    pseudonym: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")] | None = None
    """The person's pseudonym, 16 hexadecimal digits."""
    lift: tuple[RuleId, ...] = ()
    """Rules that do not hold for this person."""
    treat_as: PeopleName | None = None
    """The key stage, or other group, whose rules hold instead of those of the person's own key stage."""
    reason_hash: Hex32
    """SHA-256 over the sealed reason (salt and words)."""
    decided_by: Literal["dsl", "deputy-dsl", "head", "senco"]
    """The role that decided."""
    review: date
    """The last day on which it holds unless it is decided again."""
