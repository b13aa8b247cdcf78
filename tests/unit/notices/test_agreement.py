"""The acceptable-use agreement says the rules in force, each in words for its signer, and what is promised (W-114)."""

from __future__ import annotations

import html
from dataclasses import replace

import pytest

from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle, build, open_bundle
from schoolkeeper_proto.conditions import KNOWN
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.notices.agreement import LEVEL_OF, WORDS, Band, agreement_of, asked, version_of
from schoolkeeper_proto.notices.agreement_words import Promise
from schoolkeeper_proto.notices.facts import Act, Audience, Thing, facts_of
from schoolkeeper_proto.notices.render import parts
from schoolkeeper_proto.notices.words import Language, Level
from schoolkeeper_proto.policy import MediaAccess, RuleMode

ENGLISH = Language.ENGLISH
PUPILS = (Band.EYFS, Band.KS1, Band.KS2, Band.KS3_UP)
SECTION = policy.AgreementSection(
    document="aup",
    version="2026-09",
    bands=("eyfs", "ks2", "staff"),
    adult_accepts=("eyfs",),
    band_of_group="ks2",
)


def bundle(*sections: policy.Section, version: int = 7) -> OpenBundle:
    data = build(
        school_id="lab.example", group="g", version=version, compiled_at_unix_ms=1, sections=sections
    )
    return open_bundle(data, school_id="lab.example", group="g", capabilities=frozenset())


def program(
    name: str = "Quake", *, mode: RuleMode = RuleMode.ENFORCE, groups: tuple[str, ...] = ()
) -> policy.ApplicationsSection:
    rule = policy.ApplicationRule(
        text=policy.RuleText(rule_id="r", mode=mode),
        decision=DecisionKind.BLOCK,
        matches=(policy.ApplicationMatch(by=policy.MatchBy.FILE_NAME, text="x"),),
        identity=name,
        when=policy.Applicability(user_groups=groups) if groups else None,
    )
    return policy.ApplicationsSection(rules=(rule,))


def medium(access: MediaAccess) -> policy.MediaSection:
    text = policy.RuleText(rule_id="m", mode=RuleMode.ENFORCE)
    return policy.MediaSection(rules=(policy.MediaRule(text=text, access=access),))


def network() -> policy.NetworkSection:
    text = policy.RuleText(rule_id="n", mode=RuleMode.ENFORCE)
    rule = policy.NetworkRule(text=text, use=policy.NetworkUse.TUNNEL, decision=DecisionKind.BLOCK)
    return policy.NetworkSection(rules=(rule,))


def shown(held: OpenBundle, band: Band = Band.KS3_UP, language: Language = ENGLISH) -> str:
    return agreement_of(held, band, language).as_text()


def promised(held: OpenBundle, band: Band, language: Language = ENGLISH) -> list[str]:
    return [item.heading for item in agreement_of(held, band, language).page.parts[-1].items]


@pytest.mark.requirement("W-114")
def test_the_age_band_picks_words_language_and_symbols() -> None:
    held = bundle(program(), medium(MediaAccess.READ_ONLY))
    for language in Language:
        texts = {band: shown(held, band, language) for band in Band}
        assert len({texts[Band.KS1], texts[Band.KS2], texts[Band.KS3_UP], texts[Band.STAFF]}) == 4
        for band in PUPILS:
            words = WORDS[language, LEVEL_OF[band]]
            assert words.promises[Promise.RULES] in texts[band]
            made = agreement_of(held, band, language)
            young = LEVEL_OF[band] is Level.EARLY
            assert all(bool(part.symbol) is young for part in made.page.parts)
            assert f'<html lang="{language}">' in made.as_page()
    assert shown(held, Band.KS1, Language.WELSH) != shown(held, Band.KS1)


@pytest.mark.requirement("W-114")
@pytest.mark.parametrize("band", Band)
@pytest.mark.parametrize("language", Language)
def test_every_rule_of_the_notice_is_agreed_to_and_no_other(band: Band, language: Language) -> None:
    """The sentences are the notice's own, so that notice, agreement and device say one thing."""
    held = bundle(program(), medium(MediaAccess.BLOCK), network())
    made = agreement_of(held, band, language)
    told = [item.heading for part in made.page.parts[:2] for item in part.items]
    facts = facts_of(held, _audience(band))
    noticed = parts(facts, language, LEVEL_OF[band])
    words = [item.heading for part in noticed for item in part.items]
    assert [one for one in told if one not in words] == []
    assert sum("Quake" in one for one in told) == 1
    without = agreement_of(bundle(medium(MediaAccess.BLOCK), network()), band, language)
    assert "Quake" not in without.as_text()


def _audience(band: Band) -> Audience:
    return Audience.PUPIL if band in PUPILS else Audience(band.value)


@pytest.mark.parametrize("band", Band)
@pytest.mark.parametrize("language", Language)
def test_a_promise_stands_there_exactly_where_a_rule_asks_for_it(band: Band, language: Language) -> None:
    words = WORDS[language, LEVEL_OF[band]]
    nothing = promised(bundle(), band, language)
    assert nothing == [
        words.promises[p] for p in (Promise.RULES, Promise.NOTHING_COLLECTED, Promise.SPEAK_UP)
    ]
    refused = promised(bundle(program()), band, language)
    assert words.things[Thing.PROGRAM] in refused
    assert words.promises[Promise.NOT_AROUND] in refused
    assert words.things[Thing.MEDIUM] not in refused
    warned = promised(bundle(program(mode=RuleMode.WARN)), band, language)
    assert words.promises[Promise.WARNINGS] in warned
    assert words.things[Thing.PROGRAM] not in warned
    assert promised(bundle(program(mode=RuleMode.OBSERVE)), band, language) == nothing
    unchecked = promised(bundle(network()), band, language)
    assert words.promises[Promise.BY_MYSELF] in unchecked
    assert words.things[Thing.NETWORK] in unchecked
    held = policy.CollectedKind(kind="application.refused", notice="said")
    collected = promised(bundle(policy.CollectionSection(kinds=(held,))), band, language)
    assert words.promises[Promise.COLLECTED] in collected
    assert words.promises[Promise.NOTHING_COLLECTED] not in collected


def test_a_rule_for_another_key_stage_is_not_agreed_to() -> None:
    held = bundle(program(groups=("people:ks1", "people:eyfs")))
    assert "Quake" in shown(held, Band.KS1)
    assert "Quake" not in shown(held, Band.KS2)
    assert "Quake" not in shown(held, Band.STAFF)
    assert "Quake" in shown(held, Band.PARENT), "a parent of any pupil"
    assert "Quake" in shown(bundle(program(groups=("people:chess-club",))), Band.KS2), (
        "who knows who is in it"
    )


def test_a_line_of_the_school_is_said_at_every_level_in_the_best_words_there_are() -> None:
    line = policy.NoticeLine(
        said="Phones are handed in.",
        audiences=("pupils",),
        rewordings=(
            policy.Rewording(level="early", language="en", said="Phones stay away."),
            policy.Rewording(level="plain", language="cy", said="Caiff ffonau eu rhoi i mewn."),
        ),
    )
    held = bundle(policy.NoticeSection(also=(line,)))
    assert "Phones stay away." in shown(held, Band.KS1)
    assert "Phones are handed in." in shown(held, Band.KS2), "plain words, where no simpler are given"
    assert "Caiff ffonau" in shown(held, Band.KS3_UP, Language.WELSH)
    assert "Caiff ffonau" in shown(held, Band.KS2, Language.WELSH)
    assert "Phones" not in shown(held, Band.STAFF)


def test_the_version_follows_the_rules_and_the_school_not_the_language_or_the_bundle() -> None:
    held = bundle(program(), SECTION)
    version = version_of(held, Band.KS2)
    assert version.startswith("2026-09/")
    assert version == version_of(bundle(program(), SECTION, version=8), Band.KS2)
    assert {agreement_of(held, Band.KS2, language).version for language in Language} == {version}
    others = (
        bundle(program("Doom"), SECTION),
        bundle(program(), replace(SECTION, version="2026-10")),
        bundle(program(), medium(MediaAccess.BLOCK), SECTION),
        bundle(program(mode=RuleMode.WARN), SECTION),
        bundle(program(), SECTION, policy.NoticeSection(also=(policy.NoticeLine(said="Be kind."),))),
        bundle(
            program(),
            SECTION,
            policy.CollectionSection(kinds=(policy.CollectedKind(kind="x.y", notice="said"),)),
        ),
    )
    found = {version_of(other, Band.KS2) for other in others}
    assert len(found) == len(others)
    assert version not in found
    again = {
        agreement_of(one, Band.KS2, ENGLISH).text_sha256
        for one in (held, bundle(program(), SECTION, version=8))
    }
    assert len(again) == 1, "the same text, whatever bundle it came with"


@pytest.mark.parametrize(
    ("groups", "band"),
    [
        (frozenset(), Band.KS2),
        (frozenset({"people:staff"}), Band.KS2),
        (frozenset({KNOWN, "people:staff"}), Band.STAFF),
        (frozenset({KNOWN, "people:pupils", "people:eyfs"}), Band.EYFS),
        (frozenset({KNOWN, "people:pupils", "people:ks2", "people:eyfs"}), Band.EYFS),
        (frozenset({KNOWN, "people:pupils", "people:ks3+"}), None),
        (frozenset({KNOWN, "people:guests"}), None),
        (frozenset({KNOWN}), None),
    ],
)
def test_who_is_asked(groups: frozenset[str], band: Band | None) -> None:
    assert asked(bundle(SECTION), groups) is band
    assert asked(bundle(), groups) is None
    unknown = bundle(replace(SECTION, band_of_group=""))
    assert asked(unknown, frozenset()) is None


def test_an_adult_signs_for_the_youngest_and_a_name_is_no_markup() -> None:
    held = bundle(program("<b>Quake</b>"), SECTION)
    young, junior = (agreement_of(held, band, ENGLISH) for band in (Band.EYFS, Band.KS2))
    assert (young.adult_accepts, junior.adult_accepts) == (True, False)
    assert "The grown-up who read this with me" in young.as_text()
    assert "The grown-up who read this with me" not in junior.as_text()
    assert html.escape("<b>Quake</b>") in junior.as_page()
    assert "<b>" not in junior.as_page()
    assert "<script" not in junior.as_page()


def test_a_setting_that_nobody_fixes_is_nothing_to_agree_to() -> None:
    text = policy.RuleText(rule_id="b", mode=RuleMode.WARN)
    held = bundle(policy.BrowserSection(settings=(policy.BrowserRule(text=text),)))
    assert facts_of(held, Audience.PUPIL).restrictions[0].act in (Act.SET, Act.WARN)
    assert WORDS[ENGLISH, Level.PLAIN].things[Thing.BROWSER] not in promised(held, Band.KS3_UP)
