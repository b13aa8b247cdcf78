"""Nothing is left out in silence: every rule has a line on every platform, and what is missing is named."""

import pytest

from schoolkeeper_policies.targets.common import Level, Platform, rules_of
from schoolkeeper_policies.targets.coverage import AGENT, agent_lines, as_markdown, table
from schoolkeeper_policies.targets.exporters import export, group_policy
from schoolkeeper_proto import policy
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import MediaAccess, RuleMode
from support.exports import LESSONS, media, rich_policy, text


@pytest.mark.requirement("W-111")
@pytest.mark.parametrize("platform", list(Platform))
def test_every_rule_has_exactly_one_line_on_every_platform(platform: Platform) -> None:
    held = rich_policy()
    (found,) = export(held, [platform])
    named = [line.rule_id for line in found.coverage]
    assert sorted(named) == sorted({rule.rule_id for rule, _ in rules_of(held)})
    assert all(line.note for line in found.coverage)


@pytest.mark.parametrize("platform", list(Platform))
def test_no_export_claims_to_enforce(platform: Platform) -> None:
    (found,) = export(rich_policy(), [platform])
    assert {line.level for line in found.coverage} <= {Level.EXPORTED, Level.NOT_POSSIBLE}


@pytest.mark.parametrize("platform", list(Platform))
def test_a_rule_for_lessons_is_left_out_and_not_widened(platform: Platform) -> None:
    (found,) = export(rich_policy(), [platform])
    lines = {line.rule_id: line for line in found.coverage}
    for rule_id in ("games", "web.chat"):
        assert lines[rule_id].level is Level.NOT_POSSIBLE
        assert "at certain times" in lines[rule_id].note
    for file in found.files:
        assert b"steam" not in file.data
        assert b"chat.example" not in file.data


@pytest.mark.parametrize("platform", list(Platform))
@pytest.mark.parametrize("mode", [RuleMode.OBSERVE, RuleMode.WARN])
def test_a_rule_that_is_only_observed_is_not_exported_as_a_prohibition(
    platform: Platform, mode: RuleMode
) -> None:
    observed = policy.MediaSection(
        rules=(policy.MediaRule(text=text("media", mode), access=MediaAccess.BLOCK),)
    )
    (found,) = export(rich_policy(observed), [platform])
    assert {line.level for line in found.coverage if line.rule_id == "media"} == {Level.NOT_POSSIBLE}


@pytest.mark.parametrize("platform", list(Platform))
@pytest.mark.parametrize("access", [a for a in MediaAccess if a is not MediaAccess.UNSPECIFIED])
def test_what_a_platform_cannot_tell_about_media_is_said(platform: Platform, access: MediaAccess) -> None:
    (found,) = export(rich_policy(media(access)), [platform])
    line = next(line for line in found.coverage if line.rule_id == "media")
    assert line.level is Level.EXPORTED
    if access is MediaAccess.ENCRYPTED_ONLY:
        assert "without:" in line.note


def test_sites_that_only_the_web_filter_knows_are_said_to_be_missing() -> None:
    (found,) = export(rich_policy(), [Platform.CHROMEOS])
    line = next(line for line in found.coverage if line.rule_id == "web.games")
    assert "only the school's web filter knows" in line.note


def test_our_agent_is_not_said_to_enforce_what_it_does_not_act_on() -> None:
    lines = {line.rule_id: line.level for line in agent_lines(rich_policy())}
    assert lines["media"] is Level.ENFORCED
    assert lines["posture antivirus"] is Level.REPORTED
    assert lines["web.settings"] is lines["web.chat"] is Level.ENFORCED
    assert lines["network.tunnel"] is lines["network.tethering"] is Level.REPORTED
    assert lines["network.hotspot"] is Level.NOT_POSSIBLE


@pytest.mark.requirement("W-111")
def test_a_platform_that_says_nothing_about_a_rule_shows_nothing_and_not_fine() -> None:
    held = rich_policy()
    rows = table(held, export(held, [Platform.WINDOWS]))
    posture = next(row for row in rows if row.rule_id == "posture antivirus")
    assert set(posture.lines) == {AGENT}
    shown = as_markdown(rows, ["windows"])
    assert "| `posture antivirus` | reported only | nothing |" in shown


@pytest.mark.parametrize("pack", ["default", "demo", "tai-education-centre", "westgate-primary"])
def test_the_packs_that_come_along_can_be_exported(pack: str) -> None:
    from schoolkeeper_policies.parse import load_pack

    for group in load_pack(pack).groups:
        held = group_policy(pack, school="lab.example", group=group.name)
        for found in export(held, Platform):
            assert {line.rule_id for line in found.coverage} == {rule.rule_id for rule, _ in rules_of(held)}


def test_a_site_that_an_earlier_rule_blocks_is_not_opened_by_a_later_one() -> None:
    order = policy.BrowserSection(
        rules=(
            policy.SiteRule(text=text("first"), decision=DecisionKind.BLOCK, sites=("a.example",)),
            policy.SiteRule(
                text=text("second"), decision=DecisionKind.ALLOW, sites=("a.example", "b.example")
            ),
        )
    )
    (found,) = export(rich_policy(order), [Platform.CHROMEOS])
    assert b'"URLBlocklist": [\n    "a.example"\n  ]' in found.files[0].data
    assert b'"URLAllowlist": [\n    "b.example"\n  ]' in found.files[0].data


def test_settings_that_hold_at_times_are_left_out() -> None:
    timed = policy.BrowserSection(
        settings=(
            policy.BrowserRule(text=text("web.timed"), home_page="https://timed.example", when=LESSONS),
        )
    )
    for found in export(rich_policy(timed), Platform):
        assert all(b"timed.example" not in file.data for file in found.files)


def test_what_our_agent_cannot_have_a_browser_do_is_said() -> None:
    section = policy.BrowserSection(
        rules=(
            policy.SiteRule(text=text("filter"), decision=DecisionKind.BLOCK, categories=("games",)),
            policy.SiteRule(text=text("warn"), decision=DecisionKind.WARN, sites=("a.example",)),
            policy.SiteRule(
                text=text("trial", RuleMode.OBSERVE), decision=DecisionKind.BLOCK, sites=("a.example",)
            ),
        ),
        categories=(policy.SiteCategory(name="games", filter_knows_more=True),),
        settings=(policy.BrowserRule(text=text("search"), safe_search=policy.SafeSearch.STRICT),),
    )
    lines = {line.rule_id: line for line in agent_lines(rich_policy(section))}
    assert lines["filter"].level is lines["warn"].level is lines["trial"].level is Level.NOT_POSSIBLE
    assert "only the school's web filter knows" in lines["filter"].note
    assert lines["search"].level is Level.ENFORCED
    assert "refusals are not counted" in lines["search"].note
    assert "safe search in Firefox" in lines["search"].note
