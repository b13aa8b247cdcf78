"""The edges of who may grant what: each bound at its last second, each kind at its longest, each duty by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schoolkeeper_proto import policy, trust, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.granting import (
    LOOSER,
    STRICTER,
    Ground,
    Officer,
    Permitted,
    Refused,
    RuleFacts,
    check,
    forbidden,
    ground_of,
    has_both_duties,
    length_seconds,
    officers_of,
    signers_of,
)
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.wire import GrantKind
from support.granting import (
    DSL,
    OFFICERS,
    SECOND_TECHNICIAN,
    START,
    TEACHER,
    TECHNICIAN,
    Person,
    app_rule,
    block_payload,
    ends,
    opened,
    person,
    signed,
    statement,
)

GROUND = Ground(
    rules={
        "games": RuleFacts(),
        "filter": RuleFacts(safeguarding=True),
        "timed": RuleFacts(opens=True),
        "timed-filter": RuleFacts(safeguarding=True, opens=True),
    }
)
BOTH = (TECHNICIAN, DSL)
DAYS = 1440


def bound(kind: str = "observe", *rule_ids: str, **fields: object) -> policy.GrantBound:
    values: dict[str, object] = {"max_seconds": 7_200, "duties": ("technician",)}
    return policy.GrantBound(kind=kind, rule_ids=rule_ids, **(values | fields))  # type: ignore[arg-type]


def asked(said: wire.GrantStatement, *people: Person, bounds: tuple[policy.GrantBound, ...] = (),
          held: dict[bytes, GrantKind] | None = None) -> Permitted | Refused:  # fmt: skip
    signers = tuple(one.officer for one in people)
    return check(said, signers, replace(GROUND, bounds=bounds), held=held)


def by(found: Permitted | Refused) -> tuple[str, ...]:
    assert isinstance(found, Permitted), found
    return found.by


def why(found: Permitted | Refused) -> str:
    assert isinstance(found, Refused), found
    return found.reason


# ---- shape ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "longest"),
    [
        (GrantKind.OBSERVE, 30 * DAYS),
        (GrantKind.EXCEPTION, 400 * DAYS),
        (GrantKind.LESSON, DAYS),
        (GrantKind.EMERGENCY_BLOCK, DAYS),
        (GrantKind.ISOLATE, 400 * DAYS),
        (GrantKind.LOST, 400 * DAYS),
        (GrantKind.RELEASE, 400 * DAYS),
        (GrantKind.REVOKE, 400 * DAYS),
    ],
)
def test_every_kind_lasts_a_minute_to_its_longest(kind: GrantKind, longest: int) -> None:
    named = ends(b"g" * 16)
    payload = {
        GrantKind.EMERGENCY_BLOCK: block_payload(),
        GrantKind.REVOKE: named,
        GrantKind.RELEASE: named,
    }.get(kind, b"")

    def lasting(seconds: int) -> Permitted | Refused:
        said = statement(kind, payload=payload, rule_ids=("timed",))
        return asked(replace(said, expires_unix_ms=START + seconds * 1000), *BOTH)

    assert by(lasting(60))
    assert by(lasting(longest * 60))
    assert "1 minute to" in why(lasting(59))
    assert "lasts" in why(lasting(longest * 60 + 1))


def test_a_length_is_in_whole_seconds_and_is_said_in_words() -> None:
    said = statement(GrantKind.LESSON, rule_ids=("timed",))
    assert length_seconds(replace(said, expires_unix_ms=START + 90_999)) == 90
    told = {
        seconds: why(asked(replace(said, expires_unix_ms=START + seconds * 1000), *BOTH)).partition("not ")[2]
        for seconds in (1, 0, 86_401, 90_000, 172_800, 88_200)
    }
    assert told == {
        1: "1 seconds",
        0: "0 seconds",
        86_401: "86401 seconds",
        90_000: "25 hours",
        172_800: "2 days",
        88_200: "1470 minutes",
    }
    short = why(asked(replace(said, expires_unix_ms=START), *BOTH))
    assert short == "a grant of the kind lesson lasts 1 minute to 1 day, not 0 seconds"


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (statement(GrantKind.UNSPECIFIED), "update the agent"),
        (statement(GrantKind.OBSERVE, grant_id=b"g" * 15), "16 bytes"),
        (statement(GrantKind.OBSERVE, grant_id=b"g" * 17), "16 bytes"),
        (statement(GrantKind.OBSERVE, groups=()), "names no device"),
        (statement(GrantKind.EXCEPTION), "must name the rules"),
        (statement(GrantKind.LESSON), "must name the rules"),
        (statement(GrantKind.REVOKE), "must name the grants"),
        (statement(GrantKind.OBSERVE, allowed_mode="enforce"), "observe or warn"),
        (statement(GrantKind.ISOLATE, payload=block_payload()), "carries no rules"),
        (statement(GrantKind.EMERGENCY_BLOCK), "at least one rule"),
        (
            statement(
                GrantKind.EMERGENCY_BLOCK,
                payload=encode(policy.GrantPayload(applications=policy.ApplicationsSection())),
            ),
            "at least one rule",
        ),
    ],
)
def test_what_is_wrong_with_a_statement_is_said_whoever_signs(said: wire.GrantStatement, word: str) -> None:
    assert word in why(asked(said, *BOTH))


def test_a_device_or_a_group_is_enough_and_each_mode_a_grant_can_give() -> None:
    assert by(asked(statement(GrantKind.OBSERVE, groups=(), device_ids=(b"d" * 16,)), *BOTH))
    for mode in ("", "observe", "warn"):
        assert by(asked(statement(GrantKind.OBSERVE, allowed_mode=mode), *BOTH))
    # Only a lesson and an exception must name rules; only a revocation must name grants.
    for kind in (GrantKind.ISOLATE, GrantKind.LOST):
        assert by(asked(statement(kind), *BOTH))


def block(section: policy.ApplicationsSection) -> wire.GrantStatement:
    payload = encode(policy.GrantPayload(applications=section))
    return statement(GrantKind.EMERGENCY_BLOCK, payload=payload)


def site_rule(*sites: str, decision: DecisionKind = DecisionKind.BLOCK) -> policy.SiteRule:
    return policy.SiteRule(text=policy.RuleText(rule_id="site"), decision=decision, sites=sites)


def site_block(section: policy.BrowserSection) -> wire.GrantStatement:
    return statement(GrantKind.EMERGENCY_BLOCK, payload=encode(policy.GrantPayload(browser=section)))


@pytest.mark.parametrize("sites", [("example.org",), ("example.org/bad", "sub.example.net"), ("10.0.0.1",)])
def test_an_address_is_blocked_by_one_signature(sites: tuple[str, ...]) -> None:
    section = policy.BrowserSection(rules=(site_rule(*sites),))
    permitted = asked(site_block(section), TECHNICIAN)
    assert isinstance(permitted, Permitted)
    assert permitted.payload.browser == section


@pytest.mark.parametrize(
    ("section", "word"),
    [
        (policy.BrowserSection(), "at least one rule"),
        (
            policy.BrowserSection(rules=(site_rule("example.org"),), otherwise=DecisionKind.BLOCK),
            "close everything",
        ),
        (
            policy.BrowserSection(rules=(site_rule("example.org", decision=DecisionKind.WARN),)),
            "may only refuse",
        ),
        (policy.BrowserSection(rules=(site_rule(),)), "must name sites"),
        (policy.BrowserSection(rules=(site_rule("*"),)), "no site that can be blocked"),
        (policy.BrowserSection(rules=(site_rule("example.org\nall"),)), "no site that can be blocked"),
        (policy.BrowserSection(rules=(site_rule("https://example.org"),)), "without https://"),
        (
            policy.BrowserSection(rules=(replace(site_rule("example.org"), allowed=("example.org/a",)),)),
            "and nothing else",
        ),
        (
            policy.BrowserSection(rules=(replace(site_rule("example.org"), categories=("games",)),)),
            "and nothing else",
        ),
        (
            policy.BrowserSection(
                rules=(site_rule("example.org"),),
                settings=(policy.BrowserRule(text=policy.RuleText(rule_id="x")),),
            ),
            "no settings of browsers",
        ),
        (
            policy.BrowserSection(
                rules=(site_rule("example.org"),),
                categories=(policy.SiteCategory(name="x", sites=("a.example",)),),
            ),
            "no lists of its own",
        ),
    ],
)
def test_a_block_of_sites_refuses_what_it_names_and_nothing_else(
    section: policy.BrowserSection, word: str
) -> None:
    assert word in why(asked(site_block(section), *BOTH))


def test_no_other_grant_carries_sites() -> None:
    payload = encode(policy.GrantPayload(browser=policy.BrowserSection(rules=(site_rule("example.org"),))))
    assert "carries no rules" in why(asked(statement(GrantKind.ISOLATE, payload=payload), *BOTH))


def test_every_rule_of_an_emergency_block_refuses_and_it_closes_nothing_else() -> None:
    refuses = app_rule("vpn", "/bin/vpn", DecisionKind.BLOCK)
    raises = app_rule("vpn-2", "/bin/vpn2", DecisionKind.BLOCK_AND_RAISE)
    both = policy.ApplicationsSection(rules=(refuses, raises))
    permitted = asked(block(both), TECHNICIAN)
    assert isinstance(permitted, Permitted)
    assert permitted.payload.applications == both
    milder = replace(both, rules=(refuses, app_rule("soft", "/bin/x", DecisionKind.WARN)))
    assert "'soft'" in why(asked(block(milder), *BOTH))
    for otherwise in (DecisionKind.OBSERVE, DecisionKind.BLOCK):
        assert "close everything" in why(asked(block(replace(both, otherwise=otherwise)), *BOTH))
    for otherwise in (DecisionKind.ALLOW, DecisionKind.UNSPECIFIED):
        assert by(asked(block(replace(both, otherwise=otherwise)), TECHNICIAN))
    for wrong in (DecisionKind.READ_ONLY, DecisionKind.UNSPECIFIED):
        assert "may only refuse" in why(
            asked(block(policy.ApplicationsSection(rules=(app_rule("x", "/x", wrong),))), *BOTH)
        )
    relative = policy.ApplicationsSection(rules=(app_rule("vpn", "bin/vpn"),))
    assert "cannot be compiled" in why(asked(block(relative), *BOTH))


# ---- rules ------------------------------------------------------------------------------------------------


def test_what_a_policy_says_of_a_rule_is_told_from_all_rules_of_its_id() -> None:
    def facts(*whens: policy.Applicability | None, safeguarding: tuple[bool, ...] = ()) -> RuleFacts:
        guarded = safeguarding or (False,) * len(whens)
        rules = tuple(
            app_rule("r", f"/bin/{number}", when=when, safeguarding=guarded[number])
            for number, when in enumerate(whens)
        )
        bundle = replace(opened(), applications=policy.ApplicationsSection(rules=rules))
        return ground_of(bundle).rules["r"]

    window = policy.TimeWindow(weekdays=1, from_minute=0, to_minute=1)
    assert facts(None) == facts(policy.Applicability()) == RuleFacts()
    assert facts(policy.Applicability(time_zone="UTC")) == RuleFacts()
    for when in (
        policy.Applicability(times=(window,)),
        policy.Applicability(days=(policy.DayRange(first_day=1),)),
        policy.Applicability(user_groups=("staff",)),
        policy.Applicability(exceptions=(policy.RuleException(exception_id="e"),)),
    ):
        assert facts(when) == facts(when, None) == facts(None, when) == RuleFacts(opens=True)
    assert facts(None, None, safeguarding=(True, False)) == RuleFacts(safeguarding=True)
    assert facts(None, None, safeguarding=(False, True)) == RuleFacts(safeguarding=True)
    bounds = (bound("observe", "r"),)
    assert ground_of(opened((), bounds)).bounds == bounds
    assert ground_of(replace(opened(), grants=None)).bounds == ()


def test_a_lesson_opens_a_rule_that_a_bound_for_lessons_names() -> None:
    said = statement(GrantKind.LESSON, rule_ids=("games",))
    assert by(asked(said, *BOTH, bounds=(bound("lesson", "games"),)))
    for unhelpful in (
        bound("lesson"),  # names no rule
        bound("observe", "games"),
        bound("lesson", "other"),
    ):
        assert "at all times" in why(asked(said, *BOTH, bounds=(unhelpful,)))
    assert "at all times" in why(asked(said, *BOTH, bounds=(bound("lesson", "games", max_seconds=0),)))
    # Only lessons are bound to what opens.
    assert by(asked(statement(GrantKind.EXCEPTION, rule_ids=("games",)), *BOTH))


def test_what_is_stricter_may_name_rules_that_the_policy_does_not_have() -> None:
    assert by(asked(statement(GrantKind.ISOLATE, rule_ids=("absent",)), TECHNICIAN))
    assert "no rule 'absent'" in why(asked(statement(GrantKind.EXCEPTION, rule_ids=("absent",)), *BOTH))
    assert "no rule 'absent'" in why(asked(statement(GrantKind.OBSERVE, rule_ids=("games", "absent")), *BOTH))


def test_a_bound_of_no_time_forbids_its_kind_and_its_rules_only() -> None:
    none = bound("observe", "game*", max_seconds=0)
    ground = replace(
        GROUND, bounds=(none, bound("observe", "filter"), bound("lesson", "timed", max_seconds=0))
    )
    assert forbidden(GrantKind.OBSERVE, ground) == {"games"}
    assert forbidden(GrantKind.LESSON, ground) == {"timed"}
    assert forbidden(GrantKind.EXCEPTION, ground) == frozenset()
    assert "forbids" in why(
        asked(statement(GrantKind.OBSERVE, rule_ids=("timed", "games")), *BOTH, bounds=(none,))
    )
    assert by(asked(statement(GrantKind.EXCEPTION, rule_ids=("games",)), *BOTH, bounds=(none,)))
    # Everything at once spares what is forbidden, and is forbidden where everything is.
    assert by(asked(statement(GrantKind.OBSERVE), *BOTH, bounds=(none,)))
    each = tuple(bound("observe", rule_id, max_seconds=0) for rule_id in GROUND.rules)
    assert "forbids" in why(asked(statement(GrantKind.OBSERVE), *BOTH, bounds=each))
    assert by(asked(statement(GrantKind.OBSERVE), *BOTH, bounds=each[1:]))
    assert "forbids" in why(
        asked(statement(GrantKind.OBSERVE), *BOTH, bounds=(bound("observe", "*", max_seconds=0),))
    )
    for harmless in (bound("lesson", "*", max_seconds=0), bound("observe", "*", max_seconds=86_400)):
        assert by(asked(statement(GrantKind.OBSERVE), *BOTH, bounds=(harmless,)))
    # A policy without rules forbids nothing by having none.
    assert isinstance(
        check(statement(GrantKind.OBSERVE), tuple(p.officer for p in BOTH), Ground()), Permitted
    )


# ---- signers ----------------------------------------------------------------------------------------------


def test_a_bound_reaches_to_its_last_second_and_covers_every_rule_by_one_of_them() -> None:
    def alone(seconds: int, *rule_ids: str, bounds: tuple[policy.GrantBound, ...]) -> Permitted | Refused:
        said = statement(GrantKind.OBSERVE, rule_ids=rule_ids)
        return asked(replace(said, expires_unix_ms=START + seconds * 1000), DSL, TECHNICIAN, bounds=bounds)

    two = (bound("observe", "games"), bound("observe", "timed"))
    assert by(alone(7_200, "games", "timed", bounds=two)) == ("technician",)
    # Beyond it the two are needed, and both are named.
    assert by(alone(7_201, "games", "timed", bounds=two)) == ("dsl", "technician")
    assert by(alone(60, "games", "filter", bounds=two)) == ("dsl", "technician")
    assert by(alone(60, "games", bounds=(bound("observe", "games", two_person=True),))) == (
        "dsl",
        "technician",
    )
    assert by(alone(60, "games", bounds=(bound("lesson", "games"),))) == ("dsl", "technician")
    assert by(alone(60, bounds=(bound("observe", "*"),))) == ("technician",)
    assert by(alone(60, bounds=(bound("observe", "*"), bound("observe", "games")))) == ("technician",)
    # Every rule, though not each by name: what no rule names would be opened, too.
    assert by(alone(60, bounds=(bound("observe", *GROUND.rules),))) == ("dsl", "technician")
    # "*" covers what is safeguarding, an empty list does not.
    assert by(alone(60, "filter", bounds=(bound("observe", "*"),))) == ("technician",)
    assert by(alone(60, "filter", bounds=(bound("observe"),))) == ("dsl", "technician")
    assert by(alone(60, "games", bounds=(bound("observe"),))) == ("technician",)
    # A name is the whole name; only a last star is any end.
    assert by(alone(60, "timed-filter", bounds=(bound("observe", "timed"),))) == ("dsl", "technician")
    assert by(alone(60, "timed-filter", bounds=(bound("observe", "timed*"),))) == ("technician",)
    assert by(alone(60, "timed", bounds=(bound("observe", "timed*"),))) == ("technician",)
    assert by(alone(60, "timed", bounds=(bound("observe", "timed-*"),))) == ("dsl", "technician")


def test_a_bound_is_for_those_it_names_or_for_every_officer() -> None:
    said = statement(GrantKind.OBSERVE, rule_ids=("games",))
    for duties, people in (
        (("teacher",), (TEACHER,)),
        (("technical",), (TECHNICIAN,)),  # by the duty of the root
        ((), (TEACHER,)),
        (("dsl", "teacher"), (DSL,)),
    ):
        assert by(asked(said, *people, bounds=(bound("observe", "games", duties=duties),)))
    assert "alone" in why(asked(said, TEACHER, bounds=(bound("observe", "games", duties=("dsl",)),)))


def test_who_signed_alone_is_told_what_is_missing() -> None:
    said = statement(GrantKind.OBSERVE)
    assert "signed by technician, second-technician alone" in why(asked(said, TECHNICIAN, SECOND_TECHNICIAN))
    assert "none of the school's officers" in why(asked(said))


def test_two_people_two_keys_and_both_duties() -> None:
    technician, dsl = TECHNICIAN.officer, DSL.officer
    assert has_both_duties((technician, dsl))
    assert has_both_duties((TEACHER.officer, technician, dsl))
    assert not has_both_duties((technician, SECOND_TECHNICIAN.officer))
    assert not has_both_duties((technician, TEACHER.officer))
    assert not has_both_duties((dsl,))
    assert not has_both_duties(())
    assert not has_both_duties((technician, replace(dsl, key=technician.key)))
    assert not has_both_duties((technician, replace(dsl, officer_id="technician")))


def test_what_is_stricter_takes_one_with_a_duty_or_within_a_bound() -> None:
    lost = statement(GrantKind.LOST)
    assert by(asked(lost, TEACHER, DSL)) == ("dsl",)
    assert "teacher has no duty" in why(asked(lost, TEACHER))
    assert by(asked(lost, TEACHER, bounds=(bound("lost", duties=("teacher",)),))) == ("teacher",)
    for unhelpful in (
        bound("isolate", duties=("teacher",)),
        bound("lost", duties=("teacher",), two_person=True),
        bound("lost", duties=("technician",)),
    ):
        assert "no duty" in why(asked(lost, TEACHER, bounds=(unhelpful,)))


def test_ending_a_grant_is_as_strict_as_the_grant_was_loose() -> None:
    mild, hard, unknown = b"m" * 16, b"h" * 16, b"u" * 16
    held = {mild: GrantKind.LESSON, hard: GrantKind.LOST}

    def ending(*grant_ids: bytes) -> wire.GrantStatement:
        return statement(GrantKind.REVOKE, payload=ends(*grant_ids))

    assert by(asked(ending(mild, unknown), TECHNICIAN, held=held))
    for grant_ids in ((hard,), (mild, hard), (hard, unknown)):
        assert "safeguarding" in why(asked(ending(*grant_ids), TECHNICIAN, held=held))
        assert by(asked(ending(*grant_ids), *BOTH, held=held))
    # No bound makes ending a block the work of one.
    assert "safeguarding" in why(asked(ending(hard), TECHNICIAN, held=held, bounds=(bound("revoke", "*"),)))
    # Another kind that names grants ends none: it stays what it is.
    named = statement(GrantKind.ISOLATE, payload=ends(hard))
    assert by(asked(named, TECHNICIAN, held=held))


def test_two_people_may_as_long_as_a_bound_for_two_says() -> None:
    two = bound("observe", "games", max_seconds=600, two_person=True)

    def lasting(
        seconds: int, *rule_ids: str, kind: GrantKind = GrantKind.OBSERVE, limit: policy.GrantBound = two
    ) -> Permitted | Refused:
        said = replace(statement(kind, rule_ids=rule_ids), expires_unix_ms=START + seconds * 1000)
        return asked(said, *BOTH, bounds=(limit,))

    assert by(lasting(600, "games"))
    assert why(lasting(601, "games")) == (
        "for the rule 'games' the policy allows 10 minutes at most, not 601 seconds"
    )
    assert "'games'" in why(lasting(601, "timed", "games"))
    assert "'games'" in why(lasting(601))
    assert by(lasting(601, "timed"))
    assert by(lasting(601, "games", kind=GrantKind.EXCEPTION))
    assert by(lasting(601, "games", limit=replace(two, two_person=False)))


def test_a_rule_that_is_forbidden_is_not_counted_among_all() -> None:
    """Everything but what nobody may loosen: its limit for two is then no concern of the rest."""
    bounds = (
        bound("observe", "games", max_seconds=0),
        bound("observe", "games", max_seconds=60, two_person=True),
    )
    assert by(asked(statement(GrantKind.OBSERVE), *BOTH, bounds=bounds))


def test_a_signature_counts_by_its_key_its_statement_and_its_bytes() -> None:
    said = statement(GrantKind.OBSERVE)
    grant = signed(said, TECHNICIAN, DSL)
    assert [one.officer_id for one in signers_of(grant, OFFICERS)] == ["technician", "dsl"]
    broken = replace(grant.signatures[1], signature=bytes(64))
    assert [
        one.officer_id
        for one in signers_of(replace(grant, signatures=(grant.signatures[0], broken)), OFFICERS)
    ] == ["technician"]
    swapped = replace(grant.signatures[1], key_id=grant.signatures[0].key_id)
    assert signers_of(replace(grant, signatures=(swapped,)), OFFICERS) == ()
    # A key that is none stops nobody else.
    none = Officer(officer_id="broken", key=b"short")
    assert [one.officer_id for one in signers_of(grant, (none, *OFFICERS))] == ["technician", "dsl"]


# ---- isolation and its end ------------------------------------------------------------------------------------

HEAD = person("head", trust.Duty.SAFEGUARDING, "head")
CHAIR = person("chair", None, "chair")


def terms(quiet: bool = True, by: str = "head", where: str = "case 1") -> bytes:
    found = policy.IsolationTerms(quiet=quiet, ground_by=by, ground_reference=where)
    return encode(policy.GrantPayload(isolation=found))


def test_a_quiet_isolation_is_signed_by_whoever_recorded_its_ground() -> None:
    quiet = statement(GrantKind.ISOLATE, payload=terms())
    assert by(asked(quiet, TECHNICIAN, HEAD)) == ("technician", "head")
    assert by(asked(quiet, HEAD)) == ("head",), "who has both signs once"
    assert by(asked(statement(GrantKind.ISOLATE, payload=terms(by="chair")), TECHNICIAN, CHAIR)) == (
        "technician", "chair",
    )  # fmt: skip
    assert "signed by the head" in why(asked(quiet, TECHNICIAN, CHAIR))
    assert "signed by the chair" in why(asked(statement(GrantKind.ISOLATE, payload=terms(by="chair")), HEAD))
    assert "has no duty" in why(asked(statement(GrantKind.ISOLATE, payload=terms(by="chair")), CHAIR))
    for wrong in (terms(by="dsl"), terms(where=" "), terms(by="", where="")):
        assert "recorded ground" in why(asked(statement(GrantKind.ISOLATE, payload=wrong), TECHNICIAN, HEAD))


def test_a_quiet_isolation_lasts_thirty_days_and_not_a_second_more() -> None:
    longest = statement(GrantKind.ISOLATE, payload=terms(), minutes=30 * DAYS)
    assert by(asked(longest, HEAD))
    over = replace(longest, expires_unix_ms=longest.expires_unix_ms + 1000)
    assert "30 days at most" in why(asked(over, HEAD))
    assert "notice empty" in why(asked(replace(longest, notice="Hello"), HEAD))


def test_an_isolation_that_is_told_of_needs_no_ground() -> None:
    told = statement(
        GrantKind.ISOLATE, payload=terms(quiet=False, by="", where=""), notice="Hello", minutes=31 * DAYS
    )
    assert by(asked(told, TECHNICIAN)) == ("technician",)
    for kind in (GrantKind.LOST, GrantKind.OBSERVE):
        assert "no terms of an isolation" in why(asked(statement(kind, payload=terms(quiet=False)), *BOTH))


def test_a_release_takes_two_whatever_a_bound_says_and_ends_isolations_only() -> None:
    lost, mild, unknown = b"l" * 16, b"m" * 16, b"u" * 16
    held = {lost: GrantKind.LOST, b"i" * 16: GrantKind.ISOLATE, mild: GrantKind.OBSERVE}

    def release(*ended: bytes, rule_ids: tuple[str, ...] = ()) -> wire.GrantStatement:
        return statement(GrantKind.RELEASE, payload=ends(*ended), rule_ids=rule_ids)

    for ended in ((lost,), (b"i" * 16,), (unknown,), (lost, unknown)):
        assert by(asked(release(*ended), *BOTH, held=held)) == ("technician", "dsl")
    for ended in ((mild,), (lost, mild), (unknown, mild)):
        assert "a revocation the rest" in why(asked(release(*ended), *BOTH, held=held))
    assert why(asked(release(mild), *BOTH, held=held)).startswith(
        "grant 6d6d6d6d6d6d is of the kind observe:"
    )
    bounds = (bound("release", "*"), bound("release", "games"))
    for said in (release(lost), release(lost, rule_ids=("games",))):
        assert "two people" in why(asked(said, TECHNICIAN, held=held, bounds=bounds))
    alone = why(asked(release(lost), TECHNICIAN, held=held))
    assert alone == (
        "signed by technician alone: a release needs one technical and one safeguarding officer, two people"
    )
    assert "names no bound" in why(asked(statement(GrantKind.OBSERVE), TECHNICIAN))
    assert "a release must name" in why(asked(statement(GrantKind.RELEASE), *BOTH))
    # Ended by a revocation, an isolation takes two as well; only of a release is it asked what it ends.
    revoke = statement(GrantKind.REVOKE, payload=ends(mild, lost))
    assert by(asked(revoke, *BOTH, held=held))


# ---- officers ---------------------------------------------------------------------------------------------


def key_of(one: Person, *duties: str, officer_id: str = "") -> policy.OfficerKey:
    raw = one.officer.key
    return policy.OfficerKey(
        key_id=b"k", officer_id=officer_id or one.officer_id, duties=duties, sealing_key=b"", signing_key=raw
    )


def root_of(*people: Person, aliases: tuple[tuple[str, Person, str], ...] = ()) -> trust.RootView:
    named = [(f"k{number}", one, one.officer_id) for number, one in enumerate(people)] + list(aliases)
    keys = {key_id: one.officer.key for key_id, one, _ in named}
    duties = {
        key_id: trust.DutyOfKey(officer=officer, duty=one.duty)
        for key_id, one, officer in named
        if one.duty is not None
    }
    roles = {"targets": trust.Role(key_ids=tuple(keys), threshold=2)}
    return trust.RootView(version=1, expires_unix_ms=0, keys=keys, roles=roles, duties=duties)


def statement_of(*officers: policy.OfficerKey) -> policy.KeyStatement:
    return policy.KeyStatement(school_id="s", school_name="S", version=1, issued_unix_ms=0, officers=officers)


def test_the_root_says_who_has_a_duty_and_the_key_statement_who_else_may_sign() -> None:
    found = officers_of(
        root_of(TECHNICIAN, DSL), statement_of(key_of(TECHNICIAN, "technician"), key_of(TEACHER, "teacher"))
    )
    assert found == (
        replace(TECHNICIAN.officer, titles=("technician",)),
        replace(DSL.officer, titles=()),
        replace(TEACHER.officer, titles=("teacher",)),
    )
    assert found[2].duty is None
    assert found[0].duty is trust.Duty.TECHNICAL


def test_one_key_is_one_officer_and_one_person_has_the_key_of_the_root() -> None:
    again = officers_of(
        root_of(TECHNICIAN, aliases=(("again", TECHNICIAN, "somebody-else"),)), statement_of()
    )
    assert [one.officer_id for one in again] == ["technician"]
    # The statement cannot give somebody in the root another key, nor a key of the root another name.
    other = person("technician", None)
    assert officers_of(root_of(TECHNICIAN), statement_of(key_of(other, "technician"))) == (
        replace(TECHNICIAN.officer, titles=()),
    )
    renamed = officers_of(root_of(TECHNICIAN), statement_of(key_of(TECHNICIAN, "x", officer_id="new-name")))
    assert [one.officer_id for one in renamed] == ["technician"]
    # A key of the root without a duty signs policy for nobody.
    plain = replace(root_of(TECHNICIAN), duties={})
    assert officers_of(plain, statement_of()) == ()


def test_every_kind_loosens_or_tightens_and_none_does_both() -> None:
    assert not STRICTER & LOOSER
    assert {*GrantKind} - STRICTER - LOOSER == {GrantKind.UNSPECIFIED, GrantKind.REVOKE}
