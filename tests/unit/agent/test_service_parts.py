"""Settings, clock, run marker, supervision, budget, status and the core's loop, each by itself."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fakes.memory_spool import MemorySpool
from fakes.silent_teller import SilentTeller
from schoolkeeper_agent import clock, config, core, effects, status
from schoolkeeper_agent.budget import BudgetWatch
from schoolkeeper_agent.clock import ClockWatch, Moment, PoweredOn, SystemClock, TimeFloor
from schoolkeeper_agent.config import ConfigError, Settings, help_text, load_settings
from schoolkeeper_agent.effects import Heart, Stamp, event_id
from schoolkeeper_agent.observations import ActionDone, Noted, Observation, SensorDown, SensorUp
from schoolkeeper_agent.run_marker import RunMarker
from schoolkeeper_agent.seams import Ability, Emit, Enforce, Outcome, SensorError
from schoolkeeper_agent.service_manager import ServiceManager
from schoolkeeper_agent.spool.contract import Wanted
from schoolkeeper_agent.spool.writer import FrameWriter, Hooks
from schoolkeeper_agent.status_socket import NotRunning, ask, serve
from schoolkeeper_agent.supervise import Supervisor
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.bundle import OpenBundle
from support.spools import OWNER, TARGET, moment

BOOT = b"b" * 16


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


BUNDLE = OpenBundle(
    hash=b"h" * 32,
    manifest=policy.BundleManifest(format=1, school_id="tests", group="g", version=1, compiled_at_unix_ms=0),
)

# ---- settings ----


def test_the_printed_settings_are_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(help_text())
    assert load_settings(path) == Settings()
    monkeypatch.setattr(config, "CONFIG_PATH", tmp_path / "none.toml")
    assert load_settings(tmp_path / "none.toml") == Settings(), "the usual file need not be there"
    with pytest.raises(ConfigError, match=r"other.toml is not there: give --config"):
        load_settings(tmp_path / "other.toml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("room_byte = 5", "'room_byte' is not a setting; did you mean 'room_bytes'?"),
        ("room_bytes = 5", "room_bytes = 5: give bytes, at least 65536"),
        ('room_bytes = "5"', "room_bytes must be of the kind of its default, 67108864; it is '5'"),
        ("state_dir = 5", "state_dir must be a path in quotes"),
        ('state_dir = "here"', "give an absolute path"),
        ('uplink_addresses = ["collector"]', "'collector' is not HOST:PORT"),
        ('uplink_addresses = "a:1"', "must be a list of texts"),
        ("audit_only = 1", "of the kind of its default, false"),
        ("x = ", "is not TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_file_key_and_remedy(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text + "\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


# ---- time ----


def test_the_floor_rises_with_running_time_and_never_with_the_wall_clock() -> None:
    floor = TimeFloor().raised(1_000_000, Moment(wall_ms=5, monotonic_ms=100), BOOT)
    later = Moment(wall_ms=-99, monotonic_ms=700)
    assert floor.at(later, BOOT) == 1_000_600
    assert floor.raised(900_000, later, BOOT) == floor
    assert clock.skew_ms(floor, Moment(wall_ms=1_000_700, monotonic_ms=700), BOOT) == 100
    rebooted = b"c" * 16
    assert floor.carried(later, BOOT).at(Moment(wall_ms=0, monotonic_ms=1), rebooted) == 1_000_600
    # Offline after a reboot, the clock set back: time goes on from the floor, however often somebody reboots.
    assert clock.believed_ms(floor, Moment(wall_ms=0, monotonic_ms=500), rebooted) == 1_000_500
    assert clock.believed_ms(TimeFloor(), Moment(wall_ms=7, monotonic_ms=500), rebooted) == 7
    assert clock.skew_ms(floor, later, rebooted) is None
    assert TimeFloor.decode(floor.encode()) == floor
    assert TimeFloor.decode(b"nonsense") == TimeFloor()


@pytest.mark.requirement("T-12")
def test_a_clock_that_was_set_is_noticed_and_suspend_is_not() -> None:
    watch, told = ClockWatch().look(Moment(wall_ms=0, monotonic_ms=0))
    assert told is None
    watch, told = watch.look(Moment(wall_ms=3_600_000, monotonic_ms=3_600_000))
    assert told is None
    watch, told = watch.look(Moment(wall_ms=3_600_000 - 86_400_000, monotonic_ms=3_660_000))
    assert told == model.ClockChanged(step_milliseconds=-86_460_000, direction="backward")
    _, told = watch.look(Moment(wall_ms=3_600_000 - 86_340_000, monotonic_ms=3_720_000))
    assert told is None


def test_a_grant_ends_by_powered_on_time_however_the_wall_clock_is_turned() -> None:
    granted = PoweredOn(granted_ms=60_000, expires_unix_ms=10**15).tick(
        Moment(wall_ms=0, monotonic_ms=0), BOOT
    )
    granted = granted.tick(Moment(wall_ms=-(10**9), monotonic_ms=59_000), BOOT)
    assert not granted.ended(0)
    granted = granted.tick(Moment(wall_ms=0, monotonic_ms=5), b"c" * 16)
    assert granted.used_ms == 59_000, "time while the machine was off does not count"
    assert granted.tick(Moment(wall_ms=0, monotonic_ms=1_005), b"c" * 16).ended(0)
    assert replace(granted, granted_ms=0).ended(10**15)


def test_event_ids_are_uuid_version_7_in_order_of_time() -> None:
    ids = [uuid.UUID(bytes=bytes(event_id(1_795_000_000_000 + n))) for n in range(100)]
    assert all(i.version == 7 and i.variant == uuid.RFC_4122 for i in ids)
    assert ids == sorted(ids)
    assert ids[0].int >> 80 == 1_795_000_000_000


# ---- how the last run ended ----


@pytest.mark.requirement("T-12")
def test_the_marker_tells_a_kill_from_a_power_cut_and_from_an_orderly_end(tmp_path: Path) -> None:
    marker = RunMarker(path=tmp_path / "running.json", boot_id=BOOT)
    assert marker.previous(moment()) is None
    marker.seen(moment(1_000))
    killed = marker.previous(moment(61_000))
    assert killed is not None
    assert (killed.last_seen_unix_ms, killed.down_seconds) == (moment(1_000).wall_ms, 60)
    assert "killed" in killed.detail
    rebooted = RunMarker(path=tmp_path / "running.json", boot_id=b"c" * 16).previous(moment(61_000))
    assert rebooted is not None
    assert "power" in rebooted.detail
    marker.path.write_text("half a fi")
    unreadable = marker.previous(moment())
    assert unreadable is not None
    assert "unreadable" in unreadable.detail
    marker.stopped()
    assert marker.previous(moment()) is None


# ---- sensors ----


@dataclass
class Breaking:
    """Fails so many times, then runs."""

    failures: int
    name: str = "breaking"
    kinds: tuple[str, ...] = ()
    starts: int = 0

    def ability(self) -> Ability:
        return Ability(able=True)

    async def run(self, emit: Emit) -> None:
        self.starts += 1
        if self.starts <= self.failures:
            raise SensorError("the device is gone")
        emit(Noted(body=model.AgentStopped(reason="seen")))
        await asyncio.sleep(3_600)


@pytest.mark.anyio
async def test_a_sensor_that_fails_is_restarted_ever_more_slowly_and_reported_once_each_way() -> None:
    now, waits, seen = [0.0], list[float](), list[Observation]()
    gate = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if seconds == 30.0:  # the wait for being steady
            if sensor.starts <= sensor.failures:
                await asyncio.sleep(3_600)
            now[0] += 30
            gate.set()
            return
        waits.append(seconds)
        now[0] += seconds
        await asyncio.sleep(0)

    sensor = Breaking(failures=5)
    supervisor = Supervisor(sensor, seen.append, sleep=sleep, clock=lambda: now[0])
    task = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(gate.wait(), 60)
    await asyncio.sleep(0)
    task.cancel()
    assert waits == [1, 2, 4, 8, 16]
    assert [type(o) for o in seen if isinstance(o, SensorDown | SensorUp)] == [SensorDown, SensorUp]
    assert seen[0] == SensorDown(sensor="breaking", error="SensorError: the device is gone", restarts=0)
    assert supervisor.state.restarts == 5


# ---- the core's loop ----


@dataclass
class Slow:
    """An enforcer that does as told: raises, hangs or succeeds."""

    how: str
    name: str = "media"
    done: list[object] = field(default_factory=list)

    def ability(self) -> Ability:
        return Ability(able=True)

    async def perform(self, action: object) -> Outcome:
        self.done.append(action)
        if self.how == "raises":
            raise RuntimeError("a bug")
        if self.how == "hangs":
            await asyncio.sleep(3_600)
        return Outcome(enforcer=self.name, action=action, succeeded=True)

    async def close(self) -> None:
        return


@pytest.fixture
def heart() -> Callable[..., tuple[Heart, MemorySpool, FrameWriter]]:
    def make(*enforcers: Slow) -> tuple[Heart, MemorySpool, FrameWriter]:
        spool = MemorySpool(OWNER, TARGET)
        writer = FrameWriter(lambda _: spool, SystemClock().now, Hooks())
        writer.start()
        made = Heart(
            state=core.initial(BUNDLE, run_id=bytes(16)),
            writer=writer,
            stamp=Stamp(now=lambda: moment(), boot_id=BOOT, skew_ms=lambda _: 5),
            enforcers={e.name: e for e in enforcers},
            teller=SilentTeller(),
            budget=BudgetWatch(1, 1),
        )
        return made, spool, writer

    return make


@pytest.mark.anyio
async def test_what_is_noted_is_in_the_spool(
    heart: Callable[..., tuple[Heart, MemorySpool, FrameWriter]],
) -> None:
    made, spool, writer = heart()
    for number in range(5):
        made.emit(Noted(body=model.CommandResult(command_id=bytes([number]) * 16)))
    await made.catch_up()
    assert writer.stop() == 0
    assert spool.usage().pending_events == 5


@pytest.mark.parametrize(
    ("how", "says"), [("raises", "RuntimeError: a bug"), ("hangs", "did not answer"), ("", "")]
)
@pytest.mark.anyio
async def test_an_enforcer_that_raises_or_hangs_has_failed_and_stops_nothing(
    heart: Callable[..., tuple[Heart, MemorySpool, FrameWriter]],
    how: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(effects, "ENFORCE_SECONDS", 0.1)
    made, _, writer = heart(Slow(how))
    outcome = await made._enforce(Enforce(enforcer="media", action="act"))
    assert outcome.succeeded is (how == "")
    assert says in outcome.detail
    missing = await made._enforce(Enforce(enforcer="none", action="act"))
    assert missing.detail == "no such enforcer on this machine"
    await made.handle(ActionDone(outcome=missing))
    writer.stop()


@pytest.mark.anyio
async def test_the_loop_ends_when_told_even_while_an_enforcer_answers(
    heart: Callable[..., tuple[Heart, MemorySpool, FrameWriter]],
) -> None:
    """In Python 3.11 ``wait_for`` swallows a cancellation that comes together with the answer: stopping then hangs."""
    answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    slow = Slow("")
    slow.perform = lambda _: answer  # type: ignore[assignment, method-assign, return-value]
    made, _, writer = heart(slow)
    task = asyncio.create_task(made._enforce(Enforce(enforcer="media", action="act")))
    await asyncio.sleep(0.01)
    answer.set_result(Outcome(enforcer="media", action="act", succeeded=True))
    task.cancel()
    await asyncio.wait({task}, timeout=60)
    writer.stop()
    assert task.cancelled()


@pytest.mark.anyio
async def test_more_observations_than_it_can_take_are_counted_as_a_gap(
    heart: Callable[..., tuple[Heart, MemorySpool, FrameWriter]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "MOST_WAITING", 10)
    made, spool, writer = heart()
    for number in range(25):
        made.emit(Noted(body=model.CommandResult(command_id=bytes([number]) * 16)))
    assert made.dropped == 15
    await made.catch_up()
    writer.stop()
    assert spool.usage().pending_events == 11
    assert made.dropped == 0
    assert spool.read(Wanted(max_bytes=1 << 20, max_frames=99)) is not None


def test_a_budget_breach_names_its_cause_and_is_said_once_an_hour() -> None:
    watch = BudgetWatch(1_000, 10)
    for _ in range(9):
        watch.count("ProcessStarted")
    told = watch.look(moment(), 2_000, 0, waiting="5 events wait")
    assert [(b.resource, b.used, b.limit) for b in told] == [("memory", 2_000, 1_000)]
    assert told[0].cause == "since the last look: ProcessStarted 9 times; 5 events wait"
    assert watch.look(moment(60_000), 2_000, 0) == []
    assert [b.resource for b in watch.look(moment(301_000), 0, 60_000)] == ["cpu"]
    assert [b.resource for b in watch.look(moment(3_700_000), 2_000, 60_000)] == ["memory"]


# ---- status ----

REPORT = status.StatusReport(
    at_unix_ms=moment().wall_ms,
    source="agent",
    running=True,
    mode="audit",
    enrolled=True,
    school_id="tests",
    certificate_until_unix_ms=1,
    last_contact_unix_ms=moment().wall_ms - 3 * 86_400_000,
    proof_failure="a forked history",
    policy_version=7,
    policy_hash="ab" * 32,
    policy_stale_since_unix_ms=1_000_000,
    sensors=(
        status.SensorLine(
            name="media", running=False, problem="the policy has no notice text for media.attached"
        ),
    ),
    enforcers=(status.EnforcerLine(name="applications", able=False, because="needs root"),),
    spool=status.SpoolLine(
        pending_events=12, pending_by_lane={"normal": 12}, room_bytes=1 << 26, evicted_events=4
    ),
)


@pytest.mark.requirement("T-41")
def test_status_says_what_is_not_seen_not_enforced_stale_and_unproved() -> None:
    text = status.render(REPORT)
    for words in (
        "EXPIRED",
        "not connected; last heard 3 days ago",
        "cannot be verified: a forked history",
        "STALE since",
        "NO  media                   the policy has no notice text for media.attached",
        "NO  applications            needs root",
        "12 events (normal 12)",
        "evicted       4",
    ):
        assert words in text


@pytest.mark.anyio
async def test_the_socket_answers_and_a_dead_one_does_not(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        ask(tmp_path)

    async def report() -> status.StatusReport:
        return REPORT

    server = await serve(tmp_path, report)
    assert await asyncio.to_thread(ask, tmp_path) == REPORT
    server.close()
    with pytest.raises(NotRunning):
        ask(tmp_path)


@pytest.mark.anyio
async def test_the_socket_refuses_other_users(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: asks as another user")

    async def report() -> status.StatusReport:
        return REPORT

    tmp_path.chmod(0o755)
    server = await serve(tmp_path, report)
    code = (
        "import socket,sys,os\nos.setuid(65534)\ns=socket.socket(socket.AF_UNIX)\n"
        "s.connect(sys.argv[1])\nprint(s.recv(99))"
    )
    base = tmp_path
    while base != base.parent:
        base.chmod(base.stat().st_mode | 0o055)
        base = base.parent
    done = await asyncio.to_thread(
        subprocess.run,
        ["python3", "-c", code, tmp_path / "status.sock"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "refused: only root may ask" in done.stdout, done.stderr
    server.close()


@pytest.mark.anyio
async def test_systemd_hears_what_it_wants_to_hear(tmp_path: Path) -> None:
    import socket

    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(path)
        manager = ServiceManager({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"})
        manager.ready("fine")
        manager.alive()
        assert heard.recv(99) == b"READY=1\nSTATUS=fine"
        assert heard.recv(99) == b"WATCHDOG=1"
        assert manager.watchdog_seconds == 30
    manager.alive()  # nobody listens any more


# ---- cold start ----


def test_help_and_status_load_neither_grpc_nor_x509(tmp_path: Path) -> None:
    code = (
        "import sys; from schoolkeeper_agent.cli import main\n"
        f"main(['--state-dir', {str(tmp_path)!r}, 'status'])\n"
        "bad = [m for m in ('grpc', 'cryptography.x509', 'tuf') if m in sys.modules]\n"
        "assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Not enrolled" in done.stdout


def test_status_says_how_many_messages_nobody_could_be_shown() -> None:
    report = status.StatusReport(at_unix_ms=1, source="agent", running=True, not_said=2)
    assert "2 messages for people here could be shown to nobody" in status.render(report)
    assert status.from_json(status.to_json(report)).not_said == 2
    assert "could be shown" not in status.render(replace(report, not_said=0))
