"""What the language says, and what a device gets of it: people, exceptions, overrides, times, places."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import pytest

from schoolkeeper_policies.applies import school_days
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import BundleRefused, open_bundle
from schoolkeeper_proto.marks import mark_hash, site_of
from schoolkeeper_proto.people import KNOWN, PeopleTable, account_pseudonym, person_group
from support.language import DAY_MS, HOUR_MS, KEY, MONDAY_10, app, bundle, decides, opened, pack

# ---- devices and people ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "reached"),
    [
        ("[profile:ks1]", {"ks1"}),
        ("[tag:shared, ks2]", {"library", "ks2"}),
        ("[tag:young]", {"ks1"}),
        ("[]", {"ks1", "ks2", "staff", "library"}),
    ],
)
def test_groups_of_devices_by_name_profile_or_tag(tmp_path: Path, groups: str, reached: set[str]) -> None:
    folder = pack(tmp_path, "applications:\n" + app(more=f"groups: {groups}"))
    assert {g for g in ("ks1", "ks2", "staff", "library") if opened(folder, g).applications.rules} == reached


def test_without_a_register_people_are_told_by_whom_the_device_is_for(tmp_path: Path) -> None:
    folder = pack(tmp_path, "applications:\n" + app(more="audience: [pupils]"))
    assert decides(opened(folder, "ks2"), "x") == "block"
    assert decides(opened(folder, "staff"), "x") == "allow"
    # Nothing is known about who uses these: the stricter reading.
    assert decides(opened(folder, "library"), "x") == "block"
    # And a device that knows nothing of people takes the bundle.
    open_bundle(bundle(folder, "ks2"), school_id="s", group="ks2", capabilities=frozenset())


WHO = ("ann", "bob", "cy", "reception", "old", "gone", "stranger")


def test_with_a_register_people_are_told_by_their_account(tmp_path: Path) -> None:
    folder = pack(tmp_path, "applications:\n" + app(more="audience: [pupils]"), people=True)
    held = opened(folder, "library")
    assert {who: decides(held, "x", who) for who in WHO} == {
        "ann": "block",
        "bob": "block",
        "cy": "allow",
        "reception": "block",
        "old": "block",
        "gone": "block",  # staff who left: nothing is told about them any more
        "stranger": "block",
    }
    with pytest.raises(BundleRefused, match="cannot do people/1"):
        open_bundle(bundle(folder, "library"), school_id="s", group="library", capabilities=frozenset())


def test_a_bundle_names_nobody_and_holds_only_groups_that_its_rules_name(tmp_path: Path) -> None:
    folder = pack(tmp_path, "applications:\n" + app(more="audience: [film-club]"), people=True)
    data = bundle(folder, "ks2")
    held = opened(folder, "ks2")
    assert not any(name in data for name in (b"ann", b"P1", b"4B", b"pupils"))
    assert held.people is not None
    assert {names for one in held.people.sets for names in one.groups} == {"film-club"}
    groups = PeopleTable(held.people, KEY).groups_of
    assert groups("ann") >= {KNOWN, "people:film-club"}
    assert groups("bob") >= {KNOWN, "people:film-club"}
    assert groups("cy") == {KNOWN, person_group(account_pseudonym(KEY, "cy"))}


def test_a_bundle_without_rules_for_people_has_no_people(tmp_path: Path) -> None:
    assert opened(pack(tmp_path, "applications:\n" + app(), people=True), "ks2").people is None


def test_a_register_that_is_not_there_is_an_error_and_nothing_is_compiled(tmp_path: Path) -> None:
    folder = pack(tmp_path, people=True)
    (tmp_path / "register.csv").unlink()
    with pytest.raises(PolicyError, match=r"register\.csv: the register cannot be read"):
        bundle(folder, "ks2")


def test_shared_accounts_of_people_are_shared_on_the_device(tmp_path: Path) -> None:
    assert opened(pack(tmp_path, people=True), "ks2").collection.shared_accounts == ("year1", "reception")


# ---- exceptions and overrides -------------------------------------------------------------------------------


EXCEPTION = (
    "exceptions: [{id: e1, people: [%s], reason: secret words, approved_by: head, "
    "from: 2026-11-20, until: 2026-11-23}]"
)


def test_an_exception_holds_for_whom_it_names_until_its_last_day_is_over(tmp_path: Path) -> None:
    folder = pack(tmp_path, "applications:\n" + app(more=EXCEPTION % "film-club"), people=True)
    held = opened(folder, "ks2")
    midnight = MONDAY_10 + 14 * HOUR_MS
    assert decides(held, "x", "ann") == "allow"
    assert decides(held, "x", "ann", midnight - 1) == "allow"
    assert decides(held, "x", "ann", midnight) == "block"
    assert decides(held, "x", "ann", MONDAY_10 - 4 * DAY_MS) == "block"
    assert decides(held, "x", "cy") == "block"
    assert decides(held, "x", "stranger") == "block"
    assert b"secret words" not in bundle(folder, "ks2")


def test_an_exception_for_one_person(tmp_path: Path) -> None:
    held = opened(pack(tmp_path, "applications:\n" + app(more=EXCEPTION % "'person:P1'"), people=True), "ks2")
    assert [decides(held, "x", who) for who in ("ann", "bob")] == ["allow", "block"]


def test_an_exception_for_devices_is_in_their_bundle_only(tmp_path: Path) -> None:
    more = "exceptions: [{id: e1, groups: [tag:shared], reason: r, approved_by: head, until: 2027-01-01}]"
    folder = pack(tmp_path, "applications:\n" + app(more=more))
    assert decides(opened(folder, "library"), "x") == "allow"
    assert decides(opened(folder, "ks2"), "x") == "block"


@pytest.mark.parametrize("named", ["person: P1", f"pseudonym: {account_pseudonym(KEY, 'ann')[:8].hex()}"])
def test_an_override_lifts_rules_for_one_person_and_the_bundle_has_only_the_hash_of_the_reason(
    tmp_path: Path, named: str
) -> None:
    reason = hashlib.sha256(b"salt and words").hexdigest()
    override = (
        f"overrides: [{{id: o1, {named}, lift: [a.b], treat_as: ks1, reason_hash: {reason}, decided_by: dsl, "
        "review: 2026-12-01}]\n"
    )
    rules = "applications:\n" + app() + app("c.d", "y", more="audience: [ks1]")
    rules += app("e.f", "z", more="audience: [ks2]")
    folder = pack(tmp_path, rules, override, people=True)
    held = opened(folder, "ks2")
    assert [decides(held, "x", who) for who in ("ann", "bob", "cy")] == ["allow", "block", "block"]
    assert decides(held, "x", "ann", MONDAY_10 + 9 * DAY_MS) == "block"  # its review is over
    assert [decides(held, "y", who) for who in ("ann", "bob", "cy")] == ["block", "block", "allow"]
    assert [decides(held, "z", who) for who in ("ann", "bob", "cy")] == ["allow", "allow", "allow"]
    (rule, _, _) = held.applications.rules
    assert rule.when is not None
    assert rule.when.exceptions[0].reason_commitment.hex() == reason


# ---- times and places -----------------------------------------------------------------------------------------


def test_days_of_school_leave_out_holidays_and_a_forgotten_calendar_makes_every_day_one(
    tmp_path: Path,
) -> None:
    school = load_pack(pack(tmp_path)).school
    epoch = date(1970, 1, 1)
    ranges = school_days(school)

    def is_school(day: date) -> bool:
        number = (day - epoch).days
        return any(one.first_day <= number and (not one.last_day or number <= one.last_day) for one in ranges)

    assert is_school(date(2026, 9, 1))
    assert is_school(date(2026, 12, 18))
    assert is_school(date(2026, 10, 25))
    assert not is_school(date(2026, 10, 26))
    assert not is_school(date(2026, 10, 27))
    assert is_school(date(2026, 10, 28))
    assert not is_school(date(2026, 12, 25))
    assert not is_school(date(2027, 5, 1))
    assert is_school(date(2027, 6, 1))


@pytest.mark.parametrize(
    ("when", "held"),
    [
        ("{school_hours: true}", [True, True, False, False]),
        ("{periods: [lessons]}", [False, False, False, False]),
        ("{periods: [breaks]}", [True, False, False, False]),
        ("{periods: [lunch]}", [False, False, False, False]),
        ("{times: [{days: [monday], from: '10:00', to: '24:00'}]}", [True, True, True, True]),
    ],
)
def test_times(tmp_path: Path, when: str, held: list[bool]) -> None:
    bundle_ = opened(pack(tmp_path, "applications:\n" + app(more=f"when: {when}")), "ks2")
    moments = (
        MONDAY_10,
        MONDAY_10 + HOUR_MS,
        MONDAY_10 + 12 * HOUR_MS,
        MONDAY_10 + 35 * DAY_MS,  # a Monday in the holidays, 10:00
    )
    assert [decides(bundle_, "x", now=now) == "block" for now in moments] == held


def test_a_device_knows_a_site_by_marks_that_the_bundle_does_not_name(tmp_path: Path) -> None:
    folder = pack(tmp_path, "applications:\n" + app(more="when: {places: [off-site]}"))
    data, held = bundle(folder, "ks2"), opened(folder, "ks2")
    assert not any(word in data for word in (b"school.example", b"00:11:22", b"School"))
    kinds = policy.MarkKind
    ssid = {kinds.SSID: frozenset({mark_hash(KEY, kinds.SSID, "School")})}
    gateway = {kinds.GATEWAY_MAC: frozenset({mark_hash(KEY, kinds.GATEWAY_MAC, "00:11:22:33:44:55")})}
    assert site_of(held.sites, ssid) is None
    assert site_of(held.sites, {**ssid, **gateway}) == "main"
    assert decides(held, "x", place="on-site") == "allow"
    assert decides(held, "x", place="off-site") == "block"
    assert decides(held, "x", place="unknown") == "block"
