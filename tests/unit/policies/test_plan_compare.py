"""Comparing two compiled policies: each line of the documented order, by an example that a school would meet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_policies.plan import Change, Direction, compare
from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle, open_bundle
from schoolkeeper_proto.model import DecisionKind, Place
from schoolkeeper_proto.policy import MatchBy, MediaAccess, RuleMode

MANIFEST = policy.BundleManifest(format=1, school_id="s", group="ks2", version=1, compiled_at_unix_ms=0)
EMPTY = OpenBundle(hash=b"", manifest=MANIFEST)
MORNING = policy.TimeWindow(weekdays=31, from_minute=510, to_minute=720)
ALL_DAY = policy.TimeWindow(weekdays=31, from_minute=510, to_minute=945)
TERM = policy.DayRange(first_day=20_000, last_day=20_090)


def rule(
    decision: DecisionKind = DecisionKind.BLOCK,
    *names: str,
    mode: RuleMode = RuleMode.ENFORCE,
    when: policy.Applicability | None = None,
    safeguarding: bool = False,
) -> policy.ApplicationRule:
    return policy.ApplicationRule(
        text=policy.RuleText(rule_id="r", mode=mode, safeguarding=safeguarding),
        decision=decision,
        matches=tuple(
            policy.ApplicationMatch(by=MatchBy.FILE_NAME, text=name) for name in names or ("game",)
        ),
        when=when,
    )


def applications(*rules: policy.ApplicationRule, otherwise: DecisionKind = DecisionKind.ALLOW) -> OpenBundle:
    return replace(EMPTY, applications=policy.ApplicationsSection(rules=rules, otherwise=otherwise))


def only(before: OpenBundle, after: OpenBundle) -> Change:
    (change,) = compare(before, after)
    (back,) = compare(after, before)
    assert back.direction is change.direction.reversed
    return change


def when(*times: policy.TimeWindow, **more: object) -> policy.Applicability:
    return policy.Applicability(times=times, time_zone="Europe/London", **more)  # type: ignore[arg-type]


RULES = [
    ("a rule comes", None, rule(), Direction.STRICTER),
    ("a warning comes", None, rule(DecisionKind.WARN), Direction.STRICTER),
    ("an allowing rule where all is allowed", None, rule(DecisionKind.ALLOW), Direction.WORDS),
    ("a rule on trial is put in force", rule(mode=RuleMode.WARN), rule(), Direction.STRICTER),
    ("a rule is put on trial", rule(), rule(mode=RuleMode.OBSERVE), Direction.WEAKER),
    ("warn instead of block", rule(), rule(DecisionKind.WARN), Direction.WEAKER),
    ("raise as well", rule(), rule(DecisionKind.BLOCK_AND_RAISE), Direction.STRICTER),
    ("one name more", rule(DecisionKind.BLOCK, "a"), rule(DecisionKind.BLOCK, "a", "b"), Direction.STRICTER),
    ("another name", rule(DecisionKind.BLOCK, "a"), rule(DecisionKind.BLOCK, "b"), Direction.DIFFERENT),
    ("only in the morning", rule(when=when(ALL_DAY)), rule(when=when(MORNING)), Direction.WEAKER),
    ("always, not by the clock", rule(when=when(ALL_DAY)), rule(), Direction.STRICTER),
    (
        "more, but only in the morning",
        rule(when=when(ALL_DAY)),
        rule(DecisionKind.BLOCK_AND_RAISE, when=when(MORNING)),
        Direction.DIFFERENT,
    ),
    (
        "hours in another time zone",
        rule(when=when(MORNING)),
        rule(when=policy.Applicability(times=(MORNING,), time_zone="UTC")),
        Direction.DIFFERENT,
    ),
    ("at school only", rule(), rule(when=policy.Applicability(places=(Place.ON_SITE,))), Direction.WEAKER),
    ("in term only", rule(), rule(when=when(days=(TERM,))), Direction.WEAKER),
    (
        "an exception comes",
        rule(),
        rule(when=when(exceptions=(policy.RuleException(exception_id="e", user_groups=("staff",)),))),
        Direction.WEAKER,
    ),
    (
        "an exception ends sooner",
        rule(when=when(exceptions=(policy.RuleException(exception_id="e", expires_unix_ms=2),))),
        rule(when=when(exceptions=(policy.RuleException(exception_id="e", expires_unix_ms=1),))),
        Direction.STRICTER,
    ),
    (
        "an exception for another reason",
        rule(when=when(exceptions=(policy.RuleException(exception_id="e"),))),
        rule(when=when(exceptions=(policy.RuleException(exception_id="f"),))),
        Direction.WORDS,
    ),
    ("no safeguarding rule any more", rule(safeguarding=True), rule(), Direction.WEAKER),
]


@pytest.mark.parametrize(
    ("before", "after", "expected"), [row[1:] for row in RULES], ids=[r[0] for r in RULES]
)
def test_one_rule(
    before: policy.ApplicationRule | None, after: policy.ApplicationRule, expected: Direction
) -> None:
    assert only(applications(*[before] if before else []), applications(after)).direction is expected


def test_a_path_inside_a_pattern_is_covered_and_a_pattern_beside_it_is_not() -> None:
    def of(by: MatchBy, text: str) -> OpenBundle:
        return applications(replace(rule(), matches=(policy.ApplicationMatch(by=by, text=text),)))

    path = of(MatchBy.PATH, "/opt/game/run")
    assert only(path, of(MatchBy.PATH_PATTERN, "/opt/**")).direction is Direction.STRICTER
    assert only(path, of(MatchBy.FILE_NAME, "run")).direction is Direction.STRICTER
    assert only(path, of(MatchBy.PATH_PATTERN, "/srv/**")).direction is Direction.DIFFERENT
    assert only(of(MatchBy.PATH_PATTERN, "/opt/*/run"), of(MatchBy.PATH_PATTERN, "/opt/**")).direction is (
        Direction.STRICTER
    )


def test_where_everything_is_blocked_an_allowing_rule_loosens() -> None:
    closed = applications(otherwise=DecisionKind.BLOCK)
    opened = applications(rule(DecisionKind.ALLOW), otherwise=DecisionKind.BLOCK)
    assert only(closed, opened).direction is Direction.WEAKER
    trial = applications(rule(DecisionKind.ALLOW, mode=RuleMode.OBSERVE), otherwise=DecisionKind.BLOCK)
    assert only(opened, trial).direction is Direction.STRICTER
    assert only(applications(), closed).safeguarding


def test_a_refusal_under_an_allowing_rule_is_no_idle_rule() -> None:
    """Everything is blocked, /opt is allowed, and one program there blocked again: without that rule it would run."""
    folder = replace(
        rule(DecisionKind.ALLOW),
        text=policy.RuleText(rule_id="folder"),
        matches=(policy.ApplicationMatch(by=MatchBy.PATH_PATTERN, text="/opt/**"),),
    )
    both = applications(folder, rule(), otherwise=DecisionKind.BLOCK)
    assert only(both, applications(folder, otherwise=DecisionKind.BLOCK)).direction is Direction.WEAKER


def test_media_are_compared_for_each_kind_of_encryption() -> None:
    def media(access: MediaAccess, **more: object) -> OpenBundle:
        one = policy.MediaRule(text=policy.RuleText(rule_id="m"), access=access, **more)  # type: ignore[arg-type]
        return replace(EMPTY, media=policy.MediaSection(rules=(one,)))

    encrypted = media(MediaAccess.ENCRYPTED_ONLY, plain=MediaAccess.READ_ONLY)
    assert only(encrypted, media(MediaAccess.BLOCK)).direction is Direction.STRICTER
    assert only(encrypted, media(MediaAccess.READ_ONLY)).direction is Direction.DIFFERENT
    assert only(encrypted, media(MediaAccess.ENCRYPTED_ONLY)).direction is Direction.STRICTER
    assert (
        only(media(MediaAccess.BLOCK), media(MediaAccess.BLOCK, buses=("usb",))).direction is Direction.WEAKER
    )


def test_what_else_locks_a_screen_has_a_direction_too() -> None:
    def screen(**changed: Any) -> OpenBundle:
        text = policy.RuleText(rule_id="s")
        return replace(EMPTY, screen=policy.ScreenSection(text=text, idle_lock_seconds=600, **changed))

    key, other = (policy.SecurityToken(vendor_product="1050:0407", serial=serial) for serial in ("1", "2"))
    for more in (
        {"lock_on_lid": True},
        {"tokens": (key,)},
        {"end_unlocked_seconds": 900},
        {"hold_media": True},
    ):
        assert only(screen(), screen(**more)).direction is Direction.STRICTER
        assert only(screen(**more), screen()).direction is Direction.WEAKER
    assert (
        only(screen(end_unlocked_seconds=900), screen(end_unlocked_seconds=600)).direction
        is Direction.STRICTER
    )
    assert only(screen(tokens=(key,)), screen(tokens=(other,))).direction is Direction.DIFFERENT


def test_the_screen_and_the_checks() -> None:
    def screen(seconds: int, mode: RuleMode = RuleMode.ENFORCE) -> OpenBundle:
        text = policy.RuleText(rule_id="lock", mode=mode)
        return replace(EMPTY, screen=policy.ScreenSection(text=text, idle_lock_seconds=seconds))

    assert only(screen(600), screen(300)).direction is Direction.STRICTER
    assert only(screen(600), screen(0)).direction is Direction.WEAKER
    assert only(screen(600), screen(600, RuleMode.WARN)).direction is Direction.WEAKER
    assert only(screen(600), EMPTY).direction is Direction.WEAKER

    def checks(name: str, every: int = 60, threshold: int = 0) -> OpenBundle:
        check = policy.PostureCheck(check=name, every_seconds=every, threshold=threshold)
        return replace(EMPTY, posture=policy.PostureSection(checks=(check,)))

    assert (
        only(checks("updates", threshold=14), checks("updates", threshold=7)).direction is Direction.STRICTER
    )
    # Leaving it out is the default, 14 days: the same as said.
    assert only(checks("updates", threshold=14), checks("updates")).direction is Direction.WORDS
    assert only(checks("updates", threshold=7), checks("updates")).direction is Direction.WEAKER
    longer = only(checks("password-length"), checks("password-length", threshold=12))
    assert longer.direction is Direction.STRICTER
    assert only(checks("of-tomorrow"), checks("of-tomorrow", threshold=3)).direction is Direction.DIFFERENT
    assert only(checks("lock"), checks("lock", 600)).direction is Direction.WEAKER


def test_what_a_filter_test_tries_is_a_safeguarding_matter() -> None:
    def tried(test: policy.FilterTest | None) -> OpenBundle:
        check = policy.PostureCheck(check="content-filter", every_seconds=600, filter_test=test)
        return replace(EMPTY, posture=policy.PostureSection(checks=(check,)))

    test = policy.FilterTest(blocked_url="http://test.filter.example/", control_url="http://school.example/")
    assert only(tried(None), tried(test)).direction is Direction.STRICTER
    assert only(tried(test), tried(None)).weakens_safeguarding
    moved = only(tried(test), tried(replace(test, blocked_url="http://elsewhere.example/")))
    assert (moved.direction, moved.safeguarding) == (Direction.DIFFERENT, True)
    assert "elsewhere.example" in moved.after


def test_dropping_the_check_of_the_filter_always_weakens_safeguarding() -> None:
    check = policy.PostureCheck(check="filter", every_seconds=600)
    kind = policy.CollectedKind(kind="canary", notice="That the filter works.")
    on = replace(
        EMPTY,
        posture=policy.PostureSection(checks=(check,)),
        collection=policy.CollectionSection(kinds=(kind,)),
    )
    gone = compare(on, EMPTY)
    assert {change.rule_id for change in gone} == {"filter", "canary"}
    assert all(change.weakens_safeguarding for change in gone)
    silent = replace(on, collection=policy.CollectionSection(kinds=(replace(kind, notice=" "),)))
    assert only(on, silent).weakens_safeguarding, "a kind without a notice is not collected"
    away = replace(on, collection=policy.CollectionSection(kinds=(replace(kind, off_site=False),)))
    assert only(on, away).weakens_safeguarding


def test_collecting_more_about_people_is_not_called_stricter() -> None:
    kind = policy.CollectedKind(kind="application.usage", notice="Which programs were open.")
    more = replace(EMPTY, collection=policy.CollectionSection(kinds=(kind,)))
    assert only(EMPTY, more).direction is Direction.DIFFERENT
    assert not only(EMPTY, more).safeguarding


def test_an_account_that_moves_counts_and_one_that_comes_does_not() -> None:
    def people(**groups: str) -> OpenBundle:
        sets: dict[str, bytes] = {}
        for name, group in groups.items():
            sets[group] = sets.get(group, b"") + name.encode().ljust(8)
        section = policy.PeopleSection(
            sets=tuple(policy.PeopleSet(groups=(group,), members=members) for group, members in sets.items())
        )
        return replace(applications(rule(when=for_pupils)), people=section)

    for_pupils = policy.Applicability(user_groups=("people:pupils",))
    assert not only(people(anna="pupils"), people(anna="pupils", ben="pupils")).safeguarding
    moved = only(people(anna="pupils"), people(anna="staff"))
    assert moved.weakens_safeguarding
    assert (moved.before, moved.after) == ("1 account in pupils", "1 account in staff")


def test_grants_sites_and_categories() -> None:
    def grants(**more: object) -> OpenBundle:
        bound = policy.GrantBound(kind="exception", max_seconds=60, duties=("technician",), **more)  # type: ignore[arg-type]
        return replace(EMPTY, grants=policy.GrantsSection(bounds=(bound,)))

    assert only(grants(), grants(two_person=True)).direction is Direction.STRICTER
    assert only(grants(), replace(EMPTY, grants=policy.GrantsSection())).direction is Direction.STRICTER
    assert only(EMPTY, grants()).weakens_safeguarding
    hours = policy.TimeWindow(weekdays=31, from_minute=540, to_minute=900)
    on_console = grants(console=(hours,), time_zone="Europe/London")
    opened = only(grants(), on_console)
    assert (opened.direction, opened.weakens_safeguarding) == (Direction.WEAKER, True)
    assert "any member of staff on the console" in opened.after
    assert only(on_console, grants()).direction is Direction.STRICTER
    assert only(on_console, grants(console=(hours,), time_zone="Asia/Tokyo")).weakens_safeguarding
    site = policy.Site(name="main", kinds_needed=1)
    assert only(EMPTY, replace(EMPTY, sites=policy.SitesSection(sites=(site,)))).weakens_safeguarding

    def browser(*sites: str, decision: DecisionKind = DecisionKind.BLOCK) -> OpenBundle:
        text = policy.RuleText(rule_id="b", safeguarding=True)
        section = policy.BrowserSection(
            rules=(policy.SiteRule(text=text, decision=decision, categories=("games",)),),
            categories=(policy.SiteCategory(name="games", sites=sites),),
        )
        return replace(EMPTY, browser=section)

    assert only(browser("a.example"), browser("a.example", "b.example")).direction is Direction.STRICTER
    assert only(browser("a.example"), browser("b.example")).weakens_safeguarding
    assert only(browser("www.a.example"), browser("a.example")).direction is Direction.STRICTER
    # A category that comes, or goes, with the rule that names it is judged by that rule alone.
    came = {change.rule_id: change for change in compare(EMPTY, browser("a.example"))}
    assert came["category games"].direction is Direction.WORDS
    assert came["b"].direction is Direction.STRICTER
    went = {change.rule_id: change for change in compare(browser("a.example"), EMPTY)}
    assert went["b"].weakens_safeguarding
    assert not went["category games"].weakens_safeguarding


def test_a_section_that_this_code_could_not_open_is_never_nothing() -> None:
    def with_section(digest: bytes) -> OpenBundle:
        entry = policy.SectionEntry(name="later", version=7, required=False, sha256=digest * 32, length=1)
        return replace(EMPTY, manifest=replace(MANIFEST, sections=(entry,)), ignored_sections=("later",))

    assert only(with_section(b"a"), with_section(b"b")).weakens_safeguarding
    assert only(EMPTY, with_section(b"b")).weakens_safeguarding


def test_words_change_nothing_and_are_said_so() -> None:
    quiet = replace(rule(), text=replace(rule().text, why="because", resolution="ask"))
    change = only(applications(rule()), applications(quiet))
    assert change.direction is Direction.WORDS
    assert "because" in change.after


def test_a_real_pack_against_nothing_and_itself() -> None:
    def opened(version: int) -> OpenBundle:
        data = compile_pack(
            "default",
            school_id="s",
            group="ks2-laptops",
            version=version,
            compiled_at_unix_ms=version,
            pseudonym_key=b"k" * 32,
        )
        capabilities = frozenset(open_capabilities(data))
        return open_bundle(data, school_id="s", group="ks2-laptops", capabilities=capabilities)

    def open_capabilities(data: bytes) -> tuple[str, ...]:
        from schoolkeeper_proto.codec import decode

        return decode(policy.BundleManifest, decode(policy.PolicyBundle, data).manifest).required_capabilities

    assert compare(opened(1), opened(2)) == ()
    first = compare(None, opened(1))
    assert {change.section for change in first} >= {
        "applications",
        "media",
        "screen",
        "posture",
        "collection",
    }
    assert not [
        c for c in first if c.direction is Direction.WEAKER and c.section in ("applications", "media")
    ]
