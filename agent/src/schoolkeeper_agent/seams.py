"""The agent's seams: what the core asks for, and the Protocols that sensors, enforcers, spool and clock fulfil.

One contract suite per Protocol lives in ``tests/contracts`` and runs against every real driver and fake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from schoolkeeper_proto import model
from schoolkeeper_proto.wire import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Write this down: it becomes an event in the spool. ``user`` None means: whoever the runtime knows of.

    ``event_id``: where something in the body is bound to it already; empty: the runtime makes one.
    """

    body: model.Body
    lane: Lane
    severity: model.Severity = model.Severity.INFORMATIONAL
    user: model.UserRef | None = None
    event_id: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Say this to the person at the screen. ``session_id`` empty means every graphical session.

    ``user_id`` 0 or more: this account and nobody else, whichever session. ``askable``: the rule refused something, and
    the person can ask for an exception from it. ``opens``: the window that says it better, where there is a desktop.
    """

    title: str
    text: str
    rule_id: str = ""
    session_id: str = ""
    user_id: int = -1
    askable: bool = False
    opens: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforce:
    """Have the named enforcer perform an action (one of the classes in ``enforcers/actions.py``)."""

    enforcer: str
    action: object


Effect = Record | Tell | Enforce


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """Whether a thing can be done here; ``because`` says why not, in words for a technician."""

    able: bool
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an enforcer did or failed to do; itself observed by the core.

    ``gone``: nothing was done, and need be, because what it was about is not there any more.
    """

    enforcer: str
    action: object
    succeeded: bool
    detail: str = ""
    gone: bool = False


Emit = Callable[[object], None]
"""Hands one observation (a class of ``observations.py``) to the core; never blocks."""


class SensorError(Exception):
    """A sensor cannot go on; it is restarted with back-off and the failure reported."""


class Sensor(Protocol):
    """Observes one thing. ``kinds`` are the event kinds that follow from it: each needs a notice text to start."""

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> tuple[str, ...]: ...

    def ability(self) -> Ability: ...

    async def run(self, emit: Emit) -> None:
        """Runs until cancelled; raises ``SensorError`` when it cannot go on."""


class Enforcer(Protocol):
    """Acts on the operating system, by its own mechanism."""

    @property
    def name(self) -> str: ...

    def ability(self) -> Ability: ...

    async def perform(self, action: object) -> Outcome:
        """Never raises for what the operating system refuses: that is an outcome."""

    async def close(self) -> None:
        """Leaves the machine usable: nothing stays blocked by a mechanism that nobody serves."""


class Clock(Protocol):
    def wall_ms(self) -> int:
        """Unix time in milliseconds, as the machine believes it."""

    def monotonic_ms(self) -> int:
        """Milliseconds since boot, suspend included."""

    @property
    def boot_id(self) -> bytes:
        """16 bytes, new at each boot."""
