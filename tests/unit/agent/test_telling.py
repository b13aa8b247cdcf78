"""'Tell someone' on the device: sealed at once, sent first, its fate told honestly, and no word of it left behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fakes.memory_spool import MemorySpool
from fakes.silent_teller import SilentTeller
from schoolkeeper_agent import core, school_hours
from schoolkeeper_agent.budget import BudgetWatch
from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.desk import NotTold
from schoolkeeper_agent.effects import Heart, Stamp
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.peers import Peer
from schoolkeeper_agent.seams import Record, Tell
from schoolkeeper_agent.session.lines import SOCKET_NAME
from schoolkeeper_agent.session.server import SessionServer
from schoolkeeper_agent.session.telling_lines import (
    MAX_TOLD,
    About,
    AskOffer,
    AskState,
    Looks,
    Offer,
    State,
    Telling,
    To,
    Told,
    Why,
)
from schoolkeeper_agent.spool.contract import Appended, Settlement, Spool, SpoolUnwritable, Wanted
from schoolkeeper_agent.spool.writer import FrameWriter, Hooks
from schoolkeeper_agent.state import HeldSession
from schoolkeeper_agent.tell import window
from schoolkeeper_agent.tell.client import NotReached, TooLong, speak
from schoolkeeper_agent.tell.words import ENGLISH, WELSH, Says, help_now, moment
from schoolkeeper_agent.telling import PER_HOUR, TellingDesk
from schoolkeeper_agent.telling_door import NOTE, TellingDoor
from schoolkeeper_agent.telling_door import NOTE as DOOR_NOTE
from schoolkeeper_proto import model, policy, wire
from schoolkeeper_proto.sealing import Binding, FieldContext, SealingError, open_field, unwrap_key
from schoolkeeper_proto.wire import Lane
from support.core_playbook import MONDAY_10, bundle_of
from support.patience import eventually
from support.spools import INGEST, OWNER, TARGET

pytestmark = pytest.mark.anyio
ME, OTHER, SHARED = 4711, 4712, 4713
ACCOUNTS = {ME: "pupil1", OTHER: "pupil2", SHARED: "reception", os.getuid(): "pupil9"}
HOURS = policy.Applicability(
    times=(policy.TimeWindow(weekdays=0b11111, from_minute=8 * 60, to_minute=16 * 60),),
    time_zone="Europe/London",
)
HELP = Telling(
    to=To.HEAD, about=About.HURT, words="Helpu fi, os gwelwch yn dda: ŵyr neb.", who="Efa, 4B", urgent=True
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Disk(MemorySpool):
    """Can be full, and can begin a new epoch under somebody's hands."""

    full = False
    turn = False

    def append(self, lane: Lane, events: object, now: Moment) -> Appended:
        if self.full:
            raise SpoolUnwritable("the disk is full")
        if self.turn and lane is Lane.CRITICAL:
            self.turn = False
            self.new_epoch("a copy was seen", now)
        return super().append(lane, events, now)  # type: ignore[arg-type]


class Bench:
    """Real desk, heart, core, writer and socket; a spool in memory and a clock that the test moves."""

    def __init__(
        self, run_dir: Path, *, sealing: model.SealingScheme = model.SealingScheme.UNSPECIFIED
    ) -> None:
        self.run_dir = run_dir
        self.skipped_ms = 0
        self.spool = Disk(OWNER, TARGET)
        self.writer = FrameWriter(lambda *_: self.spool, self.now, Hooks())
        self.events: list[Record] = []
        self.shown: list[Tell] = []
        bundle = bundle_of()
        report = policy.CollectedKind(
            kind=model.PersonReport.KIND, notice="n", readers=("head", "dsl", "technician"), sealing=sealing
        )
        self.bundle = replace(
            bundle,
            collection=replace(bundle.collection, kinds=(report,)),
            notice=policy.NoticeSection(contacts=("Ask Mrs Owen.",), someone_looks=HOURS, language="cy"),
        )
        self.heart = Heart(
            state=core.initial(self.bundle, run_id=b"run"),
            writer=self.writer,
            stamp=Stamp(now=self.now, boot_id=bytes(16), skew_ms=lambda _: 0),
            enforcers={},
            teller=SilentTeller(),
            budget=BudgetWatch(1, 1),
            recorded=self._recorded,
        )
        self.head, self.dsl = X25519PrivateKey.generate(), X25519PrivateKey.generate()
        officers = [
            policy.OfficerKey(
                key_id=duty.encode(), officer_id=duty, duties=(duty,), signing_key=b"",
                sealing_key=key.public_key().public_bytes_raw(),
            )
            for duty, key in (("head", self.head), ("deputy-dsl", self.dsl))
        ]  # fmt: skip
        parts = SimpleNamespace(
            heart=self.heart,
            writer=self.writer,
            clock=SimpleNamespace(now=self.now),
            policy=SimpleNamespace(bundle=self.bundle),
            identity=SimpleNamespace(school_id=OWNER.school_id, device_id=OWNER.device_id),
            trust=SimpleNamespace(key_statement=SimpleNamespace(officers=officers)),
            target=lambda: TARGET,
            believed_ms=lambda: self.now().wall_ms,
        )
        self.desk = TellingDesk(cast(Parts, parts), self._account, self._say)
        self.server = SessionServer(run_dir, terminals=lambda _: [], listener=self.desk)

    def now(self) -> Moment:
        ms = time.monotonic_ns() // 1_000_000 + self.skipped_ms
        return Moment(wall_ms=MONDAY_10 + ms, monotonic_ms=ms)

    async def _account(self, user_id: int, now_ms: int) -> str | None:
        assert now_ms
        return ACCOUNTS.get(user_id)

    async def _say(self, words: Tell) -> None:
        self.shown.append(words)

    def _recorded(self, event: Record) -> None:
        self.events.append(event)
        self.desk.recorded(event)

    def sign_in(self, user_id: int) -> None:
        held = HeldSession(session_id=f"c{user_id}", account=ACCOUNTS[user_id], user_id=user_id)
        self.heart.state.sessions[held.session_id] = held

    @property
    def reports(self) -> list[model.PersonReport]:
        return [one.body for one in self.events if isinstance(one.body, model.PersonReport)]

    async def tell(self, telling: Telling = HELP, user_id: int = ME) -> Told:
        told = await self.desk.told(user_id, telling)
        assert isinstance(told, Told)
        return told

    async def state(self, number: str, user_id: int = ME) -> Told:
        told = await self.desk.told(user_id, AskState(number=number))
        assert isinstance(told, Told)
        return told

    async def deliver(self) -> None:
        """What an uplink does once the collector proved that it holds everything."""

        def settle(spool: Spool) -> None:
            reading = spool.read(Wanted(max_bytes=1 << 20, max_frames=100))
            if reading is not None:
                spool.settle(Settlement(delivered=tuple(f.number for f in reading.frames)), self.now())

        await asyncio.wrap_future(self.writer.call(settle))

    def opened(self, field: model.SealedField | None, key: X25519PrivateKey, event: Record) -> str:
        assert field is not None
        context = FieldContext(
            binding=Binding(school_id=OWNER.school_id, device_id=OWNER.device_id, epoch=self.spool.epoch),
            event_id=event.event_id,
            category=field.category,
        )
        return open_field(field, context, unwrap_key(field, context, key)).decode()

    async def note(self) -> bytes:
        return await asyncio.wrap_future(self.writer.call(lambda spool: spool.note(NOTE)))


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr("schoolkeeper_agent.telling.DELIVERED_SECONDS", 0.05)
    async for one in _running(Bench(tmp_path)):
        yield one


async def _running(made: Bench) -> AsyncIterator[Bench]:
    made.writer.start()
    await made.server.start()
    tasks = [asyncio.create_task(made.heart.run()), asyncio.create_task(made.desk.run())]
    yield made
    for task in tasks:
        task.cancel()
    await made.server.close()
    made.writer.stop()


@pytest.mark.requirement("T-28")
async def test_a_report_is_sealed_to_the_school_sent_first_and_said_to_be_known_to_nobody(
    bench: Bench,
) -> None:
    told = await bench.tell()
    assert told.state is State.KEPT
    (event,) = bench.events
    (report,) = bench.reports
    assert (report.recipient, report.category, report.urgent, report.reference) == (
        "head",
        "hurt",
        True,
        told.number,
    )
    assert (event.lane, event.severity) == (Lane.CRITICAL, model.Severity.CRITICAL)
    assert event.user is not None
    assert event.user.kind is model.UserKind.PERSON
    assert report.words is not None
    assert report.words.scheme is model.SealingScheme.COLLECTOR
    assert bench.opened(report.words, INGEST, event) == HELP.words
    assert bench.opened(report.who, INGEST, event) == "Efa, 4B"
    assert b"Helpu" not in repr(report).encode() + await bench.note()
    assert json.loads(await bench.note())[0].keys() == {
        "number", "user_id", "at", "personal", "quiet", "delivered", "read", "said", "place"
    }  # fmt: skip


async def test_where_the_school_seals_to_people_only_the_chosen_one_opens_it(tmp_path: Path) -> None:
    async for bench in _running(Bench(tmp_path, sealing=model.SealingScheme.ANY_ONE)):
        await bench.tell()
        (event,), (report,) = bench.events, bench.reports
        assert bench.opened(report.words, bench.head, event) == HELP.words
        for other in (INGEST, bench.dsl):
            with pytest.raises(SealingError):
                bench.opened(report.words, other, event)


async def test_only_whom_the_policy_names_can_be_chosen_and_nothing_goes_to_another_instead(
    bench: Bench,
) -> None:
    offer = await bench.desk.told(ME, AskOffer())
    assert isinstance(offer, Offer)
    assert offer.recipients == (To.DSL, To.HEAD), "a technician reads devices, and no child's words"
    assert (offer.contacts, offer.language, offer.personal) == (("Ask Mrs Owen.",), "cy", True)
    for to in (To.CHAIR, To.TRUSTED_ADULT):
        assert await bench.tell(replace(HELP, to=to)) == Told(state=State.REFUSED, why=Why.RECIPIENT)
    assert (await bench.tell(replace(HELP, words=" \n "))).why is Why.EMPTY
    assert (await bench.tell(user_id=99)).why is Why.STRANGER
    assert not bench.events


@pytest.mark.requirement("T-28")
async def test_delivered_and_read_are_said_only_when_they_are(bench: Bench) -> None:
    bench.sign_in(ME)
    told = await bench.tell()
    assert (await bench.state(told.number)).state is State.KEPT
    await bench.deliver()
    assert (await bench.state(told.number.lower())).state is State.DELIVERED
    assert (await bench.state(told.number, OTHER)).state is State.UNKNOWN, "another account's number is none"
    bench.desk._changed.set()
    await eventually(lambda: len(bench.shown) == 1, "delivered is said once")
    said = await bench.desk.read(wire.ReportRead(reference=told.number, read_unix_ms=5))
    assert "kept for whoever wrote it" in said
    await eventually(lambda: len(bench.shown) == 2, "read is said once")
    assert [(one.user_id, one.title, one.text) for one in bench.shown] == [
        (ME, "Schoolkeeper", f"{told.number}: delivered."),
        (ME, "Schoolkeeper", f"{told.number}: read."),
    ], "in words that tell nobody at the next desk anything"
    assert await bench.state(told.number) == Told(state=State.READ, number=told.number, read_unix_ms=5)
    with pytest.raises(NotTold, match="no report with this number"):
        await bench.desk.read(wire.ReportRead(reference="0BADBAD0"))


async def test_nothing_is_shown_on_a_shared_account_or_to_who_wished_so_or_to_anybody_else(
    bench: Bench,
) -> None:
    for user in (ME, SHARED, OTHER):
        bench.sign_in(user)
    numbers = [
        (await bench.tell(user_id=SHARED)).number,
        (await bench.tell(replace(HELP, quiet=True))).number,
    ]
    offer = await bench.desk.told(SHARED, AskOffer())
    assert isinstance(offer, Offer)
    assert not offer.personal
    assert bench.events[0].user is not None
    assert bench.events[0].user.kind is model.UserKind.SHARED, "never one child"
    await bench.deliver()
    for number in numbers:
        await bench.desk.read(wire.ReportRead(reference=number, read_unix_ms=5))
    told = await bench.tell(user_id=OTHER)
    await bench.desk.read(wire.ReportRead(reference=told.number, read_unix_ms=5))
    await eventually(lambda: bool(bench.shown), "the third is told")
    assert [one.user_id for one in bench.shown] == [OTHER]


async def test_who_is_away_is_told_after_a_restart_and_no_word_was_kept_for_it(bench: Bench) -> None:
    told = await bench.tell()
    await bench.deliver()
    await bench.desk.read(wire.ReportRead(reference=told.number, read_unix_ms=5))
    assert not bench.shown
    bench.sign_in(ME)
    next_run = TellingDoor(bench.desk.parts, bench._account, bench._say)
    running = asyncio.create_task(next_run.run())
    await eventually(lambda: bool(bench.shown), "told at the next sign-in")
    assert bench.shown[0].text == f"{told.number}: read."
    running.cancel()


async def test_nothing_of_it_is_loaded_before_somebody_needs_it(bench: Bench) -> None:
    assert DOOR_NOTE == NOTE
    door = TellingDoor(bench.desk.parts, bench._account, bench._say)
    running = asyncio.create_task(door.run())
    await asyncio.wrap_future(bench.writer.call(lambda spool: spool.note(NOTE)))
    assert door._desk is None
    assert isinstance(await door.told(ME, AskOffer()), Offer)
    assert door._desk is not None
    await eventually(door._desk._loaded.is_set, "from then on it runs")
    running.cancel()
    code = "import sys, schoolkeeper_agent.service; print('schoolkeeper_agent.telling' in sys.modules)"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


async def test_what_cannot_be_kept_is_not_called_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schoolkeeper_agent.telling.KEPT_SECONDS", 0.5)
    bench.spool.full = True
    told = await bench.tell()
    assert told.state is State.TAKEN
    assert (await bench.state(told.number)).state is State.TAKEN


async def test_a_new_epoch_between_sealing_and_writing_loses_no_word(bench: Bench) -> None:
    """The seal is bound to the epoch: what was sealed to the one before is sealed anew."""
    bench.spool.turn = True
    assert (await bench.tell()).state is State.KEPT
    assert len(bench.reports) == 2
    assert bench.opened(bench.reports[1].words, INGEST, bench.events[1]) == HELP.words
    assert bench.reports[0].reference == bench.reports[1].reference


async def test_pressed_twice_is_one_report_and_a_flood_is_bounded(bench: Bench) -> None:
    first, second = await bench.tell(), await bench.tell()
    assert first.number == second.number
    assert len(bench.reports) == 1
    for number in range(PER_HOUR - 1):
        assert (await bench.tell(replace(HELP, words=f"again {number}"))).state is State.KEPT
    assert (await bench.tell(replace(HELP, words="once more"))).why is Why.OFTEN
    assert (await bench.tell(user_id=OTHER)).state is State.KEPT, "one account's flood silences no other"
    assert len(bench.reports) == PER_HOUR + 1


async def test_over_the_socket_it_is_whoever_the_kernel_says(bench: Bench) -> None:
    offer = await asyncio.to_thread(speak, bench.run_dir, AskOffer())
    assert isinstance(offer, Offer)
    told = await asyncio.to_thread(speak, bench.run_dir, replace(HELP, words="y" * MAX_TOLD))
    assert isinstance(told, Told)
    assert told.state is State.KEPT
    with pytest.raises(TooLong):
        await asyncio.to_thread(speak, bench.run_dir, replace(HELP, words="\U0001f622" * 5_000))
    hostile = {"tell": "send", "to": "dsl", "about": "other", "words": "x", "user_id": ME, "account": "head"}
    reader, writer = await asyncio.open_unix_connection(bench.run_dir / SOCKET_NAME)
    writer.write(json.dumps(hostile).encode() + b"\n")
    async with asyncio.timeout(60):
        assert await reader.readline()
    writer.close()
    assert {one.user_id for one in bench.desk._kept} == {os.getuid()}


@pytest.mark.parametrize(
    "line",
    [b'{"tell": 1}\n', b'{"tell": "send"}\n', b'{"tell": "send", "to": "friend", "about": "other", "words": "x"}\n',
     b'{"tell": "send", "to": "dsl", "about": "other", "words": "x", "urgent": "yes"}\n',
     b'{"tell": "state", "number": "' + b"7" * 40 + b'"}\n',
     b'{"tell": "send", "to": "dsl", "about": "other", "words": "' + b"y" * (MAX_TOLD + 1) + b'"}\n'],
)  # fmt: skip
async def test_garbage_ends_the_connection_and_tells_nothing(bench: Bench, line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(bench.run_dir / SOCKET_NAME)
    writer.write(line)
    async with asyncio.timeout(60):
        assert await reader.readline() == b""
    writer.close()
    assert not bench.events


def test_a_socket_of_somebody_else_is_not_spoken_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a socket in the school's name reads nothing of what a child wrote."""
    import socket

    with socket.socket(socket.AF_UNIX) as impostor:
        impostor.bind(str(tmp_path / SOCKET_NAME))
        impostor.listen()
        monkeypatch.setattr("schoolkeeper_agent.session.calling.peer_of", lambda _: Peer(1, os.getuid() + 1))
        with pytest.raises(NotReached, match="not of the school's agent"):
            speak(tmp_path, HELP, seconds=5)
        connection, _ = impostor.accept()
        assert connection.recv(100) == b""


FORM = """
import json, sys
form = json.loads(sys.stdin.readline())["form"]
choices = {"to": form["to"][1][0], "about": form["about"][0][0], "urgent": False, "who": "", "quiet": False}
print(json.dumps({"send": choices | {"words": ""}}), flush=True)
refused = json.loads(sys.stdin.readline())["refused"]
print(json.dumps({"send": choices | {"words": "please"}}), flush=True)
told = json.loads(sys.stdin.readline())
print(json.dumps({"look": True}), flush=True)
json.dump([form["help"], refused, told, json.loads(sys.stdin.readline())], open(sys.argv[0] + ".heard", "w"))
"""


async def test_the_window_shows_what_the_service_says_and_keeps_what_was_not_taken(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child that draws it is a script here; the real one: tests/unit/session/test_tell_window.py."""
    form = tmp_path / "form.py"
    form.write_text(FORM)
    monkeypatch.setattr(window, "FORM", form)
    assert await asyncio.to_thread(window.shown_in_window, bench.run_dir, "en") == 0
    numbers, refused, told, looked = json.loads(Path(f"{form}.heard").read_text())
    assert numbers == list(help_now(ENGLISH))
    assert refused == "Not sent. Nobody knows. You have not written anything yet."
    (report,) = bench.reports
    assert told["told"][0].startswith("Not sent. Nobody knows yet.")
    assert "School is " in told["told"][1]
    assert ENGLISH.number.format(number=report.reference) in told["told"]
    assert not told["last"]
    assert looked["told"][0] == told["told"][0]
    assert report.recipient == "head"


async def test_without_anybody_to_write_to_the_numbers_are_all_that_is_shown() -> None:
    for words in (ENGLISH, WELSH):
        shown = window.described(words, Offer(recipients=()), "")
        assert shown["help"] == [words.danger, words.childline]
        assert shown["problem"] == words.nobody
        assert "send" not in shown


def test_both_languages_say_everything_and_keep_every_figure() -> None:
    figures = re.compile(r"999|0800 1111|3,000|\{\w+\}|--number")
    for name in Says.__slots__:
        english, welsh = getattr(ENGLISH, name), getattr(WELSH, name)
        assert type(english) is type(welsh)
        pairs = [(english, welsh)] if isinstance(english, str) else []
        if isinstance(english, dict):
            assert english.keys() == welsh.keys()
            pairs = [(english[key], welsh[key]) for key in english]
        for one, other in pairs:
            assert bool(one) == bool(other)
            assert sorted(figures.findall(one)) == sorted(figures.findall(other)), (one, other)
            assert not one or one != other or name == "moment" or name == "language", one
    assert moment(WELSH, 1_795_420_800_000).endswith("Tachwedd am " + moment(ENGLISH, 1_795_420_800_000)[-5:])


LONDON_SUNDAY = 1_795_348_800_000
"""22 November 2026, 12:00 UTC."""
DAY_MS = 86_400_000


@pytest.mark.requirement("T-28")
@pytest.mark.parametrize(
    ("hours", "now_ms", "expected"),
    [
        (None, LONDON_SUNDAY, (Looks.UNKNOWN, 0)),
        (policy.Applicability(), LONDON_SUNDAY, (Looks.UNKNOWN, 0)),
        (HOURS, LONDON_SUNDAY, (Looks.LATER, LONDON_SUNDAY + 20 * 3_600_000)),
        (HOURS, LONDON_SUNDAY + DAY_MS, (Looks.NOW, 0)),
        (
            HOURS,
            LONDON_SUNDAY + DAY_MS + 4 * 3_600_000,
            (Looks.LATER, LONDON_SUNDAY + DAY_MS + 20 * 3_600_000),
        ),
        # Across the night on which clocks go forward (28 March 2027): 08:00 in London is 07:00 UTC.
        (HOURS, LONDON_SUNDAY + 126 * DAY_MS, (Looks.LATER, LONDON_SUNDAY + 126 * DAY_MS + 19 * 3_600_000)),
        (
            replace(HOURS, days=(policy.DayRange(first_day=20_790, last_day=0),)),
            LONDON_SUNDAY,
            (Looks.LATER, 20_790 * DAY_MS + 8 * 3_600_000),
        ),
        (replace(HOURS, days=(policy.DayRange(first_day=1, last_day=2),)), LONDON_SUNDAY, (Looks.UNKNOWN, 0)),
        (replace(HOURS, time_zone="No/Where"), LONDON_SUNDAY, (Looks.UNKNOWN, 0)),
    ],
)
def test_out_of_hours_it_says_when_school_opens_or_that_nobody_knows(
    hours: policy.Applicability | None, now_ms: int, expected: tuple[Looks, int]
) -> None:
    assert school_hours.looks(hours, now_ms) == expected
