"""What each platform does with each rule, as a table for people: no platform has a single 'protected'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schoolkeeper_policies.targets.common import Export, Level, Line, Notes, Policy, rules_of
from schoolkeeper_proto import policy
from schoolkeeper_proto.browser_policies import missing_in_firefox
from schoolkeeper_proto.browser_sites import carried, said_of
from schoolkeeper_proto.peripheral_matching import not_carried

AGENT = "linux with our agent"
_IN_BROWSERS = (
    "in Chromium, Chrome, Edge and Firefox (which reads it when it starts); their refusals are not counted"
)
_ENFORCED: tuple[type[policy.Section], ...] = (
    policy.ApplicationsSection,
    policy.MediaSection,
    policy.ScreenSection,
)
_WITHHELD = {
    policy.PeripheralKind.PHONE: "its interfaces for files are refused, by USB; charging goes on",
    policy.PeripheralKind.EXTERNAL_CAMERA: "its interfaces for pictures are refused, by USB",
    policy.PeripheralKind.CAMERA: "where it hangs on USB, as most do",
}
_SEEN = frozenset(
    {
        policy.NetworkUse.TUNNEL,
        policy.NetworkUse.TETHERING,
        policy.NetworkUse.OTHER_NAME_SERVERS,
        policy.NetworkUse.OTHER_PROXY,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    rule_id: str
    description: str
    lines: Mapping[str, Line]
    """By platform. A platform that is missing has said nothing, and that is shown as it is."""


def agent_lines(held: Policy) -> tuple[Line, ...]:
    """What the agent does with each rule on Linux, if kernel, desktop and rights allow (see ``status``)."""
    found = []
    for section in held.sections:
        if isinstance(section, policy.BrowserSection):
            found += _browser_lines(section)
            continue
        if isinstance(section, policy.NetworkSection):
            found += _network_lines(section)
            continue
        if isinstance(section, policy.PeripheralsSection):
            found += map(_peripheral_line, section.rules)
            continue
        enforced = isinstance(section, _ENFORCED)
        for text, _ in rules_of(Policy(school=held.school, group=held.group, sections=(section,))):
            if not enforced:
                why = "this version of the agent does not act on it"
                found.append(Line(rule_id=text.rule_id, level=Level.NOT_POSSIBLE, note=why))
            elif text.mode is policy.RuleMode.ENFORCE:
                found.append(
                    Line(rule_id=text.rule_id, level=Level.ENFORCED, note="where the device can: see status")
                )
            else:
                why = f"its mode is {text.mode.value}"
                found.append(Line(rule_id=text.rule_id, level=Level.REPORTED, note=why))
        if isinstance(section, policy.PostureSection):
            found += [
                Line(rule_id=f"posture {check.check}", level=Level.REPORTED, note="checked and reported")
                for check in section.checks
            ]
    return tuple(found)


def _browser_lines(section: policy.BrowserSection) -> list[Line]:
    """The agent writes the browsers' own policies: it enforces what they carry, and sees none of their refusals."""
    notes = Notes()
    for said in (*said_of(section), *missing_in_firefox(section)):
        (notes.exported if said.carried else notes.not_possible)(said.rule_id, said.note)
    said_lines = {line.rule_id: line.note for line in notes.lines()}
    found = []
    every: tuple[policy.SiteRule | policy.BrowserRule, ...] = (*section.rules, *section.settings)
    for rule in every:
        rule_id = rule.text.rule_id
        if rule.text.mode is not policy.RuleMode.ENFORCE:
            why = f"its mode is {rule.text.mode.value}, and a browser neither observes nor warns"
            found.append(Line(rule_id=rule_id, level=Level.NOT_POSSIBLE, note=why))
        elif isinstance(rule, policy.SiteRule) and not carried(section, rule):
            note = said_lines.get(rule_id, "")
            found.append(Line(rule_id=rule_id, level=Level.NOT_POSSIBLE, note=note))
        else:
            note = "; ".join(part for part in (_IN_BROWSERS, said_lines.get(rule_id, "")) if part)
            found.append(Line(rule_id=rule_id, level=Level.ENFORCED, note=note))
    return found


def _network_lines(section: policy.NetworkSection) -> Iterable[Line]:
    """Ways round the filter are seen by the agent's sensor and refused by nothing."""
    for rule in section.rules:
        if rule.use in _SEEN:
            yield Line(rule_id=rule.text.rule_id, level=Level.REPORTED, note="seen and reported, not refused")
        else:
            why = "this version of the agent does not act on it"
            yield Line(rule_id=rule.text.rule_id, level=Level.NOT_POSSIBLE, note=why)


def _peripheral_line(rule: policy.PeripheralRule) -> Line:
    rule_id = rule.text.rule_id
    if why := not_carried(rule):
        return Line(rule_id=rule_id, level=Level.NOT_POSSIBLE, note=why)
    if rule.text.mode is not policy.RuleMode.ENFORCE:
        return Line(rule_id=rule_id, level=Level.REPORTED, note=f"its mode is {rule.text.mode.value}")
    if rule.decision.value in ("block", "block-and-raise"):
        note = _WITHHELD.get(rule.kind, "by BlueZ, set again whenever somebody changes it")
        return Line(rule_id=rule_id, level=Level.ENFORCED, note=note)
    return Line(rule_id=rule_id, level=Level.REPORTED, note=f"it only says {rule.decision.value}")


def table(held: Policy, exports: Iterable[Export]) -> tuple[Row, ...]:
    """One row per rule, in the order of the bundle; posture checks last."""
    by_platform = {AGENT: {line.rule_id: line for line in agent_lines(held)}}
    for found in exports:
        by_platform[found.platform.value] = {line.rule_id: line for line in found.coverage}
    described = {text.rule_id: text.description for text, _ in rules_of(held)}
    for line in by_platform[AGENT].values():
        described.setdefault(line.rule_id, "A check of the device's health.")
    return tuple(
        Row(
            rule_id=rule_id,
            description=description,
            lines={name: lines[rule_id] for name, lines in by_platform.items() if rule_id in lines},
        )
        for rule_id, description in described.items()
    )


def as_markdown(rows: Iterable[Row], platforms: Iterable[str]) -> str:
    """A table with one column per platform, and below it what is missing, platform by platform."""
    columns = [AGENT, *platforms]
    held = list(rows)
    lines = [f"| rule | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for row in held:
        cells = [row.lines[name].level.value if name in row.lines else "nothing" for name in columns]
        lines.append(f"| `{row.rule_id}` | {' | '.join(cells)} |")
    for name in columns:
        lines += ["", f"## {name}", ""]
        lines += [f"- `{row.rule_id}`: {row.lines[name].note}" for row in held if name in row.lines]
    return "\n".join(lines) + "\n"
