"""What was refused to whom lately, and who asked for an exception and waits for the answer. Pure, bounded.

Refusals stay in memory. Requests that wait, and what was declined in the last 14 days, are kept over a restart by the
service: an answer may come the day after.
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
"""After that a grant is no answer to it any more, the person is told that nobody decided, and a "no" is forgotten."""
EVERYBODY = -1
"""A medium that was plugged in while nobody was known to sit there."""
MOST_WORDS = 300
DECLINED = "You asked, and it was declined"
_ROLES = {
    "technician": "the technician",
    "dsl": "the safeguarding lead (DSL)",
    "head": "the head",
}
LOOSENS = frozenset({GrantKind.OBSERVE, GrantKind.EXCEPTION, GrantKind.LESSON})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    rule_id: str
    what: str
    at_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """``until_unix_ms``: granted until then, and not yet said to the person, who is not there; 0 while it waits.

    ``declined_unix_ms``: when it was declined, or 0; ``declined_by`` is a role, ``words`` were written for whoever
    asked, ``told`` that they were shown it. It stays for 14 days, for the person to read again.
    """

    user_id: int
    rule_id: str
    reference: str
    asked_unix_ms: int
    until_unix_ms: int = 0
    declined_unix_ms: int = 0
    declined_by: str = ""
    words: str = ""
    told: bool = False


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

    def declined(self, user_id: int, now: int) -> tuple[OpenRequest, ...]:
        """What this account, and no other, asked for and did not get in the last 14 days, the latest first."""
        held = (
            one
            for one in self.waiting
            if one.user_id == user_id and one.declined_unix_ms and not _over(one, now)
        )
        return tuple(sorted(held, key=lambda one: one.declined_unix_ms, reverse=True))


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
        and not _over(one, request.asked_unix_ms)
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


def waits(kept: Requests, reference: str, rule_id: str) -> bool:
    """Whether a "no" to this request has somebody to be told."""
    return any(_is(one, reference, rule_id) for one in kept.waiting)


def declined(
    kept: Requests, reference: str, rule_id: str, *, by: str, words: str, at_unix_ms: int
) -> Requests:
    """The request with that number on that rule is answered; without one nothing changes."""

    def answered(one: OpenRequest) -> OpenRequest:
        if not _is(one, reference, rule_id):
            return one
        return replace(
            one, until_unix_ms=0, declined_unix_ms=at_unix_ms, declined_by=by, words=words[:MOST_WORDS]
        )

    return replace(kept, waiting=tuple(answered(one) for one in kept.waiting))


def tell(kept: Requests, here: frozenset[int], now: int) -> tuple[Requests, tuple[Tell, ...]]:
    """Says it to those who are here; the others hear it when they sign in. A system's account never does."""
    told: list[Tell] = []
    left: list[OpenRequest] = []
    for one in kept.waiting:
        if _over(one, now):
            continue  # it was over before the person came back
        words = _due(one, now)
        if words is None or not (one.user_id in here or one.user_id < FIRST_PERSON_UID):
            left.append(one)
            continue
        told.append(words)
        if one.declined_unix_ms:
            left.append(replace(one, told=True))
    return (replace(kept, waiting=tuple(left)) if tuple(left) != kept.waiting else kept), tuple(told)


def _is(one: OpenRequest, reference: str, rule_id: str) -> bool:
    return (one.reference, one.rule_id) == (reference, rule_id) and not one.declined_unix_ms


def _over(one: OpenRequest, now: int) -> bool:
    """Nobody needs to be told of it any more. One that nobody decided is said for another 14 days."""
    if one.declined_unix_ms:
        return now - one.declined_unix_ms >= WAITS_MS
    if one.until_unix_ms:
        return now >= one.until_unix_ms
    return now - one.asked_unix_ms >= 2 * WAITS_MS


def _due(one: OpenRequest, now: int) -> Tell | None:
    """What is to be said of it now."""
    if one.declined_unix_ms:
        return None if one.told else Tell(title=DECLINED, text=declined_words(one), user_id=one.user_id)
    if one.until_unix_ms:
        return _words(one)
    if now - one.asked_unix_ms >= WAITS_MS:
        return Tell(title="You asked, and nobody decided", text=_undecided_words(one), user_id=one.user_id)
    return None


def _answered(one: OpenRequest, in_force: tuple[InForce, ...]) -> OpenRequest:
    if one.declined_unix_ms:
        return one
    ends = [held.until_unix_ms for held in in_force if held.kind in LOOSENS and held.concerns(one.rule_id)]
    return replace(one, until_unix_ms=max(ends, default=0))


def _words(one: OpenRequest) -> Tell:
    until = datetime.fromtimestamp(one.until_unix_ms / 1000, UTC).astimezone().strftime("%A %d %B, %H:%M")
    return Tell(
        title="You asked, and it was allowed",
        text=f"Your request {one.reference} was allowed: the rule {one.rule_id} is eased on this device until {until}.",
        user_id=one.user_id,
    )


def declined_words(one: OpenRequest) -> str:
    """In full, for the person who asked."""
    who = _ROLES.get(one.declined_by, "the school")
    at = datetime.fromtimestamp(one.declined_unix_ms / 1000, UTC).astimezone().strftime("%A %d %B")
    said = f"They wrote for you: {one.words}" if one.words else "They wrote nothing for you: ask them why."
    return (
        f"Your request {one.reference} (rule {one.rule_id}) was declined on {at} by {who}. {said}"
        " You may ask again when something has changed."
    )


def _undecided_words(one: OpenRequest) -> str:
    return (
        f"As far as this device knows, nobody decided your request {one.reference} (rule {one.rule_id}) within 14 days,"
        " and it ends here. Ask again if you still need it, or go to your teacher or the technician."
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
                declined_unix_ms=int(one.get("declined_unix_ms", 0)),
                declined_by=str(one.get("declined_by", "")),
                words=str(one.get("words", "")),
                told=bool(one.get("told", False)),
            )
            for one in json.loads(kept or b"[]")
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
