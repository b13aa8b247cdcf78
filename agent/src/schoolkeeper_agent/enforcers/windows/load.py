"""What enforces elsewhere, with why it does not here and which export a management can carry meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.seams import Ability, Emit, Enforcer, Outcome
from schoolkeeper_proto.bundle import OpenBundle

_PREVIEW = "the preview for Windows only reports"
_INSTEAD = {
    "applications": "AppLocker carries such rules: see the export for Windows",
    "browser": "the browsers' own policies carry such rules: see the export for Windows",
    "media": "BitLocker To Go and the policy on removable storage carry such rules: see the export for Windows",
    "peripherals": "no export carries such rules",
    "bluetooth": "no export carries such rules",
    "screen": "InactivityTimeoutSecs carries the rule: see the export for Windows",
    "desktop": "InactivityTimeoutSecs carries the rule: see the export for Windows",
    "isolation": "an order to take the device off the network is not carried out",
    "sign-in": "an order to hold the device as lost is not carried out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CannotEnforce:
    """``rules`` are those of the policy in force that nothing comes of here."""

    name: str
    instead: str
    rules: tuple[str, ...] = ()

    def ability(self) -> Ability:
        of = f" (rules {', '.join(self.rules)})" if self.rules else ""
        return Ability(able=False, because=f"{_PREVIEW}; {self.instead}{of}")

    async def perform(self, action: object) -> Outcome:
        return Outcome(enforcer=self.name, action=action, succeeded=False, detail=self.ability().because)

    async def close(self) -> None:
        """Nothing is held."""


def enforcers(context: Context, emit: Emit) -> list[Enforcer]:
    del emit
    rules = _rules(context.bundle)
    return [
        CannotEnforce(name=name, instead=why, rules=rules.get(name, ())) for name, why in _INSTEAD.items()
    ]


def _rules(bundle: OpenBundle) -> dict[str, tuple[str, ...]]:
    screen = (bundle.screen.text.rule_id,) if bundle.screen else ()
    return {
        "applications": tuple(rule.text.rule_id for rule in bundle.applications.rules),
        "browser": (
            *(one.text.rule_id for one in bundle.browser.rules),
            *(one.text.rule_id for one in bundle.browser.settings),
        ),
        "media": tuple(rule.text.rule_id for rule in bundle.media.rules),
        "peripherals": tuple(rule.text.rule_id for rule in bundle.peripherals.rules),
        "screen": screen,
        "desktop": screen,
    }
