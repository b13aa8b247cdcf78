"""A newer agent reaches an installed laptop: signed by two officers, handed out, installed, kept or put back.

Two machines boot with real systemd. The steps build on each other and run in the order in which they stand here.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.lab.available import need
from support.lab.network import LabNetwork
from support.lab.nspawn import TOOLS, Laptop
from support.lab.tree import laptop_tree
from support.packages import (
    COLLECTOR_PYTHON,
    GATEWAY,
    PASSPHRASE,
    Arrived,
    arrived,
    debian_package,
    detach_from_host,
    install,
    make_school,
    short_pack,
)
from support.school_stage import until

pytestmark = [pytest.mark.lab, pytest.mark.chaos, pytest.mark.timeout(1200)]
SECONDS = 90
GOOD, BAD, HALTED = "0.1.1+lab", "0.1.2+lab", "0.1.3+lab"
UPDATES = "/var/lib/schoolkeeper-agent/updates"
QUICK = """[Service]
ExecStart=
ExecStart=/usr/bin/python3 -I {updates}/keeper.py {updates} 20
"""
"""A new agent gets 20 s to report in these tests."""


@dataclass
class School:
    network: LabNetwork
    server: Laptop
    laptop: Laptop

    def status(self) -> dict[str, object]:
        found = json.loads(self.laptop.sh("schoolkeeper-agent status --json").out)
        assert isinstance(found, dict)
        return found

    def version(self) -> str:
        return self.laptop.sh(
            "dpkg-query --showformat '${Version} ${db:Status-Status}' --show schoolkeeper-agent"
        ).out

    def told(self, version: str) -> list[str]:
        """What the laptop said of this version, in order."""
        found = [one for one in arrived(self.server) if one.kind == "agent.update"]
        return [_state(one) for one in found if f"to_version='{version}'" in one.body]

    def publish(self, package: Path, share: int = 100) -> str:
        place = f"/root/{package.name}"
        self.server.copy_in(package, place)
        command = f"schoolkeeper-collector agent-update stage {place} --share {share} --why 'a test'"
        said = self.server.sh(f"{command} 2>&1", 120).check()
        for officer in ("technician", "dsl"):
            self.server.sh(
                f"{COLLECTOR_PYTHON} -I -c 'from schoolkeeper_policies.officer.cli import main; main()'"
                f" sign /var/lib/schoolkeeper-collector/trust/staged --yes"
                f" --key /var/lib/schoolkeeper-collector/offline/{officer}/{officer}.key 2>&1",
                120,
                stdin=f"{PASSPHRASE}\n".encode() * 4,
            ).check()
        self.server.sh("schoolkeeper-collector publish 2>&1", 120).check()
        return said


def _state(event: Arrived) -> str:
    return event.body.partition("state='")[2].partition("'")[0]


@pytest.fixture(scope="module")
def school() -> Iterator[School]:
    need(tools=TOOLS, built=lambda: laptop_tree().is_built, what="the laptop tree")
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(LabNetwork())
        server = stack.enter_context(Laptop(network=network, at_gateway=True))
        laptop = stack.enter_context(Laptop(network=network))
        for machine in (server, laptop):
            detach_from_host(machine)
        install(server, debian_package("collector"))
        make_school(server, address=GATEWAY, pack=short_pack(server))
        token = server.sh("schoolkeeper-collector token create --group ks2-laptops --uses 1").check().strip()
        laptop.put(
            "/etc/schoolkeeper/enrol.toml",
            f'address = "{GATEWAY}:7443"\ntoken = "{token}"\n'.encode(),
            0o600,
        )
        laptop.put(
            "/etc/systemd/system/schoolkeeper-update.service.d/quick.conf",
            QUICK.format(updates=UPDATES).encode(),
        )
        install(laptop, debian_package("agent"))
        made = School(network=network, server=server, laptop=laptop)
        until(lambda: made.status().get("connected") is True, SECONDS, "the laptop is enrolled and connected")
        yield made


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's package whose program ends at once."""
    folder = tmp_path_factory.mktemp("broken")
    good = debian_package("agent", version=BAD)
    subprocess.run(["dpkg-deb", "--raw-extract", good, folder / "tree"], check=True)
    program = folder / "tree/usr/bin/schoolkeeper-agent"
    program.write_text("#!/bin/sh\nexit 3\n")
    made = folder / good.name
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", folder / "tree", made], check=True
    )
    shutil.rmtree(folder / "tree")
    return made


def test_what_no_share_reaches_is_not_installed(school: School) -> None:
    school.publish(debian_package("agent", version=GOOD), share=0)
    until(
        lambda: "for 0 % of devices" in school.server.sh("schoolkeeper-collector agent-update show").out,
        10,
        "shown",
    )
    assert school.told(GOOD) == []
    assert "0.1.0" in school.version()


def test_a_signed_agent_is_installed_reports_and_is_kept(school: School) -> None:
    device = school.status()["device_id"]
    school.publish(debian_package("agent", version=GOOD))
    until(lambda: school.told(GOOD)[-1:] == ["succeeded"], SECONDS, "the new agent is kept")
    assert school.told(GOOD) == ["started", "installed", "succeeded"]
    assert school.version() == f"{GOOD} installed"
    assert school.status()["device_id"] == device
    left = school.laptop.sh(f"ls {UPDATES}").check().split()
    assert {"former.deb", "former.json", "keeper.py"} <= set(left)
    assert not {"state.json", "wanted.json", "new.deb"} & set(left)
    assert "succeeded 1" in school.server.sh("schoolkeeper-collector agent-update show").check()


def test_one_that_does_not_start_is_put_back(school: School, broken: Path) -> None:
    school.publish(broken)
    until(lambda: school.told(BAD)[-1:] == ["rolled-back"], SECONDS, "the former one is back and says so")
    assert school.version() == f"{GOOD} installed"
    assert school.status()["running"] is True
    assert school.told(BAD) == ["started", "rolled-back"]
    (event,) = [one for one in arrived(school.server) if "rolled-back" in one.body]
    assert "it did not start" in event.body
    assert school.laptop.sh("systemctl is-active schoolkeeper-update.path").out == "active\n"
    assert school.laptop.sh("systemctl --failed --plain --no-legend").out == ""


def test_what_is_halted_is_not_handed_out(school: School) -> None:
    package = debian_package("agent", version=HALTED)
    school.publish(package, share=0)
    school.server.sh("schoolkeeper-collector agent-update halt --reason 'we look first'").check()
    school.publish(package)
    fetched = "journalctl --unit schoolkeeper-agent --no-pager | grep 'was not fetched'"
    until(lambda: "we look first" in school.laptop.sh(fetched).out, SECONDS, "it asked and was refused")
    assert school.version() == f"{GOOD} installed"
