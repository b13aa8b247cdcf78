"""The collector as its own process, to be killed: a school made by `init`, the service, simulated devices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from schoolkeeper_collector.school import certificates
from schoolkeeper_collector.school.init import InitOptions, init_school
from schoolkeeper_collector.school.keys import ServiceKeys, load_keys
from schoolkeeper_collector.store.database import Store, open_store
from support import warm
from support.collector import add_device
from support.device import DeviceIdentity, SchoolPins, SimulatedDevice, Uplink
from support.ports import free_port

SCHOOL = "westgate.example"
PROGRAM = Path(sys.executable).with_name("schoolkeeper-collector")


@dataclass
class CollectorProcess:
    """`start`, then `kill` or `stop`; the state stays in `folder`."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.state = self.folder / "state"
        self.ports = {name: free_port() for name in ("enrol", "uplink", "health")}
        self.urls = (f"sqlite:///{self.state}/collector.db", f"sqlite:///{self.state}/keystore.db")
        init_school(
            InitOptions(
                state_dir=self.state,
                database_url=self.urls[0],
                keystore_url=self.urls[1],
                school_id=SCHOOL,
                school_name="Westgate",
                hosts=("localhost", "127.0.0.1"),
                now_ms=time.time_ns() // 1_000_000,
                uplink_port=self.ports["uplink"],
                enrol_port=self.ports["enrol"],
            )
        )
        self.keys: ServiceKeys = load_keys(self.state)
        self.store: Store = open_store(*self.urls)

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "SCHOOLKEEPER_CONFIG": os.devnull,
            "SCHOOLKEEPER_STATE_DIR": str(self.state),
            "SCHOOLKEEPER_ENROL_LISTEN": f"127.0.0.1:{self.ports['enrol']}",
            "SCHOOLKEEPER_UPLINK_LISTEN": f"127.0.0.1:{self.ports['uplink']}",
            "SCHOOLKEEPER_CONSOLE_LISTEN": "",
            "SCHOOLKEEPER_HEALTH_LISTEN": f"127.0.0.1:{self.ports['health']}",
        }
        return {**os.environ, **own, **self.settings}

    @property
    def ca_pem(self) -> bytes:
        return certificates.pem(self.keys.ca_certificate)

    def start(self) -> None:
        """Returns once it is healthy; raises with its log otherwise."""
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([PROGRAM, "run"], env=self.environment, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 120
        while self.health()[0] != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.05)

    def health(self, path: str = "/healthz") -> tuple[int, str]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.ports['health']}{path}", timeout=30
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Asks it to end; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.store.close()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return warm.run("schoolkeeper-collector", *arguments, env=self.environment)

    def device(self) -> SimulatedDevice:
        newest = self.keys.ingest_newest
        pins = SchoolPins(
            school_id=SCHOOL,
            ingest_key=self.keys.ingest[newest].public_key(),
            ingest_key_id=newest,
            ledger_key=self.keys.ledger.public_key().public_bytes_raw(),
        )
        identity = DeviceIdentity.issued(SCHOOL, self.keys.ca_key, self.keys.ca_certificate)
        add_device(self.store, identity, school_id=SCHOOL)
        return SimulatedDevice(identity, pins)

    def uplink(self, device: SimulatedDevice) -> Uplink:
        return Uplink(device, f"127.0.0.1:{self.ports['uplink']}", self.ca_pem)
