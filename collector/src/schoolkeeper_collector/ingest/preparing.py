"""The thread between the event loop and the writer: verifies and opens batches while the writer waits for the disk.

Small batches go first: when a whole school comes back on Monday with weeks of backlog, what happens now must not wait
behind it. Each stream keeps its own order, and a backlog gets its turn after a few small ones.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable

import structlog

from schoolkeeper_collector.ingest.claims import BatchFault
from schoolkeeper_collector.ingest.jobs import BatchJob, FaultJob, Job, Peer
from schoolkeeper_collector.ingest.prepare import Preparer
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.wire import Disposition

_log = structlog.get_logger("ingest.preparing")
SMALL_FRAMES = 16
"""A batch of more frames than this is backlog."""
SMALL_IN_A_ROW = 32
"""So many small batches go before a waiting large one gets its turn."""

Waiting = tuple[Peer, wire.Batch, int]


class Waitlist:
    """Batches that wait, small ones first. Safe between threads."""

    def __init__(self) -> None:
        self._small: deque[Waiting] = deque()
        self._large: deque[Waiting] = deque()
        # Streams with a large batch waiting: whatever else they send queues behind it.
        self._behind: Counter[int] = Counter()
        self._row = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Waiting) -> None:
        peer, batch, _ = item
        with self._changed:
            if len(batch.frames) <= SMALL_FRAMES and not self._behind[id(peer)]:
                self._small.append(item)
            else:
                self._behind[id(peer)] += 1
                self._large.append(item)
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self) -> Waiting | None:
        """The next batch, waiting for one; None once it is closed and empty."""
        with self._changed:
            while not (self._small or self._large):
                if self._closed:
                    return None
                self._changed.wait()
            if self._small and (self._row < SMALL_IN_A_ROW or not self._large):
                self._row += 1
                return self._small.popleft()
            self._row = 0
            item = self._large.popleft()
            self._behind[id(item[0])] -= 1
            if not self._behind[id(item[0])]:
                del self._behind[id(item[0])]
            return item


class PreparingThread:
    """Keeps the order of each stream's batches. ``submit`` of the writer is what it hands on to."""

    def __init__(self, preparer: Preparer, submit: Callable[[Job], None]) -> None:
        self._preparer = preparer
        self._submit = submit
        self._batches = Waitlist()
        self._thread = threading.Thread(target=self._run, name="preparing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def prepare(self, peer: Peer, batch: wire.Batch, size: int) -> None:
        self._batches.put((peer, batch, size))

    def stop(self) -> None:
        self._batches.close()
        self._thread.join()

    def _run(self) -> None:
        while (item := self._batches.take()) is not None:
            self._submit(self._one(*item))

    def _one(self, peer: Peer, batch: wire.Batch, size: int) -> Job:
        try:
            prepared = self._preparer.prepare(batch, peer.identity.device_id, peer.certificate_keys)
            return BatchJob(peer, prepared, size)
        except BatchFault as error:
            return _fault(peer, batch, str(error), size)
        except Exception as error:  # noqa: BLE001 - a batch that breaks us must not end the thread
            _log.error("preparing failed", error=type(error).__name__)
            return _fault(peer, batch, "the collector could not read this batch", size)


def retry_ranges(batch: wire.Batch, reason: str) -> tuple[wire.RangeDisposition, ...]:
    """RETRY for all that the statement names, as far as it can be read; it need not be true."""
    try:
        statement = decode(wire.BatchStatement, batch.statement)
    except WireFormatError:
        return ()
    return tuple(
        wire.RangeDisposition(
            epoch=statement.epoch,
            lane=run.lane,
            first_sequence=run.first_sequence,
            count=sum(run.counts),
            disposition=Disposition.RETRY,
            reason=reason,
        )
        for run in statement.runs[:64]
    )


def _fault(peer: Peer, batch: wire.Batch, reason: str, size: int) -> FaultJob:
    return FaultJob(peer, batch.number, reason, retry_ranges(batch, reason), size)
