"""Any rule of the subset against JSON events of any log source; correlations run over the events in their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from schoolkeeper_policies.problems import PolicyError, Position, Problem
from schoolkeeper_policies.sigma import model
from schoolkeeper_policies.sigma.compile import FieldValue, Matcher, Record, Scalar, compile_expression
from schoolkeeper_policies.sigma.correlate import Entry, Window
from schoolkeeper_policies.sigma.parse import parse_rules
from schoolkeeper_policies.validate import suggest

_TIMES = ("@timestamp", "timestamp", "time", "UtcTime", "TimeCreated", "at")


@dataclass(frozen=True, slots=True)
class JsonRecord:
    """A JSON object as a rule sees it: ``a.b`` is the key ``a.b``, or ``b`` inside ``a``; names as they are written."""

    fields: Mapping[str, object]

    def get(self, field: str, /) -> FieldValue:
        held: object = self.fields
        if field in self.fields:
            return _plain(self.fields[field])
        for part in field.split("."):
            if not isinstance(held, Mapping) or part not in held:
                return None
            held = held[part]
        return _plain(held)


def _plain(value: object) -> FieldValue:
    if isinstance(value, list):
        return tuple(_scalar(item) for item in value)
    return _scalar(value)


def _scalar(value: object) -> Scalar:
    return value if value is None or isinstance(value, bool | int | float | str) else None


class MatchedRules:
    """Rules of one file. ``untimed`` counts events whose time was not found: those follow each other by a second."""

    def __init__(self, rules: list[model.AnyRule]) -> None:
        self._plain: list[tuple[model.Rule, Matcher]] = []
        self._correlations: list[model.Correlation] = []
        for rule in rules:
            if isinstance(rule, model.Rule):
                self._plain.append((rule, compile_expression(rule.expression)))
            else:
                self._correlations.append(rule)
        self._only_feed = {name for rule in self._correlations if not rule.generate for name, _ in rule.rules}
        self._windows: dict[tuple[str, tuple[str, ...]], Window] = {}
        self._count = 0
        self.untimed = 0

    def take(self, record: Record, *, reference: str) -> Iterator[str]:
        """The names of the rules that find something through this event."""
        self._count += 1
        at_ms = self._time_of(record)
        matched = [rule for rule, matches in self._plain if matches(record)]
        for rule in matched:
            if rule.about.name not in self._only_feed:
                yield rule.about.name
        for correlation in self._correlations:
            for rule in matched:
                if self._correlate(correlation, rule, record, at_ms, reference):
                    yield correlation.about.name

    def _correlate(
        self, correlation: model.Correlation, rule: model.Rule, record: Record, at_ms: int, reference: str
    ) -> bool:
        if rule.about.name not in {name for name, _ in correlation.rules}:
            return False
        group = tuple(str(record.get(name)) for name, _ in correlation.group_by)
        key = ""
        if correlation.type is model.CorrelationType.TEMPORAL:
            key = rule.about.name
        elif correlation.type is model.CorrelationType.VALUE_COUNT:
            value = record.get(correlation.field)
            if value is None:
                return False
            key = str(value)
        window = self._windows.setdefault((correlation.about.name, group), Window())
        return bool(window.add(correlation, Entry(at_ms, reference, key), horizon_ms=-(10**15)))

    def _time_of(self, record: Record) -> int:
        for name in _TIMES:
            value = record.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                # Seconds until the year 5138 are below this, milliseconds since 1973 above.
                return int(value if abs(value) > 1e11 else value * 1000)
            if isinstance(value, str):
                try:
                    return int(datetime.fromisoformat(value).timestamp() * 1000)
                except ValueError:
                    continue
        self.untimed += 1
        return self._count * 1000


def read_match_rules(text: str, *, file: str) -> MatchedRules:
    """Every rule of the file; raises ``PolicyError`` with the place of what is outside the subset."""
    rules = parse_rules(text, file=file, foreign=True)
    if not rules:
        at = Position(file=file)
        raise PolicyError([Problem(position=at, reason="there is no rule in it", remedy="write one")])
    known = {rule.about.name for rule in rules if isinstance(rule, model.Rule)}
    problems = [
        Problem(
            position=at,
            reason=f"{name!r} is no plain rule of this file",
            remedy=suggest(name, sorted(known), "rules"),
        )
        for rule in rules
        if isinstance(rule, model.Correlation)
        for name, at in rule.rules
        if name not in known
    ]
    if problems:
        raise PolicyError(problems)
    return MatchedRules(rules)
