"""What the core makes of telephones, cameras and Bluetooth: decide, have it done, say what was done (pure; T-46, W-53).

Decided for everybody who is signed in, the stricter first, and again whenever people, place, policy or time change: a
thing that a rule keeps off in lessons is given back after them.
"""

from __future__ import annotations

from dataclasses import replace

from schoolkeeper_agent import browsers, observations
from schoolkeeper_agent.decisions import (
    Effects,
    held_or_not,
    record,
    rule_ref,
    severity_of,
    tell_refused,
    tell_warned,
)
from schoolkeeper_agent.enforcers.actions import KeepBluetooth, WithholdInterface
from schoolkeeper_agent.people import FIRST_PERSON_UID, user_of
from schoolkeeper_agent.seams import Effect, Enforce, Outcome
from schoolkeeper_agent.state import CoreState, HeldPeripheral
from schoolkeeper_proto import model
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.policy import PeripheralKind

ENFORCER = "peripherals"
BLUETOOTH = "bluetooth"
_BUILT_IN = (str(PeripheralKind.CAMERA),)


def arrived(state: CoreState, seen: observations.PeripheralArrived, now: int) -> tuple[CoreState, Effects]:
    """One interface; a device with several is written down once. The built-in camera is nothing that arrives."""
    name = seen.medium.kernel_name
    before = state.peripherals.get(name)
    if before is not None and before.medium == seen.medium:
        return decide(state, before, now)
    held = HeldPeripheral(
        medium=seen.medium, kinds=seen.kinds, account=seen.account, user_id=seen.user_id, groups=seen.groups,
        asked=None if seen.withheld else False,
    )  # fmt: skip
    told: tuple[Effect, ...] = ()
    if seen.kinds != _BUILT_IN and not _beside(state, held):
        told = (record(model.MediumAttached(medium=held.medium), user=_user(state, held)),)
    state, effects = decide(_with(state, held), held, now)
    return state, (*told, *effects)


def left(state: CoreState, seen: observations.PeripheralLeft) -> tuple[CoreState, Effects]:
    held = state.peripherals.get(seen.kernel_name)
    if held is None:
        return state, ()
    rest = {name: other for name, other in state.peripherals.items() if name != seen.kernel_name}
    state = replace(state, peripherals=rest)
    if held.kinds == _BUILT_IN or _beside(state, held):
        return state, ()
    return state, (record(model.MediumEjected(medium=held.medium), user=_user(state, held)),)


def decide_all(state: CoreState, now: int) -> tuple[CoreState, Effects]:
    """Everything that is there, and Bluetooth, by what holds now."""
    effects: list[Effect] = []
    for held in state.peripherals.values():
        state, more = decide(state, held, now)
        effects += more
    state, more = _bluetooth(state, now)
    return state, (*effects, *more)


def decide(state: CoreState, held: HeldPeripheral, now: int) -> tuple[CoreState, Effects]:
    verdict = state.peripheral_table.decide(held.kinds, held.product, _people(state, held, now))
    effects: list[Effect] = []
    if verdict.decision == "warn":
        here = frozenset(one.user_id for one in state.sessions.values() if one.user_id >= FIRST_PERSON_UID)
        if here - held.warned and not _warned_beside(state, held, here):
            effects.append(tell_warned(_small(thing_of(held)), state.texts.get(verdict.rule_id)))
        held = replace(held, warned=held.warned | here)
    if verdict.refuses != held.asked and ENFORCER in state.able:
        held = replace(held, asked=verdict.refuses)
        action = WithholdInterface(
            kernel_name=held.medium.kernel_name, withheld=verdict.refuses, rule_id=verdict.rule_id
        )
        effects.append(Enforce(enforcer=ENFORCER, action=action))
    return _with(state, held), tuple(effects)


def done(state: CoreState, outcome: Outcome, now: int) -> tuple[CoreState, Effects]:
    """Refused is only what the kernel shows as withheld. A failure is said once, and tried again with each minute."""
    action = outcome.action
    assert isinstance(action, WithholdInterface)
    held = state.peripherals.get(action.kernel_name)
    if held is None:
        return state, ()  # pulled out meanwhile
    text = state.texts.get(action.rule_id)
    severity = severity_of(text, model.DecisionKind.BLOCK)
    if not outcome.succeeded:
        state = _with(state, replace(held, asked=held.withheld, failing=True))
        if held.failing:
            return state, ()
        failed = model.SensorFailed(sensor=f"enforcer {ENFORCER}", error=outcome.detail)
        return state, (record(failed, max(severity, model.Severity.HIGH, key=list(model.Severity).index)),)
    first = not any(
        other.withheld and other.device == held.device and other is not held
        for other in state.peripherals.values()
    )
    state = _with(state, replace(held, withheld=action.withheld, failing=False))
    if not action.withheld or not first:
        return state, ()
    what = what_of(held)
    state = state.refusing(held.user_id, action.rule_id, _small(what), now)
    if held.kinds == _BUILT_IN:
        return state, (tell_refused(what, text),)
    asked = _asked(state, action.rule_id)
    refused = model.MediumRefused(medium=held.medium, rule=rule_ref(text, asked, enforced=True))
    severity = severity_of(text, asked)
    return state, (record(refused, severity, _user(state, held)), tell_refused(what, text))


def bluetooth_done(state: CoreState, outcome: Outcome) -> tuple[CoreState, Effects]:
    """A failure is tried again with each minute."""
    told = held_or_not(outcome, failing=state.bluetooth_failing)
    if outcome.succeeded:
        return replace(state, bluetooth_failing=False), told
    return replace(state, bluetooth_asked=None, bluetooth_failing=True), told


def what_of(held: HeldPeripheral) -> str:
    """What is refused, as the first words of a sentence: a telephone may still be charged here."""
    thing = thing_of(held)
    return thing if held.kinds == _BUILT_IN else f"Copying pictures from {_small(thing)}"


def thing_of(held: HeldPeripheral) -> str:
    if held.kinds == _BUILT_IN:
        return "The camera of this device"
    if held.kinds == (str(PeripheralKind.PHONE),):
        return "This telephone"
    if held.kinds == (str(PeripheralKind.EXTERNAL_CAMERA),):
        return "This camera"
    return "This telephone or camera"


def _bluetooth(state: CoreState, now: int) -> tuple[CoreState, Effects]:
    if BLUETOOTH not in state.able:
        return state, ()
    people = browsers.people(state, now)
    hidden = state.peripheral_table.decide((str(PeripheralKind.BLUETOOTH_DISCOVERABLE),), "", people)
    off = state.peripheral_table.decide((str(PeripheralKind.BLUETOOTH),), "", people)
    wanted = KeepBluetooth(hidden=hidden.refuses, off=off.refuses)
    if wanted == state.bluetooth_asked:
        return state, ()
    return replace(state, bluetooth_asked=wanted), (Enforce(enforcer=BLUETOOTH, action=wanted),)


def _people(state: CoreState, held: HeldPeripheral, now: int) -> tuple[Circumstances, ...]:
    """Everybody who is signed in; before any session is known, whoever the sensor saw."""
    if held.user_id >= FIRST_PERSON_UID and not state.sessions:
        return (state.circumstances(held, now),)
    return browsers.people(state, now)


def _asked(state: CoreState, rule_id: str) -> model.DecisionKind:
    found = [rule.decision for rule in state.policy.peripherals.rules if rule.text.rule_id == rule_id]
    return model.DecisionKind(str(found[0])) if found else model.DecisionKind.BLOCK


def _beside(state: CoreState, held: HeldPeripheral) -> bool:
    """Whether another interface of the same device is known already."""
    return any(
        other.device == held.device and other.medium.kernel_name != held.medium.kernel_name
        for other in state.peripherals.values()
    )


def _warned_beside(state: CoreState, held: HeldPeripheral, here: frozenset[int]) -> bool:
    return any(
        other.device == held.device
        and other.medium.kernel_name != held.medium.kernel_name
        and here <= other.warned
        for other in state.peripherals.values()
    )


def _with(state: CoreState, held: HeldPeripheral) -> CoreState:
    return replace(state, peripherals={**state.peripherals, held.medium.kernel_name: held})


def _small(what: str) -> str:
    return what[:1].lower() + what[1:]


def _user(state: CoreState, held: HeldPeripheral) -> model.UserRef:
    return user_of(held.account, held.user_id, state.policy.collection)
