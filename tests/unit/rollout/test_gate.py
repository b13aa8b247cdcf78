"""The gate between two rings: what keeps it shut, what opens it, what halts a rollout."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schoolkeeper_collector.rollout import gate
from schoolkeeper_collector.rollout.gate import DeviceFacts, Measure, Ring, Rollout, Sign, Standing, State

NOW = 1_800_000_000_000
HOUR = 3_600_000
SOAK = 24 * HOUR
NEW = b"n" * 32
OLD = b"o" * 32


def ring(number: int, *standings: Standing, measures: tuple[Measure, ...] = ()) -> Ring:
    return Ring(number=number, name=f"ring {number}", standings=standings, measures=measures)


def rollout(*rings: Ring, open_rings: int, state: State = State.RUNNING) -> Rollout:
    return Rollout(state=state, open_rings=open_rings, opened_ms=NOW - HOUR, rings=rings)


def measure(observed: int, limit: int) -> Measure:
    return Measure(sign=Sign.REFUSALS, observed=observed, devices=1, expected=0.0, limit=limit)


FINE = Standing.FINE
FULL = (ring(0, FINE, FINE), ring(1, *[Standing.WAITING] * 9), ring(2, *[Standing.WAITING] * 20))


@pytest.mark.parametrize(
    ("facts", "standing"),
    [
        (DeviceFacts(bundle_hash=b"", bundle_since_ms=None, last_contact_ms=None), Standing.UNKNOWN),
        (DeviceFacts(bundle_hash=NEW, bundle_since_ms=None, last_contact_ms=NOW), Standing.UNKNOWN),
        (DeviceFacts(bundle_hash=OLD, bundle_since_ms=1, last_contact_ms=NOW), Standing.WAITING),
        (
            DeviceFacts(bundle_hash=OLD, bundle_since_ms=1, last_contact_ms=NOW, refused=True),
            Standing.REFUSED,
        ),
        (DeviceFacts(bundle_hash=OLD, bundle_since_ms=1, last_contact_ms=NOW - 25 * HOUR), Standing.STALE),
        (
            DeviceFacts(bundle_hash=NEW, bundle_since_ms=NOW - 60 * HOUR, last_contact_ms=NOW - 25 * HOUR),
            Standing.STALE,
        ),
        (
            DeviceFacts(bundle_hash=NEW, bundle_since_ms=NOW - 23 * HOUR, last_contact_ms=NOW),
            Standing.SOAKING,
        ),
        # Off since an hour after it took the policy: it has not run it for a day.
        (
            DeviceFacts(bundle_hash=NEW, bundle_since_ms=NOW - 30 * HOUR, last_contact_ms=NOW - 20 * HOUR),
            Standing.SOAKING,
        ),
        (DeviceFacts(bundle_hash=NEW, bundle_since_ms=NOW - 25 * HOUR, last_contact_ms=NOW), Standing.FINE),
    ],
)
def test_only_a_device_that_runs_it_has_soaked_and_was_heard_today_is_fine(
    facts: DeviceFacts, standing: Standing
) -> None:
    assert gate.standing_of(facts, NEW, SOAK, NOW) is standing


def test_the_next_ring_opens_when_the_last_one_is_fine_and_the_timetable_allows_it() -> None:
    now = rollout(*FULL, open_rings=1)
    action = gate.decide(now, NOW, may_open=True)
    assert isinstance(action, gate.Open)
    assert action.open_rings == 2
    waits = gate.decide(now, NOW, may_open=False, opens_next="next Mon 15:30")
    assert isinstance(waits, gate.Wait)
    assert "15:30" in waits.because


@pytest.mark.parametrize("standing", [s for s in Standing if s is not Standing.FINE])
def test_whatever_is_not_fine_keeps_the_gate_shut(standing: Standing) -> None:
    now = rollout(ring(0, FINE, FINE, standing), *FULL[1:], open_rings=1)
    action = gate.decide(now, NOW, may_open=True)
    assert isinstance(action, gate.Wait)
    assert f"1 {standing}" in action.because


def test_one_laptop_in_a_cupboard_does_not_stop_a_larger_ring() -> None:
    assert ring(0, FINE, FINE, FINE, Standing.STALE).missing == 0
    assert ring(0, FINE, FINE, Standing.STALE, Standing.STALE).missing == 1
    assert ring(0, *[FINE] * 18, Standing.STALE, Standing.UNKNOWN).missing == 0


def test_too_much_of_anything_halts_and_says_what_and_where() -> None:
    bad = ring(0, FINE, FINE, measures=(measure(11, 10),))
    action = gate.decide(rollout(bad, *FULL[1:], open_rings=1), NOW, may_open=True)
    assert isinstance(action, gate.Halt)
    assert "ring 0: 11 refusals" in action.because
    assert "at most 10" in action.because
    at_the_limit = ring(0, FINE, FINE, measures=(measure(10, 10),))
    assert isinstance(
        gate.decide(rollout(at_the_limit, *FULL[1:], open_rings=1), NOW, may_open=True), gate.Open
    )


@pytest.mark.parametrize("state", [s for s in State if s is not State.RUNNING])
def test_nothing_opens_by_itself_in_a_rollout_that_does_not_run(state: State) -> None:
    assert isinstance(gate.decide(rollout(*FULL, open_rings=1, state=state), NOW, may_open=True), gate.Wait)


def test_rings_without_devices_are_passed_over_but_nothing_untried_goes_to_everybody() -> None:
    empty, everybody = ring(0), ring(1, *[Standing.WAITING] * 5)
    action = gate.decide(rollout(empty, everybody, open_rings=0), NOW, may_open=True)
    assert isinstance(action, gate.Wait)
    assert "nothing was tried" in action.because
    three = (ring(0, FINE), ring(1), ring(2, Standing.WAITING))
    passed = gate.decide(rollout(*three, open_rings=1), NOW, may_open=True)
    assert isinstance(passed, gate.Open)
    assert passed.open_rings == 3
    alone = gate.decide(rollout(everybody, open_rings=0), NOW, may_open=True)
    assert isinstance(alone, gate.Open)


def test_it_ends_when_everybody_is_fine_or_after_two_weeks() -> None:
    done = tuple(ring(n, FINE, FINE) for n in range(2))
    assert isinstance(gate.decide(rollout(*done, open_rings=2), NOW, may_open=False), gate.Finish)
    missing = (done[0], ring(1, FINE, Standing.UNKNOWN))
    open_since = replace(rollout(*missing, open_rings=2), opened_ms=NOW - gate.FINISH_MS + 1)
    assert isinstance(gate.decide(open_since, NOW, may_open=True), gate.Wait)
    assert isinstance(gate.decide(open_since, NOW + 1, may_open=True), gate.Finish)


@given(
    standings=st.lists(st.lists(st.sampled_from(Standing), max_size=12), min_size=1, max_size=5),
    opened=st.integers(0, 5),
    excess=st.booleans(),
    may_open=st.booleans(),
)
def test_a_ring_never_opens_while_the_one_before_lacks_fine_devices(
    standings: list[list[Standing]], opened: int, excess: bool, may_open: bool
) -> None:
    """Whatever is measured: opening needs permission, no excess, and nine fine in ten of the last ring with devices."""
    opened = min(opened, len(standings))
    rings = tuple(ring(n, *each, measures=(measure(int(excess), 0),)) for n, each in enumerate(standings))
    action = gate.decide(rollout(*rings, open_rings=opened), NOW, may_open=may_open)
    if excess and opened:
        assert isinstance(action, gate.Halt)
    if isinstance(action, gate.Open):
        assert may_open
        assert opened < action.open_rings <= len(rings)
        tried = [r for r in rings[:opened] if r.standings]
        if tried:
            last = tried[-1]
            assert last.count(FINE) >= len(last.standings) - max(
                len(last.standings) // 10, 1 if len(last.standings) >= 4 else 0
            )
        else:
            assert action.open_rings < len(rings) or len(rings) == 1


@given(expected=st.floats(0, 10_000), more=st.floats(0, 1000))
def test_the_limit_grows_with_what_is_expected(expected: float, more: float) -> None:
    assert gate.limit_of(expected, 3) >= expected
    assert gate.limit_of(expected + more, 3) >= gate.limit_of(expected, 3)
