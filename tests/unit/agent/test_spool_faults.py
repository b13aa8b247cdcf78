"""The spool and real trouble: damage, full file systems, failing syncs, kills, copies, and its default room."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schoolkeeper_agent.spool import room
from schoolkeeper_agent.spool.contract import (
    IngestTarget,
    Reading,
    Settlement,
    SpoolDamaged,
    SpoolUnwritable,
    Wanted,
)
from schoolkeeper_agent.spool.opening import DAMAGE_NOTE, open_spool, read_damage
from schoolkeeper_agent.spool.store import SqliteSpool
from schoolkeeper_proto.wire import Lane
from support.spools import INGEST, OWNER, TARGET, Account, moment

ALL = Wanted(max_bytes=1 << 30, max_frames=100_000)


def opened(path: Path, **more: int) -> SqliteSpool:
    return open_spool(path, OWNER, TARGET, moment(), **more)


def drained(spool: SqliteSpool) -> Account:
    account = Account()
    while reading := spool.read(ALL):
        account.take(reading)
        settle(spool, reading)
    return account


def filled(path: Path, count: int) -> bytes:
    """Writes so many events in frames of one and returns the epoch."""
    spool = opened(path)
    for number in range(count):
        spool.append(Lane.NORMAL, [b"%06d" % number + random.randbytes(200)], moment(number))
    epoch = spool.epoch
    spool.close()
    return epoch


def test_it_is_readable_to_its_owner_only_and_holds_nothing_in_clear(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = opened(path)
    spool.append(Lane.NORMAL, [b"a secret word in an event"], moment())
    assert path.stat().st_mode & 0o077 == 0
    held = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert b"secret word" not in held
    spool.close()


def test_a_second_service_on_the_same_spool_is_refused(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool.db")
    with pytest.raises(SpoolUnwritable):
        opened(tmp_path / "spool.db")
    spool.close()


def test_the_segment_key_lives_fifteen_minutes_and_not_across_a_restart(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool.db")
    for minutes in (0, 14, 16, 40):
        spool.append(Lane.NORMAL, [b"x"], moment(minutes * 60_000))
    spool.close()
    spool = opened(tmp_path / "spool.db")
    spool.append(Lane.NORMAL, [b"x"], moment(41 * 60_000))
    reading = spool.read(ALL)
    assert reading is not None
    assert len({f.segment_id for f in reading.frames}) == 4
    spool.tidy(moment(90 * 60_000))
    assert spool._keeper._sealer is None, "an idle key is forgotten too"
    spool.close()


def test_another_machine_or_enrolment_means_a_new_epoch_and_old_frames_are_still_sent(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    epoch = filled(path, 3)
    copied = open_spool(path, replace(OWNER, machine_hash=b"n" * 32), TARGET, moment())
    assert copied.epoch != epoch
    assert "machine's identity changed" in copied.epoch_because
    copied.append(Lane.NORMAL, [b"new"], moment())
    assert len(drained(copied).events) == 4
    copied.close()
    again = open_spool(path, replace(OWNER, device_id=b"e" * 16), TARGET, moment())
    assert again.epoch_because == "enrolled again as another device"
    again.close()


def test_a_new_ingest_key_is_used_from_the_next_frame(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool.db")
    spool.append(Lane.NORMAL, [b"x"], moment())
    spool.retarget(IngestTarget(key_id=b"z" * 32, public_key=INGEST.public_key().public_bytes_raw()))
    spool.append(Lane.NORMAL, [b"y"], moment())
    reading = spool.read(ALL)
    assert reading is not None
    assert {segment.ingest_key_id for segment in reading.segments} == {b"k" * 32, b"z" * 32}
    spool.close()


def test_a_damaged_page_costs_its_frames_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    epoch = filled(path, 300)
    data = bytearray(path.read_bytes())
    for page in (30, 31):
        data[page * 4096 : page * 4096 + 4096] = random.randbytes(4096)
    path.write_bytes(data)
    spool = opened(path)
    damage = read_damage(spool.note(DAMAGE_NOTE))
    assert damage is not None
    assert 200 < damage.salvaged_events < 300
    assert spool.epoch != epoch
    assert spool.epoch_because == "the spool's database was damaged"
    spool.append(Lane.NORMAL, [b"life goes on"], moment())
    account = drained(spool)
    account.check_lanes(spool)
    gone = sum(record.events for record in account.evicted.values())
    assert len(account.events) - 1 + gone == 300
    if damage.lost_count_known:
        assert damage.lost_events == gone == spool.usage().lost_events
    assert Path(damage.moved_to).exists()
    spool.close()


@pytest.mark.parametrize("what", ["header", "nothing", "text", "cut"])
def test_a_file_that_is_no_database_is_moved_aside(tmp_path: Path, what: str) -> None:
    path = tmp_path / "spool.db"
    filled(path, 200)
    data = path.read_bytes()
    wrong = {
        "header": random.randbytes(100) + data[100:],
        "nothing": b"",
        "text": b"hello" * 1000,
        "cut": data[:9000],
    }
    path.write_bytes(wrong[what])
    spool = opened(path)
    damage = read_damage(spool.note(DAMAGE_NOTE))
    assert (damage is not None) == (what != "nothing")
    spool.append(Lane.NORMAL, [b"life goes on"], moment())
    assert b"life goes on" in drained(spool).events.values()
    spool.close()


@pytest.mark.seeds(short=6, long=150)
def test_random_damage_never_stops_the_spool_and_never_counts_wrong(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "spool.db"
    filled(path, 200)
    data = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 60)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    spool = opened(path)
    for number in range(20):
        try:
            spool.append(Lane.NORMAL, [b"new %d" % number], moment())
        except SpoolDamaged:
            spool.close()
            spool = opened(path)
            spool.append(Lane.NORMAL, [b"new %d" % number], moment())
    try:
        account = drained(spool)
    except SpoolDamaged:
        spool.close()
        spool = opened(path)
        account = drained(spool)
    events = list(account.events.values())
    assert len(events) == len(set(events))
    assert sum(event.startswith(b"new ") for event in events) == 20
    usage, damage = spool.usage(), read_damage(spool.note(DAMAGE_NOTE))
    accounted = len(events) - 20 + usage.set_aside_events + usage.lost_events
    if damage is None or damage.lost_count_known:
        assert accounted == 200, "each event is sent or counted, once"
    else:
        assert accounted <= 200, "nothing is counted twice"
    spool.close()


@pytest.mark.parametrize("where", ["definition", "format", "magic"])
def test_a_damaged_first_page_costs_nothing(tmp_path: Path, where: str) -> None:
    """It is the same on every device: a new one takes its place."""
    path = tmp_path / "spool.db"
    filled(path, 50)
    data = bytearray(path.read_bytes())
    place = {"definition": data.index(b"settled_ms"), "format": 62, "magic": 3}[where]
    data[place] ^= 4
    path.write_bytes(data)
    spool = opened(path)
    damage = read_damage(spool.note(DAMAGE_NOTE))
    assert damage is not None
    assert (damage.salvaged_events, damage.lost_events, damage.lost_count_known) == (50, 0, True)
    account = drained(spool)
    assert len(account.events) == 50
    account.check_lanes(spool)
    spool.close()


def test_a_damaged_epoch_is_put_together_again_and_a_damaged_head_gives_no_place_out_twice(
    tmp_path: Path,
) -> None:
    path = tmp_path / "spool.db"
    epoch = filled(path, 20)
    for statement in (
        "UPDATE epochs SET epoch = x'00' || substr(epoch, 2), school_id = 'uests'",
        "UPDATE lanes SET next_sequence = next_sequence - 16",
        "UPDATE frames SET first_sequence = 900, count = 3, lane = 1 WHERE frame_no = 7",
    ):
        with sqlite3.connect(path) as database:
            database.execute(statement)
        database.close()
        spool = opened(path)
        spool.append(Lane.NORMAL, [b"life goes on"], moment())
        with contextlib.suppress(SpoolDamaged):
            spool.read(ALL)
        spool.close()
    spool = opened(path)
    account = drained(spool)
    account.check_lanes(spool)
    assert sorted(place[2] for place in account.events if place[0] == epoch) == list(range(20))
    assert len(account.events) == 23
    spool.close()


def test_a_power_cut_in_the_middle_of_a_rebuild_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    filled(path, 50)
    path.with_name("spool.db.rebuilding").write_bytes(b"half written")
    spool = opened(path)
    assert spool.usage().pending_events == 50
    spool.close()
    path.rename(path.with_name("spool.db.rebuilding"))
    spool = opened(path)  # the first rename done and the second not, but this one is not marked complete
    assert not path.with_name("spool.db.rebuilding").exists()
    spool.close()


@pytest.fixture(params=["64k", "256k", "1m"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a small tmpfs")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_on_a_full_file_system_nothing_that_was_accepted_is_lost_and_it_recovers(small_disk: Path) -> None:
    path = small_disk / "spool.db"
    accepted, refused = [], 0
    spool: SqliteSpool | None = None
    for number in range(3_000):
        event = b"%06d" % number + random.randbytes(300)
        try:
            spool = spool or opened(path)
            spool.append(Lane.NORMAL, [event], moment(number))
            accepted.append(event)
        except SpoolUnwritable as error:
            refused += "full" in str(error) or "cannot be" in str(error)
            if refused > 20:
                break
    assert refused > 20, "the disk was never full: the test proves nothing"
    if spool is None:
        return  # not even an empty database fits on 64 KiB, and that was said
    account = Account()
    reading = spool.read(ALL)
    if reading is not None:
        account.take(reading)
    spool.close()
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    spool = opened(path)
    spool.append(Lane.NORMAL, [b"room again"], moment())
    account = drained(spool)
    account.check_lanes(spool)
    assert set(account.events.values()) == {*accepted, b"room again"}
    spool.close()


WRITE = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from support.spools import OWNER, TARGET, moment
from schoolkeeper_agent.spool.contract import SpoolError
from schoolkeeper_agent.spool.opening import open_spool
from schoolkeeper_proto.wire import LANES
spool = None
number = int(sys.argv[2])
while number < int(sys.argv[3]):
    try:
        spool = spool or open_spool(Path(sys.argv[1]), OWNER, TARGET, moment())
        spool.append(LANES[number % 3], [b"%08d" % number], moment(number))
        os.write(1, b"kept %08d\\n" % number)
    except SpoolError as error:
        os.write(1, b"refused %08d\\n" % number)
    number += 1
"""


def writer(path: Path, first: int, end: int, *prefix: str) -> subprocess.Popen[bytes]:
    code = WRITE.format(tests=str(Path(__file__).resolve().parents[2]))
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", code, path, str(first), str(end)], stdout=subprocess.PIPE
    )


def said(output: bytes, word: bytes) -> set[bytes]:
    lines = output.split(b"\n")
    return {line.split()[1] for line in lines if line.startswith(word + b" ") and len(line) == len(word) + 9}


@pytest.mark.seeds(short=1, long=12)
def test_kill_at_any_point_keeps_what_was_accepted_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path, kept, first = tmp_path / "spool.db", set[bytes](), 0
    for _ in range(8):
        process = writer(path, first, first + 100_000)
        assert process.stdout is not None
        began = process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        kept |= said(began + process.communicate()[0], b"kept")
        first += 100_000
    spool = opened(path)
    account = drained(spool)
    account.check_lanes(spool)
    events = list(account.events.values())
    assert len(events) == len(set(events))
    assert kept <= set(events)
    assert len(kept) > 50
    spool.close()


@pytest.mark.seeds(short=1, long=12)
@pytest.mark.parametrize("call", ["fdatasync,fsync", "pwrite64"])
def test_real_io_errors_lose_nothing_that_was_accepted_and_it_recovers(
    tmp_path: Path, call: str, seed: int
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace: `make lab` installs it")
    chance = random.Random(seed)
    path = tmp_path / "spool.db"
    trace = tmp_path / "trace"
    # To make or open a database takes some twenty writes: with fewer between two errors it would never get anywhere.
    step = chance.randint(30, 80) if call == "pwrite64" else chance.randint(12, 60)
    inject = f"--inject={call}:error=EIO:when={chance.randint(20, 90)}+{step}"
    process = writer(path, 0, 300, "strace", "-f", "-qq", "-o", str(trace), f"--trace={call}", inject)
    output = process.communicate()[0]
    assert process.returncode == 0, "the writer must survive"
    kept, refused = said(output, b"kept"), said(output, b"refused")
    assert len(kept) + len(refused) == 300
    spool = opened(path)
    spool.append(Lane.NORMAL, [b"after"], moment())
    account = drained(spool)
    account.check_lanes(spool)
    events = list(account.events.values())
    assert len(events) == len(set(events))
    assert kept <= set(events)
    assert set(events) - {b"after"} - kept <= refused
    assert "INJECTED" in trace.read_text(), "no call failed: the test proves nothing"
    assert len(kept) > 100
    spool.close()


def test_sixty_days_of_the_model_week_fit_many_times_into_the_default_room(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool.db")
    for number in range(200):
        spool.append(Lane.NORMAL, [random.randbytes(274)], moment(number * 60_000))
    each = spool.usage().used_bytes / 200
    spool.close()
    assert each < room.MODEL_FRAME_BYTES + room.FRAME_OVERHEAD
    assert room.MODEL_EVENTS_A_DAY * room.OFFLINE_DAYS * each * 4 < room.DEFAULT_ROOM
    assert room.MODEL_ROOM * 4 < room.DEFAULT_ROOM


def test_the_file_stays_near_the_room_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = opened(path, room_bytes=512 << 10)
    for number in range(3_000):
        spool.append(Lane.BULK, [random.randbytes(300)], moment(number))
    spool.close()
    assert path.stat().st_size < (512 << 10) * 1.5
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# ---- a disk that others fill -------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a small tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Somebody's download: every byte that is left."""
    download = folder / "download"
    with contextlib.suppress(OSError), download.open("ab", buffering=0) as file:
        for piece in (64 << 10, 4 << 10):
            with contextlib.suppress(OSError):
                while file.write(bytes(piece)) == piece:
                    pass
    return download


def bulk_for_ever(spool: SqliteSpool) -> None:
    while True:
        spool.append(Lane.BULK, [random.randbytes(400)], moment())


def ballast_of(path: Path) -> int:
    beside = path.with_name("spool.db.ballast")
    return beside.stat().st_blocks * 512 if beside.exists() else 0


def test_on_a_disk_that_others_filled_critical_events_come_in_and_bulk_gives_way(disk: Path) -> None:
    path = disk / "spool.db"
    spool = opened(path)
    assert ballast_of(path) > 1 << 20
    assert ballast_of(path) < 4 << 20, "on a small disk it takes a small part"
    for number in range(400):
        spool.append(Lane.BULK, [b"bulk %04d" % number + random.randbytes(400)], moment(number))
    download = fill(disk)
    with pytest.raises(SpoolUnwritable, match="disk is full"):
        bulk_for_ever(spool)
    assert ballast_of(path), "bulk gets nothing of it"
    more = spool.usage().pending_events - 400
    for number in range(1_500):
        spool.append(
            Lane.CRITICAL, [b"critical %04d" % number + random.randbytes(400)], moment(1_000 + number)
        )
    assert ballast_of(path) == 0
    evicted = spool.usage().evicted_events
    assert evicted > 0
    with pytest.raises(SpoolUnwritable):
        spool.append(Lane.BULK, [b"x" * 400], moment(9_000))
    download.unlink()
    spool.append(Lane.BULK, [b"room again"], moment(9_001))
    assert ballast_of(path), "and the ballast is back"
    account = drained(spool)
    account.check_lanes(spool)
    events = list(account.events.values())
    assert sum(event.startswith(b"critical") for event in events) == 1_500, "no critical event gave way"
    assert len(events) + evicted == 400 + more + 1_500 + 1
    assert sum(record.events for record in account.evicted.values()) == evicted
    assert {record.lane for record in account.evicted.values()} == {Lane.BULK}
    spool.close()


def test_on_a_full_disk_what_was_delivered_is_settled_and_a_restart_works(disk: Path) -> None:
    path = disk / "spool.db"
    spool = opened(path)
    for number in range(300):
        spool.append(Lane.NORMAL, [b"%04d" % number + random.randbytes(300)], moment(number))
    fill(disk)
    assert len(drained(spool).events) == 300
    assert spool.usage().pending_events == 0
    spool.close()
    fill(disk)
    spool = opened(path)
    for number in range(200):
        spool.append(Lane.CRITICAL, [b"critical %04d" % number], moment(1_000 + number))
    assert len(drained(spool).events) == 200
    spool.close()


def test_a_restart_on_a_disk_without_a_free_byte_takes_the_ballast(disk: Path) -> None:
    path = disk / "spool.db"
    spool = opened(path)
    spool.append(Lane.NORMAL, [b"before"], moment())
    spool.close()
    fill(disk)
    held = ballast_of(path)
    assert held
    spool = opened(path)
    spool.append(Lane.CRITICAL, [b"after"], moment(1))
    assert ballast_of(path) < held
    assert set(drained(spool).events.values()) == {b"before", b"after"}
    spool.close()


@pytest.mark.seeds(short=2, long=40)
def test_a_disk_that_fills_and_empties_at_random_loses_nothing_that_was_accepted(
    disk: Path, seed: int
) -> None:
    chance = random.Random(seed)
    size = chance.choice((256, 700, 1_500, 4_000, 16_000))
    subprocess.run(["mount", "-o", f"remount,size={size}k", disk], check=True)
    path, download = disk / "spool.db", disk / "download"
    spool: SqliteSpool | None = None
    account, accepted, refused = Account(), set[bytes](), 0
    for step in range(chance.randint(400, 1_200)):
        if chance.random() < 0.02:
            download.unlink(missing_ok=True)
        elif chance.random() < 0.03:
            fill(disk)
        event = b"%05d" % step + chance.randbytes(chance.choice((10, 300, 5_000)))
        try:
            if spool is not None and chance.random() < 0.02:
                spool.close()
                spool = None
            spool = spool or opened(path)
            spool.append(
                chance.choice((Lane.CRITICAL, Lane.NORMAL, Lane.BULK, Lane.BULK)), [event], moment(step)
            )
            accepted.add(event)
            if chance.random() < 0.05:
                deliver_some(spool, account, chance)
        except SpoolUnwritable:
            refused += 1
        if chance.random() < 0.02 and spool is not None:
            try:
                spool.tidy(moment(step))
            except SpoolUnwritable:
                refused += 1
    if spool is not None:
        spool.close()
    download.unlink(missing_ok=True)
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    spool = opened(path)
    while reading := spool.read(ALL):
        account.take(reading)
        settle(spool, reading)
    account.check_lanes(spool)
    events = list(account.events.values())
    evicted = sum(record.events for record in account.evicted.values())
    assert len(events) == len(set(events))
    assert set(events) <= accepted, "an event that was refused was kept"
    assert spool.usage().evicted_events == evicted
    gone = {
        (epoch, lane, record.first_sequence + n)
        for (epoch, lane, _), record in account.evicted.items()
        for n in range(record.events)
    }
    assert len(account.events.keys() | gone) == len(accepted), f"{refused} were refused"
    with sqlite3.connect(path) as database:
        assert spool.close() is None
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def deliver_some(spool: SqliteSpool, account: Account, chance: random.Random) -> None:
    reading = spool.read(Wanted(max_bytes=20_000, max_frames=chance.randint(1, 30)))
    if reading is not None:
        account.take(reading)
        settle(spool, reading)


def settle(spool: SqliteSpool, reading: Reading) -> None:
    delivered = tuple(frame.number for frame in reading.frames)
    reported = tuple(item.number for item in reading.evictions)
    spool.settle(Settlement(delivered=delivered, evictions_reported=reported), moment())
