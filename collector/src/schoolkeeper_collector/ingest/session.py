"""One stream's conversation, without I/O: bytes in, things to do out. The shell is ``service.py``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import WireFormatError, decode

MAX_MESSAGE_BYTES = 4 << 20
_STRIKES = 3
_PROTOCOL_WAIT_MS = 300_000


class Phase(StrEnum):
    GREETING = "greeting"
    WELCOMING = "welcoming"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Greet:
    hello: wire.Hello


@dataclass(frozen=True, slots=True)
class Take:
    """``size`` is that of the whole message in bytes."""

    batch: wire.Batch
    size: int


@dataclass(frozen=True, slots=True)
class Beat:
    beat: wire.StreamHeartbeat


@dataclass(frozen=True, slots=True)
class Done:
    result: wire.CommandAcknowledged


@dataclass(frozen=True, slots=True)
class Close:
    goodbye: wire.Goodbye


Step = Greet | Take | Beat | Done | Close


class Session:
    """Accepts one hello, and everything else only once the device was welcomed."""

    __slots__ = ("_strikes", "phase")

    def __init__(self) -> None:
        self.phase = Phase.GREETING
        self._strikes = 0

    def received(self, data: bytes) -> Step:
        try:
            body = decode(wire.DeviceMessage, data).body
        except WireFormatError as error:
            return self._protocol(f"a message cannot be read: {error}")
        if isinstance(body, wire.Hello):
            return self._greet(body)
        if self.phase is not Phase.OPEN:
            return self._protocol("the first message must be a hello, and nothing follows before its welcome")
        match body:
            case wire.Batch():
                return Take(body, len(data))
            case wire.StreamHeartbeat():
                return Beat(body)
            case wire.CommandAcknowledged():
                return Done(body)
            case None:
                return self._protocol("a message of a kind that this collector does not know")

    def welcomed(self) -> None:
        if self.phase is Phase.WELCOMING:
            self.phase = Phase.OPEN

    def settled(self) -> None:
        """A batch could be attributed."""
        self._strikes = 0

    def fault(self, reason: str) -> Close | None:
        """A batch could not be attributed; after several in a row the stream ends, the device waits and re-cuts."""
        self._strikes += 1
        return self._protocol(reason) if self._strikes >= _STRIKES else None

    def _greet(self, hello: wire.Hello) -> Step:
        if self.phase is not Phase.GREETING:
            return self._protocol("a second hello on one stream")
        refusal = version_refusal(hello.version)
        if refusal is not None:
            self.phase = Phase.CLOSED
            return Close(refusal)
        if len(hello.epoch) != 16 or any(len(cursor.epoch) != 16 for cursor in hello.cursors):
            return self._protocol("an epoch in the hello has not 16 bytes")
        self.phase = Phase.WELCOMING
        return Greet(hello)

    def _protocol(self, what: str) -> Close:
        self.phase = Phase.CLOSED
        remedy = f"{what}; update the agent, and report this if it is up to date"
        return Close(wire.Goodbye(reason="protocol", remedy=remedy, retry_after_ms=_PROTOCOL_WAIT_MS))


def version_refusal(version: wire.WireVersion) -> wire.Goodbye | None:
    """None for this major version and at most one minor version of difference."""
    if version.major == wire.WIRE_MAJOR and abs(version.minor - wire.WIRE_MINOR) <= 1:
        return None
    theirs, ours = (version.major, version.minor), (wire.WIRE_MAJOR, wire.WIRE_MINOR)
    older = "agent" if theirs < ours else "collector"
    return wire.Goodbye(
        reason="version",
        remedy=f"the agent speaks version {theirs[0]}.{theirs[1]} of the wire, this collector "
        f"{ours[0]}.{ours[1]} and one minor version around it: update the {older}; "
        "the spool keeps everything meanwhile",
        retry_after_ms=3_600_000,
    )
