"""Deletes what has been kept for long enough, a little at a time: blobs with their narrow rows, then their keys.

For how long is the word of ``Periods``; what is held stays (``holding.py``). Frames, statements and the ledger stay.
Each step appends tombstones, in the transaction that deletes: they name every event that went, by leaf and position,
and under which rule. So ``fsck`` tells a deletion from a loss, and what is left can still be proved. Keys follow the
commit; what a crash left of them is found by the next pass.

A pass looks at: each class up to its longest period; kinds that go before the rest of their class, from where the last
pass stood (``trims``); and evidence that nothing holds any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import structlog
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, tuple_, update

from schoolkeeper_collector.store.holding import held_devices, is_held
from schoolkeeper_collector.store.keystore import WEEK_MS, Keystore
from schoolkeeper_collector.store.places import to_spans
from schoolkeeper_collector.store.retention import DAY_MS, HELD, Periods, Retention
from schoolkeeper_collector.store.tables import (
    agreements_seen,
    blobs,
    detection_cursors,
    erased,
    events,
    evidence,
    expiries,
    trims,
)
from schoolkeeper_collector.store.trimming import Gone, Trimmer
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import encode, kind_number

ACTOR: Final = "schoolkeeper"
_EVIDENCE_AT_ONCE: Final = 500
_log = structlog.get_logger("store.expiry")

Append = Callable[[wire.LedgerEntry], int]
"""Appends to the ledger in the same transaction; returns the leaf's index."""


@dataclass(slots=True)
class ExpiryCounts:
    """Since the start. Read by the metrics from another thread."""

    blobs: dict[Retention, int] = field(default_factory=lambda: dict.fromkeys(Retention, 0))
    events: dict[Retention, int] = field(default_factory=lambda: dict.fromkeys(Retention, 0))
    keys: int = 0


@dataclass(frozen=True, slots=True)
class _Stage:
    """One search of a pass: a class up to one of its periods; ``retention`` None: evidence."""

    retention: Retention | None
    days: int = 0
    longest: bool = True


@dataclass(slots=True)
class Step:
    """What one step did. ``stage_over``: its search found no more."""

    gone: Gone
    stage_over: bool
    at: tuple[int, int]
    unused_keys: list[bytes] = field(default_factory=list)


class Expiry:
    """One school's. ``step`` is called again and again by the only writer; it does little each time.

    A pass begins every ``every_ms`` (milliseconds); each step of it looks at ``at_most`` blobs at most. ``periods`` is
    asked at the start of a pass. ``waits_for``: a cursor of detection; what it has not read is not deleted.
    """

    def __init__(
        self,
        school_id: str,
        keystore: Keystore,
        *,
        periods: Callable[[], Periods] = Periods,
        waits_for: str = "",
        every_ms: int = 3_600_000,
        at_most: int = 16,
    ) -> None:
        self._school_id = school_id
        self._keystore = keystore
        self._periods_now = periods
        self._waits_for = waits_for
        self._every_ms = every_ms
        self._at_most = at_most
        self._next_ms = 0
        self._stages: list[_Stage] = []
        self._at = (0, 0)
        self._periods = Periods()
        self._pass = ExpiryCounts()
        self._orphans_sought = False
        self.counts = ExpiryCounts()

    def due(self, now_ms: int) -> bool:
        """Whether a step is wanted. A clock that was set back delays a pass by one period at most."""
        return now_ms >= self._next_ms or now_ms < self._next_ms - self._every_ms

    def step(self, connection: Connection, append: Append, now_ms: int) -> Step:
        """Inside a write transaction. To be told ``committed`` with the answer after its commit."""
        if not self._stages:
            self._begin_pass()
        stage = self._stages[0]
        trimmer = Trimmer(connection, self._keystore, self._school_id, self._periods, now_ms)
        if stage.retention is None:
            step = self._evidence(connection, trimmer, now_ms)
        else:
            step = self._class(connection, trimmer, stage, stage.retention, now_ms)
        self._write_down(connection, append, step.gone, now_ms)
        if step.stage_over and len(self._stages) == 1:
            step.unused_keys = self._unused_keys(connection, now_ms)
            self._forget_agreements(connection, now_ms)
        return step

    def committed(self, step: Step, now_ms: int) -> None:
        """After the commit of a step: keys under which nothing is left go."""
        for retention in Retention:
            for counts in (self.counts, self._pass):
                counts.blobs[retention] += step.gone.blobs[retention]
                counts.events[retention] += step.gone.events(retention)
        self._at = step.at
        keys = [*step.gone.keys, *step.unused_keys]
        if keys:
            self.counts.keys += self._keystore.erase_keys(keys)
        if step.stage_over:
            self._stages.pop(0)
            self._at = (0, 0)
            if not self._stages:
                self._end_pass(now_ms)

    def put_off(self, now_ms: int) -> None:
        """After a step that failed: not again before the next period, and then from the start."""
        self._stages = []
        self._next_ms = now_ms + self._every_ms

    # ---- a pass -----------------------------------------------------------------------------------------

    def _begin_pass(self) -> None:
        self._periods = self._periods_now()
        self._pass = ExpiryCounts()
        self._at = (0, 0)
        for retention in Retention:
            *shorter, longest = self._periods.of_class(retention)
            self._stages += [_Stage(retention, days, longest=False) for days in shorter]
            self._stages.append(_Stage(retention, longest))
        self._stages.append(_Stage(None))

    def _end_pass(self, now_ms: int) -> None:
        self._next_ms = now_ms + self._every_ms
        self._orphans_sought = True
        for retention in Retention:
            if self._pass.events[retention]:
                _log.info(
                    "expired",
                    retention=retention.value,
                    blobs=self._pass.blobs[retention],
                    events=self._pass.events[retention],
                )

    # ---- one step ---------------------------------------------------------------------------------------

    def _class(
        self, connection: Connection, trimmer: Trimmer, stage: _Stage, retention: Retention, now_ms: int
    ) -> Step:
        until_ms = now_ms - stage.days * DAY_MS
        mark = self._periods.fingerprint(retention, stage.days)
        at = self._at
        if not stage.longest and at == (0, 0):
            at = (self._trimmed_until(connection, retention, mark), 0)
        query = (
            select(blobs)
            .where(
                *self._may_go(connection),
                blobs.c.retention == retention.value,
                blobs.c.received_ms < until_ms,
                tuple_(blobs.c.received_ms, blobs.c.blob_no) > tuple_(*at),
            )
            .order_by(blobs.c.received_ms, blobs.c.blob_no)
            .limit(self._at_most)
        )
        rows = connection.execute(query).all()
        for row in rows:
            trimmer.trim(row)
        over = len(rows) < self._at_most
        if rows:
            at = (rows[-1].received_ms, rows[-1].blob_no)
        if over and not stage.longest:
            self._trimmed(connection, retention, mark, self._safe_until(connection, retention, until_ms))
        return Step(trimmer.gone, over, at)

    def _evidence(self, connection: Connection, trimmer: Trimmer, now_ms: int) -> Step:
        """Evidence that is no longer held, wherever it lies, and whose period is over."""
        numbers = (
            select(evidence.c.event_no)
            .where(evidence.c.school_id == self._school_id, evidence.c.event_no > self._at[0])
            .distinct()
            .order_by(evidence.c.event_no)
            .limit(_EVIDENCE_AT_ONCE)
        )
        found = list(connection.execute(numbers).scalars())
        if not found:
            return Step(trimmer.gone, True, self._at)
        incident_ms = self._periods.incident_days * DAY_MS
        holds_it = (
            select(evidence.c.event_no)
            .where(
                evidence.c.school_id == self._school_id,
                evidence.c.event_no == events.c.event_no,
                is_held(self._school_id, now_ms, incident_ms),
            )
            .exists()
        )
        named = (
            select(events.c.blob_no)
            .join(blobs, blobs.c.blob_no == events.c.blob_no)
            .where(
                *self._may_go(connection),
                events.c.event_no.in_(found),
                self._is_over(now_ms),
                ~holds_it,
            )
            .distinct()
        )
        for row in connection.execute(
            select(blobs).where(blobs.c.blob_no.in_(named)).order_by(blobs.c.blob_no)
        ).all():
            trimmer.trim(row)
        return Step(trimmer.gone, len(found) < _EVIDENCE_AT_ONCE, (found[-1], 0))

    def _may_go(self, connection: Connection) -> Iterator[ColumnElement[bool]]:
        """Conditions on ``blobs``: not under a hold of its device, read by detection, and not the newest of all.

        The newest stays until there is a newer one: SQLite would give its number, and those of its events, to the
        next, and who reads on from a number would miss them.
        """
        yield blobs.c.school_id == self._school_id
        newest = connection.execute(select(func.max(blobs.c.blob_no))).scalar() or 0
        yield blobs.c.blob_no < min(newest, self._first_unread(connection, newest))
        held = held_devices(connection, self._school_id)
        if held:
            yield blobs.c.device_no.not_in(sorted(held))

    def _first_unread(self, connection: Connection, newest: int) -> int:
        """The first blob of which detection has not read everything."""
        if not self._waits_for:
            return newest
        cursor = select(detection_cursors.c.position).where(
            detection_cursors.c.school_id == self._school_id, detection_cursors.c.source == self._waits_for
        )
        read_to = connection.execute(cursor).scalar() or 0
        query = (
            select(events.c.blob_no).where(events.c.event_no > read_to).order_by(events.c.event_no).limit(1)
        )
        found = connection.execute(query).scalar()
        return newest if found is None else int(found)

    def _is_over(self, now_ms: int) -> ColumnElement[bool]:
        listed = self._periods.listed()
        known = [kind for kinds in listed.values() for kind in kinds]
        groups = [
            and_(events.c.kind.in_(kinds), blobs.c.received_ms < now_ms - days * DAY_MS)
            for days, kinds in listed.items()
        ]
        raw_ms = self._periods.by_class[Retention.RAW] * DAY_MS
        return or_(*groups, and_(events.c.kind.not_in(known), blobs.c.received_ms < now_ms - raw_ms))

    # ---- what is written down ---------------------------------------------------------------------------

    def _write_down(self, connection: Connection, append: Append, gone: Gone, now_ms: int) -> None:
        """A tombstone for each class, an index of it by leaf, and the sums."""
        for retention, leaves in gone.positions.items():
            statement = wire.TombstoneStatement(
                school_id=self._school_id,
                actor=ACTOR,
                ground=self._periods.words(retention),
                at_unix_ms=now_ms,
                erased=tuple(
                    wire.ErasedEvents(leaf_index=leaf, spans=to_spans(positions))
                    for leaf, positions in sorted(leaves.items())
                ),
            )
            entry = wire.LedgerEntry(type=wire.StatementType.TOMBSTONE, statement=encode(statement))
            index = append(entry)
            rows = [
                {"school_id": self._school_id, "leaf_index": leaf, "tombstone_index": index}
                for leaf in leaves
            ]
            connection.execute(insert(erased), rows)
            self._sum_up(connection, retention, gone, now_ms)

    def _sum_up(self, connection: Connection, retention: Retention, gone: Gone, now_ms: int) -> None:
        number = gone.events(retention)
        until_ms = now_ms - self._periods.of_class(retention)[-1] * DAY_MS
        where = (expiries.c.school_id == self._school_id, expiries.c.retention == retention.value)
        noted = connection.execute(
            update(expiries)
            .where(*where)
            .values(
                until_ms=until_ms,
                blobs=expiries.c.blobs + gone.blobs[retention],
                events=expiries.c.events + number,
            )
        )
        if not noted.rowcount:
            row = {"school_id": self._school_id, "retention": retention.value, "until_ms": until_ms}
            connection.execute(insert(expiries).values(**row, blobs=gone.blobs[retention], events=number))

    def _trimmed_until(self, connection: Connection, retention: Retention, mark: bytes) -> int:
        query = select(trims.c.until_ms).where(*self._trim(retention, mark))
        return int(connection.execute(query).scalar() or 0)

    def _trimmed(self, connection: Connection, retention: Retention, mark: bytes, until_ms: int) -> None:
        values = {"school_id": self._school_id, "retention": retention.value, "kinds": mark}
        connection.execute(delete(trims).where(*self._trim(retention, mark)))
        connection.execute(insert(trims).values(**values, until_ms=until_ms))

    def _trim(self, retention: Retention, mark: bytes) -> tuple[ColumnElement[bool], ...]:
        return (
            trims.c.school_id == self._school_id,
            trims.c.retention == retention.value,
            trims.c.kinds == mark,
        )

    def _safe_until(self, connection: Connection, retention: Retention, until_ms: int) -> int:
        """Not beyond what had to be left: the next pass looks at it again. (A released device is searched anew.)"""
        newest = connection.execute(select(func.max(blobs.c.blob_no))).scalar() or 0
        query = select(func.min(blobs.c.received_ms)).where(
            blobs.c.school_id == self._school_id,
            blobs.c.retention == retention.value,
            blobs.c.received_ms < until_ms,
            blobs.c.blob_no >= self._first_unread(connection, newest),
        )
        oldest = connection.execute(query).scalar()
        return until_ms if oldest is None else min(until_ms, int(oldest) - 1)

    # ---- keys -------------------------------------------------------------------------------------------

    def _forget_agreements(self, connection: Connection, now_ms: int) -> None:
        """Who agreed to the rules is known for as long as the events are kept that say so."""
        days = self._periods.days_of(kind_number("aup.accepted"))
        old = agreements_seen.c.last_ms < now_ms - days * DAY_MS
        connection.execute(delete(agreements_seen).where(agreements_seen.c.school_id == self._school_id, old))

    def _unused_keys(self, connection: Connection, now_ms: int) -> list[bytes]:
        """Keys of weeks that are over and of which no blob is left; once after a start those a crash left over."""
        found: list[bytes] = []
        for retention in Retention:
            for key_id, made_ms in self._keystore.keys_of(self._school_id, retention.value):
                week = made_ms - made_ms % WEEK_MS
                if week + WEEK_MS + DAY_MS < now_ms and not self._is_used(connection, retention, week):
                    found.append(key_id)
        if not self._orphans_sought:
            where = (blobs.c.school_id == self._school_id, blobs.c.retention == HELD)
            used = {bytes(key) for key in connection.execute(select(blobs.c.key_id).where(*where)).scalars()}
            held = self._keystore.keys_of(self._school_id, HELD)
            found += [key_id for key_id, _ in held if key_id not in used]
        return found

    def _is_used(self, connection: Connection, retention: Retention, week_ms: int) -> bool:
        """A key serves the blobs of its class that came in in its week (see ``Keystore.current_key``)."""
        query = select(blobs.c.blob_no).where(
            blobs.c.school_id == self._school_id,
            blobs.c.retention == retention.value,
            blobs.c.received_ms >= week_ms,
            blobs.c.received_ms < week_ms + WEEK_MS,
        )
        return connection.execute(query.limit(1)).first() is not None


def expired_events(connection: Connection, school_id: str) -> int:
    """How many events went so far, by the sums, for ``fsck``."""
    query = select(func.sum(expiries.c.events)).where(expiries.c.school_id == school_id)
    return int(connection.execute(query).scalar() or 0)
