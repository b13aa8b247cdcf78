"""A file system of its own and the exec responder on it: real marks, on nothing but what the test mounted."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import GuardApplications
from schoolkeeper_agent.enforcers.linux.applications import ApplicationEnforcer
from schoolkeeper_agent.guard.door import Guard as Door
from schoolkeeper_proto import policy
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import MatchBy
from support.core_playbook import bundle_of


@contextlib.contextmanager
def own_file_system() -> Iterator[Path]:
    """A tmpfs with ``ok`` and ``game`` (copies of true) and ``script.sh``, unmounted at the end."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts a file system and marks it")
    # Not below /tmp: everybody may write there, and files below are asked about each time.
    folder = Path(tempfile.mkdtemp(prefix="schoolkeeper-exec-", dir="/run"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "schoolkeeper-test", folder], check=True)
    try:
        assert folder.stat().st_dev != Path("/").stat().st_dev
        for name in ("ok", "game"):
            shutil.copy("/bin/true", folder / name)
        (folder / "script.sh").write_text("#!/bin/sh\nexit 0\n")
        (folder / "script.sh").chmod(0o755)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def rule(
    rule_id: str, by: MatchBy, text: str, decision: DecisionKind = DecisionKind.BLOCK, **more: object
) -> policy.ApplicationRule:
    words = policy.RuleText(rule_id=rule_id, resolution="Ask the technician.")
    matches = (policy.ApplicationMatch(by=by, text=text),)
    return policy.ApplicationRule(text=words, decision=decision, matches=matches, **more)  # type: ignore[arg-type]


def section(*rules: policy.ApplicationRule) -> policy.ApplicationsSection:
    return policy.ApplicationsSection(rules=rules)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Guard:
    """An enforcer on one file system, and what it said."""

    def __init__(self, enforcer: ApplicationEnforcer, folder: Path, seen: list[object]) -> None:
        self.enforcer = enforcer
        self.folder = folder
        self.seen = seen

    async def decide_by(self, *rules: policy.ApplicationRule) -> None:
        outcome = await self.enforcer.perform(GuardApplications(section=section(*rules), place="on-site"))
        assert outcome.succeeded, outcome.detail

    async def execute(self, name: str, *, before: Callable[[], None] | None = None) -> int:
        """The program's exit status, or -1 when the kernel refused it (EPERM)."""

        def run() -> int:
            try:
                return subprocess.run([self.folder / name], timeout=120, preexec_fn=before).returncode
            except PermissionError:
                return -1

        return await asyncio.to_thread(run)

    async def saw(self, kind: type, count: int = 1, seconds: float = 60.0) -> list[object]:
        """Waits until that many observations of the kind came."""
        async with asyncio.timeout(seconds):
            while len(found := [one for one in self.seen if isinstance(one, kind)]) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return found


@contextlib.asynccontextmanager
async def guard_on(folder: Path, run_dir: Path, door: Door | None = None) -> AsyncIterator[Guard]:
    """``door``: a guard that has the responder, instead of the enforcer itself."""
    seen: list[object] = []
    context = Context(bundle=bundle_of(), run_dir=run_dir, exec_mounts=(folder,), guard=door)
    enforcer = ApplicationEnforcer(context, seen.append)
    try:
        yield Guard(enforcer, folder, seen)
    finally:
        await enforcer.close()


def responder_of(guardian: int) -> int:
    """The process id of the responder below a guardian."""
    return int(Path(f"/proc/{guardian}/task/{guardian}/children").read_text().split()[0])


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no VmRSS of {pid}")
