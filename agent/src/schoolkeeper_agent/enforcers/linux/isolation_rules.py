"""The nftables table of an isolation, as text: what gets out and in, and nothing else. Pure (nft(8); T-62).

One table of family inet holds for IPv4 and IPv6. A drop in any base chain is final, so that no other table can let out
again what this one drops; another table may still drop more. No chain accepts what was merely 'established' before.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

FAMILY, TABLE = "inet", "schoolkeeper_isolation"
PROBE_MARK = 0x5343_4B31
"""Of the self-test's own sockets, which go round the table to tell a broken network from a broken table. Only a process
with CAP_NET_ADMIN can set it (socket(7))."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A numeric address and a port of TCP."""

    address: str
    port: int


def ruleset(allowed: Iterable[Endpoint]) -> str:
    """Loaded by ``nft -f`` it replaces the table in one transaction, whether there was one or not.

    ``allowed``: the collector's addresses. Only root's own sockets reach them: with a proxy among them nobody else
    gets out through it. Raises ``ValueError`` for an address that is not numeric: no text of others gets in here.
    """
    four: list[str] = []
    six: list[str] = []
    for one in sorted(set(allowed)):
        address = ipaddress.ip_address(one.address)
        if not 0 < one.port < 65_536:
            raise ValueError(f"{one.port} is no port")
        (four if address.version == 4 else six).append(f"{address} . {one.port}")
    return _TEMPLATE.format(
        table=f"{FAMILY} {TABLE}", mark=PROBE_MARK, four=_elements(four), six=_elements(six)
    )


def _elements(found: list[str]) -> str:
    return f"elements = {{ {', '.join(found)} }}" if found else ""


_TEMPLATE = """\
add table {table}
delete table {table}
table {table} {{
  counter cut_out {{ }}
  counter cut_in {{ }}
  set collectors4 {{ type ipv4_addr . inet_service; {four} }}
  set collectors6 {{ type ipv6_addr . inet_service; {six} }}
  chain out {{
    type filter hook output priority -160; policy drop;
    oif lo accept
    meta mark {mark} ct mark set meta mark accept
    meta skuid 0 ip daddr . tcp dport @collectors4 accept
    meta skuid 0 ip6 daddr . tcp dport @collectors6 accept
    udp sport 68 udp dport 67 limit rate 30/minute accept
    ip6 daddr {{ ff02::1:2, fe80::/10 }} udp sport 546 udp dport 547 limit rate 30/minute accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report }} accept
    meta l4proto tcp counter name cut_out reject with tcp reset
    counter name cut_out reject
  }}
  chain in {{
    type filter hook input priority -160; policy drop;
    iif lo accept
    ct mark {mark} accept
    ip saddr . tcp sport @collectors4 ct state established accept
    ip6 saddr . tcp sport @collectors6 ct state established accept
    udp sport 67 udp dport 68 accept
    ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, mld-listener-query }} accept
    meta l4proto {{ icmp, icmpv6 }} ct state related accept
    counter name cut_in drop
  }}
  chain pass {{
    type filter hook forward priority -160; policy drop;
  }}
}}
"""
