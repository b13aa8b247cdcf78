"""A pack's agreement: who is asked, what a bundle carries of it, and what a change of it is called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_policies.categories import shipped_names
from schoolkeeper_policies.cli import app as cli
from schoolkeeper_policies.compile import sections
from schoolkeeper_policies.parse import load_pack, pack_names
from schoolkeeper_policies.plan import Direction, compare
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle, build, open_bundle
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.notices.agreement import Band, agreement_of, asked
from schoolkeeper_proto.notices.english import JUNIOR
from schoolkeeper_proto.notices.render import WORDS
from schoolkeeper_proto.notices.words import Language, Level
from schoolkeeper_proto.people import PeopleTable, account_pseudonym
from support.language import KEY, opened, pack

ASKING = """agreement:
  version: "2026-09"
  asked: [ks1, ks2, staff]
"""
COLLECTED = """\
  collected:
    - {kinds: [aup.shown, aup.accepted, aup.deferred], notice: n, purpose: p, retention_days: 366, readers: [dsl]}
"""
SECTION = policy.AgreementSection(
    document="acceptable-use",
    version="2026-09",
    bands=("ks1", "ks2"),
    adult_accepts=("ks1",),
    again_after_days=366,
    band_of_group="ks2",
)


def opened_of(*held: policy.Section) -> OpenBundle:
    data = build(school_id="lab.example", group="g", version=1, compiled_at_unix_ms=1, sections=held)
    return open_bundle(data, school_id="lab.example", group="g", capabilities=frozenset())


NOT_FOR_CHILDREN = {name for name, said in JUNIOR.names.items() if "not for children" in said}


@pytest.mark.requirement("W-114")
@pytest.mark.parametrize("name", [name for name in pack_names() if name != "demo"])
def test_every_group_of_a_shipped_pack_has_its_agreements_in_two_languages(name: str) -> None:
    held = load_pack(name)
    assert held.agreement is not None
    for group in held.groups:
        bundle = opened_of(*sections(held, group.name, KEY))
        assert bundle.agreement is not None
        of_group = bundle.agreement.band_of_group
        assert asked(bundle, frozenset()) == (of_group if of_group in held.agreement.asked else None)
        for band in Band:
            for language in Language:
                text = agreement_of(bundle, band, language).as_text()
                assert "{" not in text
                if band in (Band.EYFS, Band.KS1, Band.KS2):
                    assert [word for word in NOT_FOR_CHILDREN if word in text] == [], (
                        "not a word for children"
                    )


@pytest.mark.parametrize(
    ("language", "level"), [(language, level) for language in Language for level in Level]
)
def test_every_category_has_a_name_that_people_read(language: Language, level: Level) -> None:
    assert set(shipped_names()) - set(WORDS[language, level].names) == set()
    own = {
        one.name: one.words
        for name in pack_names()
        for one in load_pack(name).categories
        if one.name not in shipped_names()
    }
    assert own
    assert [name for name, words in own.items() if "plain" not in words.get(language.value, {})] == []


def test_what_is_asked_must_be_collected(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        load_pack(pack(tmp_path, ASKING))
    (problem,) = caught.value.problems
    assert "'aup.accepted' and 'aup.deferred' and 'aup.shown'" in problem.reason
    assert "collection" in problem.remedy
    assert problem.position.line


def test_a_line_said_twice_in_one_language_is_refused() -> None:
    with pytest.raises(ValueError, match="leave 'plain' out"):
        load_notice({"en": {"plain": "Again."}})
    load_notice({"cy": {"plain": "Eto."}, "en": {"early": "Short."}})


def load_notice(words: dict[str, dict[str, str]]) -> object:
    from schoolkeeper_policies.model import Notice

    return Notice.model_validate(
        {
            "title": "t",
            "introduction": "i",
            "not_watched": ("x",),
            "sign_in_notice": "s",
            "also": ({"text": "Again.", "words": words},),
        }
    )


@pytest.mark.parametrize(
    ("after", "direction"),
    [
        (replace(SECTION, version="2027-09"), Direction.WORDS),
        (replace(SECTION, bands=("ks2",)), Direction.WEAKER),
        (replace(SECTION, bands=("ks1", "ks2", "staff")), Direction.STRICTER),
        (replace(SECTION, bands=("staff",)), Direction.DIFFERENT),
        (replace(SECTION, adult_accepts=()), Direction.STRICTER),
        (replace(SECTION, adult_accepts=("ks1", "ks2")), Direction.WEAKER),
        (replace(SECTION, again_after_days=0), Direction.WEAKER),
        (replace(SECTION, again_after_days=30), Direction.STRICTER),
        (replace(SECTION, band_of_group="staff"), Direction.DIFFERENT),
        (None, Direction.WEAKER),
    ],
)
def test_a_change_of_the_agreement_is_named(
    after: policy.AgreementSection | None, direction: Direction
) -> None:
    (change,) = compare(opened_of(SECTION), opened_of(*((after,) if after is not None else ())))
    assert (change.section, change.direction, change.safeguarding) == ("agreement", direction, False)
    assert compare(opened_of(SECTION), opened_of(SECTION)) == ()


def people(*sets: tuple[tuple[str, ...], str]) -> policy.PeopleSection:
    return policy.PeopleSection(
        member_bytes=8,
        sets=tuple(
            policy.PeopleSet(groups=groups, members=account_pseudonym(KEY, account)[:8])
            for groups, account in sets
        ),
    )


def test_a_move_between_groups_that_no_rule_names_escapes_no_rule() -> None:
    rule = policy.ApplicationRule(
        text=policy.RuleText(rule_id="r", mode=policy.RuleMode.ENFORCE),
        when=policy.Applicability(user_groups=("people:pupils",)),
        decision=DecisionKind.BLOCK,
        matches=(policy.ApplicationMatch(by=policy.MatchBy.FILE_NAME, text="x"),),
    )
    ruled = policy.ApplicationsSection(rules=(rule,))
    before = opened_of(ruled, people((("pupils",), "a")))
    agreeing = opened_of(ruled, people((("ks1", "pupils"), "a")))
    (change,) = compare(before, agreeing)
    assert not change.weakens_safeguarding
    (change,) = compare(before, opened_of(ruled, people((("staff",), "a"))))
    assert change.weakens_safeguarding
    (change,) = compare(before, opened_of(ruled, people(((), "a"))))
    assert change.weakens_safeguarding, "known, and in no group that a rule names"
    (change,) = compare(before, opened_of(ruled, people()))
    assert not change.weakens_safeguarding, "unknown to the register: the stricter side of every rule"


def test_the_register_tells_a_device_whose_agreement_is_whose(tmp_path: Path) -> None:
    folder = pack(tmp_path, ASKING, people=True)
    base = folder / "base.yaml"
    base.write_text(base.read_text().replace("  collected:\n", COLLECTED), encoding="utf-8")
    held = opened(folder, "ks2")
    table = PeopleTable(held.people, KEY)
    assert asked(held, table.groups_of("bob")) is Band.KS1
    assert asked(held, table.groups_of("ann")) is Band.KS2
    assert asked(held, table.groups_of("cy")) is Band.STAFF
    assert asked(held, table.groups_of("reception")) is None, (
        "a shared account of the early years, not asked here"
    )
    assert asked(held, table.groups_of("nobody")) is Band.KS2, "for whom the group's devices are"


def test_the_command_prints_it_and_says_what_it_lacks(tmp_path: Path) -> None:
    run = CliRunner().invoke
    printed = run(cli, ["agreement", "westgate-primary", "--group", "ks2-laptops", "--language", "cy"])
    assert printed.exit_code == 0, printed.output
    assert "Beth rydw i'n ei addo" in printed.output
    page = run(cli, ["agreement", "default", "--group", "ks1-laptops", "--for", "parent", "--html"])
    assert page.output.startswith("<!doctype html>")
    every = run(cli, ["agreement", "default", "--group", "ks1-laptops", "--every", str(tmp_path / "all")])
    assert every.exit_code == 0
    assert len(list((tmp_path / "all").iterdir())) == 2 * len(Band) * len(Language)
    wrong = run(cli, ["agreement", "default", "--group", "ks9"])
    assert wrong.exit_code != 0
    taken = tmp_path / "file"
    taken.write_text("x", encoding="utf-8")
    refused = run(cli, ["agreement", "default", "--group", "ks1-laptops", "--every", str(taken)])
    assert refused.exit_code == 2
