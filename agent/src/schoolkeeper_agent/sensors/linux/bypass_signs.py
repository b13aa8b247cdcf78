"""Signs that the school's network rules are gone round, from what the machine shows. Pure; never names or contents.

A *sign* stands as long as it is there (a tunnel is up); a *mark* is a fact that may not change unseen (the hosts file).
Marks are kept from run to run, so that a change while the agent was off is seen, too.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from schoolkeeper_agent.sensors.linux.bypass_links import ETHERNET, Link
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import NetworkRule, NetworkUse

TUNNELS = frozenset(
    {"wireguard", "ipip", "gre", "gretap", "sit", "ip6tnl", "ip6gre", "vti", "vti6", "xfrm", "ppp", "l2tp"}
)
_NO_HARDWARE = 65_534
"""ARPHRD_NONE: a tun device carries packets; a tap device, which virtual machines use, looks like Ethernet."""
_FALLBACK = frozenset(
    {"tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "ip6gre0", "ip_vti0", "ip6_vti0", "erspan0"}
)
PHONES = frozenset({"rndis_host", "ipheth", "bnep"})
"""Drivers that only a phone's network has; a dock's network looks like cdc_ncm or r8152 and is left alone."""
TOR_PORTS = frozenset({9050, 9051, 9150, 9151})
PUBLIC_RESOLVERS = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "1.1.1.1", "1.0.0.1", "1.1.1.2", "1.1.1.3", "8.8.8.8", "8.8.4.4", "9.9.9.9", "9.9.9.10", "9.9.9.11",
        "149.112.112.112", "208.67.222.222", "208.67.220.220", "94.140.14.14", "94.140.15.15", "76.76.2.0",
        "185.228.168.9", "2606:4700:4700::1111", "2606:4700:4700::1001", "2001:4860:4860::8888",
        "2001:4860:4860::8844", "2620:fe::fe", "2620:fe::9", "2620:119:35::35", "2a10:50c0::ad1:ff",
    )
)  # fmt: skip
"""Name servers that anybody may use, by their operators' own pages (Cloudflare, Google, Quad9, OpenDNS, AdGuard)."""
_LIVE = re.compile(r"(?:^|\s)(boot=live|boot=casper|rd\.live\.image|archisobasedir=\S+|toram)(?:\s|$)")
_PROXY = re.compile(
    r"^\s*(?:export\s+)?(?:https?|all|ftp|socks)_proxy\s*=\s*[\"']?(\S+?)[\"']?\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_MOST = 64
ALLOWED_BY = {
    NetworkUse.TUNNEL: "vpn",
    NetworkUse.TETHERING: "tethering",
    NetworkUse.OTHER_NAME_SERVERS: "dns",
    NetworkUse.OTHER_PROXY: "proxy",
}
"""Which technique a rule of the policy is about."""


@dataclass(frozen=True, slots=True, order=True)
class Sign:
    """``technique`` is one of the words of event.proto; ``evidence`` for a technician."""

    technique: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read: text of files ("" when missing), links, drivers and default routes by link name."""

    links: tuple[Link, ...] = ()
    drivers: Mapping[str, str] = field(default_factory=dict)
    default_links: frozenset[str] = frozenset()
    resolver: str = ""
    resolved: str = ""
    hosts: str = ""
    environment: str = ""
    hostname: str = ""
    command_line: str = ""
    listening: frozenset[int] = frozenset()


def signs(facts: Facts, *, allowed: frozenset[str] = frozenset()) -> frozenset[Sign]:
    """What stands now. ``allowed``: techniques that the school's policy allows."""
    found = {
        *_tunnels(facts.links),
        *_tethering(facts),
        *_resolvers(facts),
        *_proxies(facts.environment),
        *_addresses(facts.links),
        *(Sign("live-boot", f"started with {word}") for word in _LIVE.findall(facts.command_line)),
        *(Sign("tor", f"something listens on port {port}") for port in sorted(facts.listening & TOR_PORTS)),
    }
    return frozenset(sign for sign in found if sign.technique not in allowed)


def allowed_by(rules: Iterable[NetworkRule]) -> frozenset[str]:
    """Techniques that the school's policy allows everybody and always; a rule with conditions allows none here."""
    open_rules = [rule for rule in rules if rule.decision is DecisionKind.ALLOW and rule.when is None]
    return frozenset(
        ALLOWED_BY[rule.use] for rule in open_rules if rule.use in ALLOWED_BY and not rule.allowed
    )


def marks(facts: Facts) -> dict[str, str]:
    """What may not change unseen, each as a number or a hash: nothing of it can be read back."""
    return {
        "hosts": _hash("\n".join(sorted(_entries(facts.hosts)))),
        "hosts_count": str(len(_entries(facts.hosts))),
        "hostname": _hash(facts.hostname),
        "resolved": _hash("\n".join(_settings(facts.resolved))),
    }


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> frozenset[Sign]:
    """What is another than it was; nothing for what was never looked at."""
    found: set[Sign] = set()

    def other(name: str) -> bool:
        return name in before and before[name] != now[name]

    if other("hosts"):
        was, is_now = before.get("hosts_count", "?"), now["hosts_count"]
        found.add(Sign("hosts", f"/etc/hosts has other entries: {was} before, {is_now} now"))
    if other("hostname"):
        found.add(Sign("hostname", "the machine has another name"))
    if other("resolved"):
        found.add(Sign("dns", "the settings of systemd-resolved were changed"))
    return frozenset(found)


def listening_ports(tables: Iterable[str]) -> frozenset[int]:
    """Ports of TCP that something listens on, from /proc/net/tcp and tcp6."""
    found: set[int] = set()
    for table in tables:
        for line in table.split("\n")[1:]:
            fields = line.split()
            if len(fields) > 3 and fields[3] == "0A":
                try:
                    found.add(int(fields[1].rpartition(":")[2], 16))
                except ValueError:
                    continue
    return frozenset(found)


def default_links(routes: str, routes6: str) -> frozenset[str]:
    """Links that a default route leads over, from /proc/net/route and ipv6_route."""
    found = set()
    for line in routes.split("\n")[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000":
            found.add(fields[0])
    for line in routes6.split("\n"):
        fields = line.split()
        if len(fields) > 9 and fields[0] == "0" * 32 and fields[1] == "00" and fields[9] != "lo":
            found.add(fields[9])
    return frozenset(found)


def _tunnels(links: Iterable[Link]) -> Iterable[Sign]:
    for link in links:
        tun = link.kind == "tun" and link.hardware == _NO_HARDWARE
        if link.up and link.name not in _FALLBACK and (link.kind in TUNNELS or tun or link.hardware == 512):
            yield Sign("vpn", f"a tunnel is up: {link.name} ({link.kind or 'ppp'})")


def _tethering(facts: Facts) -> Iterable[Sign]:
    for name in sorted(facts.default_links):
        driver = facts.drivers.get(name, "")
        if driver in PHONES:
            yield Sign("tethering", f"the way to the internet leads over a phone: {name} ({driver})")


def _addresses(links: Iterable[Link]) -> Iterable[Sign]:
    for link in links:
        real = link.hardware == ETHERNET and link.up and len(link.permanent) == 6 and any(link.permanent)
        if real and link.address != link.permanent:
            yield Sign("mac", f"{link.name} shows another hardware address than its own")


def _resolvers(facts: Facts) -> Iterable[Sign]:
    seen: dict[str, str] = {}
    for line in facts.resolver.split("\n"):
        word, _, rest = line.strip().partition(" ")
        if word == "nameserver":
            seen[rest.strip().partition("%")[0]] = "resolv.conf"
    for setting in _settings(facts.resolved):
        name, _, value = setting.partition("=")
        if name == "dnsovertls" and value in ("yes", "true", "1", "opportunistic", "on"):
            yield Sign("dns", "systemd-resolved asks name servers in secret (DNSOverTLS)")
        elif name in ("dns", "fallbackdns"):
            for server in value.split():
                seen[server.partition("#")[0].partition("%")[0].strip("[]")] = "systemd-resolved"
    for text, where in list(seen.items())[:_MOST]:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        if address in PUBLIC_RESOLVERS:
            yield Sign("dns", f"a public name server is set in {where}: {address}")


def _proxies(environment: str) -> Iterable[Sign]:
    for value in _PROXY.findall(environment)[:_MOST]:
        place = value.rpartition("@")[2].partition("://")[2] or value.rpartition("@")[2]
        yield Sign("proxy", f"a proxy is set for everybody: {place.rstrip('/')[:100]}")


def _entries(hosts: str) -> frozenset[str]:
    """Lines of /etc/hosts that mean something, without comments and what every system has."""
    found = set()
    for line in hosts.split("\n"):
        fields = line.partition("#")[0].split()
        if len(fields) > 1 and not fields[0].startswith(("ff0", "fe0")):
            found.add(" ".join(fields))
    return frozenset(found)


def _settings(text: str) -> list[str]:
    found = []
    for line in text.split("\n"):
        name, separator, value = line.strip().partition("=")
        if separator and not name.startswith(("#", ";")):
            found.append(f"{name.strip().lower()}={value.strip().lower()}")
    return found[:_MOST]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]
