"""The decision engine against a slow and plain reading of its documentation, over clock changes and ends of years.

The oracle below shares nothing with the engine: it asks ``datetime`` for the local time, ``fnmatch`` on parts of paths,
and looks at every rule for every question.
"""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from schoolkeeper_proto import policy
from schoolkeeper_proto.conditions import Circumstances, ZoneClock, compile_condition, holds
from schoolkeeper_proto.matching import STRICTNESS, ApplicationTable, compile_applications
from schoolkeeper_proto.media_matching import MediaTable
from schoolkeeper_proto.model import DecisionKind, Medium, MediumEncryption, Place
from schoolkeeper_proto.patterns import PatternTree, matches_part
from schoolkeeper_proto.policy import MatchBy, MediaAccess, RuleMode

_DECISIONS = [DecisionKind(word) for word in ("allow", "observe", "warn", "block", "block-and-raise")]
_ZONES = ["", "Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]


def _ms(*parts: int, zone: str = "UTC") -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[misc,arg-type]


# Around both changes of clocks, the end of a year, a leap day, and ordinary days.
_EDGES = [
    _ms(2026, 3, 29, 1),
    _ms(2026, 10, 25, 1),
    _ms(2026, 11, 1, 6),
    _ms(2027, 1, 1),
    _ms(2028, 2, 29, 12),
    _ms(2026, 11, 23, 9, 30),
]
moments = st.one_of(
    st.builds(
        lambda edge, minutes, ms: edge + minutes * 60_000 + ms,
        st.sampled_from(_EDGES),
        st.integers(-3000, 3000),
        st.integers(0, 59_999),
    ),
    # The borders of windows, days and exceptions, and a millisecond on either side.
    st.builds(
        lambda edge, quarters, ms: edge // 86_400_000 * 86_400_000 + quarters * 900_000 + ms,
        st.sampled_from(_EDGES),
        st.integers(-200, 200),
        st.sampled_from([-1, 0, 1]),
    ),
)
windows = st.builds(
    policy.TimeWindow,
    weekdays=st.integers(1, 127),
    from_minute=st.sampled_from([0, 30, 60, 90, 510, 1410]),
    to_minute=st.sampled_from([45, 75, 120, 945, 1440]),
)
whens = st.builds(
    policy.Applicability,
    times=st.lists(windows, max_size=2).map(tuple),
    places=st.lists(st.sampled_from([Place.ON_SITE, Place.OFF_SITE]), max_size=2).map(tuple),
    user_groups=st.lists(st.sampled_from(["a", "b", "people:p", "person:1"]), max_size=2).map(tuple),
    time_zone=st.sampled_from(_ZONES),
    days=st.lists(
        st.builds(
            policy.DayRange,
            first_day=st.integers(20_500, 20_800),
            last_day=st.sampled_from([0, 20_801, 21_244]),
        ),
        max_size=2,
    ).map(tuple),
    exceptions=st.lists(
        st.builds(
            policy.RuleException,
            exception_id=st.just("e"),
            user_groups=st.lists(st.sampled_from(["a", "b", "people:p"]), max_size=1).map(tuple),
            not_before_unix_ms=st.sampled_from([0, _EDGES[0], _EDGES[3] + 1]),
            expires_unix_ms=st.sampled_from([0, _EDGES[1], _EDGES[3], _EDGES[5] + 17]),
        ),
        max_size=1,
    ).map(tuple),
)
groups = st.none() | st.frozensets(
    st.sampled_from(["a", "b", "c", "people:p", "people:known", "person:1", "person:2"])
)
circumstances = st.builds(
    Circumstances,
    now_ms=moments,
    place=st.sampled_from(["on-site", "off-site", "unknown", "unspecified"]),
    groups=groups,
)


def oracle_holds(when: policy.Applicability, now: Circumstances) -> bool | None:
    """When, where and for whom, read from the documentation."""
    local = datetime.fromtimestamp(now.now_ms // 1000, ZoneInfo(when.time_zone or "UTC"))
    day = (local.date() - date(1970, 1, 1)).days
    if when.times and not any(_inside(window, local) for window in when.times):
        return False
    if when.days and not any(
        one.first_day <= day and (not one.last_day or day <= one.last_day) for one in when.days
    ):
        return False
    unsure = False
    if when.places and now.place not in [str(place) for place in when.places]:
        if now.place in ("on-site", "off-site"):
            return False
        unsure = True
    if when.user_groups:
        among = _among(when.user_groups, now.groups)
        if among is False:
            return False
        unsure = unsure or among is None
    for one in when.exceptions:
        in_time = one.not_before_unix_ms <= now.now_ms and (
            not one.expires_unix_ms or now.now_ms < one.expires_unix_ms
        )
        if in_time and (not one.user_groups or _among(one.user_groups, now.groups) is True):
            return False
    return None if unsure else True


def _inside(window: policy.TimeWindow, local: datetime) -> bool:
    minute = local.hour * 60 + local.minute
    today, yesterday = local.weekday(), (local.weekday() - 1) % 7
    start, end = window.from_minute, window.to_minute
    if start < end:
        return start <= minute < end and bool(window.weekdays >> today & 1)
    if minute >= start and window.weekdays >> today & 1:
        return True
    return minute < end and bool(window.weekdays >> yesterday & 1)


def _among(wanted: tuple[str, ...], held: frozenset[str] | None) -> bool | None:
    if held is None:
        return None
    if held & set(wanted):
        return True
    if any(one.startswith("people:") for one in wanted) and "people:known" not in held:
        return None
    persons = [one for one in held if one.startswith("person:")]
    return None if any(one.startswith("person:") for one in wanted) and not persons else False


@given(whens, circumstances)
def test_a_condition_holds_as_its_documentation_says(when: policy.Applicability, now: Circumstances) -> None:
    clock = ZoneClock()
    assert holds(compile_condition(when), now, clock) is oracle_holds(when, now)
    assert holds(compile_condition(when), now, clock) is oracle_holds(when, now), "a remembered offset"


@given(whens, circumstances)
def test_an_exception_only_takes_away(when: policy.Applicability, now: Circumstances) -> None:
    with_it = holds(compile_condition(when), now, ZoneClock())
    without = holds(compile_condition(replace(when, exceptions=())), now, ZoneClock())
    assert with_it is without or with_it is False


# ---- programs ---------------------------------------------------------------------------------------------

_MATCHES = [
    policy.ApplicationMatch(by=by, text=text)
    for by, text in (
        (MatchBy.PATH, "/usr/bin/x"),
        (MatchBy.FILE_NAME, "x"),
        (MatchBy.FILE_NAME, "y.sh"),
        (MatchBy.PATH_PATTERN, "/home/*/x"),
        (MatchBy.PATH_PATTERN, "/home/**"),
        (MatchBy.PATH_PATTERN, "/**/a?/y.*"),
        (MatchBy.PATH_PATTERN, "/**/b*"),
        (MatchBy.SHA256, "ab" * 32),
        (MatchBy.PACKAGE, "xpkg"),
    )
]
_PATHS = ["/usr/bin/x", "/home/p/x", "/home/p/q/y.sh", "/srv/ab/y.py", "/a1/y.", "/bb", "/usr/bin/z", "/home"]
rules = st.builds(
    policy.ApplicationRule,
    text=st.builds(
        policy.RuleText,
        rule_id=st.sampled_from(["r1", "r2", "r3", "r4"]),
        mode=st.sampled_from([RuleMode.OBSERVE, RuleMode.WARN, RuleMode.ENFORCE, RuleMode.UNSPECIFIED]),
    ),
    decision=st.sampled_from(_DECISIONS),
    matches=st.lists(st.sampled_from(_MATCHES), min_size=1, max_size=2).map(tuple),
    when=st.none() | whens,
)
sections = st.builds(
    policy.ApplicationsSection,
    rules=st.lists(rules, max_size=4, unique_by=lambda rule: rule.text.rule_id).map(tuple),
    otherwise=st.sampled_from(_DECISIONS),
)
programs = st.tuples(st.sampled_from(_PATHS), st.sampled_from(["", "ab" * 32]), st.sampled_from(["", "xpkg"]))


def _matches(match: policy.ApplicationMatch, path: str, sha256: str, package: str) -> bool:
    match match.by:
        case MatchBy.PATH:
            return path == match.text
        case MatchBy.FILE_NAME:
            return path.rpartition("/")[2] == match.text
        case MatchBy.SHA256:
            return sha256 == match.text
        case MatchBy.PACKAGE:
            return package == match.text
        case _:
            return _parts(match.text[1:].split("/"), path[1:].split("/"))


def _parts(pattern: list[str], path: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        if len(pattern) == 1:
            return bool(path)
        return any(_parts(pattern[1:], path[at:]) for at in range(len(path) + 1))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _parts(pattern[1:], path[1:])


def oracle(
    section: policy.ApplicationsSection, path: str, sha256: str, package: str, now: Circumstances
) -> tuple[str, str, str]:
    """(decision, asked, rule): of the rules in force that hold the strictest; trials only add."""
    otherwise = str(section.otherwise)
    holding = []
    for rule in section.rules:
        if not any(_matches(match, path, sha256, package) for match in rule.matches):
            continue
        answer = True if rule.when is None else oracle_holds(rule.when, now)
        if answer is None:
            answer = STRICTNESS[str(rule.decision)] > STRICTNESS[otherwise]
        if answer:
            holding.append(rule)
    trials = [rule for rule in holding if str(rule.text.mode) in ("observe", "warn")]
    in_force = [rule for rule in holding if rule not in trials]
    best = (otherwise, otherwise, "")
    for rule in sorted(in_force, key=lambda one: (-STRICTNESS[str(one.decision)], one.text.rule_id))[:1]:
        best = (str(rule.decision), str(rule.decision), rule.text.rule_id)
    for rule in sorted(trials, key=lambda one: (-STRICTNESS[str(one.decision)], one.text.rule_id)):
        mode = str(rule.text.mode)
        if STRICTNESS[str(rule.decision)] >= STRICTNESS[mode] > STRICTNESS[best[0]]:
            best = (mode, str(rule.decision), rule.text.rule_id)
    return best


@given(sections, st.lists(st.tuples(programs, circumstances), min_size=1, max_size=6))
def test_a_program_is_decided_as_the_documentation_says(
    section: policy.ApplicationsSection, asked: list[tuple[tuple[str, str, str], Circumstances]]
) -> None:
    """Asked several times of one table, so that what it remembers is asked too, and once of one from JSON."""
    table = compile_applications(section)
    for (path, sha256, package), now in asked * 2:
        verdict = table.decide(path, now, sha256=sha256, package=package)
        assert (verdict.decision, verdict.asked, verdict.rule_id) == oracle(
            section, path, sha256, package, now
        )
        again = ApplicationTable.from_json(_written(table)).decide(path, now, sha256=sha256, package=package)
        assert repr(again) == repr(verdict)
        soon = Circumstances(now_ms=now.now_ms + 1, place=now.place, groups=now.groups)
        moved = Circumstances(now_ms=now.now_ms, place="off-site", groups=now.groups)
        other = Circumstances(now_ms=now.now_ms, place=now.place, groups=frozenset({"a", "people:known"}))
        later = Circumstances(now_ms=now.now_ms + 60_000, place=now.place, groups=now.groups)
        for one in (soon, moved, other, later, now):
            found = table.decide(path, one, sha256=sha256, package=package)
            assert (found.decision, found.asked, found.rule_id) == oracle(section, path, sha256, package, one)
            if verdict.steady:
                assert repr(found) == repr(verdict)


def _written(table: ApplicationTable) -> dict[str, object]:
    import json

    held: dict[str, object] = json.loads(json.dumps(table.to_json()))
    return held


@given(sections, programs, circumstances)
def test_the_order_of_rules_makes_no_difference(
    section: policy.ApplicationsSection, program: tuple[str, str, str], now: Circumstances
) -> None:
    path, sha256, package = program
    turned = compile_applications(replace(section, rules=section.rules[::-1]))
    straight = compile_applications(section)
    assert repr(turned.decide(path, now, sha256=sha256, package=package)) == repr(
        straight.decide(path, now, sha256=sha256, package=package)
    )


@given(sections, programs, st.sampled_from(_PATHS), circumstances)
def test_an_alias_adds_the_rules_of_the_other_name(
    section: policy.ApplicationsSection, program: tuple[str, str, str], alias: str, now: Circumstances
) -> None:
    path, sha256, package = program
    table = compile_applications(section)
    both = table.decide(path, now, sha256=sha256, package=package, alias=alias)
    rules = {
        c.rule_id
        for name in (path, alias)
        for c in table.concerning(name, now, sha256=sha256, package=package)
    }
    of_both = replace(
        section,
        rules=tuple(
            replace(rule, matches=(policy.ApplicationMatch(by=MatchBy.PATH, text=path),))
            for rule in section.rules
            if rule.text.rule_id in rules
        ),
    )
    expected = oracle(of_both, path, "", "", now)
    assert (both.decision, both.asked, both.rule_id) == expected


@given(sections, programs, circumstances)
def test_an_explanation_names_every_rule_that_is_about_it(
    section: policy.ApplicationsSection, program: tuple[str, str, str], now: Circumstances
) -> None:
    path, sha256, package = program
    table = compile_applications(section)
    concerned = {c.rule_id: c for c in table.concerning(path, now, sha256=sha256, package=package)}
    expected = {
        rule.text.rule_id: rule
        for rule in section.rules
        if any(_matches(match, path, sha256, package) for match in rule.matches)
    }
    assert concerned.keys() == expected.keys()
    for rule_id, rule in expected.items():
        answer = True if rule.when is None else oracle_holds(rule.when, now)
        assert concerned[rule_id].told is (answer is not None)
        stricter = STRICTNESS[str(rule.decision)] > STRICTNESS[str(section.otherwise)]
        assert concerned[rule_id].holds is (stricter if answer is None else answer)


# ---- patterns ---------------------------------------------------------------------------------------------

wild_parts = st.just("**") | st.text(alphabet="ab*?", min_size=1, max_size=5).filter(
    lambda part: "**" not in part
)
plain_parts = st.text(alphabet="ab", min_size=1, max_size=5)


@given(st.text(alphabet="ab*?", max_size=8), st.text(alphabet="abc", max_size=8))
def test_one_part_matches_as_fnmatch_says(wild: str, part: str) -> None:
    assert matches_part(wild, part) is fnmatch.fnmatchcase(part, wild)


@settings(max_examples=300)
@given(
    st.lists(st.lists(wild_parts, min_size=1, max_size=4), min_size=1, max_size=6),
    st.lists(plain_parts, min_size=1, max_size=4),
)
def test_a_tree_of_patterns_finds_what_each_pattern_alone_would(
    patterns: list[list[str]], path: list[str]
) -> None:
    tree = PatternTree([("/" + "/".join(parts), number) for number, parts in enumerate(patterns)])
    expected = {number for number, parts in enumerate(patterns) if _parts(parts, path)}
    assert tree.find("/" + "/".join(path)) == expected


# ---- media ------------------------------------------------------------------------------------------------

media_rules = st.builds(
    policy.MediaRule,
    text=st.builds(
        policy.RuleText,
        rule_id=st.sampled_from(["m1", "m2", "m3"]),
        mode=st.sampled_from([RuleMode.OBSERVE, RuleMode.WARN, RuleMode.ENFORCE]),
    ),
    access=st.sampled_from([MediaAccess(word) for word in ("allow", "read-only", "block", "encrypted-only")]),
    plain=st.sampled_from([MediaAccess.READ_ONLY, MediaAccess.BLOCK]),
    unknown=st.sampled_from([MediaAccess.READ_ONLY, MediaAccess.BLOCK]),
    serials=st.lists(st.sampled_from(["S1", "S2"]), max_size=1).map(tuple),
    vendor_products=st.lists(st.sampled_from(["AB:1", "ab:*", "cd:2"]), max_size=2).map(tuple),
    buses=st.lists(st.sampled_from(["usb", "mmc"]), max_size=1).map(tuple),
    when=st.none() | whens,
)
media = st.builds(
    Medium,
    kernel_name=st.sampled_from(["sda", "sdb"]),
    serial=st.sampled_from(["S1", "S2", "S3"]),
    vendor_id=st.sampled_from(["ab", "AB", "cd"]),
    product_id=st.sampled_from(["1", "2"]),
    bus=st.sampled_from(["usb", "mmc", "optical"]),
    encryption=st.sampled_from(
        [MediumEncryption(word) for word in ("none", "luks2", "bitlocker", "apfs", "unknown")]
    ),
)
_ACCESS = {"allow": 0, "read-only": 1, "block": 2}


def _about(rule: policy.MediaRule, medium: Medium) -> bool:
    pairs = [(pair.lower().split(":")[0], pair.lower().split(":")[1]) for pair in rule.vendor_products]
    return (
        (not rule.serials or medium.serial in rule.serials)
        and (
            not pairs
            or any(v == medium.vendor_id.lower() and p in ("*", medium.product_id.lower()) for v, p in pairs)
        )
        and (not rule.buses or medium.bus in rule.buses)
    )


def _given(rule: policy.MediaRule, medium: Medium) -> str:
    if rule.access is not MediaAccess.ENCRYPTED_ONLY:
        return str(rule.access)
    if str(medium.encryption) in ("luks2", "bitlocker"):
        return "allow"
    return str(rule.plain if medium.encryption is MediumEncryption.NONE else rule.unknown)


@given(
    st.lists(media_rules, max_size=3, unique_by=lambda rule: rule.text.rule_id),
    st.sampled_from([DecisionKind.ALLOW, DecisionKind.WARN, DecisionKind.READ_ONLY, DecisionKind.BLOCK]),
    st.lists(st.tuples(media, circumstances), min_size=1, max_size=4),
)
def test_a_medium_is_decided_as_the_documentation_says(
    held: list[policy.MediaRule], otherwise: DecisionKind, asked: list[tuple[Medium, Circumstances]]
) -> None:
    table = MediaTable(policy.MediaSection(rules=tuple(held), otherwise=otherwise))
    base = "allow" if otherwise is DecisionKind.WARN else str(otherwise)
    for medium, now in asked * 2:
        for one in (
            now,
            Circumstances(now_ms=now.now_ms + 60_001, place="off-site", groups=frozenset({"b"})),
        ):
            holding = []
            for rule in held:
                answer = True if rule.when is None else oracle_holds(rule.when, one)
                access = _given(rule, medium)
                if answer is None:
                    answer = _ACCESS[access] > _ACCESS[base]
                if answer and _about(rule, medium):
                    holding.append((access, str(rule.text.mode), rule.text.rule_id))
            holding.sort(key=lambda row: (-_ACCESS[row[0]], row[2]))
            best = next((row for row in holding if row[1] == "enforce"), (base, "enforce", ""))
            trial = next((row for row in holding if row[1] != "enforce" and row[0] != "allow"), None)
            verdict = table.decide(medium, one)
            if best[0] == "allow" and trial is not None:
                expected = ("allow", trial[0], trial[2], trial[1])
            else:
                expected = (best[0], best[0], best[2], "enforce")
            assert (str(verdict.access), str(verdict.asked), verdict.rule_id, verdict.mode) == expected
            named = {c.rule_id for c in table.concerning(medium, one)}
            assert named == {rule.text.rule_id for rule in held if _about(rule, medium)}
            assert table.is_steady(medium) is not any(
                rule.when is not None and compile_condition(rule.when)
                for rule in held
                if _about(rule, medium)
            )
