"""Runs the tests inside a pack's rules, and those of the whole policy, with the device's own engine.

    tests:
      - {name: not in lessons, at: Mon 10:15, app: /usr/games/steam, expect: block}
      - {name: at home it may, at: Sat 12:00, app: /usr/games/steam, expect: allow}

A rule with tests needs one in which it decides and one in which it does not, or the tests would hold without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from schoolkeeper_policies import model
from schoolkeeper_policies.detection.trial import Failure
from schoolkeeper_policies.explain import (
    Answer,
    LeftIdle,
    NetworkUsed,
    PeripheralUsed,
    Program,
    Question,
    SiteVisit,
    What,
    explain,
)
from schoolkeeper_policies.moments import MomentMistake, read_moment
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.subject import LoadedPack, Subject
from schoolkeeper_proto.model import Medium
from schoolkeeper_proto.people import KNOWN, PREFIX


def run_policy_tests(pack: LoadedPack, *, now_ms: int) -> tuple[int, list[Failure]]:
    """(number of tests run, what failed). Raises ``PolicyError`` where the pack cannot be compiled."""
    trial = _Trial(pack, now_ms)
    count = 0
    failures: list[Failure] = []
    for rule in rules_of(pack.pack):
        count += len(rule.tests)
        decided = [trial.run(test, rule.id, failures) for test in rule.tests]
        if decided and (all(decided) or not any(decided)):
            reason = "a test in which it decides and one in which it does not are both needed"
            failures.append(trial.failure(rule.id, "", reason))
    for test in pack.pack.tests:
        count += 1
        trial.run(test, "", failures)
    return count, failures


def rules_of(pack: model.Pack) -> Iterator[model.Rule]:
    """Every rule that the pack writes out."""
    for section in (pack.applications, pack.media, pack.sites, pack.browser, pack.network, pack.peripherals):
        yield from section
    if pack.screen is not None:
        yield pack.screen


class _Trial:
    def __init__(self, pack: LoadedPack, now_ms: int) -> None:
        self._pack = pack
        self._now_ms = now_ms
        self._subjects: dict[str, Subject] = {}

    def run(self, test: model.PolicyTest, rule_id: str, failures: list[Failure]) -> bool:
        """Whether the rule decided; what does not hold is put to ``failures``."""
        try:
            subject = self._subject_of(test, rule_id)
            answer = explain(subject, self._question(test, subject))
        except (MomentMistake, PolicyError) as error:
            failures.append(self.failure(rule_id, test.name, str(error)))
            return False
        by = answer.text.rule_id if answer.text is not None else ""
        if reason := _unlike(test, rule_id, answer, by):
            failures.append(self.failure(rule_id or test.rule or "policy", test.name, reason))
        return bool(rule_id) and by == rule_id and answer.decision != "allow"

    def failure(self, rule_id: str, test: str, reason: str) -> Failure:
        position = self._pack.positions.get(rule_id, self._pack.name)
        return Failure(position=str(position), rule_id=rule_id, test=test, reason=reason)

    def _subject_of(self, test: model.PolicyTest, rule_id: str) -> Subject:
        if test.group is not None:
            return self._subject(test.group)
        wanted = test.rule or rule_id
        subjects = [self._subject(group.name) for group in self._pack.pack.groups]
        return next((one for one in subjects if wanted in one.engine.texts), subjects[0])

    def _subject(self, group: str) -> Subject:
        if group not in self._subjects:
            self._subjects[group] = self._pack.subject(group, now_ms=self._now_ms)
        return self._subjects[group]

    def _question(self, test: model.PolicyTest, subject: Subject) -> Question:
        groups = None
        if test.people is not None or test.user_groups:
            people = (
                frozenset() if test.people is None else frozenset({KNOWN, *(PREFIX + p for p in test.people)})
            )
            groups = people | frozenset(test.user_groups)
        at_ms = read_moment(test.at, zone=subject.time_zone, now_ms=self._first_day())
        return Question(what=_what(test), at_ms=at_ms, place=test.place, groups=groups)

    def _first_day(self) -> int:
        """A test means the same on every day that it runs: weekdays are of the first whole week of the first term."""
        school = self._pack.pack.school
        zone = ZoneInfo(school.time_zone)
        first = min((term.first for term in school.terms), default=None)
        if first is None:
            return self._now_ms
        while first.weekday() != 0 or first in school.closed:
            first += timedelta(days=1)
        return int(datetime(first.year, first.month, first.day, tzinfo=zone).timestamp() * 1000)


def _what(test: model.PolicyTest) -> What:
    if test.app is not None:
        return Program(path=test.app, sha256=test.sha256, package=test.package)
    if test.medium is not None:
        vendor, _, product = test.medium.product.partition(":")
        return Medium(
            kernel_name="",
            serial=test.medium.serial,
            vendor_id=vendor,
            product_id=product,
            bus=test.medium.bus,
            encryption=test.medium.encryption,
        )
    if test.network is not None:
        return NetworkUsed(use=str(test.network))
    if test.peripheral is not None:
        return PeripheralUsed(kind=str(test.peripheral))
    if test.site is not None or test.category is not None:
        told = frozenset({test.category} if test.category is not None else ())
        return SiteVisit(site=test.site or "", categories=told)
    return LeftIdle()


def _unlike(test: model.PolicyTest, rule_id: str, answer: Answer, by: str) -> str:
    decided = f"{answer.decision} by {by or 'no rule'}"
    if answer.decision != test.expect:
        return f"decided {decided} instead of {test.expect}"
    wanted = test.rule or (rule_id if test.expect != "allow" else "")
    return f"decided {decided}, not by {wanted}" if wanted and by != wanted else ""
