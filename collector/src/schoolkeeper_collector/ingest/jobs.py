"""What a stream asks of the writer. The answer to each is a row of messages for its device, after the commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schoolkeeper_collector.ingest.identity import PeerIdentity
from schoolkeeper_collector.ingest.prepare import PreparedBatch
from schoolkeeper_proto import wire


@dataclass(slots=True, eq=False)
class Peer:
    """One open stream. The writer alone touches ``known_*``, the checkpoint that the device holds by now, and
    ``fault_told``: one fact a stream is enough.
    """

    identity: PeerIdentity
    address: str = ""
    device_no: int = 0
    group: str = ""
    certificate_keys: Mapping[bytes, bytes] = field(default_factory=dict)
    known_generation: int = 0
    known_size: int = 0
    fault_told: bool = False


@dataclass(slots=True, eq=False)
class HelloJob:
    """``clone_because`` is what the live streams gave away, empty when nothing did."""

    peer: Peer
    hello: wire.Hello
    clone_because: str = ""


@dataclass(slots=True, eq=False)
class BatchJob:
    """``size`` is what it holds of the in-flight budget, in bytes of its message."""

    peer: Peer
    batch: PreparedBatch
    size: int


@dataclass(slots=True, eq=False)
class FaultJob:
    """A batch that could not be attributed. It waits its turn here, so that answers keep their order."""

    peer: Peer
    number: int
    reason: str
    ranges: tuple[wire.RangeDisposition, ...]
    size: int


@dataclass(slots=True, eq=False)
class BeatJob:
    peer: Peer
    beat: wire.StreamHeartbeat


@dataclass(slots=True, eq=False)
class CommandJob:
    peer: Peer
    result: wire.CommandAcknowledged


@dataclass(slots=True, eq=False)
class CloneJob:
    """Two machines speak as one device."""

    peer: Peer
    because: str


Job = HelloJob | BatchJob | FaultJob | BeatJob | CommandJob | CloneJob
Answer = tuple[wire.CollectorBody, ...]
