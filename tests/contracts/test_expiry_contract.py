"""What is held is not deleted, what is deleted is said, on both engines."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from alembic import command
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, delete, func, insert, select, text, update

from schoolkeeper_collector.incidents.holds import HoldBook, HoldError
from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.incidents.model import ObjectType
from schoolkeeper_collector.ledger.fsck import check_store
from schoolkeeper_collector.ledger.proofs import event_proof
from schoolkeeper_collector.ledger.sequencer import FencedError
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store, open_engine, open_store
from schoolkeeper_collector.store.expiry import Expiry
from schoolkeeper_collector.store.keystore import WEEK_MS, Keystore
from schoolkeeper_collector.store.migrate import config_for, migrate
from schoolkeeper_collector.store.places import erased_of
from schoolkeeper_collector.store.retention import HELD, Periods, Retention
from schoolkeeper_proto import model, proof, wire
from schoolkeeper_proto.codec import decode, kind_number
from support.collector import Collector, TestSchool, add_school
from support.device import NOW_MS, SimulatedDevice, started
from support.holding import add_account, add_case, close_case
from support.patience import patiently
from support.stores import ENGINES, StoreUrls, migrated

SCHOOL = TestSchool()
NAME = SCHOOL.school_id
DAY = 24 * 3600 * 1000
PASS = model.Posture(check="lock", result=model.PostureResult.PASS)


@pytest.fixture(params=ENGINES)
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUrls:
    return StoreUrls.of(request.param, tmp_path, request)


@pytest.fixture
def store(urls: StoreUrls) -> Iterator[Store]:
    migrated(urls.store, urls.keystore)
    store = open_store(urls.store, urls.keystore)
    add_school(store)
    yield store
    store.close()


@pytest.fixture
def collector(store: Store) -> Iterator[Collector]:
    collector = Collector(store, SCHOOL)
    yield collector
    collector.close()


def send(collector: Collector, device: SimulatedDevice, *bodies: model.Body) -> list[int]:
    """One frame in one batch; the numbers of its events, in the order of their blobs."""
    before = max(numbers(collector), default=0)
    device.record(list(bodies))
    collector.deliver_all(device)
    return [number for number in numbers(collector) if number > before]


def numbers(collector: Collector) -> list[int]:
    with collector.store.read() as connection:
        return list(
            connection.execute(select(tables.events.c.event_no).order_by(tables.events.c.event_no)).scalars()
        )


def later(collector: Collector, device: SimulatedDevice, days: int) -> None:
    """Days pass, and something newer comes in: the newest blob of all always stays."""
    collector.now_ms += days * DAY
    send(collector, device, started())


def proved(collector: Collector, event_no: int) -> bool:
    with collector.store.read() as connection:
        shown = event_proof(connection, collector.store.keystore, NAME, event_no)
    return proof.holds(proof.check(shown, [SCHOOL.ledger.public_key().public_bytes_raw()]))


def tombstones(collector: Collector) -> list[wire.TombstoneStatement]:
    entries = tables.ledger_entries.c
    with collector.store.read() as connection:
        query = select(entries.entry).where(entries.type == "tombstone").order_by(entries.leaf_index)
        found = connection.execute(query).scalars().all()
    return [
        decode(wire.TombstoneStatement, decode(wire.LedgerEntry, bytes(entry)).statement) for entry in found
    ]


def held_blobs(collector: Collector) -> int:
    with collector.store.read() as connection:
        query = select(func.count()).where(tables.blobs.c.retention == HELD)
        return int(connection.execute(query).scalar_one())


def test_what_an_open_incident_rests_on_stays_and_is_still_proved(collector: Collector) -> None:
    device = collector.device()
    first = send(collector, device, *[started()] * 5)
    send(collector, device, *[started()] * 3)
    case = add_case(collector.store, [first[1], first[3]], incident=True)
    later(collector, device, 31)
    collector.expire()
    assert numbers(collector)[:2] == [first[1], first[3]]
    assert len(numbers(collector)) == 3
    assert all(proved(collector, number) for number in (first[1], first[3]))
    assert (collector.fsck(), held_blobs(collector)) == ([], 1)
    # Years later, too; and evidence that comes in late is held from then on.
    late = numbers(collector)[-1]
    add_case(collector.store, [late], case=case)
    later(collector, device, 4000)
    collector.expire()
    assert numbers(collector)[:3] == [first[1], first[3], late]
    assert collector.fsck() == []
    # Closed, its own period runs; then what it rests on goes with the next pass.
    close_case(collector.store, case, collector.now_ms)
    later(collector, device, 2561)
    collector.expire()
    assert numbers(collector)[:3] == [first[1], first[3], late]
    later(collector, device, 1)
    collector.expire()
    assert first[1] not in numbers(collector)
    assert len(numbers(collector)) == 2
    assert (collector.fsck(), held_blobs(collector)) == ([], 0)


def test_an_open_alert_holds_its_evidence_and_a_closed_one_without_incident_does_not(
    collector: Collector,
) -> None:
    device = collector.device()
    (kept,), (other,) = send(collector, device, started()), send(collector, device, started())
    case = add_case(collector.store, [kept])
    add_case(collector.store, [other], state="closed")
    later(collector, device, 31)
    collector.expire()
    assert kept in numbers(collector)
    assert other not in numbers(collector)
    # Held until a person closes it: then nothing keeps it any longer.
    close_case(collector.store, case, collector.now_ms)
    collector.expire()
    assert kept not in numbers(collector)
    assert collector.fsck() == []


def test_an_alert_that_becomes_an_incident_keeps_what_it_held(collector: Collector) -> None:
    device = collector.device()
    (kept,) = send(collector, device, started())
    case = add_case(collector.store, [kept])
    later(collector, device, 31)
    collector.expire()
    add_case(collector.store, [], case=case, incident=True, state="closed")
    later(collector, device, 31)
    collector.expire()
    assert kept in numbers(collector)
    assert proved(collector, kept)


def test_each_run_says_in_the_ledger_what_went_and_under_which_rule(collector: Collector) -> None:
    device = collector.device()
    leaf = collector.sequencer.size
    sent = send(collector, device, started(), PASS, started(), started())
    add_case(collector.store, [sent[1]], incident=True)
    later(collector, device, 31)
    collector.expire()
    (said,) = tombstones(collector)
    assert (said.actor, said.ground, said.at_unix_ms) == (
        "schoolkeeper",
        "retention: raw, 30 days",
        collector.now_ms,
    )
    # Of the frame's four: the posture is of another class, the second start is held.
    assert erased_of(said) == (wire.ErasedEvents(leaf_index=leaf, spans=(0, 1, 3, 1)),)
    before = collector.sequencer.size
    collector.expire()
    assert (len(tombstones(collector)), collector.sequencer.size) == (1, before), (
        "nothing went, nothing is said"
    )
    with collector.store.read() as connection:
        (row,) = connection.execute(select(tables.expiries)).all()
    assert (row.retention, row.events) == ("raw", 2)


def test_fsck_accepts_what_is_missing_only_where_a_tombstone_says_so(collector: Collector) -> None:
    device = collector.device()
    kept = send(collector, device, *[started()] * 4)
    gone = send(collector, device, *[started()] * 4)
    add_case(collector.store, kept[:1], incident=True)
    later(collector, device, 31)
    collector.expire()
    assert collector.fsck() == []
    assert gone[0] not in numbers(collector)

    def wrong(change: Callable[[Connection], object]) -> str:
        """What fsck would say if that had been done."""
        with collector.store.engine.connect() as connection:
            change(connection)
            tried = _Tried(connection, collector.store.keystore)
            found = list(check_store(tried, NAME, (SCHOOL.ledger.public_key().public_bytes_raw(),)))
            connection.rollback()
        return "; ".join(map(str, found))

    said = wrong(lambda c: c.execute(delete(tables.erased)))
    assert "4 events of its frames are in no blob, and no tombstone says why" in said
    assert "the index by leaf does not say what the tombstone says" in said
    said = wrong(lambda c: c.execute(update(tables.erased).values(tombstone_index=0)))
    assert "the ledger's entry there does not name it" in said
    held = tables.blobs.c.retention == HELD

    def lose(connection: Connection) -> None:
        connection.execute(delete(tables.events).where(tables.events.c.event_no == kept[0]))
        connection.execute(delete(tables.blobs).where(held))

    assert "1 events of its frames are in no blob, and no tombstone says why" in wrong(lose)
    said = wrong(lambda c: c.execute(update(tables.expiries).values(events=6)))
    assert "counts 6 events whose time was over; the ledger's tombstones name 7" in said


class _Tried(Store):
    """A store as it would be after a change that is not committed."""

    def __init__(self, connection: Connection, keystore: Keystore) -> None:
        super().__init__(connection.engine, keystore)
        self._connection = connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        yield self._connection


def test_a_hold_on_a_device_keeps_all_of_it_until_it_is_released(collector: Collector) -> None:
    device, other = collector.device(), collector.device()
    kept = send(collector, device, started(), PASS, started())
    gone = send(collector, other, started())
    book = HoldBook(NAME, CaseLog(NAME, collector.store.keystore))
    with collector.store.write() as connection:
        add_account(connection, "dsl@westgate")
        hold = book.on_device(
            connection, device.identity.device_id, reason="Police, 4711", by="dsl@westgate", now_ms=NOW_MS
        )
        assert book.held_events(connection, hold) == 3
    later(collector, other, 4000)
    collector.expire()
    assert set(kept) <= set(numbers(collector))
    assert not set(gone) & set(numbers(collector))
    assert all(proved(collector, number) for number in kept)
    with collector.store.write() as connection:
        book.release(connection, hold.number, reason="Given back", by="dsl@westgate", now_ms=collector.now_ms)
    collector.expire()
    assert not set(kept) & set(numbers(collector))
    collector.writer.work([])
    assert collector.fsck() == []


def test_a_hold_on_an_incident_outlasts_its_period_and_is_in_the_ledger_and_its_file(
    collector: Collector,
) -> None:
    device = collector.device()
    (kept,) = send(collector, device, started())
    case = add_case(collector.store, [kept], incident=True)
    log = CaseLog(NAME, collector.store.keystore)
    book = HoldBook(NAME, log)
    with collector.store.write() as connection:
        add_account(connection, "head@westgate")
        hold = book.on_incident(connection, case.number, reason="Court", by="head@westgate", now_ms=NOW_MS)
    close_case(collector.store, case, NOW_MS)
    later(collector, device, 2600)
    collector.expire()
    assert kept in numbers(collector)
    with collector.store.write() as connection:
        book.release(connection, hold.number, reason="Over", by="head@westgate", now_ms=collector.now_ms)
    collector.expire()
    assert kept not in numbers(collector)
    collector.writer.work([])
    with collector.store.read() as connection:
        (row,) = connection.execute(select(tables.holds)).all()
        entries = connection.execute(
            select(tables.ledger_entries.c.entry).where(tables.ledger_entries.c.type == "audit")
        ).scalars()
        said = [
            decode(wire.AuditStatement, decode(wire.LedgerEntry, bytes(one)).statement) for one in entries
        ]
        file = log.entries(connection, ObjectType.INCIDENT, case.incident_id)
    assert [(one.action, one.object) for one in said] == [
        ("hold.placed", f"incident:{case.incident_id.hex()}"),
        ("hold.released", f"incident:{case.incident_id.hex()}"),
    ]
    assert said[0].detail_commitment == hashlib.sha256(bytes(row.salt) + b"Court").digest()
    assert [(one.action, one.text) for one in file] == [
        ("hold.placed", "Hold 1: Court"),
        ("hold.released", "Hold 1: Over"),
    ]
    assert collector.fsck() == []


def test_a_hold_that_cannot_be_is_refused_and_leaves_nothing(collector: Collector) -> None:
    book = HoldBook(NAME, CaseLog(NAME, collector.store.keystore))
    case = add_case(collector.store, [], incident=True)

    def refused(match: str, number: int, reason: str, by: str) -> None:
        with pytest.raises(HoldError, match=match), collector.store.write() as connection:
            book.on_incident(connection, number, reason=reason, by=by, now_ms=NOW_MS)

    with collector.store.write() as connection:
        add_account(connection, "dsl@westgate")
    refused("no incident 9", 9, "r", "dsl@westgate")
    refused("--reason is empty", case.number, "  ", "dsl@westgate")
    refused("no account in use", case.number, "r", "nobody")
    with pytest.raises(HoldError, match="no hold 1"), collector.store.write() as connection:
        book.release(connection, 1, reason="r", by="dsl@westgate", now_ms=NOW_MS)
    assert (collector.count(tables.holds), collector.count(tables.ledger_queue)) == (0, 0)


def test_kinds_with_a_shorter_promise_go_first_and_the_rest_of_their_blob_stays(collector: Collector) -> None:
    device = collector.device()
    short = {kind_number("heartbeat"): 14}
    expiry = Expiry(NAME, collector.store.keystore, periods=lambda: Periods(by_kind=short), at_most=2)
    sent = [send(collector, device, started(), model.Heartbeat(), started()) for _ in range(5)]
    add_case(collector.store, [sent[2][1]], incident=True)
    later(collector, device, 15)
    collector.expire(expiry)
    left = [number for frame in sent for number in (frame[0], frame[2])]
    assert numbers(collector)[:-1] == sorted([*left, sent[2][1]])
    assert all(proved(collector, number) for number in left)
    assert collector.fsck() == []
    grounds = {statement.ground for statement in tombstones(collector)}
    assert grounds == {"retention: raw, 14 to 30 days"}
    # The next pass begins where this one stood, and another promise begins anew.
    short[kind_number("application.started")] = 10
    collector.expire(expiry)
    assert numbers(collector)[:-1] == [sent[2][1]]
    assert collector.fsck() == []


def test_what_a_hold_kept_of_a_kind_with_a_shorter_promise_goes_with_its_release(
    collector: Collector,
) -> None:
    device, other = collector.device(), collector.device()
    short = {kind_number("heartbeat"): 14}
    expiry = Expiry(NAME, collector.store.keystore, periods=lambda: Periods(by_kind=short))
    start, beat = send(collector, device, started(), model.Heartbeat())
    book = HoldBook(NAME, CaseLog(NAME, collector.store.keystore))
    with collector.store.write() as connection:
        add_account(connection, "dsl")
        book.on_device(connection, device.identity.device_id, reason="r", by="dsl", now_ms=1)
    later(collector, other, 15)
    collector.expire(expiry)
    assert numbers(collector)[:2] == [start, beat]
    with collector.store.write() as connection:
        book.release(connection, 1, reason="r", by="dsl", now_ms=2)
    collector.expire(expiry)
    assert numbers(collector)[0] == start
    assert beat not in numbers(collector)


def test_what_detection_has_not_read_is_not_deleted(collector: Collector) -> None:
    device = collector.device()
    first, second = send(collector, device, started()), send(collector, device, started())
    expiry = Expiry(NAME, collector.store.keystore, waits_for="events")
    later(collector, device, 31)
    collector.expire(expiry)
    assert set(first + second) <= set(numbers(collector)), "it has read nothing yet"
    with collector.store.write() as connection:
        row = {"school_id": NAME, "source": "events", "position": first[0], "state": b""}
        connection.execute(insert(tables.detection_cursors).values(row))
    collector.expire(expiry)
    assert numbers(collector)[0] == second[0]


def test_keys_go_with_the_last_that_lies_under_them(collector: Collector) -> None:
    device, keystore = collector.device(), collector.store.keystore
    (kept,) = send(collector, device, started())[:1]
    case = add_case(collector.store, [kept], incident=True)
    later(collector, device, 31)
    collector.expire()
    (held,) = keystore.keys_of(NAME, HELD)
    assert len(keystore.keys_of(NAME, Retention.RAW.value)) == 1, (
        "the week of the first is over, and its key is gone"
    )
    add_case(collector.store, [numbers(collector)[-1]], case=case)
    close_case(collector.store, case, collector.now_ms - 3000 * DAY)
    collector.expire()
    assert keystore.keys_of(NAME, HELD) == []
    assert keystore.key(held[0]) is None
    # A key that a crash left behind is found by the first pass after the start.
    keystore.new_key(HELD, NAME, NOW_MS)
    keystore.new_key(Retention.YEAR.value, NAME, collector.now_ms - 2 * WEEK_MS)
    collector.expire()
    assert (keystore.keys_of(NAME, HELD), keystore.keys_of(NAME, "year")) == ([], [])


def test_a_blob_that_does_not_open_goes_whole_and_what_went_is_still_said(collector: Collector) -> None:
    device = collector.device()
    send(collector, device, started(), PASS, started())
    with collector.store.write() as connection:
        raw = tables.blobs.c.retention == "raw"
        connection.execute(update(tables.blobs).where(raw).values(data=os.urandom(80)))
    assert [finding.table for finding in collector.fsck()] == ["blobs"]
    later(collector, device, 31)
    collector.expire()
    assert collector.fsck() == []
    (said,) = tombstones(collector)
    assert erased_of(said)[0].spans == (0, 1, 2, 1)


def test_an_older_database_learns_what_its_alerts_rest_on(tmp_path: Path) -> None:
    urls = StoreUrls(store=f"sqlite:///{tmp_path}/a.db", keystore=f"sqlite:///{tmp_path}/k.db")
    engine = open_engine(urls.store)
    config = config_for("main")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO findings (school_id, finding_id, rule_id, rule_version, subject, severity, first_ms,"
                " last_ms, late, alert_id, created_ms, evidence) VALUES ('s', x'01', 'r', '1', 'school', 4, 1, 1, 0,"
                """ x'0a', 1, '{"events": [7, 9], "facts": [1]}')"""
            )
        )
        connection.commit()
    migrate(urls.store, urls.keystore)
    with engine.connect() as connection:
        rows = connection.execute(select(tables.evidence)).all()
    assert [(row.school_id, row.event_no, bytes(row.alert_id)) for row in rows] == [
        ("s", 7, b"\n"),
        ("s", 9, b"\n"),
    ]
    engine.dispose()


# ---- a crash in the middle ---------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["before the tombstone", "before the commit", "before the keys"])
def test_a_kill_in_the_middle_of_expiry_leaves_all_or_nothing(urls: StoreUrls, where: str) -> None:
    migrated(urls.store, urls.keystore)
    store = open_store(urls.store, urls.keystore)
    add_school(store)
    collector = Collector(store, SCHOOL)
    device = collector.device()
    first = send(collector, device, *[started()] * 4)
    case = add_case(store, first[:1], incident=True)
    later(collector, device, 31)
    collector.expire()
    send(collector, device, *[started()] * 4)
    later(collector, device, 31)
    close_case(store, case, NOW_MS - 3000 * DAY)
    collector.close()
    before = (numbers(collector), collector.fsck())
    assert before[1] == []
    said = len(tombstones(collector))
    key = SCHOOL.ledger.private_bytes_raw().hex()
    asked = {"urls": [urls.store, urls.keystore], "key": key, "now": collector.now_ms, "where": where}
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(asked),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        text=True,
        check=False,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    # A PostgreSQL server sees a moment later that the killed process is gone, and only then gives its lock away.
    after = patiently(lambda: Collector(store, SCHOOL), FencedError)
    after.now_ms = collector.now_ms
    assert after.fsck() == []
    if where == "before the keys":
        assert len(tombstones(after)) == said + 1
        assert numbers(after) != before[0]
    else:
        assert (numbers(after), len(tombstones(after))) == (before[0], said), "all of it or nothing"
    after.expire()
    assert (numbers(after)[:-1], after.fsck()) == ([], [])
    assert store.keystore.keys_of(NAME, HELD) == []
    after.close()
    store.close()


def _killed() -> NoReturn:
    """In a process of its own: one pass of expiry that does not live to see its end."""
    asked = json.loads(sys.stdin.read())
    SCHOOL.ledger = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(asked["key"]))
    store = open_store(*asked["urls"])
    collector = Collector(store, SCHOOL)
    collector.now_ms = asked["now"]
    expiry = Expiry(NAME, store.keystore)

    def die(*_: object) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    match asked["where"]:
        case "before the tombstone":
            collector._bury = die  # type: ignore[method-assign]
        case "before the commit":
            finish = collector.sequencer.finish

            def last(*args: object) -> None:
                finish(*args)  # type: ignore[arg-type]
                if collector.sequencer.upcoming != collector.sequencer.head:
                    die()

            collector.sequencer.finish = last  # type: ignore[method-assign, assignment]
        case _:
            committed = expiry.committed

            def once(step: object, now_ms: int) -> None:
                if step.gone.positions:  # type: ignore[attr-defined]
                    die()
                committed(step, now_ms)  # type: ignore[arg-type]

            expiry.committed = once  # type: ignore[method-assign, assignment]
    collector.expire(expiry)
    raise SystemExit("it lived to see its end")


if __name__ == "__main__":
    _killed()
