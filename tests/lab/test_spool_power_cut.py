"""The spool keeps its promises over a power cut at any moment.

A laptop fills a spool on a disk whose writes are recorded; the recording is replayed to every flush, to every promise
and to moments in between. Each time the spool is opened as after a start, and everything whose ``append`` had returned
must be waiting there, be settled, or be counted in an eviction record: once.
"""

import importlib.util
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool.contract import IngestTarget, Reading, Wanted
from schoolkeeper_agent.spool.opening import DAMAGE_NOTE, open_spool
from schoolkeeper_proto.sealing import Binding, SegmentOpener, read_header
from schoolkeeper_proto.wire import Lane
from support.lab.power_cut import Cause, PowerCut, replay_to_every_flush
from support.lab.product import PYTHON, bring_agent
from support.lab.virtual_laptop import VirtualLaptop
from support.lab.write_recording import RECORDED, Recording, record_writes

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).parent / "programs" / "write_spool.py"
ROUNDS = 72
NOW = Moment(wall_ms=9, monotonic_ms=9)
EVERYTHING = Wanted(max_bytes=1 << 30, max_frames=1 << 20)
Place = tuple[Lane, int]
"""One event: its lane and its sequence."""


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """The program that runs in the laptop, as a module: what it wrote is known from it."""
    spec = importlib.util.spec_from_file_location("write_spool", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """What the program had been told by the time of a moment. ``settling`` includes what may be settled by now."""

    epoch: bytes = b""
    places: dict[str, set[Place]] = field(
        default_factory=lambda: {"kept": set(), "settling": set(), "settled": set()}
    )

    @classmethod
    def of(cls, moment: PowerCut) -> "Promises":
        promises = cls()
        epoch = b""
        for mark in moment.promised:
            match mark.split(":"):
                case ["opened", text]:
                    epoch = bytes.fromhex(text)
                case [kind, lane, first, count]:
                    places = ((Lane(lane), int(first) + i) for i in range(int(count)))
                    promises.places[kind].update(places)
                case _:  # the target's own mark at the end
                    pass
        return cls(epoch=epoch, places=promises.places)


class AfterPowerCut:
    """Opens the spool of a moment and compares it with the promises."""

    def __init__(self, writer: ModuleType, key: X25519PrivateKey) -> None:
        self._writer = writer
        self._key = key
        self.seen: Counter[Cause] = Counter()
        self.most_evicted = 0

    def check(self, moment: PowerCut, mounted: Path) -> None:
        self.seen[moment.cause] += 1
        promises = Promises.of(moment)
        path = mounted / "spool.db"
        if not path.exists():
            assert not promises.epoch, "the spool is gone"
            return
        target = IngestTarget(key_id=b"k" * 8, public_key=self._key.public_key().public_bytes_raw())
        spool = open_spool(path, self._writer.OWNER, target, NOW, room_bytes=self._writer.ROOM)
        try:
            assert spool.note(DAMAGE_NOTE) == b""
            if not promises.epoch:
                return
            assert spool.epoch == promises.epoch
            reading = spool.read(EVERYTHING)
            if reading is not None:
                self._compare(reading, promises)
            else:
                assert promises.places["kept"] <= promises.places["settling"]
            self._goes_on(spool.append(Lane.CRITICAL, [b"after"], NOW).first_sequence, promises)
        finally:
            spool.close()

    def _compare(self, reading: Reading, promises: Promises) -> None:
        waiting = [(f.lane, f.first_sequence + i) for f in reading.frames for i in range(f.count)]
        evicted = [
            (e.record.lane, e.record.first_sequence + i)
            for e in reading.evictions
            for i in range(e.record.events)
        ]
        self.most_evicted = max(self.most_evicted, len(evicted))
        accounted = Counter([*waiting, *evicted])
        lost = promises.places["kept"] - promises.places["settling"] - accounted.keys()
        assert not lost, f"lost: {sorted(lost)}"
        assert max(accounted.values()) == 1, "counted twice"
        assert not promises.places["settled"] & set(waiting), "settled, and waiting again"
        self._open_all(reading)

    def _open_all(self, reading: Reading) -> None:
        """Every frame opens with the school's key, holds the right events, and hangs on the one before it."""
        owner = self._writer.OWNER
        binding = Binding(school_id=owner.school_id, device_id=owner.device_id, epoch=reading.epoch)
        openers = {s.segment_id: SegmentOpener(s, binding, self._key) for s in reading.segments}
        ends: dict[Place, bytes] = {}
        for frame in reading.frames:
            events = [
                e for _, e in openers[frame.segment_id].open(frame.frame, read_header(frame.frame)).events
            ]
            assert events == [
                self._writer.event(frame.lane, frame.first_sequence + i) for i in range(frame.count)
            ]
            assert ends.get((frame.lane, frame.first_sequence), frame.previous) == frame.previous, (
                "broken chain"
            )
            ends[frame.lane, frame.first_sequence + frame.count] = frame.chain

    def _goes_on(self, first_sequence: int, promises: Promises) -> None:
        given = [sequence for lane, sequence in promises.places["kept"] if lane is Lane.CRITICAL]
        assert first_sequence > max(given, default=-1), "a sequence was given out twice"


def record(
    laptop: VirtualLaptop, folder: Path, key: X25519PrivateKey, *, rounds: int, under: str = ""
) -> Recording:
    bring_agent(laptop, folder)
    laptop.put("/run/write_spool.py", PROGRAM.read_bytes())
    public = key.public_key().public_bytes_raw().hex()
    with record_writes(laptop, folder) as recording:
        laptop.sh(
            f"env {under} {PYTHON} /run/write_spool.py {RECORDED}/spool.db {public} {rounds}", 300
        ).check()
    return recording


@pytest.mark.scenario(tier="laptop", name="power cut during writes to the spool")
def test_everything_promised_is_there_after_a_power_cut_at_any_moment(
    virtual_laptop: VirtualLaptop, tmp_path: Path, writer: ModuleType
) -> None:
    key = X25519PrivateKey.generate()
    after = AfterPowerCut(writer, key)
    replay_to_every_flush(record(virtual_laptop, tmp_path, key, rounds=ROUNDS), after.check)
    assert all(after.seen[cause] > ROUNDS for cause in Cause), after.seen
    assert after.most_evicted > 0


def test_without_the_flush_the_loss_is_seen(
    virtual_laptop: VirtualLaptop, tmp_path: Path, writer: ModuleType
) -> None:
    """The mechanism, broken: each fsync returns at once and does nothing."""
    key = X25519PrivateKey.generate()
    lying = "strace -f --seccomp-bpf -qq -o /dev/null -e inject=fsync,fdatasync:retval=0 env"
    recording = record(virtual_laptop, tmp_path, key, rounds=6, under=lying)
    with pytest.raises(AssertionError) as caught:
        replay_to_every_flush(recording, AfterPowerCut(writer, key).check)
    assert "power cut after a mark" in str(caught.value.__notes__)
