"""Which browser rules the core asks for: by the clock, for whoever is signed in, and while a grant is in force."""

from __future__ import annotations

import pytest

from schoolkeeper_agent import core, observations
from schoolkeeper_agent.enforcers.actions import ApplyBrowsers
from schoolkeeper_agent.seams import Enforce, Outcome, Record
from schoolkeeper_proto import policy
from schoolkeeper_proto.browser_holding import BrowserTable
from schoolkeeper_proto.browser_policies import chromium
from schoolkeeper_proto.granted import InForce
from schoolkeeper_proto.matching import TableMistake
from schoolkeeper_proto.model import DecisionKind, Place
from schoolkeeper_proto.policy import Applicability, RuleMode, RuleText, SafeSearch, Switch
from schoolkeeper_proto.wire import GrantKind
from support.core_playbook import MONDAY_10, bundle_of

LESSONS = Applicability(times=(policy.TimeWindow(weekdays=31, from_minute=600, to_minute=660),))
MINUTE = 60_000


def site(rule_id: str, *sites: str, mode: RuleMode = RuleMode.ENFORCE, **more: object) -> policy.SiteRule:
    text = RuleText(rule_id=rule_id, mode=mode)
    values = {"decision": DecisionKind.BLOCK} | more
    return policy.SiteRule(text=text, sites=sites, **values)  # type: ignore[arg-type]


def setting(rule_id: str, **more: object) -> policy.BrowserRule:
    return policy.BrowserRule(text=RuleText(rule_id=rule_id, mode=RuleMode.ENFORCE), **more)  # type: ignore[arg-type]


class Device:
    """The core with a browser enforcer that does as it is asked, unless ``fails``."""

    def __init__(self, section: policy.BrowserSection) -> None:
        self.now = MONDAY_10
        self.fails = ""
        self.asked: list[ApplyBrowsers] = []
        self.recorded: list[object] = []
        self.state = core.initial(
            bundle_of(section), run_id=b"r" * 16, able=frozenset({"browser"}), place=Place.ON_SITE
        )
        self.sees(observations.PolicySwapped(bundle=self.state.signed))

    def sees(self, seen: observations.Observation) -> None:
        self.state, effects = core.handle(self.state, seen, self.now)
        for effect in effects:
            if isinstance(effect, Record):
                self.recorded.append(effect.body)
            elif isinstance(effect, Enforce):
                assert isinstance(effect.action, ApplyBrowsers)
                self.asked.append(effect.action)
                done = Outcome(
                    enforcer="browser", action=effect.action, succeeded=not self.fails, detail=self.fails
                )
                self.sees(observations.ActionDone(outcome=done))

    def signs_in(self, name: str, *groups: str, user_id: int = 1000) -> None:
        self.sees(
            observations.SessionSeen(
                session_id=name, account=name, user_id=user_id, groups=frozenset({*groups})
            )
        )

    def minutes_later(self, minutes: int) -> None:
        self.now += minutes * MINUTE
        self.sees(observations.Tick())

    @property
    def told(self) -> dict[str, object]:
        """What Chromium was told last."""
        return dict(chromium(self.asked[-1].section))


def test_a_timed_rule_is_written_at_its_start_and_its_end_and_not_in_between() -> None:
    device = Device(policy.BrowserSection(rules=(site("play", "play.example", when=LESSONS),)))
    assert device.told == {"URLBlocklist": ["play.example"]}
    for _ in range(5):
        device.minutes_later(10)
    assert len(device.asked) == 1
    device.minutes_later(10)
    assert device.told == {}
    assert len(device.asked) == 2


def test_a_clock_that_is_set_opens_nothing() -> None:
    """The time that is believed decides, as for every other rule."""
    from dataclasses import replace

    from schoolkeeper_agent.state import Believed

    device = Device(policy.BrowserSection(rules=(site("play", "play.example", when=LESSONS),)))
    device.now += 90 * MINUTE
    device.state = replace(device.state, time=Believed(ahead_ms=-90 * MINUTE))
    device.sees(observations.Tick())
    assert device.told == {"URLBlocklist": ["play.example"]}


def test_rules_for_some_people_hold_for_whoever_is_signed_in_and_for_nobody() -> None:
    pupils = Applicability(user_groups=("pupils",))
    section = policy.BrowserSection(
        rules=(site("play", "play.example", when=pupils),),
        settings=(
            setting("private", private_windows=Switch.BLOCKED, when=pupils),
            setting("staff", downloads=Switch.ALLOWED, when=Applicability(user_groups=("staff",))),
        ),
    )
    device = Device(section)
    closed = {"IncognitoModeAvailability": 1, "URLBlocklist": ["play.example"]}
    assert device.told == closed, "nobody is signed in: what takes away holds, what gives does not"
    device.signs_in("greeter", "staff", user_id=110)
    assert device.told == closed, "a sign-in screen is nobody"
    device.signs_in("ann", "staff")
    assert device.told == {"DownloadRestrictions": 0}
    device.signs_in("ben", "pupils", user_id=1001)
    assert device.told == closed | {"DownloadRestrictions": 0}, "two people: the stricter of both"
    device.sees(observations.SessionGone(session_id="ben"))
    assert device.told == {"DownloadRestrictions": 0}
    device.sees(observations.SessionGone(session_id="ann"))
    assert device.told == closed


def test_the_stricter_of_two_peoples_settings_holds_field_by_field() -> None:
    def for_(group: str, rule_id: str, **more: object) -> policy.BrowserRule:
        return setting(rule_id, when=Applicability(user_groups=(group,)), **more)

    section = policy.BrowserSection(
        settings=(
            for_("a", "one", safe_search=SafeSearch.OFF, extensions=Switch.BLOCKED,
                 allowed_extensions=("x", "y"), guest_profiles=Switch.ALLOWED),
            for_("b", "two", safe_search=SafeSearch.MODERATE, extensions=Switch.BLOCKED,
                 allowed_extensions=("y", "z"), guest_profiles=Switch.BLOCKED),
        ),
    )  # fmt: skip
    device = Device(section)
    device.signs_in("a", "a", user_id=1000)
    assert device.told["ForceYouTubeRestrict"] == 0
    assert device.told["ExtensionInstallAllowlist"] == ["x", "y"]
    device.signs_in("b", "b", user_id=1001)
    assert device.told["ForceYouTubeRestrict"] == 1
    assert device.told["BrowserGuestModeEnabled"] is False
    assert device.told["ExtensionInstallAllowlist"] == ["y"]


def test_a_rule_by_place_changes_with_the_place_and_holds_where_that_is_unknown() -> None:
    at_school = Applicability(places=(Place.ON_SITE,))
    device = Device(policy.BrowserSection(rules=(site("play", "play.example", when=at_school),)))
    device.sees(observations.PlaceSeen(place=Place.OFF_SITE))
    assert device.told == {}
    device.sees(observations.PlaceSeen(place=Place.UNKNOWN))
    assert device.told == {"URLBlocklist": ["play.example"]}


@pytest.mark.requirement("W-35")
def test_an_opened_lesson_opens_the_rule_it_names_and_its_end_closes_it() -> None:
    section = policy.BrowserSection(
        rules=(site("ks2", "*", allowed=("learn.example",)), site("never", "bad.example")),
        settings=(setting("search", safe_search=SafeSearch.STRICT),),
    )
    device = Device(section)
    assert device.told["URLBlocklist"] == ["*", "bad.example"]
    assert device.told["URLAllowlist"] == ["learn.example"]
    lesson = InForce(
        grant_id=b"g" * 16, kind=GrantKind.LESSON, until_unix_ms=device.now + MINUTE, rule_ids=("ks2",)
    )
    device.sees(observations.GrantsChanged(in_force=(lesson,)))
    assert device.told["URLBlocklist"] == ["bad.example"]
    assert device.told["ForceYouTubeRestrict"] == 2, "strict search stays"
    device.sees(observations.GrantsChanged(in_force=()))
    assert device.told["URLBlocklist"] == ["*", "bad.example"]


def test_what_a_browser_cannot_do_is_left_out() -> None:
    section = policy.BrowserSection(
        rules=(
            site("trial", "a.example", mode=RuleMode.OBSERVE),
            site("warn", "b.example", mode=RuleMode.WARN),
        )
    )
    assert Device(section).told == {}


def test_a_failure_is_said_once_and_tried_again_each_minute_and_its_end_is_said() -> None:
    device = Device(policy.BrowserSection(rules=(site("play", "play.example"),)))
    device.recorded.clear()
    device.fails = "/etc/firefox: read-only"
    device.sees(observations.PlaceSeen(place=Place.OFF_SITE))
    assert len(device.asked) == 1, "nothing changed for browsers"
    device.signs_in("ann", "staff")
    device.sees(
        observations.PolicySwapped(bundle=bundle_of(policy.BrowserSection(rules=(site("x", "x.test"),))))
    )
    device.minutes_later(1)
    device.minutes_later(1)
    assert len(device.asked) == 4
    said = [(type(body).__name__, getattr(body, "error", "")) for body in device.recorded]
    assert said.count(("SensorFailed", "/etc/firefox: read-only")) == 1
    device.fails = ""
    device.minutes_later(1)
    device.minutes_later(1)
    assert len(device.asked) == 5
    assert [type(body).__name__ for body in device.recorded].count("SensorRecovered") == 1


def test_without_the_enforcer_nothing_is_asked_for() -> None:
    bundle = bundle_of(policy.BrowserSection(rules=(site("play", "play.example"),)))
    state = core.initial(bundle, run_id=b"r" * 16)
    _, effects = core.handle(state, observations.PolicySwapped(bundle=bundle), MONDAY_10)
    assert not [one for one in effects if isinstance(one, Enforce)]


def test_a_rule_that_cannot_be_compiled_is_named() -> None:
    never = Applicability(times=(policy.TimeWindow(weekdays=0, from_minute=0, to_minute=1),))
    for section in (
        policy.BrowserSection(rules=(site("x", "a.example", when=never),)),
        policy.BrowserSection(settings=(setting("x", when=never),)),
    ):
        with pytest.raises(TableMistake, match="rule 'x'"):
            BrowserTable(section)
