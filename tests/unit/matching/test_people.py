"""Groups of people out of a bundle: who is in the register, who is not, and what rules then do."""

from __future__ import annotations

import random

import pytest

from schoolkeeper_proto import policy
from schoolkeeper_proto.conditions import (
    KNOWN,
    Circumstances,
    ZoneClock,
    compile_condition,
    condition_from_json,
    holds,
)
from schoolkeeper_proto.marks import mark_hash, site_of
from schoolkeeper_proto.model import Place
from schoolkeeper_proto.people import PeopleMistake, PeopleTable, account_pseudonym, person_group

KEY = b"k" * 32
NOW = 1_795_428_000_000
DAY_MS = 86_400_000


def members(*accounts: str) -> bytes:
    return b"".join(sorted(account_pseudonym(KEY, account)[:8] for account in accounts))


def table(**sets: tuple[str, ...]) -> PeopleTable:
    held = tuple(policy.PeopleSet(groups=(name,), members=members(*who)) for name, who in sets.items())
    return PeopleTable(policy.PeopleSection(sets=held), KEY)


def holds_for(when: policy.Applicability, groups: frozenset[str] | None, now: int = NOW) -> bool | None:
    condition = compile_condition(when)
    assert condition_from_json(condition) == condition
    return holds(condition, Circumstances(now_ms=now, place="on-site", groups=groups), ZoneClock())


def test_an_account_has_the_groups_of_its_set_and_its_own() -> None:
    people = table(pupils=("ann", "bob"), staff=("cy",))
    assert people.groups_of("bob") == {KNOWN, "people:pupils", person_group(account_pseudonym(KEY, "bob"))}
    assert people.groups_of("cy") - people.groups_of("bob") >= {"people:staff"}
    assert people.groups_of("dee") == {person_group(account_pseudonym(KEY, "dee"))}
    assert people.groups_of("") == frozenset()


def test_every_member_of_many_is_found_and_nobody_else() -> None:
    accounts = [f"p{number}" for number in range(700)]
    people = table(pupils=tuple(accounts))
    assert all("people:pupils" in people.groups_of(account) for account in accounts)
    assert not any("people:pupils" in people.groups_of(f"q{number}") for number in range(700))


@pytest.mark.parametrize("section", [
    policy.PeopleSection(sets=(policy.PeopleSet(groups=("x",), members=b"1234567"),)),
    policy.PeopleSection(member_bytes=0, sets=(policy.PeopleSet(groups=("x",), members=b""),)),
])  # fmt: skip
def test_a_broken_section_is_refused(section: policy.PeopleSection) -> None:
    with pytest.raises(PeopleMistake, match="set 0"):
        PeopleTable(section, KEY)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (frozenset({KNOWN, "people:pupils"}), True),
        (frozenset({KNOWN, "people:staff"}), False),
        # Not in the register: it cannot be told, and a stricter rule holds. A system's group is not the school's.
        (frozenset({"staff", "pupils"}), None),
        (frozenset({KNOWN}), False),
        (None, None),
    ],
)
def test_a_rule_for_people(groups: frozenset[str] | None, expected: bool | None) -> None:
    assert holds_for(policy.Applicability(user_groups=("people:pupils",)), groups) is expected


def test_a_rule_for_one_person_is_untold_where_nobody_is_told_apart() -> None:
    ann = person_group(account_pseudonym(KEY, "ann"))
    rule = policy.Applicability(user_groups=(ann,))
    assert holds_for(rule, table().groups_of("ann")) is True
    assert holds_for(rule, table().groups_of("bob")) is False
    assert holds_for(rule, frozenset({"users"})) is None


@pytest.mark.parametrize(
    ("groups", "now", "expected"),
    [
        (frozenset({KNOWN, "people:staff"}), NOW, False),
        (frozenset({KNOWN, "people:staff"}), NOW + DAY_MS, True),  # it has ended
        (frozenset({KNOWN, "people:staff"}), NOW - 1, True),  # it has not begun
        (frozenset({KNOWN, "people:pupils"}), NOW, True),
        (frozenset({"users"}), NOW, True),  # who cannot be told has no exception
        (None, NOW, True),
    ],
)
def test_an_exception_takes_away_only_from_whom_it_names_and_only_while_it_lasts(
    groups: frozenset[str] | None, now: int, expected: bool
) -> None:
    exception = policy.RuleException(
        exception_id="e", user_groups=("people:staff",), not_before_unix_ms=NOW, expires_unix_ms=NOW + DAY_MS
    )
    assert holds_for(policy.Applicability(exceptions=(exception,)), groups, now) is expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (1_795_391_999_000, False),  # 22 November 2026, 23:59:59 in London
        (1_795_392_000_000, True),  # 23 November 2026, 00:00
        (1_795_392_000_000 + 2 * DAY_MS - 1, True),
        (1_795_392_000_000 + 2 * DAY_MS, False),
        (1_795_392_000_000 + 30 * DAY_MS, True),  # the last range has no end
    ],
)
def test_days_are_the_schools_own(now: int, expected: bool) -> None:
    first = 1_795_392_000_000 // DAY_MS
    days = (
        policy.DayRange(first_day=first, last_day=first + 1),
        policy.DayRange(first_day=first + 20),
    )
    when = policy.Applicability(time_zone="Europe/London", days=days)
    assert holds_for(when, frozenset(), now) is expected


def test_a_site_needs_as_many_kinds_of_mark_as_it_says() -> None:
    kinds = policy.MarkKind
    marks = tuple(
        policy.NetworkMark(kind=kind, hash=mark_hash(KEY, kind, value))
        for kind, value in ((kinds.SSID, "School"), (kinds.DNS_SUFFIX, "school.example"), (kinds.SSID, "Old"))
    )
    section = policy.SitesSection(sites=(policy.Site(name="main", marks=marks, kinds_needed=2),))
    wireless = mark_hash(KEY, kinds.SSID, "School")
    assert site_of(section, {kinds.SSID: {wireless, mark_hash(KEY, kinds.SSID, "Old")}}) is None
    named = mark_hash(KEY, kinds.DNS_SUFFIX, "School.Example.")
    assert site_of(section, {kinds.SSID: {wireless}, kinds.DNS_SUFFIX: {named}}) == "main"
    assert site_of(section, {kinds.GATEWAY_MAC: {wireless}, kinds.DNS_SUFFIX: {named}}) is None


def test_exceptions_never_widen_beyond_their_rule() -> None:
    """Property: adding exceptions to a condition can turn True into False and nothing else."""
    chance = random.Random(5)
    names = ("people:pupils", "people:staff", "person:00", KNOWN, "users")
    for _ in range(3_000):
        who = tuple(chance.sample(names[:3], chance.randint(0, 2)))
        groups = frozenset(chance.sample(names, chance.randint(0, 4))) if chance.random() > 0.1 else None
        bare = policy.Applicability(user_groups=who, places=(Place.ON_SITE,))
        exceptions = tuple(
            policy.RuleException(
                exception_id=f"e{number}",
                user_groups=tuple(chance.sample(names[:3], chance.randint(0, 2))),
                expires_unix_ms=chance.choice((0, NOW - 1, NOW, NOW + 1)),
            )
            for number in range(chance.randint(1, 3))
        )
        excepted = policy.Applicability(user_groups=who, places=bare.places, exceptions=exceptions)
        before, after = holds_for(bare, groups), holds_for(excepted, groups)
        assert after is before or after is False
        if all(one.expires_unix_ms and one.expires_unix_ms <= NOW for one in exceptions):
            assert after is before
