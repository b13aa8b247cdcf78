"""What was refused to whom lately, and who asked for an exception and waits for the answer. Pure, bounded.

Refusals stay in memory. Requests that wait are kept over a restart by the service: a grant may come the day after.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

from schoolkeeper_agent.people import FIRST_PERSON_UID
from schoolkeeper_agent.seams import Tell
from schoolkeeper_proto.granted import InForce
from schoolkeeper_proto.wire import GrantKind

MOST_REFUSED = 8
MOST_PEOPLE = 64
MOST_OPEN = 64
LATELY_MS = 24 * 3_600_000
WAITS_MS = 14 * 86_400_000
"""After that a grant is no answer to it any more."""
EVERYBODY = -1
"""A medium that was plugged in while nobody was known to sit there."""
LOOSENS = frozenset({GrantKind.OBSERVE, GrantKind.EXCEPTION, GrantKind.LESSON})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    rule_id: str
    what: str
    at_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """``until_unix_ms``: granted until then, and not yet said to the person, who is not there; 0 while it waits."""

    user_id: int
    rule_id: str
    reference: str
    asked_unix_ms: int
    until_unix_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """``refused``: user id -> the latest last. ``waiting``: in the order in which they were asked."""

    refused: Mapping[int, tuple[Refusal, ...]] = field(default_factory=dict)
    waiting: tuple[OpenRequest, ...] = ()

    def lately(self, user_id: int, now: int) -> tuple[Refusal, ...]:
        """What this account was refused in the last day, the latest first, each rule and thing once."""
        held = (*self.refused.get(EVERYBODY, ()), *self.refused.get(user_id, ()))
        recent = [one for one in held if now - one.at_unix_ms < LATELY_MS]
        return tuple(sorted(recent, key=lambda one: one.at_unix_ms, reverse=True))


def refused(kept: Requests, user_id: int, refusal: Refusal) -> Requests:
    user_id = max(EVERYBODY, user_id)
    before = (
        one
        for one in kept.refused.get(user_id, ())
        if (one.rule_id, one.what) != (refusal.rule_id, refusal.what)
    )
    people = {who: what for who, what in kept.refused.items() if who != user_id}
    people[user_id] = (*before, refusal)[-MOST_REFUSED:]
    while len(people) > MOST_PEOPLE:
        del people[next(iter(people))]
    return replace(kept, refused=people)


def asked(kept: Requests, request: OpenRequest) -> Requests:
    others = (
        one
        for one in kept.waiting
        if (one.user_id, one.rule_id) != (request.user_id, request.rule_id)
        and request.asked_unix_ms - one.asked_unix_ms < WAITS_MS
    )
    return replace(kept, waiting=(*others, request)[-MOST_OPEN:])


def remembered(kept: Requests, before: tuple[OpenRequest, ...]) -> Requests:
    """With those of an earlier run; what was asked since comes after them."""
    new = {(one.user_id, one.rule_id) for one in kept.waiting}
    old = (one for one in before if (one.user_id, one.rule_id) not in new)
    return replace(kept, waiting=(*old, *kept.waiting)[-MOST_OPEN:])


def granted(kept: Requests, in_force: tuple[InForce, ...]) -> Requests:
    """Which of those that wait a grant in force answers."""
    waiting = tuple(_answered(one, in_force) for one in kept.waiting)
    return replace(kept, waiting=waiting)


def tell(kept: Requests, here: frozenset[int], now: int) -> tuple[Requests, tuple[Tell, ...]]:
    """Says it to those who are here; the others hear it when they sign in. A system's account never does."""
    told: list[Tell] = []
    left: list[OpenRequest] = []
    for one in kept.waiting:
        if not one.until_unix_ms:
            left.append(one)
        elif now >= one.until_unix_ms:
            continue  # it was over before the person came back
        elif one.user_id in here or one.user_id < FIRST_PERSON_UID:
            told.append(_words(one))
        else:
            left.append(one)
    return (replace(kept, waiting=tuple(left)) if len(left) != len(kept.waiting) else kept), tuple(told)


def _answered(one: OpenRequest, in_force: tuple[InForce, ...]) -> OpenRequest:
    ends = [held.until_unix_ms for held in in_force if held.kind in LOOSENS and held.concerns(one.rule_id)]
    return replace(one, until_unix_ms=max(ends, default=0))


def _words(one: OpenRequest) -> Tell:
    until = datetime.fromtimestamp(one.until_unix_ms / 1000, UTC).astimezone().strftime("%A %d %B, %H:%M")
    return Tell(
        title="You asked, and it was allowed",
        text=f"Your request {one.reference} was allowed: the rule {one.rule_id} is eased on this device until {until}.",
        user_id=one.user_id,
    )


def encode(waiting: tuple[OpenRequest, ...]) -> bytes:
    """To be kept over a restart."""
    return json.dumps([asdict(one) for one in waiting]).encode()


def decode(kept: bytes) -> tuple[OpenRequest, ...]:
    """What ``encode`` wrote; nothing when it cannot be read: then nobody is told, and the grant holds all the same."""
    try:
        return tuple(
            OpenRequest(
                user_id=int(one["user_id"]),
                rule_id=str(one["rule_id"]),
                reference=str(one["reference"]),
                asked_unix_ms=int(one["asked_unix_ms"]),
                until_unix_ms=int(one["until_unix_ms"]),
            )
            for one in json.loads(kept or b"[]")
        )
    except (ValueError, KeyError, TypeError):
        return ()
