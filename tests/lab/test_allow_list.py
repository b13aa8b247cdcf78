"""An allow list on a whole machine, from within the agent's hardened unit: what people bring does not start, and
nothing that the machine needs stops. It boots a machine once: the unit's own view of mounts is what it is about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.lab.available import need
from support.lab.nspawn import TOOLS, Laptop
from support.lab.tree import laptop_tree
from support.packages import (
    AGENT_PYTHON,
    AGENT_UNIT,
    agent_unit_with,
    capabilities_of,
    debian_package,
    detach_from_host,
    install,
)
from support.school_stage import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
PROGRAM = Path(__file__).parent / "programs/allow_list.py"
_PACKAGE = b"""#!/bin/sh
set -e
mkdir -p /root/p/DEBIAN /root/p/usr/bin && cd /root
printf 'Package: maths\\nVersion: %s\\nArchitecture: all\\n' "$1" > p/DEBIAN/control
printf 'Maintainer: x <x@school.example>\\nDescription: x\\n' >> p/DEBIAN/control
printf '#!/bin/sh\\ntrue\\n' > p/DEBIAN/postinst && chmod 755 p/DEBIAN/postinst
cp /usr/bin/true p/usr/bin/maths && dpkg-deb --build p maths.deb
"""
REFUSED = 126
"""What a shell answers for a program that it found and could not start."""


@pytest.fixture(scope="module")
def guarded() -> Iterator[Laptop]:
    need(tools=TOOLS, built=lambda: laptop_tree().is_built, what="the laptop tree")
    with Laptop() as laptop:
        detach_from_host(laptop)
        install(laptop, debian_package("agent"))
        laptop.sh("systemctl stop schoolkeeper-agent").check()
        laptop.put("/srv/allow_list.py", PROGRAM.read_bytes())
        unit = agent_unit_with(
            f"{AGENT_PYTHON} -I /srv/allow_list.py", capabilities=capabilities_of(AGENT_UNIT), type_="exec"
        )
        # Under the agent's own name: the guard, whose unit is the package's, answers no other.
        laptop.put("/etc/systemd/system/schoolkeeper-agent.service", unit.encode())
        laptop.sh("systemctl daemon-reload && systemctl start schoolkeeper-agent").check()
        until(lambda: bool(laptop.sh("cat /run/said").out.strip()), 90, "the guard speaks")
        assert laptop.sh("cat /run/said").out == "guarding\n"
        yield laptop


def test_the_unit_sees_every_file_system_without_set_user_id(guarded: Laptop) -> None:
    """Why the machine's own mounts are asked whether an owner can be believed."""
    main = guarded.sh("systemctl show -P MainPID schoolkeeper-agent").check().strip()
    root = "awk '$5 == \"/\" {print $6}' /proc/%s/mountinfo"
    assert "nosuid" in guarded.sh(root % main).check()
    assert "nosuid" not in guarded.sh(root % 1).check()


@pytest.mark.scenario(tier="session", name="what a pupil brings does not start, what is installed does")
def test_what_a_pupil_brings_does_not_start_and_what_is_installed_does(guarded: Laptop) -> None:
    def as_pupil(command: str) -> int:
        return guarded.sh(command, user="pupil").rc

    assert as_pupil("cp /usr/bin/true ~/game && exec ~/game") == REFUSED
    assert as_pupil("cp /usr/bin/true /tmp/game && exec /tmp/game") == REFUSED
    assert as_pupil("printf '#!/bin/sh\\n' > ~/game.sh && chmod +x ~/game.sh && exec ~/game.sh") == REFUSED
    assert as_pupil("mkdir -p ~/lessons && cp /usr/bin/true ~/lessons/hello && exec ~/lessons/hello") == 0
    for command in ("ls /", "python3 -c 'print(1)'", "perl -e 1", "sh -c 'exit 0'", "/usr/bin/env true"):
        assert as_pupil(command) == 0, command


def test_the_machine_goes_on(guarded: Laptop) -> None:
    """A person can still sign in, open a terminal and update packages."""
    assert guarded.sh("echo echo I am in | su --login pupil").check().endswith("I am in\n")
    guarded.put("/root/build", _PACKAGE, 0o755)
    for version in (1, 2):
        guarded.sh(f"/root/build {version} && dpkg --install /root/maths.deb 2>&1").check()
        assert guarded.sh("maths", user="pupil").rc == 0
    # As the package tools' own questions are asked: root starts a script of its own from where everybody may write.
    asked = "/tmp/maths.config.1"
    guarded.sh(f"printf '#!/bin/sh\\n' > {asked} && chmod 755 {asked} && {asked}").check()
    assert guarded.sh("systemd-run --wait --quiet /usr/bin/true").rc == 0
    assert guarded.sh("systemctl is-active schoolkeeper-agent").out == "active\n"
