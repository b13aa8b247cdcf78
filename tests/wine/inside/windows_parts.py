"""Runs under Wine: what Windows' own registry and process list tell the sensors, and that no enforcer does anything."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import winreg
from collections.abc import Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent import enforcers, observations, sensors
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.sensors.windows.posture import MEDIA
from schoolkeeper_agent.sensors.windows.registry import MACHINE, PEOPLE
from schoolkeeper_agent.sensors.windows.windows_registry import WindowsRegistry
from schoolkeeper_proto import bundle, policy
from schoolkeeper_proto.bundle import OpenBundle, open_bundle
from schoolkeeper_proto.model import PostureResult
from schoolkeeper_proto.posture import Check

assert sys.platform == "win32"
TEXT = policy.RuleText(rule_id="media.encrypted-only")
OURS = r"SOFTWARE\Schoolkeeper Tests"
FVE = r"SYSTEM\CurrentControlSet\Policies\Microsoft\FVE"


def opened() -> OpenBundle:
    sections = (
        policy.CollectionSection(),
        policy.MediaSection(rules=(policy.MediaRule(text=TEXT, access=policy.MediaAccess.ENCRYPTED_ONLY),)),
        policy.ScreenSection(text=policy.RuleText(rule_id="screen.idle-lock"), idle_lock_seconds=600),
        policy.PostureSection(
            checks=tuple(policy.PostureCheck(check=check, every_seconds=3600) for check in Check)
        ),
    )
    data = bundle.build(
        school_id="s", group="g", version=1, compiled_at_unix_ms=1_795_000_000_000, sections=sections
    )
    return open_bundle(data, school_id="s", group="g", capabilities=frozenset())


@contextlib.contextmanager
def set_to(key: str, name: str, value: int | str | bytes) -> Iterator[None]:
    kinds = {int: winreg.REG_DWORD, str: winreg.REG_SZ, bytes: winreg.REG_BINARY}
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, key) as opened_key:
        winreg.SetValueEx(opened_key, name, 0, kinds[type(value)], value)
        try:
            yield
        finally:
            winreg.DeleteValue(opened_key, name)


def test_the_registry_tells_numbers_texts_and_nothing_and_refuses_the_rest() -> None:
    registry = WindowsRegistry()
    assert registry.value(MACHINE, r"SOFTWARE\There is no such key", "x") is None
    assert registry.keys(MACHINE, r"SOFTWARE\There is no such key") == ()
    with set_to(OURS, "number", 600), set_to(OURS, "text", "1"), set_to(OURS, "bytes", b"x"):
        assert registry.value(MACHINE, OURS, "number") == 600
        assert registry.value(MACHINE, OURS, "text") == "1"
        assert registry.value(MACHINE, OURS, "another") is None
        with pytest.raises(OSError, match="neither a number nor a text"):
            registry.value(MACHINE, OURS, "bytes")
    assert any(sid.startswith("S-1-5-21-") for sid in registry.keys(PEOPLE, ""))


def test_settings_in_the_real_registry_become_posture(tmp_path: Path) -> None:
    (sensor,) = (
        one
        for one in sensors.load("win32", Context(bundle=opened(), run_dir=tmp_path))
        if one.name == "posture"
    )

    def read(check: str) -> observations.PostureRead:
        return sensor.read(policy.PostureCheck(check=check, every_seconds=3600))  # type: ignore[attr-defined]

    system = r"SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System"
    assert (read(Check.LOCK).result, read(MEDIA).result) == (PostureResult.FAIL, PostureResult.FAIL)
    with set_to(FVE, "RDVDenyWriteAccess", 1), set_to(system, "InactivityTimeoutSecs", 600):
        assert (read(Check.LOCK).result, read(MEDIA).result) == (PostureResult.PASS, PostureResult.PASS)
        assert "not seen to act" in read(Check.LOCK).evidence
    for check in Check:
        found = read(check)
        assert (found.result is PostureResult.UNKNOWN) == bool(found.unknown_because), check
    assert read(Check.DISK_ENCRYPTION).result is PostureResult.UNKNOWN


def test_a_program_that_begins_is_seen_at_the_next_look_and_its_end_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from schoolkeeper_agent.sensors.windows import processes

    monkeypatch.setattr(processes, "LOOK_S", 0.2)
    seen: list[object] = []

    async def watch() -> None:
        sensor = next(
            one
            for one in sensors.load("win32", Context(bundle=opened(), run_dir=tmp_path))
            if one.name == "processes"
        )
        task = asyncio.create_task(sensor.run(seen.append))
        await until(lambda: bool(seen))
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            await until(lambda: child.pid in started(seen))
            child.kill()
        await until(lambda: observations.ProcessEnded(process_id=child.pid) in seen)
        assert started(seen)[child.pid].path.endswith("/python.exe")
        assert not started(seen)[child.pid].already_running
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(watch())


def started(seen: list[object]) -> dict[int, observations.ProcessStarted]:
    return {one.process_id: one for one in seen if isinstance(one, observations.ProcessStarted)}


async def until(condition: object) -> None:
    async with asyncio.timeout(60):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_no_enforcer_and_no_missing_sensor_is_silent(tmp_path: Path) -> None:
    context = Context(bundle=opened(), run_dir=tmp_path)
    for enforcer in enforcers.load("win32", context, lambda _: None):
        ability = enforcer.ability()
        assert not ability.able
        assert ability.because.startswith("the preview for Windows only reports")
        outcome = asyncio.run(enforcer.perform("anything"))
        assert not outcome.succeeded
        assert outcome.detail
    for sensor in sensors.load("win32", context):
        assert sensor.ability().able or sensor.ability().because
