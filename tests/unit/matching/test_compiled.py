"""What a compiled table says of itself, the order of strictness, and what is remembered: all that no decision shows."""

from __future__ import annotations

import json

import pytest

from schoolkeeper_proto import policy
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.matching import STRICTNESS, ApplicationTable, TableMistake, compile_applications
from schoolkeeper_proto.media_matching import MediaTable, MediaVerdict
from schoolkeeper_proto.model import DecisionKind, Medium, Place
from schoolkeeper_proto.policy import MatchBy, MediaAccess, RuleMode

MINUTE = 1_795_428_000_000
UNKNOWN = Circumstances(now_ms=MINUTE)
HERE = policy.Applicability(places=(Place.ON_SITE,))
STAFF = policy.Applicability(user_groups=("staff",))


def now(ms: int = 0, place: str = "on-site", *groups: str) -> Circumstances:
    return Circumstances(now_ms=MINUTE + ms, place=place, groups=frozenset(groups))


def rule(
    rule_id: str,
    decision: DecisionKind = DecisionKind.BLOCK,
    *,
    by: MatchBy = MatchBy.PATH,
    text: str = "/x",
    mode: RuleMode = RuleMode.ENFORCE,
    when: policy.Applicability | None = None,
) -> policy.ApplicationRule:
    return policy.ApplicationRule(
        text=policy.RuleText(rule_id=rule_id, mode=mode),
        decision=decision,
        matches=(policy.ApplicationMatch(by=by, text=text),),
        when=when,
    )


def table(*rules: policy.ApplicationRule, otherwise: DecisionKind = DecisionKind.ALLOW) -> ApplicationTable:
    return compile_applications(policy.ApplicationsSection(rules=rules, otherwise=otherwise))


def said(compiled: ApplicationTable, at: Circumstances) -> tuple[str, str, str]:
    found = compiled.decide("/x", at)
    return found.decision, found.asked, found.rule_id


def except_for(*bounds: tuple[int, int]) -> policy.Applicability:
    return policy.Applicability(
        exceptions=tuple(
            policy.RuleException(exception_id="e", not_before_unix_ms=start, expires_unix_ms=end)
            for start, end in bounds
        )
    )


def test_the_order_of_strictness_is_the_documented_one_and_no_two_are_equal() -> None:
    order = ["allow", "observe", "warn", "read-only", "block", "block-and-raise"]
    assert sorted(STRICTNESS, key=STRICTNESS.__getitem__) == order
    assert len(set(STRICTNESS.values())) == len(order)


def test_a_table_says_what_must_be_found_out_before_it_is_asked() -> None:
    plain = table(rule("r"))
    assert (plain.needs_sha256, plain.needs_package, plain.needs_user) == (False, False, False)
    assert table(rule("r", by=MatchBy.SHA256, text="ab" * 32)).needs_sha256
    assert table(rule("r", by=MatchBy.PACKAGE, text="p")).needs_package
    assert not table(rule("r", by=MatchBy.SHA256, text="ab" * 32)).needs_package
    assert table(rule("r"), rule("s", when=STAFF)).needs_user
    assert not table(rule("r", when=HERE)).needs_user
    someone = policy.RuleException(exception_id="e", user_groups=("staff",))
    everyone = policy.RuleException(exception_id="e")
    for exceptions, needed in (((someone, everyone), True), ((someone,), True), ((everyone,), False)):
        when = policy.Applicability(exceptions=exceptions)
        assert table(rule("r", when=when)).needs_user is needed
    assert table(rule("r"), rule("s", by=MatchBy.FILE_NAME, text="y")).exact_paths == ("/x",)


def test_a_written_table_has_its_format_and_another_is_refused() -> None:
    written = json.loads(json.dumps(table(rule("r", when=HERE)).to_json()))
    assert written["format"] == 3
    assert ApplicationTable.from_json(written).decide("/x", now()).rule_id == "r"
    for changed in ({"format": 2}, {"format": 4}, {"rules": [["r", "perhaps", "enforce", None, [], []]]}):
        with pytest.raises(TableMistake):
            ApplicationTable.from_json(written | changed)


def test_a_section_that_does_not_say_what_happens_otherwise_allows() -> None:
    assert said(table(otherwise=DecisionKind.UNSPECIFIED), now()) == ("allow", "allow", "")


@pytest.mark.parametrize(
    ("by", "text", "names"),
    [
        (MatchBy.FILE_NAME, "", "file's name"),
        (MatchBy.SHA256, "ab" * 31 + "a", "64"),
        (MatchBy.SHA256, "ab" * 32 + "a", "64"),
        (MatchBy.PACKAGE, "", "matches nothing"),
        (MatchBy.PATH, "", "absolute"),
    ],
)
def test_a_text_that_cannot_match_is_refused_for_its_reason(by: MatchBy, text: str, names: str) -> None:
    with pytest.raises(TableMistake, match=names):
        table(rule("r", by=by, text=text))


# ---- which rule is named ----------------------------------------------------------------------------------


def test_what_cannot_be_told_is_no_reason_for_what_holds_anyway() -> None:
    """As strict as ``otherwise`` and not certain: the rule did not decide."""
    warned = DecisionKind.WARN
    assert said(table(rule("r", warned, when=HERE), otherwise=warned), UNKNOWN) == ("warn", "warn", "")
    assert said(table(rule("r", warned, when=HERE), otherwise=warned), now()) == ("warn", "warn", "r")
    stricter = table(rule("r", DecisionKind.BLOCK, when=HERE), otherwise=warned)
    assert said(stricter, UNKNOWN) == ("block", "block", "r")
    (concern,) = stricter.concerning("/x", UNKNOWN)
    assert (concern.holds, concern.told, concern.decision, concern.mode) == (True, False, "block", "enforce")


def test_of_rules_on_trial_the_strictest_is_named_and_of_equals_the_first_by_name() -> None:
    def trial(rule_id: str, decision: DecisionKind, mode: RuleMode) -> policy.ApplicationRule:
        return rule(rule_id, decision, mode=mode)

    observe, warn = RuleMode.OBSERVE, RuleMode.WARN
    block, raised = DecisionKind.BLOCK, DecisionKind.BLOCK_AND_RAISE
    two = table(trial("a", DecisionKind.WARN, observe), trial("b", block, observe))
    assert said(two, now()) == ("observe", "block", "b")
    equal = table(trial("b", block, observe), trial("a", block, observe))
    assert said(equal, now()) == ("observe", "block", "a")
    assert said(table(trial("b", raised, observe), trial("a", block, warn)), now()) == ("warn", "block", "a")
    # What asks for no more than its trial says it, and no less.
    assert said(table(trial("a", DecisionKind.WARN, warn)), now()) == ("warn", "warn", "a")
    assert said(table(trial("a", DecisionKind.OBSERVE, warn)), now()) == ("allow", "allow", "")
    # Where everything is observed already, an observing trial decides nothing.
    watched = table(trial("a", block, observe), otherwise=DecisionKind.OBSERVE)
    assert said(watched, now()) == ("observe", "observe", "")
    # In force beats on trial at the same word.
    both = table(trial("a", block, warn), rule("b", DecisionKind.WARN))
    assert said(both, now()) == ("warn", "warn", "b")


def test_of_equals_in_force_the_first_by_name_is_named() -> None:
    assert said(table(rule("b"), rule("a"), rule("c", DecisionKind.WARN)), now()) == ("block", "block", "a")


# ---- what is remembered -----------------------------------------------------------------------------------


def test_the_same_path_with_another_hash_or_package_is_another_program() -> None:
    by_hash = table(rule("r", by=MatchBy.SHA256, text="ab" * 32))
    by_package = table(rule("r", by=MatchBy.PACKAGE, text="p"))
    for _ in range(2):
        assert by_hash.decide("/x", now(), sha256="ab" * 32).refuses
        assert not by_hash.decide("/x", now(), sha256="cd" * 32).refuses
        assert by_package.decide("/x", now(), package="p").refuses
        assert not by_package.decide("/x", now(), package="q").refuses


def test_a_rule_without_a_condition_does_not_hide_that_another_has_one() -> None:
    both = table(rule("always", DecisionKind.WARN), rule("staff", when=STAFF))
    for _ in range(2):
        assert said(both, now(0, "on-site", "staff")) == ("block", "block", "staff")
        assert said(both, now(0, "on-site", "pupils")) == ("warn", "warn", "always")
    assert not both.decide("/x", now()).steady
    assert table(rule("always")).decide("/x", now()).steady
    media = media_table(
        media_rule("a", MediaAccess.READ_ONLY, when=HERE),
        media_rule("b", MediaAccess.BLOCK, when=except_for((0, MINUTE + 17))),
    )
    accesses = [str(media.decide(STICK, now(ms)).access) for ms in (16, 17, 16)]
    assert accesses == ["read-only", "block", "read-only"]
    timed = table(rule("a", DecisionKind.WARN, when=HERE), rule("b", when=except_for((0, MINUTE + 17))))
    assert [timed.decide("/x", now(ms)).decision for ms in (16, 17, 16)] == ["warn", "block", "warn"]


STEADY = [None]
REMEMBERED = [
    HERE,
    except_for((MINUTE, MINUTE + 120_000)),
    except_for((MINUTE, MINUTE + 120_000), (0, 0)),
    policy.Applicability(times=(policy.TimeWindow(weekdays=127, from_minute=1, to_minute=900),)),
]
NOT_REMEMBERED = [
    except_for((MINUTE + 1, MINUTE + 120_000)),
    except_for((MINUTE, MINUTE + 120_001)),
    except_for((MINUTE, MINUTE + 120_000), (MINUTE + 1, 0)),
]


@pytest.mark.parametrize("when", [*STEADY, *REMEMBERED])
def test_an_answer_is_given_again_within_its_minute(when: policy.Applicability | None) -> None:
    """The same object: nothing was weighed a second time. The groups are equal, and not the same object."""
    compiled = table(rule("r", when=when))
    media = media_table(media_rule("r", MediaAccess.BLOCK, when=when))
    for _ in range(2):
        assert compiled.decide("/x", now(0, "on-site", "a")) is compiled.decide(
            "/x", now(59_999, "on-site", "a")
        )
        assert media.decide(STICK, now(0, "on-site", "a")) is media.decide(STICK, now(59_999, "on-site", "a"))


@pytest.mark.parametrize("when", NOT_REMEMBERED)
def test_an_answer_that_ends_within_a_minute_is_weighed_each_time(when: policy.Applicability) -> None:
    compiled = table(rule("r", when=when))
    media = media_table(media_rule("r", MediaAccess.BLOCK, when=when))
    assert compiled.decide("/x", now()) is not compiled.decide("/x", now())
    assert media.decide(STICK, now()) is not media.decide(STICK, now())


def test_what_is_remembered_is_bounded() -> None:
    """A device that starts ever new programs does not fill its memory: 4,096 programs, 512 media."""
    compiled = table(rule("r"))
    lengths = []
    for number in range(4_200):
        compiled.decide(f"/{number}", now())
        lengths.append(len(compiled._seen))
    assert max(lengths) == 4_096
    media = media_table()
    lengths = []
    for number in range(600):
        media.decide(Medium(kernel_name="sda", serial=str(number)), now())
        lengths.append(len(media._seen))
    assert max(lengths) == 512


# ---- media ------------------------------------------------------------------------------------------------

STICK = Medium(kernel_name="sdb", serial="S1", vendor_id="0951", product_id="1666", bus="usb")


def media_rule(
    rule_id: str,
    access: MediaAccess,
    mode: RuleMode = RuleMode.ENFORCE,
    when: policy.Applicability | None = None,
    **more: object,
) -> policy.MediaRule:
    text = policy.RuleText(rule_id=rule_id, mode=mode)
    return policy.MediaRule(text=text, access=access, when=when, **more)  # type: ignore[arg-type]


def media_table(*rules: policy.MediaRule, otherwise: DecisionKind = DecisionKind.ALLOW) -> MediaTable:
    return MediaTable(policy.MediaSection(rules=rules, otherwise=otherwise))


def of(*rules: policy.MediaRule, at: Circumstances = UNKNOWN,
       otherwise: DecisionKind = DecisionKind.ALLOW) -> tuple[str, str, str]:  # fmt: skip
    found = media_table(*rules, otherwise=otherwise).decide(STICK, at)
    return str(found.access), found.rule_id, found.mode


def test_a_medium_gets_the_strictest_and_of_equals_the_first_by_name_is_named() -> None:
    read, block = media_rule("r", MediaAccess.READ_ONLY), media_rule("b", MediaAccess.BLOCK)
    assert of(read, block) == of(block, read) == ("block", "b", "enforce")
    assert of(media_rule("z", MediaAccess.BLOCK), block)[1] == "b"
    assert of(media_rule("a", MediaAccess.ALLOW), read)[:2] == ("read-only", "r")
    assert of(media_rule("a", MediaAccess.ALLOW), otherwise=DecisionKind.BLOCK) == ("allow", "a", "enforce")
    assert of(otherwise=DecisionKind.READ_ONLY) == ("read-only", "", "enforce")


def test_what_cannot_be_told_of_a_medium_counts_for_the_stricter_side() -> None:
    for access, otherwise, expected in (
        (MediaAccess.BLOCK, DecisionKind.ALLOW, ("block", "r")),
        (MediaAccess.READ_ONLY, DecisionKind.ALLOW, ("read-only", "r")),
        (MediaAccess.READ_ONLY, DecisionKind.READ_ONLY, ("read-only", "")),
        (MediaAccess.READ_ONLY, DecisionKind.BLOCK, ("block", "")),
        (MediaAccess.ALLOW, DecisionKind.ALLOW, ("allow", "")),
    ):
        held = media_table(media_rule("r", access, when=HERE), otherwise=otherwise)
        found = held.decide(STICK, UNKNOWN)
        assert (str(found.access), found.rule_id) == expected
        (concern,) = held.concerning(STICK, UNKNOWN)
        assert (concern.holds, concern.told) == (bool(expected[1]), False)
        (concern,) = held.concerning(STICK, now())
        assert (concern.holds, concern.told, concern.decision) == (True, True, str(access))


def test_a_trial_is_told_of_only_where_the_medium_is_allowed_and_it_would_not_be() -> None:
    trial = media_rule("t", MediaAccess.READ_ONLY, RuleMode.WARN)
    assert of(trial) == ("allow", "t", "warn")
    assert of(trial, otherwise=DecisionKind.READ_ONLY) == ("read-only", "", "enforce")
    assert of(trial, media_rule("b", MediaAccess.BLOCK)) == ("block", "b", "enforce")
    assert of(media_rule("t", MediaAccess.ALLOW, RuleMode.WARN)) == ("allow", "", "enforce")
    assert of(trial, media_rule("s", MediaAccess.BLOCK, RuleMode.OBSERVE)) == ("allow", "s", "observe")
    asked = media_table(trial).decide(STICK, UNKNOWN)
    assert asked.asked_decision is DecisionKind.READ_ONLY


def test_a_verdict_on_a_medium_says_its_decision_as_a_word() -> None:
    for access in (MediaAccess.ALLOW, MediaAccess.READ_ONLY, MediaAccess.BLOCK):
        verdict = MediaVerdict(access=access, asked=access)
        assert str(verdict.asked_decision) == str(access)


def test_only_what_nothing_could_change_is_steady() -> None:
    assert media_table().is_steady(STICK)
    assert media_table(media_rule("r", MediaAccess.BLOCK)).is_steady(STICK)
    both = media_table(media_rule("r", MediaAccess.READ_ONLY), media_rule("s", MediaAccess.BLOCK, when=STAFF))
    assert not both.is_steady(STICK)
    for _ in range(2):
        assert both.decide(STICK, now(0, "on-site", "staff")).access is MediaAccess.BLOCK
        assert both.decide(STICK, now(0, "on-site", "pupils")).access is MediaAccess.READ_ONLY
    elsewhere = media_table(media_rule("s", MediaAccess.BLOCK, when=STAFF, serials=("S2",)))
    assert elsewhere.is_steady(STICK)


def test_a_rule_that_names_a_medium_twice_is_explained_once() -> None:
    twice = media_rule("r", MediaAccess.BLOCK, vendor_products=("0951:1666", "0951:*"))
    assert [one.rule_id for one in media_table(twice).concerning(STICK, now())] == ["r"]


def test_vendor_and_product_are_compared_without_regard_to_case() -> None:
    table = media_table(media_rule("r", MediaAccess.BLOCK, vendor_products=("0AFF:1B2C",)))
    named = Medium(kernel_name="sdb", vendor_id="0aff", product_id="1B2c")
    assert table.decide(named, now()).rule_id == "r"
    other = Medium(kernel_name="sdb", vendor_id="0aff", product_id="1b2d")
    assert table.decide(other, now()).rule_id == ""


def test_a_wrong_access_is_refused_for_its_reason() -> None:
    with pytest.raises(TableMistake, match="needs an id and an access"):
        media_table(media_rule("r", MediaAccess.UNSPECIFIED))
    for field in ("plain", "unknown"):
        with pytest.raises(TableMistake, match="read-only or block"):
            media_table(media_rule("r", MediaAccess.ENCRYPTED_ONLY, **{field: MediaAccess.ALLOW}))
        for fine in (MediaAccess.READ_ONLY, MediaAccess.BLOCK, MediaAccess.UNSPECIFIED):
            media_table(media_rule("r", MediaAccess.ENCRYPTED_ONLY, **{field: fine}))
        # Of no meaning elsewhere, and no mistake.
        media_table(media_rule("r", MediaAccess.BLOCK, **{field: MediaAccess.ALLOW}))
    wrong = policy.Applicability(times=(policy.TimeWindow(weekdays=0, from_minute=0, to_minute=1),))
    with pytest.raises(TableMistake, match="rule 'r': the time window"):
        media_table(media_rule("r", MediaAccess.BLOCK, when=wrong))
