"""What every sensor keeps to: it says whether it can, tells only what it declares, and stops when it is stopped."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import get_args

import pytest

from fakes.linux_parts import FakeSensor
from schoolkeeper_agent import core
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.observations import Observation, ProcessStarted
from schoolkeeper_agent.seams import Record, Sensor, SensorError
from schoolkeeper_agent.sensors import load
from schoolkeeper_proto import model, policy
from support.core_playbook import MONDAY_10, bundle_of
from support.work import waiting_for_nothing

pytestmark = pytest.mark.anyio
CHECKS = policy.PostureSection(checks=(policy.PostureCheck(check="antivirus", every_seconds=3600),))
NAMES = ("sessions", "processes", "media", "media-writes", "clock", "network", "posture", "bypass")
KINDS = {cls.KIND for cls in model.BODY_CLASSES}
# What the agent says of itself may follow from any sensor.
OF_ITSELF = {"agent.gap", "sensor.failed", "sensor.recovered"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def context(folder: Path, *, has_root: bool) -> Context:
    return Context(bundle=bundle_of(CHECKS), run_dir=folder, has_root=has_root, root_pid=os.getpid())


@pytest.fixture(params=["fake", *NAMES, *(f"{name} without root" for name in NAMES)])
def sensor(request: pytest.FixtureRequest, tmp_path: Path) -> Sensor:
    if request.param == "fake":
        return FakeSensor(ProcessStarted(process_id=1, path="/x"))
    name, _, without = request.param.partition(" ")
    has_root = not without and os.geteuid() == 0
    return next(one for one in load("linux", context(tmp_path, has_root=has_root)) if one.name == name)


def test_every_sensor_of_the_platform_is_under_contract(tmp_path: Path) -> None:
    loaded = load("linux", context(tmp_path, has_root=False))
    assert tuple(sorted(one.name for one in loaded)) == tuple(sorted(NAMES))
    assert load("plan9", context(tmp_path, has_root=False)) == []


def test_it_declares_kinds_that_exist_and_answers_at_once(sensor: Sensor) -> None:
    assert sensor.kinds
    assert set(sensor.kinds) <= KINDS
    with waiting_for_nothing():
        ability = sensor.ability()
    assert ability.able or ability.because, "what cannot be done has its reason"


async def test_it_emits_observations_without_waiting_and_stops_when_cancelled(sensor: Sensor) -> None:
    if not sensor.ability().able:
        pytest.skip(f"{sensor.name}: {sensor.ability().because}")
    seen: list[object] = []
    task = asyncio.create_task(sensor.run(seen.append))
    await asyncio.sleep(0.3)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert not task.done(), task.exception()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    assert all(isinstance(one, get_args(Observation)) for one in seen)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before, "it keeps no descriptor"


async def test_what_follows_from_it_is_of_the_kinds_it_declares(sensor: Sensor) -> None:
    """Else an event could be written down of which nobody was told."""
    if not sensor.ability().able:
        pytest.skip(f"{sensor.name}: {sensor.ability().because}")
    state = core.initial(bundle_of(CHECKS), run_id=b"r", place=model.Place.ON_SITE)
    seen: list[Observation] = []
    task = asyncio.create_task(sensor.run(seen.append))  # type: ignore[arg-type]
    await asyncio.sleep(0.3)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    for one in seen:
        state, effects = core.handle(state, one, MONDAY_10)
        kinds = {effect.body.KIND for effect in effects if isinstance(effect, Record)}
        assert kinds <= set(sensor.kinds) | OF_ITSELF, kinds


async def test_it_can_run_again_after_it_was_stopped(sensor: Sensor) -> None:
    if not sensor.ability().able:
        pytest.skip(f"{sensor.name}: {sensor.ability().because}")
    for _ in range(2):
        task = asyncio.create_task(sensor.run(lambda _: None))
        await asyncio.sleep(0.05)
        assert not task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_what_cannot_go_on_raises_the_seams_own_error() -> None:
    with pytest.raises(SensorError, match="gone"):
        await FakeSensor(fails="gone").run(lambda _: None)
