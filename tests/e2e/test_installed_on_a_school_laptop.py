"""Installed on a school-issued device: the packages, from the image to the purge, in one story.

Two machines boot with real systemd: a server gets the collector's package and makes a school; a laptop gets the
agent's package and the image's enrolment file, and is then used as a pupil uses it. The steps build on each other and
run in the order in which they stand here.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from support.lab.available import need
from support.lab.desktop import Desktop, sign_in
from support.lab.network import LabNetwork
from support.lab.nspawn import TOOLS, Laptop
from support.lab.tree import laptop_tree
from support.packages import (
    GATEWAY,
    IDLE_SECONDS,
    NEXT_VERSION,
    Arrived,
    arrived,
    debian_package,
    detach_from_host,
    install,
    make_school,
    short_pack,
)
from support.school_stage import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

SECONDS = 90
"""A busy machine is slow; what takes longer than this does not work."""
REFUSED = 126
"""What a shell answers for a program that it found and could not start."""


_KEEP_TRYING = b"""#!/bin/sh
while [ ! -e /tmp/enough ]; do
    sh -c /home/pupil/tor && echo began >>/tmp/began
    echo tried >>/tmp/tried
    sleep 0.2
done
touch /tmp/stopped
"""


@dataclass
class School:
    """The two machines and what has been counted so far."""

    network: LabNetwork
    server: Laptop
    laptop: Laptop
    device_id: str = ""
    refusals: int = 0
    desktop: Desktop | None = field(default=None)

    def status(self) -> dict[str, object]:
        found = json.loads(self.laptop.sh("schoolkeeper-agent status --json").out)
        assert isinstance(found, dict)
        return found

    def pending(self) -> int:
        spool = self.status()["spool"]
        assert isinstance(spool, dict)
        return int(spool["pending_events"])

    def events(self, kind: str = "", saying: str = "") -> list[Arrived]:
        return [e for e in arrived(self.server) if kind in ("", e.kind) and saying in e.body]

    def try_forbidden_program(self) -> int:
        """As the pupil would: a copy of a harmless program under a name that the school's rules refuse."""
        self.laptop.sh("cp /usr/bin/true /home/pupil/tor && chown pupil: /home/pupil/tor").check()
        code = self.laptop.sh("sh -c /home/pupil/tor", user="pupil").rc
        self.refusals += 1
        return code

    def only_counted(self) -> int:
        """Refusals that the responder could tell nobody, since its service was gone, and that came as a figure."""
        gaps = self.events("agent.gap", "exec responder")
        return sum(int(count) for gap in gaps for count in re.findall(r"\bcount=(\d+)", gap.body))

    def all_refusals_arrived(self) -> bool:
        told = len(self.events("application.refused", "bypass.tor"))
        return told + self.only_counted() == self.refusals


@pytest.fixture(scope="module")
def school() -> Iterator[School]:
    need(tools=TOOLS, built=lambda: laptop_tree().is_built, what="the laptop tree")
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(LabNetwork())
        server = stack.enter_context(Laptop(network=network, at_gateway=True))
        laptop = stack.enter_context(Laptop(network=network))
        for machine in (server, laptop):
            detach_from_host(machine)
        yield School(network=network, server=server, laptop=laptop)


def test_a_server_gets_the_collector_and_becomes_a_school(school: School) -> None:
    install(school.server, debian_package("collector"))
    said = make_school(school.server, address=GATEWAY, pack=short_pack(school.server))
    assert "lab.example" in said
    until(_is_open(school.server, 7443), SECONDS, "the collector takes enrolments")


@pytest.mark.requirement("T-41", "W-62")
def test_a_laptop_enrols_by_itself_from_its_image(school: School) -> None:
    token = school.server.sh("schoolkeeper-collector token create --group ks2-laptops --uses 1").check()
    laptop = school.laptop
    laptop.put(
        "/etc/schoolkeeper/enrol.toml",
        f'address = "{GATEWAY}:7443"\ntoken = "{token.strip()}"\n'.encode(),
        0o600,
    )
    install(laptop, debian_package("agent"))

    until(lambda: school.status()["connected"] is True, SECONDS, "the laptop is enrolled and connected")
    school.device_id = str(school.status()["device_id"])
    assert school.device_id in school.server.sh("schoolkeeper-collector device list").check()
    assert laptop.sh("ls /etc/schoolkeeper/enrol.toml").rc != 0, "the token must not stay on the disk"
    until(lambda: bool(school.events("heartbeat")), SECONDS, "a heartbeat arrives")

    can = {line["name"]: line["because"] for line in school.status()["enforcers"] if not line["able"]}  # type: ignore[attr-defined]
    assert can == {}


@pytest.mark.requirement("T-41", "W-62")
def test_the_pupil_is_told_what_is_monitored(school: School) -> None:
    shown = school.laptop.sh("echo echo I am in | su --login pupil").check()
    assert "This device is looked after by the school." in shown
    assert shown.endswith("I am in\n")
    assert "schoolkeeper-agent notice" in shown
    page = school.laptop.sh("schoolkeeper-agent notice", user="pupil").check()
    assert "What is monitored on this device" in page
    assert "Programs that a rule of the school is about" in page


def test_the_helper_of_a_session_listens_and_comes_back(school: School) -> None:
    desktop = sign_in(school.laptop)
    process = "pgrep --uid pupil --full 'schoolkeeper_agent.sessio[n]'"
    # A connection is of the namespace of whoever connected, and the helper has one without a network.
    listening = (
        f"nsenter --net=/proc/$({process})/ns/net"
        " ss --no-header --unix state connected src unix:/run/schoolkeeper-agent/session.sock"
    )
    until(lambda: bool(school.laptop.sh(listening).out.strip()), SECONDS, "the helper is connected")
    first = school.laptop.sh(process).check().strip()
    school.laptop.sh(f"kill -9 {first}", user="pupil").check()
    until(
        lambda: school.laptop.sh(process).out.strip() not in ("", first), SECONDS, "systemd starts it again"
    )
    until(lambda: bool(school.laptop.sh(listening).out.strip()), SECONDS, "it is connected again")
    until(
        lambda: bool(school.events("sensor.failed", "session helper")), SECONDS, "that it was killed arrives"
    )
    # It would take the words of the next step, and there is no desktop here that could show them.
    desktop.end()
    # Its screen and its locker outlive a sign-out, and would be those of the next session.
    scope = f"session-{desktop.session}.scope"
    school.laptop.sh(f"systemctl stop {scope}; systemctl stop user@$(id -u pupil)").check()
    until(lambda: school.laptop.sh(process).rc == 1, SECONDS, "it ends with the session")


@pytest.mark.requirement("T-17")
def test_a_forbidden_program_does_not_start(school: School) -> None:
    assert school.try_forbidden_program() == REFUSED
    assert school.laptop.sh("cp /usr/bin/true /home/pupil/essay && /home/pupil/essay").rc == 0
    at_terminal = "script --quiet --command '~/tor; sleep 5' /tmp/screen >/dev/null; cat /tmp/screen"
    seen = school.laptop.sh(at_terminal, user="pupil")
    school.refusals += 1
    assert "talk to an adult you trust" in seen.out, "nobody told the pupil why"
    until(school.all_refusals_arrived, SECONDS, "the refusal arrives")


@pytest.mark.requirement("W-72")
def test_an_idle_screen_locks(school: School) -> None:
    desktop = school.desktop = sign_in(school.laptop)
    until(lambda: bool(school.events("session.signed_in")), SECONDS, "the sign-in arrives")
    assert not desktop.keyboard_is_grabbed()
    _leave_idle(school.laptop, desktop)
    desktop.wait_for("LockedHint", "yes", timeout=IDLE_SECONDS + SECONDS)
    desktop.wait_for_grab(SECONDS)
    until(lambda: bool(school.events("session.locked", "screen.idle-lock")), SECONDS, "the lock arrives")


@pytest.mark.requirement("W-01")
def test_rules_hold_without_a_network_and_everything_arrives_afterwards(school: School) -> None:
    school.network.unplug()
    for _ in range(5):
        assert school.try_forbidden_program() == REFUSED
    until(lambda: school.pending() >= 5, SECONDS, "the refusals wait in the spool")
    assert not school.all_refusals_arrived()
    school.network.plug()
    until(school.all_refusals_arrived, SECONDS, "the refusals arrive when the cable is back")
    _nothing_twice(school)


def test_an_upgrade_keeps_the_identity_and_what_was_not_delivered(school: School) -> None:
    school.network.unplug()
    for _ in range(3):
        assert school.try_forbidden_program() == REFUSED
    until(lambda: school.pending() >= 3, SECONDS, "the refusals wait in the spool")
    school.laptop.put("/srv/keep-trying", _KEEP_TRYING, 0o755)
    school.laptop.sh("runuser -u pupil -- /srv/keep-trying >/dev/null 2>&1 &").check()
    install(school.laptop, debian_package("agent", version=NEXT_VERSION))
    until(lambda: school.status()["running"] is True, SECONDS, "the new version runs")
    school.laptop.sh("touch /tmp/enough; until [ -e /tmp/stopped ]; do sleep 0.1; done", 60).check()
    tried = len(school.laptop.sh("cat /tmp/tried").check().split())
    assert tried > 5
    assert school.laptop.sh("cat /tmp/began").rc != 0, "a moment of the upgrade was undecided"
    school.refusals += tried
    assert school.status()["device_id"] == school.device_id
    assert school.pending() >= 3
    assert school.try_forbidden_program() == REFUSED

    school.network.plug()
    until(school.all_refusals_arrived, SECONDS, "what the old version recorded is delivered by the new one")
    until(lambda: len(school.events("agent.stopped")) >= 1, SECONDS, "the old version's end arrives")
    assert school.events("agent.killed") == []
    assert len(school.server.sh("schoolkeeper-collector device list").check().splitlines()) == 1
    _nothing_twice(school)


@pytest.mark.requirement("T-12", "W-20")
def test_a_killed_agent_comes_back_and_says_so(school: School) -> None:
    # Gone, and not only dying: what is handed to it in between dies with it.
    school.laptop.sh(
        "pid=$(systemctl show -P MainPID schoolkeeper-agent); kill -9 $pid;"
        " while [ -e /proc/$pid ]; do sleep 0.02; done"
    ).check()
    assert school.try_forbidden_program() == REFUSED, "the responder outlives the service"
    until(lambda: bool(school.events("agent.killed")), SECONDS, "the kill arrives")
    until(school.all_refusals_arrived, SECONDS, "the refusal in between arrives, or at least its count")
    assert school.try_forbidden_program() == REFUSED
    until(school.all_refusals_arrived, SECONDS, "the next refusal arrives")
    _nothing_twice(school)


@pytest.mark.requirement("T-12")
def test_a_killed_guard_comes_back_and_the_school_hears_of_it(school: School) -> None:
    before = len(school.events("sensor.failed", "enforcer applications"))
    school.laptop.sh("kill -9 $(cut -d' ' -f1 /run/schoolkeeper-guard/exec-responder.pid)").check()
    until(
        lambda: len(school.events("sensor.failed", "enforcer applications")) > before, SECONDS, "it is said"
    )
    until(lambda: bool(school.events("agent.gap", "executions undecided")), SECONDS, "so is the gap")
    assert school.try_forbidden_program() == REFUSED
    until(school.all_refusals_arrived, SECONDS, "the refusal arrives")


def test_removing_keeps_what_was_not_delivered(school: School) -> None:
    school.network.unplug()
    assert school.try_forbidden_program() == REFUSED
    until(lambda: school.pending() >= 1, SECONDS, "the refusal waits in the spool")
    school.laptop.sh("dpkg --remove schoolkeeper-agent", 60).check()
    tried = school.laptop.sh("sh -c /home/pupil/tor", user="pupil")
    running = school.laptop.sh(
        "ps -eo pid,etimes,args | grep -i [s]choolkeeper; systemctl list-units --all 'schoolkeeper*'"
    )
    assert tried.rc == 0, f"nothing of the agent is left running: {running.out}"
    school.network.plug()
    install(school.laptop, debian_package("agent", version=NEXT_VERSION))
    until(school.all_refusals_arrived, SECONDS, "the refusal arrives after the package came back")
    assert school.status()["device_id"] == school.device_id
    until(lambda: bool(school.events("agent.removal", "package manager")), SECONDS, "and that it was removed")
    assert len(school.events("agent.removal", "package manager")) == 1


@pytest.mark.requirement("T-12")
def test_an_administrator_removes_it_with_a_reason_and_purging_removes_the_rest(school: School) -> None:
    until(lambda: school.status()["connected"] is True, SECONDS, "the laptop is connected")
    asked = "schoolkeeper-agent uninstall --reason 'sold, serial 4711' --wait 60"
    assert school.laptop.sh(f"runuser -u pupil -- {asked}").rc == 1, "a pupil may not"
    said = school.laptop.sh(f"{asked} 2>&1", 120).check()
    assert "The school has the reason." in said
    assert "without a reason" not in said
    (event,) = school.events("agent.removal", "by='command'")
    assert "reason='sold, serial 4711'" in event.body
    assert len(school.events("agent.removal")) == 2
    assert school.laptop.sh("systemctl is-active schoolkeeper-agent").out == "inactive\n"
    assert school.laptop.sh("ls /var/lib/schoolkeeper-agent/spool").rc == 0

    school.laptop.sh("dpkg --purge schoolkeeper-agent", 60).check()
    assert (
        school.laptop.sh("ls -d /var/lib/schoolkeeper-agent /etc/schoolkeeper /run/schoolkeeper-agent").rc
        != 0
    )
    assert "schoolkeeper" not in school.laptop.sh("cat /etc/pam.d/common-session").check()


def test_the_record_proves_itself_and_outlives_its_package(school: School) -> None:
    assert school.server.sh("schoolkeeper-collector fsck", 60).check().startswith("sound")
    held = len(arrived(school.server))
    install(school.server, debian_package("collector", version=NEXT_VERSION))
    assert len(arrived(school.server)) == held
    school.server.sh("dpkg --purge schoolkeeper-collector", 60).check()
    assert school.server.sh("ls /var/lib/schoolkeeper-collector/collector.db").rc == 0
    install(school.server, debian_package("collector"))
    assert len(arrived(school.server)) == held
    assert school.server.sh("schoolkeeper-collector fsck", 60).check().startswith("sound")


def _is_open(machine: Laptop, port: int) -> Callable[[], bool]:
    program = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
    return lambda: machine.sh(f"python3 -c {shlex.quote(program)}").rc == 0


def _leave_idle(laptop: Laptop, desktop: Desktop) -> None:
    """What a desktop tells logind when nobody has touched it; the lab's X server does so only together with a lock."""
    login1 = "org.freedesktop.login1"
    asked = f"busctl --json=short call {login1} /org/freedesktop/login1 {login1}.Manager GetSession s {desktop.session}"
    path = json.loads(laptop.sh(asked).check())["data"][0]
    laptop.sh(f"busctl call {login1} {path} {login1}.Session SetIdleHint b true").check()


def _nothing_twice(school: School) -> None:
    found = arrived(school.server)
    twice = [event for event, times in Counter(e.id for e in found).items() if times > 1]
    assert twice == []
