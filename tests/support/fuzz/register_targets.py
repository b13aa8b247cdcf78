"""Parsers of the files that a school office writes: the registers of people and of assets."""

from __future__ import annotations

from schoolkeeper_collector.console.registers import RegisterError, read_assets, read_people
from support.fuzz.targets import Target

_PEOPLE = b"account_name,kind,display_name\nj.davies,staff,J. Davies\nyear1,shared,Year 1\n"
_ASSETS = b"asset_tag,serial,description,platform,assigned_to\nT-001,SN1,Laptop,linux,Year 4\n"


def register_targets() -> tuple[Target, ...]:
    return (
        Target(
            name="people-csv",
            run=lambda data: read_people(data, "people.csv"),
            errors=(RegisterError,),
            seeds=(_PEOPLE, "\ufeff".encode() + _PEOPLE, _PEOPLE.replace(b",", b";")),
        ),
        Target(
            name="assets-csv",
            run=lambda data: read_assets(data, "assets.csv"),
            errors=(RegisterError,),
            seeds=(_ASSETS, _ASSETS.decode().encode("utf-16")),
        ),
    )
