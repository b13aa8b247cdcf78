"""Firewall, secure boot and the agent's own files, from what the kernel and the package database say. Pure (T-43)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from schoolkeeper_agent.sensors.linux.posture_parsers import Finding, unknown
from schoolkeeper_proto.model import PostureResult

OWN_TABLES = "schoolkeeper"
"""Isolation is no firewall: what the agent itself put there is not counted."""


def secure_boot(variable: bytes | None, *, efi: bool) -> Finding:
    """From the UEFI variable SecureBoot: four bytes of attributes, then 1 or 0 (UEFI 2.10, 3.3)."""
    if not efi:
        return Finding(
            result=PostureResult.FAIL, evidence="started in BIOS mode, where there is no secure boot"
        )
    if variable is None or len(variable) != 5:
        return unknown("the firmware does not say (no UEFI variable SecureBoot)")
    if variable[4] == 1:
        return Finding(result=PostureResult.PASS, evidence="on")
    return Finding(result=PostureResult.FAIL, evidence="off in the firmware")


def firewall(ruleset: str | None) -> Finding:
    """What ``nft -j list ruleset`` says: IPv4 and IPv6 both refuse what nobody here asked for.

    A base chain of hook input counts when its policy is drop, or when it or a chain that it goes to ends in drop or
    reject for everything.
    """
    if ruleset is None:
        return unknown(
            "the kernel's packet filter could not be read: nft is not installed, or the right is missing"
        )
    try:
        found = json.loads(ruleset)["nftables"]
        items = [(kind, body) for one in found for kind, body in one.items() if isinstance(body, dict)]
        chains = [body for kind, body in items if kind == "chain" and not _own(body)]
        rules = [body for kind, body in items if kind == "rule" and not _own(body)]
        if any(not isinstance(one.get(key), str) for one in chains for key in ("family", "table", "name")):
            return unknown("nft's answer is not what this agent understands: a chain without a name")
        closed = {
            family
            for chain in chains
            if chain.get("hook") == "input" and (chain.get("policy") == "drop" or _closes(chain, rules, 4))
            for family in _families(str(chain["family"]))
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return unknown(f"nft's answer is not what this agent understands: {error}")
    open_to = [name for family, name in (("ip", "IPv4"), ("ip6", "IPv6")) if family not in closed]
    if open_to:
        return Finding(
            result=PostureResult.FAIL, evidence=f"open to whatever comes in by {' and '.join(open_to)}"
        )
    return Finding(result=PostureResult.PASS, evidence="what comes in unasked is refused, IPv4 and IPv6")


def _own(body: dict[str, object]) -> bool:
    return str(body.get("table", "")).startswith(OWN_TABLES)


def _families(family: str) -> tuple[str, ...]:
    return ("ip", "ip6") if family == "inet" else (family,)


def _closes(chain: dict[str, object], rules: Iterable[dict[str, object]], depth: int) -> bool:
    """Whether the chain's last rule takes everything that is left, without a condition, and refuses it."""
    here = [
        one
        for one in rules
        if (one.get("family"), one.get("table"), one.get("chain"))
        == (chain.get("family"), chain.get("table"), chain.get("name"))
    ]
    if not here or depth == 0:
        return False
    expressions = here[-1].get("expr")
    if not isinstance(expressions, list):
        return False
    told = [next(iter(one)) for one in expressions if isinstance(one, dict) and one]
    doing = [one for one in told if one not in ("counter", "log")]
    if doing in (["drop"], ["reject"]):
        return True
    if doing not in (["jump"], ["goto"]):
        return False
    target = next(one[doing[0]]["target"] for one in expressions if doing[0] in one)
    return _closes({**chain, "name": target}, rules, depth - 1)


def agent_integrity(sums: str | None, root: Path) -> Finding:
    """The agent's files are as its package put them there: ``sums`` is dpkg's list of MD5 sums, relative to ``root``.

    MD5 and an unsigned list tell a damaged or edited file, not an attacker with root, who can edit the list, too.
    """
    if sums is None:
        return unknown(
            "the agent was not installed from its package: there is no list to compare its files with"
        )
    faults: list[str] = []
    count = 0
    for line in sums.splitlines():
        expected, _, name = line.partition("  ")
        if not name:
            continue
        count += 1
        try:
            with (root / name).open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        except OSError:
            faults.append(f"{name} is missing")
            continue
        if digest != expected:
            faults.append(f"{name} was changed")
    if not count:
        return unknown("the package's list of files is empty")
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        return Finding(result=PostureResult.FAIL, evidence="; ".join(faults[:3]) + more)
    return Finding(result=PostureResult.PASS, evidence=f"{count} files as the package put them there")
