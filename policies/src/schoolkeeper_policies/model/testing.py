"""Tests that a policy carries with it: circumstances, and what must be decided in them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from schoolkeeper_policies.model.base import GroupName, PeopleName, RuleId, Strict, Text
from schoolkeeper_proto.model import MediumEncryption
from schoolkeeper_proto.policy import NetworkUse, PeripheralKind

VendorProduct = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}$")]


class TestedMedium(Strict):
    """A medium as a device sees it."""

    serial: str = ""
    """Its serial number."""
    product: VendorProduct = "0000:0000"
    """vendor:product, in hexadecimal."""
    bus: str = "usb"
    """How it is attached."""
    encryption: MediumEncryption = MediumEncryption.NONE
    """How it is encrypted."""


class PolicyTest(Strict):
    """One question with its answer. Exactly one of app, medium, site, category, network, peripheral, idle."""

    name: Text
    """What it shows, in a few words."""
    group: GroupName | None = None
    """The group of devices; without it, the first that has the rule."""
    people: tuple[PeopleName, ...] | None = None
    """Groups of the school that the person is in; without it, nobody can tell who it is."""
    user_groups: tuple[Text, ...] = ()
    """Groups of the operating system."""
    at: Text = "Mon 10:15"
    """'Mon 10:15', in the first term; or a date and time, as '2026-11-23 10:15'."""
    place: Literal["on-site", "off-site", "unknown"] = "on-site"
    """Where the device is."""
    app: Annotated[str, StringConstraints(pattern="^/")] | None = None
    """Absolute path of a program that is started."""
    sha256: str = ""
    """SHA-256 of the program."""
    package: str = ""
    """The package that the program comes from."""
    medium: TestedMedium | None = None
    """A medium that is plugged in."""
    site: Text | None = None
    """An address in the browser."""
    category: PeopleName | None = None
    """A category that the filter tells of the site."""
    network: NetworkUse | None = None
    """A use of the network."""
    peripheral: PeripheralKind | None = None
    """Something built in or attached."""
    idle: bool = False
    """A screen that nobody uses."""
    expect: Literal["allow", "observe", "warn", "read-only", "block", "block-and-raise", "lock"]
    """What must be decided."""
    rule: RuleId | None = Field(default=None)
    """The rule that must decide; inside a rule it is that one, unless allow is expected."""

    @model_validator(mode="after")
    def _one_question(self) -> PolicyTest:
        asked = [self.app, self.medium, self.network, self.peripheral, self.site or self.category]
        if sum(one is not None for one in asked) + self.idle != 1:
            raise ValueError(
                "ask about exactly one of app, medium, site (or category), network, peripheral, idle"
            )
        return self
