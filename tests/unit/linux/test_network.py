"""The place of a device, told from its gateway, and only the school can tell which network that is (T-29)."""

from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.sensors.linux import network
from schoolkeeper_agent.sensors.linux.network import NetworkSensor
from schoolkeeper_proto import policy
from schoolkeeper_proto.marks import mark_hash
from schoolkeeper_proto.model import Place
from schoolkeeper_proto.policy import MarkKind
from support.core_playbook import bundle_of

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
"""
NEIGHBOURS = """IP address       HW type     Flags       HW address            Mask     Device
10.0.0.1         0x1         0x2         AA:bb:cc:dd:ee:ff     *        eth0
192.168.1.1      0x1         0x0         00:00:00:00:00:00     *        wlan0
"""


KEY = b"k" * 32
GATEWAY = policy.NetworkMark(
    kind=MarkKind.GATEWAY_MAC, hash=mark_hash(KEY, MarkKind.GATEWAY_MAC, "aa:bb:cc:dd:ee:ff")
)
SSID = policy.NetworkMark(kind=MarkKind.SSID, hash=mark_hash(KEY, MarkKind.SSID, "Westgate"))
SUFFIX = policy.NetworkMark(
    kind=MarkKind.DNS_SUFFIX, hash=mark_hash(KEY, MarkKind.DNS_SUFFIX, "westgate.example")
)
ELSEWHERE = policy.NetworkMark(kind=MarkKind.GATEWAY_MAC, hash=b"e" * 16)
ONLY_WIRELESS = ROUTES.replace("eth0", "lo").replace("0100000A", "0101A8C0")


def sensor(
    folder: Path, routes: str, *marks: policy.NetworkMark, needed: int = 1, resolver: str = "", ssid: str = ""
) -> NetworkSensor:
    (folder / "net").mkdir(exist_ok=True)
    (folder / "net" / "route").write_text(routes)
    (folder / "net" / "arp").write_text(NEIGHBOURS)
    (folder / "resolv.conf").write_text(resolver)
    (folder / "class/net/lo/wireless").mkdir(parents=True, exist_ok=True)
    sites = (policy.Site(name="main", marks=marks, kinds_needed=needed),) if marks else ()
    bundle = bundle_of(policy.SitesSection(sites=sites))
    context = Context(bundle=bundle, run_dir=folder, proc_root=folder, sys_root=folder, etc_root=folder)
    return NetworkSensor(context, ssid=lambda _: ssid)


@pytest.mark.requirement("T-29")
def test_on_site_off_site_and_unknown(tmp_path: Path) -> None:
    assert sensor(tmp_path, ROUTES, GATEWAY).place().place is Place.ON_SITE
    assert sensor(tmp_path, ROUTES, ELSEWHERE).place().place is Place.OFF_SITE
    assert sensor(tmp_path, ROUTES).place().place is Place.UNKNOWN
    assert sensor(tmp_path, "", GATEWAY).place().place is Place.UNKNOWN
    assert sensor(tmp_path, ONLY_WIRELESS, GATEWAY).place().place is Place.UNKNOWN


@pytest.mark.requirement("T-29")
def test_as_many_kinds_of_marks_must_agree_as_the_policy_asks_for(tmp_path: Path) -> None:
    resolver = "# written by hand\nsearch home.example\nsearch WESTGATE.example. other.example\n"
    assert sensor(tmp_path, ROUTES, GATEWAY, SUFFIX, needed=2).place().place is Place.OFF_SITE
    both = sensor(tmp_path, ROUTES, GATEWAY, SUFFIX, needed=2, resolver=resolver)
    assert both.place().place is Place.ON_SITE
    # The gateway is not resolved; the wireless network's name alone is enough where one kind is.
    on_air = sensor(tmp_path, ONLY_WIRELESS, SSID, ssid="Westgate").place()
    assert (on_air.place, on_air.medium) == (Place.ON_SITE, "wireless")
    assert sensor(tmp_path, ONLY_WIRELESS, SSID, ssid="westgate").place().place is Place.UNKNOWN


def test_an_interface_without_radio_is_on_no_wireless_network() -> None:
    assert network.ssid_of("lo") == ""
    assert network.ssid_of("no-such-interface") == ""


def test_the_gateway_of_the_lowest_metric_counts_and_nonsense_does_not() -> None:
    assert network.default_gateway(ROUTES) == ("eth0", "10.0.0.1")
    for wrong in (
        "",
        "x",
        "a\nb c d e f g h i",
        "h\neth0\t00000000\tZZ\t3\t0\t0\t1\t00000000",
        "h\n../x\t00000000\t0101A8C0\t3\t0\t0\t1\t00000000",
    ):
        assert network.default_gateway(wrong) is None
