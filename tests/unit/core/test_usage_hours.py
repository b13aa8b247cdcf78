"""Use is counted only in school and in its hours, unless the school decided otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from schoolkeeper_agent import core
from schoolkeeper_agent.observations import Observation, PlaceSeen, ProcessEnded, ProcessStarted, Tick
from schoolkeeper_agent.seams import Record
from schoolkeeper_agent.state import CoreState
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.bundle import build, open_bundle
from schoolkeeper_proto.model import Place
from support.core_playbook import MONDAY_10, Playbook

HOUR = 3_600
SCHOOL = policy.Applicability(
    times=(policy.TimeWindow(weekdays=31, from_minute=600, to_minute=720),), time_zone="UTC"
)
"""Monday to Friday, 10:00 to 12:00."""


def held(when: policy.Applicability | None = SCHOOL, *, off_site: bool = False):  # type: ignore[no-untyped-def]
    kind = policy.CollectedKind(kind="application.usage", notice="We count.", off_site=off_site, when=when)
    section = policy.CollectionSection(kinds=(kind,), pseudonym_key=b"k" * 32)
    data = build(school_id="s", group="g", version=1, compiled_at_unix_ms=1, sections=(section,))
    return open_bundle(data, school_id="s", group="g", capabilities=frozenset())


def started(process_id: int, path: str = "/usr/bin/gimp") -> ProcessStarted:
    return ProcessStarted(process_id=process_id, path=path, account="anna", user_id=1001, groups=frozenset())


def test_what_runs_over_the_end_of_school_stops_counting_there() -> None:
    script = Playbook(held(), now=MONDAY_10 + round(1.9 * HOUR) * 1000)
    script.sees(started(7)).nothing()
    script.later(60).sees(Tick()).records("application.usage", starts=1, running_seconds=60)
    for _ in range(30):
        script.later(60).sees(Tick())
        script.effects = [e for e in script.effects if not _is_within(e, script.now)]
        script.nothing()


def _is_within(effect: object, now: int) -> bool:
    return isinstance(effect, Record) and now < MONDAY_10 + 2 * HOUR * 1000


def test_what_was_started_before_school_counts_from_its_beginning_and_its_start_does_not() -> None:
    script = Playbook(held(), now=MONDAY_10 - 1800 * 1000)
    script.sees(started(7)).nothing()
    script.later(1790).sees(Tick()).nothing()
    script.later(30).sees(Tick()).nothing()  # 10:00:20, the first look within
    script.later(60).sees(Tick()).records("application.usage", starts=0, running_seconds=60).nothing()


def test_at_home_nothing_is_counted_and_on_the_way_back_nothing_is_made_up() -> None:
    script = Playbook(held(None), place=Place.OFF_SITE)
    script.sees(started(7)).nothing()
    script.later(200).sees(Tick()).nothing()
    script.sees(PlaceSeen(place=Place.ON_SITE)).nothing()
    script.later(30).sees(Tick())
    script.records("application.usage", starts=0, running_seconds=30, hour_start_unix_ms=MONDAY_10).nothing()


def test_the_next_day_counts_for_its_own_hour() -> None:
    script = Playbook(held(), now=MONDAY_10)
    script.sees(started(7)).later(60).sees(Tick()).records("application.usage", running_seconds=60)
    script.later(4 * HOUR - 60).sees(Tick()).nothing()
    script.later(20 * HOUR).sees(Tick()).nothing()
    tomorrow = MONDAY_10 + 24 * HOUR * 1000
    script.later(60).sees(Tick()).records(
        "application.usage", running_seconds=60, hour_start_unix_ms=tomorrow
    )


def test_a_place_that_cannot_be_told_counts_as_home() -> None:
    script = Playbook(held(None), place=Place.UNKNOWN)
    script.sees(started(7)).later(200).sees(Tick()).nothing()


def test_a_school_that_decided_so_counts_everywhere() -> None:
    script = Playbook(held(None, off_site=True), place=Place.OFF_SITE)
    script.sees(started(7)).later(60).sees(Tick()).records("application.usage", starts=1).nothing()


def test_a_machine_that_sleeps_uses_nothing() -> None:
    script = Playbook(held(), now=MONDAY_10)
    script.sees(started(7)).later(60).sees(Tick()).records("application.usage", running_seconds=60)
    script.later(24 * HOUR).sees(Tick()).nothing()
    script.later(60).sees(Tick()).records("application.usage", starts=0, running_seconds=60)


@dataclass(frozen=True)
class Step:
    seconds: int
    what: Observation


STEPS = st.lists(
    st.builds(
        Step,
        seconds=st.integers(0, 400),
        what=st.one_of(
            st.just(Tick()),
            st.builds(started, st.just(7), st.sampled_from(["/usr/bin/a", "/usr/bin/b"])),
            st.builds(ProcessEnded, process_id=st.just(7)),
            st.builds(PlaceSeen, place=st.sampled_from([Place.ON_SITE, Place.OFF_SITE, Place.UNKNOWN])),
        ),
    ),
    max_size=40,
)


@given(steps=STEPS, first=st.integers(0, 4 * HOUR))
def test_never_more_than_the_time_in_school_and_in_hours(steps: list[Step], first: int) -> None:
    """Whatever happens: no count is written outside, and no program has more time than passed inside."""
    now = MONDAY_10 - HOUR * 1000 + first * 1000
    state: CoreState = core.initial(held(), run_id=b"run", place=Place.UNKNOWN)
    inside_ms, counted = 0, {}
    for step in steps:
        for _ in range(step.seconds):
            inside_ms += 1000 * (_in_hours(now) and state.place is Place.ON_SITE)
            now += 1000
        state, effects = core.handle(state, step.what, now)
        for effect in effects:
            if isinstance(effect, Record) and isinstance(effect.body, model.ApplicationUsage):
                assert _in_hours(now)
                assert state.place is Place.ON_SITE
                counted[effect.body.aggregate_id] = effect.body.running_seconds
    assert sum(counted.values()) * 1000 <= inside_ms


def _in_hours(now: int) -> bool:
    return MONDAY_10 <= now < MONDAY_10 + 2 * HOUR * 1000
