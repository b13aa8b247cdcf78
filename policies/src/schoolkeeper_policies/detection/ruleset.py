"""Compiled rules, indexed by the kind of event they want, and what happens when one of them matches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import assert_never

from schoolkeeper_policies.detection.meta import RuleMeta, RuleSubject
from schoolkeeper_policies.sigma import model as sigma
from schoolkeeper_policies.sigma.compile import FieldValue, Matcher, Record
from schoolkeeper_policies.sigma.correlate import Entry, Window
from schoolkeeper_proto.model import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionRule:
    """A rule or correlation as the rest of the product knows it."""

    rule_id: str
    version: str
    title: str
    level: Severity
    meta: RuleMeta
    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlator:
    rule: DetectionRule
    correlation: sigma.Correlation


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One plain rule: whether a record matches, and what follows if it does."""

    rule: DetectionRule
    kind: str
    matches: Matcher
    finds: bool
    feeds: tuple[Correlator, ...] = ()
    recovers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A rule matched. ``group`` is what a correlation grouped by; ``entries`` are what the finding rests on."""

    rule: DetectionRule
    subject: str
    group: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def finding_id(self) -> bytes:
        """SHA-256 over rule, version, group and sorted events: the same finding twice is one."""
        digest = hashlib.sha256()
        references = sorted(stable(entry.reference) for entry in self.entries)
        for part in (self.rule.rule_id, self.rule.version, str(len(self.group)), *self.group, *references):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        return digest.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What ``rule_ids`` alerted about is over for this subject, which may be named by device or by person."""

    rule_ids: tuple[str, ...]
    subjects: tuple[str, ...]


Outcome = Found | Recovered
WindowOf = Callable[[Correlator, tuple[str, ...]], Window]
"""Gives the window of one correlation and group; the caller keeps what changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """All rules of a school."""

    rules: dict[str, DetectionRule]
    by_kind: dict[str, tuple[Detector, ...]]
    tests: tuple[sigma.AnyRule, ...] = field(default=())

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds that any rule wants; an event of another kind need not be decoded."""
        return frozenset(self.by_kind)


def evaluate(
    detector: Detector, record: Record, *, at_ms: int, reference: str, horizon_ms: int, window: WindowOf
) -> Iterator[Outcome]:
    """What follows from one record for one rule; ``reference`` names the event for ever."""
    if not detector.matches(record):
        return
    subject = as_text(record.get("subject"))
    if detector.finds:
        entry = Entry(at_ms, reference)
        about = subject_for(detector.rule.meta.subject, record, reference)
        yield Found(rule=detector.rule, subject=about, group=(subject,), entries=(entry,))
    for correlator in detector.feeds:
        found = _correlate(correlator, detector.rule.rule_id, record, at_ms, reference, horizon_ms, window)
        if found is not None:
            yield found
    if detector.recovers:
        device = subject_for(RuleSubject.DEVICE, record, reference)
        yield Recovered(rule_ids=detector.recovers, subjects=tuple({subject, device}))


def _correlate(
    correlator: Correlator,
    rule_id: str,
    record: Record,
    at_ms: int,
    reference: str,
    horizon_ms: int,
    window: WindowOf,
) -> Found | None:
    correlation = correlator.correlation
    group = tuple(as_text(record.get(name)) for name, _ in correlation.group_by)
    key = _key(correlation, rule_id, record)
    if key is None:
        return None
    entries = window(correlator, group).add(correlation, Entry(at_ms, reference, key), horizon_ms=horizon_ms)
    if not entries:
        return None
    return Found(
        rule=correlator.rule,
        subject=subject_for(correlator.rule.meta.subject, record, reference),
        group=group,
        entries=entries,
    )


def _key(correlation: sigma.Correlation, rule_id: str, record: Record) -> str | None:
    """What an entry counts as; None when it does not count."""
    match correlation.type:
        case sigma.CorrelationType.EVENT_COUNT:
            return ""
        case sigma.CorrelationType.VALUE_COUNT:
            value = record.get(correlation.field)
            return None if value is None else as_text(value)
        case sigma.CorrelationType.TEMPORAL:
            return rule_id
        case _:
            assert_never(correlation.type)


def subject_for(kind: RuleSubject, record: Record, reference: str) -> str:
    """Whom or what the alert is about, as its key."""
    device = as_text(record.get("device"))
    match kind:
        case RuleSubject.USER:
            return as_text(record.get("subject"))
        case RuleSubject.DEVICE:
            return f"device:{device}" if device else "school"
        case RuleSubject.SCHOOL:
            return "school"
        case RuleSubject.REPORT:
            return f"report:{stable(reference)}"
        case _:
            assert_never(kind)


def stable(reference: str) -> str:
    """A reference without what is behind '#', which only helps to find the event in one database."""
    return reference.partition("#")[0]


def as_text(value: FieldValue) -> str:
    """A value as part of a group or of a title: short, and the same for the same value."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(as_text(item) for item in value[:8])
    return str(value)[:256]
