"""Properties of the language: complements of times, days of school, rules called dead, registers of any text."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import pytest

from schoolkeeper_policies import model
from schoolkeeper_policies.applies import school_days
from schoolkeeper_policies.checking.overlaps import covered_rules
from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_policies.lowering import sections
from schoolkeeper_policies.matrices import _other_times
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError, Problem
from schoolkeeper_policies.registers import parse_register
from schoolkeeper_proto import policy
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.matching import compile_applications
from schoolkeeper_proto.model import DecisionKind
from support.language import KEY, MONDAY_10, REGISTER, pack

MINUTE_MS = 60_000
EPOCH = date(1970, 1, 1)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def windows(chance: random.Random) -> list[model.Hours]:
    found = []
    for _ in range(chance.randint(1, 5)):
        start, end = sorted(chance.sample(range(1_441), 2))
        days = tuple(chance.sample(model.WEEKDAYS, chance.randint(1, 7)))
        found.append(model.Hours.model_validate({"days": days, "from": clock(start), "to": clock(end)}))
    return found


def minutes(hours: list[model.Hours] | tuple[model.Hours, ...]) -> set[tuple[model.Weekday, int]]:
    return {
        (day, minute)
        for window in hours
        for day in window.days
        for minute in range(model.minute_of(window.from_), model.minute_of(window.to))
    }


@pytest.mark.parametrize("seed", range(40))
def test_other_times_are_exactly_the_rest_of_the_week(seed: int) -> None:
    given = windows(random.Random(seed))
    other = _other_times(given)
    everything = {(day, minute) for day in model.WEEKDAYS for minute in range(1_440)}
    assert minutes(other) == everything - minutes(given)


def test_a_minute_between_two_windows_is_one_of_the_other_times() -> None:
    monday = {"days": ["monday"]}
    given = [
        model.Hours.model_validate({**monday, "from": "00:00", "to": "10:00"}),
        model.Hours.model_validate({**monday, "from": "10:01", "to": "24:00"}),
    ]
    assert {minute for day, minute in minutes(_other_times(given)) if day == "monday"} == {600}


@pytest.mark.parametrize("seed", range(60))
def test_a_day_is_one_of_school_when_it_lies_in_a_term_and_is_not_closed(seed: int) -> None:
    chance = random.Random(seed)
    first = date(2026, 9, 1)
    bounds = sorted(chance.sample(range(300), 2 * chance.randint(1, 4)))
    terms = tuple(
        model.Term(name="t", first=first + timedelta(bounds[n]), last=first + timedelta(bounds[n + 1]))
        for n in range(0, len(bounds), 2)
    )
    closed = tuple(first + timedelta(chance.randint(-5, 310)) for _ in range(chance.randint(0, 12)))
    hours = (model.Hours.model_validate({"days": ["monday"], "from": "08:00", "to": "15:00"}),)
    ranges = school_days(model.School(time_zone="Europe/London", hours=hours, terms=terms, closed=closed))
    last = max(term.last for term in terms)
    for number in range(-10, 340):
        day = first + timedelta(number)
        inside = any(
            one.first_day <= (day - EPOCH).days and (not one.last_day or (day - EPOCH).days <= one.last_day)
            for one in ranges
        )
        meant = any(term.first <= day <= term.last for term in terms) and day not in closed
        assert inside == (meant or day >= last + timedelta(60)), day


def random_rules(chance: random.Random) -> str:
    lines = ["applications:"]
    for number in range(chance.randint(2, 6)):
        names = chance.sample(["x", "y", "z"], chance.randint(1, 3))
        match = ", ".join(f"{{file-name: {name}}}" for name in names)
        more = chance.choice(["", "", ", groups: [ks1]", ", groups: [profile:ks1, staff]", ", mode: observe"])
        more += chance.choice(["", "", ", when: {school_hours: true}", ", when: {periods: [breaks]}"])
        more += chance.choice(["", ", audience: [pupils]", ", audience: [staff, pupils]"])
        more += chance.choice(
            ["", ", exceptions: [{id: e, groups: [ks1], reason: r, approved_by: h, until: 2027-07-20}]"]
        )
        decision = chance.choice(["allow", "warn", "block", "block-and-raise"])
        lines.append(
            f"  - {{id: r{number}, description: d, why: w, resolution: r, decision: {decision}, "
            f"match: [{match}]{more}}}"
        )
    return "\n".join(lines) + "\n"


def table_of(whole: model.Pack, group: str, without: str = "") -> policy.ApplicationsSection:
    (section,) = [one for one in sections(whole, group, b"k") if isinstance(one, policy.ApplicationsSection)]
    rules = tuple(rule for rule in section.rules if rule.text.rule_id != without)
    return policy.ApplicationsSection(rules=rules, otherwise=DecisionKind.ALLOW)


def answers(section: policy.ApplicationsSection) -> list[str]:
    compiled = compile_applications(section)
    groups: list[frozenset[str] | None] = [None, frozenset(), frozenset({"users"})]
    return [
        compiled.decide(
            f"/bin/{name}", Circumstances(now_ms=MONDAY_10 + hours * 60 * MINUTE_MS, groups=held)
        ).decision
        for name in ("x", "y", "z")
        for hours in (0, 1, 2, 12, 35 * 24)
        for held in groups
    ]


@pytest.mark.parametrize("seed", range(60))
def test_a_rule_that_is_called_dead_changes_no_decision_when_it_goes(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schoolkeeper_policies.parse.check_overlaps", lambda files, pack: ())
    try:
        whole = load_pack(pack(tmp_path, random_rules(random.Random(seed))))
    except PolicyError:
        return  # an audience that no device is for
    for dead in covered_rules(whole):
        for group in whole.groups:
            kept = answers(table_of(whole, group.name))
            assert answers(table_of(whole, group.name, without=dead.weaker)) == kept, dead


def test_some_of_those_packs_have_dead_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The property above is about something."""
    monkeypatch.setattr("schoolkeeper_policies.parse.check_overlaps", lambda files, pack: ())
    dead = 0
    for seed in range(60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            dead += len(covered_rules(load_pack(pack(folder, random_rules(random.Random(seed))))))
        except PolicyError:
            continue
    assert dead > 20


PARTS = [
    "username",
    "type",
    "year",
    "Pupil",
    "Year 4",
    '"',
    ",",
    ";",
    "\n",
    "\r\n",
    "@",
    "é",
    "\0",
    "01/02/2026",
    "x",
]


@pytest.mark.parametrize("seed", range(200))
def test_a_register_of_any_text_is_read_or_refused_by_line(seed: int) -> None:
    chance = random.Random(seed)
    heading = "username,type,year,startdate\n" * chance.randint(0, 1)
    problems: tuple[Problem, ...] = ()
    accounts: list[str] = []
    try:
        register = parse_register(
            heading + "".join(chance.choices(PARTS, k=80)), model.Register(file="r.csv"), file="r.csv"
        )
        accounts = [person.account for person in register.persons]
    except PolicyError as error:
        problems = error.problems
    assert all(problem.position.line >= 1 and problem.remedy for problem in problems)
    assert len(set(accounts)) == len(accounts)


GOLDEN = Path(__file__).parents[2] / "golden" / "school" / "pack" / "pack.yaml"
WORDS = ["[]", "{}", "''", "0", "-1", "true", "null", "[1]", "everybody", "2026-02-30", "'24:00'", "a.b", "unspecified",
         "person:P1", "profile:ks9", "*", "'\\u00e9'", "[a, a]", "monday", "99999999999", "Mars/Base"]  # fmt: skip


def spoiled(chance: random.Random, text: str) -> str:
    """A few values, lines or characters of a good pack are wrong."""
    lines = text.split("\n")
    for _ in range(chance.randint(1, 4)):
        number = chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                del lines[number]
            case 1:
                lines.insert(number, lines[chance.randrange(len(lines))])
            case 2:
                key, colon, _ = lines[number].partition(": ")
                lines[number] = f"{key}{colon}{chance.choice(WORDS)}"
            case 3:
                parts = lines[number].split(", ")
                parts[chance.randrange(len(parts))] = chance.choice(WORDS)
                lines[number] = ", ".join(parts)
            case _:
                at = chance.randrange(len(lines[number]) + 1)
                lines[number] = lines[number][:at] + chance.choice("[]{}:,- 'é\t#") + lines[number][at:]
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(25))
def test_a_spoiled_pack_is_refused_with_places_or_compiles(tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "pack"
    folder.mkdir()
    (tmp_path / "register.csv").write_text(REGISTER)
    refusals: list[tuple[Problem, ...]] = []
    for number in range(12):
        text = spoiled(random.Random(seed * 1_000 + number), GOLDEN.read_text())
        (folder / "pack.yaml").write_text(text)
        try:
            load_pack(folder)
            compile_pack(
                folder,
                school_id="s",
                group="ks1",
                version=1,
                compiled_at_unix_ms=MONDAY_10,
                pseudonym_key=KEY,
            )
        except PolicyError as error:
            refusals.append(error.problems)
    assert len(refusals) > 3
    assert all(
        problems and all(one.reason and one.position.file for one in problems) for problems in refusals
    )
