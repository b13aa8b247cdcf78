"""Health tells of commits that fail one after another, and of a detection that raises or stands still."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import SQLAlchemyError

from schoolkeeper_collector.following import Following, follower_of
from schoolkeeper_collector.ingest.writer import WriterCounts
from schoolkeeper_collector.pulse import STILL_MS, Pulse
from schoolkeeper_collector.store import tables
from support.school import School

T0 = 1_795_448_400_000


@dataclass
class Commits:
    """What a writer counts."""

    last_commit_ms: int = 0
    counts: WriterCounts = field(default_factory=WriterCounts)


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path / "collector")
    yield made
    made.close()


def step(school: School, follower: Following, now_ms: int) -> int:
    with school.store.write() as connection:
        return follower.step(connection, now_ms)


def test_commits_that_fail_are_a_fault_until_one_succeeds(school: School) -> None:
    writer = Commits()
    pulse = Pulse(school.store, school.school_id, writer, None)
    pulse.look(T0)
    assert pulse.faults(T0) == []
    writer.counts.failures = 3
    pulse.look(T0 + 1_000)
    (fault,) = pulse.faults(T0 + 1_000)
    assert fault.startswith("commits have failed since 2026-11-23 15:40:01 UTC")
    writer.counts.failures = 4
    pulse.look(T0 + 9_000)
    assert pulse.faults(T0 + 9_000) == [fault], "since the first of them"
    writer.last_commit_ms = T0 + 10_000
    pulse.look(T0 + 10_000)
    assert pulse.faults(T0 + 10_000) == []
    writer.counts.failures, writer.last_commit_ms = 5, T0 + 11_000
    pulse.look(T0 + 11_000)
    assert pulse.faults(T0 + 11_000) == [], "one among others that succeed is counted, and no fault"


def test_detection_that_raises_is_a_fault_of_detection_and_not_of_the_commits(school: School) -> None:
    follower = follower_of(school.store, school.keys, school.folder)
    writer = Commits()
    pulse = Pulse(school.store, school.school_id, writer, follower)
    step(school, follower, T0)
    with school.store.write() as connection:
        connection.execute(text("ALTER TABLE collector_facts RENAME TO away"))
    with pytest.raises(SQLAlchemyError):
        step(school, follower, T0 + 1_000)
    writer.counts.failures = 1  # the writer counts it, too
    pulse.look(T0 + 2_000)
    (fault,) = pulse.faults(T0 + 2_000)
    assert fault.startswith("detection has been failing since 2026-11-23 15:40:01 UTC")
    with school.store.write() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO collector_facts"))
    step(school, follower, T0 + 3_000)
    pulse.look(T0 + 3_000)
    assert pulse.faults(T0 + 3_000) == []


def test_a_detection_that_stands_still_says_how_far_it_is_behind(school: School) -> None:
    follower = follower_of(school.store, school.keys, school.folder)
    pulse = Pulse(school.store, school.school_id, Commits(), follower)
    row = {
        "school_id": school.school_id,
        "device_no": 1,
        "blob_no": 1,
        "position": 0,
        "severity": 1,
        "kind": 10,
    }
    with school.store.write() as connection:
        for _ in range(3):
            connection.execute(insert(tables.events).values(**row, event_ms=T0))
    pulse.look(T0)
    assert (pulse.lag, pulse.faults(T0)) == (3, [])
    late = T0 + STILL_MS + 1_000
    pulse.look(late)
    (fault,) = pulse.faults(late)
    assert fault.startswith("detection is 3 events behind and stands still")
    while step(school, follower, late):
        pass
    pulse.look(late + 1_000)
    assert (pulse.lag, pulse.faults(late + 1_000)) == (0, [])
