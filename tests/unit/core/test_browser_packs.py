"""What the packs of schools make of programs and browsers together, through the core and to the browsers' own lists."""

from __future__ import annotations

import pytest

from schoolkeeper_agent import core, observations
from schoolkeeper_agent.enforcers.actions import ApplyBrowsers, GuardApplications
from schoolkeeper_agent.seams import Enforce
from schoolkeeper_agent.state import CoreState
from schoolkeeper_policies.targets.exporters import group_policy
from schoolkeeper_proto import policy
from schoolkeeper_proto.browser_policies import Settings, chromium
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.granted import InForce
from schoolkeeper_proto.matching import compile_applications
from schoolkeeper_proto.model import Place
from schoolkeeper_proto.wire import GrantKind
from support.core_playbook import MONDAY_10, bundle_of

BROWSERS = ("/usr/bin/chromium", "/usr/bin/firefox-esr", "/opt/google/chrome/chrome", "/usr/bin/epiphany")


class Told:
    """A device of a group: what its guard and its browsers were told last."""

    def __init__(self, group: str, place: Place = Place.ON_SITE) -> None:
        sections = group_policy("westgate-primary", school="westgate.example", group=group).sections
        bundle = bundle_of(*(one for one in sections if not isinstance(one, policy.CollectionSection)))
        able = frozenset({"applications", "browser"})
        self.state: CoreState = core.initial(bundle, run_id=b"r" * 16, able=able, place=place)
        self.sees(observations.PolicySwapped(bundle=bundle))

    def sees(self, seen: observations.Observation) -> None:
        self.state, effects = core.handle(self.state, seen, MONDAY_10)
        for effect in effects:
            match effect:
                case Enforce(action=GuardApplications(section=section)):
                    self.guard = compile_applications(section)
                case Enforce(action=ApplyBrowsers(section=section)):
                    self.browsers: Settings = chromium(section)

    def lesson(self, *rules: str) -> None:
        grant = InForce(
            grant_id=b"g" * 16, kind=GrantKind.LESSON, until_unix_ms=MONDAY_10 + 3_600_000, rule_ids=rules
        )
        self.sees(observations.GrantsChanged(in_force=(grant,) if rules else ()))

    def starts(self, path: str) -> bool:
        now = Circumstances(now_ms=MONDAY_10, place=str(self.state.place))
        return not self.guard.decide(path, now).refuses

    @property
    def refused(self) -> list[str]:
        found = self.browsers["URLBlocklist"]
        assert isinstance(found, list)
        return found


@pytest.mark.requirement("W-34")
@pytest.mark.parametrize("group", ["ks1-laptops", "eyfs-tablets"])
def test_no_lesson_no_browser_and_in_a_lesson_only_what_was_approved(group: str) -> None:
    device = Told(group)
    assert not any(device.starts(path) for path in BROWSERS)
    closed = device.browsers
    assert "*" in device.refused
    (rule,) = {
        rule.text.rule_id
        for rule in device.state.signed.applications.rules
        if any(match.text.endswith("chromium") for match in rule.matches)
    }
    device.lesson(rule)
    assert all(device.starts(path) for path in BROWSERS)
    assert device.browsers == closed, "the lesson opens the browser and nothing beyond the approved pages"
    assert "swiggle.org.uk" in closed["URLAllowlist"]  # type: ignore[operator]
    device.lesson()
    assert not any(device.starts(path) for path in BROWSERS)


@pytest.mark.requirement("W-41")
@pytest.mark.parametrize("place", [Place.ON_SITE, Place.OFF_SITE, Place.UNKNOWN])
def test_social_media_stay_closed_on_and_off_site_also_in_a_lesson(place: Place) -> None:
    device = Told("ks2-laptops", place)
    device.lesson("internet.ks2")
    assert "*" not in device.refused
    assert {"facebook.com", "tiktok.com", "instagram.com"} <= set(device.refused)
    assert not device.starts("/usr/bin/caprine")
