"""Whether a device may be moved to another group: what the device itself decides, from what officers signed. Pure.

The collector's online key says which group a device is in. It may put a device under rules as strict or stricter in
every safeguarding rule; a move to weaker ones needs the officers. Which groups are which is compared where policies
are compiled and signed as the target ``moves``: a device compares nothing, it reads that list.
"""

from __future__ import annotations

from schoolkeeper_proto import policy
from schoolkeeper_proto.trust import TrustRefused

MAX_SIGNED_DAYS = 30
REFUSED = "group-move"
"""The stable word of a move that the officers did not sign."""


def is_free(moves: policy.GroupMoves | None, from_group: str, to_group: str) -> bool:
    """Whether the officers' list lets every device of ``from_group`` come to ``to_group``."""
    if from_group == to_group:
        return True
    listed = moves.free if moves is not None else ()
    return any(entry.to_group == to_group and from_group in entry.from_groups for entry in listed)


def is_signed(moves: policy.GroupMoves | None, device_id: bytes, to_group: str, now_ms: int) -> bool:
    """Whether the officers named this very device for ``to_group``, and the time for it has not run out."""
    return any(
        (entry.device_id, entry.to_group) == (device_id, to_group) and now_ms < entry.until_unix_ms
        for entry in (moves.signed if moves is not None else ())
    )


def check_moves(moves: policy.GroupMoves, school_id: str) -> None:
    """Raises ``TrustRefused`` for another school's list."""
    if moves.school_id != school_id:
        raise TrustRefused("wrong-school", f"the list of moves is of the school {moves.school_id!r}")


def refusal(from_group: str, to_group: str) -> str:
    """The sentence about a move that was refused, with the remedy."""
    return (
        f"the collector wants this device in the group {to_group!r}; not every safeguarding rule of {from_group!r} "
        f"holds there, and the officers did not sign the move. It stays in {from_group!r}: if it is meant, "
        f"`schoolkeeper-collector stage --allow-move DEVICE={to_group}` and two signatures"
    )
