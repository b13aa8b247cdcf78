"""What is remembered of a report after it was written: its number, its account and its place. Not a word of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from schoolkeeper_agent.places import Place
from schoolkeeper_agent.session.telling_lines import State
from schoolkeeper_proto.wire import Lane

KEPT_MS = 14 * 86_400_000
"""As long as the school's server tries to say that it was read."""
MOST_KEPT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """``personal`` False: several people use the account, so nothing is ever shown there. ``quiet``: nor here, as the
    person wished. ``said``: the last state that was shown."""

    number: str
    user_id: int
    at_unix_ms: int
    personal: bool
    quiet: bool
    place: Place | None
    delivered: bool = False
    read_unix_ms: int = 0
    said: str = ""

    @property
    def awaited(self) -> bool:
        """Whether there may be something to say to its writer yet."""
        return self.personal and not self.quiet and self.said != State.READ and self.place is not None

    def news(self, state: State) -> tuple[str, str] | None:
        """Title and text, neutral: who looks over a shoulder learns nothing. None: nothing new, or nobody to tell."""
        if not self.awaited or self.said == state:
            return None
        match state:
            case State.DELIVERED:
                return "Schoolkeeper", f"{self.number}: delivered."
            case State.READ:
                return "Schoolkeeper", f"{self.number}: read."
            case _:
                return None


def encode(kept: tuple[Kept, ...]) -> bytes:
    return json.dumps(
        [
            {
                "number": one.number,
                "user_id": one.user_id,
                "at": one.at_unix_ms,
                "personal": one.personal,
                "quiet": one.quiet,
                "delivered": one.delivered,
                "read": one.read_unix_ms,
                "said": one.said,
                "place": [one.place.epoch.hex(), one.place.lane.value, one.place.sequence]
                if one.place
                else None,
            }
            for one in kept
        ]
    ).encode()


def decode(noted: bytes) -> tuple[Kept, ...]:
    """What ``encode`` wrote; nothing when it cannot be read: nobody is told then, and the report is safe."""
    try:
        return tuple(
            Kept(
                number=str(one["number"]),
                user_id=int(one["user_id"]),
                at_unix_ms=int(one["at"]),
                personal=bool(one["personal"]),
                quiet=bool(one["quiet"]),
                delivered=bool(one["delivered"]),
                read_unix_ms=int(one["read"]),
                said=str(one["said"]),
                place=_place(one["place"]),
            )
            for one in json.loads(noted or b"[]")
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _place(found: list[object] | None) -> Place | None:
    if found is None:
        return None
    epoch, lane, sequence = found
    return Place(epoch=bytes.fromhex(str(epoch)), lane=Lane(str(lane)), sequence=int(str(sequence)))
