"""A real agent for a bench: enrolled at the bench's collector, and deciding on its own file system only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import harness
import psutil
from harness import CannotMeasure
from stack import Collector

COMPILE: Final = Path(__file__).parents[2] / "packaging/linux/compile_tree.py"
COMMAND: Final = [str(Path(sys.executable).with_name("schoolkeeper-agent"))]


@dataclass(slots=True, kw_only=True)
class Agent:
    """``folder`` lies under /run, because names of sockets are short. ``mount`` is where it may decide on programs."""

    folder: Path
    mount: Path | None = None
    more_settings: str = ""
    program: list[str] = field(default_factory=lambda: [*COMMAND, "--config"])
    child: subprocess.Popen[bytes] | None = None
    ready_after: float = 0.0

    @property
    def config(self) -> Path:
        return self.folder / "agent.toml"

    @property
    def bytecode(self) -> Path:
        return self.folder / "bytecode"

    @property
    def said(self) -> Path:
        return self.folder / "agent.log"

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def configure(self) -> None:
        mounts = "[]" if self.mount is None else f'["{self.mount}"]'
        audit = "true" if self.mount is None else "false"
        self.config.write_text(
            f'state_dir = "{self.folder / "state"}"\nrun_dir = "{self.folder / "run"}"\n'
            f"exec_mounts = {mounts}\naudit_only = {audit}\n{self.more_settings}"
        )

    def enrol(self, collector: Collector) -> None:
        command = [*COMMAND, "--config", str(self.config), "enrol", collector.enrol_address]
        done = subprocess.run(
            [*command, "--token", collector.token(1)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CannotMeasure(f"the agent was not enrolled: {(done.stderr + done.stdout)[-400:]}")

    def start(self, *, within: float = 20.0) -> float:
        """Start the agent and wait until it says that it is ready; seconds."""
        place = self.folder / "notify"
        place.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(str(place))
            told.settimeout(within)
            began = time.monotonic()
            self.child = harness.start(
                [*self.program, str(self.config), "run"],
                said=self.said,
                env={**os.environ, "NOTIFY_SOCKET": str(place), "PYTHONPYCACHEPREFIX": str(self.bytecode)},
            )
            try:
                while b"READY=1" not in told.recv(4_096):
                    pass
            except TimeoutError as reason:
                raise CannotMeasure(
                    f"the agent was not ready within {within} s; it said: {self.said.read_text()[-600:]}"
                ) from reason
            self.ready_after = time.monotonic() - began
        return self.ready_after

    def stop(self) -> None:
        if self.child is not None:
            harness.end(self.child, within=20)

    def kill(self) -> None:
        """kill -9 of the service; what it started ends by itself."""
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    def family(self) -> dict[int, str]:
        """Process id -> what it is, of the service and everything below it."""
        found = {self.pid: "service"}
        for child in psutil.Process(self.pid).children(recursive=True):
            words = " ".join(child.cmdline())
            found[child.pid] = "exec responder" if "exec_responder" in words else words[-60:]
        return found


LIBRARIES: Final = ("cryptography", "dbus_fast", "google", "grpc", "psutil", "zstandard")


def compile_code(into: Path) -> None:
    """Bytecode of all that the agent loads, made as for its package, to be found below ``into`` (PYTHONPYCACHEPREFIX):
    in a checkout that was edited, every start would compile anew, which takes seconds of processor time and leaves
    1.5 MiB behind.
    """
    import schoolkeeper_agent
    import schoolkeeper_proto

    libraries = Path(psutil.__file__).parents[1]
    ours = [Path(str(package.__file__)).parent for package in (schoolkeeper_agent, schoolkeeper_proto)]
    for folder in (*ours, *(libraries / name for name in LIBRARIES)):
        command = [sys.executable, "-X", f"pycache_prefix={into}", str(COMPILE), "--short", str(folder)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    # Python's own lies where it was installed, and is looked for below ``into`` now.
    standard = Path(os.__file__).parent
    for made in standard.glob("**/__pycache__/*.pyc"):
        if "site-packages" not in made.parts:
            target = into / made.parent.parent.relative_to("/") / made.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(made)


@contextmanager
def prepared(collector: Collector, *, mount: bool = False, more_settings: str = "") -> Iterator[Agent]:
    """An enrolled agent that is not running yet. With ``mount`` it decides on programs on a file system of its own."""
    folder = Path(tempfile.mkdtemp(prefix="sk-bench-", dir="/run" if os.access("/run", os.W_OK) else None))
    point = folder / "m"
    agent = Agent(folder=folder, mount=point if mount else None, more_settings=more_settings)
    try:
        if mount:
            if os.geteuid() != 0:
                raise CannotMeasure("deciding on programs needs root")
            point.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "bench", point], check=True)
        compile_code(agent.bytecode)
        agent.configure()
        agent.enrol(collector)
        yield agent
    finally:
        agent.stop()
        if mount:
            subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(folder, ignore_errors=True)
