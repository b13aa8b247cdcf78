"""What the core makes of removable media: decide, have it done, and say only what was done (pure; T-44, T-45)."""

from __future__ import annotations

from dataclasses import replace

from schoolkeeper_agent import observations
from schoolkeeper_agent.decisions import (
    Effects,
    locks_screens,
    record,
    rule_ref,
    severity_of,
    tell_read_only,
    tell_refused,
    tell_warned,
)
from schoolkeeper_agent.enforcers.actions import HoldMedia, LimitMedium
from schoolkeeper_agent.people import user_of
from schoolkeeper_agent.seams import Effect, Enforce, Outcome, Tell
from schoolkeeper_agent.state import CoreState, HeldMedium
from schoolkeeper_proto import model
from schoolkeeper_proto.decide import MEDIUM, encrypting_words, opens_encrypted
from schoolkeeper_proto.matching import mode_of
from schoolkeeper_proto.policy import MediaAccess, MediaSection

ENFORCER = "media"
WHAT = MEDIUM
UNFINISHED = "unfinished"
"""What a medium is said to hold whose encryption was begun here and never ended (``content.py``)."""
_UNFINISHED_TITLE = "This medium was not encrypted to the end"
_UNFINISHED_TEXT = (
    "Somebody began to encrypt it with Schoolkeeper, and it was pulled out or the power went. Nothing on it can be read"
    " any more, and nothing is on it that could be opened. Encrypt it again: schoolkeeper-agent encrypt"
)
_OFFER_TITLE = "It can be encrypted, and used then"
WINDOW = "encrypt"
"""Of ``session/opening.py``."""
_BLOCKS = (model.DecisionKind.BLOCK, model.DecisionKind.BLOCK_AND_RAISE)
_ASKED = {
    MediaAccess.BLOCK: model.DecisionKind.BLOCK,
    MediaAccess.READ_ONLY: model.DecisionKind.READ_ONLY,
}


def hold(state: CoreState) -> tuple[CoreState, Effects]:
    """Asks that media wait for a verdict as soon as a policy limits any, and no longer than one does."""
    wanted = _limits(state.policy.media) or _holds_while_locked(state)
    if wanted == bool(state.holding) or ENFORCER not in state.able:
        return state, ()
    # What is plugged in was never held: it is judged again, so that it is given free by name.
    media = {name: replace(held, verdict=None) for name, held in state.media.items()}
    state = replace(state, holding=wanted, media=media)
    return state, (Enforce(enforcer=ENFORCER, action=HoldMedia(hold=wanted)),)


def _limits(section: MediaSection) -> bool:
    if section.otherwise in (model.DecisionKind.READ_ONLY, *_BLOCKS):
        return True
    return any(
        rule.access is not MediaAccess.ALLOW and mode_of(rule.text) == "enforce" for rule in section.rules
    )


def _holds_while_locked(state: CoreState) -> bool:
    section = state.policy.screen
    return locks_screens(section) and section.hold_media


def judge_waiting(state: CoreState, now: int) -> tuple[CoreState, Effects]:
    """What was plugged in while the screen was locked, as soon as somebody unlocked it."""
    effects: list[Effect] = []
    for held in state.media.values():
        if held.verdict is None and not held.encrypting:
            state, asked = decide(state, held, now)
            effects += asked
    return state, tuple(effects)


def arrived(state: CoreState, seen: observations.MediumArrived, now: int) -> tuple[CoreState, Effects]:
    before = state.media.get(seen.medium.kernel_name)
    if before is not None and before.encrypting and before.sequence == seen.sequence:
        # Its bytes change because they are being encrypted: judged once that ended.
        held = replace(before, medium=seen.medium)
        return replace(state, media={**state.media, seen.medium.kernel_name: held}), ()
    held = HeldMedium(
        medium=seen.medium,
        sequence=seen.sequence,
        account=seen.account,
        user_id=seen.user_id,
        groups=seen.groups,
    )
    attached = record(model.MediumAttached(medium=seen.medium), user=_user(state, held))
    state, effects = decide(state, held, now)
    if seen.medium.file_system == UNFINISHED:
        effects = (Tell(title=_UNFINISHED_TITLE, text=_UNFINISHED_TEXT), *effects)
    return state, (attached, *effects)


def decide(state: CoreState, held: HeldMedium, now: int) -> tuple[CoreState, Effects]:
    """Asks for what the policy in force gives this medium."""
    if held.encrypting:
        return state, ()
    if held.verdict is None and state.screens_locked and _holds_while_locked(state):
        return replace(state, media={**state.media, held.medium.kernel_name: held}), ()
    verdict = state.media_table.decide(held.medium, state.circumstances(held, now))
    before = held.verdict
    held = replace(held, verdict=verdict)
    state = replace(state, media={**state.media, held.medium.kernel_name: held})
    if before == verdict:
        return state, ()
    text = state.texts.get(verdict.rule_id)
    effects: list[Effect] = []
    if verdict.mode == "warn":
        effects.append(tell_warned("this removable medium", text))
    # Where nothing is held, what is allowed at first sight is left alone.
    asked = before is None and verdict.access is MediaAccess.ALLOW and not state.holding
    if (before is None or before.access is not verdict.access) and not asked and ENFORCER in state.able:
        limit = LimitMedium(
            kernel_name=held.medium.kernel_name,
            access=verdict.access,
            rule_id=verdict.rule_id,
            sequence=held.sequence,
            keep=verdict.access is MediaAccess.BLOCK and can_be_encrypted(state, held),
        )
        effects.append(Enforce(enforcer=ENFORCER, action=limit))
    return state, tuple(effects)


def can_be_encrypted(state: CoreState, held: HeldMedium) -> bool:
    """Whether the rule that limits this medium would let it be used if it were encrypted."""
    return held.verdict is not None and opens_encrypted(state.policy.media.rules, held.verdict)


def done(state: CoreState, outcome: Outcome, now: int) -> tuple[CoreState, Effects]:
    """What the enforcer did. A failure is said as a failure: the medium is usable, and the rule not in force."""
    action = outcome.action
    if isinstance(action, HoldMedia):
        if outcome.succeeded:
            return state, ()
        failed = model.SensorFailed(sensor=f"enforcer {ENFORCER}", error=outcome.detail)
        return state, (record(failed, model.Severity.MEDIUM),)
    assert isinstance(action, LimitMedium)
    if outcome.gone:
        return (
            state,
            (),
        )  # pulled out, or swapped, before it could be limited: what is there now is judged by itself
    held = state.media.get(action.kernel_name) or HeldMedium(
        medium=model.Medium(kernel_name=action.kernel_name)
    )
    text = state.texts.get(action.rule_id)
    asked = _ASKED.get(action.access, model.DecisionKind.ALLOW)
    user = _user(state, held)
    severity = severity_of(text, asked)
    if not outcome.succeeded:
        failed = model.SensorFailed(sensor=f"enforcer {ENFORCER}", error=outcome.detail)
        return state, (record(failed, max(severity, model.Severity.HIGH, key=list(model.Severity).index)),)
    if action.access is MediaAccess.ALLOW:
        return state, ()
    rule = rule_ref(text, asked, enforced=True) or model.RuleRef(
        rule_id="", source="default", decision=asked, enforced=True
    )
    state = state.refusing(held.user_id, action.rule_id, WHAT[:1].lower() + WHAT[1:], now)
    if action.access is MediaAccess.BLOCK:
        refused = model.MediumRefused(medium=held.medium, rule=rule)
        return state, (record(refused, severity, user), *_offer(state, held, tell_refused(WHAT, text)))
    limited = model.MediumMadeReadOnly(medium=held.medium, rule=rule)
    return state, (record(limited, severity, user), *_offer(state, held, tell_read_only(WHAT, text)))


def _offer(state: CoreState, held: HeldMedium, told: Tell) -> Effects:
    """The words of the refusal and, where that would help, how to encrypt it, to whoever plugged it in."""
    if not can_be_encrypted(state, held):
        return (told,)
    how = encrypting_words(held.medium.kernel_name)
    return told, Tell(title=_OFFER_TITLE, text=how, user_id=held.user_id, opens=WINDOW)


def written(state: CoreState, seen: observations.MediumWritten) -> tuple[CoreState, Effects]:
    """How many files and how much about, never which."""
    held = state.media.get(seen.kernel_name) or HeldMedium(medium=model.Medium(kernel_name=seen.kernel_name))
    copied = model.MediumCopy(medium=held.medium, files=seen.files, size_class=size_class(seen.size))
    return state, (record(copied, user=_user(state, held)),)


def size_class(size: int) -> model.SizeClass:
    """Of so many bytes."""
    bounds = (
        (0, model.SizeClass.EMPTY),
        ((1 << 20) - 1, model.SizeClass.UNDER_1_MIB),
        ((100 << 20) - 1, model.SizeClass.UNDER_100_MIB),
        ((1 << 30) - 1, model.SizeClass.UNDER_1_GIB),
    )
    return next((named for most, named in bounds if size <= most), model.SizeClass.OVER_1_GIB)


def encrypting(state: CoreState, seen: observations.MediumEncrypting, now: int) -> tuple[CoreState, Effects]:
    """Written down; while it goes on the medium is left alone, and afterwards judged by what it is now."""
    user = user_of(seen.account, seen.user_id, state.policy.collection)
    severity = model.Severity.LOW if seen.body.state == "failed" else model.Severity.INFORMATIONAL
    told = replace(record(seen.body, severity, user), event_id=seen.event_id)
    held = state.media.get(seen.body.medium.kernel_name)
    if held is None or held.sequence != seen.sequence:
        return state, (told,)
    held = replace(held, encrypting=seen.body.state == "begun", verdict=None)
    state = replace(state, media={**state.media, held.medium.kernel_name: held})
    if held.encrypting:
        return state, (told,)
    state, effects = decide(state, held, now)
    return state, (told, *effects)


def left(state: CoreState, seen: observations.MediumLeft) -> tuple[CoreState, Effects]:
    held = state.media.get(seen.kernel_name)
    if held is None:
        return state, ()
    rest = {name: other for name, other in state.media.items() if name != seen.kernel_name}
    ejected = record(model.MediumEjected(medium=held.medium), user=_user(state, held))
    return replace(state, media=rest), (ejected,)


def in_use(state: CoreState, seen: observations.MediumInUse) -> tuple[CoreState, Effects]:
    """A mount. Where a rule asked for less than this, the event names it as not enforced."""
    held = state.media.get(seen.kernel_name)
    if held is None:
        return state, ()
    verdict = held.verdict
    rule = None
    severity = model.Severity.INFORMATIONAL
    if verdict is not None and verdict.rule_id and verdict.asked is not MediaAccess.ALLOW:
        text = state.texts.get(verdict.rule_id)
        enforced = seen.read_only and verdict.access is MediaAccess.READ_ONLY
        rule = rule_ref(text, verdict.asked_decision, enforced=enforced)
        severity = severity_of(text, verdict.asked_decision)
    mounted = model.MediumMounted(medium=held.medium, read_only=seen.read_only, rule=rule)
    return state, (record(mounted, severity, _user(state, held)),)


def _user(state: CoreState, held: HeldMedium) -> model.UserRef:
    return user_of(held.account, held.user_id, state.policy.collection)
