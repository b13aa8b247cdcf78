"""What sensors, enforcers and the runtime tell the core: one frozen class per kind of observation.

Times named ``*_unix_ms`` are Unix time in milliseconds. Accounts are names of the operating system; the core turns
them into pseudonyms, and no observation leaves the device.
"""

from __future__ import annotations

from dataclasses import dataclass

from schoolkeeper_agent.requests import OpenRequest
from schoolkeeper_agent.seams import Outcome
from schoolkeeper_proto import model
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.granted import InForce


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A fact that needs no decision (agent started, heartbeat, evicted, canary): recorded as it is."""

    body: model.Body
    severity: model.Severity = model.Severity.INFORMATIONAL


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionAsked:
    """The account, as the kernel named it, asks for an exception; checked and counted before. ``wanted``: the rule's
    own words."""

    account: str
    user_id: int
    rule_id: str
    reason: str
    words: str
    wanted: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestDeclined:
    """The school declined a request of this device. ``by``: a role; ``words``: written for whoever asked."""

    reference: str
    rule_id: str
    by: str
    words: str
    at_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedBefore:
    """Requests of an earlier run that wait for an answer, or for the person to hear it."""

    requests: tuple[OpenRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonTold:
    """The account, as the kernel named it, tells the school something; sealed already, to the event of this id."""

    account: str
    user_id: int
    event_id: bytes
    report: model.PersonReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time went on. The runtime sends one every minute or so: usage is handed over, conditions change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySwapped:
    """A bundle that was checked whole is in force from now on."""

    bundle: OpenBundle
    not_enforceable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRejected:
    """A bundle was refused whole; the one in force stays."""

    bundle_hash: bytes = b""
    bundle_version: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantsChanged:
    """All grants that are in force from now on; ``tell`` are their words to the person at the screen."""

    in_force: tuple[InForce, ...]
    tell: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceSeen:
    """The network changed: ``network_hash`` is a keyed hash of the gateway, ``medium`` wired, wireless or none."""

    place: model.Place
    medium: str = ""
    network_hash: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStarted:
    """A program was executed. ``already_running``: it was found when the sensor started.

    ``groups`` None: the account's groups are not known.
    """

    process_id: int
    path: str
    parent_process_id: int = 0
    account: str = ""
    user_id: int = -1
    groups: frozenset[str] | None = None
    sha256: bytes = b""
    package: str = ""
    already_running: bool = False
    origin: str = ""
    """``system`` or ``personal``; empty when nobody looked."""
    script: str = ""
    """The file that an interpreter or the dynamic loader was given to run."""
    script_origin: str = "system"
    """A script is nobody's program; what the loader runs is one, and empty: its origin is told by its path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEnded:
    process_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionJudged:
    """The exec responder answered the kernel with something else than a plain allow.

    ``decision`` is what it did, ``asked`` what the rule asked for; ``reason`` says why without a rule (too slow).
    """

    path: str
    decision: model.DecisionKind
    asked: model.DecisionKind
    rule_id: str = ""
    reason: str = ""
    process_id: int = 0
    account: str = ""
    user_id: int = -1
    sha256: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardUp:
    """An enforcer that answers the kernel is in place; ``down_milliseconds`` is 0 at its first start."""

    enforcer: str
    down_milliseconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardDown:
    """It is gone and the kernel allows: what runs from now on is judged afterwards."""

    enforcer: str
    reason: str
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """Something could not be seen or handed over; ``count`` is a figure only if ``count_known``."""

    what: str
    from_unix_ms: int
    to_unix_ms: int
    count: int = 0
    count_known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumArrived:
    """A removable medium is there and its content was recognised. ``account`` is who sits at the screen.

    ``sequence`` is the kernel's number of it, 0 where it has none. Told anew when what it holds has changed.
    """

    medium: model.Medium
    sequence: int = 0
    account: str = ""
    user_id: int = -1
    groups: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumLeft:
    kernel_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumInUse:
    """One of its file systems was mounted."""

    kernel_name: str
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumWritten:
    """So many files of a medium were written within a minute or less; ``size`` is of all together, in bytes."""

    kernel_name: str
    files: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumEncrypting:
    """A medium is being encrypted here for this account, or that ended: ``body`` says which, and becomes an event.

    ``event_id`` where something in the body is sealed to it.
    """

    body: model.MediumEncrypted
    sequence: int
    account: str
    user_id: int
    event_id: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeripheralArrived:
    """An interface of a USB device that carries pictures: a telephone's, a camera's. Told anew when the sensor starts.

    ``kinds`` are those of ``PeripheralKind`` that it may be of; ``account`` is who sits at the screen. ``withheld``:
    the kernel keeps it from drivers already, by an earlier run's doing or somebody else's.
    """

    medium: model.Medium
    kinds: tuple[str, ...]
    withheld: bool = False
    account: str = ""
    user_id: int = -1
    groups: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeripheralLeft:
    kernel_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSeen:
    """A session as logind shows it now; sent at each change, and every few seconds while it is idle and open.

    ``idle_since_unix_ms`` is 0 while somebody is active. ``background``: another session has its seat's screen now.
    ``remote``: whoever uses it sits at another machine. ``seat`` is empty where there is none.
    """

    session_id: str
    account: str
    user_id: int
    session_type: str = ""
    locked: bool = False
    idle_since_unix_ms: int = 0
    background: bool = False
    remote: bool = False
    seat: str = ""
    groups: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionGone:
    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FallingAsleep:
    """The machine is about to be suspended, and waits a moment for what must be done before (W-72)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LidMoved:
    """The lid was shut or opened; told only where the machine goes on."""

    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMoved:
    """A security key that the policy names was pulled out or put back; ``product`` as "1050:0407"."""

    product: str
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStepped:
    """The wall clock was set: positive is forward."""

    step_milliseconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PostureRead:
    """One check, read now. Unknown always says why (T-43)."""

    check: str
    result: model.PostureResult
    evidence: str = ""
    unknown_because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorDown:
    sensor: str
    error: str
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorUp:
    sensor: str
    down_milliseconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationTried:
    """What the self-test of an isolation found; ``state`` is one of the words of ``event.proto``."""

    grant_id: bytes
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BypassSeen:
    """A sign that the school's network rules are gone round: ``technique`` as in ``event.proto``, no content."""

    technique: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDone:
    """What became of an ``Enforce``."""

    outcome: Outcome


Observation = (
    Noted
    | ExceptionAsked
    | AskedBefore
    | RequestDeclined
    | PersonTold
    | Tick
    | PolicySwapped
    | PolicyRejected
    | GrantsChanged
    | PlaceSeen
    | ProcessStarted
    | ProcessEnded
    | ExecutionJudged
    | GuardUp
    | GuardDown
    | Missed
    | MediumArrived
    | MediumLeft
    | MediumInUse
    | MediumWritten
    | MediumEncrypting
    | PeripheralArrived
    | PeripheralLeft
    | SessionSeen
    | SessionGone
    | FallingAsleep
    | LidMoved
    | TokenMoved
    | ClockStepped
    | PostureRead
    | SensorDown
    | SensorUp
    | IsolationTried
    | BypassSeen
    | ActionDone
)
