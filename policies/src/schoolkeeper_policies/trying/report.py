"""A plan for people and programs: every change with its groups and devices, and what it would have done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from schoolkeeper_policies.moments import show_moment
from schoolkeeper_policies.plan import Change, Direction, compare
from schoolkeeper_policies.trying.backtest import TOP, Effect, Outcome, Pair, Tally
from schoolkeeper_proto.bundle import content_hash

_ORDER = (Direction.WEAKER, Direction.DIFFERENT, Direction.STRICTER, Direction.WORDS)
_DOES = {
    Effect.REFUSED: ("would have refused", "start"),
    Effect.WARNED: ("would have warned of", "start"),
    Effect.STARTED: ("would have let go", "start that is refused now"),
    Effect.MEDIUM_LIMITED: ("would have limited", "medium"),
    Effect.MEDIUM_FREED: ("would have freed", "medium"),
}
_PLURAL = {
    "start": "starts",
    "start that is refused now": "starts that are refused now",
    "medium": "media",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One change and all groups that it reaches. ``devices`` is None where it is not known."""

    change: Change
    groups: tuple[str, ...]
    devices: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``devices`` are by group; None without a list. ``outcome`` is None without events."""

    planned: tuple[Planned, ...]
    groups: tuple[str, ...]
    devices: Mapping[str, int] | None = None
    outcome: Outcome | None = None
    time_zone: str = "UTC"
    contents: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By group: hashes, in hexadecimal, of what the policy in force says (empty: nothing is) and of what would come."""

    @property
    def new_groups(self) -> tuple[str, ...]:
        """Groups in which nothing is in force to compare with."""
        return tuple(group for group, (before, _) in self.contents.items() if not before)

    @property
    def weakens_safeguarding(self) -> tuple[Planned, ...]:
        return tuple(one for one in self.planned if one.change.weakens_safeguarding)

    def count(self, direction: Direction) -> int:
        return sum(one.change.direction is direction for one in self.planned)


def make_plan(
    pairs: Mapping[str, Pair],
    *,
    devices: Mapping[str, int] | None = None,
    outcome: Outcome | None = None,
    time_zone: str = "UTC",
) -> Plan:
    """Compares each group's pair; the same change in several groups becomes one."""
    groups: dict[Change, list[str]] = {}
    for group, pair in sorted(pairs.items()):
        for change in compare(pair.before, pair.after):
            groups.setdefault(replace(change, group=""), []).append(group)
    planned = [
        Planned(
            change=change,
            groups=tuple(held),
            devices=None if devices is None else sum(devices.get(group, 0) for group in held),
        )
        for change, held in groups.items()
    ]
    planned.sort(key=lambda one: (not one.change.weakens_safeguarding, _ORDER.index(one.change.direction)))
    return Plan(
        planned=tuple(planned),
        groups=tuple(sorted(pairs)),
        devices=devices,
        outcome=outcome,
        time_zone=time_zone,
        contents={
            group: (
                content_hash(pair.before.manifest).hex() if pair.before is not None else "",
                content_hash(pair.after.manifest).hex(),
            )
            for group, pair in sorted(pairs.items())
        },
    )


# ---- for people -------------------------------------------------------------------------------------------


def plan_text(plan: Plan) -> str:
    """As a terminal shows it."""
    lines = (
        [f"new: in {', '.join(plan.new_groups)} nothing is in force to compare with"]
        if plan.new_groups
        else []
    )
    if not plan.planned:
        lines.append(f"nothing changes in {', '.join(plan.groups)}")
    else:
        counts = ", ".join(f"{plan.count(one)} {one}" for one in _ORDER if plan.count(one))
        all_new = set(plan.groups) <= set(plan.new_groups)
        lines += [
            f"{len(plan.planned)} rules and settings"
            if all_new
            else f"{len(plan.planned)} change{'s' if len(plan.planned) != 1 else ''}: {counts}",
            "",
        ]
        for one in plan.planned:
            lines += _planned(one, frozenset(plan.new_groups))
    if set(plan.groups) <= set(plan.new_groups):
        lines += ["", "When a new group is staged, it is compared with a group that is in force then."]
    elif weaker := plan.weakens_safeguarding:
        lines += [
            "",
            f"{len(weaker)} of them weaken safeguarding, or cannot be told. They need a technical and an educational",
            "risk assessment, and the leadership's consent.",
        ]
    if plan.outcome is not None:
        lines += ["", *outcome_lines(plan.outcome, plan.time_zone)]
    return "\n".join(lines)


def _planned(one: Planned, new: frozenset[str]) -> list[str]:
    change = one.change
    mark = " [safeguarding]" if change.safeguarding else ""
    where = f"{change.section} {change.rule_id}".strip()
    reach = ", ".join(one.groups) + ("" if one.devices is None else f": {_many(one.devices, 'device')}")
    if set(one.groups) <= new:
        # Against nothing there is no direction and no reason: it is there, or it is not.
        return [f"new: {where}{mark} ({reach})", f"    + {change.after}"]
    lines = [f"{change.direction}: {where} {change.what}{mark} ({reach})", f"    {change.why}"]
    lines += [f"    - {change.before}"] if change.before else []
    lines += [f"    + {change.after}"] if change.after else []
    return lines


def outcome_lines(outcome: Outcome, zone: str) -> list[str]:
    """What would have been otherwise, one paragraph per effect."""
    span = f"{show_moment(outcome.since_ms, zone)} to {show_moment(outcome.until_ms, zone)}"
    lines = [f"tried against {_many(outcome.events, 'event')} of {_many(outcome.devices, 'device')}, {span}:"]
    for effect in Effect:
        lines += effect_lines(effect, outcome.of(effect), zone)
    if len(lines) == 1:
        lines.append("  nothing would have been otherwise")
    if outcome.skipped:
        lines.append(f"  {_many(outcome.skipped, 'event')} lie outside the time or are of other groups")
    lines.append("  at least, because:")
    lines += [f"    {bound}" for bound in outcome.bounds]
    return lines


def effect_lines(effect: Effect, tallies: tuple[Tally, ...], zone: str) -> list[str]:
    """'would have refused at least 37 starts on 12 devices, the first on Tue 24 Nov 2026 09:12; top: …', by rule."""
    verb, noun = _DOES[effect]
    lines = []
    for tally in tallies:
        if not tally.count:
            lines.append(f"  {tally.rule_id}: {verb} up to {tally.unsure}, their times are not known")
            continue
        amount = f"{tally.count} {noun if tally.count == 1 else _PLURAL[noun]}"
        first = f"the first on {show_moment(tally.first_ms, zone)}"
        top = ", ".join(f"{name} {count}" for name, count in tally.names.most_common(TOP))
        more = f"; up to {tally.unsure} more, their times are not known" if tally.unsure else ""
        rule = tally.rule_id or "what everything else gets"
        devices = _many(len(tally.devices), "device")
        lines.append(f"  {rule}: {verb} at least {amount} on {devices}, {first}; top: {top}{more}")
    return lines


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


# ---- for programs -----------------------------------------------------------------------------------------


def plan_json(plan: Plan) -> dict[str, Any]:
    """Format 1: keys are added, never changed or removed."""
    return {
        "format": 1,
        "groups": list(plan.groups),
        "bundles": {
            group: {"in_force": before or None, "to_come": after}
            for group, (before, after) in plan.contents.items()
        },
        "devices": None if plan.devices is None else dict(sorted(plan.devices.items())),
        "counts": {str(one): plan.count(one) for one in _ORDER},
        "weakens_safeguarding": bool(plan.weakens_safeguarding),
        "changes": [
            {
                "section": one.change.section,
                "rule": one.change.rule_id,
                "what": one.change.what,
                "direction": str(one.change.direction),
                "safeguarding": one.change.safeguarding,
                "before": one.change.before,
                "after": one.change.after,
                "why": one.change.why,
                "groups": list(one.groups),
                "devices": one.devices,
            }
            for one in plan.planned
        ],
        "backtest": None if plan.outcome is None else outcome_json(plan.outcome),
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """The backtest alone."""
    return {
        "since_unix_ms": outcome.since_ms,
        "until_unix_ms": outcome.until_ms,
        "events": outcome.events,
        "skipped": outcome.skipped,
        "devices": outcome.devices,
        "questions": outcome.questions,
        "at_least": True,
        "because": list(outcome.bounds),
        "effects": [
            {
                "effect": str(tally.effect),
                "rule": tally.rule_id,
                "count": tally.count,
                "unsure": tally.unsure,
                "devices": len(tally.devices),
                "groups": sorted(tally.groups),
                "first_unix_ms": tally.first_ms or None,
                "last_unix_ms": tally.last_ms or None,
                "top": [{"name": name, "count": count} for name, count in tally.names.most_common(TOP)],
            }
            for tally in outcome.tallies
        ],
    }
