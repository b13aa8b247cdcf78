"""The place of a device, told from its gateway, and only the school can tell which network that is (T-29)."""

from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.sensors.linux import network
from schoolkeeper_agent.sensors.linux.network import NetworkSensor
from schoolkeeper_proto.model import Place
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


def sensor(folder: Path, routes: str, *, on_site: frozenset[bytes] = frozenset()) -> NetworkSensor:
    (folder / "net").mkdir(exist_ok=True)
    (folder / "net" / "route").write_text(routes)
    (folder / "net" / "arp").write_text(NEIGHBOURS)
    return NetworkSensor(
        Context(bundle=bundle_of(), run_dir=folder, proc_root=folder, sys_root=folder), on_site=on_site
    )


@pytest.mark.requirement("T-29")
def test_on_site_off_site_and_unknown(tmp_path: Path) -> None:
    school = network.network_hash(b"k" * 32, "aa:bb:cc:dd:ee:ff")
    assert sensor(tmp_path, ROUTES, on_site=frozenset({school})).place().place is Place.ON_SITE
    assert sensor(tmp_path, ROUTES, on_site=frozenset({b"other"})).place().place is Place.OFF_SITE
    assert sensor(tmp_path, ROUTES).place().place is Place.UNKNOWN
    assert sensor(tmp_path, "", on_site=frozenset({school})).place().place is Place.UNKNOWN
    only_wireless = ROUTES.replace("eth0", "lo").replace("0100000A", "0101A8C0")
    assert sensor(tmp_path, only_wireless, on_site=frozenset({school})).place().place is Place.UNKNOWN


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


def test_a_network_is_no_name_without_the_schools_key() -> None:
    assert network.network_hash(b"a", "aa:bb") != network.network_hash(b"b", "aa:bb")
