"""The one thread that writes what devices send: a group commit over everyone who waits, then the answers.

Nothing is answered before its commit. When a group fails, nothing in memory is believed any more (lanes, head of
the ledger) and everyone in it is told to send again: after a commit with unknown outcome the same frames come back
as duplicates. A single job that fails where others do not is singled out, so that it blocks no one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from sqlalchemy import Connection, insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from schoolkeeper_collector.ingest.answers import Answers
from schoolkeeper_collector.ingest.apply import Applied, Applier
from schoolkeeper_collector.ingest.changes import Changes
from schoolkeeper_collector.ingest.greeting import Greeter, HistoryLost, Terms, lost_fact
from schoolkeeper_collector.ingest.jobs import (
    Answer,
    BatchJob,
    BeatJob,
    CloneJob,
    CommandJob,
    FaultJob,
    HelloJob,
    Job,
)
from schoolkeeper_collector.ingest.lanes import LaneCache
from schoolkeeper_collector.ingest.limits import DailyBudget, OnceADay
from schoolkeeper_collector.ingest.telling import answer_command
from schoolkeeper_collector.ingest.waitlist import Waitlist, is_backlog
from schoolkeeper_collector.ledger.recovery import LOST_FACT
from schoolkeeper_collector.ledger.sequencer import FencedError, Sequencer
from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.expiry import Expiry
from schoolkeeper_collector.store.tables import collector_facts
from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.statements import Signer

_GROUP_JOBS = 256
_GROUP_BYTES = 2 << 20
_GROUP_FRAMES = 1_024
"""So that what happens now waits for at most this much of somebody's backlog."""
_LARGE_AHEAD = 4
_IDLE_SECONDS = 0.25
_FOLLOW_EVERY_SECONDS = 0.2
_AFTER_ERROR_SECONDS = 0.2

Deliver = Callable[[list[tuple[Job, Answer]]], None]
_log = structlog.get_logger("ingest.writer")


class Follower(Protocol):
    """Comes after ingest in the same thread; a bounded piece of work per call."""

    def step(self, connection: Connection, now_ms: int) -> int:
        """Returns how much was done; 0 means there is nothing more for now and nothing was written."""


@dataclass(slots=True)
class WriterCounts:
    """Since the start; times in seconds. Read by the metrics from another thread."""

    events: int = 0
    batches: int = 0
    commits: int = 0
    failures: int = 0
    facts: int = 0
    without_key: int = 0
    place_seconds: float = 0.0
    flush_seconds: float = 0.0
    prove_seconds: float = 0.0
    commit_seconds: float = 0.0
    follow_seconds: float = 0.0
    dispositions: dict[str, int] = field(default_factory=dict)


class Writer:
    """``deliver`` is called on the writer's thread with the answers of one commit."""

    def __init__(
        self,
        *,
        store: Store,
        school_id: str,
        sequencer: Sequencer,
        ledger_keys: tuple[bytes, ...],
        command_signer: Signer,
        terms: Terms,
        budget: DailyBudget,
        policy_of: Callable[[str, bytes], wire.PolicyAvailable | None],
        deliver: Deliver,
        follower: Follower | None = None,
        expiry: Expiry | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._school_id = school_id
        self._sequencer = sequencer
        self._lanes = LaneCache(school_id)
        self._applier = Applier(school_id, self._lanes)
        self._greeter = Greeter(school_id, sequencer, ledger_keys, self._lanes, terms, policy_of)
        self._answers = Answers(school_id, sequencer, self._greeter, command_signer)
        self._budget = budget
        self._keys_told = OnceADay()
        self._deliver = deliver
        self._follower = follower
        self._expiry = expiry
        self._clock_ms = clock_ms
        self._jobs: Waitlist[Job] = Waitlist()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._followed_at = 0.0
        self.counts = WriterCounts()
        self.history_lost = False
        """The ledger was restored from an older backup: nothing is acknowledged until `recover`."""
        self.stopped_because: BaseException | None = None
        self.last_commit_ms = 0

    # ---- from other threads -------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def submit(self, job: Job) -> None:
        large = isinstance(job, BatchJob) and is_backlog(len(job.batch.frames), job.size)
        self._jobs.put(job, job.peer, large=large)

    def stop(self) -> None:
        """Finishes what was submitted, then ends; returns when the thread has."""
        self._jobs.close()
        self._thread.join()

    @property
    def crowded(self) -> bool:
        """The next group's share of backlog waits already."""
        return self._jobs.large_waiting >= _LARGE_AHEAD

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    # ---- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._round():
                pass
        except BaseException as error:  # noqa: BLE001 - the process must learn why its writer ended
            self.stopped_because = error
            _log.exception("writer ended", error=type(error).__name__)
            self._refuse_the_rest()

    def _round(self) -> bool:
        jobs, goes_on = self._gather()
        self._deliver(self.work(jobs))
        if not jobs or time.monotonic() - self._followed_at > _FOLLOW_EVERY_SECONDS:
            self._follow()
            self._expire()
        return goes_on

    def _gather(self) -> tuple[list[Job], bool]:
        """Everyone who waits, up to a bound. (jobs, False at the end of the work)"""
        jobs: list[Job] = []
        size = frames = 0
        job = self._jobs.take(within=_IDLE_SECONDS)
        while job is not None:
            jobs.append(job)
            if isinstance(job, BatchJob):
                size += job.size
                frames += len(job.batch.frames)
            if len(jobs) >= _GROUP_JOBS or size >= _GROUP_BYTES or frames >= _GROUP_FRAMES:
                break
            job = self._jobs.take(within=0)
        return jobs, not self._jobs.ended

    def work(self, jobs: list[Job]) -> list[tuple[Job, Answer]]:
        """One group commit and its answers; without jobs it takes up what waits in the ledger's queue.

        Raises ``FencedError`` only.
        """
        try:
            return self._commit_group(jobs)
        except FencedError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody is answered wrongly
            return self._after_failure(jobs, error)

    def _after_failure(self, jobs: list[Job], error: Exception) -> list[tuple[Job, Answer]]:
        self._forget(error)
        if isinstance(error, (SQLAlchemyError, OSError)) or len(jobs) == 1:
            time.sleep(_AFTER_ERROR_SECONDS)
            return [(job, self._answers.again(job, _words(error))) for job in jobs]
        answers: list[tuple[Job, Answer]] = []
        for job in jobs:
            try:
                answers += self._commit_group([job])
            except FencedError:
                raise
            except Exception as single:  # noqa: BLE001 - singled out, so that it blocks no one
                self._forget(single)
                answers.append((job, self._answers.again(job, _words(single))))
        return answers

    def _forget(self, error: Exception) -> None:
        self.counts.failures += 1
        # The exception's own text may quote rows; only its kind is logged, and where it was raised.
        _log.error("commit failed", error=type(error).__name__, at=_origin(error))
        self._lanes.clear()
        self._sequencer.forget()
        self._keys_told.forget()
        if isinstance(error, DBAPIError):
            self._store.forget_connections()

    def _commit_group(self, jobs: list[Job]) -> list[tuple[Job, Answer]]:
        if self.history_lost:
            return [(job, self._answers.again(job, _HISTORY_LOST)) for job in jobs]
        if not jobs and not self._sequencer.queue_waits():
            return []
        now_ms = self._clock_ms()
        clock = time.perf_counter
        changes = Changes(self._school_id)
        known = [(job.peer, job.peer.known_generation, job.peer.known_size) for job in jobs]
        try:
            with self._store.write() as connection:
                self._sequencer.begin(connection)
                began = clock()
                results = [(job, self._handle(connection, changes, job, now_ms)) for job in jobs]
                placed = clock()
                self._sequencer.finish(connection, now_ms)
                changes.flush(connection, self._store.keystore, now_ms)
                flushed = clock()
                answers = self._answers.build(connection, results, now_ms)
                proved = clock()
            self._sequencer.committed()
        except HistoryLost as lost:
            return self._stop_for_lost_history(jobs, lost, now_ms)
        except BaseException:
            for peer, generation, size in known:  # no checkpoint was shown after all
                peer.known_generation, peer.known_size = generation, size
            raise
        self.last_commit_ms = now_ms
        self._count(changes, results)
        counts = self.counts
        counts.place_seconds += placed - began
        counts.flush_seconds += flushed - placed
        counts.prove_seconds += proved - flushed
        counts.commit_seconds += clock() - proved
        return answers

    def _handle(
        self, connection: Connection, changes: Changes, job: Job, now_ms: int
    ) -> Applied | wire.Welcome | wire.Goodbye | int | None:
        """The outcome of one job before its proofs; for a batch with its leaf index in ``Applied``."""
        match job:
            case BatchJob():
                return self._store_batch(connection, changes, job, now_ms)
            case HelloJob():
                return self._greeter.greet(connection, changes, job, now_ms)
            case BeatJob():
                self._greeter.beat(connection, changes, job, now_ms)
            case FaultJob():
                if not job.peer.fault_told:
                    job.peer.fault_told = True
                    changes.fact("frame.refused", job.peer.device_no, now_ms, reason=job.reason[:500])
            case CommandJob():
                answer_command(connection, self._school_id, job.peer.device_no, job.result, now_ms)
            case CloneJob():
                self._greeter.clone(connection, changes, job, job.because, now_ms)
        return None

    def _store_batch(self, connection: Connection, changes: Changes, job: BatchJob, now_ms: int) -> Applied:
        batch, device_no = job.batch, job.peer.device_no
        applied = self._applier.place(
            connection,
            changes,
            batch,
            device_no,
            lambda lane, size: self._budget.admit(device_no, lane, size, now_ms),
            now_ms,
        )
        for lane in applied.over_budget:
            if self._budget.first_time(device_no, lane, now_ms):
                changes.fact("budget.exceeded", device_no, now_ms, lane=lane.value)
        for key, events in applied.missing_keys.items():
            # One a day and key: after a restore every device of the school says the same.
            if self._keys_told.first_time(key, now_ms):
                changes.fact("ingest.key_missing", device_no, now_ms, key=key, events=events)
        if applied.settles_nothing and not batch.evictions:
            return applied
        # A repetition, byte for byte, is proved by the leaf it has; anything else gets one of its own.
        leaf_index = None if applied.all_new else self._sequencer.find(connection, batch.entry)
        if leaf_index is None:
            leaf_index = self._sequencer.append(batch.entry, wire.StatementType.BATCH.value, now_ms)
        applied.leaf_index = leaf_index
        self._applier.record(connection, changes, batch, applied, device_no, leaf_index, now_ms)
        return applied

    def _stop_for_lost_history(
        self, jobs: list[Job], lost: HistoryLost, now_ms: int
    ) -> list[tuple[Job, Answer]]:
        self.history_lost = True
        self._lanes.clear()
        self._sequencer.forget()
        _log.critical("ledger restored from an older backup", remedy=_HISTORY_LOST)
        row = {
            "school_id": self._school_id,
            "device_no": None,
            "kind": LOST_FACT,
            "at_ms": now_ms,
            "fields": lost_fact(lost),
        }
        with self._store.write() as connection:
            connection.execute(insert(collector_facts).values(row))
        return [(job, self._answers.again(job, _HISTORY_LOST)) for job in jobs]

    def _follow(self) -> None:
        self._followed_at = time.monotonic()
        if self._follower is None or self.history_lost:
            return
        try:
            with self._store.write() as connection:
                self._sequencer.begin(connection)
                self._follower.step(connection, self._clock_ms())
        except FencedError:
            raise
        except Exception as error:  # noqa: BLE001 - a broken rule delays no acknowledgement
            self._forget(error)
        self.counts.follow_seconds += time.monotonic() - self._followed_at

    def _expire(self) -> None:
        """Deletes a little of what has been kept for long enough, and says so in the ledger."""
        now_ms = self._clock_ms()
        if self._expiry is None or self.history_lost or not self._expiry.due(now_ms):
            return
        try:
            with self._store.write() as connection:
                self._sequencer.begin(connection)
                done = self._expiry.step(connection, self._bury(now_ms), now_ms)
                self._sequencer.finish(connection, now_ms)
            self._sequencer.committed()
            self._expiry.committed(done, now_ms)
        except FencedError:
            raise
        except Exception as error:  # noqa: BLE001 - deleting can wait, ingest cannot
            self._expiry.put_off(now_ms)
            self._forget(error)

    def _bury(self, now_ms: int) -> Callable[[wire.LedgerEntry], int]:
        """How a tombstone gets into the ledger, in the transaction of what it states."""
        return lambda entry: self._sequencer.append(statements.leaf_bytes(entry), entry.type.value, now_ms)

    def _count(self, changes: Changes, results: Sequence[tuple[Job, object]]) -> None:
        counts = self.counts
        counts.commits += 1
        counts.events += changes.events
        counts.facts += len(changes.facts)
        for _job, result in results:
            if isinstance(result, Applied):
                counts.batches += 1
                counts.without_key += sum(result.missing_keys.values())
                for item in result.ranges:
                    word = item.disposition.value
                    counts.dispositions[word] = counts.dispositions.get(word, 0) + item.count

    def _refuse_the_rest(self) -> None:
        waiting: list[tuple[Job, Answer]] = []
        while (job := self._jobs.take(within=0)) is not None:
            waiting.append((job, self._answers.again(job, "the collector stops")))
        self._deliver(waiting)


_HISTORY_LOST = (
    "this collector was restored from an older backup: "
    "an administrator must run `schoolkeeper-collector recover`"
)


def _words(error: Exception) -> str:
    """For the device: what kind of trouble, never whose rows."""
    if isinstance(error, (SQLAlchemyError, OSError)):
        return "the collector's storage failed; nothing was stored"
    return "the collector could not take this batch; nothing was stored"


def _origin(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
