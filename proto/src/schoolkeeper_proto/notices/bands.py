"""Who is asked to agree to the rules, and as whom (T-27). No words: what decides it on a device stays small. Pure."""

from __future__ import annotations

from enum import StrEnum

from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.conditions import KNOWN


class Band(StrEnum):
    """Who signs. ``PARENT`` reads what a pupil agrees to, on paper; no device asks a parent."""

    EYFS = "eyfs"
    KS1 = "ks1"
    KS2 = "ks2"
    KS3_UP = "ks3+"
    STAFF = "staff"
    GUEST = "guest"
    PARENT = "parent"


GROUP = {Band.STAFF: "people:staff", Band.GUEST: "people:guests"}
"""Pupils' bands are groups by their own name."""


def asked(bundle: OpenBundle, groups: frozenset[str]) -> Band | None:
    """Who of the policy's bands somebody is, by the groups of ``people.PeopleTable``; None: they are asked nothing.

    Somebody whom the register does not hold is one of those for whom the group's devices are. Of several bands the
    youngest counts: its words are understood by all.
    """
    section = bundle.agreement
    if section is None:
        return None
    band: str | None = section.band_of_group
    if KNOWN in groups:
        band = next((one.value for one in Band if GROUP.get(one, f"people:{one}") in groups), None)
    return Band(band) if band in section.bands and band in set(Band) else None


def name_of(band: Band, language: str) -> str:
    """By which one text fits an address and a file."""
    return f"agreement.{band.value.replace('+', '-up')}.{language}"
