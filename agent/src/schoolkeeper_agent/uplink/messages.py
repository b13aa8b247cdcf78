"""What goes into the uplink and what comes out of it: two closed unions of plain values."""

from __future__ import annotations

from dataclasses import dataclass

from schoolkeeper_agent.spool.contract import Reading, Settlement, Usage, Wanted
from schoolkeeper_proto import model, wire

# ---- inputs -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The stream is open; nothing was said yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The stream ended or could not be opened. ``too_large``: the other side would not take a message's size."""

    reason: str
    too_large: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    body: wire.CollectorBody | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSeen:
    """How the spool stands, asked for by ``LookAtSpool``."""

    epoch: bytes
    cursors: tuple[wire.LaneCursor, ...]
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesRead:
    """What ``ReadFrames`` found; None when there is nothing to send or the spool cannot be read now."""

    reading: Reading | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesWritten:
    """There is something new in the spool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochOpened:
    epoch: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time went on."""


Input = Opened | Closed | Received | SpoolSeen | FramesRead | FramesWritten | EpochOpened | Tick

# ---- effects ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """Open a stream after so many milliseconds; an earlier order is replaced."""

    after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect:
    """Close the stream; ``Closed`` follows."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    message: wire.DeviceMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAtSpool:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFrames:
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    settlement: Settlement


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEpoch:
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendAgain:
    """After a recovery two officers signed: delivered frames outside ``held`` are pending again."""

    held: tuple[wire.HeldRange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An event of the uplink's own."""

    body: model.Body
    severity: model.Severity = model.Severity.INFORMATIONAL


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOffered:
    available: wire.PolicyAvailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Obey:
    """A verified, unexpired order of the collector's command key; ``command_id`` empty for one of our own."""

    command_id: bytes
    order: wire.Order


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeGrant:
    """A grant as it came: who signed it, and what it may do, is judged beside the policy in force."""

    grant: wire.Grant


Effect = (
    Connect
    | Disconnect
    | Send
    | LookAtSpool
    | ReadFrames
    | Settle
    | OpenEpoch
    | SendAgain
    | Report
    | PolicyOffered
    | Obey
    | TakeGrant
)
