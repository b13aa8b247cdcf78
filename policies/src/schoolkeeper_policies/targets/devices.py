"""What the policy says about things that every platform has under other names: sticks, screen, peripherals, network.

Each function answers with what holds always, and notes why the rest is left out. The platforms' modules translate.
"""

from __future__ import annotations

from typing import TypeVar

from schoolkeeper_policies.targets.common import FORBIDS, Notes, Policy, portable
from schoolkeeper_proto import policy

R = TypeVar("R", policy.PeripheralRule, policy.NetworkRule)


def medium_rule(held: Policy, notes: Notes, *, single: bool = False) -> policy.MediaRule | None:
    """The rule for any removable medium: the first that names none.

    Rules that name single media are left out, and that is noted, unless the platform says those itself (``single``).
    """
    section = held.section(policy.MediaSection)
    if section is None:
        return None
    found: policy.MediaRule | None = None
    for rule in portable(section.rules, notes):
        if rule.serials or rule.vendor_products or rule.buses:
            if not single:
                notes.not_possible(rule.text.rule_id, "this export has no list of single media")
        elif found is None:
            found = rule
        else:
            notes.not_possible(
                rule.text.rule_id, f"the rule {found.text.rule_id} comes first for every medium"
            )
    return found


def screen(held: Policy, notes: Notes) -> policy.ScreenSection | None:
    """The idle lock, where it holds always."""
    section = held.section(policy.ScreenSection)
    if section is None:
        return None
    found = next(portable([section], notes), None)
    if found is None:
        return None
    ours = {
        "the warning before it": found.warn_seconds,
        "the lock when the lid is shut and the device goes on": found.lock_on_lid,
        "the lock when a security key is pulled out": found.tokens,
        "the end of a session that does not lock": found.end_unlocked_seconds,
        "media that wait while the screen is locked": found.hold_media,
    }
    for what, wanted in ours.items():
        if wanted:
            notes.not_possible(found.text.rule_id, what)
    return found


def peripherals(held: Policy, notes: Notes) -> list[policy.PeripheralRule]:
    """Peripherals that are forbidden always and to everybody; products that stay allowed are noted as missing."""
    section = held.section(policy.PeripheralsSection)
    return _forbidden(section.rules, notes) if section is not None else []


def network(held: Policy, notes: Notes) -> list[policy.NetworkRule]:
    """Ways into a network that are forbidden always and to everybody."""
    section = held.section(policy.NetworkSection)
    return _forbidden(section.rules, notes) if section is not None else []


def _forbidden(rules: tuple[R, ...], notes: Notes) -> list[R]:
    found = []
    for rule in portable(rules, notes):
        if rule.decision in FORBIDS:
            found.append(rule)
        else:
            notes.not_possible(rule.text.rule_id, f"there is no setting for {rule.decision.value!r}")
    return found


def closed(held: Policy, notes: Notes) -> list[policy.PeripheralRule | policy.NetworkRule]:
    """Peripherals and ways into a network that are closed always and to everybody."""
    return [*peripherals(held, notes), *network(held, notes)]


def exceptions_missing(rule: policy.PeripheralRule | policy.NetworkRule, notes: Notes) -> None:
    """Notes that what the rule leaves allowed is closed too, or cannot be told apart here."""
    if rule.allowed:
        notes.not_possible(rule.text.rule_id, f"what stays allowed by the rule ({len(rule.allowed)} entries)")


def nothing_for(rule: policy.PeripheralRule | policy.NetworkRule, notes: Notes, platform: str) -> None:
    what = rule.kind.value if isinstance(rule, policy.PeripheralRule) else rule.use.value
    notes.not_possible(rule.text.rule_id, f"{platform} has no setting for {what}")


def no_applications(held: Policy, notes: Notes, why: str) -> None:
    """Notes for every application rule why none of them is carried."""
    section = held.section(policy.ApplicationsSection)
    for rule in portable(section.rules, notes) if section is not None else ():
        notes.not_possible(rule.text.rule_id, why)
