"""A whole bundle as a device decides by it, and the words that people read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.decide import ASK, Engine, application_words, medium_words, texts_of
from schoolkeeper_proto.matching import TableMistake, Verdict
from schoolkeeper_proto.media_matching import MediaVerdict
from schoolkeeper_proto.model import DecisionKind, Place
from schoolkeeper_proto.policy import MediaAccess, NetworkUse, PeripheralKind, RuleMode, RuleText
from schoolkeeper_proto.site_matching import SiteTable

NOW = Circumstances(now_ms=1_795_428_000_000, place="on-site", groups=frozenset({"pupils"}))
AWAY = Circumstances(now_ms=1_795_428_000_000, place="off-site", groups=frozenset({"pupils"}))
UNKNOWN = Circumstances(now_ms=1_795_428_000_000)
TEXT = RuleText(rule_id="r", description="It does not start.", why="Because.", resolution="Ask the office.")
EMPTY = OpenBundle(
    hash=b"",
    manifest=policy.BundleManifest(format=1, school_id="s", group="g", version=1, compiled_at_unix_ms=0),
)
AT_SCHOOL = policy.Applicability(places=(Place.ON_SITE,))


def text(rule_id: str, mode: RuleMode = RuleMode.ENFORCE) -> RuleText:
    return RuleText(rule_id=rule_id, mode=mode)


def verdict(decision: str) -> Verdict:
    return Verdict(decision, decision, "r", steady=True)


def test_the_words_about_a_program() -> None:
    refused = application_words(verdict("block"), "/usr/games/steam", TEXT)
    assert refused is not None
    assert refused.title == "steam is not allowed here"
    assert refused.text.startswith("It does not start.\nWhy: Because.\nAsk the office.")
    raised = application_words(verdict("block-and-raise"), "steam", None)
    assert raised is not None
    assert (raised.title, raised.text) == ("steam is not allowed here", ASK)
    warned = application_words(verdict("warn"), "/usr/games/steam", replace(TEXT, why="", resolution=""))
    assert warned is not None
    assert warned.title == "Please do not use steam"
    assert warned.text.startswith(f"It does not start.\n{ASK}")
    assert application_words(verdict("observe"), "/x", TEXT) is None
    assert application_words(verdict("allow"), "/x", TEXT) is None


def test_the_words_about_a_medium() -> None:
    def of(access: MediaAccess, mode: str = "enforce") -> str:
        words = medium_words(MediaVerdict(access=access, asked=access, rule_id="r", mode=mode), TEXT)
        return words.title if words is not None else ""

    assert of(MediaAccess.BLOCK) == "This removable medium is not allowed here"
    assert of(MediaAccess.READ_ONLY) == "This removable medium can only be read here"
    assert of(MediaAccess.ALLOW, "warn") == "Please do not use this removable medium"
    assert of(MediaAccess.ALLOW, "observe") == ""
    assert of(MediaAccess.ALLOW) == ""


def test_the_words_of_every_rule_of_every_section_are_found() -> None:
    bundle = replace(
        EMPTY,
        screen=policy.ScreenSection(text=text("screen"), idle_lock_seconds=1),
        media=policy.MediaSection(rules=(policy.MediaRule(text=text("media"), access=MediaAccess.BLOCK),)),
        browser=policy.BrowserSection(
            rules=(policy.SiteRule(text=text("site"), decision=DecisionKind.BLOCK),),
            settings=(policy.BrowserRule(text=text("setting")),),
        ),
        network=policy.NetworkSection(
            rules=(policy.NetworkRule(text=text("net"), use=NetworkUse.TUNNEL, decision=DecisionKind.BLOCK),)
        ),
    )
    assert texts_of(bundle).keys() == {"screen", "media", "site", "setting", "net"}


def test_the_screen_locks_where_its_rule_holds_or_cannot_be_told() -> None:
    def after(now: Circumstances, mode: RuleMode = RuleMode.ENFORCE) -> int:
        section = policy.ScreenSection(text=text("s", mode), idle_lock_seconds=300, when=AT_SCHOOL)
        return Engine(replace(EMPTY, screen=section)).locks_after(now)

    assert after(NOW) == after(UNKNOWN) == 300
    assert after(AWAY) == 0
    assert after(NOW, RuleMode.WARN) == after(NOW, RuleMode.OBSERVE) == 0
    assert Engine(EMPTY).locks_after(NOW) == 0


def test_uses_of_the_network_and_things_that_are_attached() -> None:
    engine = Engine(
        replace(
            EMPTY,
            network=policy.NetworkSection(
                rules=(
                    policy.NetworkRule(
                        text=text("tunnel"),
                        use=NetworkUse.TUNNEL,
                        decision=DecisionKind.BLOCK,
                        allowed=("vpn.school",),
                        when=AT_SCHOOL,
                    ),
                )
            ),
            peripherals=policy.PeripheralsSection(
                rules=(
                    policy.PeripheralRule(
                        text=text("camera"),
                        kind=PeripheralKind.CAMERA,
                        decision=DecisionKind.WARN,
                        allowed=("a:1",),
                    ),
                )
            ),
        )
    )
    rows = engine.network("tunnel")
    assert engine.weigh(rows, NOW).rule_id == "tunnel"
    assert engine.weigh(rows, AWAY).decision == "allow"
    assert engine.weigh(rows, UNKNOWN).decision == "block"
    assert [(c.rule_id, c.holds, c.told) for c in engine.concerning(rows, UNKNOWN)] == [
        ("tunnel", True, False)
    ]
    assert engine.network("tunnel", "vpn.school") == engine.network("hotspot") == []
    assert engine.weigh(engine.peripheral("camera"), NOW).decision == "warn"
    assert engine.peripheral("camera", "a:1") == []


def sites(*rules: policy.SiteRule, otherwise: DecisionKind = DecisionKind.ALLOW) -> SiteTable:
    categories = (policy.SiteCategory(name="games", sites=("play.example", "fun.example/games")),)
    return SiteTable(policy.BrowserSection(rules=rules, otherwise=otherwise, categories=categories))


def site(
    rule_id: str, *names: str, decision: DecisionKind = DecisionKind.BLOCK, **more: object
) -> policy.SiteRule:
    return policy.SiteRule(text=text(rule_id), decision=decision, sites=names, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("example.org", "host"),
        ("www.example.org", "host"),
        ("https://user@WWW.Example.org.:8080/any?q#f", "host"),
        ("notexample.org", ""),
        ("example.org.evil.test", ""),
        ("docs.test/private/x", "path"),
        ("docs.test/public", ""),
        ("sub.docs.test/private/x", ""),
        ("play.example", "category"),
        ("www.play.example/x", "category"),
        ("fun.example/games/1", "category"),
        ("fun.example/news", ""),
    ],
)
def test_a_site_rule_is_about_the_site_and_what_is_below_it(address: str, rule: str) -> None:
    table = sites(
        site("host", "example.org"),
        site("path", "docs.test/private"),
        site("category", categories=("games",)),
    )
    found = table.decide(address, NOW)
    assert found.rule_id == rule
    assert found.decision == ("block" if rule else "allow")
    assert [c.rule_id for c in table.concerning(address, NOW)] == ([rule] if rule else [])


def test_a_filter_may_tell_the_category_and_everything_else_gets_otherwise() -> None:
    table = sites(
        site("category", categories=("games",)),
        site("all", "*", decision=DecisionKind.OBSERVE),
        otherwise=DecisionKind.WARN,
    )
    assert table.decide("unlisted.example", NOW, categories=frozenset({"games"})).rule_id == "category"
    assert table.decide("", NOW, categories=frozenset({"games"})).rule_id == "category"
    # In force and weaker than otherwise: the rule for all sites loosens, as everywhere.
    assert table.decide("unlisted.example", NOW).decision == "observe"
    assert sites(otherwise=DecisionKind.WARN).decide("x.example", NOW).decision == "warn"
    assert table.categories_of("www.play.example") == {"games"}
    assert table.categories_of("example") == frozenset()


def test_a_site_rule_that_cannot_be_compiled_is_named() -> None:
    with pytest.raises(TableMistake, match="rule 'x'"):
        sites(site("x", "a.example", decision=DecisionKind.UNSPECIFIED))
    with pytest.raises(TableMistake, match="rule 'y'"):
        sites(
            site(
                "y",
                "a.example",
                when=policy.Applicability(times=(policy.TimeWindow(weekdays=0, from_minute=0, to_minute=1),)),
            )
        )
