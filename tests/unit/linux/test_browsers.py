"""Browsers' policies as files: written whole, read back, watched, restored, and given back at the end."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import ApplyBrowsers
from schoolkeeper_agent.enforcers.linux import browser_files, browsers
from schoolkeeper_agent.enforcers.linux.browsers import BrowserEnforcer
from schoolkeeper_agent.observations import Noted
from schoolkeeper_agent.status import StatusReport, from_json, render, to_json
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import RuleText, Switch
from support.core_playbook import bundle_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("at_once")]
TEXT = RuleText(rule_id="r")
RULES = policy.BrowserSection(
    rules=(policy.SiteRule(text=TEXT, decision=DecisionKind.BLOCK, sites=("play.example",)),),
    settings=(policy.BrowserRule(text=TEXT, private_windows=Switch.BLOCKED),),
)
OTHERS = policy.BrowserSection(
    rules=(policy.SiteRule(text=TEXT, decision=DecisionKind.BLOCK, sites=("other.example",)),)
)
CHROMIUM = "chromium/policies/managed/schoolkeeper.json"
FIREFOX = "firefox/policies/policies.json"
FILES = [browser.file for browser in browser_files.BROWSERS]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are looked at without the fifth of a second in which several become one."""
    monkeypatch.setattr(browsers, "SETTLE_S", 0.01)


class Machine:
    """A folder of settings, and an enforcer that acts on it as if it were ``/etc``."""

    def __init__(self, folder: Path) -> None:
        self.etc = folder / "etc"
        self.etc.mkdir()
        self.said: list[model.AgentTampered] = []
        self.severities: list[model.Severity] = []
        self.context = Context(
            bundle=bundle_of(), run_dir=folder / "run", has_root=True, browser_root=self.etc
        )
        self.enforcer = BrowserEnforcer(self.context, self._emit)

    def _emit(self, seen: object) -> None:
        assert isinstance(seen, Noted)
        assert isinstance(seen.body, model.AgentTampered)
        self.said.append(seen.body)
        self.severities.append(seen.severity)

    async def applies(self, section: policy.BrowserSection = RULES) -> str:
        outcome = await self.enforcer.perform(ApplyBrowsers(section=section))
        assert outcome.succeeded == (not outcome.detail)
        return outcome.detail

    def read(self, file: str) -> Any:
        return json.loads((self.etc / file).read_bytes())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def until(happened: Callable[[], bool]) -> None:
    """Waits for the kernel's word; the time-out only guards against hanging."""
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110 - the kernel sets no event
            await asyncio.sleep(0.01)


async def test_each_browser_gets_its_file_whole_and_readable_whatever_the_umask(machine: Machine) -> None:
    before = os.umask(0o077)
    try:
        assert not await machine.applies()
    finally:
        os.umask(before)
    for file in FILES:
        path = machine.etc / file
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        for folder in path.parents[: len(Path(file).parents) - 1]:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o755, folder
            leftovers = [one.name for one in folder.iterdir() if one.is_file() and one != path]
            assert leftovers == [], "nothing half written lies about"
    assert machine.read(CHROMIUM) == {"IncognitoModeAvailability": 1, "URLBlocklist": ["play.example"]}
    assert machine.read("opt/edge/policies/managed/schoolkeeper.json")["InPrivateModeAvailability"] == 1
    assert machine.read(FIREFOX)["policies"] == {
        "DisablePrivateBrowsing": True,
        "WebsiteFilter": {"Block": ["*://*.play.example/*"]},
    }
    await machine.enforcer.close()


async def test_what_holds_already_is_not_written_again(machine: Machine) -> None:
    await machine.applies()
    first = {file: (machine.etc / file).stat().st_ino for file in FILES}
    await machine.applies()
    assert {file: (machine.etc / file).stat().st_ino for file in FILES} == first
    await machine.applies(OTHERS)
    assert machine.read(CHROMIUM) == {"URLBlocklist": ["other.example"]}
    await machine.enforcer.close()
    assert machine.said == []


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("deed", ["changed", "removed", "rights", "link", "folder", "moved"])
async def test_what_somebody_does_to_a_file_is_undone_and_told(
    machine: Machine, file: str, deed: str
) -> None:
    await machine.applies()
    path = machine.etc / file
    written = path.read_bytes()
    match deed:
        case "changed":
            path.write_text("{}")
        case "removed":
            path.unlink()
        case "rights":
            path.chmod(0o600)
        case "link":
            path.unlink()
            path.symlink_to("/dev/null")
        case "folder":
            path.unlink()
            path.mkdir()
        case "moved":
            path.parents[1].rename(machine.etc / "elsewhere")
    await until(lambda: bool(machine.said) and not browser_files.fault(path, written))
    (said,) = machine.said
    assert said.what.startswith("browser policy ")
    assert str(path) in said.detail
    assert said.detail.endswith("; restored")
    assert machine.severities == [model.Severity.MEDIUM]
    await machine.enforcer.close()


async def test_one_event_and_a_count_however_often_it_is_changed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsers, "CALM_S", 0.01)
    await machine.applies()
    path = machine.etc / CHROMIUM
    written = path.read_bytes()
    for _ in range(7):
        other = machine.etc / "other"
        other.write_text("{}")
        other.replace(path)
        await until(lambda: not browser_files.fault(path, written))
        await machine.enforcer.look()
    assert len(machine.said) == 1
    await machine.enforcer.close()
    assert len(machine.said) == 2, "what was counted is said at the end"
    assert "disturbed 6 times more" in machine.said[1].detail


async def test_whoever_goes_on_is_answered_more_slowly(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    loop = asyncio.get_running_loop()
    later = loop.call_later

    def call_later(delay: float, act: Callable[..., object], *more: object) -> asyncio.TimerHandle:
        waits.append(delay)
        return later(min(delay, 0.01), act, *more)

    await machine.applies()
    monkeypatch.setattr(loop, "call_later", call_later)
    path = machine.etc / CHROMIUM
    written = path.read_bytes()
    for _ in range(browsers.CALM_AFTER + 2):
        path.write_text("{}")
        await until(lambda: not browser_files.fault(path, written))
    assert browsers.SETTLE_S in waits
    assert browsers.CALM_S in waits
    await machine.enforcer.close()


async def test_what_cannot_be_restored_is_told_as_that_and_shown(machine: Machine) -> None:
    await machine.applies()
    folder = (machine.etc / CHROMIUM).parent
    (folder / "schoolkeeper.json").unlink()
    (folder / "schoolkeeper.json").mkdir()
    (folder / "schoolkeeper.json" / "x").write_text("")
    await until(lambda: bool(machine.said))
    assert machine.said[0].detail.endswith("NOT restored")
    assert machine.severities == [model.Severity.HIGH]
    line = next(line for line in machine.enforcer.lines() if line.name == "chromium")
    assert not line.read_back
    assert "cannot be restored" in line.problem
    (folder / "schoolkeeper.json" / "x").unlink()
    await machine.enforcer.look()
    assert machine.enforcer.lines()[0].problem == ""
    await machine.enforcer.close()


async def test_a_browser_whose_file_cannot_be_written_does_not_keep_the_others_from_theirs(
    machine: Machine,
) -> None:
    (machine.etc / "opt").write_text("not a folder")
    detail = await machine.applies()
    assert "opt/chrome" in detail
    assert "opt/edge" in detail
    assert machine.read(CHROMIUM)
    assert machine.read(FIREFOX)
    (machine.etc / "opt").unlink()
    assert not await machine.applies()
    await machine.enforcer.close()


async def test_another_file_that_chromium_takes_instead_is_told_and_left(machine: Machine) -> None:
    await machine.applies()
    folder = (machine.etc / CHROMIUM).parent
    (folder / "aaa.json").write_text('{"URLBlocklist": []}')
    (folder / "zzz.json").write_text('{"URLAllowlist": ["*"], "HomepageLocation": "x"}')
    await machine.enforcer.look()
    assert machine.enforcer.lines()[0].problem == "", "neither decides anything that we set"
    (folder / "zzz.json").write_text('{"URLBlocklist": []}')
    await until(lambda: bool(machine.said))
    assert "zzz.json sets URLBlocklist" in machine.said[0].detail
    assert machine.severities == [model.Severity.HIGH]
    assert (folder / "zzz.json").exists()
    assert machine.enforcer.lines()[0].problem.startswith("not in force: ")
    (folder / "zzz.json").unlink()
    await machine.enforcer.look()
    assert machine.enforcer.lines()[0].problem == ""
    await machine.enforcer.close()


async def test_firefoxs_one_file_is_taken_over_and_comes_back(machine: Machine) -> None:
    path = machine.etc / FIREFOX
    path.parent.mkdir(parents=True)
    before = '{"policies": {"DisablePrivateBrowsing": false, "DisablePocket": true}}'
    path.write_text(before)
    await machine.applies()
    held = machine.read(FIREFOX)["policies"]
    assert held["DisablePrivateBrowsing"] is True, "ours goes before what was there"
    assert held["DisablePocket"] is True, "what we say nothing of stays"
    await machine.applies(policy.BrowserSection())
    assert path.read_text() == before, "without rules the file is not ours"
    await machine.applies()
    assert machine.read(FIREFOX)["policies"]["DisablePrivateBrowsing"] is True
    await machine.enforcer.close()
    assert path.read_text() == before
    assert [one.name for one in path.parent.iterdir()] == ["policies.json"]


async def test_a_file_that_replaced_ours_while_nobody_looked_is_no_file_of_before(
    machine: Machine, tmp_path: Path
) -> None:
    path = machine.etc / FIREFOX
    path.parent.mkdir(parents=True)
    path.write_text('{"policies": {"DisablePocket": true}}')
    await machine.applies()
    # The service is killed, and meanwhile somebody writes a file without our rules.
    path.write_text('{"policies": {"WebsiteFilter": {}}}')
    (tmp_path / "second").mkdir()
    again = Machine(tmp_path / "second")
    again.etc = machine.etc
    again.enforcer.context = machine.context
    await again.applies()
    assert again.said[0].detail.endswith("replaced while nobody looked; restored")
    assert machine.read(FIREFOX)["policies"]["DisablePocket"] is True
    await again.enforcer.close()
    assert machine.read(FIREFOX) == {"policies": {"DisablePocket": True}}


async def test_at_the_end_nothing_of_ours_is_left_and_what_is_others_stays(machine: Machine) -> None:
    other = machine.etc / "chromium/policies/managed/school.json"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    (machine.etc / "opt").mkdir()
    await machine.applies()
    await machine.enforcer.close()
    left = sorted(str(path.relative_to(machine.etc)) for path in machine.etc.rglob("*"))
    assert left == ["chromium", "chromium/policies", "chromium/policies/managed",
                    "chromium/policies/managed/school.json", "opt"]  # fmt: skip


async def test_rules_that_end_take_their_files_with_them(machine: Machine) -> None:
    await machine.applies()
    await machine.applies(policy.BrowserSection())
    assert [path for path in machine.etc.rglob("*") if path.is_file()] == []
    assert {line.rules for line in machine.enforcer.lines()} == {False}
    await machine.enforcer.close()


async def test_a_first_policy_without_rules_removes_what_an_earlier_run_left(machine: Machine) -> None:
    left = machine.etc / CHROMIUM
    left.parent.mkdir(parents=True)
    left.write_text('{"URLBlocklist": ["*"]}')
    await machine.applies(policy.BrowserSection())
    assert not left.exists()
    await machine.enforcer.close()


@pytest.mark.parametrize(("owner", "stays"), [("mine", False), ("somebody else's", True), (None, False)])
def test_half_a_minute_after_its_end_rules_go_unless_another_service_took_over(
    tmp_path: Path, owner: str | None, stays: bool
) -> None:
    file = tmp_path / CHROMIUM
    browser_files.write(file, b"{}")
    if owner is not None:
        (tmp_path / "owner").write_text(owner)
    program = [sys.executable, "-I", browser_files.__file__, tmp_path, tmp_path / "owner", "mine"]
    assert subprocess.run(program, check=False, env={}).returncode == 0
    assert file.exists() is stays


def test_the_program_says_what_it_could_not_give_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FIREFOX).mkdir(parents=True)
    (tmp_path / CHROMIUM).mkdir(parents=True)
    assert browser_files.main([str(tmp_path)]) == 1
    assert CHROMIUM in capsys.readouterr().err


async def test_without_rights_or_in_a_trial_nothing_is_touched(tmp_path: Path) -> None:
    for context in (
        Context(bundle=bundle_of(), run_dir=tmp_path, has_root=False, browser_root=tmp_path / "etc"),
        Context(bundle=bundle_of(), run_dir=tmp_path, has_root=True, browser_root=None),
    ):
        enforcer = BrowserEnforcer(context, lambda _: None)
        outcome = await enforcer.perform(ApplyBrowsers(section=RULES))
        assert not outcome.succeeded
        assert outcome.detail == enforcer.ability().because != ""
        assert not (tmp_path / "etc").exists()
        assert enforcer.lines() == ()
        await enforcer.close()


async def test_status_says_browser_by_browser_what_is_known_and_no_more(machine: Machine) -> None:
    await machine.applies()
    report = StatusReport(at_unix_ms=0, source="agent", running=True, browsers=machine.enforcer.lines())
    assert from_json(to_json(report)) == report
    said = render(report)
    assert "pages that they refuse are not counted" in said
    lines = {line.name: line for line in report.browsers}
    assert set(lines) == {"chromium", "chrome", "edge", "firefox"}
    assert all(line.read_back and line.rules for line in lines.values())
    assert lines["firefox"].effective.startswith("not verified: it reads them when it starts")
    (machine.etc / FIREFOX).write_text("{}")
    broken = StatusReport(at_unix_ms=0, source="agent", running=True, browsers=machine.enforcer.lines())
    assert "  NO  firefox" in render(broken)
    await machine.enforcer.close()


async def test_a_firefox_that_runs_since_before_is_said_to_keep_the_older_rules(
    machine: Machine, tmp_path: Path
) -> None:
    proc = tmp_path / "proc"

    def process(pid: int, name: str, started: int) -> None:
        (proc / str(pid)).mkdir(parents=True, exist_ok=True)
        (proc / str(pid) / "stat").write_text(f"{pid} ({name}) S " + "0 " * 18 + f"{started} 0 0\n")

    process(7, "firefox-esr", 100)
    process(8, "Isolated Web Co", 100)
    object.__setattr__(machine.context, "proc_root", proc)
    await machine.applies()
    (firefox,) = [line for line in machine.enforcer.lines() if line.name == "firefox"]
    assert "1 running since before keep the older rules" in firefox.effective
    process(7, "firefox-esr", 900)  # the number was given to another one
    (firefox,) = [line for line in machine.enforcer.lines() if line.name == "firefox"]
    assert "since before" not in firefox.effective
    await machine.enforcer.close()
