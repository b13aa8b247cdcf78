"""When the core holds desktops' own lock settings: while the screen rule applies to anybody who is here."""

from __future__ import annotations

from dataclasses import replace

from schoolkeeper_agent.enforcers.actions import HoldDesktops
from schoolkeeper_agent.observations import ActionDone, PlaceSeen, PolicySwapped, Tick
from schoolkeeper_agent.seams import Outcome
from schoolkeeper_proto import model, policy
from support.core_playbook import Playbook, bundle_of

SCREEN = policy.ScreenSection(text=policy.RuleText(rule_id="lock"), idle_lock_seconds=300)


def held(seconds: int) -> HoldDesktops:
    return HoldDesktops(idle_lock_seconds=seconds)


def done(seconds: int, detail: str = "") -> ActionDone:
    return ActionDone(
        outcome=Outcome(enforcer="desktop", action=held(seconds), succeeded=not detail, detail=detail)
    )


def test_settings_follow_the_rule_and_are_given_back_with_it() -> None:
    script = Playbook(bundle_of(SCREEN), able={"desktop"})
    script.sees(Tick()).enforces("desktop", held(300)).nothing()
    script.sees(done(300)).nothing()
    script.sees(Tick()).nothing()
    shorter = bundle_of(replace(SCREEN, idle_lock_seconds=120))
    script.sees(PolicySwapped(bundle=shorter)).records("policy.applied").enforces(
        "desktop", held(120)
    ).nothing()
    script.sees(PolicySwapped(bundle=bundle_of())).records("policy.applied").enforces(
        "desktop", held(0)
    ).nothing()


def test_a_rule_that_only_watches_or_does_not_apply_here_holds_nothing() -> None:
    watched = replace(SCREEN, text=policy.RuleText(rule_id="lock", mode=policy.RuleMode.WARN))
    Playbook(bundle_of(watched), able={"desktop"}).sees(Tick()).nothing()
    Playbook(bundle_of(SCREEN), able={"screen"}).sees(Tick()).nothing()
    at_home = replace(SCREEN, when=policy.Applicability(places=(model.Place.OFF_SITE,)))
    script = Playbook(bundle_of(at_home), able={"desktop"}, place=model.Place.ON_SITE)
    script.sees(Tick()).nothing()
    script.sees(PlaceSeen(place=model.Place.OFF_SITE)).records("network.changed")
    script.enforces("desktop", held(300)).nothing()


def test_what_failed_is_said_once_tried_again_and_its_end_is_said() -> None:
    script = Playbook(bundle_of(SCREEN), able={"desktop"})
    script.sees(Tick()).enforces("desktop", held(300)).nothing()
    script.sees(done(300, "dconf is missing")).records(
        "sensor.failed", error="dconf is missing", severity=model.Severity.HIGH
    ).nothing()
    script.sees(Tick()).enforces("desktop", held(300)).nothing()
    script.sees(done(300, "dconf is missing")).nothing()
    script.sees(Tick()).enforces("desktop", held(300)).nothing()
    script.sees(done(300)).records("sensor.recovered").nothing()
