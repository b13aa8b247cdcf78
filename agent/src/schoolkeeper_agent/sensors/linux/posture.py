"""Posture checks: a thin reader per check, at the times the policy names; what cannot be told is unknown (T-43)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from schoolkeeper_agent import observations
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.linux.exec_responder.mounts import parse as parse_mounts
from schoolkeeper_agent.seams import Ability, Emit
from schoolkeeper_agent.sensors.linux import posture_parsers as parsers
from schoolkeeper_agent.sensors.linux.posture_parsers import Finding, unknown
from schoolkeeper_proto import model
from schoolkeeper_proto.mandatory import FILTER_CHECK
from schoolkeeper_proto.policy import PostureCheck

_SHORTEST_S = 60
_APT_TIMEOUT_S = 120
_APT = ("apt-get", "-s", "-q", "-o", "Debug::NoLocking=1", "dist-upgrade")
# At the lowest priority, and gone with the agent: one that outlived a killed agent would only cost a pupil's battery.
_GENTLY = ("setpriv", "--pdeathsig", "KILL", "nice", "-n", "19")
_SETTLE_S = {"updates": 90}
"""Seconds after the agent's start before a costly check first runs: a machine that boots has enough to do."""
_APT_FILES = (
    "var/lib/dpkg/status",
    "var/lib/apt/extended_states",
    "var/lib/apt/lists",
    "etc/apt",
    "etc/apt/sources.list",
    "etc/apt/sources.list.d",
    "etc/apt/preferences",
    "etc/apt/preferences.d",
    "etc/apt/apt.conf",
    "etc/apt/apt.conf.d",
)
"""What the answer of apt depends on. Files in the folders are replaced and not written to, which changes the folder."""
_ASK_AGAIN_S = 86_400.0
"""Even when none of them changed: who gets a phased update first depends on the day."""
_SIGNATURES = ("var/lib/clamav/daily.cld", "var/lib/clamav/daily.cvd", "var/lib/clamav/main.cvd")


class PostureSensor:
    """``root`` is where the system's files lie; the check 'lock' is the core's, from what was seen to lock."""

    name = "posture"
    kinds = (model.Posture.KIND,)

    def __init__(self, context: Context, *, root: Path = Path("/")) -> None:
        self._context = context
        self._root = root
        self._simulated: tuple[object, float, str] = (None, 0.0, "")
        """What it was asked of, when (monotonic seconds), what apt said."""
        self._readers: dict[str, Callable[[PostureCheck], Awaitable[Finding]]] = {
            "disk-encryption": self._disk_encryption,
            "antivirus": self._antivirus,
            "updates": self._updates,
            "lock": self._lock,
            FILTER_CHECK: self._content_filter,
        }

    def ability(self) -> Ability:
        strange = [one.check for one in self._context.bundle.posture.checks if one.check not in self._readers]
        if strange:
            return Ability(able=True, because=f"reported as unknown: {', '.join(strange)}")
        return Ability(able=True)

    async def run(self, emit: Emit) -> None:
        async with asyncio.TaskGroup() as tasks:
            for check in self._context.bundle.posture.checks:
                tasks.create_task(self._repeat(check, emit))

    async def _repeat(self, check: PostureCheck, emit: Emit) -> None:
        await asyncio.sleep(_SETTLE_S.get(check.check, 0))
        while True:
            emit(await self.read(check))
            await asyncio.sleep(max(_SHORTEST_S, check.every_seconds))

    async def read(self, check: PostureCheck) -> observations.PostureRead:
        """One check, now."""
        reader = self._readers.get(check.check)
        if reader is None:
            finding = unknown("this agent does not know the check: update the agent")
        else:
            try:
                finding = await reader(check)
            except OSError as error:
                finding = unknown(f"it could not be read: {error}")
        return observations.PostureRead(
            check=check.check,
            result=finding.result,
            evidence=finding.evidence,
            unknown_because=finding.because,
        )

    async def _disk_encryption(self, _check: PostureCheck) -> Finding:
        mounts = parse_mounts((self._context.proc_root / "self" / "mountinfo").read_text(errors="replace"))
        device = next((one for one, point, _ in mounts if point == "/"), "")
        return parsers.disk_encryption(device, self._mapper_uuid, self._below)

    def _mapper_uuid(self, device: str) -> str:
        try:
            return (self._context.sys_root / "dev/block" / device / "dm/uuid").read_text().strip()
        except OSError:
            return ""

    def _below(self, device: str) -> tuple[str, ...]:
        slaves = self._context.sys_root / "dev/block" / device / "slaves"
        if not slaves.is_dir():
            return ()
        return tuple((one / "dev").read_text().strip() for one in sorted(slaves.iterdir()))

    async def _antivirus(self, check: PostureCheck) -> Finding:
        files = [self._root / name for name in _SIGNATURES]
        newest = max(
            (path for path in files if path.exists()), key=lambda path: path.stat().st_mtime, default=None
        )
        installed = newest is not None or (self._root / "usr/bin/clamscan").exists()
        built = None
        if newest is not None:
            with newest.open("rb") as file:
                built = parsers.signature_time(file.read(512))
        return parsers.antivirus(
            built,
            installed=installed,
            running=self._runs("clamd") or self._runs("freshclam"),
            now=parsers.time_of(time.time()),
            threshold_days=check.threshold,
        )

    def _runs(self, name: str) -> bool:
        for folder in self._context.proc_root.iterdir():
            if folder.name.isdigit():
                try:
                    if (folder / "comm").read_text().strip() == name:
                        return True
                except OSError:
                    continue
        return False

    async def _updates(self, check: PostureCheck) -> Finding:
        lists = self._root / "var/lib/apt/lists"
        fetched = [path.stat().st_mtime for path in lists.glob("*Release")] if lists.is_dir() else []
        simulation = await self._simulation() if fetched else None
        if not fetched and (self._root / "usr/bin/apt-get").exists():
            simulation = ""
        return parsers.updates(
            simulation,
            parsers.time_of(max(fetched)) if fetched else None,
            now=parsers.time_of(time.time()),
            threshold_days=check.threshold,
        )

    async def _simulation(self) -> str | None:
        """What apt says; it takes seconds of the processor, so that it is asked again only when something changed."""
        basis = [_state(self._root / name) for name in _APT_FILES]
        known, asked_at, said = self._simulated
        if basis == known and time.monotonic() - asked_at < _ASK_AGAIN_S:
            return said
        simulation = await _simulate_upgrade()
        if simulation is not None:
            kept = "\n".join(line for line in simulation.split("\n") if line.startswith("Inst "))
            self._simulated = basis, time.monotonic(), kept
        return simulation

    async def _content_filter(self, _check: PostureCheck) -> Finding:
        """Never fine by assumption: this version has no test page to ask for, and a setting alone proves nothing."""
        return unknown(
            "no filter test is set up for this device: what the school's filter blocks was not tried"
        )

    async def _lock(self, _check: PostureCheck) -> Finding:
        return unknown("no screen was locked since the agent started: told at the next idle time")


def _state(path: Path) -> tuple[int, int, int]:
    """Changes whenever the file or folder does; zeros when there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size


async def _simulate_upgrade() -> str | None:
    """What an upgrade would do, from local lists only; at the lowest priority."""
    try:
        child = await asyncio.create_subprocess_exec(
            *_GENTLY, *_APT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")},
        )  # fmt: skip
    except OSError:
        return None
    try:
        async with asyncio.timeout(_APT_TIMEOUT_S):  # wait_for can swallow a cancellation
            said, _ = await child.communicate()
    except TimeoutError:
        return None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return said.decode(errors="replace") if child.returncode == 0 else None
