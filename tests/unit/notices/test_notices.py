"""The notices follow the policy: what a rule does is said, and nothing that no rule does (T-41, W-62)."""

from __future__ import annotations

import html
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schoolkeeper_proto import model, policy
from schoolkeeper_proto.bundle import OpenBundle, build, open_bundle
from schoolkeeper_proto.model import DecisionKind, Place
from schoolkeeper_proto.notices import reach
from schoolkeeper_proto.notices.facts import Act, Audience, Family, Thing, facts_of, family_of
from schoolkeeper_proto.notices.render import EDITIONS, WORDS, as_page, as_text, parts
from schoolkeeper_proto.notices.words import Language, Level
from schoolkeeper_proto.policy import MediaAccess, RuleMode

EVERY = [(language, level) for language in Language for level in Level]
LESSONS = policy.TimeWindow(weekdays=31, from_minute=540, to_minute=930)


def bundle(*sections: policy.Section) -> OpenBundle:
    data = build(school_id="lab.example", group="g", version=7, compiled_at_unix_ms=1, sections=sections)
    return open_bundle(data, school_id="lab.example", group="g", capabilities=frozenset())


def text_of(rule_id: str = "r", mode: RuleMode = RuleMode.ENFORCE) -> policy.RuleText:
    return policy.RuleText(rule_id=rule_id, mode=mode)


def program(decision: DecisionKind = DecisionKind.BLOCK, **more: object) -> policy.ApplicationsSection:
    rule = policy.ApplicationRule(
        text=more.pop("text", text_of()),  # type: ignore[arg-type]
        decision=decision,
        matches=(policy.ApplicationMatch(by=policy.MatchBy.FILE_NAME, text="quake"),),
        identity="Quake",
        **more,  # type: ignore[arg-type]
    )
    return policy.ApplicationsSection(rules=(rule,))


def medium(access: MediaAccess, **more: MediaAccess) -> policy.MediaSection:
    return policy.MediaSection(rules=(policy.MediaRule(text=text_of(), access=access, **more),))


def shown(held: OpenBundle, audience: Audience = Audience.PUPIL, *, plain: bool = True) -> str:
    return as_text(facts_of(held, audience), Language.ENGLISH, Level.PLAIN if plain else Level.JUNIOR)


def collected(kind: str, **more: object) -> policy.CollectionSection:
    held = policy.CollectedKind(kind=kind, notice="said", retention_days=30, readers=("dsl",), **more)  # type: ignore[arg-type]
    return policy.CollectionSection(kinds=(held,))


@pytest.mark.parametrize(("language", "level"), EVERY)
@pytest.mark.parametrize("audience", list(Audience))
def test_every_notice_begins_with_help_and_names_its_policy(
    language: Language, level: Level, audience: Audience
) -> None:
    held = bundle(program(), medium(MediaAccess.BLOCK), collected("application.refused"))
    for made in (as_text, as_page):
        page = made(facts_of(held, audience), language, level)
        assert page.index("999") < page.index("Quake")
        assert "0800 1111" in page
        assert held.hash.hex()[:16] in page
        assert "{" not in page.partition("</style>")[2], "a word that was not filled in"


@pytest.mark.requirement("T-41", "W-62", "T-67")
def test_a_rule_that_changes_changes_the_notice() -> None:
    said = {
        shown(bundle(medium(MediaAccess.BLOCK))),
        shown(bundle(medium(MediaAccess.READ_ONLY))),
        shown(bundle(medium(MediaAccess.ENCRYPTED_ONLY, plain=MediaAccess.BLOCK))),
        shown(bundle(medium(MediaAccess.ENCRYPTED_ONLY, plain=MediaAccess.READ_ONLY))),
    }
    sentences = [
        page.partition("What is restricted")[2].split("*")[1].strip().splitlines()[0] for page in said
    ]
    assert len(set(sentences)) == 4
    assert "What is restricted, and when\n\n  * Nothing." in shown(bundle(medium(MediaAccess.ALLOW)))


@pytest.mark.parametrize("mode", [RuleMode.OBSERVE])
def test_what_is_only_observed_is_not_called_a_restriction(mode: RuleMode) -> None:
    assert "Quake" not in shown(bundle(program(text=text_of(mode=mode))))


def test_a_warning_is_not_called_a_refusal() -> None:
    assert "Quake: you are warned; it starts." in shown(bundle(program(text=text_of(mode=RuleMode.WARN))))


BOARD_GAMES = policy.NoticeSection(
    language="en",
    categories=(
        policy.CategoryWords(
            name="board-games",
            rewordings=(
                policy.Rewording(level="plain", language="en", said="games on a board"),
                policy.Rewording(level="junior", language="en", said="board games"),
                policy.Rewording(level="plain", language="cy", said="gemau bwrdd"),
            ),
        ),
        policy.CategoryWords(
            name="games", rewordings=(policy.Rewording(level="plain", language="en", said="arcade games"),)
        ),
        policy.CategoryWords(
            name="only-welsh", rewordings=(policy.Rewording(level="plain", language="cy", said="rhywbeth"),)
        ),
        policy.CategoryWords(name="unsaid"),
    ),
)


@pytest.mark.parametrize(
    ("language", "level", "said"),
    [
        (Language.ENGLISH, Level.PLAIN, "games on a board, arcade games, rhywbeth, unsaid, gambling"),
        (Language.ENGLISH, Level.JUNIOR, "board games, arcade games, rhywbeth, unsaid, things"),
        (Language.ENGLISH, Level.EARLY, "board games, arcade games, rhywbeth, unsaid, things"),
        (Language.WELSH, Level.PLAIN, "gemau bwrdd, gemau, rhywbeth, unsaid, gamblo"),
        (Language.WELSH, Level.EARLY, "gemau bwrdd, gemau, rhywbeth, unsaid, pethau"),
    ],
)
def test_a_category_is_told_of_in_the_readers_words(language: Language, level: Level, said: str) -> None:
    """The school's words for its own; the product's where the school has none in this language."""
    names = ("board-games", "games", "only-welsh", "unsaid", "gambling")
    site = policy.SiteRule(text=text_of("s"), decision=DecisionKind.BLOCK, categories=names)
    held = bundle(
        program(of_categories=names), policy.BrowserSection(rules=(site,), categories=()), BOARD_GAMES
    )
    text = as_text(facts_of(held, Audience.PUPIL), language, level)
    assert text.count(f": {said}") == 2, text
    assert "Quake" not in text
    assert "board-games" not in text


def test_that_somebody_is_told_is_said_where_it_is_so() -> None:
    assert "the school is told at once: Quake" in shown(bundle(program(DecisionKind.BLOCK_AND_RAISE)))
    assert "told at once" not in shown(bundle(program()))


def test_times_and_places_are_said() -> None:
    when = policy.Applicability(times=(LESSONS,), places=(Place.ON_SITE,), time_zone="Europe/London")
    assert "Does not start (Mon to Fri 09:00–15:30, in school): Quake." in shown(bundle(program(when=when)))
    odd = policy.TimeWindow(weekdays=0b1000101, from_minute=0, to_minute=60)
    when = policy.Applicability(times=(odd,), time_zone="Europe/London")
    assert "(Mon and Wed and Sun 00:00–01:00)" in shown(bundle(program(when=when)))


@pytest.mark.parametrize(
    ("groups", "reads"),
    [
        (("people:pupils",), {Audience.PUPIL, Audience.PARENT}),
        (("people:staff",), {Audience.STAFF}),
        (("people:guests",), {Audience.GUEST}),
        (("people:pupils", "people:staff"), {Audience.PUPIL, Audience.PARENT, Audience.STAFF}),
        (("people:ks1",), set(Audience)),  # who is in it cannot be told from its name
        ((), set(Audience)),
    ],
)
def test_rules_for_other_people_are_left_out(groups: tuple[str, ...], reads: set[Audience]) -> None:
    when = policy.Applicability(user_groups=groups) if groups else None
    held = bundle(program(when=when))
    assert {audience for audience in Audience if "Quake" in shown(held, audience)} == reads


def test_what_the_agent_does_not_act_on_is_a_rule_to_keep_and_never_a_promise() -> None:
    # Without an address of its own the rule is the web filter's, and a browser cannot warn.
    rule = policy.SiteRule(text=text_of(), decision=DecisionKind.BLOCK_AND_RAISE, categories=("illegal",))
    warned = policy.RuleText(rule_id="s", description="d", mode=RuleMode.WARN)
    held = bundle(policy.BrowserSection(rules=(rule,), settings=(policy.BrowserRule(text=warned),)))
    page = shown(held)
    assert "Cannot be opened" not in page
    assert "told" not in page.partition("does not check")[2].partition("Whom to ask")[0]
    assert "Not allowed: " in page.partition("does not check")[2]


def test_sites_that_a_browser_refuses_are_enforced_and_nobody_is_said_to_be_told() -> None:
    """A browser tells nobody of what it refuses, whatever the rule asks for."""
    rule = policy.SiteRule(text=text_of(), decision=DecisionKind.BLOCK_AND_RAISE, sites=("chat.example",))
    held = bundle(policy.BrowserSection(rules=(rule,), settings=(policy.BrowserRule(text=text_of("s")),)))
    page = shown(held)
    assert "Cannot be opened: chat.example." in page
    assert "told of attempts" not in page
    assert "does not check" not in page
    elsewhere = facts_of(held, Audience.PUPIL, acted_on=frozenset())
    assert "does not check" in as_text(elsewhere, Language.ENGLISH, Level.PLAIN)


@pytest.mark.requirement("T-41")
def test_what_is_collected_is_said_with_readers_and_periods() -> None:
    kinds = (
        policy.CollectedKind(kind="media.attached", notice="x", retention_days=30, readers=("head", "dsl")),
        policy.CollectedKind(kind="media.refused", notice="y", retention_days=366, readers=("dsl", "head")),
        policy.CollectedKind(kind="application.usage", notice="z", retention_days=1, off_site=False),
    )
    page = shown(bundle(policy.CollectionSection(kinds=kinds)))
    assert page.count("Sticks and disks that are plugged in") == 1
    assert "Who can look: the designated safeguarding lead, the head." in page
    assert "Kept for 30 days at most." in page
    assert "Some of it is kept for 366 days at most." in page
    assert "Kept for 1 day at most.\n    Only in school, not at home." in page


def test_without_a_notice_text_nothing_is_collected_and_nothing_is_said() -> None:
    silent = policy.CollectedKind(kind="application.usage", notice=" ")
    page = shown(bundle(policy.CollectionSection(kinds=(silent,))))
    assert "Nothing about what you do is collected." in page


@pytest.mark.parametrize("kind", sorted(reach.NEVER_MADE))
def test_kinds_that_no_agent_makes_are_not_told_of(kind: str) -> None:
    assert "Nothing about what you do is collected." in shown(bundle(collected(kind)))


@pytest.mark.parametrize("cls", [cls for cls in model.BODY_CLASSES if cls.KIND != "unrecognised"])
def test_every_kind_of_event_has_a_sentence_of_its_own_sort(cls: type) -> None:
    assert family_of(cls.KIND) is not Family.OTHER  # type: ignore[attr-defined]


def test_a_new_kind_is_told_of_and_not_left_out() -> None:
    assert family_of("something.new") is Family.OTHER


def test_what_does_not_run_just_now_is_said() -> None:
    held = bundle(collected("application.started"))
    facts = facts_of(held, Audience.PUPIL, stopped=lambda kinds: "needs root" if kinds else "")
    assert "Not collected at the moment: needs root." in as_text(facts, Language.ENGLISH, Level.PLAIN)


@pytest.mark.parametrize(("language", "level"), EVERY)
@pytest.mark.parametrize("thing", list(Thing))
@pytest.mark.parametrize("act", list(Act))
def test_no_sentence_lacks_its_subject(language: Language, level: Level, thing: Thing, act: Act) -> None:
    words = WORDS[language, level]
    sentence = words.acts.get((thing, act)) or words.acts[thing, None]
    assert "{time}" in sentence
    assert "{what}" in sentence or thing is Thing.BROWSER


@pytest.mark.parametrize(("language", "level"), EVERY)
def test_pages_are_whole_and_load_nothing(language: Language, level: Level) -> None:
    held = bundle(program(), policy.NoticeSection(contacts=("<b>Ms Lee</b>",)))
    page = as_page(facts_of(held, Audience.PUPIL), language, level)

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.opened: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "img", "link", "iframe", "b")
            assert not {"src", "href"} & {name for name, _ in attrs}
            if tag == "html":
                assert ("lang", str(language)) in attrs
            if tag not in ("meta", "br"):
                self.opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.opened.pop() == tag

    reader = Reader()
    reader.feed(page)
    assert reader.opened == []
    assert page.count("<h1>") == 1


@pytest.mark.requirement("W-112")
@pytest.mark.parametrize(("audience", "level", "language"), EDITIONS)
def test_every_notice_says_that_nothing_stops_everything(
    audience: Audience, level: Level, language: Language
) -> None:
    """In its own language and at its own level, whatever the school wrote, also where nothing is restricted."""
    limit = WORDS[language, level].limit
    assert len({words.limit for words in WORDS.values()}) == len(WORDS)
    for held in (bundle(), bundle(program(), policy.NoticeSection(introduction="All is well."))):
        for made in (as_text, as_page):
            said = html.unescape(made(facts_of(held, audience), language, level))
            assert limit in said
            assert said.index(WORDS[language, level].restricted) < said.index(limit)


@pytest.mark.parametrize("language", list(Language))
def test_who_does_not_read_yet_has_a_symbol_for_each_part(language: Language) -> None:
    held = bundle(
        program(),
        collected("application.refused"),
        policy.NetworkSection(
            rules=(
                policy.NetworkRule(
                    text=text_of("net"), use=policy.NetworkUse.HOTSPOT, decision=DecisionKind.BLOCK
                ),
            )
        ),
    )
    facts = facts_of(held, Audience.PUPIL)
    early = parts(facts, language, Level.EARLY)
    symbols = [part.symbol for part in early]
    assert all(symbols)
    assert len(set(symbols)) == len(symbols) >= 5
    page = as_page(facts, language, Level.EARLY)
    for part in early:
        assert f'<h2><span aria-hidden="true">{part.symbol}</span> {html.escape(part.heading)}</h2>' in page
        assert f"{part.symbol} {part.heading}\n" in as_text(facts, language, Level.EARLY)
    for level in (Level.JUNIOR, Level.PLAIN):
        assert not any(part.symbol for part in parts(facts, language, level))


def test_the_three_levels_and_two_languages_differ() -> None:
    held = bundle(program(), collected("application.refused"))
    pages = {as_text(facts_of(held, Audience.PUPIL), language, level) for language, level in EVERY}
    assert len(pages) == len(EVERY)


@pytest.mark.requirement("T-67")
@given(
    decisions=st.lists(
        st.tuples(st.sampled_from(list(DecisionKind)), st.sampled_from(list(RuleMode))), max_size=8
    )
)
def test_said_is_exactly_what_refuses_or_warns(decisions: list[tuple[DecisionKind, RuleMode]]) -> None:
    """For any rules: a program is named in the notice if and only if its rule does something to the person."""
    rules = tuple(
        replace(program(decision, text=text_of(f"r{n}", mode)).rules[0], identity=f"Program{n}.")
        for n, (decision, mode) in enumerate(decisions)
        if mode is not RuleMode.UNSPECIFIED and decision is not DecisionKind.UNSPECIFIED
    )
    page = shown(bundle(policy.ApplicationsSection(rules=rules)))
    harmless = (DecisionKind.ALLOW, DecisionKind.OBSERVE)
    for rule in rules:
        acts = rule.decision not in harmless and rule.text.mode is not RuleMode.OBSERVE
        assert (rule.identity in page) is acts
