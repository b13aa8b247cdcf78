"""The thread in front of the spool: callers hand events over and go on; nobody but this thread waits for a disk.

Events of a lane are grouped for at most 50 ms into one frame; a critical one is written at once. While the disk is
full or failing, events wait in a bounded buffer (bulk goes first, then normal); what does not fit is counted and
reported once the spool writes again. Opening, damage and recovery happen here too, with back-off.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool.contract import (
    Appended,
    Doubt,
    Spool,
    SpoolDamaged,
    SpoolError,
    SpoolRefused,
    SpoolUnwritable,
)
from schoolkeeper_proto.wire import LANES, Lane

T = TypeVar("T")

GROUP_SECONDS = 0.05
BUFFER_BYTES = 4 << 20
_FULL_GROUP_BYTES = 256 << 10
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 30.0
_TIDY_SECONDS = 60.0
_EVENT_OVERHEAD = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Events that never reached the spool, and between which wall times (Unix milliseconds)."""

    because: str
    events: int
    from_unix_ms: int
    to_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterState:
    """``failing_because`` is empty while the spool writes; ``dropped_events`` are not in the spool's counter yet."""

    buffered_events: int
    buffered_bytes: int
    dropped_events: int
    failing_because: str


@dataclass(slots=True)
class _Tally:
    events: int = 0
    from_ms: int = 0
    to_ms: int = 0
    because: str = ""


@dataclass(slots=True)
class _Buffer:
    events: deque[bytes] = field(default_factory=deque)
    size: int = 0

    def add(self, event: bytes) -> None:
        self.events.append(event)
        self.size += len(event) + _EVENT_OVERHEAD

    def drop_oldest(self) -> None:
        self.size -= len(self.events.popleft()) + _EVENT_OVERHEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Called on the writer's thread; each must return at once."""

    opened: Callable[[Spool], None] = lambda _: None
    appended: Callable[[Appended], None] = lambda _: None
    lost: Callable[[Lost], None] = lambda _: None


class FrameWriter:
    """``record`` from any thread; ``call`` runs something with the spool on its own thread."""

    def __init__(
        self,
        open_spool: Callable[[Doubt | None], Spool],
        now: Callable[[], Moment],
        hooks: Hooks,
        *,
        buffer_bytes: int = BUFFER_BYTES,
        group_seconds: float = GROUP_SECONDS,
    ) -> None:
        self._open_spool = open_spool
        self._now = now
        self._hooks = hooks
        self._buffer_bytes = buffer_bytes
        self._group = group_seconds
        self._buffers = {lane: _Buffer() for lane in LANES}
        self._jobs: deque[tuple[Callable[[Spool], object], Future[object]]] = deque()
        self._wake = threading.Condition()
        self._spool: Spool | None = None
        self._doubt: Doubt | None = None
        self._urgent = False
        self._stopping = False
        self._failing = ""
        self._wait = 0.0
        self._tally = _Tally()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def record(self, lane: Lane, event: bytes) -> None:
        """Takes one serialised event; never blocks on a disk and never raises for a full one."""
        with self._wake:
            buffer = self._buffers[lane]
            first = not self._holds_any()
            buffer.add(event)
            while self._size() > self._buffer_bytes:
                self._drop_one()
            if lane is Lane.CRITICAL or buffer.size > _FULL_GROUP_BYTES:
                self._urgent = True
            if first or self._urgent:
                self._wake.notify()

    def keep(self, lane: Lane, event: bytes, notes: Mapping[str, bytes]) -> Future[None]:
        """The event and what is remembered of it: on the disk together when the future is done, or not at all.

        Never buffered: where the disk takes nothing now, the future raises ``SpoolError`` and the caller says so.
        """

        def job(spool: Spool) -> None:
            self._hooks.appended(spool.append(lane, [event], self._now(), notes))

        return self.call(job)

    def call(self, job: Callable[[Spool], T]) -> Future[T]:
        """The job's result; ``SpoolUnwritable`` while there is no spool. Jobs run in order, between appends."""
        done: Future[T] = Future()
        with self._wake:
            if self._stopping:
                done.set_exception(SpoolUnwritable("the spool is closed: the agent is stopping"))
                return done
            self._jobs.append((job, done))  # type: ignore[arg-type]  # T fits object
            self._wake.notify()
        return done

    def state(self) -> WriterState:
        with self._wake:
            return WriterState(
                buffered_events=sum(len(b.events) for b in self._buffers.values()),
                buffered_bytes=self._size(),
                dropped_events=self._tally.events,
                failing_because=self._failing,
            )

    def stop(self, timeout: float = 5.0) -> int:
        """Writes what is buffered, closes the spool, and returns how many events could not be written."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout)
        return self.state().buffered_events

    # ---- the thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        next_tidy = 0.0
        while True:
            jobs, stopping = self._sleep()
            worked = self._ensure_open()
            if worked:
                worked = self._write_all()
            self._run_jobs(jobs)
            moment = self._now().monotonic_ms / 1000
            if worked and moment >= next_tidy:
                next_tidy = moment + _TIDY_SECONDS
                self._attempt(lambda spool: spool.tidy(self._now()))
            self._wait = 0.0 if worked else min(_LONGEST_WAIT, max(_FIRST_WAIT, self._wait * 2))
            if stopping:
                self._shut()
                return

    def _sleep(self) -> tuple[list[tuple[Callable[[Spool], object], Future[object]]], bool]:
        """Until there is something to do; with events waiting no longer than their group's time."""
        with self._wake:
            if self._failing:
                self._wake.wait_for(lambda: self._stopping or bool(self._jobs), min(_FIRST_WAIT, self._wait))
                # A critical event is tried at once all the same: on a full disk there may be room for it alone.
                self._wake.wait_for(
                    lambda: self._stopping or bool(self._jobs) or self._urgent,
                    max(0.0, self._wait - _FIRST_WAIT),
                )
            elif self._spool is not None:
                self._wake.wait_for(
                    lambda: self._stopping or bool(self._jobs) or self._holds_any(), _TIDY_SECONDS
                )
                if self._holds_any():
                    self._wake.wait_for(
                        lambda: self._stopping or self._urgent or bool(self._jobs), self._group
                    )
            self._urgent = False
            jobs = list(self._jobs)
            self._jobs.clear()
            return jobs, self._stopping

    def _ensure_open(self) -> bool:
        if self._spool is not None:
            return True
        try:
            self._spool = self._open_spool(self._doubt)
        except (SpoolError, OSError) as error:
            self._failing = str(error)
            return False
        self._doubt = None
        try:
            self._hooks.opened(self._spool)
        except SpoolError as error:  # damage or a failing disk, met in the first notes that are read
            self._close_after(error)
            return False
        return True

    def _write_all(self) -> bool:
        for lane in LANES:
            if not self._write_lane(lane):
                return False
        if self._failing or self._tally.events:
            self._recovered()
        return True

    def _write_lane(self, lane: Lane) -> bool:
        while True:
            with self._wake:
                events = list(self._buffers[lane].events)
                self._buffers[lane] = _Buffer()
            if not events:
                return True
            if not self._append(lane, events):
                return False

    def _append(self, lane: Lane, events: list[bytes]) -> bool:
        assert self._spool is not None
        try:
            done = self._spool.append(lane, events, self._now())
        except SpoolRefused as error:
            return self._one_by_one(lane, events, str(error))
        except SpoolDamaged as error:
            self._put_back(lane, events)
            self._close_after(error)
            return False
        except SpoolUnwritable as error:
            self._put_back(lane, events)
            self._failing = str(error)
            return False
        self._hooks.appended(done)
        return True

    def _one_by_one(self, lane: Lane, events: list[bytes], because: str) -> bool:
        """One of them can never be kept: find it, count it, and keep the others."""
        if len(events) == 1:
            with self._wake:
                self._count_dropped(1, because)
            return True
        for position, event in enumerate(events):
            if not self._append(lane, [event]):
                self._put_back(lane, events[position + 1 :])
                return False
        return True

    def _put_back(self, lane: Lane, events: list[bytes]) -> None:
        with self._wake:
            fresh = self._buffers[lane].events
            buffer = self._buffers[lane] = _Buffer()
            for event in (*events, *fresh):
                buffer.add(event)
            while self._size() > self._buffer_bytes:
                self._drop_one()

    def _run_jobs(self, jobs: list[tuple[Callable[[Spool], object], Future[object]]]) -> None:
        for job, done in jobs:
            if not done.set_running_or_notify_cancel():
                continue
            if self._spool is None:
                done.set_exception(SpoolUnwritable(self._failing or "the spool is not open"))
                continue
            try:
                result = job(self._spool)
            except SpoolDamaged as error:
                self._close_after(error)
                done.set_exception(error)
            except Exception as error:  # noqa: BLE001 - it belongs to whoever asked, who gets it
                done.set_exception(error)
            else:
                done.set_result(result)

    def _attempt(self, job: Callable[[Spool], None]) -> bool:
        """Whether it was done."""
        try:
            if self._spool is not None:
                job(self._spool)
                return True
        except SpoolDamaged as error:
            self._close_after(error)
        except SpoolError as error:
            self._failing = str(error)
        return False

    def _remember(self, tally: _Tally) -> None:
        """What could not be counted in the spool is counted at the next try, with what was dropped in between."""
        with self._wake:
            newer = self._tally
            self._tally = _Tally(
                events=tally.events + newer.events,
                from_ms=tally.from_ms,
                to_ms=newer.to_ms or tally.to_ms,
                because=tally.because,
            )

    def _close_after(self, error: SpoolError) -> None:
        """A damaged database is opened anew at the next turn: opening moves it aside and saves what it can."""
        self._failing = str(error)
        if self._spool is not None:
            # What a caller was told had not been kept is on its way again: the next opening must not find it.
            self._doubt = self._spool.doubt
            self._spool.close()
            self._spool = None

    def _recovered(self) -> None:
        with self._wake:
            tally, self._tally = self._tally, _Tally()
            self._failing = ""
        if tally.events:
            if not self._attempt(lambda spool: spool.count_lost(tally.events)):
                self._remember(tally)
                return
            self._hooks.lost(
                Lost(
                    because=tally.because,
                    events=tally.events,
                    from_unix_ms=tally.from_ms,
                    to_unix_ms=tally.to_ms,
                )
            )

    def _shut(self) -> None:
        if self._spool is not None:
            self._write_all()
            self._spool.close()
            self._spool = None
        with self._wake:
            jobs = list(self._jobs)
            self._jobs.clear()
        for _, done in jobs:
            done.set_exception(SpoolUnwritable("the spool is closed: the agent is stopping"))

    # ---- the buffer; call with the lock held ----------------------------------------------------------

    def _holds_any(self) -> bool:
        return any(buffer.events for buffer in self._buffers.values())

    def _size(self) -> int:
        return sum(buffer.size for buffer in self._buffers.values())

    def _drop_one(self) -> None:
        for lane in reversed(LANES):
            if self._buffers[lane].events:
                self._buffers[lane].drop_oldest()
                self._count_dropped(1, self._failing or "more events at once than the spool could take")
                return

    def _count_dropped(self, events: int, because: str) -> None:
        now_ms = self._now().wall_ms
        self._tally.events += events
        self._tally.from_ms = self._tally.from_ms or now_ms
        self._tally.to_ms = now_ms
        self._tally.because = because
