"""What the desk says to the person who asks. It promises nothing: nobody has decided, and often nobody has seen it."""

from __future__ import annotations

from collections.abc import Sequence

from schoolkeeper_agent.requests import OpenRequest, Refusal, declined_words
from schoolkeeper_agent.spool.contract import FrameState

HOW = 'To ask for an exception: schoolkeeper-agent ask RULE --because lesson --words "why you need it"'
_ARRIVED = "it has reached the school; that does not mean that anybody has read it yet"
_KEPT = "it is kept on this device and will be sent; nobody has seen it yet"
_ASIDE = "the school's server could not take it; tell the technician"
_GONE = "this device had no room for it any more; ask again, or tell the technician"


def fate_words(fate: FrameState | None) -> str:
    match fate:
        case FrameState.DELIVERED:
            return _ARRIVED
        case FrameState.PENDING:
            return _KEPT
        case FrameState.SET_ASIDE:
            return _ASIDE
        case None:
            return _GONE


def kept_words(reference: str, fate: FrameState | None) -> str:
    return (
        f"Your request has the number {reference}: {fate_words(fate)}.\n"
        "Whether it is allowed or declined, you are told on this device. Give the number when you ask after it."
    )


def not_kept_words(reference: str, because: str) -> str:
    why = f" ({because})" if because else ""
    return (
        f"Your request has the number {reference}, but it could not be kept yet{why}: it would be lost if this device"
        " were switched off now. See what becomes of it in a minute: schoolkeeper-agent ask"
    )


def often_words(per_hour: int, wait_ms: int) -> str:
    minutes = max(1, -(-wait_ms // 60_000))
    return (
        f"You have asked {per_hour} times within an hour, which is the limit: nothing was asked. You can ask again in"
        f" {minutes} {'minute' if minutes == 1 else 'minutes'}; until then, go to your teacher or the technician."
    )


def unknown_rule_words(rule_id: str, refused: Sequence[Refusal]) -> str:
    said = f"No rule in force on this device is called {rule_id!r}: nothing was asked."
    if not refused:
        return f"{said} The rule's name stands in the notice that refused you."
    names = dict.fromkeys(f"  {one.rule_id} ({one.what})" for one in refused)
    return "\n".join((said, "These refused you lately:", *names))


def lately_words(
    refused: Sequence[Refusal],
    asked: Sequence[tuple[str, str, bool, FrameState | None]],
    now: int,
    declined: Sequence[OpenRequest] = (),
) -> str:
    """``asked``: number, rule, whether it is durable here, and what became of it. ``now`` is Unix milliseconds.

    ``declined``: this account's own.
    """
    parts: list[str] = []
    if declined:
        parts += ["Declined in the last 14 days:", *(f"  {declined_words(one)}" for one in declined)]
    if refused:
        parts += ["Refused to you lately (only remembered until this device starts anew):"]
        parts += [f"  {one.rule_id} ({one.what}), {_ago(now - one.at_unix_ms)}" for one in refused]
        parts += [HOW]
    else:
        parts += ["Nothing was refused to you lately, since this device was started.", HOW]
    if asked:
        parts += ["You asked within the last hour:"]
        for reference, rule_id, durable, fate in asked:
            what = fate_words(fate) if durable else "it could not be kept yet"
            parts.append(f"  {reference}, {rule_id}: {what}")
    return "\n".join(parts)


def _ago(milliseconds: int) -> str:
    minutes = max(0, milliseconds) // 60_000
    if minutes < 1:
        return "just now"
    if minutes < 120:
        return f"{minutes} {'minute' if minutes == 1 else 'minutes'} ago"
    return f"{minutes // 60} hours ago"
