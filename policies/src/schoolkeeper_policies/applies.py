"""For which devices and people, when and where a rule of the pack holds, as a device reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schoolkeeper_policies import model
from schoolkeeper_policies.registers import Register
from schoolkeeper_proto import policy
from schoolkeeper_proto.people import PERSON, PREFIX, account_pseudonym, person_group

_EPOCH = date(1970, 1, 1)
FORGOTTEN_AFTER = timedelta(days=60)
"""So long after the last term that the pack knows, every day counts as a day of school again: a calendar that nobody
renewed must not switch rules off."""
BREAKS = frozenset({"break", "lunch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One group of devices of one pack. ``register`` None: no account can be told from its name."""

    pack: model.Pack
    group: str
    pseudonym_key: bytes = b""
    register: Register | None = None
    lifted: dict[str, tuple[policy.RuleException, ...]] = field(default_factory=dict)

    @property
    def definition(self) -> model.Group | None:
        return next((group for group in self.pack.groups if group.name == self.group), None)

    @property
    def tells_people(self) -> bool:
        """Whether devices are to tell people apart by a register, and not by whom they are for."""
        return self.pack.people is not None and self.pack.people.register_ is not None

    @property
    def audiences(self) -> frozenset[str] | None:
        """Who uses the devices of this group, by its profile; None where it has none."""
        found = self.definition
        return model.AUDIENCES_OF[found.profile] if found is not None and found.profile is not None else None


def names_group(refs: tuple[str, ...], name: str, definition: model.Group | None) -> bool:
    """Whether any reference means the group of devices; none means every group."""
    if not refs or name in refs:
        return True
    if definition is None:
        return False
    ways = {f"tag:{tag}" for tag in definition.tags}
    if definition.profile is not None:
        ways.add(f"profile:{definition.profile}")
    return not ways.isdisjoint(refs)


def concerns(rule: model.Rule, target: Target) -> bool:
    """Whether the bundle of this group carries the rule at all."""
    if not names_group(rule.groups, target.group, target.definition):
        return False
    if not audience_of(rule) or target.tells_people or target.audiences is None:
        # A group of devices that nothing is known about gets every rule: the stricter reading.
        return True
    return not target.audiences.isdisjoint(rule.audience)


def audience_of(rule: model.Rule) -> tuple[str, ...]:
    """Empty for everybody."""
    return () if model.EVERYBODY in rule.audience else rule.audience


def applicability(rule: model.Rule, target: Target) -> policy.Applicability | None:
    """When, where and for whom; None for always, everywhere and everybody."""
    school = target.pack.school
    when = rule.when or model.When()
    windows = tuple(_windows(when, school))
    days = school_days(school) if windows and not when.times else ()
    people = tuple(PREFIX + name for name in audience_of(rule)) if target.tells_people else ()
    exceptions = (
        *(one for given in rule.exceptions if (one := _exception(given, target)) is not None),
        *target.lifted.get(rule.id, ()),
    )
    if not (windows or when.places or when.user_groups or people or exceptions):
        return None
    return policy.Applicability(
        times=windows,
        places=when.places,
        user_groups=(*when.user_groups, *people),
        time_zone=school.time_zone if windows else "",
        exceptions=exceptions,
        days=days,
    )


def school_hours(school: model.School) -> policy.Applicability:
    """While school is: its hours on the days of its terms."""
    return policy.Applicability(
        times=tuple(_windows(model.When(school_hours=True), school)),
        time_zone=school.time_zone,
        days=school_days(school),
    )


def _windows(when: model.When, school: model.School) -> Iterator[policy.TimeWindow]:
    hours: list[model.Hours] = [*when.times, *(school.hours if when.school_hours else ())]
    hours += [period for period in school.timetable if in_periods(period, when.periods)]
    for window in hours:
        yield window_of(window)


def window_of(hours: model.Hours) -> policy.TimeWindow:
    return policy.TimeWindow(
        weekdays=sum(1 << model.WEEKDAYS.index(day) for day in set(hours.days)),
        from_minute=model.minute_of(hours.from_),
        to_minute=model.minute_of(hours.to),
    )


def in_periods(period: model.Period, names: tuple[str, ...]) -> bool:
    """Whether the names of a rule mean this period of the timetable."""
    return (
        period.name in names
        or ("breaks" in names and period.kind in BREAKS)
        or ("lessons" in names and period.kind == "lesson")
    )


def school_days(school: model.School) -> tuple[policy.DayRange, ...]:
    """The days of school as ranges; empty where the pack names no terms."""
    found: list[policy.DayRange] = []
    for term in sorted(school.terms, key=lambda one: one.first):
        first = _day(term.first)
        for closed in sorted(day for day in set(school.closed) if term.first <= day <= term.last):
            if first < _day(closed):
                found.append(policy.DayRange(first_day=first, last_day=_day(closed) - 1))
            first = _day(closed) + 1
        if first <= _day(term.last):
            found.append(policy.DayRange(first_day=first, last_day=_day(term.last)))
    if found:
        found.append(policy.DayRange(first_day=_day(max(t.last for t in school.terms) + FORGOTTEN_AFTER)))
    return tuple(found)


def _day(day: date) -> int:
    return (day - _EPOCH).days


def _exception(given: model.RuleException, target: Target) -> policy.RuleException | None:
    """None where it does not concern the group, or where nobody on its devices can be told to be meant."""
    if not names_group(given.groups, target.group, target.definition):
        return None
    people = tuple(_who(name, target) for name in given.people)
    if people and not target.tells_people:
        if target.audiences is None or target.audiences.isdisjoint(given.people):
            return None
        people = ()
    return policy.RuleException(
        exception_id=given.id,
        user_groups=people,
        not_before_unix_ms=start_of(given.from_, target.pack.school) if given.from_ is not None else 0,
        expires_unix_ms=end_of(given.until, target.pack.school) if given.until is not None else 0,
    )


def _who(name: str, target: Target) -> str:
    """A group as rules name it; a person by the pseudonym of the account."""
    if not name.startswith(PERSON):
        return PREFIX + name
    person = target.register.by_id(name.removeprefix(PERSON)) if target.register is not None else None
    if person is None:
        # Nobody has this group: without the register an exception holds for nobody.
        return PERSON + "unknown"
    return person_group(account_pseudonym(target.pseudonym_key, person.account))


def lifted_rules(target: Target) -> dict[str, tuple[policy.RuleException, ...]]:
    """Rule id -> what the pack's overrides take away from it; only a hash of the reason is among it."""
    found: dict[str, tuple[policy.RuleException, ...]] = {}
    for override in target.pack.overrides:
        who = (
            f"{PERSON}{override.pseudonym}"
            if override.pseudonym
            else _who(f"{PERSON}{override.person}", target)
        )
        one = policy.RuleException(
            exception_id=override.id,
            user_groups=(who,),
            expires_unix_ms=end_of(override.review, target.pack.school),
            reason_commitment=bytes.fromhex(override.reason_hash),
        )
        for rule_id in override.lift:
            found[rule_id] = (*found.get(rule_id, ()), one)
    return found


def start_of(day: date, school: model.School) -> int:
    """Unix milliseconds of the day's first moment in the school's time."""
    moment = datetime.combine(day, time.min, tzinfo=ZoneInfo(school.time_zone))
    return int(moment.astimezone(UTC).timestamp() * 1000)


def end_of(day: date, school: model.School) -> int:
    """Unix milliseconds of the first moment after the day."""
    return start_of(day + timedelta(days=1), school)
