"""``schoolkeeper-agent policy``: the rules in force, short enough to read, with what is not enforced said so."""

from schoolkeeper_agent.policy_words import describe
from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle, build, open_bundle
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import MatchBy


def held(*sections: policy.Section) -> OpenBundle:
    data = build(school_id="s", group="g", version=3, compiled_at_unix_ms=1, sections=sections)
    return open_bundle(data, school_id="s", group="g", capabilities=frozenset())


def programs(count: int) -> policy.ApplicationsSection:
    matches = tuple(policy.ApplicationMatch(by=MatchBy.FILE_NAME, text=f"game{n}") for n in range(count))
    rule = policy.ApplicationRule(
        text=policy.RuleText(rule_id="games"), decision=DecisionKind.BLOCK, matches=matches
    )
    return policy.ApplicationsSection(rules=(rule,))


def test_a_category_of_hundreds_is_cut_and_its_rest_is_counted() -> None:
    said = describe(held(programs(300)))
    assert "game5 and 294 more" in said
    assert "game6" not in said
    assert "more" not in describe(held(programs(6)))


def test_what_this_agent_does_not_enforce_is_said() -> None:
    rule = policy.NetworkRule(
        text=policy.RuleText(rule_id="web"), decision=DecisionKind.BLOCK, use=policy.NetworkUse.TUNNEL
    )
    assert "network: this agent does not enforce its 1 rule" in describe(
        held(policy.NetworkSection(rules=(rule,)))
    )
    assert "not enforced by this agent\n  nothing\n" in describe(held(programs(1)))


def test_sites_and_settings_of_browsers_are_said() -> None:
    text = policy.RuleText(rule_id="web", description="No games.", mode=policy.RuleMode.ENFORCE)
    section = policy.BrowserSection(
        rules=(
            policy.SiteRule(
                text=text, decision=DecisionKind.BLOCK, categories=("games",), sites=("a.example",),
                allowed=("a.example/maths",),
            ),
        ),
        settings=(policy.BrowserRule(text=text, private_windows=policy.Switch.BLOCKED),),
        categories=(policy.SiteCategory(name="games", filter_knows_more=True),),
    )  # fmt: skip
    said = describe(held(section))
    assert "  block: games, a.example; not a.example/maths\n      web, enforced\n      No games.\n" in said
    assert "\nBrowsers\n  private windows blocked\n" in said
    assert "browser: sites of games that are not listed are refused by the school's web filter alone" in said


def test_a_category_of_the_schools_own_is_said_in_its_words() -> None:
    rule = policy.SiteRule(
        text=policy.RuleText(rule_id="web", mode=policy.RuleMode.ENFORCE),
        decision=DecisionKind.BLOCK,
        categories=("chess-sites", "games"),
    )
    words = policy.CategoryWords(
        name="chess-sites", rewordings=(policy.Rewording(level="plain", language="en", said="chess"),)
    )
    said = describe(held(policy.BrowserSection(rules=(rule,)), policy.NoticeSection(categories=(words,))))
    assert "  block: chess-sites (chess), games\n" in said


def test_hours_in_which_something_is_collected_are_said() -> None:
    window = policy.TimeWindow(weekdays=31, from_minute=510, to_minute=945)
    kind = policy.CollectedKind(
        kind="application.usage",
        notice="Use.",
        off_site=False,
        when=policy.Applicability(times=(window,), time_zone="UTC"),
    )
    said = describe(held(policy.CollectionSection(kinds=(kind,))))
    assert "30 days, at school only, Mon Tue Wed Thu Fri 08:30-15:45" in said
