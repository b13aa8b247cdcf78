"""Rows that no hash of their own protects: damage in notes, counters and records is met, said and counted once."""

from __future__ import annotations

import random
import sqlite3
import zlib
from pathlib import Path

import pytest

from schoolkeeper_agent.spool import checks, schema
from schoolkeeper_agent.spool.contract import Damage, Settlement, SpoolDamaged, SpoolUnwritable, Wanted
from schoolkeeper_agent.spool.opening import DAMAGE_NOTE, open_spool, read_damage
from schoolkeeper_agent.spool.store import SqliteSpool
from schoolkeeper_agent.spool.writer import FrameWriter, Hooks
from schoolkeeper_proto.wire import Lane
from support.spools import OWNER, TARGET, Account, Disk, moment

ALL = Wanted(max_bytes=1 << 30, max_frames=100_000)
ROOM = 9 << 10


def opened(path: Path) -> SqliteSpool:
    return open_spool(path, OWNER, TARGET, moment(), room_bytes=ROOM)


def crowded(path: Path) -> tuple[int, int]:
    """A spool that had to evict. Returns how many events it was given, and how many it evicted."""
    spool = opened(path)
    for number in range(25):
        spool.append(Lane.NORMAL, [b"%06d" % number + bytes(500)], moment(number))
    spool.settle(Settlement(notes={"checkpoint": b"of the ledger", "clock": b"floor"}), moment(99))
    evicted = spool.usage().evicted_events
    assert 0 < evicted < 25
    spool.close()
    return 25, evicted


def damage_done(path: Path, statement: str) -> Damage:
    with sqlite3.connect(path) as database:
        assert database.execute(statement).rowcount == 1
    database.close()
    spool = opened(path)
    damage = read_damage(spool.note(DAMAGE_NOTE))
    spool.close()
    assert damage is not None, "damage passed unseen"
    return damage


def drained(spool: SqliteSpool) -> Account:
    account = Account()
    while reading := spool.read(ALL):
        account.take(reading)
        delivered = tuple(frame.number for frame in reading.frames)
        told = tuple(item.number for item in reading.evictions)
        spool.settle(Settlement(delivered=delivered, evictions_reported=told), moment())
    return account


def test_a_damaged_counter_is_said_and_counts_on_from_what_is_sure(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    _, evicted = crowded(path)
    damage = damage_done(path, "UPDATE counters SET value = value - 16 WHERE name = 'evicted_events'")
    assert damage.also_lost == ("the count of events evicted before",)
    assert (damage.lost_events, damage.salvaged_events) == (0, 25 - evicted)
    spool = opened(path)
    assert spool.usage().counts_forgotten == 1, "status says that the counts are the least that is sure"
    assert spool.usage().evicted_events == evicted, "the record is still there and proves it"
    drained(spool).check_lanes(spool)
    spool.close()


@pytest.mark.parametrize("column", ["value = x'00'", "name = 'checkpoins'", "crc = crc + 1"])
def test_a_damaged_note_is_named_and_no_other_is_touched(tmp_path: Path, column: str) -> None:
    path = tmp_path / "spool.db"
    crowded(path)
    damage = damage_done(path, f"UPDATE notes SET {column} WHERE name = 'checkpoint'")
    assert len(damage.also_lost) == 1
    assert damage.also_lost[0].startswith("the note 'checkpoin")
    assert (damage.lost_events, damage.lost_count_known) == (0, True)
    spool = opened(path)
    assert (spool.note("checkpoint"), spool.note("clock")) == (b"", b"floor")
    spool.close()


def test_an_untold_damage_whose_note_is_damaged_is_still_told(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    crowded(path)
    damage_done(path, "UPDATE notes SET value = x'00' WHERE name = 'clock'")
    damage = damage_done(path, f"UPDATE notes SET value = x'00' WHERE name = '{DAMAGE_NOTE}'")
    assert not damage.lost_count_known


@pytest.mark.parametrize(
    "column",
    [
        "events = events - 1",
        "chain_after = chain_before",
        "first_sequence = 4",
        "reported = 1",
        "reason = 'none'",
    ],
)
def test_a_damaged_record_is_never_sent_and_its_events_are_not_counted_as_lost_once_more(
    tmp_path: Path, column: str
) -> None:
    path = tmp_path / "spool.db"
    given, evicted = crowded(path)
    damage = damage_done(path, f"UPDATE evictions SET {column}")
    assert damage.also_lost == ("1 records of events that had made room before",)
    assert (damage.lost_events, damage.lost_count_known) == (0, False)
    spool = opened(path)
    usage = spool.usage()
    assert (usage.evicted_events, usage.lost_events, usage.counts_forgotten) == (evicted, 0, 0)
    account = drained(spool)
    assert not account.evicted, "the lane begins after the gap, and a gap is what the collector sees"
    assert len(account.events) + evicted == given
    spool.close()


def test_a_damaged_record_in_the_middle_of_a_lane_is_replaced_by_what_its_neighbours_prove(
    tmp_path: Path,
) -> None:
    """Two records beside each other: the hole between the first and the frames is told as damage, and counted once."""
    path = tmp_path / "spool.db"
    crowded(path)
    spool = opened(path)
    reading = spool.read(ALL)  # closes the first record, so that a second one begins
    assert reading is not None
    for number in range(12):
        spool.append(Lane.NORMAL, [b"%06d" % number + bytes(500)], moment(200 + number))
    evicted = spool.usage().evicted_events
    spool.close()
    damage = damage_done(path, "UPDATE evictions SET events = events - 1 WHERE eviction_no = 2")
    assert (damage.lost_events, damage.lost_count_known) == (0, False)
    spool = opened(path)
    account = drained(spool)
    account.check_lanes(spool)
    assert sum(record.events for record in account.evicted.values()) == evicted
    assert (spool.usage().evicted_events, spool.usage().lost_events) == (evicted, 0)
    spool.close()


@pytest.mark.seeds(short=10, long=300)
def test_a_flipped_bit_anywhere_in_these_rows_is_met(tmp_path: Path, seed: int) -> None:
    """Each column of each of the three tables, as its type allows."""
    chance = random.Random(seed)
    path = tmp_path / "spool.db"
    crowded(path)
    with sqlite3.connect(path) as database:
        table = chance.choice(("notes", "counters", "evictions"))
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        column = chance.choice(columns)
        rows = database.execute(f"SELECT * FROM {table}").fetchall()
        row = chance.choice(rows)
        flipped = flip(row[columns.index(column)], chance)
        database.execute(f"UPDATE {table} SET {column} = ? WHERE {columns[0]} = ?", (flipped, row[0]))
    database.close()
    spool = opened(path)
    assert read_damage(spool.note(DAMAGE_NOTE)) is not None, (table, column, flipped)
    drained(spool)
    spool.close()


def flip(value: object, chance: random.Random) -> object:
    if isinstance(value, int):
        return value ^ (1 << chance.randrange(31))
    raw = bytearray(value.encode() if isinstance(value, str) else bytes(value))  # type: ignore[call-overload]
    raw[chance.randrange(len(raw))] ^= 1
    return raw.decode() if isinstance(value, str) else bytes(raw)


def test_no_two_rows_share_what_is_checked() -> None:
    """Values cannot move from one column into the next, or change their kind, under the same check value."""
    rows = [("ab", "c"), ("a", "bc"), ("abc",), (b"ab", "c"), ("1", 2), (1, 2), (12,), ("", "abc")]
    assert len({checks.row(*row) for row in rows}) == len(rows)
    assert checks.row("a") != zlib.crc32(b"a")


# ---- an append in doubt, and damage before anybody knows ------------------------------------------------


def in_doubt(path: Path, monkeypatch: pytest.MonkeyPatch, lane: Lane) -> tuple[SqliteSpool, Disk]:
    """The commit of "again" reported an error, and was kept; a moment later another row of the database is damaged."""
    disk = Disk()
    monkeypatch.setattr(schema, "connect", disk.connect)
    spool = opened(path)
    spool.append(Lane.NORMAL, [b"before"], moment())
    disk.orders = ["dies"]
    with pytest.raises(SpoolUnwritable):
        spool.append(lane, [b"again", b"and again"], moment(1))
    with sqlite3.connect(path) as database:
        kept = database.execute("SELECT count(*) FROM frames").fetchone()
        database.execute("INSERT INTO counters (name, value, crc) VALUES ('x', 1, 1)")
    database.close()
    assert kept == (2,), "the commit was not kept: the test proves nothing"
    disk.failing = False
    return spool, disk


@pytest.mark.parametrize("lane", [Lane.NORMAL, Lane.CRITICAL])
@pytest.mark.parametrize("spoilt", ["", "ciphertext = x'00'", "chain"])
def test_an_append_in_doubt_is_not_kept_over_a_rebuild(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lane: Lane, spoilt: str
) -> None:
    """Also where what was kept of it, or the lane's head, is itself damaged: it is neither sent nor counted as lost."""
    path = tmp_path / "spool.db"
    spool, _ = in_doubt(path, monkeypatch, lane)
    with sqlite3.connect(path) as database:
        if spoilt == "chain":
            database.execute("UPDATE lanes SET chain = x'00' WHERE lane = ?", (schema.LANE_NUMBER[lane],))
        elif spoilt:
            database.execute(f"UPDATE frames SET {spoilt} WHERE frame_no = 2")
    database.close()
    schema.mark_damaged(path, "met by the test")
    doubt = spool.doubt
    assert doubt is not None
    spool.close()
    spool = open_spool(path, OWNER, TARGET, moment(), room_bytes=ROOM, doubt=doubt)
    damage = read_damage(spool.note(DAMAGE_NOTE))
    assert damage is not None
    assert (damage.salvaged_events, damage.lost_events) == (1, 0)
    assert damage.lost_count_known == (spoilt != "chain")
    spool.append(lane, [b"again", b"and again"], moment(2))
    account = drained(spool)
    account.check_lanes(spool)
    assert sorted(account.events.values()) == [b"again", b"and again", b"before"]
    assert spool.usage().lost_events == 0
    spool.close()


def test_the_writer_hands_the_doubt_over_and_each_event_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spool.db"
    spool, _ = in_doubt(path, monkeypatch, Lane.NORMAL)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE lanes SET chain = x'00' WHERE lane = ?", (schema.LANE_NUMBER[Lane.BULK],))
    database.close()
    with pytest.raises(SpoolDamaged):
        spool.append(Lane.NORMAL, [b"later"], moment(2))
    assert spool.doubt is not None, "still in doubt, and the writer must know"
    spools = [spool]

    def opening(doubt: object) -> SqliteSpool:
        if spools:
            return spools.pop()
        return open_spool(path, OWNER, TARGET, moment(), doubt=doubt)  # type: ignore[arg-type]

    writer = FrameWriter(opening, lambda: moment(3), Hooks())
    for event in (b"again", b"and again"):
        writer.record(Lane.NORMAL, event)
    writer.start()
    assert writer.stop(30) == 0
    spool = opened(path)
    account = drained(spool)
    account.check_lanes(spool)
    assert sorted(account.events.values()) == [b"again", b"and again", b"before"]
    spool.close()
