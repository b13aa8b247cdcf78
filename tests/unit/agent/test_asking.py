"""A person asks for an exception over the session socket: bounded, counted, as who they are, and told what is true."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fakes.memory_spool import MemorySpool
from fakes.silent_teller import SilentTeller
from schoolkeeper_agent import core, desk
from schoolkeeper_agent.asking import NotAsked, ask
from schoolkeeper_agent.budget import BudgetWatch
from schoolkeeper_agent.cli import main
from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.desk import (
    HOUR_MS,
    MOST_STRANGERS,
    NOTE,
    PER_DEVICE_HOUR,
    PER_HOUR,
    AskingDesk,
    NotTold,
)
from schoolkeeper_agent.effects import Heart, Stamp
from schoolkeeper_agent.observations import ExecutionJudged
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.seams import Record
from schoolkeeper_agent.session import server
from schoolkeeper_agent.session.lines import MAX_ASKED, SOCKET_NAME, Ask, AskLately, Because, Outcome
from schoolkeeper_agent.session.server import MAX_HELPERS_PER_USER, SessionServer
from schoolkeeper_agent.spool.contract import Appended, Settlement, Spool, SpoolUnwritable, Wanted
from schoolkeeper_agent.spool.writer import FrameWriter, Hooks
from schoolkeeper_agent.state import HeldSession
from schoolkeeper_proto import model, policy, wire
from schoolkeeper_proto.wire import Lane
from support.core_playbook import MONDAY_10, bundle_of
from support.patience import eventually
from support.spools import OWNER, TARGET

pytestmark = pytest.mark.anyio
GAMES = policy.RuleText(rule_id="games.minefield", description="Minefield does not start.")
CHAT = policy.RuleText(rule_id="chat")
RULES = policy.ApplicationsSection(
    rules=tuple(
        policy.ApplicationRule(
            text=text,
            decision=model.DecisionKind.BLOCK,
            matches=(policy.ApplicationMatch(by=policy.MatchBy.PATH, text=f"/usr/games/{text.rule_id}"),),
        )
        for text in (GAMES, CHAT)
    )
)
ME, OTHER = os.getuid(), 4711
REFUSED = ExecutionJudged(
    path="/usr/games/minefield",
    decision=model.DecisionKind.BLOCK,
    asked=model.DecisionKind.BLOCK,
    rule_id="games.minefield",
    user_id=ME,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Recorder(MemorySpool):
    """Keeps what was appended, and can be full."""

    full = False

    def append(self, lane: Lane, events: object, now: Moment) -> Appended:
        if self.full:
            raise SpoolUnwritable("the disk is full")
        return super().append(lane, events, now)  # type: ignore[arg-type]


class Bench:
    """Real heart, core, writer, socket and command; a spool in memory and a clock that the test moves."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.skipped_ms = 0
        self.spool = Recorder(OWNER, TARGET)
        self.writer = FrameWriter(lambda _: self.spool, self.now, Hooks())
        self.events: list[Record] = []
        self.heart = Heart(
            state=core.initial(bundle_of(RULES), run_id=b"run"),
            writer=self.writer,
            stamp=Stamp(now=self.now, boot_id=bytes(16), skew_ms=lambda _: 0),
            enforcers={},
            teller=SilentTeller(),
            budget=BudgetWatch(1, 1),
            recorded=self._recorded,
        )
        parts = SimpleNamespace(heart=self.heart, writer=self.writer, clock=SimpleNamespace(now=self.now))
        self.desk = AskingDesk(cast(Parts, parts))
        self.server = SessionServer(run_dir, terminals=lambda _: [], desk=self.desk)

    def now(self) -> Moment:
        ms = asyncio_ms() + self.skipped_ms
        return Moment(wall_ms=MONDAY_10 + ms, monotonic_ms=ms)

    def _recorded(self, event: Record) -> None:
        self.events.append(event)
        self.desk.recorded(event)

    @property
    def bodies(self) -> list[model.ExceptionRequested]:
        return [one.body for one in self.events if isinstance(one.body, model.ExceptionRequested)]

    async def ask(self, request: Ask | AskLately) -> tuple[Outcome, str]:
        reply = await asyncio.to_thread(ask, self.run_dir, request)
        return reply.outcome, reply.text

    async def deliver(self) -> None:
        """What an uplink does once the collector proved that it holds everything."""

        def settle(spool: Spool) -> None:
            reading = spool.read(Wanted(max_bytes=1 << 20, max_frames=100))
            if reading is not None:
                spool.settle(Settlement(delivered=tuple(f.number for f in reading.frames)), self.now())

        await asyncio.wrap_future(self.writer.call(settle))


def asyncio_ms() -> int:
    import time

    return time.monotonic_ns() // 1_000_000


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    made.writer.start()
    await made.server.start()
    beating = asyncio.create_task(made.heart.run())
    yield made
    beating.cancel()
    await made.server.close()
    made.writer.stop()


async def test_a_request_carries_rule_reason_words_and_who_the_kernel_says_asks(bench: Bench) -> None:
    request = Ask(
        rule_id="games.minefield", because=Because.LESSON, words=" for lesson 3, \u0175y\u0302\x1b[2J "
    )
    outcome, text = await bench.ask(request)
    assert outcome is Outcome.KEPT
    assert "it is kept on this device and will be sent; nobody has seen it yet" in text
    (body,) = bench.bodies
    assert (body.rule_id, body.reason, body.wanted) == (
        "games.minefield",
        "lesson",
        "Minefield does not start.",
    )
    assert body.words == "for lesson 3, \u0175y\u0302 [2J", "no control characters"
    assert body.reference in text
    (event,) = bench.events
    assert (event.lane, event.severity) == (Lane.NORMAL, model.Severity.LOW)
    assert bench.heart.state.requests.waiting[0].user_id == ME
    # No field of a request can name anybody else: what else is said is not even read.
    hostile = {"ask": "chat", "user": OTHER, "user_id": OTHER, "uid": OTHER, "account": "head"}
    await _raw(bench, json.dumps(hostile).encode() + b"\n")
    assert [one.user_id for one in bench.heart.state.requests.waiting] == [ME, ME]


async def test_delivered_is_said_only_when_it_is(bench: Bench) -> None:
    asking = asyncio.create_task(bench.ask(Ask(rule_id="chat")))
    async with asyncio.timeout(60):
        while not bench.bodies:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await bench.deliver()
    outcome, text = await asking
    assert outcome is Outcome.DELIVERED
    assert "does not mean that anybody has read it" in text

    bench.spool.full = True
    outcome, text = await bench.ask(Ask(rule_id="games.minefield"))
    assert outcome is Outcome.TAKEN
    assert "could not be kept yet (the disk is full)" in text
    _, listed = await bench.ask(AskLately())
    assert "chat: it has reached the school" in listed
    assert "games.minefield: it could not be kept yet" in listed


async def test_alone_it_lists_what_was_refused_to_this_account_and_to_nobody_else(bench: Bench) -> None:
    _, text = await bench.ask(AskLately())
    assert "Nothing was refused to you lately" in text
    bench.heart.emit(REFUSED)
    bench.heart.emit(ExecutionJudged(**_fields(REFUSED) | {"user_id": OTHER, "rule_id": "chat"}))  # type: ignore[arg-type]
    await bench.heart.catch_up()
    _, text = await bench.ask(AskLately())
    assert "games.minefield (minefield), just now" in text
    assert "chat" not in text
    outcome, text = await bench.ask(Ask(rule_id="no.such.rule"))
    assert outcome is Outcome.REFUSED
    assert "No rule in force on this device is called 'no.such.rule': nothing was asked" in text
    assert "games.minefield (minefield)" in text
    assert not bench.bodies


def _fields(seen: ExecutionJudged) -> dict[str, object]:
    return {name: getattr(seen, name) for name in seen.__slots__}


async def test_an_account_asks_five_times_an_hour_and_others_are_not_held_up_by_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "DELIVERED_SECONDS", 0.05)  # nothing is delivered here
    for number in range(PER_HOUR):
        reply = await bench.desk.asked(ME, Ask(rule_id="chat", words=f"please {number}"))
        assert reply.outcome is not Outcome.REFUSED, reply.text
    reply = await bench.desk.asked(ME, Ask(rule_id="chat", words="please, please"))
    assert reply.outcome is Outcome.REFUSED
    assert "5 times within an hour, which is the limit" in reply.text
    assert "in 60 minutes" in reply.text or "in 59 minutes" in reply.text
    assert (await bench.desk.asked(ME, Ask(rule_id="chat", words="please 4"))).outcome is Outcome.KEPT, (
        "said before"
    )
    assert len(bench.bodies) == PER_HOUR

    _sign_in(bench, OTHER)
    assert (await bench.desk.asked(OTHER, Ask(rule_id="chat"))).outcome is Outcome.KEPT
    bench.skipped_ms = HOUR_MS
    assert (await bench.desk.asked(ME, Ask(rule_id="chat", words="please"))).outcome is Outcome.KEPT


def _sign_in(bench: Bench, user_id: int) -> None:
    held = HeldSession(session_id=f"c{user_id}", account=f"pupil{user_id}", user_id=user_id)
    bench.heart.state.sessions[held.session_id] = held


async def test_user_ids_that_are_no_accounts_use_up_nothing_of_anybodys(bench: Bench) -> None:
    """With subuid(5) and a user namespace one person may have tens of thousands of them."""
    replies = [await bench.desk.asked(3_000_000 + n, Ask(rule_id="chat")) for n in range(MOST_STRANGERS + 20)]
    assert {one.outcome for one in replies} == {Outcome.REFUSED}
    assert "not known on this device" in replies[0].text
    assert "sign in to this device" in replies[-1].text
    assert not bench.bodies
    _sign_in(bench, OTHER)
    assert (await bench.desk.asked(OTHER, Ask(rule_id="chat"))).outcome is Outcome.KEPT


async def test_a_device_has_a_limit_of_its_own(bench: Bench) -> None:
    bench.spool.full = True  # no waiting for a delivery
    refused = []
    for user in range(5000, 5000 + PER_DEVICE_HOUR // PER_HOUR + 1):
        _sign_in(bench, user)
        asked = [bench.desk.asked(user, Ask(rule_id="chat", words=str(n))) for n in range(PER_HOUR)]
        refused += [one for one in await asyncio.gather(*asked) if one.outcome is Outcome.REFUSED]
    assert len(bench.bodies) == PER_DEVICE_HOUR
    assert len(refused) == PER_HOUR
    assert "On this device 40 exceptions were asked for within an hour" in refused[0].text


@pytest.mark.parametrize(
    "line",
    [b"\n", b"[1]\n", b"\xff\n", b"{" * 4000 + b"\n", b'{"ask": 1}\n', b'{"ask": "x", "because": "please"}\n',
     b'{"ask": "x", "words": "' + b"y" * (MAX_ASKED + 1) + b'"}\n', b"x" * 100_000],
)  # fmt: skip
async def test_garbage_ends_the_connection_and_asks_nothing(bench: Bench, line: bytes) -> None:
    assert await _raw(bench, line) == b""
    assert not bench.events
    assert (await bench.ask(AskLately()))[0] is Outcome.LISTED


async def _raw(bench: Bench, line: bytes) -> bytes:
    """The first line back, or nothing when the service ends the connection."""
    reader, writer = await asyncio.open_unix_connection(bench.run_dir / SOCKET_NAME)
    try:
        writer.write(line)
        async with asyncio.timeout(60):
            return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_flood_from_one_account_is_slowed_and_changes_little(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty connections that ask without end: few get a word in, and the heart goes on.

    The pause between two requests never ends here, so what is answered is a count that no clock decides.
    """
    monkeypatch.setattr(server, "PAUSE_SECONDS", 3_600)
    stop = asyncio.Event()
    lines = turned_away = 0

    async def flood(line: bytes) -> None:
        nonlocal lines, turned_away
        while not stop.is_set():
            try:
                reader, writer = await asyncio.open_unix_connection(bench.run_dir / SOCKET_NAME)
            except OSError:
                continue
            try:
                while not stop.is_set():
                    writer.write(line)
                    if not await reader.readline():
                        turned_away += 1
                        break
                    lines += 1
            except ConnectionError:
                turned_away += 1
            finally:
                writer.close()

    floods = [
        asyncio.create_task(flood(line)) for line in (b'{"ask": "chat"}\n', *[b'{"lately": true}\n'] * 19)
    ]
    await eventually(lambda: turned_away > 200 and lines >= MAX_HELPERS_PER_USER, "the flood is on")
    bench.heart.emit(REFUSED)
    await bench.heart.catch_up()
    stop.set()
    for one in floods:
        one.cancel()
    await asyncio.wait(floods)
    assert lines == MAX_HELPERS_PER_USER, "so many connections at a time, one answer on each before the pause"
    assert len(bench.bodies) == 1, "the same request, again and again, is one"


async def test_more_requests_than_a_person_sends_end_the_connection(bench: Bench) -> None:
    reader, writer = await asyncio.open_unix_connection(bench.run_dir / SOCKET_NAME)
    writer.write(b'{"lately": true}\n' * 40)
    replies = 0
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            while await reader.readline():
                replies += 1
    assert replies <= 1
    writer.close()


async def test_whoever_waits_for_an_answer_is_remembered_over_a_restart_without_a_word_of_theirs(
    bench: Bench,
) -> None:
    await bench.desk.asked(ME, Ask(rule_id="chat", words="my secret"))
    noted = await asyncio.wrap_future(bench.writer.call(lambda spool: spool.note(NOTE)))
    assert b"chat" in noted
    assert b"secret" not in noted
    waiting = bench.heart.state.requests.waiting
    bench.heart.state = core.initial(bundle_of(RULES), run_id=b"next")
    running = asyncio.create_task(AskingDesk(bench.desk.parts).run())
    async with asyncio.timeout(60):
        while bench.heart.state.requests.waiting != waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()


async def test_a_no_is_durable_before_the_school_hears_that_it_arrived_and_only_the_asker_reads_it(
    bench: Bench,
) -> None:
    running = asyncio.create_task(bench.desk.run())
    await bench.desk.asked(ME, Ask(rule_id="chat"))
    (asked,) = bench.heart.state.requests.waiting
    order = wire.RequestDeclined(
        reference=asked.reference, rule_id="chat", decided_by="technician", words="Ask Mr Lee.",
        decided_unix_ms=bench.now().wall_ms,
    )  # fmt: skip
    assert "kept for the account that asked" in await bench.desk.declined(order)
    noted = await asyncio.wrap_future(bench.writer.call(lambda spool: spool.note(NOTE)))
    assert b"Ask Mr Lee." in noted
    lately = (await bench.desk.asked(ME, AskLately())).text
    assert "Declined in the last 14 days:" in lately
    assert f"Your request {asked.reference} (rule chat) was declined" in lately
    assert "by the technician. They wrote for you: Ask Mr Lee." in lately
    assert "eclined" not in (await bench.desk.asked(ME + 1, AskLately())).text
    with pytest.raises(NotTold, match="no request with this number waits"):
        await bench.desk.declined(order)
    running.cancel()


def test_without_an_agent_the_person_is_told_whom_to_go_to(tmp_path: Path) -> None:
    with pytest.raises(NotAsked, match="tell your teacher"):
        ask(tmp_path, Ask(rule_id="chat"))
    with pytest.raises(NotAsked, match="at most 300 characters; these are 301"):
        ask(tmp_path, Ask(rule_id="chat", words="x" * 301))


def test_an_agent_that_hangs_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / SOCKET_NAME))
        mute.listen()
        with pytest.raises(NotAsked, match="it is not known whether it took this"):
            ask(tmp_path, AskLately(), timeout=0.2)


def test_who_may_not_read_the_settings_may_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "agent.toml"
    broken.write_text("not = toml = at all")
    monkeypatch.setattr("schoolkeeper_agent.config.CONFIG_PATH", broken)
    assert main(["policy"]) == 1
    assert "is not TOML" in capsys.readouterr().err
    assert main(["ask"]) == 1
    assert "the school's agent does not run on this device" in capsys.readouterr().err


def test_the_command_loads_little_and_names_what_is_wrong(tmp_path: Path) -> None:
    code = (
        "import sys; from schoolkeeper_agent.cli import main; code = main(['ask', '--words', 'x']);"
        "print([m for m in ('asyncio', 'grpc', 'dbus_fast') if m in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "name the rule" in done.stderr
    assert done.stdout.strip() == "[]"
