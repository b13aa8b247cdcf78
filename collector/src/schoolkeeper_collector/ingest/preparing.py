"""The thread between the event loop and the writer: verifies and opens batches while the writer waits for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from schoolkeeper_collector.ingest.claims import BatchFault
from schoolkeeper_collector.ingest.jobs import BatchJob, FaultJob, Job, Peer
from schoolkeeper_collector.ingest.prepare import Preparer
from schoolkeeper_collector.ingest.waitlist import Waitlist, is_backlog
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.wire import Disposition

_CROWDED_SECONDS = 0.01
_log = structlog.get_logger("ingest.preparing")
Waiting = tuple[Peer, wire.Batch, int]


class PreparingThread:
    """Keeps the order of each stream's batches. ``submit`` of the writer is what it hands on to.

    While the writer is ``crowded`` no backlog is prepared: what is ready waits already, and every further step would
    only take the processor (and the interpreter's lock) from the writer.
    """

    def __init__(
        self,
        preparer: Preparer,
        submit: Callable[[Job], None],
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._preparer = preparer
        self._submit = submit
        self._crowded = crowded
        self._batches: Waitlist[Waiting] = Waitlist()
        self._thread = threading.Thread(target=self._run, name="preparing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def prepare(self, peer: Peer, batch: wire.Batch, size: int) -> None:
        self._batches.put((peer, batch, size), peer, large=is_backlog(len(batch.frames), size))

    def stop(self) -> None:
        self._batches.close()
        self._thread.join()

    def _run(self) -> None:
        while not self._batches.ended:
            crowded = self._crowded()
            item = self._batches.take(within=_CROWDED_SECONDS if crowded else None, large=not crowded)
            if item is not None:
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
