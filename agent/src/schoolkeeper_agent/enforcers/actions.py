"""What the core can ask of an enforcer: one frozen class per action."""

from __future__ import annotations

from dataclasses import dataclass

from schoolkeeper_agent.seams import Record
from schoolkeeper_proto.policy import ApplicationsSection, BrowserSection, MediaAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardApplications:
    """Decide every execution by these rules from now on (enforcer ``applications``)."""

    section: ApplicationsSection
    place: str = "unknown"
    base_ms: int | None = None
    """Believed Unix time less the time since boot, so that a wall clock that is set opens nothing; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshApplications:
    """Place or people changed: forget what was remembered of them (enforcer ``applications``)."""

    place: str = "unknown"
    groups: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """User id -> groups, of everybody signed in."""
    base_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndProgram:
    """End a program that a rule refuses and that began all the same, round the guard (enforcer ``applications``).

    ``path``: what the process executes; another program by now is left alone. ``started`` is the event that says what
    became of it.
    """

    process_id: int
    path: str
    started: Record
    session_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitMedium:
    """Block a medium, make it read-only, or give a held one free (enforcer ``media``).

    ``sequence`` is the kernel's number of the medium that was judged: another one under the same name is left alone.
    ``keep``: a blocked one stays on its bus, out of people's reach, so that it can be encrypted here.
    """

    kernel_name: str
    access: MediaAccess
    rule_id: str = ""
    sequence: int = 0
    keep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldMedia:
    """Hold every medium out of people's reach until it is judged, from the machine's start on (enforcer ``media``)."""

    hold: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WithholdInterface:
    """Keep one interface of a USB device from every driver and program, or give it back (enforcer ``peripherals``)."""

    kernel_name: str
    withheld: bool = True
    rule_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepBluetooth:
    """What Bluetooth may do from now on (enforcer ``bluetooth``); with neither, the person decides again."""

    hidden: bool = False
    """Neither discoverable nor pairable."""
    off: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSession:
    """Lock a screen, and say so only when logind shows it locked (enforcer ``screen``)."""

    session_id: str
    rule_id: str = ""
    cause: str = "idle"
    """As in ``event.proto``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndUnlocked:
    """End a session that should be locked and does not lock, unless it is by now or somebody is back (``screen``).

    ``cause`` as in ``LockSession``; ``after_seconds`` is how long it has been so. ``account`` and ``user_id`` are whose
    it is: when this is done, nobody else knows any more.
    """

    session_id: str
    account: str
    user_id: int
    rule_id: str
    cause: str
    after_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldDesktops:
    """Desktops lock by themselves after this, and nobody can set it otherwise; 0: as everybody likes (``desktop``)."""

    idle_lock_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolate:
    """Let nothing out but what the collector is reached by, until this is lifted (enforcer ``isolation``)."""

    grant_id: bytes
    until_unix_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftIsolation:
    """Take the isolation away; nothing else changes (enforcer ``isolation``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefuseSignIn:
    """Nobody but root signs in from now on, also after a restart (enforcer ``sign-in``)."""

    grant_id: bytes
    school: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowSignIn:
    """People may sign in again (enforcer ``sign-in``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSession:
    """End a session that cannot be locked on a lost device (enforcer ``sign-in``)."""

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyBrowsers:
    """Tell browsers these rules, all of which hold now (enforcer ``browser``)."""

    section: BrowserSection


Action = (
    GuardApplications
    | RefreshApplications
    | LimitMedium
    | HoldMedia
    | WithholdInterface
    | KeepBluetooth
    | LockSession
    | EndUnlocked
    | HoldDesktops
    | Isolate
    | LiftIsolation
    | RefuseSignIn
    | AllowSignIn
    | EndSession
    | ApplyBrowsers
)
