"""Runs the tests inside the rules. A test gives events, and says how often the rule finds something in them.

    tests:
      - name: three refusals within ten minutes
        finds: 1
        events:
          - {kind: application.refused, at: 0, rule.rule_id: bypass.tor}
          - {kind: application.refused, at: 300, rule.rule_id: bypass.tor}

``at`` counts seconds. ``kind`` may be left out in a plain rule. ``device`` and ``subject`` are one and the same unless
said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from schoolkeeper_policies.detection import records
from schoolkeeper_policies.detection.records import MapRecord
from schoolkeeper_policies.detection.ruleset import Correlator, Found, RuleSet, evaluate
from schoolkeeper_policies.sigma import model as sigma
from schoolkeeper_policies.sigma.compile import FieldValue
from schoolkeeper_policies.sigma.correlate import Window


class _Test(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(min_length=1)]
    finds: int = Field(ge=0)
    events: tuple[dict[str, bool | int | float | str | list[str] | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A rule's own test that did not hold, or that cannot be run."""

    position: str
    rule_id: str
    test: str
    reason: str

    def __str__(self) -> str:
        return f"{self.position}: {self.rule_id}: test {self.test!r}: {self.reason}"


def run_tests(rules: RuleSet) -> tuple[int, list[Failure]]:
    """(number of tests run, what failed). A rule without a match and a non-match among its tests fails, too."""
    failures: list[Failure] = []
    count = 0
    for rule in rules.tests:
        tests = _tests(rule, failures)
        count += len(tests)
        for test in tests:
            reason = _run(rules, rule, test)
            if reason:
                failures.append(_failure(rule, test.name, reason))
        if tests and (all(t.finds for t in tests) or not any(t.finds for t in tests)):
            failures.append(_failure(rule, "", "a test that finds and one that does not are both needed"))
    return count, failures


def _failure(rule: sigma.AnyRule, test: str, reason: str) -> Failure:
    return Failure(position=str(rule.about.position), rule_id=rule.about.name, test=test, reason=reason)


def _tests(rule: sigma.AnyRule, failures: list[Failure]) -> list[_Test]:
    held = rule.about.tests
    if not isinstance(held, list) or not held:
        failures.append(_failure(rule, "", "the rule has no tests; add two at least"))
        return []
    tests = []
    for item in held:
        try:
            tests.append(_Test.model_validate(item))
        except ValidationError as error:
            failures.append(_failure(rule, str(item)[:40], f"not a test: {error.errors()[0]['msg']}"))
    return tests


def _run(rules: RuleSet, rule: sigma.AnyRule, test: _Test) -> str:
    windows: dict[tuple[str, tuple[str, ...]], Window] = {}

    def window(correlator: Correlator, group: tuple[str, ...]) -> Window:
        return windows.setdefault((correlator.rule.rule_id, group), Window())

    found = 0
    name = rule.about.name
    for number, event in enumerate(test.events):
        fields: dict[str, FieldValue] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in event.items()
        }
        kind = str(fields.setdefault("kind", rule.logsource.category if isinstance(rule, sigma.Rule) else ""))
        seconds = fields.pop("at", 0)
        if reason := _unknown(kind, set(fields)):
            return f"event {number + 1}: {reason}"
        fields.setdefault("device", "00" * 16)
        fields.setdefault("subject", "device:" + str(fields["device"]))
        at_ms = int(float(seconds) * 1000) if isinstance(seconds, int | float) else 0
        for detector in rules.by_kind.get(kind, ()):
            if detector.rule.rule_id == name and not detector.finds:
                found += detector.matches(MapRecord(fields))
            for outcome in evaluate(
                detector,
                MapRecord(fields),
                at_ms=at_ms,
                reference=str(number),
                horizon_ms=-(10**15),
                window=window,
            ):
                found += isinstance(outcome, Found) and outcome.rule.rule_id == name
    return "" if found == test.finds else f"found {found} times instead of {test.finds}"


def _unknown(kind: str, fields: set[str]) -> str:
    if not records.is_kind(kind):
        return f"there is no kind {kind!r}"
    known = records.fields_of(kind)
    extra = sorted(fields - known) if known is not None else []
    return f"{kind} has no field {extra[0]!r}" if extra else ""
