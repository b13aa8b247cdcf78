"""What a rule leaves open: sites of a list, times that staff set, rules that only people can keep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.plan import Direction, compare
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.targets.browsers import chromium, firefox
from schoolkeeper_policies.targets.common import Notes, Policy
from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.notices.facts import Audience, facts_of
from schoolkeeper_proto.notices.render import as_text
from schoolkeeper_proto.notices.words import Language, Level
from schoolkeeper_proto.policy import NoticeLine
from schoolkeeper_proto.site_matching import SiteTable
from support.language import MONDAY_10, TABLES_HEAD, decides, opened, pack

LIST = """\
categories:
  - {name: approved, description: d, sites: [example.org, learn.example/maths]}
sites:
  - {id: only.approved, description: d, why: w, resolution: r, decision: block, sites: ["*"],
     allowed: [own.example], allowed_categories: [approved]}
  - {id: never, description: d, why: w, resolution: r, decision: block, sites: [bad.example.org]}
"""


def on_device(held: OpenBundle, site: str, *told: str) -> str:
    now = Circumstances(now_ms=MONDAY_10)
    return SiteTable(held.browser).decide(site, now, categories=frozenset(told)).decision


def test_a_rule_on_every_site_leaves_those_of_its_list_open(tmp_path: Path) -> None:
    held = opened(pack(tmp_path, LIST), "ks2")
    sites = {
        "example.org": "allow",
        "www.example.org/x": "allow",
        "https://own.example/": "allow",
        "learn.example/maths/3": "allow",
        "learn.example/games": "block",
        "www.learn.example/maths": "allow",
        "other.learn.example/maths": "block",
        "example.org.evil.example": "block",
        "notexample.org": "block",
        "": "block",
    }
    assert {site: on_device(held, site, "approved") for site in sites} == sites


def test_what_a_rule_leaves_open_another_rule_still_refuses(tmp_path: Path) -> None:
    held = opened(pack(tmp_path, LIST), "ks2")
    assert on_device(held, "bad.example.org") == "block"
    assert on_device(held, "good.example.org") == "allow"


def test_a_list_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    text = LIST.replace("allowed_categories: [approved]", "allowed_categories: [aproved]")
    with pytest.raises(PolicyError, match="there is no category 'aproved'"):
        load_pack(pack(tmp_path, text))


def with_list(*allowed: str) -> OpenBundle:
    rule = policy.SiteRule(
        text=policy.RuleText(rule_id="r", mode=policy.RuleMode.ENFORCE, safeguarding=True),
        decision=DecisionKind.BLOCK,
        sites=("*",),
        allowed=allowed,
    )
    manifest = policy.BundleManifest(format=1, school_id="s", group="g", version=1, compiled_at_unix_ms=0)
    return OpenBundle(hash=b"", manifest=manifest, browser=policy.BrowserSection(rules=(rule,)))


def test_a_longer_list_is_a_weaker_rule() -> None:
    (change,) = compare(with_list("a.example"), with_list("a.example", "b.example"))
    assert (change.direction, change.safeguarding) == (Direction.WEAKER, True)
    assert "but a.example, b.example" in change.after
    (back,) = compare(with_list("a.example", "b.example"), with_list("a.example"))
    assert back.direction is Direction.STRICTER
    (other,) = compare(with_list("a.example"), with_list("b.example"))
    assert other.direction is Direction.DIFFERENT


def test_a_browser_gets_the_list_without_what_another_rule_refuses() -> None:
    held = with_list("a.example", "b.example", "sub.c.example")
    refused = policy.SiteRule(
        text=policy.RuleText(rule_id="q", mode=policy.RuleMode.ENFORCE),
        decision=DecisionKind.BLOCK,
        sites=("b.example", "c.example"),
    )
    browser = replace(held.browser, rules=(*held.browser.rules, refused))
    whole = Policy(school="s", group="g", sections=(browser,))
    assert chromium(whole, Notes())["URLAllowlist"] == ["a.example"]
    assert firefox(whole)["WebsiteFilter"] == {
        "Block": ["<all_urls>"],
        "Exceptions": ["*://*.a.example/*"],
    }


# ---- times that staff set ------------------------------------------------------------------------------------


def row(more: str) -> str:
    return (
        TABLES_HEAD
        + f"      - {{id: T-U22, activity: Video, answers: {{pupils: at-certain-times}}, {more}}}\n"
    )


def test_times_without_a_clock_are_those_at_which_staff_open_a_lesson(tmp_path: Path) -> None:
    folder = pack(tmp_path, row("applications: [streaming], permission: {max_minutes: 30, duties: [staff]}"))
    held = opened(folder, "ks2")
    assert decides(held, "spotify") == "block"
    assert held.grants is not None
    (bound,) = held.grants.bounds
    assert (bound.kind, bound.rule_ids, bound.max_seconds) == ("lesson", ("m.t-u22.pupils",), 1_800)


def test_a_lesson_opens_every_rule_that_an_answer_became(tmp_path: Path) -> None:
    when = "when: {periods: [lunch], places: [on-site]}, permission: {max_minutes: 30}"
    held = opened(pack(tmp_path, row(f"applications: [streaming], {when}")), "ks2")
    rules = tuple(rule.text.rule_id for rule in held.applications.rules)
    assert rules == ("m.t-u22.pupils", "m.t-u22.pupils.elsewhere")
    assert held.grants is not None
    assert [bound.rule_ids for bound in held.grants.bounds] == [rules]


def test_times_that_neither_clock_nor_staff_set_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="says not when"):
        load_pack(pack(tmp_path, row("applications: [streaming]")))
    (tmp_path / "b").mkdir()
    empty = row("applications: [streaming], when: {}, permission: {max_minutes: 30}")
    with pytest.raises(PolicyError, match="says not when"):
        load_pack(pack(tmp_path / "b", empty))


def test_a_row_that_other_rules_carry_out_is_opened_by_opening_those(tmp_path: Path) -> None:
    text = (
        TABLES_HEAD
        + "      - {id: W-1, activity: a, answers: {ks2: with-staff-permission}, rules: [only.approved]}\n"
    )
    held = opened(pack(tmp_path, LIST, text), "ks2")
    assert held.grants is not None
    assert [bound.rule_ids for bound in held.grants.bounds] == [("only.approved",)]


# ---- rules that only people can keep -------------------------------------------------------------------------


def test_a_rule_that_no_device_checks_is_told_to_those_whom_it_is_for(tmp_path: Path) -> None:
    folder = pack(tmp_path)
    base = (folder / "base.yaml").read_text()
    lines = "also: [{text: For staff alone., audience: [staff]}, {text: For all.}], sign_in_notice: s}"
    (folder / "base.yaml").write_text(base.replace("sign_in_notice: s}", lines))
    held = opened(folder, "library")

    def told(audience: Audience) -> list[bool]:
        text = as_text(facts_of(held, audience), Language.ENGLISH, Level.PLAIN)
        unchecked = text.partition("this device does not check")[2]
        return [said in unchecked for said in ("For staff alone.", "For all.")]

    assert told(Audience.STAFF) == [True, True]
    assert told(Audience.PUPIL) == told(Audience.PARENT) == told(Audience.GUEST) == [False, True]


def test_a_change_of_what_people_are_told_reads_as_they_do() -> None:
    before = with_list()
    lines = (NoticeLine(said="For staff alone.", audiences=("staff",)), NoticeLine(said="For all."))
    (change,) = compare(before, replace(before, notice=policy.NoticeSection(also=lines)))
    assert (change.direction, change.after) == (Direction.WORDS, "For staff alone. (to staff) / For all.")
    simpler = replace(lines[1], rewordings=(policy.Rewording(level="early", language="cy", said="I bawb."),))
    worded = replace(before, notice=policy.NoticeSection(also=(lines[0], simpler)))
    (change,) = compare(replace(before, notice=policy.NoticeSection(also=lines)), worded)
    assert change.after.endswith("For all. [cy, early: I bawb.]")
