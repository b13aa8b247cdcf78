"""What a machine says of itself, for whoever enrols it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What cannot be read stays empty. ``installation`` is the system's own id of this installation."""

    serial: str = ""
    vendor: str = ""
    model: str = ""
    operating_system: str = ""
    installation: str = ""
