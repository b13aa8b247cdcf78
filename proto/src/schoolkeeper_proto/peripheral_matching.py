"""Compiled rules for built-in and attached things: cameras, telephones, Bluetooth. Pure.

A rule says one kind (``PeripheralKind``) and leaves out the products that it names. What could be of two kinds, because
nothing tells them apart, is given to ``decide`` with both: the stricter holds.
"""

from __future__ import annotations

from collections.abc import Iterable

from schoolkeeper_proto.conditions import Circumstances, ZoneClock
from schoolkeeper_proto.matching import STRICTNESS, Verdict, mode_of
from schoolkeeper_proto.policy import PeripheralKind, PeripheralRule, PeripheralsSection
from schoolkeeper_proto.site_matching import Row, compiled_row, weigh_rows

ENFORCED_KINDS = frozenset(
    {
        PeripheralKind.PHONE,
        PeripheralKind.EXTERNAL_CAMERA,
        PeripheralKind.CAMERA,
        PeripheralKind.BLUETOOTH,
        PeripheralKind.BLUETOOTH_DISCOVERABLE,
    }
)
"""What the agent for Linux acts on; the other kinds are read and said to be not enforced."""


_BLUETOOTH = frozenset({PeripheralKind.BLUETOOTH, PeripheralKind.BLUETOOTH_DISCOVERABLE})


def not_carried(rule: PeripheralRule) -> str:
    """Why nothing comes of a rule on a device with the agent for Linux; empty when something does."""
    mode = mode_of(rule.text)
    if rule.kind not in ENFORCED_KINDS:
        return f"the agent does not act on this kind, {rule.kind.value}"
    refuses = STRICTNESS[str(rule.decision)] >= STRICTNESS["block"]
    if rule.kind in _BLUETOOTH and not (refuses and mode == "enforce"):
        return "Bluetooth is neither observed nor warned of"
    if rule.kind is PeripheralKind.CAMERA and mode == "observe":
        return "what the built-in camera does is not observed"
    return ""


class PeripheralTable:
    """The rules of a peripherals section, compiled."""

    def __init__(self, section: PeripheralsSection) -> None:
        """Raises ``TableMistake``."""
        self._clock = ZoneClock()
        self._rows = [(str(rule.kind), frozenset(rule.allowed), compiled_row(rule)) for rule in section.rules]

    def rows(self, kind: str, what: str = "") -> list[Row]:
        """The rules on a kind; ``what`` is "vendor:product" in hexadecimal, as sysfs writes it."""
        return [row for held, allowed, row in self._rows if held == kind and what not in allowed]

    def decide(self, kinds: Iterable[str], what: str, people: Iterable[Circumstances]) -> Verdict:
        """The strictest verdict over all kinds that a thing may be of, and everybody who is here."""
        found = Verdict("allow", "allow", "", steady=True)
        for circumstances in people:
            for kind in kinds:
                verdict = weigh_rows(self.rows(kind, what), "allow", circumstances, self._clock)
                if STRICTNESS[verdict.decision] > STRICTNESS[found.decision]:
                    found = verdict
        return found
