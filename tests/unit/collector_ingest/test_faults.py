"""The writer when its storage fails, and when one job is broken: nobody is answered wrongly, nothing is lost."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, select
from sqlalchemy.exc import OperationalError

from schoolkeeper_collector.ingest.apply import Applier
from schoolkeeper_collector.ledger.recovery import LOST_FACT, RecoveryRefused, draft, open_generation
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from schoolkeeper_proto import checkpoint, statements, wire
from schoolkeeper_proto.codec import decode, encode
from schoolkeeper_proto.statements import Ed25519Signer
from support.collector import Collector, TestSchool, sqlite_store
from support.device import SimulatedDevice, started

SCHOOL = TestSchool()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = sqlite_store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def collector(store: Store) -> Iterator[Collector]:
    collector = Collector(store, SCHOOL)
    yield collector
    collector.close()


class FailingCommits:
    """From now on commits of the store fail: `after` says whether the data is on the disk all the same."""

    def __init__(self, store: Store, *, after: bool, times: int = 1) -> None:
        self.left = times
        self._after = after
        event.listen(store.engine, "commit", self)

    def __call__(self, connection: Connection) -> None:
        if self.left:
            self.left -= 1
            driver = connection.connection.dbapi_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.execute("COMMIT" if self._after else "ROLLBACK")
            raise OperationalError("COMMIT", None, sqlite3.OperationalError("disk I/O error"))


@pytest.mark.parametrize(
    "after", [False, True], ids=["before the data is durable", "after the data is durable"]
)
def test_an_error_at_the_commit_is_answered_with_retry_and_the_head_is_read_again(
    collector: Collector, *, after: bool
) -> None:
    device = collector.device()
    peer = collector.greet(device)
    for _ in range(3):
        device.record([started()] * 4)
    FailingCommits(collector.store, after=after)
    collector.send(device, peer, device.cut())
    assert (device.stored, len(device.waiting)) == (0, 3)
    assert any(isinstance(answer, wire.Pushback) for answer in device.answers)
    device.record([started()] * 4)
    collector.deliver_all(device, peer)
    assert (device.stored, device.duplicate) == ((4, 12) if after else (16, 0))
    assert collector.totals()["rows"] == 16
    assert collector.fsck() == []


def test_a_job_that_breaks_us_is_singled_out(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [collector.device() for _ in range(3)]
    peers = [collector.greet(device) for device in devices]
    for device in devices:
        device.record([started()])
    honest = Applier.place

    def place(self, connection, changes, batch, device_no, *rest):  # type: ignore[no-untyped-def]
        if device_no == peers[1].device_no:
            raise RuntimeError("a mistake of ours")
        return honest(self, connection, changes, batch, device_no, *rest)

    monkeypatch.setattr(Applier, "place", place)
    jobs = [(d, collector.job(p, d.cut())) for d, p in zip(devices, peers, strict=True)]
    collector.hand_out(jobs)
    assert [device.stored for device in devices] == [1, 0, 1]
    monkeypatch.undo()
    collector.deliver_all(devices[1], peers[1])
    assert [device.stored for device in devices] == [1, 1, 1]
    assert collector.fsck() == []


class Officers:
    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self.signers = [Ed25519Signer(Ed25519PrivateKey.generate()) for _ in range(3)]
        self.public = {s.key_id: s.public_key.public_bytes_raw() for s in self.signers[:2]}

    def sign(self, statement: wire.RecoveryStatement, *which: int) -> wire.LedgerEntry:
        data = encode(statement)
        signatures = tuple(
            statements.sign(statements.RECOVERY, data, self.signers[number]) for number in which
        )
        return wire.LedgerEntry(type=wire.StatementType.RECOVERY, statement=data, signatures=signatures)


def restored(tmp_path: Path) -> tuple[Collector, SimulatedDevice, Collector]:
    """A collector, a device that sent it things after a backup, and the collector restored from that backup."""
    store = sqlite_store(tmp_path)
    collector = Collector(store, SCHOOL)
    device = collector.device()
    device.record([started()] * 3)
    collector.deliver_all(device)
    (tmp_path / "old").mkdir()
    for name in ("collector.db", "collector-keys.db"):
        with sqlite3.connect(tmp_path / name) as source, sqlite3.connect(tmp_path / "old" / name) as target:
            source.backup(target)
    device.record([started()] * 3)
    collector.deliver_all(device)
    collector.close()
    return collector, device, Collector(_existing(tmp_path / "old"), SCHOOL)


def _existing(folder: Path) -> Store:
    from schoolkeeper_collector.store.database import open_store

    return open_store(f"sqlite:///{folder}/collector.db", f"sqlite:///{folder}/collector-keys.db")


def test_a_restored_collector_acknowledges_nothing_until_two_officers_say_so(tmp_path: Path) -> None:
    before, device, after = restored(tmp_path)
    size = after.sequencer.size
    peer = after.greet(device)
    assert after.writer.history_lost
    assert device.goodbye is not None
    assert "recover" in device.goodbye.remedy
    assert after.sequencer.head is not None
    device.record([started()])
    after.send(device, peer, device.cut())
    assert device.stored == 6
    assert after.facts()[-1] == LOST_FACT

    officers = Officers()
    with after.store.read() as connection:
        statement = draft(connection, SCHOOL.school_id, "the disk died", 5)
    assert statement.highest_known_checkpoint == device.checkpoint
    with after.store.write() as connection, pytest.raises(RecoveryRefused, match="1 of 2"):
        open_generation(
            connection,
            after.sequencer,
            SCHOOL.school_id,
            officers.sign(statement, 0, 0, 2),
            officers.public,
            5,
        )
    with after.store.write() as connection:
        entry = officers.sign(statement, 0, 1)
        open_generation(connection, after.sequencer, SCHOOL.school_id, entry, officers.public, 5)
    after.sequencer.committed()
    after.close()

    again = Collector(after.store, SCHOOL)
    peer = again.greet(device)
    welcome = device.welcome
    assert welcome is not None
    assert checkpoint.generation_of(checkpoint.parse(welcome.checkpoint).origin) == 2
    assert decode(wire.LedgerEntry, welcome.recovery_entry) == entry
    held = {(item.lane, item.first_sequence, item.end_sequence) for item in welcome.held}
    assert held == {(wire.Lane.NORMAL, 0, 3)}
    # What the device still holds comes again; fsck follows the tree over both generations.
    again.deliver_all(device, peer)
    assert again.sequencer.size > size
    assert again.fsck() == []
    with again.store.read() as connection:
        gap = connection.execute(select(tables.gaps)).one()
    assert (gap.first_sequence, gap.end_sequence, gap.closed_ms) == (3, 6, None)
    again.close()
    again.store.close()
    before.store.close()


def test_a_restore_is_noticed_even_after_the_ledger_has_outgrown_the_lost_part(tmp_path: Path) -> None:
    before, device, after = restored(tmp_path)
    other = after.device()
    for _ in range(4):
        other.record([started()])
        after.deliver_all(other)
    assert after.sequencer.size > checkpoint.parse(device.checkpoint).size
    after.greet(device)
    assert after.writer.history_lost
    after.close()
    after.store.close()
    before.store.close()


def test_a_recovery_statement_of_another_moment_is_refused(collector: Collector) -> None:
    device = collector.device()
    device.record([started()])
    collector.deliver_all(device)
    officers = Officers()
    with collector.store.read() as connection:
        old = draft(connection, SCHOOL.school_id, "why", 5)
    device.record([started()])
    collector.deliver_all(device)
    with collector.store.write() as connection, pytest.raises(RecoveryRefused, match="draft it anew"):
        open_generation(
            connection, collector.sequencer, SCHOOL.school_id, officers.sign(old, 0, 1), officers.public, 5
        )
