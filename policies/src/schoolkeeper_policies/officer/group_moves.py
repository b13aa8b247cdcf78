"""The target ``moves``: which moves of devices officers sign with the bundles, checked and in plain words.

`comparing/moves.py` says which are free; here the list that a change brings is held against that, so that a collector
which stages a longer one is refused. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from schoolkeeper_policies.comparing.moves import Bundles, free_moves
from schoolkeeper_proto import moves, policy, trust

_DAY_MS = 86_400_000


def moves_for(
    bundles: Bundles, school_id: str, now_ms: int, signed: Iterable[policy.SignedMove] = ()
) -> policy.GroupMoves:
    """The list that belongs to these bundles; moves of single devices whose time has run out are left out."""
    current = {move for move in signed if move.until_unix_ms > now_ms and move.to_group in bundles}
    return policy.GroupMoves(
        school_id=school_id,
        free=free_moves(bundles),
        signed=tuple(sorted(current, key=lambda move: (move.device_id, move.to_group, move.until_unix_ms))),
    )


def check(listed: policy.GroupMoves | None, bundles: Bundles, school_id: str, now_ms: int) -> None:
    """Raises ``TrustRefused`` for a list that lets devices go where the bundles do not."""
    if listed is None:
        return
    moves.check_moves(listed, school_id)
    more = _pairs(listed) - _pairs(policy.GroupMoves(school_id=school_id, free=free_moves(bundles)))
    if more:
        source, target = min(more)
        raise trust.TrustRefused(
            "group-moves",
            f"the change lets the collector alone move devices from {source!r} to {target!r}, where a safeguarding "
            "rule is weaker: stage anew, and find out who made this change",
        )
    for move in listed.signed:
        if move.until_unix_ms > now_ms + (moves.MAX_SIGNED_DAYS + 1) * _DAY_MS:
            raise trust.TrustRefused(
                "group-moves",
                f"a device may be moved until {_day(move.until_unix_ms)}: at most {moves.MAX_SIGNED_DAYS} days ahead",
            )


def words(before: policy.GroupMoves | None, after: policy.GroupMoves | None) -> tuple[str, ...]:
    """What differs between two lists, a line each."""
    was, now = (_pairs(side) if side else set() for side in (before, after))
    found = [
        f"the collector alone may move devices of {_each(now - was, target)} to {target}: no safeguarding rule is "
        "weaker there"
        for target in sorted({target for _, target in now - was})
    ]
    found += [
        f"the collector alone may no longer move devices of {_each(was - now, target)} to {target}"
        for target in sorted({target for _, target in was - now})
    ]
    old, new = (set(side.signed) if side else set() for side in (before, after))
    found += [
        f"the device {move.device_id.hex()} may be moved to {move.to_group}, whatever rules it has now, until "
        f"{_day(move.until_unix_ms)}"
        for move in sorted(new - old, key=lambda move: move.device_id)
    ]
    found += [
        f"the device {move.device_id.hex()} may no longer be moved to {move.to_group}"
        for move in sorted(old - new, key=lambda move: move.device_id)
    ]
    return tuple(found)


def _pairs(listed: policy.GroupMoves) -> set[tuple[str, str]]:
    return {(source, entry.to_group) for entry in listed.free for source in entry.from_groups}


def _each(pairs: set[tuple[str, str]], target: str) -> str:
    return ", ".join(sorted(source for source, to in pairs if to == target))


def _day(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000).astimezone().strftime("%d %B %Y, %H:%M")
