"""Isolation by the kernel's own packet filter, in a namespace: what gets out, what is cut, what comes back."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import Isolate, LiftIsolation
from schoolkeeper_agent.enforcers.linux import isolation_names
from schoolkeeper_agent.enforcers.linux.isolation import IsolationEnforcer
from schoolkeeper_agent.enforcers.linux.isolation_rules import Endpoint, ruleset
from schoolkeeper_agent.observations import IsolationTried
from schoolkeeper_agent.seams import Outcome
from support import netns
from support.core_playbook import bundle_of
from support.netns import COLLECTOR4, COLLECTOR6, DEVICE4, DEVICE6, WEB4, WEB6, Cable, inside, takes

ROOT = Path(__file__).parents[3]
GRANT = bytes(range(16))
UPLINK, WEB, DNS, OWN = 7444, 80, 53, 22
pytestmark = [
    pytest.mark.skipif(bool(netns.missing()), reason=netns.missing() or "-"),
    pytest.mark.timeout(300),
]


@pytest.fixture
def lab() -> Iterator[Cable]:
    with netns.cable() as made:
        for address in (COLLECTOR4, COLLECTOR6):
            made.serve(address, UPLINK)
            made.serve(address, WEB)
        for address in (WEB4, WEB6):
            made.serve(address, WEB)
            made.serve(address, DNS)
            made.serve(address, UPLINK)
        for address in (DEVICE4, DEVICE6):
            made.serve(address, OWN, on=made.device)
        for _ in range(10):  # the cable's ends find each other
            if all(reach(made, *ITS_OWN)):
                break
        yield made


class Device:
    """An enforcer in the device's namespace, and what it said."""

    def __init__(self, lab: Cable, folder: Path, *, heard: bool = False, **options: object) -> None:
        self.lab = lab
        self.heard = 0
        self.said: list[object] = []
        self.collectors: tuple[str, ...] = (f"{COLLECTOR4}:{UPLINK}", f"[{COLLECTOR6}]:{UPLINK}")
        self._hears = heard
        context = Context(
            bundle=bundle_of(),
            run_dir=folder / "run",
            state_dir=folder / "state",
            etc_root=folder / "etc",
            run_root=folder / "run",
            collectors=lambda: self.collectors,
            heard=self._heard,
        )
        self.enforcer = IsolationEnforcer(context, self.said.append, patience_s=0.4, **options)  # type: ignore[arg-type]
        self.folder = folder / "state" / "isolation"

    def _heard(self) -> int:
        self.heard += self._hears
        return self.heard

    def does(self, action: object, *, until_said: int = 0) -> Outcome:
        """Performs it in the namespace, and waits until the self-test has said so many things."""

        async def work() -> Outcome:
            outcome = await self.enforcer.perform(action)
            await until(lambda: len(self.said) >= until_said)
            await self.enforcer.close()
            return outcome

        return inside(self.lab.device, lambda: asyncio.run(work()))

    @property
    def states(self) -> list[str]:
        return [one.state for one in self.said if isinstance(one, IsolationTried)]


async def until(done: Callable[[], bool]) -> None:
    for _ in range(600):
        if done():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not within half a minute")


def reach(lab: Cable, *places: tuple[str, int]) -> list[bool]:
    return inside(lab.device, lambda: [takes(address, port) for address, port in places])


def tables(lab: Cable) -> str:
    return inside(
        lab.device,
        lambda: subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout,
    )


def echoes(connected: socket.socket, word: bytes) -> bool:
    connected.settimeout(0.7)
    try:
        connected.sendall(word)
        return connected.recv(100) == word
    except OSError:
        return False


def asks(address: str, word: bytes = b"who") -> bool:
    """A datagram to a name server that is answered."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.5)
        try:
            asking.sendto(word, (address, DNS))
            return asking.recv(100) == word
        except OSError:
            return False


OTHERS = ((WEB4, WEB), (WEB6, WEB), (WEB4, UPLINK), (WEB6, UPLINK), (COLLECTOR4, WEB), (COLLECTOR6, WEB))
TRACKING = (
    "table inet own { chain out { type filter hook output priority 0; ct state established,new accept; }; }"
)
ITS_OWN = ((COLLECTOR4, UPLINK), (COLLECTOR6, UPLINK))


@pytest.mark.requirement("T-62")
def test_only_the_collector_is_reached_by_both_protocols_and_everything_else_is_cut(
    lab: Cable, tmp_path: Path
) -> None:
    device = Device(lab, tmp_path, heard=True)
    # A firewall of the machine's own, so that the kernel knows connections from their first packet.
    inside(lab.device, lambda: subprocess.run(["nft", TRACKING], check=True, capture_output=True))
    before = tables(lab)
    assert reach(lab, *ITS_OWN, *OTHERS) == [True] * 8
    assert inside(lab.device, lambda: (asks(WEB4), asks(WEB6))) == (True, True)
    assert inside(lab.outside, lambda: takes(DEVICE4, OWN) and takes(DEVICE6, OWN))
    outgoing = inside(lab.device, lambda: [socket.create_connection((a, WEB), 2) for a in (WEB4, WEB6)])
    incoming = inside(
        lab.outside, lambda: [socket.create_connection((a, OWN), 2) for a in (DEVICE4, DEVICE6)]
    )
    kept = inside(lab.device, lambda: socket.create_connection((COLLECTOR4, UPLINK), 2))
    assert all(echoes(one, b"before") for one in (*outgoing, *incoming, kept))

    outcome = device.does(Isolate(grant_id=GRANT), until_said=1)
    assert outcome.succeeded, outcome.detail
    assert device.states == ["on"]
    assert reach(lab, *ITS_OWN) == [True, True], "the school goes on to see it"
    assert echoes(kept, b"after"), "the uplink's own connection is not cut"
    assert reach(lab, *OTHERS) == [False] * 6
    out = inside(lab.device, lambda: (asks(WEB4, b"leak"), asks(WEB6, b"leak")))
    assert out == (False, False), "no open port 53"
    assert inside(lab.outside, lambda: (takes(DEVICE4, OWN), takes(DEVICE6, OWN))) == (False, False)
    assert not any(echoes(one, b"leak") for one in (*outgoing, *incoming)), "what stood before is cut"
    assert b"leak" not in lab.got, "neither way: what is sent does not arrive, answer or no answer"

    lifted = device.does(LiftIsolation())
    assert lifted.succeeded
    assert lifted.detail.startswith(GRANT.hex())
    assert reach(lab, *ITS_OWN, *OTHERS) == [True] * 8
    assert re.sub(r"packets \d+ bytes \d+", "", tables(lab)) == before, "nothing is left"
    assert [path.name for path in device.folder.iterdir()] == ["addresses.json"]
    for one in (*outgoing, *incoming, kept):
        one.close()


@pytest.mark.requirement("T-62")
def test_it_stays_without_the_agent_and_another_firewall_changes_nothing_of_it(
    lab: Cable, tmp_path: Path
) -> None:
    first = Device(lab, tmp_path, heard=True)
    others = "table inet mine { chain out { type filter hook output priority 0; policy accept; accept; }; }"
    inside(lab.device, lambda: subprocess.run(["nft", others], check=True, capture_output=True))
    before = tables(lab)
    assert first.does(Isolate(grant_id=GRANT), until_said=1).succeeded
    assert reach(lab, *ITS_OWN, *OTHERS) == [True] * 2 + [False] * 6

    # The agent's next run: the same isolation, since when it was; then it is lifted by one that knows only the files.
    again = Device(lab, tmp_path, heard=True)
    since = (again.folder / "state.json").read_text()
    assert again.does(Isolate(grant_id=GRANT), until_said=1).succeeded
    assert (again.folder / "state.json").read_text() == since
    assert Device(lab, tmp_path).does(LiftIsolation()).detail.startswith(GRANT.hex())
    assert tables(lab) == before, "nobody else's table was touched"
    assert Device(lab, tmp_path).does(LiftIsolation()).detail == "", (
        "there is nothing to lift, and nothing is said"
    )


def test_the_text_on_the_disk_isolates_at_boot_by_the_unit_s_own_command(lab: Cable, tmp_path: Path) -> None:
    """As after a restart: the table is gone, the file is there, no agent runs."""
    device = Device(lab, tmp_path, heard=True)
    assert device.does(Isolate(grant_id=GRANT), until_said=1).succeeded
    inside(lab.device, lambda: subprocess.run(["nft", "flush", "ruleset"], check=True))
    assert reach(lab, (WEB4, WEB)) == [True]

    unit = (ROOT / "packaging/linux/agent/schoolkeeper-isolation.service").read_text()
    (command,) = re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    (file,) = re.findall(r"^ConditionPathExists=(.+)$", unit, re.MULTILINE)
    assert file in command.split()
    here = command.replace(file, str(device.folder / "rules.nft")).split()
    inside(lab.device, lambda: subprocess.run(here, check=True))
    assert reach(lab, *ITS_OWN, *OTHERS) == [True] * 2 + [False] * 6
    assert "Before=network-pre.target" in unit
    assert not re.search(r"^ExecStop", unit, re.MULTILINE), "stopping the unit lets nobody out"


def nothing_out(_allowed: object) -> str:
    """A table that is to blame: it forgets the collector."""
    return ruleset(())


def test_a_table_that_cuts_off_the_collector_is_rolled_back_told_and_tried_again(
    lab: Cable, tmp_path: Path
) -> None:
    device = Device(lab, tmp_path, rules=nothing_out, again_s=(30.0,))
    device.does(Isolate(grant_id=GRANT), until_said=1)
    assert device.states == ["rolled-back"]
    assert reach(lab, (COLLECTOR4, UPLINK), (WEB4, WEB)) == [True, True]
    assert tables(lab) == ""
    assert not (device.folder / "rules.nft").exists(), "the next start does not cut it off either"

    # Tried again: as long as it is wrong it goes each time, and that is said once; once it is right it stays.
    broken = [True, True, False]

    def mended(allowed: object) -> str:
        return nothing_out(allowed) if broken.pop(0) else ruleset([Endpoint(COLLECTOR4, UPLINK)])

    later = Device(lab, tmp_path, rules=mended, again_s=(0.1,))

    async def tried() -> None:
        await later.enforcer.perform(Isolate(grant_id=GRANT))
        await until(lambda: not broken and "not-confirmed" in later.states)
        await later.enforcer.close()

    inside(lab.device, lambda: asyncio.run(tried()))
    assert later.states == ["rolled-back", "not-confirmed"]
    assert reach(lab, (COLLECTOR4, UPLINK), (WEB4, WEB)) == [True, False]


def test_a_pulled_cable_rolls_nothing_back(lab: Cable, tmp_path: Path) -> None:
    device = Device(lab, tmp_path)
    device.collectors = ("10.77.1.99:7444",)
    device.does(Isolate(grant_id=GRANT), until_said=1)
    assert device.states == ["not-confirmed"]
    assert "with or without" in str(device.said)
    assert reach(lab, (WEB4, WEB)) == [False]


def test_without_an_address_nothing_is_done_at_all(lab: Cable, tmp_path: Path) -> None:
    device = Device(lab, tmp_path)
    device.collectors = ("collector.invalid:7444",)
    outcome = device.does(Isolate(grant_id=GRANT))
    assert not outcome.succeeded
    assert "no address of the collector" in outcome.detail
    assert tables(lab) == ""
    assert not (device.folder / "rules.nft").exists()


def test_a_name_that_cannot_be_resolved_any_more_keeps_its_last_address(lab: Cable, tmp_path: Path) -> None:
    device = Device(lab, tmp_path, heard=True)
    device.collectors = (f"localhost:{UPLINK}", f"{COLLECTOR4}:{UPLINK}")
    assert device.does(Isolate(grant_id=GRANT), until_said=1).succeeded
    assert "127.0.0.1" in (device.folder / "addresses.json").read_text()
    device.does(LiftIsolation())
    known = device.folder / "addresses.json"
    known.write_text(known.read_text().replace("localhost", "gone.invalid"))
    device.collectors = (f"gone.invalid:{UPLINK}",)
    assert device.does(Isolate(grant_id=GRANT)).succeeded
    assert "127.0.0.1" in (device.folder / "state.json").read_text()


def test_a_collector_that_moved_is_found_again_and_no_port_53_is_opened(lab: Cable, tmp_path: Path) -> None:
    device = Device(lab, tmp_path, again_s=(0.1,))
    device.collectors = (f"collector.test:{UPLINK}",)
    device.folder.mkdir(parents=True)
    known = {f"collector.test:{UPLINK}": [["10.77.1.99", UPLINK]]}
    (device.folder / "addresses.json").write_text(json.dumps(known))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_text(f"nameserver 127.0.0.53\nnameserver {COLLECTOR4}\n")
    names = inside(lab.outside, _name_server)
    with names:
        threading.Thread(target=_answer_names, args=(names,), daemon=True).start()

        async def work() -> None:
            await device.enforcer.perform(Isolate(grant_id=GRANT))
            assert not takes(COLLECTOR4, UPLINK, 0.2), "nobody knows yet that it is there"
            await until(lambda: takes(COLLECTOR4, UPLINK, 0.2))
            await device.enforcer.close()

        inside(lab.device, lambda: asyncio.run(work()))
        assert reach(lab, (COLLECTOR4, UPLINK), (WEB4, WEB)) == [True, False]
        assert COLLECTOR4 in (device.folder / "rules.nft").read_text()
        assert inside(lab.device, lambda: asks(COLLECTOR4)) is False
    assert "rolled-back" not in device.states


def _name_server() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((COLLECTOR4, DNS))
    return made


def _answer_names(server: socket.socket) -> None:
    """The collector's address for whatever is asked, behind a pointer to the name, as name servers write it."""
    while True:
        try:
            asked, whom = server.recvfrom(512)
        except OSError:
            return
        if len(asked) < 20:
            server.sendto(asked, whom)  # an echo, for who only wants to know whether the port is open
            continue
        kind = asked[-4:-2]
        answer = b"\xc0\x0c" + kind + b"\0\x01\0\0\0\x3c\0\x04" + socket.inet_aton(COLLECTOR4)
        count = 1 if kind == b"\0\x01" else 0
        head = asked[:2] + b"\x81\x80\0\x01" + bytes([0, count]) + bytes(4)
        server.sendto(head + asked[12:] + answer * count, whom)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        bytes(11),
        b"\0\1\x81\x80\0\1\0\1\0\0\0\0" + b"\x3f" * 40,
        b"\0\1\x81\x83\0\0\0\0\0\0\0\0",
        b"\0\1" * 99,
    ],
)
def test_a_broken_answer_of_a_name_server_is_no_address(reply: bytes) -> None:
    assert isolation_names.answers(reply, 1) == []
    with pytest.raises(ValueError, match="no name"):
        isolation_names.question(1, "a..b", 1)


def test_names_are_looked_up_before_they_are_needed(lab: Cable, tmp_path: Path) -> None:
    device = Device(lab, tmp_path, know_s=0.05)
    device.collectors = (f"localhost:{UPLINK}",)
    known = device.folder / "addresses.json"

    async def work() -> None:
        await device.enforcer.perform(LiftIsolation())
        await until(known.exists)
        known.write_text("{}")
        await until(lambda: "127.0.0.1" in known.read_text())
        await device.enforcer.close()

    inside(lab.device, lambda: asyncio.run(work()))
    assert tables(lab) == ""


def test_a_person_gets_nowhere_through_the_collector_s_address(lab: Cable, tmp_path: Path) -> None:
    """A proxy among the addresses would be a way out for everybody."""
    assert Device(lab, tmp_path, heard=True).does(Isolate(grant_id=GRANT), until_said=1).succeeded
    ask = f"exec 3<>/dev/tcp/{COLLECTOR4}/{UPLINK}"

    def as_user(user: int) -> int:
        done = subprocess.run(
            ["/bin/bash", "-c", ask], user=user, capture_output=True, check=False, timeout=20
        )
        return done.returncode

    assert inside(lab.device, lambda: as_user(0)) == 0
    assert inside(lab.device, lambda: as_user(65534)) != 0


def test_no_text_of_others_gets_into_the_table() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        ruleset([Endpoint("10.0.0.1; flush ruleset", 7444)])
    with pytest.raises(ValueError, match="no port"):
        ruleset([Endpoint("10.0.0.1", 0)])
