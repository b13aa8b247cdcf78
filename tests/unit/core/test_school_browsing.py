"""What browsers and the guard of programs are asked to do by the packs of two schools, as the core of the agent asks.

That browsers do as they are told is tested elsewhere (``tests/lab``); here it is what they are told, of the schools'
own rows, in a lesson and out of it, in school and outside.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import pytest

from schoolkeeper_agent import core, observations
from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.enforcers.actions import ApplyBrowsers, GuardApplications
from schoolkeeper_agent.grants.table import Instant, Judge, Table, in_force, take
from schoolkeeper_agent.seams import Enforce, Outcome
from schoolkeeper_policies.categories import shipped
from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_policies.plan import Direction, compare
from schoolkeeper_proto.browser_policies import chromium
from schoolkeeper_proto.bundle import OpenBundle, open_bundle
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.granting import ground_of
from schoolkeeper_proto.matching import ApplicationTable, compile_applications
from schoolkeeper_proto.model import Place
from schoolkeeper_proto.wire import GrantKind
from support.granting import SCHOOL, Person, person, signed, statement

MONDAY_10 = 1_795_428_000_000  # 23 November 2026, a lesson
MINUTE = 60_000
EVENING = MONDAY_10 + 10 * 60 * MINUTE
TAI, WESTGATE = "tai-education-centre", "westgate-primary"
TEACHER = person("teacher", None, "staff")
CHILDREN = ("eyfs-tablets", "ks1-laptops", "ks2-laptops")
ANYWHERE = tuple(product((MONDAY_10, EVENING), (Place.ON_SITE, Place.OFF_SITE, Place.UNKNOWN)))


@cache
def bundle(pack: str, group: str) -> OpenBundle:
    data = compile_pack(
        pack, school_id=SCHOOL, group=group, version=1, compiled_at_unix_ms=MONDAY_10, pseudonym_key=bytes(32)
    )
    return open_bundle(data, school_id=SCHOOL, group=group, capabilities=frozenset())


class Device:
    """The core of an agent that can guard programs and manage browsers, and the device's table of grants."""

    def __init__(self, pack: str, group: str, now: int = MONDAY_10, place: Place = Place.ON_SITE) -> None:
        self.held, self.group, self.now, self.grants = bundle(pack, group), group, now, Table()
        self.browsers: ApplyBrowsers | None = None
        self.guard: GuardApplications | None = None
        able = frozenset({"browser", "applications"})
        self.state = core.initial(self.held, run_id=b"r" * 16, able=able, place=place)
        self.sees(observations.PolicySwapped(bundle=self.held))

    def sees(self, seen: observations.Observation) -> None:
        self.state, effects = core.handle(self.state, seen, self.now)
        for effect in effects:
            if isinstance(effect, Enforce):
                if isinstance(effect.action, ApplyBrowsers):
                    self.browsers = effect.action
                elif isinstance(effect.action, GuardApplications):
                    self.guard = effect.action
                done = Outcome(enforcer=effect.enforcer, action=effect.action, succeeded=True)
                self.sees(observations.ActionDone(outcome=done))

    def given(self, kind: GrantKind, minutes: int, *rule_ids: str, by: Person = TEACHER) -> bool:
        """A signed grant that begins now; whether the device takes it."""
        said = statement(kind, rule_ids=rule_ids, groups=(self.group,))
        said = replace(said, not_before_unix_ms=self.now, expires_unix_ms=self.now + minutes * MINUTE)
        judge = Judge(
            school_id=SCHOOL, device_id=b"d" * 16, group=self.group, officers=(by.officer,),
            ground=ground_of(self.held),
        )  # fmt: skip
        self.grants = take(self.grants, signed(said, by), judge, self.instant).table
        return self.heeds_its_grants() > 0

    def heeds_its_grants(self) -> int:
        found = in_force(self.grants, ground_of(self.held), self.instant)
        self.sees(observations.GrantsChanged(in_force=tuple(found)))
        return len(found)

    def later(self, minutes: int) -> None:
        self.now += minutes * MINUTE
        self.heeds_its_grants()
        self.sees(observations.Tick())

    @property
    def instant(self) -> Instant:
        now = Moment(wall_ms=self.now, monotonic_ms=self.now - MONDAY_10 + 1_000_000)
        return Instant(now=now, boot_id=b"b" * 16, believed_ms=self.now, floor_ms=self.now)

    @property
    def told(self) -> dict[str, object]:
        """What Chromium was told last."""
        assert self.browsers is not None
        return dict(chromium(self.browsers.section))

    def starts(self, program: str) -> str:
        """What the guard, which has the rules that it was given last, decides."""
        assert self.guard is not None
        table: ApplicationTable = compile_applications(self.guard.section)
        place = str(self.state.place)
        here = Circumstances(now_ms=self.now, place=place, groups=frozenset())
        return table.decide(f"/usr/bin/{program}", here).decision

    def refused(self) -> set[str]:
        found = self.told.get("URLBlocklist", [])
        assert isinstance(found, list)
        return set(found)

    def left_open(self) -> set[str]:
        """A dot before a host means to Chromium that host and none below it."""
        found = self.told.get("URLAllowlist", [])
        assert isinstance(found, list)
        return {site.removeprefix(".") for site in found}


def hosts(category: str) -> set[str]:
    """Sites of a category of the product's that are a whole host."""
    return {site for site in shipped(category).sites if "/" not in site}


@pytest.mark.requirement("W-26")
@pytest.mark.parametrize("group", CHILDREN)
def test_children_have_no_personal_mail_in_programs_or_browsers_at_any_time_or_place(group: str) -> None:
    for now, place in ANYWHERE:
        device = Device(WESTGATE, group, now, place)
        assert hosts("webmail")
        assert hosts("webmail") <= device.refused()
        assert not hosts("webmail") & device.left_open()
        assert device.starts("thunderbird") == "block"


@pytest.mark.requirement("W-26")
def test_staff_have_the_mail_that_children_have_not() -> None:
    device = Device(WESTGATE, "staff-laptops")
    assert not hosts("webmail") & device.refused()
    assert device.starts("thunderbird") == "allow"


@pytest.mark.requirement("W-41")
@pytest.mark.parametrize("group", [*CHILDREN, "guest-laptops"])
def test_social_media_is_refused_to_children_and_visitors_in_school_and_outside(group: str) -> None:
    for now, place in ANYWHERE:
        device = Device(WESTGATE, group, now, place)
        assert hosts("social") <= device.refused()
        assert device.starts("caprine") == "block"


@pytest.mark.requirement("W-41")
def test_social_media_is_open_to_staff_outside_directed_hours_wherever_they_are() -> None:
    for now, place in ANYWHERE:
        device = Device(WESTGATE, "staff-laptops", now, place)
        assert (hosts("social") <= device.refused()) is (now == MONDAY_10)
        assert device.starts("caprine") == ("block" if now == MONDAY_10 else "allow")
    device = Device(WESTGATE, "staff-laptops")
    device.later(10 * 60)
    assert not hosts("social") & device.refused(), "a device that stays on follows the clock"


@pytest.mark.requirement("W-36")
@pytest.mark.parametrize("group", CHILDREN)
def test_children_search_with_the_engine_that_was_chosen_and_at_its_strictest(group: str) -> None:
    for now, place in ANYWHERE:
        told = Device(WESTGATE, group, now, place).told
        assert told["DefaultSearchProviderEnabled"] is True
        assert told["DefaultSearchProviderSearchURL"] == "https://swiggle.org.uk/?q={searchTerms}"
        assert told["ForceGoogleSafeSearch"] is True
        assert told["ForceYouTubeRestrict"] == 2


@pytest.mark.requirement("W-36")
def test_another_engine_is_a_change_that_needs_a_risk_assessment_which_the_change_log_keeps() -> None:
    """What such a change needs before it is published, and that it is kept, is in ``test_weakening``."""
    before = bundle(WESTGATE, "ks2-laptops")
    assert before.browser is not None
    settings = tuple(
        replace(one, search_engine="https://other.example/?q=%s") if one.search_engine else one
        for one in before.browser.settings
    )
    after = replace(before, browser=replace(before.browser, settings=settings))
    (change,) = compare(before, after)
    assert change.rule_id == "browser.search"
    assert change.direction is Direction.DIFFERENT
    assert change.weakens_safeguarding


@pytest.mark.requirement("W-34")
@pytest.mark.parametrize(
    ("group", "rule"), [("eyfs-tablets", "aup.w-r09.eyfs"), ("ks1-laptops", "aup.w-r09.ks1")]
)
def test_the_youngest_have_no_browser_without_a_lesson_and_approved_pages_in_it(
    group: str, rule: str
) -> None:
    device = Device(WESTGATE, group)
    browsers = ("firefox", "chromium", "epiphany")
    assert {device.starts(one) for one in browsers} == {"block"}
    assert not device.given(GrantKind.LESSON, 61, rule), "an hour is the most"
    assert not device.given(GrantKind.LESSON, 30, "internet.youngest"), "the list of pages is not opened"
    assert device.given(GrantKind.LESSON, 60, rule)
    for minutes in (0, 30, 29):
        device.later(minutes)
        assert {device.starts(one) for one in browsers} == {"allow"}
        assert "*" in device.refused()
        assert device.left_open()
        assert device.left_open() <= _approved()
    device.later(1)
    assert {device.starts(one) for one in browsers} == {"block"}, "it closes by itself"
    assert device.starts("gedit") == "allow"


def _approved() -> set[str]:
    sites = {site for name in ("learning", "search-for-children") for site in shipped(name).sites}
    return sites | {f"www.{site}" for site in sites}


@pytest.mark.requirement("W-35")
def test_juniors_have_pages_for_learning_and_more_in_a_lesson_and_strict_search_always() -> None:
    device = Device(WESTGATE, "ks2-laptops")
    assert device.starts("firefox") == "allow"
    assert "*" in device.refused()
    assert device.left_open() <= _approved()
    assert device.given(GrantKind.LESSON, 120, "internet.ks2")
    assert "*" not in device.refused()
    assert hosts("pornography") | hosts("social") <= device.refused(), "what harms stays closed"
    assert device.told["ForceGoogleSafeSearch"] is True
    device.later(120)
    assert "*" in device.refused()


@pytest.mark.requirement("T-31")
def test_staff_open_free_search_for_a_class_and_it_closes_by_itself() -> None:
    device = Device(TAI, "ks2-laptops")
    assert "*" in device.refused()
    assert not device.given(GrantKind.LESSON, 121, "internet.free-search"), "two hours are the most"
    assert not device.given(GrantKind.LESSON, 60, "internet.free-search", by=person("ann", None, "pupil"))
    assert device.given(GrantKind.LESSON, 120, "internet.free-search")
    for minutes in (0, 119):
        device.later(minutes)
        assert "*" not in device.refused()
        assert hosts("pornography") <= device.refused()
        assert device.told["ForceGoogleSafeSearch"] is True
    device.later(1)
    assert "*" in device.refused()
