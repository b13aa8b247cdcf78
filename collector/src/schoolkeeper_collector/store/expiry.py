"""Deletes what has been kept for as long as ``retention.py`` says: blobs with their narrow rows, then their keys.

Frames, statements and the ledger stay, so that what is left can still be proved and ``fsck`` can still tell a deletion
from a loss: ``expiries`` counts every event that went, by class. A key goes once nothing can lie under it any more.
Nothing is deleted twice or by halves: rows and count are one transaction, keys follow and are found again if not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, delete, func, insert, select, update

from schoolkeeper_collector.store.events import first_event_from
from schoolkeeper_collector.store.keystore import Keystore
from schoolkeeper_collector.store.retention import KEEP_MS, Retention
from schoolkeeper_collector.store.tables import blobs, events, expiries

_log = structlog.get_logger("store.expiry")


@dataclass(slots=True)
class ExpiryCounts:
    """Since the start. Read by the metrics from another thread."""

    blobs: dict[Retention, int] = field(default_factory=lambda: dict.fromkeys(Retention, 0))
    events: dict[Retention, int] = field(default_factory=lambda: dict.fromkeys(Retention, 0))
    keys: int = 0


class Expiry:
    """One school's. ``step`` is called again and again by the only writer; it does little each time.

    A pass begins every ``every_ms`` (milliseconds); each step of it deletes at most ``at_most`` blobs.
    """

    def __init__(
        self, school_id: str, keystore: Keystore, *, every_ms: int = 3_600_000, at_most: int = 16
    ) -> None:
        self._school_id = school_id
        self._keystore = keystore
        self._every_ms = every_ms
        self._at_most = at_most
        self._next_ms = 0
        self._pass = ExpiryCounts()
        self._newest_key = b""
        self.counts = ExpiryCounts()

    def due(self, now_ms: int) -> bool:
        """Whether a step is wanted. A clock that was set back delays a pass by one period at most."""
        return now_ms >= self._next_ms or now_ms < self._next_ms - self._every_ms

    def step(self, connection: Connection, now_ms: int) -> ExpiryCounts:
        """Inside a write transaction. To be told ``committed`` with the answer after its commit."""
        done = ExpiryCounts()
        newest = select(blobs.c.key_id).order_by(blobs.c.blob_no.desc()).limit(1)
        self._newest_key = bytes(connection.execute(newest).scalar() or b"")
        for retention in Retention:
            left = self._at_most - sum(done.blobs.values())
            self._delete(connection, retention, now_ms, left, done)
        return done

    def committed(self, done: ExpiryCounts, now_ms: int) -> None:
        """After the commit of a step; when it was the last of its pass, unused keys go too."""
        for retention in Retention:
            for counts in (self.counts, self._pass):
                counts.blobs[retention] += done.blobs[retention]
                counts.events[retention] += done.events[retention]
        if sum(done.blobs.values()) < self._at_most:
            self._end_pass(now_ms)

    def put_off(self, now_ms: int) -> None:
        """After a step that failed: not again before the next period."""
        self._next_ms = now_ms + self._every_ms

    # ---- inside -----------------------------------------------------------------------------------------

    def _delete(
        self, connection: Connection, retention: Retention, now_ms: int, at_most: int, done: ExpiryCounts
    ) -> None:
        until_ms = now_ms - KEEP_MS[retention]
        chosen = self._expired(connection, retention, until_ms, at_most)
        if not chosen:
            return
        number, at = 0, 0
        for blob_no in chosen:
            count, at = _delete_events(connection, blob_no, at)
            number += count
        connection.execute(delete(blobs).where(blobs.c.blob_no.in_(chosen)))
        done.blobs[retention], done.events[retention] = len(chosen), number
        self._note(connection, retention, until_ms, len(chosen), number)

    def _expired(
        self, connection: Connection, retention: Retention, until_ms: int, at_most: int
    ) -> list[int]:
        """The newest blob of all stays until there is a newer one: SQLite would give its number, and those of its
        events, to the next, and who reads on from a number would miss them.
        """
        newest = select(func.max(blobs.c.blob_no)).scalar_subquery()
        query = (
            select(blobs.c.blob_no)
            .where(
                blobs.c.school_id == self._school_id,
                blobs.c.retention == retention.value,
                blobs.c.received_ms < until_ms,
                blobs.c.blob_no < newest,
            )
            .order_by(blobs.c.received_ms)
            .limit(at_most)
        )
        return sorted(connection.execute(query).scalars())

    def _note(
        self, connection: Connection, retention: Retention, until_ms: int, blob_count: int, event_count: int
    ) -> None:
        where = (expiries.c.school_id == self._school_id, expiries.c.retention == retention.value)
        noted = connection.execute(
            update(expiries)
            .where(*where)
            .values(
                until_ms=until_ms,
                blobs=expiries.c.blobs + blob_count,
                events=expiries.c.events + event_count,
            )
        )
        if not noted.rowcount:
            row = {"school_id": self._school_id, "retention": retention.value, "until_ms": until_ms}
            connection.execute(insert(expiries).values(**row, blobs=blob_count, events=event_count))

    def _end_pass(self, now_ms: int) -> None:
        self._next_ms = now_ms + self._every_ms
        # By now every blob whose time was over is gone, save perhaps the newest of all.
        classes = [retention.value for retention in Retention]
        keys = self._keystore.erase_expired(self._school_id, classes, now_ms, but=self._newest_key)
        self.counts.keys += keys
        for retention in Retention:
            if self._pass.blobs[retention]:
                _log.info(
                    "expired",
                    retention=retention.value,
                    blobs=self._pass.blobs[retention],
                    events=self._pass.events[retention],
                )
        if keys:
            _log.info("keys of expired events deleted", keys=keys)
        self._pass = ExpiryCounts()


def expired_events(connection: Connection, school_id: str) -> tuple[int, int]:
    """(how many events went so far, before which time in ms they had come in), for ``fsck``."""
    where = expiries.c.school_id == school_id
    row = connection.execute(
        select(
            func.sum(expiries.c.events).label("number"), func.max(expiries.c.until_ms).label("until")
        ).where(where)
    ).one()
    return int(row.number or 0), int(row.until or 0)


def _delete_events(connection: Connection, blob_no: int, at: int) -> tuple[int, int]:
    """(how many there were, the number after them). ``at``: a place to look first, where the last blob's ended."""
    first = first_event_from(connection, blob_no, at)
    beyond = connection.execute(
        select(events.c.event_no)
        .where(events.c.event_no >= first, events.c.blob_no != blob_no)
        .order_by(events.c.event_no)
        .limit(1)
    ).scalar()
    if beyond is None:
        beyond = 1 << 62
    gone = connection.execute(delete(events).where(events.c.event_no >= first, events.c.event_no < beyond))
    return gone.rowcount, beyond
