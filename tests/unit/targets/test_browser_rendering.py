"""What browsers are told of a proxy, and what becomes of lists that are longer than they read."""

from __future__ import annotations

from pathlib import Path

import pytest

from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.targets.common import Platform
from schoolkeeper_policies.targets.exporters import export
from schoolkeeper_proto import policy
from schoolkeeper_proto.browser_policies import chromium, firefox
from schoolkeeper_proto.browser_sites import MOST_SITES
from schoolkeeper_proto.model import DecisionKind
from support.exports import rich_policy, text
from support.language import opened, pack


@pytest.mark.parametrize(
    ("proxy", "in_chromium", "in_firefox"),
    [
        ("direct", {"ProxyMode": "direct"}, {"Mode": "none"}),
        ("system", {"ProxyMode": "system"}, {"Mode": "system"}),
        (
            "proxy.school.example:3128",
            {"ProxyMode": "fixed_servers", "ProxyServer": "proxy.school.example:3128"},
            {"Mode": "manual", "HTTPProxy": "proxy.school.example:3128", "UseHTTPProxyForAllProtocols": True},
        ),
        (
            "https://school.example/p.pac",
            {
                "ProxyMode": "pac_script",
                "ProxyPacUrl": "https://school.example/p.pac",
                "ProxyPacMandatory": True,
            },
            {"Mode": "autoConfig", "AutoConfigURL": "https://school.example/p.pac"},
        ),
    ],
)
def test_a_proxy_is_fixed_from_the_pack_to_the_browsers(
    tmp_path: Path, proxy: str, in_chromium: dict[str, object], in_firefox: dict[str, object]
) -> None:
    said = f"browser:\n  - {{id: b, description: d, why: w, resolution: r, proxy: '{proxy}'}}\n"
    section = opened(pack(tmp_path, said), "ks2").browser
    assert chromium(section) == {"ProxySettings": in_chromium}
    assert firefox(section) == {"Proxy": in_firefox | {"Locked": True}}


@pytest.mark.parametrize("proxy", ["somewhere", "proxy.example", "ftp://x", "a b:80", "x:port"])
def test_a_proxy_that_is_none_is_refused_with_its_place(tmp_path: Path, proxy: str) -> None:
    said = f"browser:\n  - {{id: b, description: d, why: w, resolution: r, proxy: '{proxy}'}}\n"
    with pytest.raises(PolicyError, match="proxy"):
        opened(pack(tmp_path, said), "ks2")


def test_a_list_ends_where_browsers_stop_reading_and_that_is_said() -> None:
    sites = tuple(f"s{number}.example" for number in range(MOST_SITES + 5))
    section = policy.BrowserSection(
        rules=(policy.SiteRule(text=text("many"), decision=DecisionKind.BLOCK, sites=sites),)
    )
    assert chromium(section)["URLBlocklist"] == list(sites[:MOST_SITES])
    (found,) = export(rich_policy(section), [Platform.CHROMEOS])
    (line,) = [line for line in found.coverage if line.rule_id == "many"]
    assert "5 blocked addresses" in line.note
    everything = policy.SiteRule(text=text("all"), decision=DecisionKind.BLOCK, sites=("*",))
    both = policy.BrowserSection(rules=(*section.rules, everything))
    blocked = chromium(both)["URLBlocklist"]
    assert isinstance(blocked, list)
    assert blocked[0] == "*", "the entry that matters most is never the one that is left out"
    assert len(blocked) == MOST_SITES
