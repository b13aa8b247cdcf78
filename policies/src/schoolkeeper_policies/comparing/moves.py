"""Into which groups the collector alone may move devices: those where no safeguarding rule is weaker. Pure.

A device compares nothing: it reads the list that is made here and signed by officers (`schoolkeeper_proto.moves`).
While a group's policy is rolled out in rings it has two bundles, and a move is free only if it is between all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from schoolkeeper_policies.plan import Change, compare
from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle

Bundles = Mapping[str, Sequence[OpenBundle]]
"""Group -> every bundle that one of its devices may be given."""


def free_moves(bundles: Bundles) -> tuple[policy.FreeMoves, ...]:
    """To each group, in alphabetical order, the groups whose devices lose no safeguarding rule by coming."""
    free = {
        (source, target)
        for source, target in itertools.permutations(sorted(bundles), 2)
        if not any(weaker(old, new) for old in bundles[source] for new in bundles[target])
    }
    free -= _detours(free)
    return tuple(
        policy.FreeMoves(to_group=target, from_groups=tuple(sorted(s for s, t in free if t == target)))
        for target in sorted({target for _, target in free})
    )


def weaker(old: OpenBundle, new: OpenBundle) -> tuple[Change, ...]:
    """What a device loses that comes from ``old`` to ``new``; what cannot be told counts."""
    return tuple(change for change in compare(old, new) if change.weakens_safeguarding)


def nearest(new: OpenBundle, in_force: Mapping[str, OpenBundle]) -> str | None:
    """The group in force that a new group is compared with; None when nothing is in force.

    The one with the fewest differences among those that are stricter nowhere. When each is stricter somewhere:
    ``default``, if the school has a group of that name, else the one that is stricter in the fewest rules.
    """
    if not in_force:
        return None
    changes = {group: compare(held, new) for group, held in in_force.items()}
    losses = {group: sum(c.weakens_safeguarding for c in found) for group, found in changes.items()}
    like = [group for group, lost in losses.items() if not lost]
    if like:
        return min(like, key=lambda group: (len(changes[group]), group))
    if "default" in losses:
        return "default"
    return min(losses, key=lambda group: (losses[group], group))


def _detours(free: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Second legs of a way that leads, in two free moves, where one move may not go."""
    return {
        (middle, target)
        for (source, middle), (start, target) in itertools.product(free, free)
        if middle == start and source != target and (source, target) not in free
    }
