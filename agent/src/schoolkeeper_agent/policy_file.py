"""The bundle in force: the newest that can be used. One that is refused leaves the last good one in its place."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_agent.identity import write_private
from schoolkeeper_agent.trust import Trust
from schoolkeeper_proto import peripheral_matching, policy
from schoolkeeper_proto.browser_holding import BrowserTable
from schoolkeeper_proto.browser_sites import not_carried
from schoolkeeper_proto.bundle import BundleRefused, OpenBundle, open_bundle
from schoolkeeper_proto.matching import TableMistake, compile_applications
from schoolkeeper_proto.people import PeopleMistake, PeopleTable

CAPABILITIES = frozenset({"applications/1", "media/1", "screen/1", "posture/1", "people/1"})
"""What a bundle may require of this agent."""
_LAST_GOOD = "trust/last-good-bundle"
_FROZEN = "trust/policy-frozen"
FROZEN = "this device is held as lost: the policy is frozen, and a newer one waits until it is released"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInForce:
    """``problem`` says why it is not the newest; empty when it is."""

    bundle: OpenBundle
    problem: str = ""


def policy_from(trust: Trust, state_dir: Path) -> PolicyInForce:
    """Opens and compiles the trusted bundle, then keeps it as the last good one. Raises ``BundleRefused``."""
    bundle = _open(trust.bundle, trust)
    try:
        path = state_dir / _LAST_GOOD
        if not path.exists() or path.read_bytes() != trust.bundle:
            write_private(path, trust.bundle)
    except OSError as error:
        _log.warning("the last good policy cannot be kept: %s", error)
    return PolicyInForce(bundle=bundle)


def policy_at_start(trust: Trust, state_dir: Path) -> PolicyInForce:
    """The trusted bundle; else the last good one; else one without rules, so that the agent's own health is told."""
    if is_frozen(state_dir):
        with contextlib.suppress(OSError, BundleRefused):
            return PolicyInForce(bundle=_open((state_dir / _LAST_GOOD).read_bytes(), trust), problem=FROZEN)
    try:
        return policy_from(trust, state_dir)
    except BundleRefused as error:
        problem = f"the newest policy cannot be used: {error}"
    try:
        return PolicyInForce(bundle=_open((state_dir / _LAST_GOOD).read_bytes(), trust), problem=problem)
    except (OSError, BundleRefused):
        return PolicyInForce(bundle=_empty(trust), problem=f"{problem}; no rules are in force")


def freeze(state_dir: Path) -> None:
    """While the device is lost, the policy in force stays, also across a restart; raises ``OSError``."""
    write_private(state_dir / _FROZEN, b"")


def is_frozen(state_dir: Path) -> bool:
    return (state_dir / _FROZEN).exists()


def thaw(state_dir: Path) -> None:
    (state_dir / _FROZEN).unlink(missing_ok=True)


def _open(data: bytes, trust: Trust) -> OpenBundle:
    bundle = open_bundle(data, school_id=trust.school_id, group=trust.group, capabilities=CAPABILITIES)
    try:
        compile_applications(bundle.applications)
        BrowserTable(bundle.browser)
        peripheral_matching.PeripheralTable(bundle.peripherals)
        PeopleTable(bundle.people, bundle.collection.pseudonym_key)
    except (TableMistake, PeopleMistake) as error:
        raise BundleRefused(f"a rule cannot be compiled: {error}") from error
    return bundle


def not_enforced(bundle: OpenBundle) -> tuple[str, ...]:
    """Sections of the bundle that this agent reads and does not enforce, or does not even know; one line each."""
    count = len(bundle.network.rules)
    lines = (
        [f"network: this agent does not enforce its {count} rule{'s' if count != 1 else ''}"] if count else []
    )
    lines += [
        f"peripherals: nothing comes of {rule.text.rule_id}: {why}"
        for rule in bundle.peripherals.rules
        if (why := peripheral_matching.not_carried(rule))
    ]
    lines += [f"browser: {line}" for line in not_carried(bundle.browser)]
    lines += [f"{name}: this agent does not know this part of the policy" for name in bundle.ignored_sections]
    return tuple(lines)


def _empty(trust: Trust) -> OpenBundle:
    manifest = policy.BundleManifest(
        format=1, school_id=trust.school_id, group=trust.group, version=0, compiled_at_unix_ms=0
    )
    return OpenBundle(hash=b"", manifest=manifest)
