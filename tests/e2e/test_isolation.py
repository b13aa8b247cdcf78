"""A device isolated for real: agent and collector in two namespaces, joined by a cable; from signature to release."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from schoolkeeper_proto import model, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import GrantKind
from support import netns
from support.granting import demo_officer, ends, signed, statement
from support.netns import COLLECTOR4, DEVICE4, WEB4, WEB6, Cable, inside, takes
from support.school_stage import BIN, Stage, until

GROUP = "ks2-laptops"
pytestmark = [
    pytest.mark.skipif(bool(netns.missing()), reason=netns.missing() or "-"),
    pytest.mark.timeout(240),
]


@dataclass
class FarStage(Stage):
    """The agent's commands run in the device's namespace, the collector's in the outside's, at its own address."""

    lab: Cable | None = None

    def _at(self, name: str, command: list[object]) -> list[object]:
        return ["ip", "netns", "exec", name, *command]

    @property
    def collector_environment(self) -> dict[str, str]:
        own = super().collector_environment
        return own | {
            key: value.replace("127.0.0.1", COLLECTOR4)
            for key, value in own.items()
            if key.endswith("_LISTEN")
        }

    def init(self) -> str:
        return self.collect(
            "init", "--demo", "--school-id", "tests.example", "--name", "Tests", "--address", COLLECTOR4,
            "--uplink-port", str(self.uplink_port), "--enrol-port", str(self.enrol_port),
        )  # fmt: skip

    def start_collector(self) -> None:
        assert self.lab is not None
        log = (self.folder / "collector.log").open("ab")
        self.collector = subprocess.Popen(
            self._at(self.lab.outside, [BIN / "schoolkeeper-collector", "run"]),  # type: ignore[arg-type]
            env=self.collector_environment, stdout=log, stderr=log,
        )  # fmt: skip
        until(lambda: self.reaches(COLLECTOR4, self.uplink_port), 60, "the collector listens")

    def reaches(self, address: str, port: int) -> bool:
        assert self.lab is not None
        return inside(self.lab.device, lambda: takes(address, port))

    def enrol(self) -> None:
        """By the program, which alone can be in the device's namespace."""
        done = self.tell_agent("enrol", f"127.0.0.1:{self.enrol_port}", "--token", self.token())
        assert done.returncode == 0, done.stderr

    def tell_agent(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        assert self.lab is not None
        command = [BIN / "schoolkeeper-agent", "--config", self.config, *arguments]
        return subprocess.run(
            self._at(self.lab.device, [str(part).replace("127.0.0.1", COLLECTOR4) for part in command]),  # type: ignore[arg-type]
            capture_output=True, text=True, check=False, timeout=180,
        )  # fmt: skip

    def publish(self, said: wire.GrantStatement, *names: str) -> None:
        people = (demo_officer(self.collector_state / "offline", name) for name in names)
        file = self.folder / f"{said.grant_id.hex()}.skgrant"
        file.write_bytes(encode(signed(said, *people)))
        self.collect("grant", "publish", str(file))

    def states(self, grant_id: bytes) -> list[str]:
        bodies = (item.event.body for item in self.stored())
        return [b.state for b in bodies if isinstance(b, model.IsolationChanged) and b.grant_id == grant_id]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[FarStage]:
    with netns.cable() as lab:
        for address in (WEB4, WEB6):
            lab.serve(address, 80)
        made = FarStage(tmp_path, lab=lab)
        made.prefix = ("ip", "netns", "exec", lab.device)
        # Root, so that it may; nothing else of this machine is decided on, since no file system is named.
        made.write_config(audit_only=False, exec_mounts=[str(tmp_path / "none")])
        try:
            made.init()
            made.start_collector()
            made.enrol()
            made.start_agent()
            until(lambda: made.status().get("connected") is True, 40, f"the agent connects\n{made.logs()}")
            yield made
        finally:
            made.close()
            for process in (made.agent, made.collector):
                assert process is None or process.poll() is not None


def grant(kind: GrantKind, **fields: Any) -> wire.GrantStatement:
    now = time.time_ns() // 1_000_000
    whom: dict[str, Any] = {
        "groups": (GROUP,),
        "not_before_unix_ms": now - 1_000,
        "expires_unix_ms": now + 3_600_000,
    }
    return statement(kind, **(whom | fields))


@pytest.mark.requirement("T-62")
def test_a_signed_grant_takes_the_device_off_the_network_until_two_people_release_it(stage: FarStage) -> None:
    assert stage.lab is not None
    assert stage.reaches(WEB4, 80)
    said = grant(GrantKind.ISOLATE)
    stage.publish(said, "technician")
    began = time.monotonic()
    until(lambda: not stage.reaches(WEB4, 80), 30, f"it is cut off\n{stage.logs()}")
    print(f"cut off {time.monotonic() - began:.1f} s after `grant publish` said that it is published")
    assert not stage.reaches(WEB6, 80)
    assert stage.reaches(COLLECTOR4, stage.uplink_port)
    until(lambda: stage.states(said.grant_id) == ["in-place", "on"], 40, stage.logs())
    shown = stage.tell_agent("status").stdout
    assert "OFF THE NETWORK" in shown
    assert "leave it on" in shown
    assert stage.status()["connected"] is True

    # The agent dies: the kernel goes on. It starts again: still isolated, and it still reports.
    stage.kill_agent()
    assert not stage.reaches(WEB4, 80)
    stage.start_agent()
    until(lambda: stage.status().get("connected") is True, 40, stage.logs())
    assert not stage.reaches(WEB4, 80)
    assert inside(stage.lab.outside, lambda: not takes(DEVICE4, 22))

    stage.publish(grant(GrantKind.RELEASE, payload=ends(said.grant_id)), "technician", "dsl")
    until(lambda: stage.reaches(WEB4, 80) and stage.reaches(WEB6, 80), 30, f"it is let back\n{stage.logs()}")
    until(lambda: stage.states(said.grant_id)[-1] == "off", 40, stage.logs())
    assert "OFF THE NETWORK" not in stage.tell_agent("status").stdout
    assert not (stage.state / "isolation" / "rules.nft").exists()
    stage.collect("fsck")
