"""A policy reaches several devices in rings, over the real protocol: a bad one is halted at the first ring."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from schoolkeeper_collector.store.database import open_store
from schoolkeeper_collector.store.tables import alerts, rollout_log, rollouts
from schoolkeeper_proto import model
from support import patience, warm
from support.fleet.following import Follower
from support.school_stage import Stage

GROUP = "ks2-laptops"
DEVICES = 6
REFUSED = model.ApplicationRefused(
    application=model.Application(path="/usr/bin/calculator"),
    process_id=1,
    rule=model.RuleRef(rule_id="a.bad.rule", decision=model.DecisionKind.BLOCK, enforced=True),
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    try:
        made.init()
        made.start_collector()
        yield made
    finally:
        made.close()


@asynccontextmanager
async def following(stage: Stage, folder: Path) -> AsyncIterator[list[Follower]]:
    """Enrolled and connected devices; ended with the block."""
    said = stage.collect("token", "create", "--group", GROUP, "--uses", str(DEVICES))
    token = next(word for word in said.split() if word.startswith("sk1-"))
    found = []
    try:
        for number in range(DEVICES):
            follower = await Follower.enrolled(
                f"127.0.0.1:{stage.enrol_port}", token, folder / f"device-{number}", number
            )
            found.append(follower)
            await follower.start()
        yield found
    finally:
        for follower in found:
            await follower.stop()


async def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    await asyncio.to_thread(patience.until, condition, seconds, what)


def publish(stage: Stage, *options: str) -> None:
    """Staged, signed by both duties, published."""
    stage.collect("stage", "--group", GROUP, *options)
    folder = stage.collector_state / "trust" / "staged"
    for name in ("technician", "dsl"):
        key = stage.collector_state / "offline" / name / f"{name}.key"
        done = warm.run("schoolkeeper-officer", "sign", folder, "--key", key, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
    stage.collect("publish")


def pilot_file(folder: Path) -> str:
    path = folder / "pilot.csv"
    path.write_text("device,note\nsimulated-0000,the technician's own\nSIM000001,library\n")
    return str(path)


def state_of(stage: Stage) -> tuple[str, int, str]:
    found = rows(stage, select(rollouts.c.state, rollouts.c.open_rings, rollouts.c.reason))
    return found[-1] if found else ("", 0, "")


def rows(stage: Stage, query: object) -> list[tuple[str, int, str]]:
    state = stage.collector_state
    store = open_store(f"sqlite:///{state}/collector.db", f"sqlite:///{state}/keystore.db")
    try:
        with store.read() as connection:
            return [tuple(row) for row in connection.execute(query)]  # type: ignore[call-overload]
    finally:
        store.close()


@pytest.mark.timeout(600)
def test_a_bad_policy_halts_at_the_first_ring_and_the_second_never_gets_it(
    stage: Stage, tmp_path: Path
) -> None:
    asyncio.run(bad_policy(stage, tmp_path))


async def bad_policy(stage: Stage, tmp_path: Path) -> None:
    async with following(stage, tmp_path) as devices:
        await asyncio.to_thread(
            publish, stage, "--rings", f"{pilot_file(tmp_path)},all", "--soak", "24h",
            "--forecast", "500", "--in-lessons", "rehearsal",
        )  # fmt: skip
        pilots, others = devices[:2], devices[2:]
        await until(lambda: all(d.version == 2 for d in pilots), 30, "the pilots take version 2")
        await until(lambda: all(d.device.in_force[1] == 2 for d in pilots), 5, "and report it")
        # At most 1 + 3 + 3 were to be expected of two devices in a day.
        pilots[0].report(*[REFUSED] * 20)
        await until(lambda: state_of(stage)[0] == "halted", 60, f"the gate halts it; {state_of(stage)}")
        said = state_of(stage)[2]
        assert "20 refusals" in said
        assert "ring pilot" in said
        # Nobody takes it after that, also not somebody who comes back; the pilots keep what they have.
        # Two updates of each, since the first may have begun before it was halted.
        for _ in range(2):
            before = [device.updates for device in devices]
            for device in devices:
                device._wanted.set()
            await until(
                lambda was=before: all(d.updates > n for d, n in zip(devices, was, strict=True)),
                30,
                "each device has asked again",
            )
        assert [d.version for d in others] == [1] * len(others)
        assert [d.version for d in pilots] == [2, 2]
        assert not [d.refused for d in devices if d.refused]
        await until(
            lambda: any(rule == "rollout.halted" for rule, *_ in rows(stage, select(alerts.c.rule_id))),
            20,
            "the technician has an alert",
        )
    shown = stage.collect("rollout", "show")
    assert "halted" in shown
    assert "TOO MANY" in shown


@pytest.mark.timeout(600)
def test_a_good_policy_reaches_everybody_ring_by_ring_by_itself(stage: Stage, tmp_path: Path) -> None:
    asyncio.run(good_policy(stage, tmp_path))


async def good_policy(stage: Stage, tmp_path: Path) -> None:
    async with following(stage, tmp_path) as devices:
        await asyncio.to_thread(
            publish,
            stage,
            "--rings",
            f"{pilot_file(tmp_path)},all",
            "--soak",
            "5s",
            "--in-lessons",
            "rehearsal",
        )
        await until(lambda: all(d.version == 2 for d in devices[:2]), 30, "the pilots take version 2")
        assert [d.version for d in devices[2:]] == [1] * (DEVICES - 2)
        await until(lambda: all(d.version == 2 for d in devices), 90, "all take version 2")
        await until(lambda: state_of(stage)[0] == "done", 60, "the rollout ends")
        actions = [tuple(r) for r in rows(stage, select(rollout_log.c.action, rollout_log.c.open_rings))]
        assert actions == [("opened", 1), ("opened", 2), ("done", 2)]
        assert not [d.refused for d in devices if d.refused]
    stage.collect("fsck")


@pytest.mark.timeout(600)
def test_a_technician_pauses_opens_and_goes_back(stage: Stage, tmp_path: Path) -> None:
    asyncio.run(by_hand(stage, tmp_path))


async def by_hand(stage: Stage, tmp_path: Path) -> None:
    """By hand, with a reason each time; lesson time does not matter then."""
    async with following(stage, tmp_path) as devices:
        pack = changed_pack(tmp_path)
        await asyncio.to_thread(
            publish,
            stage,
            "--rings",
            f"{pilot_file(tmp_path)},all",
            "--pack",
            str(pack),
            "--in-lessons",
            "rehearsal",
        )
        await until(lambda: all(d.version == 2 for d in devices[:2]), 30, "the pilots take version 2")
        stage.collect("rollout", "pause", GROUP, "--reason", "the head asks")
        assert state_of(stage) == ("paused", 1, "the head asks")
        stage.collect("rollout", "resume", GROUP, "--reason", "the head agrees")
        stage.collect("rollout", "open", GROUP, "--reason", "the head agrees")
        await until(lambda: all(d.version == 2 for d in devices), 30, "all take version 2")
        stage.collect("rollout", "halt", GROUP, "--reason", "it is wrong")
        await asyncio.to_thread(publish, stage, "--previous-content", "--why", "it refused the calculator")
        await until(lambda: all(d.version == 3 for d in devices), 30, "everybody has version 3")
        await until(lambda: state_of(stage)[0] == "replaced", 10, "the rollout is over")


def changed_pack(folder: Path) -> Path:
    import shutil
    from importlib.resources import files

    pack = folder / "our-pack"
    shutil.copytree(str(files("schoolkeeper_policies") / "packs" / "default"), pack)
    rules = pack / "applications.yaml"
    rule = (
        "\n  - id: games.minefield\n    description: Minefield does not start.\n    why: It was played.\n"
        "    resolution: Ask your teacher.\n    severity: low\n    decision: block\n    match:\n"
        "      - {file-name: gnome-mines}\n    identity: Minefield\n"
    )
    rules.write_text(rules.read_text().replace("applications:\n", "applications:" + rule, 1))
    return pack
