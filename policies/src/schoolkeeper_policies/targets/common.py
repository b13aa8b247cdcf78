"""What every exporter shares: what goes in, what comes out, and how it is said what became of each rule.

An exporter never guesses. A rule that a platform has no setting for, or one that holds only at certain times, is left
out and named in the coverage; it is never widened or narrowed in silence.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from schoolkeeper_proto import policy
from schoolkeeper_proto.browser_policies import as_json as as_json
from schoolkeeper_proto.browser_sites import FORBIDS as FORBIDS

_NAMESPACE = uuid.UUID("5c6b5b3e-7a0f-5c0e-9a3c-3d1f3f6d2c11")
"""Fixed for ever: the same policy gives the same identifiers, so that a new import replaces the old one."""

WITHOUT = "; without: "
"""Between what a platform carries of a rule and what it does not."""
S = TypeVar("S", bound=policy.Section)


class Platform(StrEnum):
    WINDOWS = "windows"
    MACOS = "macos"
    IPADOS = "ipados"
    CHROMEOS = "chromeos"
    ANDROID = "android"
    LINUX = "linux"


class Level(StrEnum):
    """What a platform does with a rule. There is no single 'protected'."""

    ENFORCED = "enforced by our agent"
    REPORTED = "reported only"
    EXPORTED = "exported, not verified by us"
    NOT_POSSIBLE = "not possible"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """``name`` is relative, with '/'; ``data`` depends on nothing but the policy."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What became of one rule. ``note`` says how, or why not; a part that is missing is named in it."""

    rule_id: str
    level: Level
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    platform: Platform
    files: tuple[File, ...]
    coverage: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A group's compiled policy. ``school`` and ``group`` name what is exported."""

    school: str
    group: str
    sections: tuple[policy.Section, ...]

    def section(self, cls: type[S]) -> S | None:
        return next((section for section in self.sections if isinstance(section, cls)), None)

    @property
    def name(self) -> str:
        return f"Schoolkeeper: {self.school}, {self.group}"

    def identifier(self, *parts: str) -> str:
        """An upper-case UUID (RFC 9562, version 5), the same for the same parts."""
        return str(uuid.uuid5(_NAMESPACE, "/".join((self.school, self.group, *parts)))).upper()


@dataclass(slots=True)
class Notes:
    """Collects what became of each rule; said twice, the last word counts for what is missing."""

    _lines: dict[str, list[tuple[Level, str]]] = field(default_factory=dict)

    def exported(self, rule_id: str, how: str) -> None:
        self._lines.setdefault(rule_id, []).append((Level.EXPORTED, how))

    def not_possible(self, rule_id: str, why: str) -> None:
        self._lines.setdefault(rule_id, []).append((Level.NOT_POSSIBLE, why))

    def lines(self) -> tuple[Line, ...]:
        """One line per rule: exported where a part of it is, with the parts that are not."""
        return tuple(_joined(rule_id, said) for rule_id, said in self._lines.items())


def _joined(rule_id: str, said: list[tuple[Level, str]]) -> Line:
    done = list(dict.fromkeys(note for level, note in said if level is Level.EXPORTED))
    missing = list(dict.fromkeys(note for level, note in said if level is Level.NOT_POSSIBLE))
    if not done:
        return Line(rule_id=rule_id, level=Level.NOT_POSSIBLE, note="; ".join(missing))
    note = "; ".join(done) + (f"{WITHOUT}{'; '.join(missing)}" if missing else "")
    return Line(rule_id=rule_id, level=Level.EXPORTED, note=note)


def why_not(text: policy.RuleText, when: policy.Applicability | None) -> str:
    """Why a rule cannot be carried by a setting that always holds, or empty when it can."""
    if text.mode is not policy.RuleMode.ENFORCE:
        return f"its mode is {text.mode.value}, and a setting is either there or not"
    if when is None:
        return ""
    found = [
        word
        for there, word in (
            (when.times or when.days, "at certain times"),
            (when.places, "in certain places"),
            (when.user_groups, "for certain people"),
            (when.exceptions, "with exceptions"),
        )
        if there
    ]
    return f"it holds only {' and '.join(found)}, which a setting cannot say" if found else ""


def rules_of(held: Policy) -> Iterator[tuple[policy.RuleText, policy.Applicability | None]]:
    """Every rule of every section, in the order of the bundle."""
    for section in held.sections:
        match section:
            case policy.ApplicationsSection() | policy.MediaSection():
                yield from ((rule.text, rule.when) for rule in section.rules)
            case policy.ScreenSection():
                yield section.text, section.when
            case policy.BrowserSection():
                yield from ((rule.text, rule.when) for rule in section.rules)
                yield from ((setting.text, setting.when) for setting in section.settings)
            case policy.NetworkSection() | policy.PeripheralsSection():
                yield from ((rule.text, rule.when) for rule in section.rules)
            case _:
                continue


R = TypeVar(
    "R",
    policy.ApplicationRule,
    policy.MediaRule,
    policy.SiteRule,
    policy.BrowserRule,
    policy.NetworkRule,
    policy.PeripheralRule,
    policy.ScreenSection,
)


def portable(rules: Iterable[R], notes: Notes) -> Iterator[R]:
    """The rules that hold always, everywhere and for everybody; of the others it is noted why they are left out."""
    for rule in rules:
        if reason := why_not(rule.text, rule.when):
            notes.not_possible(rule.text.rule_id, reason)
        else:
            yield rule


Exporter = Callable[[Policy], Export]
"""Deterministic: the same policy gives the same bytes."""
