"""What one rule amounts to against everything else, at each edge of the order of strictness."""

from __future__ import annotations

import itertools

import pytest

from schoolkeeper_policies.comparing.change import Direction
from schoolkeeper_policies.comparing.ranks import (
    CLASSES_OF_MEDIA,
    MODES,
    Pull,
    Weight,
    added,
    asked_of,
    base_of,
    changed,
    level_of,
    lows_of,
    weigh,
    weights_of,
)
from schoolkeeper_policies.comparing.regions import Extent
from schoolkeeper_proto.matching import STRICTNESS
from schoolkeeper_proto.model import DecisionKind, MediumEncryption
from schoolkeeper_proto.policy import (
    ApplicationMatch,
    ApplicationRule,
    MatchBy,
    MediaAccess,
    MediaRule,
    RuleMode,
    RuleText,
)

ALLOW, OBSERVE, WARN, READ_ONLY, BLOCK, RAISE = range(6)


def weight(pull: Pull, level: int = BLOCK, asked: int | None = None, enforced: bool = True) -> Weight:
    return Weight(pull=pull, level=level, asked=level if asked is None else asked, enforced=enforced)


def program(decision: DecisionKind, mode: RuleMode = RuleMode.ENFORCE) -> ApplicationRule:
    match = ApplicationMatch(by=MatchBy.FILE_NAME, text="x")
    return ApplicationRule(text=RuleText(rule_id="r", mode=mode), decision=decision, matches=(match,))


def medium(access: MediaAccess, **more: MediaAccess) -> MediaRule:
    return MediaRule(text=RuleText(rule_id="m"), access=access, **more)


def test_the_numbers_are_those_of_the_documented_order() -> None:
    assert [level_of(word) for word in ("allow", "observe", "warn", "read-only", "block", "block-and-raise")] == [
        ALLOW, OBSERVE, WARN, READ_ONLY, BLOCK, RAISE,
    ]  # fmt: skip
    assert level_of("a word of tomorrow") == ALLOW


@pytest.mark.parametrize(
    ("asked", "otherwise", "lows", "pull"),
    [
        (BLOCK, ALLOW, (), Pull.TIGHTENS),
        (ALLOW, ALLOW, (), Pull.IDLE),
        (BLOCK, BLOCK, (), Pull.IDLE),
        (WARN, BLOCK, (), Pull.LOOSENS),
        # As low as another rule that opens: nothing gets less through this one than through that.
        (WARN, BLOCK, (WARN,), Pull.LOOSENS),
        (BLOCK, BLOCK, (BLOCK,), Pull.IDLE),
        # More than another rule that opens, less than everything else.
        (WARN, BLOCK, (ALLOW,), Pull.BOTH),
        (WARN, BLOCK, (READ_ONLY, ALLOW), Pull.BOTH),
        (BLOCK, BLOCK, (ALLOW,), Pull.TIGHTENS),
        (RAISE, BLOCK, (ALLOW,), Pull.TIGHTENS),
    ],
)
def test_a_rule_in_force_pulls_by_what_is_below_and_above_it(
    asked: int, otherwise: int, lows: tuple[int, ...], pull: Pull
) -> None:
    assert weigh(asked, "enforce", otherwise, frozenset(lows)) == weight(pull, asked)


@pytest.mark.parametrize(
    ("asked", "mode", "otherwise", "lows", "expected"),
    [
        (BLOCK, "warn", ALLOW, (), (Pull.TIGHTENS, WARN)),
        (WARN, "warn", ALLOW, (), (Pull.TIGHTENS, WARN)),
        (OBSERVE, "warn", ALLOW, (), (Pull.IDLE, ALLOW)),
        (OBSERVE, "observe", ALLOW, (), (Pull.TIGHTENS, OBSERVE)),
        (ALLOW, "observe", ALLOW, (), (Pull.IDLE, ALLOW)),
        # A trial never loosens, and says nothing where as much is said already.
        (ALLOW, "warn", BLOCK, (), (Pull.IDLE, BLOCK)),
        (BLOCK, "warn", WARN, (), (Pull.IDLE, WARN)),
        (BLOCK, "warn", BLOCK, (WARN,), (Pull.IDLE, BLOCK)),
        (BLOCK, "warn", BLOCK, (READ_ONLY, ALLOW), (Pull.TIGHTENS, WARN)),
    ],
)
def test_a_rule_on_trial_amounts_to_its_word_where_that_is_more(
    asked: int, mode: str, otherwise: int, lows: tuple[int, ...], expected: tuple[Pull, int]
) -> None:
    found = weigh(asked, mode, otherwise, frozenset(lows))
    assert found == weight(expected[0], expected[1], asked, enforced=False)


def test_to_a_medium_there_are_three_levels() -> None:
    assert {
        kind: base_of(medium(MediaAccess.BLOCK), kind)
        for kind in DecisionKind
        if kind is not DecisionKind.UNSPECIFIED
    } == {
        DecisionKind.ALLOW: ALLOW,
        DecisionKind.OBSERVE: ALLOW,
        DecisionKind.WARN: ALLOW,
        DecisionKind.READ_ONLY: READ_ONLY,
        DecisionKind.BLOCK: BLOCK,
        DecisionKind.BLOCK_AND_RAISE: BLOCK,
    }
    for kind in (DecisionKind.OBSERVE, DecisionKind.BLOCK_AND_RAISE):
        assert base_of(program(kind), kind) == STRICTNESS[str(kind)]


def test_a_rule_for_media_says_one_thing_to_each_kind_of_medium() -> None:
    assert CLASSES_OF_MEDIA == (MediumEncryption.LUKS2, MediumEncryption.NONE, MediumEncryption.UNKNOWN)
    only = medium(MediaAccess.ENCRYPTED_ONLY, plain=MediaAccess.READ_ONLY, unknown=MediaAccess.BLOCK)
    assert asked_of(only) == (ALLOW, READ_ONLY, BLOCK)
    assert asked_of(medium(MediaAccess.READ_ONLY)) == (READ_ONLY, READ_ONLY, READ_ONLY)
    assert asked_of(program(DecisionKind.WARN)) == (WARN,)
    found = weights_of(only, DecisionKind.READ_ONLY, (frozenset(),) * 3)
    assert [one.pull for one in found] == [Pull.LOOSENS, Pull.IDLE, Pull.TIGHTENS]


def test_each_answer_is_weighed_and_none_is_left_out() -> None:
    with pytest.raises(ValueError, match="zip"):
        weights_of(medium(MediaAccess.BLOCK), DecisionKind.ALLOW, (frozenset(),))


def test_modes_have_their_order_and_no_two_are_equal() -> None:
    assert sorted(MODES, key=MODES.__getitem__) == ["observe", "warn", "enforce"]
    assert len(set(MODES.values())) == 3


def test_what_is_below_everything_else_is_gathered_for_each_answer() -> None:
    rules = (
        program(DecisionKind.WARN),
        program(DecisionKind.BLOCK),
        program(DecisionKind.READ_ONLY, RuleMode.WARN),  # on trial: it opens nothing
    )
    assert lows_of(rules, (DecisionKind.BLOCK,), 1) == (frozenset({WARN}),)
    # Of two policies the higher otherwise counts: against it both are low.
    assert lows_of(rules, (DecisionKind.ALLOW, DecisionKind.BLOCK_AND_RAISE), 1) == (
        frozenset({WARN, BLOCK}),
    )
    assert lows_of(rules, (DecisionKind.ALLOW,), 1) == (frozenset(),)
    only = medium(MediaAccess.ENCRYPTED_ONLY, plain=MediaAccess.READ_ONLY, unknown=MediaAccess.BLOCK)
    assert lows_of((only,), (DecisionKind.BLOCK,), 3) == (
        frozenset({ALLOW}),
        frozenset({READ_ONLY}),
        frozenset(),
    )


def test_what_it_means_that_a_rule_comes() -> None:
    assert {pull: added(weight(pull)) for pull in Pull} == {
        Pull.TIGHTENS: Direction.STRICTER,
        Pull.LOOSENS: Direction.WEAKER,
        Pull.BOTH: Direction.DIFFERENT,
        Pull.IDLE: Direction.WORDS,
    }


TIGHT, LOOSE, MIXED, IDLE = (weight(pull) for pull in (Pull.TIGHTENS, Pull.LOOSENS, Pull.BOTH, Pull.IDLE))


@pytest.mark.parametrize(
    ("before", "after", "extent", "direction"),
    [
        (TIGHT, TIGHT, Extent.SAME, Direction.WORDS),
        (TIGHT, TIGHT, Extent.WIDER, Direction.STRICTER),
        (TIGHT, TIGHT, Extent.NARROWER, Direction.WEAKER),
        (TIGHT, TIGHT, Extent.UNCLEAR, Direction.DIFFERENT),
        # What opens more lets more through.
        (LOOSE, LOOSE, Extent.WIDER, Direction.WEAKER),
        (LOOSE, LOOSE, Extent.NARROWER, Direction.STRICTER),
        (LOOSE, LOOSE, Extent.UNCLEAR, Direction.DIFFERENT),
        (LOOSE, LOOSE, Extent.SAME, Direction.WORDS),
        # What opens here and closes there can be said of no extent but the same.
        (MIXED, MIXED, Extent.SAME, Direction.WORDS),
        (MIXED, MIXED, Extent.WIDER, Direction.DIFFERENT),
        (MIXED, MIXED, Extent.NARROWER, Direction.DIFFERENT),
        (weight(Pull.BOTH, enforced=False), weight(Pull.BOTH, enforced=False), Extent.SAME, Direction.WORDS),
        # One pull becomes another: the one goes, the other comes.
        (TIGHT, LOOSE, Extent.WIDER, Direction.WEAKER),
        (LOOSE, TIGHT, Extent.WIDER, Direction.STRICTER),
        (TIGHT, IDLE, Extent.WIDER, Direction.WEAKER),
        (IDLE, LOOSE, Extent.WIDER, Direction.WEAKER),
        (MIXED, TIGHT, Extent.WIDER, Direction.DIFFERENT),
        # Idle before and after: the same, or not for ever the same.
        (IDLE, IDLE, Extent.WIDER, Direction.WORDS),
        (IDLE, weight(Pull.IDLE, RAISE), Extent.SAME, Direction.DIFFERENT),
        # In force before and after, over the same: only how strict it is counts.
        (weight(Pull.LOOSENS, WARN), weight(Pull.TIGHTENS, RAISE), Extent.SAME, Direction.STRICTER),
        (weight(Pull.TIGHTENS, RAISE), weight(Pull.LOOSENS, WARN), Extent.SAME, Direction.WEAKER),
        (weight(Pull.TIGHTENS, WARN), weight(Pull.TIGHTENS, BLOCK), Extent.WIDER, Direction.STRICTER),
        (weight(Pull.TIGHTENS, BLOCK), weight(Pull.TIGHTENS, WARN), Extent.WIDER, Direction.DIFFERENT),
        (weight(Pull.TIGHTENS, WARN, BLOCK), weight(Pull.TIGHTENS, WARN, RAISE), Extent.SAME, Direction.STRICTER),
        (weight(Pull.TIGHTENS, WARN, RAISE), weight(Pull.TIGHTENS, WARN, BLOCK), Extent.SAME, Direction.WEAKER),
        (weight(Pull.BOTH, WARN), weight(Pull.TIGHTENS, BLOCK), Extent.SAME, Direction.STRICTER),
        (weight(Pull.TIGHTENS, BLOCK), weight(Pull.BOTH, WARN), Extent.SAME, Direction.WEAKER),
        # On trial before or after: what it pulls counts, not only how strict it is.
        (weight(Pull.TIGHTENS, WARN, enforced=False), weight(Pull.LOOSENS, WARN), Extent.SAME, Direction.WEAKER),
        (weight(Pull.LOOSENS, WARN), weight(Pull.TIGHTENS, WARN, enforced=False), Extent.SAME, Direction.STRICTER),
    ],
)  # fmt: skip
def test_what_it_means_that_one_becomes_another(
    before: Weight, after: Weight, extent: Extent, direction: Direction
) -> None:
    assert changed(before, after, extent) is direction


def test_over_the_same_extent_the_way_back_is_reversed() -> None:
    weights = [weight(pull, level) for pull in Pull for level in (WARN, BLOCK)]
    for before, after in itertools.product(weights, weights):
        there, back = changed(before, after, Extent.SAME), changed(after, before, Extent.SAME)
        assert back is there.reversed
