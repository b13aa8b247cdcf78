"""What every enforcer keeps to: it never raises for what the system refuses, and leaves the machine usable."""

import os
from pathlib import Path

import pytest

from fakes.linux_parts import FakeEnforcer
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers import load
from schoolkeeper_agent.enforcers.actions import (
    Action,
    ApplyBrowsers,
    GuardApplications,
    HoldDesktops,
    Isolate,
    KeepBluetooth,
    LimitMedium,
    LockSession,
    RefreshApplications,
    RefuseSignIn,
    WithholdInterface,
)
from schoolkeeper_agent.seams import Enforcer
from schoolkeeper_proto import policy
from support.core_playbook import bundle_of
from support.work import waiting_for_nothing

pytestmark = pytest.mark.anyio
NAMES = (
    "applications",
    "bluetooth",
    "browser",
    "desktop",
    "isolation",
    "media",
    "peripherals",
    "screen",
    "sign-in",
)
_BROWSER = policy.BrowserSection(
    settings=(policy.BrowserRule(text=policy.RuleText(rule_id=""), private_windows=policy.Switch.BLOCKED),)
)
IMPOSSIBLE: dict[str, Action] = {
    "fake": LockSession(session_id="none"),
    "applications": GuardApplications(
        section=policy.ApplicationsSection(
            rules=(policy.ApplicationRule(text=policy.RuleText(rule_id=""), decision="block", matches=()),)  # type: ignore[arg-type]
        )
    ),
    "browser": ApplyBrowsers(section=_BROWSER),
    "desktop": HoldDesktops(idle_lock_seconds=300),
    "media": LimitMedium(kernel_name="no-such-disk", access=policy.MediaAccess.BLOCK),
    "peripherals": WithholdInterface(kernel_name="99-9:1.0"),
    # There is no bus at this address.
    "bluetooth": KeepBluetooth(hidden=True),
    "screen": LockSession(session_id="no-such-session"),
    # No address of a collector is known here, and no rule of PAM asks for our file.
    "isolation": Isolate(grant_id=bytes(16)),
    "sign-in": RefuseSignIn(grant_id=bytes(16)),
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["fake", *NAMES, *(f"{name} without root" for name in NAMES)])
def enforcer(request: pytest.FixtureRequest, tmp_path: Path) -> Enforcer:
    if request.param == "fake":
        return FakeEnforcer(refuses="no such session")
    name, _, without = request.param.partition(" ")
    has_root = not without and os.geteuid() == 0
    # No file system is marked: there is none of this name.
    mounts = (tmp_path / "nothing-is-mounted-here",)
    (tmp_path / "not-etc").write_text("not a folder: nothing can be written below it")
    context = Context(
        bundle=bundle_of(),
        run_dir=tmp_path / "run",
        has_root=has_root,
        exec_mounts=mounts,
        etc_root=tmp_path / "etc",
        state_dir=tmp_path / "state",
        browser_root=tmp_path / "not-etc",
        system_bus=f"unix:path={tmp_path}/no-bus",
    )
    return next(one for one in load("linux", context, lambda _: None) if one.name == name)


def test_every_enforcer_of_the_platform_is_under_contract(tmp_path: Path) -> None:
    context = Context(bundle=bundle_of(), run_dir=tmp_path)
    assert tuple(sorted(one.name for one in load("linux", context, lambda _: None))) == NAMES
    assert load("plan9", context, lambda _: None) == []


async def test_it_says_at_once_whether_it_can_and_if_not_why(enforcer: Enforcer) -> None:
    with waiting_for_nothing():
        ability = enforcer.ability()
    assert ability.able or ability.because
    if not os.access("/", os.W_OK) and enforcer.name in NAMES:
        assert not ability.able
    await enforcer.close()


async def test_what_the_system_refuses_is_an_outcome_with_a_reason(enforcer: Enforcer) -> None:
    action = IMPOSSIBLE[enforcer.name]
    outcome = await enforcer.perform(action)
    assert (outcome.enforcer, outcome.action, outcome.succeeded) == (enforcer.name, action, False)
    assert len(outcome.detail) > 10
    await enforcer.close()


async def test_another_enforcers_action_is_an_outcome_too(enforcer: Enforcer) -> None:
    outcome = await enforcer.perform("nonsense")
    assert not outcome.succeeded
    assert "not an action" in outcome.detail
    await enforcer.close()


async def test_it_can_be_closed_twice_and_unused(enforcer: Enforcer) -> None:
    await enforcer.close()
    await enforcer.close()


async def test_nothing_of_it_runs_after_its_end(tmp_path: Path) -> None:
    """A guard that is closed guards nothing and leaves no process."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it starts the exec responder")
    context = Context(bundle=bundle_of(), run_dir=tmp_path / "run", exec_mounts=(tmp_path / "none",))
    applications = next(one for one in load("linux", context, lambda _: None) if one.name == "applications")
    section = policy.ApplicationsSection(rules=(), otherwise=policy.DecisionKind.BLOCK)
    outcome = await applications.perform(GuardApplications(section=section))
    assert outcome.succeeded, outcome.detail
    assert (await applications.perform(RefreshApplications(place="on-site"))).succeeded
    guardian = applications.responder_pid  # type: ignore[attr-defined]
    assert Path(f"/proc/{guardian}").exists()
    await applications.close()
    assert not Path(f"/proc/{guardian}").exists()
