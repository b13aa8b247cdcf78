"""A real collector and a real agent as processes on loopback: what the end-to-end tests and the fault runs stand on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from schoolkeeper_agent.enrol import EnrolOptions, enrol
from schoolkeeper_agent.status import to_json
from schoolkeeper_agent.status_socket import NotRunning, ask
from schoolkeeper_collector.store.database import open_store
from schoolkeeper_collector.store.events import StoredEvent, events_after
from support import warm
from support.patience import until as until  # its users take it from here
from support.ports import free_ports

BIN = Path(sys.executable).parent


def takes_connections(port: int) -> bool:
    with socket.socket() as asking:
        asking.settimeout(0.5)
        return asking.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Stage:
    """``folder`` holds everything; ``prefix`` goes before the agent's command; ``environment`` is added to both's."""

    serves_console: ClassVar[bool] = False
    """Its process takes seconds of a processor to start; a subclass says so where a test looks at it."""

    folder: Path
    prefix: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    collector: subprocess.Popen[bytes] | None = None
    agent: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.enrol_port, self.uplink_port, self.console_port, self.health_port = free_ports(4)
        self.uplink_listens = 0
        """Where the collector listens, if that is another port than the one that devices know."""
        self.state = self.folder / "agent-state"
        self.collector_state = self.folder / "collector-state"
        self.config = self.folder / "agent.toml"
        self.write_config()

    def write_config(self, **settings: object) -> None:
        values = {"state_dir": str(self.state), "run_dir": str(self.folder / "run"), "audit_only": True}
        lines = [f"{key} = {json.dumps(value)}" for key, value in (values | settings).items()]
        self.config.write_text("\n".join(lines) + "\n")

    # ---- collector ----

    @property
    def collector_environment(self) -> dict[str, str]:
        return (
            os.environ
            | self.environment
            | {
                "SCHOOLKEEPER_STATE_DIR": str(self.collector_state),
                "SCHOOLKEEPER_ENROL_LISTEN": f"127.0.0.1:{self.enrol_port}",
                "SCHOOLKEEPER_UPLINK_LISTEN": f"127.0.0.1:{self.uplink_listens or self.uplink_port}",
                "SCHOOLKEEPER_CONSOLE_LISTEN": f"127.0.0.1:{self.console_port}"
                if self.serves_console
                else "",
                "SCHOOLKEEPER_HEALTH_LISTEN": f"127.0.0.1:{self.health_port}",
                "SCHOOLKEEPER_HEARTBEAT_SECONDS": "5",
            }
        )

    def collect(self, *arguments: str) -> str:
        done = warm.run("schoolkeeper-collector", *arguments, env=self.collector_environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def init(self) -> str:
        """Makes the school; returns what `init` printed: the first passwords among it."""
        return self.collect(
            "init", "--demo", "--school-id", "tests.example", "--name", "Tests", "--address", "127.0.0.1",
            "--uplink-port", str(self.uplink_port), "--enrol-port", str(self.enrol_port),
        )  # fmt: skip

    def start_collector(self) -> None:
        log = (self.folder / "collector.log").open("ab")
        self.collector = subprocess.Popen(
            [BIN / "schoolkeeper-collector", "run"],
            env=self.collector_environment,
            stdout=log,
            stderr=log,
        )
        until(self._listens, 60, "the collector listens")

    def _listens(self) -> bool:
        assert self.collector is not None
        assert self.collector.poll() is None, (self.folder / "collector.log").read_text()[-3000:]
        return takes_connections(self.uplink_listens or self.uplink_port) and (
            not self.serves_console or takes_connections(self.console_port)
        )

    def stored(self) -> list[StoredEvent]:
        """Every event that the collector holds, opened as its detection would."""
        state = self.collector_state
        store = open_store(f"sqlite:///{state}/collector.db", f"sqlite:///{state}/keystore.db")
        try:
            with store.read() as connection:
                return events_after(connection, store.keystore, "tests.example", 0, 1_000_000)
        finally:
            store.close()

    def kinds(self) -> list[str]:
        return [item.event.body.KIND for item in self.stored()]

    # ---- agent ----

    def token(self) -> str:
        said = self.collect("token", "create", "--group", "ks2-laptops", "--uses", "5")
        token = re.search(r"\bsk1-\S+", said)
        assert token, said
        return token.group()

    def enrol(self) -> None:
        """By what `schoolkeeper-agent enrol` calls; a start of that program costs a second of a processor."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        options = EnrolOptions(
            state_dir=self.state, address=f"127.0.0.1:{self.enrol_port}", token=self.token()
        )
        # In a thread of its own: where a browser is driven, this one has an event loop that runs.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(enrol(options, now_ms=time.time_ns() // 1_000_000))).result()

    def tell_agent(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "schoolkeeper-agent", "--config", self.config, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )

    def start_agent(self) -> None:
        log = (self.folder / "agent.log").open("ab")
        self.agent = subprocess.Popen(
            [*self.prefix, BIN / "schoolkeeper-agent", "--config", self.config, "run"],
            env=os.environ | self.environment,
            stdout=log,
            stderr=log,
        )

    def status(self) -> dict[str, object]:
        """As `schoolkeeper-agent status --json` says it; of an agent that runs, without a start of that program."""
        try:
            said = to_json(ask(self.folder / "run"))
        except NotRunning:
            said = self.tell_agent("status", "--json").stdout
        found = json.loads(said)
        assert isinstance(found, dict)
        return found

    def pending(self) -> int:
        spool = self.status()["spool"]
        assert isinstance(spool, dict)
        # Before the spool is open nobody knows: that is not zero.
        return int(spool["pending_events"]) if spool["room_bytes"] else -1

    def kill_agent(self) -> None:
        if self.agent is not None:
            self.agent.send_signal(signal.SIGKILL)
            self.agent.wait()

    def stop_agent(self) -> int:
        assert self.agent is not None
        self.agent.terminate()
        return self.agent.wait(120)

    def kill_collector(self) -> None:
        if self.collector is not None:
            self.collector.send_signal(signal.SIGKILL)
            self.collector.wait()

    def stop_collector(self) -> None:
        assert self.collector is not None
        self.collector.terminate()
        self.collector.wait(120)

    def close(self) -> None:
        for process in (self.agent, self.collector):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def logs(self) -> str:
        return "\n".join(
            f"--- {name}\n" + (self.folder / name).read_text()[-4000:]
            for name in ("agent.log", "collector.log")
            if (self.folder / name).exists()
        )
