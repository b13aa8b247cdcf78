"""Ways round the network's rules, seen: by pure signs, and by the sensor in a namespace with real links and files."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.observations import BypassSeen
from schoolkeeper_agent.sensors.linux.bypass import BypassSensor
from schoolkeeper_agent.sensors.linux.bypass_links import Link, links, parse
from schoolkeeper_agent.sensors.linux.bypass_signs import (
    Facts,
    allowed_by,
    changes,
    default_links,
    listening_ports,
    marks,
    signs,
)
from schoolkeeper_proto import policy
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import NetworkUse
from support import netns
from support.core_playbook import bundle_of

OWN = b"\x02\x00\x00\x00\x00\x01"
REAL = Link(name="eth0", hardware=1, up=True, address=OWN, permanent=OWN)


def techniques(**facts: object) -> list[str]:
    return sorted(sign.technique for sign in signs(Facts(**facts)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({}, []),
        ({"links": (REAL, Link(name="docker0", hardware=1, up=True, kind="bridge"))}, []),
        ({"links": (Link(name="wg0", hardware=65534, up=True, kind="wireguard"),)}, ["vpn"]),
        ({"links": (Link(name="wg0", hardware=65534, up=False, kind="wireguard"),)}, []),
        ({"links": (Link(name="tun0", hardware=65534, up=True, kind="tun"),)}, ["vpn"]),
        ({"links": (Link(name="vnet0", hardware=1, up=True, kind="tun"),)}, []),
        ({"links": (Link(name="sit0", hardware=776, up=True, kind="sit"),)}, []),
        ({"links": (Link(name="eth0", hardware=1, up=True, address=b"\x06" * 6, permanent=OWN),)}, ["mac"]),
        ({"drivers": {"usb0": "rndis_host"}, "default_links": frozenset({"usb0"})}, ["tethering"]),
        ({"drivers": {"usb0": "rndis_host"}, "default_links": frozenset({"eth0"})}, []),
        ({"drivers": {"eth1": "r8152"}, "default_links": frozenset({"eth1"})}, []),
        ({"resolver": "nameserver 10.0.0.1\n"}, []),
        ({"resolver": "# mine\nnameserver 1.1.1.1\n"}, ["dns"]),
        ({"resolver": "nameserver 2606:4700:4700::1111\n"}, ["dns"]),
        ({"resolved": "[Resolve]\nDNSOverTLS=opportunistic\n"}, ["dns"]),
        ({"resolved": "[Resolve]\n#DNSOverTLS=yes\nDNSOverTLS=no\n"}, []),
        ({"resolved": "DNS=9.9.9.9#dns.quad9.net\n"}, ["dns"]),
        ({"environment": 'https_proxy="http://ada:secret@proxy.example:3128/"\n'}, ["proxy"]),
        ({"environment": "#http_proxy=http://a:1\nno_proxy=localhost\nPATH=/bin\n"}, []),
        ({"command_line": "BOOT_IMAGE=/vmlinuz root=/dev/sda1 quiet"}, []),
        ({"command_line": "boot=casper quiet splash"}, ["live-boot"]),
        ({"listening": frozenset({9150})}, ["tor"]),
    ],
)
def test_what_is_a_sign_and_what_is_an_ordinary_machine(facts: dict[str, object], found: list[str]) -> None:
    assert techniques(**facts) == found


def test_a_sign_says_what_was_seen_and_no_secret() -> None:
    (sign,) = signs(Facts(environment="all_proxy=socks5://ada:secret@proxy.example:1080\n"))
    assert sign.evidence == "a proxy is set for everybody: proxy.example:1080"


def test_a_change_is_told_once_and_names_nobody() -> None:
    before = marks(Facts(hosts="127.0.0.1 localhost\n", hostname="laptop-7"))
    same = marks(Facts(hosts="# a note\n127.0.0.1   localhost\nff02::1 ip6-allnodes\n", hostname="laptop-7"))
    assert changes(before, same) == frozenset()
    now = marks(
        Facts(hosts="127.0.0.1 localhost\n10.9.9.9 site.example\n", hostname="other", resolved="DNS=10.1.1.1")
    )
    found = changes(before, now)
    assert sorted(sign.technique for sign in found) == ["dns", "hostname", "hosts"]
    assert "site.example" not in str(found)
    assert "other entries: 1 before, 2 now" in str(found)
    assert "site.example" not in json.dumps(now)
    assert changes({}, now) == frozenset(), "the first look compares with nothing"


def test_what_the_policy_allows_is_no_sign() -> None:
    text = policy.RuleText(rule_id="vpn")
    rule = policy.NetworkRule(text=text, use=NetworkUse.TUNNEL, decision=DecisionKind.ALLOW)
    assert allowed_by([rule]) == {"vpn"}
    refused = policy.NetworkRule(text=text, use=NetworkUse.TUNNEL, decision=DecisionKind.BLOCK)
    assert allowed_by([refused]) == frozenset()
    tunnel = Facts(links=(Link(name="wg0", hardware=65534, up=True, kind="wireguard"),))
    assert signs(tunnel, allowed=frozenset({"vpn"})) == frozenset()


def test_tables_of_the_kernel_are_read() -> None:
    tcp = "  sl  local_address\n   0: 0100007F:235A 00000000:0000 0A 0\n   1: 0100007F:0016 0A0B:1 01 0\n"
    assert listening_ports((tcp, "")) == {9050}
    four = "Iface\tDest\nusb0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    six = f"{'0' * 32} 00 {'0' * 32} 00 {'f' * 32} 00000400 0 0 00000001 wlan0\n"
    assert default_links(four, six) == {"usb0", "wlan0"}
    assert "lo" in {link.name for link in links()}
    assert parse(b"\x01\x00") == ([], False)
    assert parse(b"\x08\x00\x00\x00" + bytes(12)) == ([], True), "a length that cannot be ends the dump"


async def _watch(sensor: BypassSensor, steps: list[tuple[Callable[[], object], str]]) -> list[BypassSeen]:
    """Each step is done once the one before was seen."""
    seen: list[BypassSeen] = []
    running = asyncio.create_task(sensor.run(seen.append))  # type: ignore[arg-type]
    try:
        for number, (act, wanted) in enumerate(steps, start=1):
            await asyncio.sleep(0.2)
            act()
            async with asyncio.timeout(60):
                while len(seen) < number:  # noqa: ASYNC110 - a real sensor, waited for
                    await asyncio.sleep(0.05)
            assert seen[-1].technique == wanted, seen
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return seen


@pytest.mark.skipif(bool(netns.missing()), reason=netns.missing() or "-")
@pytest.mark.timeout(300)
def test_the_sensor_is_told_by_the_kernel_and_tells_each_thing_once(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    (etc / "systemd/resolved.conf.d").mkdir(parents=True)
    (etc / "hosts").write_text("127.0.0.1 localhost\n")
    (etc / "resolv.conf").write_text("nameserver 10.0.0.1\n")
    (etc / "environment").write_text("")
    proc = tmp_path / "proc"
    (proc / "net").mkdir(parents=True)
    (proc / "sys/kernel").mkdir(parents=True)
    (proc / "sys/kernel/hostname").write_text("laptop-7\n")
    context = Context(
        bundle=bundle_of(), run_dir=tmp_path, state_dir=tmp_path / "state", etc_root=etc, proc_root=proc,
        sys_root=tmp_path / "sys",
    )  # fmt: skip

    def tunnel() -> None:
        subprocess.run(["ip", "link", "add", "gre7", "type", "gre", "local", "10.77.1.1"], check=False)
        subprocess.run(["ip", "tuntap", "add", "dev", "tun7", "mode", "tun"], check=False)
        for name in ("gre7", "tun7"):
            if subprocess.run(["ip", "link", "set", name, "up"], check=False).returncode == 0:
                return
        pytest.skip("the kernel here makes neither tun nor gre")

    def replaced() -> None:
        new = etc / "hosts.new"
        new.write_text("127.0.0.1 localhost\n10.0.0.9 filter.example\n")
        new.rename(etc / "hosts")

    steps: list[tuple[Callable[[], object], str]] = [
        (tunnel, "vpn"),
        (replaced, "hosts"),
        (lambda: (etc / "resolv.conf").write_text("nameserver 8.8.8.8\n"), "dns"),
        (lambda: (etc / "environment").write_text("http_proxy=http://10.0.0.7:8080\n"), "proxy"),
    ]

    def work() -> list[BypassSeen]:
        return asyncio.run(_watch(BypassSensor(context, settle_s=0.05), steps))

    with netns.cable() as lab:
        seen = netns.inside(lab.device, work)
        assert [one.technique for one in seen] == ["vpn", "hosts", "dns", "proxy"], "each once"
        # The next run: what stands is told again, what changed before is not, and what changed meanwhile is.
        (proc / "sys/kernel/hostname").write_text("somebody-else\n")

        async def first_look() -> list[BypassSeen]:
            again: list[BypassSeen] = []
            running = asyncio.create_task(BypassSensor(context).run(again.append))  # type: ignore[arg-type]
            await asyncio.sleep(0.3)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            return again

        later = netns.inside(lab.device, lambda: asyncio.run(first_look()))
    assert sorted(one.technique for one in later) == ["dns", "hostname", "proxy", "vpn"]
