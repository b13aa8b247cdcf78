"""The documented order of strictness, and what a rule amounts to against the section's ``otherwise``.

From weak to strict: *allow, observe, warn, read-only, block, block-and-raise*; for media *allow, read-only, block*,
with *encrypted-only* as its own answer for each kind of medium. Modes: a rule on trial (*observe*, *warn*) amounts to
at most that word, and can only add; in *enforce* it says what it says.

Stricter wins on the device: of the rules in force that match, the strictest decides, and ``otherwise`` only where none
does. So a rule *tightens* (its events never get less through it), *loosens* (they get less than ``otherwise``), is
*idle* (nothing changes through it) or does *both*: more than another rule that loosens, less than ``otherwise``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from schoolkeeper_policies.comparing.change import Direction, together
from schoolkeeper_policies.comparing.regions import Extent, Rule
from schoolkeeper_proto.matching import STRICTNESS, mode_of
from schoolkeeper_proto.media_matching import resolve
from schoolkeeper_proto.model import DecisionKind, MediumEncryption
from schoolkeeper_proto.policy import MediaRule

MODES = {"observe": 1, "warn": 2, "enforce": 3}
CLASSES_OF_MEDIA = (MediumEncryption.LUKS2, MediumEncryption.NONE, MediumEncryption.UNKNOWN)
"""One of each kind that a media rule may answer differently: encrypted, plain, cannot be told."""


class Pull(StrEnum):
    TIGHTENS = "tightens"
    LOOSENS = "loosens"
    BOTH = "both"
    IDLE = "idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """``level`` is what the rule amounts to, ``asked`` what it says; both as in ``STRICTNESS``."""

    pull: Pull
    level: int
    asked: int
    enforced: bool


Lows = tuple[frozenset[int], ...]
"""For each answer of a rule: the levels of other rules in force that are below ``otherwise``."""


def level_of(decision: str) -> int:
    return STRICTNESS.get(decision, STRICTNESS["allow"])


def weigh(asked: int, mode: str, otherwise: int, lows: frozenset[int] = frozenset()) -> Weight:
    """A rule that asks for ``asked`` in this mode, where everything else gets ``otherwise`` or one of ``lows``."""
    if mode == "enforce":
        raises = asked > otherwise or any(asked > low for low in lows)
        lowers = asked < otherwise
        return Weight(pull=_pull(raises, lowers), level=asked, asked=asked, enforced=True)
    capped = STRICTNESS[mode]
    acts = asked >= capped and (capped > otherwise or any(capped > low for low in lows))
    level = capped if acts else otherwise
    return Weight(pull=_pull(acts, False), level=level, asked=asked, enforced=False)


def _pull(raises: bool, lowers: bool) -> Pull:
    if raises:
        return Pull.BOTH if lowers else Pull.TIGHTENS
    return Pull.LOOSENS if lowers else Pull.IDLE


def base_of(rule: Rule, otherwise: DecisionKind) -> int:
    """The level of ``otherwise`` for this sort of rule."""
    base = level_of(str(otherwise))
    if not isinstance(rule, MediaRule):
        return base
    # To a medium everything below read-only is 'allow'.
    return 0 if base < STRICTNESS["read-only"] else min(base, STRICTNESS["block"])


def asked_of(rule: Rule) -> tuple[int, ...]:
    """What the rule says: one level, or one per class of medium for a medium."""
    if not isinstance(rule, MediaRule):
        return (level_of(str(rule.decision)),)
    return tuple(level_of(str(resolve(rule, kind))) for kind in CLASSES_OF_MEDIA)


def weights_of(rule: Rule, otherwise: DecisionKind, lows: Lows) -> tuple[Weight, ...]:
    mode, base = mode_of(rule.text), base_of(rule, otherwise)
    return tuple(weigh(asked, mode, base, low) for asked, low in zip(asked_of(rule), lows, strict=True))


def lows_of(rules: Iterable[Rule], otherwises: tuple[DecisionKind, ...], width: int) -> Lows:
    """The levels below the highest ``otherwise`` of all these rules that are in force."""
    found: list[set[int]] = [set() for _ in range(width)]
    for rule in rules:
        if mode_of(rule.text) == "enforce":
            highest = max(base_of(rule, otherwise) for otherwise in otherwises)
            for number, asked in enumerate(asked_of(rule)):
                if asked < highest:
                    found[number].add(asked)
    return tuple(frozenset(levels) for levels in found)


def added(weight: Weight) -> Direction:
    """What it means that such a rule comes."""
    return {
        Pull.TIGHTENS: Direction.STRICTER,
        Pull.LOOSENS: Direction.WEAKER,
        Pull.BOTH: Direction.DIFFERENT,
        Pull.IDLE: Direction.WORDS,
    }[weight.pull]


def changed(before: Weight, after: Weight, extent: Extent) -> Direction:
    """What it means that the one becomes the other, reaching ``extent`` against before."""
    if before.pull is Pull.IDLE and after.pull is Pull.IDLE:
        return Direction.WORDS if before == after else Direction.DIFFERENT
    levels = together((_grew(before.level, after.level), _grew(before.asked, after.asked)))
    if extent is Extent.SAME and before.enforced and after.enforced:
        return levels
    if before.pull is not after.pull:
        return together((added(before).reversed, added(after)))
    reach = {
        Extent.SAME: Direction.WORDS,
        Extent.WIDER: Direction.STRICTER,
        Extent.NARROWER: Direction.WEAKER,
    }
    of_reach = reach.get(extent, Direction.DIFFERENT)
    if before.pull is Pull.LOOSENS:
        of_reach = of_reach.reversed
    if before.pull is Pull.BOTH and of_reach is not Direction.WORDS:
        of_reach = Direction.DIFFERENT
    return together((levels, of_reach))


def _grew(before: int, after: int) -> Direction:
    if before == after:
        return Direction.WORDS
    return Direction.STRICTER if after > before else Direction.WEAKER
