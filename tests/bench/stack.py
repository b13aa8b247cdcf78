"""A real collector for a bench: a school made by ``init``, the service as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import harness
from harness import CannotMeasure

from support.ports import free_port

SCHOOL: Final = "bench.example"
GROUP: Final = "bench-laptops"
COMMAND: Final = [str(Path(sys.executable).with_name("schoolkeeper-collector"))]


@dataclass(slots=True, kw_only=True)
class Collector:
    """``folder`` holds its state. ``said`` is its log."""

    folder: Path
    database_url: str = ""
    keystore_url: str = ""
    console: bool = False
    program: list[str] = field(default_factory=lambda: [*COMMAND, "run"])
    settings: dict[str, str] = field(default_factory=dict)
    init_said: str = ""
    child: subprocess.Popen[bytes] | None = None
    ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ports = {name: free_port() for name in ("enrol", "uplink", "console", "health")}

    @property
    def said(self) -> Path:
        return self.folder / "collector.log"

    @property
    def enrol_address(self) -> str:
        return f"127.0.0.1:{self.ports['enrol']}"

    @property
    def uplink_address(self) -> str:
        return f"127.0.0.1:{self.ports['uplink']}"

    @property
    def console_address(self) -> str:
        return f"http://127.0.0.1:{self.ports['console']}"

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def environment(self) -> dict[str, str]:
        own = {
            "SCHOOLKEEPER_CONFIG": os.devnull,
            "SCHOOLKEEPER_STATE_DIR": str(self.folder / "state"),
            "SCHOOLKEEPER_ENROL_LISTEN": f"127.0.0.1:{self.ports['enrol']}",
            "SCHOOLKEEPER_UPLINK_LISTEN": f"127.0.0.1:{self.ports['uplink']}",
            "SCHOOLKEEPER_CONSOLE_LISTEN": f"127.0.0.1:{self.ports['console']}",
            "SCHOOLKEEPER_HEALTH_LISTEN": f"127.0.0.1:{self.ports['health']}",
        }
        if not self.console:
            own["SCHOOLKEEPER_CONSOLE_LISTEN"] = ""
        if self.database_url:
            own["SCHOOLKEEPER_DATABASE_URL"] = self.database_url
            own["SCHOOLKEEPER_KEYSTORE_URL"] = self.keystore_url
        return {**os.environ, **own, **self.settings}

    def command(self, *arguments: str) -> str:
        """Run one command of the collector's program; its output. Raises CannotMeasure with what it said."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise CannotMeasure(f"`schoolkeeper-collector {arguments[0]}` failed: {done.stderr[-600:]}")
        return done.stdout

    def init(self, *more: str) -> None:
        self.init_said = self.command(
            *("init", "--demo", "--school-id", SCHOOL, "--name", "Bench School", "--address", "127.0.0.1"),
            *("--group", GROUP, "--uplink-port", str(self.ports["uplink"])),
            *("--enrol-port", str(self.ports["enrol"]), *more),
        )

    def start(self, *, within: float = 30.0) -> float:
        """Start the service; the seconds until it listened for devices."""
        began = time.monotonic()
        self.child = harness.start(self.program, said=self.said, env=self.environment())
        for port in ("enrol", "uplink"):
            try:
                harness.wait_for_port(self.ports[port], self.child, within=within)
            except CannotMeasure as reason:
                raise CannotMeasure(f"{reason}; it said: {self.said.read_text()[-800:]}") from reason
        return time.monotonic() - began

    def kill(self) -> None:
        """kill -9."""
        assert self.child is not None
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def stop(self) -> None:
        if self.child is not None:
            harness.end(self.child, within=20)

    def token(self, uses: int, group: str = GROUP) -> str:
        said = self.command("token", "create", "--group", group, "--uses", str(uses), "--expires", "1d")
        found = re.search(r"sk1-[A-Za-z0-9_-]+", said)
        if found is None:
            raise CannotMeasure(f"`token create` printed no token: {said[-300:]}")
        return found[0]

    def fsck(self) -> str:
        """What `fsck` says of the stopped collector's store; raises CannotMeasure when it finds fault."""
        return self.command("fsck")

    def metrics(self) -> dict[str, float]:
        """Names with labels, as /metrics has them."""
        url = f"http://127.0.0.1:{self.ports['health']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


@contextmanager
def running(name: str, *, within: Path | None = None, **options: object) -> Iterator[Collector]:
    """A collector with a new school, running; everything is gone afterwards."""
    with harness.scratch(name) as folder:
        collector = Collector(folder=within or folder, **options)  # type: ignore[arg-type]
        try:
            collector.init()
            collector.start()
            yield collector
        finally:
            collector.stop()
